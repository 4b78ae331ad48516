package tool

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudasim"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// simulator is a simulated GPU that may have been opened.
type simulator struct{ dev *cudasim.Device }

// open returns a way to open the simulator with the kernels of a module.
func (s *simulator) open(m *ir.Module, tuned gpuplan.Tuned, o cudasim.Options) (OpenGPU, error) {
	ks, err := gpuKernels(m, tuned)
	if err != nil {
		return nil, err
	}
	if len(ks) == 0 {
		return nil, errNoGPULayer
	}
	return func() (*cuda.Device, error) {
		d, err := cudasim.Open(ks, o)
		if err != nil {
			return nil, err
		}
		s.dev = d
		return d.Device, nil
	}, nil
}

// explain is an error with the mistake of a kernel that led to it, if there was one.
func (s *simulator) explain(err error) error {
	if s.dev != nil && s.dev.Err() != nil {
		return s.dev.Err()
	}
	return err
}

// traceRows is how many rows explain --print trace runs a layer on, where the layer
// takes as many.
const traceRows = 8

// explainTrace runs a layer on a simulated GPU and prints what the warps and copies
// of its first blocks do to each other, and how its kernels use the memories.
func explainTrace(ctx context.Context, c Console, o ExplainOptions) error {
	o.Retarget, _ = o.simulated()
	m, err := o.Source.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Layers, err = layers(m.Module, o.Layer); err != nil {
		return err
	}
	if len(m.Layers) > 1 {
		_, err := layers(m.Module, "?")
		return fmt.Errorf("name a layer with --layer: %w", err)
	}
	l := m.Layers[0]
	dims := map[string]int{}
	for _, d := range l.Dims {
		dims[d.Name] = max(d.Min, min(d.Max, traceRows))
	}
	inputs, err := randomInputs(rand.New(rand.NewPCG(1, 2)), l, dims)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.Out)
	t := &tracer{w: out}
	sim := &simulator{}
	open, err := sim.open(m.Module, m.tuned.gpu.Choice, cudasim.Options{Start: t.start, Trace: t.event, Done: t.done})
	if err != nil {
		return err
	}
	p := newProgress(c, 2)
	_, err = runGPU(ctx, p, m, open, inputs, dims)
	p.end()
	return cmp.Or(sim.explain(err), t.err, out.Flush())
}

// tracer prints what happens in the first cluster of each launch.
type tracer struct {
	w      io.Writer
	blocks int // of the first cluster
	err    error
}

func (t *tracer) start(k *gpu.Kernel, l gpu.Launch) {
	t.blocks = int(max(1, l.Cluster[0]))
	fmt.Fprintf(t.w, "launch %s: grid %d x %d x %d, blocks of %d threads", k.Name, l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0])
	if t.blocks > 1 {
		fmt.Fprintf(t.w, " in clusters of %d", t.blocks)
	}
	fmt.Fprintf(t.w, ", %d bytes of shared memory\n", l.Shared)
}

func (t *tracer) event(e ptxsim.Event) {
	if e.Block < t.blocks {
		fmt.Fprintln(t.w, "  "+e.String())
	}
}

func (t *tracer) done(_ *gpu.Kernel, r ptxsim.Report) {
	if err := r.WriteText(t.w, true); t.err == nil {
		t.err = err
	}
	fmt.Fprintln(t.w)
}
