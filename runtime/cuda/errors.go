package cuda

import (
	"errors"
	"fmt"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Errors that a program may want to tell apart, by errors.Is.
var (
	ErrNoDriver     = errors.New("no NVIDIA driver")
	ErrNoDevice     = errors.New("no CUDA device")
	ErrOldDriver    = errors.New("the NVIDIA driver is too old")
	ErrIncompatible = errors.New("the kernel is for another GPU")
	ErrOutOfMemory  = errors.New("out of device memory")
	ErrDeviceLost   = errors.New("CUDA is lost to this process")
	ErrClosed       = errors.New("closed")
	ErrFreed        = errors.New("use of freed device memory")
	ErrWrongDevice  = errors.New("belongs to another device")
	ErrCompile      = errors.New("PTX does not compile")
	ErrSlowCode     = errors.New("the compiler warns of slow code")
)

// Error is what the driver answered to one call.
type Error struct {
	Call string // what was asked, with its sizes where they help
	Code int    // CUresult
	Name string // such as "CUDA_ERROR_INVALID_VALUE"
	Text string // the driver's description
}

func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// Is makes an Error match the sentinel of its code.
func (e *Error) Is(target error) bool {
	switch driver.Result(e.Code) {
	case driver.ErrOutOfMemory:
		return target == ErrOutOfMemory
	case driver.ErrNoDevice:
		return target == ErrNoDevice
	case driver.ErrUnsupportedPTXVersion:
		return target == ErrOldDriver
	case driver.ErrNoBinaryForGPU:
		return target == ErrIncompatible
	case driver.ErrContextIsDestroyed:
		return target == ErrClosed
	}
	return false
}

// lostError is the answer to every call after a fault.
type lostError struct {
	device string // on which it was seen
	kernel string // the last kernel launched before, if any
	first  *Error
}

func (e *lostError) Error() string {
	after := ""
	if e.kernel != "" {
		after = fmt.Sprintf(" (the last kernel launched was %s)", e.kernel)
	}
	return fmt.Sprintf("cuda: %s: a fault has ended CUDA for this process%s; only a new process can use it again: %v", e.device, after, e.first)
}

func (e *lostError) Is(target error) bool { return target == ErrDeviceLost }
func (e *lostError) Unwrap() error        { return e.first }

// newError names a result by the driver's own words.
func newError(d *driver.Driver, call string, r driver.Result) *Error {
	e := &Error{Call: call, Code: int(r), Name: fmt.Sprintf("CUresult %d", r)}
	var name, text *byte
	if d.GetErrorName(r, &name) == driver.Success {
		e.Name = driver.String(name)
	}
	if d.GetErrorString(r, &text) == driver.Success {
		e.Text = driver.String(text)
	}
	return e
}

// check makes an error of a result. One after which the driver refuses the
// process is kept, and returned from then on; where and kernel tell of it.
func (s *System) check(where, kernel, call string, r driver.Result) error {
	if r == driver.Success {
		return nil
	}
	err := newError(s.drv, call, r)
	if !r.EndsProcess() {
		return err
	}
	s.lost.CompareAndSwap(nil, &lostError{device: where, kernel: kernel, first: err})
	return s.lost.Load()
}
