//go:build linux && (amd64 || arm64)

package driver

import (
	"reflect"
	"strings"
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
// through package reflect with an allocation each, by direct calls.
func (d *Driver) direct(addrs map[string]uintptr) {
	setCurrent := addrs["cuCtxSetCurrent"]
	d.CtxSetCurrent = func(ctx uintptr) Result {
		r, _, _ := purego.SyscallN(setCurrent, ctx)
		return Result(r)
	}
	launch := addrs["cuLaunchKernelEx"]
	d.LaunchKernel = func(c *LaunchConfig, fn uintptr, params, extra *unsafe.Pointer) Result {
		r, _, _ := purego.SyscallN(launch, uintptr(unsafe.Pointer(c)), fn, uintptr(unsafe.Pointer(params)), uintptr(unsafe.Pointer(extra)))
		return Result(r)
	}
	graphLaunch := addrs["cuGraphLaunch"]
	d.GraphLaunch = func(exec, s uintptr) Result {
		r, _, _ := purego.SyscallN(graphLaunch, exec, s)
		return Result(r)
	}
	synchronize := addrs["cuStreamSynchronize"]
	d.StreamSynchronize = func(s uintptr) Result {
		r, _, _ := purego.SyscallN(synchronize, s)
		return Result(r)
	}
	record := addrs["cuEventRecord"]
	d.EventRecord = func(e, s uintptr) Result {
		r, _, _ := purego.SyscallN(record, e, s)
		return Result(r)
	}
	wait := addrs["cuStreamWaitEvent"]
	d.StreamWaitEvent = func(s, e uintptr, flags uint32) Result {
		r, _, _ := purego.SyscallN(wait, s, e, uintptr(flags))
		return Result(r)
	}
}
