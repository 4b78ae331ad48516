package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Compile is how the driver is made to compile PTX.
type Compile uint8

// The ways. The linker is the only one that gives its machine code away, so that
// it can be kept in a cache of our own; but it compiles each text as if others
// were to be linked to it, and then must ignore setmaxnreg, and may serialise
// wgmma, of which it warns (C7504, C7512).
const (
	// CompileAuto takes the linker's code unless the compiler warned about it, and
	// else loads directly.
	CompileAuto Compile = iota
	// CompileLink takes the linker's code.
	CompileLink
	// CompileDirect has the driver load the text. The code stays inside the
	// driver, whose own cache (CUDA_CACHE_PATH) is then the only one.
	CompileDirect
)

// String returns "auto", "link" or "direct".
func (c Compile) String() string { return [...]string{"auto", "link", "direct"}[c] }

// Warning is a remark of the compiler that the code is slower than it should be:
// that setmaxnreg was ignored, that wgmma was serialised, that registers spill.
type Warning struct {
	Code string // such as "C7508"
	Text string
}

func (w Warning) String() string { return w.Code + ": " + w.Text }

// ptxas marks its advice so: "ptxas info : (C7508) Potential Performance Loss: …".
var warningLine = regexp.MustCompile(`(?m)\((C75\d\d)\)\s*(.*?)\s*$`)

func parseWarnings(log string) []Warning {
	var ws []Warning
	for _, m := range warningLine.FindAllStringSubmatch(log, -1) {
		ws = append(ws, Warning{Code: m[1], Text: m[2]})
	}
	return ws
}

// CompileError is a PTX text that the driver does not compile.
type CompileError struct {
	Err *Error
	Log string // of the compiler, with the line numbers of the text
}

func (e *CompileError) Error() string {
	log := strings.TrimSpace(e.Log)
	if log == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "\n" + log
}

// Is matches ErrCompile.
func (e *CompileError) Is(target error) bool { return target == ErrCompile }
func (e *CompileError) Unwrap() error        { return e.Err }

// SlowCodeError holds the compiler's warnings where LoadOptions.Strict forbids
// them.
type SlowCodeError struct{ Warnings []Warning }

func (e *SlowCodeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cuda: %v", ErrSlowCode)
	for _, w := range e.Warnings {
		fmt.Fprintf(&b, "\n%v", w)
	}
	return b.String()
}

// Is matches ErrSlowCode.
func (e *SlowCodeError) Is(target error) bool { return target == ErrSlowCode }

// logBytes is the size of each of the compiler's two logs.
const logBytes = 1 << 16

// jitOptions are the compiler's options in the driver's form: parallel lists of
// keys and of values, which are numbers or addresses. The driver writes to the
// logs until the module is loaded or the linker is destroyed.
type jitOptions struct {
	keys      []driver.JITOption
	values    []uintptr
	info, err []byte
	pins      runtime.Pinner
}

func newJITOptions(o LoadOptions) *jitOptions {
	j := &jitOptions{info: make([]byte, logBytes), err: make([]byte, logBytes)}
	j.pins.Pin(&j.info[0])
	j.pins.Pin(&j.err[0])
	j.add(driver.JITInfoLog, uintptr(unsafe.Pointer(&j.info[0])))
	j.add(driver.JITInfoLogSize, logBytes)
	j.add(driver.JITErrorLog, uintptr(unsafe.Pointer(&j.err[0])))
	j.add(driver.JITErrorLogSize, logBytes)
	j.add(driver.JITLogVerbose, 1)
	if o.MaxRegisters > 0 {
		j.add(driver.JITMaxRegisters, uintptr(o.MaxRegisters))
	}
	return j
}

func (j *jitOptions) add(key driver.JITOption, value uintptr) {
	j.keys, j.values = append(j.keys, key), append(j.values, value)
}

func (j *jitOptions) n() uint32 { return uint32(len(j.keys)) }

// text of a log, which the driver ends with a zero byte.
func text(log []byte) string {
	if i := bytes.IndexByte(log, 0); i >= 0 {
		log = log[:i]
	}
	return string(log)
}

// failed makes the error of a compilation from what the driver answered.
func (j *jitOptions) failed(d *Device, call string, r driver.Result) error {
	err := d.check(call, r)
	var e *Error
	if errors.Is(err, ErrDeviceLost) || !errors.As(err, &e) {
		return err
	}
	switch r {
	case driver.ErrInvalidPTX, driver.ErrInvalidImage, driver.ErrUnsupportedPTXVersion, driver.ErrNoBinaryForGPU, driver.ErrNotFound:
		return &CompileError{Err: e, Log: text(j.err)}
	}
	return err
}

// link compiles PTX (zero-terminated) to a cubin. The device is entered.
func (d *Device) link(ptx []byte, o LoadOptions) (cubin []byte, log string, err error) {
	j := newJITOptions(o)
	defer j.pins.Unpin()
	const call = "compile PTX with the linker"
	var state uintptr
	if r := d.drv.LinkCreate(j.n(), &j.keys[0], &j.values[0], &state); r != driver.Success {
		return nil, "", j.failed(d, call, r)
	}
	defer d.drv.LinkDestroy(state)
	name := []byte("kernel.ptx\x00")
	r := d.drv.LinkAddData(state, driver.InputPTX, unsafe.Pointer(&ptx[0]), uint64(len(ptx)), &name[0], 0, nil, nil)
	if r != driver.Success {
		return nil, "", j.failed(d, call, r)
	}
	var image unsafe.Pointer
	var size uint64
	if r := d.drv.LinkComplete(state, &image, &size); r != driver.Success {
		return nil, "", j.failed(d, call, r)
	}
	return bytes.Clone(unsafe.Slice((*byte)(image), size)), text(j.info), nil
}

// loadImage loads a cubin or PTX (zero-terminated). The device is entered.
func (d *Device) loadImage(call string, image []byte, o LoadOptions) (mod uintptr, log string, err error) {
	j := newJITOptions(o)
	defer j.pins.Unpin()
	r := d.drv.ModuleLoadData(&mod, unsafe.Pointer(&image[0]), j.n(), &j.keys[0], &j.values[0])
	if r != driver.Success {
		return 0, "", j.failed(d, call, r)
	}
	return mod, text(j.info), nil
}
