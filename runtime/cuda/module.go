package cuda

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// LoadOptions say how PTX is compiled. The zero value is what a program wants.
type LoadOptions struct {
	Compile      Compile
	Cache        *Cache // of linked code; nil for DefaultCache
	NoCache      bool   // compile even where the cache has the code, and do not keep it
	MaxRegisters int    // a cap for each thread; 0 for what the PTX says
	Strict       bool   // make the compiler's warnings an ErrSlowCode
}

// Module is loaded code.
type Module struct {
	object
	Log      string        // the compiler's remarks, also where the code came from the cache
	Warnings []Warning     // those of the log that tell of slow code
	Way      Compile       // how the code was made: CompileLink or CompileDirect
	Cached   bool          // whether the code came from the cache
	Took     time.Duration // to compile, or to read the cache, and to load
	CacheErr error         // why the code could not be put into the cache, which does not fail Load
}

// Load compiles PTX text for the device, or takes the code from the cache, and
// loads it. Errors are ErrIncompatible (text for another GPU), ErrOldDriver (PTX
// newer than the driver), ErrCompile with the compiler's log, and ErrSlowCode.
func (d *Device) Load(ptx string, o LoadOptions) (*Module, error) {
	start := time.Now()
	if strings.ContainsRune(ptx, 0) {
		return nil, fmt.Errorf("cuda: %w: the text has a zero byte", ErrCompile)
	}
	h, err := parseHeader(ptx)
	if err != nil {
		return nil, err
	}
	if err := h.fits(&d.info); err != nil {
		return nil, err
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	m := &Module{}
	if err := d.load(m, ptx, o); err != nil {
		if errors.Is(err, ErrOldDriver) {
			err = fmt.Errorf("the text is PTX %d.%d, the driver supports CUDA %s: %w", h.major, h.minor, version(d.sys.version), err)
		}
		return nil, err
	}
	m.dev, m.what, m.gone, m.destroy = d, "module", ErrClosed, d.drv.ModuleUnload
	m.Warnings = parseWarnings(m.Log)
	m.Took = time.Since(start)
	if o.Strict && len(m.Warnings) > 0 {
		d.drv.ModuleUnload(m.handle)
		return nil, &SlowCodeError{Warnings: m.Warnings}
	}
	d.own(&m.object)
	return m, nil
}

// load fills m in the way that the options ask for. The device is entered.
func (d *Device) load(m *Module, ptx string, o LoadOptions) error {
	text := append([]byte(ptx), 0)
	if o.Compile != CompileDirect {
		cubin, err := d.linked(m, text, o)
		if err != nil || m.handle != 0 {
			return err
		}
		if o.Compile == CompileLink || len(parseWarnings(m.Log)) == 0 {
			m.handle, _, err = d.loadImage("load a cubin", cubin, LoadOptions{})
			return err
		}
	}
	var err error
	m.Way, m.Cached = CompileDirect, false
	m.handle, m.Log, err = d.loadImage("compile PTX", text, o)
	return err
}

// linked returns the linker's code, and sets what m tells about it. Code of the
// cache that is wanted is loaded at once, for the driver may refuse it; fresh code
// goes into the cache. The device is entered.
func (d *Device) linked(m *Module, text []byte, o LoadOptions) (cubin []byte, err error) {
	cache := o.Cache
	if cache == nil {
		cache = DefaultCache()
	}
	if o.NoCache {
		cache = nil
	}
	m.Way = CompileLink
	key := cacheKey(text, o, &d.info, d.sys.build)
	if cache != nil {
		if cubin, log, ok := cache.get(key); ok {
			m.Log, m.Cached = log, true
			if o.Compile == CompileAuto && len(parseWarnings(log)) > 0 {
				return nil, nil
			}
			if m.handle, _, err = d.loadImage("load a cached cubin", cubin, LoadOptions{}); err == nil || errors.Is(err, ErrDeviceLost) {
				return nil, err
			}
		}
	}
	m.Cached = false
	if cubin, m.Log, err = d.link(text, o); err != nil {
		return nil, err
	}
	if cache != nil {
		m.CacheErr = cache.put(key, cubin, m.Log)
	}
	return cubin, nil
}

// Close unloads the code; no launch of it may be under way.
func (m *Module) Close() error { return m.end() }

// Handle returns the driver's CUmodule, for interoperation.
func (m *Module) Handle() uintptr { return m.handle }

// AdoptModule wraps a CUmodule that something else loaded into the device's
// context. Close ends the use of the Module and does not unload.
func (d *Device) AdoptModule(handle uintptr) (*Module, error) {
	if handle == 0 {
		return nil, errors.New("cuda: adopt a module: it is nil")
	}
	m := &Module{}
	m.dev, m.what, m.gone, m.handle = d, "module", ErrClosed, handle
	m.destroy = func(uintptr) driver.Result { return driver.Success }
	d.own(&m.object)
	return m, nil
}

// Function is a kernel of a module.
type Function struct {
	mod    *Module
	handle uintptr
	name   string
	params []int // bytes of each parameter; nil where the driver does not tell

	Registers    int // a thread
	LocalBytes   int // a thread; more than 0 means spills or arrays in local memory
	SharedBytes  int // static shared memory a block
	MaxThreads   int // a block
	SharedMax    int // dynamic shared memory that a launch may ask for
	BinaryTarget int // 90 for sm_90
}

// Function finds a kernel by name and allows it all the shared memory of the
// device.
func (m *Module) Function(name string) (*Function, error) {
	d := m.dev
	if err := m.usable(d); err != nil {
		return nil, err
	}
	if strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("cuda: kernel %q: the name has a zero byte", name)
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	f := &Function{mod: m, name: name}
	cname := append([]byte(name), 0)
	if r := d.drv.ModuleGetFunction(&f.handle, m.handle, &cname[0]); r != driver.Success {
		return nil, d.check("find kernel "+name, r)
	}
	for _, a := range []struct {
		attr driver.FuncAttr
		to   *int
	}{
		{driver.FuncRegisters, &f.Registers}, {driver.FuncLocalBytes, &f.LocalBytes}, {driver.FuncStaticShared, &f.SharedBytes},
		{driver.FuncMaxThreads, &f.MaxThreads}, {driver.FuncBinaryVersion, &f.BinaryTarget},
	} {
		var v int32
		if r := d.drv.FuncGetAttr(&v, a.attr, f.handle); r != driver.Success {
			return nil, d.check("ask for an attribute of kernel "+name, r)
		}
		*a.to = int(v)
	}
	f.SharedMax = max(0, d.info.SharedMax-f.SharedBytes)
	if r := d.drv.FuncSetAttr(f.handle, driver.FuncDynamicShared, int32(f.SharedMax)); r != driver.Success {
		return nil, d.check(fmt.Sprintf("allow kernel %s %d bytes of shared memory", name, f.SharedMax), r)
	}
	f.params = d.params(f.handle)
	return f, nil
}

// maxParams bounds the list of a kernel's parameters: 4 KiB of words.
const maxParams = 1024

// params asks for the sizes of a kernel's parameters, which drivers since CUDA
// 12.4 tell. The device is entered.
func (d *Device) params(fn uintptr) []int {
	if d.drv.FuncGetParamInfo == nil {
		return nil
	}
	sizes := []int{}
	for i := range uint64(maxParams) {
		var offset, size uint64
		if d.drv.FuncGetParamInfo(fn, i, &offset, &size) != driver.Success {
			break
		}
		sizes = append(sizes, int(size))
	}
	return sizes
}

// Name returns the kernel's name.
func (f *Function) Name() string { return f.name }

// Handle returns the driver's CUfunction, for interoperation.
func (f *Function) Handle() uintptr { return f.handle }
