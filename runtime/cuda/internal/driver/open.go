//go:build linux && (amd64 || arm64)

package driver

import (
	"reflect"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is the file name that the driver's package installs.
const Library = "libcuda.so.1"

// Open fills a table from the driver's library. The library stays loaded: the
// driver keeps threads and exit handlers that would outlive it.
func Open(library string) (*Driver, error) {
	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, &NoLibraryError{Err: err}
	}
	d := new(Driver)
	addrs := make(map[string]uintptr)
	v := reflect.ValueOf(d).Elem()
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("sym"), ",")
		addr, err := purego.Dlsym(lib, name)
		if err != nil {
			if option == "optional" {
				continue
			}
			return nil, &NoSymbolError{Symbol: name, Err: err}
		}
		addrs[name] = addr
		purego.RegisterFunc(v.Field(i).Addr().Interface(), addr)
	}
	d.direct(addrs)
	return d, nil
}

// direct replaces the functions of the steady state, which RegisterFunc calls
// through package reflect with allocations, by direct calls.
func (d *Driver) direct(addrs map[string]uintptr) {
	var c caller
	c.args.New = func() any { return new([4]uintptr) }
	setCurrent := addrs["cuCtxSetCurrent"]
	d.CtxSetCurrent = func(ctx uintptr) Result { return c.call(setCurrent, ctx, 0, 0, 0) }
	launch := addrs["cuLaunchKernelEx"]
	d.LaunchKernel = func(l *LaunchConfig, fn uintptr, params, extra *unsafe.Pointer) Result {
		return c.call(launch, uintptr(unsafe.Pointer(l)), fn, uintptr(unsafe.Pointer(params)), uintptr(unsafe.Pointer(extra)))
	}
	graphLaunch := addrs["cuGraphLaunch"]
	d.GraphLaunch = func(exec, s uintptr) Result { return c.call(graphLaunch, exec, s, 0, 0) }
	synchronize := addrs["cuStreamSynchronize"]
	d.StreamSynchronize = func(s uintptr) Result { return c.call(synchronize, s, 0, 0, 0) }
	record := addrs["cuEventRecord"]
	d.EventRecord = func(e, s uintptr) Result { return c.call(record, e, s, 0, 0) }
	wait := addrs["cuStreamWaitEvent"]
	d.StreamWaitEvent = func(s, e uintptr, flags uint32) Result { return c.call(wait, s, e, uintptr(flags), 0) }
}

// caller calls C functions of up to four arguments, all in registers, where those
// too many do no harm. SyscallN's list of arguments always escapes to the heap, so
// the lists are kept.
type caller struct{ args sync.Pool }

// The directive keeps alive what the arguments point to.
//
//go:uintptrescapes
func (c *caller) call(fn, a0, a1, a2, a3 uintptr) Result {
	args := c.args.Get().(*[4]uintptr)
	*args = [4]uintptr{a0, a1, a2, a3}
	r, _, _ := purego.SyscallN(fn, args[:]...)
	c.args.Put(args)
	return Result(r)
}
