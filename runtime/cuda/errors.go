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
	ErrDeviceLost   = errors.New("the device's context is lost")
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
	}
	return false
}

// lostError is the answer to every call on a context that a fault has ended.
type lostError struct {
	device string
	kernel string // the last kernel launched before the fault was seen, if any
	first  *Error
}

func (e *lostError) Error() string {
	after := ""
	if e.kernel != "" {
		after = fmt.Sprintf(" (the last kernel launched was %s)", e.kernel)
	}
	return fmt.Sprintf("cuda: %s: a fault has ended the context%s; close the device and open it again: %v", e.device, after, e.first)
}

func (e *lostError) Is(target error) bool { return target == ErrDeviceLost }
func (e *lostError) Unwrap() error        { return e.first }

// sticky says whether a result stays with the context: all later calls return
// it too (CUDA driver API, CUresult: "the process must be terminated and
// relaunched" or the context reset).
func sticky(r driver.Result) bool {
	switch r {
	case driver.ErrECCUncorrectable, driver.ErrNVLinkUncorrectable, driver.ErrContained,
		driver.ErrIllegalAddress, driver.ErrLaunchTimeout, driver.ErrContextIsDestroyed,
		driver.ErrAssert, driver.ErrHardwareStack, driver.ErrIllegalInstruction,
		driver.ErrMisalignedAddress, driver.ErrInvalidAddressSpace, driver.ErrInvalidPC,
		driver.ErrLaunchFailed:
		return true
	}
	return false
}

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
