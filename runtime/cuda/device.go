package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Device is a GPU with a context on it. Many goroutines may use one.
type Device struct {
	sys     *System
	drv     *driver.Driver
	ordinal int
	handle  int32
	ctx     uintptr
	primary bool // the context is ours to release
	name    string
	info    gpu.Device // without the counts of clusters
	stream  *Stream

	probed   sync.Once // fills the next two
	clusters [len(clusterSizes)]int
	probeErr error

	mu     sync.RWMutex // read-held by every call of the driver, so that Close waits for them
	closed bool

	last atomic.Pointer[Function] // the kernel launched last

	objects sync.Mutex
	live    map[*object]uint64 // to its number, which counts up
	made    uint64

	shared shared // by sessions
}

func newDevice(s *System, ordinal int, handle int32, ctx uintptr, info gpu.Device) *Device {
	return &Device{
		sys: s, drv: s.drv, ordinal: ordinal, handle: handle, ctx: ctx, info: info,
		name: fmt.Sprintf("device %d (%s)", ordinal, info.Name), live: make(map[*object]uint64),
	}
}

// start makes what every device has.
func (d *Device) start() (err error) {
	d.stream, err = d.NewStream()
	return err
}

// Ordinal returns the device's number in the driver's order.
func (d *Device) Ordinal() int { return d.ordinal }

// Context returns the driver's CUcontext, for interoperation.
func (d *Device) Context() uintptr { return d.ctx }

// Stream returns the stream that the device has from the start. It does not
// synchronise with the driver's own default stream.
func (d *Device) Stream() *Stream { return d.stream }

// MemInfo returns the bytes of device memory that are free, and all of them.
func (d *Device) MemInfo() (free, total int64, err error) {
	var f, t uint64
	err = d.do("ask for free memory", func() driver.Result { return d.drv.MemGetInfo(&f, &t) })
	return int64(f), int64(t), err
}

// Synchronize waits for all work of the context.
func (d *Device) Synchronize() error {
	return d.do("wait for the device", func() driver.Result { return d.drv.CtxSynchronize() })
}

// Close waits for the device's work, destroys what was made from it and is still
// there, and releases the context. After a fault it destroys nothing, since the
// driver would refuse it and frees all when the process ends; a fault that no
// call has reported yet is returned.
func (d *Device) Close() error {
	var errs []error
	known := d.sys.lost.Load() != nil // then whoever closes has had the error
	if err := d.Synchronize(); err != nil && !known {
		errs = append(errs, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.Join(errs...)
	}
	d.closed = true
	if err := d.destroyObjects(); err != nil {
		errs = append(errs, err)
	}
	if !d.primary {
		return errors.Join(errs...)
	}
	quiet := d.sys.lost.Load() != nil
	if err := d.check("release "+d.name, d.drv.PrimaryRelease(d.handle)); err != nil && !quiet {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// object is something of the driver's that lives in a context and is destroyed
// once. What is still live when its device closes is destroyed then.
type object struct {
	dev     *Device
	what    string // for messages
	handle  uintptr
	destroy func(handle uintptr) driver.Result
	gone    error // what a use after its end is called
	dead    atomic.Bool
}

// own registers an object that was just made.
func (d *Device) own(o *object) {
	d.objects.Lock()
	defer d.objects.Unlock()
	d.made++
	d.live[o] = d.made
}

// destroyObjects ends what is live, the newest first; a fault seen meanwhile
// leaves the rest to the end of the process. The device is locked.
func (d *Device) destroyObjects() error {
	if len(d.live) == 0 || d.sys.lost.Load() != nil {
		return nil
	}
	unpin, err := d.pin()
	if err != nil {
		return err
	}
	defer unpin()
	d.objects.Lock()
	defer d.objects.Unlock()
	all := make([]*object, 0, len(d.live))
	for o := range d.live {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *object) int { return cmp.Compare(d.live[b], d.live[a]) })
	var errs []error
	for _, o := range all {
		o.dead.Store(true)
		if d.sys.lost.Load() != nil {
			continue
		}
		if err := d.check("destroy "+o.what, o.destroy(o.handle)); err != nil {
			errs = append(errs, err)
		}
	}
	clear(d.live)
	return errors.Join(errs...)
}

// end destroys the object, once.
func (o *object) end() error {
	d := o.dev
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if !o.dead.CompareAndSwap(false, true) {
		return o.goneError()
	}
	d.objects.Lock()
	delete(d.live, o)
	d.objects.Unlock()
	return d.check("destroy "+o.what, o.destroy(o.handle))
}

func (o *object) goneError() error { return fmt.Errorf("cuda: %s: %w", o.what, o.gone) }

// usable checks that the object is alive and of device d.
func (o *object) usable(d *Device) error {
	if o.dev != d {
		return fmt.Errorf("cuda: %s of %s, used on %s: %w", o.what, o.dev.name, d.name, ErrWrongDevice)
	}
	if o.dead.Load() {
		return o.goneError()
	}
	return nil
}
