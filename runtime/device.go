package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// ErrProcessor is the error of a session on another kind of processor than its
// layer is packed for.
var ErrProcessor = errors.New("packed for another processor")

// Device runs layers that are packed for a GPU; cuda.On of package runtime/cuda
// gives one to NewSession.
type Device interface {
	// NewRunner prepares a layer, whose Check is nil, for batches of up to
	// maxBatch. The weights are mapped from a file: they must be read by Go code
	// on the calling goroutine, where a fault becomes an error of NewSession, and
	// not after NewRunner has returned.
	NewRunner(l gpu.Layer, maxBatch int) (Runner, error)
}

// Runner runs one layer. Its session calls it from one goroutine at a time.
type Runner interface {
	// Run computes the layer for checked arguments of that batch, each
	// [batch, features] in row-major order, and returns when out is written.
	Run(ctx context.Context, batch int, in, out [][]float32) error
	// Close frees what the runner holds.
	Close() error
}

// On lets a session run on a device. The layer must be packed for a GPU.
func On(d Device) Option {
	return func(o *options) error {
		if d == nil {
			return errors.New("no device")
		}
		o.device = d
		return nil
	}
}

// newDeviceSession is NewSession for a layer or a device that is no CPU. The model
// is locked.
func (m *Model) newDeviceSession(l *sgp.Layer, o options) (s *Session, err error) {
	switch {
	case o.device == nil:
		return nil, fmt.Errorf("session of layer %q: %w: it is packed for ptx:%s; give NewSession a device, cuda.On(dev)", l.Name, ErrProcessor, l.Target)
	case l.Target == "":
		return nil, fmt.Errorf("session of layer %q: %w: it is packed for the CPU; write bf16 or f16 for its values and run: go tool sparsegen pack --target ptx:sm_90a", l.Name, ErrProcessor)
	}
	bound, err := gpuLayer(l, m.sets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("%s: layer %q: %w", m.path, l.Name, faultError(p))
		}
	}()
	r, err := o.device.NewRunner(bound, o.maxBatch)
	if err != nil {
		return nil, fmt.Errorf("session of layer %q for batch %d: %w", l.Name, o.maxBatch, err)
	}
	s = &Session{model: m, layer: l.Name, plan: *newPlan(l, sizes{threads: 1, batch: o.maxBatch}), runner: r}
	m.sessions[s] = struct{}{}
	return s, nil
}

// MissingGPUKernelError says that a layer of the file needs a GPU kernel that the
// program's sets do not have.
type MissingGPUKernelError struct {
	Layer, Target, Kernel string
}

func (e *MissingGPUKernelError) Error() string {
	return fmt.Sprintf("layer %q has no kernel %s: the generated package has no kernels for this target, or is older than the packed file; run: go tool sparsegen gen --target ptx:%s",
		e.Layer, e.Kernel, e.Target)
}

var gpuTypes = map[string]gpu.DType{sgp.BF16: gpu.BF16, sgp.F16: gpu.F16}

// gpuLayer is a valid layer with the kernels that it names, checked against them.
func gpuLayer(l *sgp.Layer, sets []Set) (gpu.Layer, error) {
	g := gpu.Layer{
		Name: l.Name, DType: gpuTypes[l.Type], TokensMin: l.BatchMin, TokensMax: l.BatchMax,
		Inputs: l.Inputs, Outputs: l.Outputs,
	}
	for _, v := range l.Values {
		g.Values = append(g.Values, gpu.Value{Name: v.Name, Features: v.Features()})
	}
	for i := range l.Ops {
		op := &l.Ops[i]
		s := gpu.Step{X: op.Args[0], Y: op.Out, Residual: gpu.NoValue, Out: op.Linear.Out, In: op.Linear.In, Bias: op.Linear.Bias}
		if len(op.Args) > 1 {
			s.Residual = op.Args[1]
		}
		for j := range op.Linear.Variants {
			v := &op.Linear.Variants[j]
			k := findGPU(sets, l.Target, v.GPU.Kernel)
			if k == nil {
				return g, &MissingGPUKernelError{Layer: l.Name, Target: l.Target, Kernel: v.GPU.Kernel}
			}
			s.Packings = append(s.Packings, gpu.Packing{TokensMin: v.BatchMin, TokensMax: v.BatchMax, Kernel: k, Weights: v.GPU.Weights, Lists: v.GPU.Lists})
		}
		g.Steps = append(g.Steps, s)
	}
	return g, g.Check()
}

func findGPU(sets []Set, target, name string) *gpu.Kernel {
	for _, s := range sets {
		for i := range s.GPU {
			if k := &s.GPU[i]; k.Target == target && k.Name == name {
				return k
			}
		}
	}
	return nil
}
