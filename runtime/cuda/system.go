package cuda

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// minDriver is the oldest CUDA version whose driver has all that is called:
// tensor maps and launches with attributes came with 12.0.
const minDriver = 12000

// System is the driver of this machine.
type System struct {
	drv     *driver.Driver
	version int
	build   string // of the driver, such as "580.65.06"; empty where the system does not tell
	count   int

	lost atomic.Pointer[lostError] // what every call returns after a fault
}

// buildFile is where Linux tells the version of the loaded kernel module.
const buildFile = "/sys/module/nvidia/version"

// Load opens the driver of this machine. It fails with ErrNoDriver where there is
// none, ErrOldDriver where it is too old and ErrNoDevice where it sees no GPU.
func Load() (*System, error) {
	d, err := driver.Open(driver.Library)
	var lib *driver.NoLibraryError
	var sym *driver.NoSymbolError
	switch {
	case errors.As(err, &lib):
		return nil, fmt.Errorf("cuda: %w: %w", ErrNoDriver, err)
	case errors.As(err, &sym):
		return nil, fmt.Errorf("cuda: %w: it must support CUDA %s: %w", ErrOldDriver, version(minDriver), err)
	case err != nil:
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return New(d)
}

// New starts a driver table: that of Load, or a fake one of package cudatest.
func New(d *driver.Driver) (*System, error) {
	s := &System{drv: d}
	check := func(call string, r driver.Result) error { return s.check("the driver", "", call, r) }
	r := d.Init(0)
	if err := check("start the driver", r); r == driver.ErrStubLibrary {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	} else if err != nil {
		return nil, err
	}
	var v, n int32
	if err := check("ask for the driver's version", d.DriverGetVersion(&v)); err != nil {
		return nil, err
	}
	if v < minDriver {
		return nil, fmt.Errorf("cuda: %w: it supports CUDA %s, at least %s is needed", ErrOldDriver, version(int(v)), version(minDriver))
	}
	if err := check("count the devices", d.DeviceGetCount(&n)); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("cuda: %w", ErrNoDevice)
	}
	s.version, s.count = int(v), int(n)
	if build, err := os.ReadFile(buildFile); err == nil {
		s.build = strings.TrimSpace(string(build))
	}
	return s, nil
}

// version prints a CUDA version, 12040 as "12.4".
func version(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Driver returns the highest CUDA version that the driver supports, as
// 1000·major + 10·minor.
func (s *System) Driver() int { return s.version }

// Build returns the driver's own version, such as "580.65.06", or "" where the
// system does not tell.
func (s *System) Build() string { return s.build }

// Count returns the number of devices that the driver shows to this process
// (CUDA_VISIBLE_DEVICES counts).
func (s *System) Count() int { return s.count }

// Info describes a device without making a context on it: all but MaxClusters2
// and MaxClusters4, which Device.Info asks the device itself.
func (s *System) Info(ordinal int) (gpu.Device, error) {
	_, info, err := s.info(ordinal)
	return info, err
}

func (s *System) info(ordinal int) (handle int32, info gpu.Device, err error) {
	if ordinal < 0 || ordinal >= s.count {
		return 0, info, fmt.Errorf("cuda: %w: number %d of %d", ErrNoDevice, ordinal, s.count)
	}
	ask := func(what string, r driver.Result) {
		if r != driver.Success && err == nil {
			err = s.check(fmt.Sprintf("device %d", ordinal), "", fmt.Sprintf("ask device %d for %s", ordinal, what), r)
		}
	}
	ask("its handle", s.drv.DeviceGet(&handle, int32(ordinal)))
	var name [256]byte
	ask("its name", s.drv.DeviceGetName(&name[0], int32(len(name))-1, handle))
	info.Name = driver.String(&name[0])
	var bytes uint64
	ask("its memory", s.drv.DeviceTotalMem(&bytes, handle))
	info.MemoryBytes = int64(bytes)
	attr := func(what string, a driver.DeviceAttr) int {
		var v int32
		ask(what, s.drv.DeviceGetAttr(&v, a, handle))
		return int(v)
	}
	info.CC = [2]int{attr("its compute capability", driver.AttrCCMajor), attr("its compute capability", driver.AttrCCMinor)}
	info.SMs = attr("its multiprocessors", driver.AttrSMs)
	info.SharedMax = attr("its shared memory", driver.AttrSharedOptin)
	info.L2Bytes = int64(attr("its L2 cache", driver.AttrL2Bytes))
	info.Driver = s.version
	return handle, info, err
}

// Open retains the primary context of a device, which it shares with whatever
// else uses CUDA in the process. After a fault in this process it returns
// ErrDeviceLost.
func (s *System) Open(ordinal int) (*Device, error) {
	if lost := s.lost.Load(); lost != nil {
		return nil, lost
	}
	handle, info, err := s.info(ordinal)
	if err != nil {
		return nil, err
	}
	d := newDevice(s, ordinal, handle, 0, info)
	if err := d.check("open "+d.name, s.drv.PrimaryRetain(&d.ctx, handle)); err != nil {
		return nil, err
	}
	d.primary = true
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Adopt wraps a context that something else in the process has made, such as a
// gorgonia.org/cu context. The owner keeps it: Close leaves the context alone,
// which must outlive the Device.
func (s *System) Adopt(ctx uintptr) (*Device, error) {
	if ctx == 0 {
		return nil, errors.New("cuda: adopt a context: it is nil")
	}
	d := newDevice(s, 0, 0, ctx, gpu.Device{})
	d.name = "adopted context"
	var handle int32
	if err := d.do("ask an adopted context for its device", func() driver.Result { return s.drv.CtxGetDevice(&handle) }); err != nil {
		return nil, err
	}
	for i := range s.count {
		h, info, err := s.info(i)
		if err != nil {
			return nil, err
		}
		if h == handle {
			d = newDevice(s, i, h, ctx, info)
			return d, d.start()
		}
	}
	return nil, fmt.Errorf("cuda: adopt a context: its device %d is none of the %d devices", handle, s.count)
}

// Open opens a device of this machine's driver: Load and System.Open in one.
func Open(ordinal int) (*Device, error) {
	s, err := Load()
	if err != nil {
		return nil, err
	}
	return s.Open(ordinal)
}
