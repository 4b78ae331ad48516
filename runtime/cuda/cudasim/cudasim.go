// Package cudasim is a GPU without a GPU: a CUDA driver whose one device executes
// the PTX text of its kernels, instruction by instruction, by package ptxsim. All
// that a session does on a GPU happens on it, thousands of times slower, and a
// mistake of a kernel ends with its name.
//
// It is for looking into kernels and for tests; a program that serves must not
// import it. It must not import anything of this module but ptxsim, runtime/gpu,
// runtime/cuda and cudatest.
package cudasim

import (
	"errors"
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// memory is what the device has.
const memory = 16 << 30

// Options say how kernels are executed, and who looks on.
type Options struct {
	Seed  uint64                               // as of ptxsim.Options
	Start func(k *gpu.Kernel, l gpu.Launch)    // called before a launch, nil for nobody
	Trace func(e ptxsim.Event)                 // nil for nobody
	Done  func(k *gpu.Kernel, r ptxsim.Report) // called after a launch without a mistake, nil for nobody
}

// Device is a simulated GPU.
type Device struct {
	*cuda.Device
	err error
}

// Open returns a device that executes the given kernels. It says of itself what an
// H200 does.
func Open(kernels []gpu.Kernel, o Options) (*Device, error) {
	spec := cudatest.H200
	spec.Name, spec.Memory = "simulated H200", memory
	f := cudatest.New(spec)
	f.Record = false
	d := &Device{}
	for i := range kernels {
		k := &kernels[i]
		run := Kernel(k, o)
		f.Kernels[k.Name] = func(l *cudatest.Launch) error {
			err := run(l)
			if d.err == nil {
				d.err = err
			}
			return err
		}
	}
	sys, err := cuda.New(f.Driver())
	if err != nil {
		return nil, err
	}
	d.Device, err = sys.Open(0)
	return d, err
}

// Err is the first mistake of a kernel that ran on the device, which the driver
// reports as a fault without a reason.
func (d *Device) Err() error { return d.err }

// Kernel is what a kernel's text says, for a driver of package cudatest.
func Kernel(k *gpu.Kernel, o Options) cudatest.Kernel {
	return func(l *cudatest.Launch) error {
		launch := gpu.Launch{Grid: l.Grid, Block: l.Block, Cluster: l.Cluster, Shared: l.Shared, PDL: l.PDL}
		mem := ptxsim.Memory{}
		for i, p := range k.Params {
			switch p.Kind {
			case gpu.ArgMap:
				m := l.Map(i)
				launch.Args = append(launch.Args, gpu.MapArg(gpu.TensorMap{
					DType: p.Map.DType, Of: p.Map.Of, Dims: m.Dims, Strides: m.Strides, Box: m.Box,
					Swizzle: gpu.Swizzle(m.Swizzle), L2: gpu.L2Promotion(m.L2),
				}))
				mem[p.Map.Of] = l.Rest(m.Addr)
			case gpu.ArgPtr:
				launch.Args = append(launch.Args, gpu.PtrArg(p.Of, 0))
				mem[p.Of] = l.Rest(l.U64(i))
			case gpu.ArgU32:
				launch.Args = append(launch.Args, gpu.U32Arg(l.U32(i)))
			case gpu.ArgU64:
				launch.Args = append(launch.Args, gpu.U64Arg(l.U64(i)))
			case gpu.ArgF32:
				launch.Args = append(launch.Args, gpu.F32Arg(math.Float32frombits(l.U32(i))))
			}
		}
		if o.Start != nil {
			o.Start(k, launch)
		}
		r, err := ptxsim.Simulate(k, launch, mem, ptxsim.Options{Seed: o.Seed, Trace: o.Trace})
		var f *ptxsim.Fault
		if errors.As(err, &f) && f.Kind == ptxsim.OutOfBounds { // what a GPU sees as well
			err = fmt.Errorf("%w (%w)", f, cudatest.ErrFault)
		}
		if err != nil {
			return fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		if o.Done != nil {
			o.Done(k, *r)
		}
		return nil
	}
}
