package cuda

import (
	"fmt"
	"runtime"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// The driver keeps the current context in a thread's local storage, and Go moves
// goroutines between threads. So every call runs between enter and leave: the
// goroutine is pinned to its thread and the device's context is made current on
// it, which costs 0.2 µs. A thread of the device's own, to which all goroutines
// send their calls, would cost two switches of thread a call (10 µs on one core,
// see BenchmarkExecutor), and a goroutine that waits for a stream would hold up
// those that launch.

// enter begins a call of the driver; leave must follow unless it fails. Calls do
// not nest: a Close that waits would block the inner one.
func (d *Device) enter() error {
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return fmt.Errorf("cuda: %s: %w", d.name, ErrClosed)
	}
	if lost := d.sys.lost.Load(); lost != nil {
		d.mu.RUnlock()
		return lost
	}
	runtime.LockOSThread()
	if r := d.drv.CtxSetCurrent(d.ctx); r != driver.Success {
		d.leave()
		return d.check("make the context current", r)
	}
	return nil
}

func (d *Device) leave() {
	runtime.UnlockOSThread()
	d.mu.RUnlock()
}

// pin is enter for who holds the device's lock already.
func (d *Device) pin() (unpin func(), err error) {
	runtime.LockOSThread()
	if r := d.drv.CtxSetCurrent(d.ctx); r != driver.Success {
		runtime.UnlockOSThread()
		return nil, d.check("make the context current", r)
	}
	return runtime.UnlockOSThread, nil
}

// do runs one call of the driver; call says in an error what it was for.
func (d *Device) do(call string, f func() driver.Result) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return d.check(call, f())
}

// check makes an error of a result, and marks CUDA lost if it is one that stays.
func (d *Device) check(call string, r driver.Result) error {
	kernel := ""
	if fn := d.last.Load(); fn != nil {
		kernel = fn.name
	}
	return d.sys.check(d.name, kernel, call, r)
}
