// Package driver is the CUDA driver's API as a table of Go functions: one field a
// function, filled from libcuda.so.1 by Open, or by a test with a fake. It knows
// signatures and layouts, not what they are good for.
//
// It must not import any other package of this module; only package
// runtime/cuda and its helpers may import it.
package driver

import "unsafe"

// Driver is the table. The tag names the exported symbol, version suffix
// included: the plain names of cuda.h are macros, and dlsym on a plain name
// returns the oldest ABI. A symbol with ",optional" may be absent, and then its
// field is nil.
//
// Handles and device addresses are uintptr and uint64; pointers into Go memory
// are typed and must stay reachable until the call returns.
type Driver struct {
	Init             func(flags uint32) Result                                                 `sym:"cuInit"`
	DriverGetVersion func(version *int32) Result                                               `sym:"cuDriverGetVersion"`
	GetErrorName     func(r Result, name **byte) Result                                        `sym:"cuGetErrorName"`
	GetErrorString   func(r Result, text **byte) Result                                        `sym:"cuGetErrorString"`
	DeviceGetCount   func(n *int32) Result                                                     `sym:"cuDeviceGetCount"`
	DeviceGet        func(dev *int32, ordinal int32) Result                                    `sym:"cuDeviceGet"`
	DeviceGetName    func(name *byte, size int32, dev int32) Result                            `sym:"cuDeviceGetName"`
	DeviceGetAttr    func(v *int32, a DeviceAttr, dev int32) Result                            `sym:"cuDeviceGetAttribute"`
	DeviceTotalMem   func(bytes *uint64, dev int32) Result                                     `sym:"cuDeviceTotalMem_v2"`
	PrimaryRetain    func(ctx *uintptr, dev int32) Result                                      `sym:"cuDevicePrimaryCtxRetain"`
	PrimaryRelease   func(dev int32) Result                                                    `sym:"cuDevicePrimaryCtxRelease_v2"`
	CtxSetCurrent    func(ctx uintptr) Result                                                  `sym:"cuCtxSetCurrent"`
	CtxGetDevice     func(dev *int32) Result                                                   `sym:"cuCtxGetDevice"`
	CtxSynchronize   func() Result                                                             `sym:"cuCtxSynchronize"`
	MemGetInfo       func(free, total *uint64) Result                                          `sym:"cuMemGetInfo_v2"`
	MemAlloc         func(addr *uint64, bytes uint64) Result                                   `sym:"cuMemAlloc_v2"`
	MemFree          func(addr uint64) Result                                                  `sym:"cuMemFree_v2"`
	MemAllocHost     func(p *unsafe.Pointer, bytes uint64) Result                              `sym:"cuMemAllocHost_v2"`
	MemFreeHost      func(p unsafe.Pointer) Result                                             `sym:"cuMemFreeHost"`
	MemcpyHtoD       func(dst uint64, src unsafe.Pointer, bytes uint64, stream uintptr) Result `sym:"cuMemcpyHtoDAsync_v2"`
	MemcpyDtoH       func(dst unsafe.Pointer, src uint64, bytes uint64, stream uintptr) Result `sym:"cuMemcpyDtoHAsync_v2"`
	MemcpyDtoD       func(dst, src uint64, bytes uint64, stream uintptr) Result                `sym:"cuMemcpyDtoDAsync_v2"`
	MemsetD8         func(dst uint64, v uint8, n uint64, stream uintptr) Result                `sym:"cuMemsetD8Async"`
	MemsetD32        func(dst uint64, v uint32, n uint64, stream uintptr) Result               `sym:"cuMemsetD32Async"`

	ModuleLoadData    func(mod *uintptr, image unsafe.Pointer, n uint32, opts *JITOption, values *uintptr) Result                                        `sym:"cuModuleLoadDataEx"`
	ModuleUnload      func(mod uintptr) Result                                                                                                           `sym:"cuModuleUnload"`
	ModuleGetFunction func(fn *uintptr, mod uintptr, name *byte) Result                                                                                  `sym:"cuModuleGetFunction"`
	LinkCreate        func(n uint32, opts *JITOption, values *uintptr, state *uintptr) Result                                                            `sym:"cuLinkCreate_v2"`
	LinkAddData       func(state uintptr, typ JITInput, data unsafe.Pointer, size uint64, name *byte, n uint32, opts *JITOption, values *uintptr) Result `sym:"cuLinkAddData_v2"`
	LinkComplete      func(state uintptr, cubin *unsafe.Pointer, size *uint64) Result                                                                    `sym:"cuLinkComplete"`
	LinkDestroy       func(state uintptr) Result                                                                                                         `sym:"cuLinkDestroy"`
	FuncGetAttr       func(v *int32, a FuncAttr, fn uintptr) Result                                                                                      `sym:"cuFuncGetAttribute"`
	FuncSetAttr       func(fn uintptr, a FuncAttr, v int32) Result                                                                                       `sym:"cuFuncSetAttribute"`
	FuncGetParamInfo  func(fn uintptr, index uint64, offset, size *uint64) Result                                                                        `sym:"cuFuncGetParamInfo,optional"` // since CUDA 12.4

	LaunchKernel      func(c *LaunchConfig, fn uintptr, params *unsafe.Pointer, extra *unsafe.Pointer) Result                                                                         `sym:"cuLaunchKernelEx"`
	OccupancyBlocks   func(n *int32, fn uintptr, blockSize int32, shared uint64) Result                                                                                               `sym:"cuOccupancyMaxActiveBlocksPerMultiprocessor"`
	OccupancyClusters func(n *int32, fn uintptr, c *LaunchConfig) Result                                                                                                              `sym:"cuOccupancyMaxActiveClusters"`
	TensorMapEncode   func(m *TensorMap, typ TensorMapType, rank uint32, addr uint64, dims, strides *uint64, box, elementStrides *uint32, interleave, swizzle, l2, oob uint32) Result `sym:"cuTensorMapEncodeTiled"`

	StreamCreate       func(s *uintptr, flags uint32) Result                   `sym:"cuStreamCreate"`
	StreamDestroy      func(s uintptr) Result                                  `sym:"cuStreamDestroy_v2"`
	StreamSynchronize  func(s uintptr) Result                                  `sym:"cuStreamSynchronize"`
	StreamWaitEvent    func(s, e uintptr, flags uint32) Result                 `sym:"cuStreamWaitEvent"`
	StreamBeginCapture func(s uintptr, mode CaptureMode) Result                `sym:"cuStreamBeginCapture_v2"`
	StreamEndCapture   func(s uintptr, graph *uintptr) Result                  `sym:"cuStreamEndCapture"`
	EventCreate        func(e *uintptr, flags uint32) Result                   `sym:"cuEventCreate"`
	EventDestroy       func(e uintptr) Result                                  `sym:"cuEventDestroy_v2"`
	EventRecord        func(e, s uintptr) Result                               `sym:"cuEventRecord"`
	EventSynchronize   func(e uintptr) Result                                  `sym:"cuEventSynchronize"`
	EventElapsedTime   func(ms *float32, from, to uintptr) Result              `sym:"cuEventElapsedTime"`
	GraphInstantiate   func(exec *uintptr, graph uintptr, flags uint64) Result `sym:"cuGraphInstantiateWithFlags"`
	GraphUpload        func(exec, s uintptr) Result                            `sym:"cuGraphUpload"`
	GraphLaunch        func(exec, s uintptr) Result                            `sym:"cuGraphLaunch"`
	GraphExecDestroy   func(exec uintptr) Result                               `sym:"cuGraphExecDestroy"`
	GraphDestroy       func(graph uintptr) Result                              `sym:"cuGraphDestroy"`
}
