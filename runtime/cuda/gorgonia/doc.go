// Package gorgonia lets package cuda and gorgonia.org/cu work on one context: each
// side's contexts, modules and device memory as the other's types. What is
// adopted stays its owner's to destroy.
//
//	ctx, _ := cu.Device(0).RetainPrimaryCtx()       // or one of MakeContext
//	dev, err := gorgonia.AdoptContext(sys, ctx)     // theirs to ours
//	mod, err := dev.Load(kernel.PTX, cuda.LoadOptions{})
//	x, err := gorgonia.AdoptMemory(dev, ptr, bytes) // a cu.DevicePtr
//
// A device that package cuda opened has the primary context, which cu reaches by
// Context. Work of two streams has no order: synchronise, or launch what cu
// launches into the stream that Stream gives.
//
// The package is built with the tag gorgoniacu and cgo only, and is a module of its
// own, so that nobody else gets the requirements of gorgonia.org/cu. That
// (v0.9.6, the newest) compiles against the cuda.h of CUDA 11 and 12; 13 renamed
// five of the functions that it calls. A program that was built with the
// headers of 12 runs on a driver of 13, which keeps the older functions. Its binary
// needs libcuda.so.1 to start, other than one with package cuda alone.
//
// The package must not import anything of sparsegen but runtime/cuda.
package gorgonia
