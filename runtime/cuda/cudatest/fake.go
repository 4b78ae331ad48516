// Package cudatest is a CUDA driver without a GPU, for tests: it keeps device
// memory in the program's, runs kernels that are Go functions, captures graphs,
// and refuses what the real driver refuses: calls without a current context, wrong
// handles, launches that do not fit, copies out of bounds, and all work after a
// fault: that loses the whole driver, as a process loses the real one.
//
// It must not import anything of this module but the driver table, and only
// tests and package cudasim may import it.
package cudatest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Spec is a device to simulate.
type Spec struct {
	Name      string
	CC        [2]int
	SMs       int
	SharedMax int
	Memory    uint64
	L2        int            // bytes of the second-level cache; 0: 50 MiB
	Clusters  map[uint32]int // resident clusters by their size
}

// H200 is what an H200 says of itself, with 1 MiB of memory.
var H200 = Spec{
	Name: "Fake H200", CC: [2]int{9, 0}, SMs: 132, SharedMax: 232448, Memory: 1 << 20,
	Clusters: map[uint32]int{2: 66, 4: 30},
}

// Fake is the simulated driver. Its fields may be set before it is used.
type Fake struct {
	Version int               // highest CUDA version, 1000·major + 10·minor
	Kernels map[string]Kernel // what a kernel does, by its name; nothing by default
	JITLog  string            // what the compiler says to a text that it takes
	Record  bool              // keep a list of the calls

	mu      sync.Mutex
	devices []*device
	handles map[uintptr]entry
	next    uintptr
	current map[int]*context // by thread
	fault   driver.Result    // what all work returns after one
	failing map[string][]driver.Result
	failAt  map[int]driver.Result // by the number of the call
	count   int                   // of calls
	calls   []string
	ticks   float32     // milliseconds that have gone by
	keep    map[any]any // host memory that the "driver" owns
}

type device struct {
	Spec
	refs int
	ctx  *context
}

type context struct {
	dev    *device
	handle uintptr
	memory []*block
	used   uint64
}

// New returns a driver with the given devices, one H200 if there are none.
func New(devices ...Spec) *Fake {
	if len(devices) == 0 {
		devices = []Spec{H200}
	}
	f := &Fake{
		Version: 12080, Kernels: make(map[string]Kernel), Record: true,
		handles: make(map[uintptr]entry), next: 0x1000, current: make(map[int]*context),
		failing: make(map[string][]driver.Result), failAt: make(map[int]driver.Result), keep: make(map[any]any),
	}
	for _, d := range devices {
		f.devices = append(f.devices, &device{Spec: d})
	}
	return f
}

// Fail makes the next call of a symbol, such as "cuMemAlloc_v2", return a result.
// Several add up.
func (f *Fake) Fail(symbol string, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing[symbol] = append(f.failing[symbol], driver.Result(code))
}

// FailCall makes call number n, from 0 and from the start, return a result.
func (f *Fake) FailCall(n, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt[n] = driver.Result(code)
}

// Calls returns the symbols called so far, and forgets them.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// Live returns how many objects and blocks of device memory have not been
// destroyed.
func (f *Fake) Live() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.handles)
	for _, d := range f.devices {
		if d.ctx != nil {
			n += len(d.ctx.memory)
		}
	}
	return n
}

// begin notes a call and returns the result that it was told to fail with. The
// lock is held.
func (f *Fake) begin(symbol string) driver.Result {
	if f.Record {
		f.calls = append(f.calls, symbol)
	}
	f.count++
	r := f.failAt[f.count-1]
	if queue := f.failing[symbol]; r == driver.Success && len(queue) > 0 {
		f.failing[symbol] = queue[1:]
		r = queue[0]
	}
	if r.EndsProcess() {
		f.fault = r
	}
	return r
}

// here is begin for calls that need a sound current context.
func (f *Fake) here(symbol string) (*context, driver.Result) {
	if r := f.begin(symbol); r != driver.Success {
		return nil, r
	}
	c := f.current[threadID()]
	if c == nil || c.dev.ctx != c {
		return nil, driver.ErrInvalidContext
	}
	return c, f.fault
}

// run is a call that needs a context and nothing else.
func (f *Fake) run(symbol string, call func(c *context) driver.Result) driver.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, r := f.here(symbol)
	if r != driver.Success {
		return r
	}
	return call(c)
}

// entry is what a handle stands for: a module, function, stream, event, graph or
// linker of a context.
type entry struct {
	ctx *context
	x   any
}

// add makes a handle in the current context.
func (f *Fake) add(x any) uintptr {
	f.next += 16
	f.handles[f.next] = entry{f.current[threadID()], x}
	return f.next
}

// find returns the object of a handle if it is of type T and of the current
// context.
func find[T any](f *Fake, handle uintptr) (x T, r driver.Result) {
	e := f.handles[handle]
	x, ok := e.x.(T)
	if !ok || e.ctx != f.current[threadID()] {
		return x, driver.ErrInvalidHandle
	}
	return x, driver.Success
}

// drop destroys the object of a handle.
func drop[T any](f *Fake, symbol string, handle uintptr) driver.Result {
	return f.run(symbol, func(*context) driver.Result {
		if _, r := find[T](f, handle); r != driver.Success {
			return r
		}
		delete(f.handles, handle)
		return driver.Success
	})
}

// reset ends a device's context with all that is in it.
func (f *Fake) reset(x *device) {
	maps.DeleteFunc(f.handles, func(_ uintptr, e entry) bool { return e.ctx == x.ctx })
	x.ctx = nil
}

func (f *Fake) device(handle int32) (*device, driver.Result) {
	if handle < 0 || int(handle) >= len(f.devices) {
		return nil, driver.ErrInvalidDevice
	}
	return f.devices[handle], driver.Success
}

// Driver returns the table.
func (f *Fake) Driver() *driver.Driver {
	d := &driver.Driver{}
	f.bindDevices(d)
	f.bindMemory(d)
	f.bindModules(d)
	f.bindLaunch(d)
	f.bindStreams(d)
	return d
}

func (f *Fake) bindDevices(d *driver.Driver) {
	plain := func(symbol string, call func() driver.Result) driver.Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r := f.begin(symbol); r != driver.Success {
			return r
		}
		return call()
	}
	d.Init = func(uint32) driver.Result { return plain("cuInit", func() driver.Result { return driver.Success }) }
	d.DriverGetVersion = func(v *int32) driver.Result {
		return plain("cuDriverGetVersion", func() driver.Result { *v = int32(f.Version); return driver.Success })
	}
	d.GetErrorName = func(r driver.Result, name **byte) driver.Result { return cString(name, names[r]) }
	d.GetErrorString = func(r driver.Result, name **byte) driver.Result {
		return cString(name, fmt.Sprintf("fake error %d", r))
	}
	d.DeviceGetCount = func(n *int32) driver.Result {
		return plain("cuDeviceGetCount", func() driver.Result { *n = int32(len(f.devices)); return driver.Success })
	}
	d.DeviceGet = func(dev *int32, ordinal int32) driver.Result {
		return plain("cuDeviceGet", func() driver.Result { *dev = ordinal; _, r := f.device(ordinal); return r })
	}
	d.DeviceGetName = func(name *byte, size, dev int32) driver.Result {
		return plain("cuDeviceGetName", func() driver.Result {
			x, r := f.device(dev)
			if r == driver.Success {
				copyString(name, int(size), x.Name)
			}
			return r
		})
	}
	d.DeviceGetAttr = func(v *int32, a driver.DeviceAttr, dev int32) driver.Result {
		return plain("cuDeviceGetAttribute", func() driver.Result {
			x, r := f.device(dev)
			if r != driver.Success {
				return r
			}
			values := map[driver.DeviceAttr]int{
				driver.AttrSMs: x.SMs, driver.AttrL2Bytes: cmp.Or(x.L2, 50<<20), driver.AttrCCMajor: x.CC[0], driver.AttrCCMinor: x.CC[1],
				driver.AttrSharedOptin: x.SharedMax,
			}
			value, ok := values[a]
			if !ok {
				return driver.ErrInvalidValue
			}
			*v = int32(value)
			return driver.Success
		})
	}
	d.DeviceTotalMem = func(bytes *uint64, dev int32) driver.Result {
		return plain("cuDeviceTotalMem_v2", func() driver.Result {
			x, r := f.device(dev)
			if r == driver.Success {
				*bytes = x.Memory
			}
			return r
		})
	}
	d.PrimaryRetain = func(ctx *uintptr, dev int32) driver.Result {
		return plain("cuDevicePrimaryCtxRetain", func() driver.Result {
			x, r := f.device(dev)
			if r != driver.Success {
				return r
			}
			if f.fault != driver.Success {
				return f.fault
			}
			if x.ctx == nil {
				f.next += 16
				x.ctx = &context{dev: x, handle: f.next}
			}
			x.refs++
			*ctx = x.ctx.handle
			return driver.Success
		})
	}
	d.PrimaryRelease = func(dev int32) driver.Result {
		return plain("cuDevicePrimaryCtxRelease_v2", func() driver.Result {
			x, r := f.device(dev)
			if r != driver.Success {
				return r
			}
			if x.refs == 0 {
				return driver.ErrInvalidContext
			}
			if x.refs--; x.refs == 0 {
				f.reset(x)
			}
			return driver.Success
		})
	}
	d.CtxSetCurrent = func(ctx uintptr) driver.Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r := f.begin("cuCtxSetCurrent"); r != driver.Success {
			return r
		}
		for _, x := range f.devices {
			if x.ctx != nil && x.ctx.handle == ctx {
				f.current[threadID()] = x.ctx
				return driver.Success
			}
		}
		return driver.ErrInvalidContext
	}
	d.CtxGetDevice = func(dev *int32) driver.Result {
		return f.run("cuCtxGetDevice", func(c *context) driver.Result {
			*dev = int32(slices.Index(f.devices, c.dev))
			return driver.Success
		})
	}
	d.CtxSynchronize = func() driver.Result {
		return f.run("cuCtxSynchronize", func(*context) driver.Result { return driver.Success })
	}
}
