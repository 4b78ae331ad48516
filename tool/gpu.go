package tool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// OpenGPU opens the GPU that layers run on. nil stands for the first that this
// machine's driver shows.
type OpenGPU func() (*cuda.Device, error)

func (open OpenGPU) device() (*cuda.Device, error) {
	if open == nil {
		return cuda.Open(0)
	}
	return open()
}

// gpuProgram is a model's layers on a GPU of this machine. GPU kernels are text, so
// nothing is compiled but by the driver.
type gpuProgram struct {
	*model
	dev *cuda.Device
	dir string

	planned *runtime.Model
	reports []packReport
	opened  []*runtime.Model
}

// onGPU packs a model, all of whose layers run on a GPU, and opens it there: one
// step of p a layer.
func onGPU(ctx context.Context, p *progress, m *model, open OpenGPU) (_ *gpuProgram, err error) {
	dev, err := open.device()
	if err != nil {
		return nil, fmt.Errorf("layer %s runs on a GPU: %w", m.Layers[0].Name, err)
	}
	g := &gpuProgram{model: m, dev: dev}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.dir, err = os.MkdirTemp("", "sparsegen-*"); err != nil {
		return nil, err
	}
	packed, reports, err := packModel(ctx, p, m, codegen.PackOptions{Prune: m.prune})
	if err != nil {
		return nil, err
	}
	g.reports = reports
	g.planned, err = g.open("model.sgp", m.Module, packed)
	return g, err
}

// open writes a packed model and opens it with the kernels of a module's layers.
func (g *gpuProgram) open(name string, m *ir.Module, packed *sgp.Model) (*runtime.Model, error) {
	path := filepath.Join(g.dir, name)
	if err := sgp.WriteFile(path, packed); err != nil {
		return nil, err
	}
	ks, err := gpuKernels(m, g.tuned.gpu.Choice)
	if err != nil {
		return nil, err
	}
	opened, err := runtime.Open(path, runtime.Set{Packing: packed.Fingerprint, GPUPacking: packed.GPUFingerprint, GPU: ks})
	if err == nil {
		g.opened = append(g.opened, opened)
	}
	return opened, err
}

func (g *gpuProgram) close() error {
	var errs []error
	for _, m := range g.opened {
		errs = append(errs, m.Close())
	}
	errs = append(errs, g.dev.Close())
	if g.dir != "" {
		errs = append(errs, os.RemoveAll(g.dir))
	}
	return errors.Join(errs...)
}

// runGPU runs one layer on a GPU.
func runGPU(ctx context.Context, p *progress, m *model, open OpenGPU, inputs [][]float32, dims map[string]int) (_ [][]float32, err error) {
	g, err := onGPU(ctx, p, m, open)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	p.step("run")
	l := m.Layers[0]
	var outputs [][]float32
	for _, v := range l.Outputs {
		n, err := elements(v, dims)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, make([]float32, n))
	}
	n, err := elements(l.Inputs[0], dims)
	if err != nil {
		return nil, err
	}
	s, err := g.planned.NewSession(l.Name, cuda.On(g.dev), runtime.MaxBatch(n/features(l.Inputs[0])))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return outputs, s.Run(ctx, inputs, outputs)
}

func elements(v *ir.Value, dims map[string]int) (int, error) {
	shape, err := v.Size(dims)
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n, err
}

// features is the number of elements of a [t, features] or [features] value for
// one token.
func features(v *ir.Value) int { return v.Shape[len(v.Shape)-1].N }

// distance is how far the results of tensor cores are from the reference: they
// round each value of the layer to a narrow type, so that no element has a bound
// of its own that would tell anything.
type distance struct {
	relative, bound float64 // ‖y - reference‖ / ‖reference‖
	elements        int
	where           string // an element that is no number
}

func (d distance) outside() bool { return d.where != "" || !(d.relative <= d.bound) }

func (d distance) String() string {
	if d.where != "" {
		return d.where
	}
	return fmt.Sprintf("relative error %.2g over %d elements against the float64 reference of the rounded operands; the bound is %.2g", d.relative, d.elements, d.bound)
}

// roundings is the bound for each launch of a layer in sequence, somewhat above
// the deviation of rounding a normally distributed result once.
var roundings = map[ir.DType]struct {
	format narrow.Format
	bound  float64
}{ir.BF16: {narrow.BF16, 3e-3}, ir.F16: {narrow.F16, 4e-4}}

// compareGPU evaluates a layer in float64 on inputs and weights that are rounded as
// the GPU's are, and compares.
func compareGPU(m *model, l *ir.Layer, inputs, outputs [][]float32, dims map[string]int) (distance, error) {
	r := roundings[l.Inputs[0].DType]
	rounded := func(xs []float32) []float32 {
		out := make([]float32, len(xs))
		for i, x := range xs {
			out[i] = r.format.Round(x)
		}
		return out
	}
	matrices := map[string]bool{}
	for _, op := range l.Ops {
		if op.Weight != nil {
			matrices[op.Weight.Tensor] = true
		}
	}
	lookup := func(name string) ([]float32, []int, error) {
		data, shape, err := m.tensor(name)
		if err == nil && matrices[name] {
			data = rounded(data)
		}
		return data, shape, err
	}
	var in [][]float32
	for _, x := range inputs {
		in = append(in, rounded(x))
	}
	want, err := eval.Layer(l, lookup, in, dims)
	if err != nil {
		return distance{}, err
	}
	steps, _ := gpuplan.Steps(l)
	d := distance{bound: r.bound * float64(len(steps))}
	diff, all := 0.0, 0.0
	for k, w := range want {
		for i, y := range outputs[k] {
			v := float64(y)
			if (math.IsNaN(v) || math.IsInf(v, 0)) && d.where == "" && v != w.Data[i] {
				d.where = fmt.Sprintf("%s[%d] = %g for %g", l.Outputs[k].Name, i, y, w.Data[i])
			}
			diff += (v - w.Data[i]) * (v - w.Data[i])
			all += w.Data[i] * w.Data[i]
			d.elements++
		}
	}
	d.relative = math.Sqrt(diff / max(all, math.SmallestNonzeroFloat64))
	return d, nil
}
