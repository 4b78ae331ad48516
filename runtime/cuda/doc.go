// Package cuda runs GPU kernels through the CUDA driver: it loads PTX text,
// keeps the compiled code in a cache, owns device memory, and launches what
// package runtime/gpu describes. It binds libcuda.so.1 without cgo and needs no
// toolkit; a machine without a driver gets one clear error from Load.
//
//	sys, err := cuda.Load()
//	dev, err := sys.Open(0)
//	defer dev.Close()
//	mod, err := dev.Load(kernel.PTX, cuda.LoadOptions{})
//	fn, err := mod.Function(kernel.Name)
//	x, err := dev.Alloc(1 << 20)
//	err = cuda.Upload(dev.Stream(), x, values)
//	run, err := dev.Prepare(fn, launch, cuda.Buffers{gpu.X: x, gpu.Y: y})
//	err = run.Launch(dev.Stream())
//	err = cuda.Download(dev.Stream(), result, y)
//
// That is the machinery. A packed layer of package runtime needs none of it: On
// lets a session run on a device, and NewSession makes one whose inputs and
// outputs stay there.
//
// A Device and everything made from it may be used by many goroutines at once,
// but for the objects that say otherwise. Work in one Stream runs in the order in
// which it was given; Upload and Download return when the bytes have arrived.
//
// After a kernel faults the driver refuses the whole process, and no release,
// reset or second Load brings CUDA back: every call, Open too, then returns
// ErrDeviceLost with the first cause. The process itself goes on, without CUDA;
// a program that must survive faults keeps its kernels in a process of their own.
//
// The package must not import ptx, ir, codegen or asm, nor may the runtime
// package import it: a program without a GPU does not pay for the binding.
package cuda
