package codegen

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Weights finds a tensor of the spec's weight files: its values, row-major, and
// its shape.
type Weights func(tensor string) (data []float32, shape []int, err error)

// PackOptions steer Pack.
type PackOptions struct {
	Core Core // to plan for
	// Only limits the configurations that the planner may choose.
	Only func(Config) bool
	// Prune makes each weight fit its pattern by dropping the smallest
	// magnitudes, instead of refusing one that does not.
	Prune bool
	// Tuned gives measurements, which decide where there are any; nil: the model does.
	Tuned Tuned
	// Layers limits the result to these layers; nil: all.
	Layers []string
}

// LayerReport is what Pack decided for one linear op.
type LayerReport struct {
	Layer, Tensor string
	Pattern       string
	Plan          *LayerPlan
	Kept          float64 // share of the magnitude that pruning kept; 1 without
}

// Problems are the linear ops of a layer, in order, as the planner sees them.
func Problems(l *ir.Layer) ([]Problem, error) {
	var ps []Problem
	for _, op := range l.Ops {
		if op.Weight == nil {
			continue
		}
		p, err := problemOf(l, op)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// ModelBytes is the size of all weights of a spec's linear layers, stored densely: what
// Problem.Model says.
func ModelBytes(m *ir.Module) int {
	n := 0
	for _, l := range m.Layers {
		for _, op := range l.Ops {
			if w := op.Weight; w != nil {
				n += 4 * w.Out * w.In
			}
		}
	}
	return n
}

func problemOf(l *ir.Layer, op *ir.Op) (Problem, error) {
	if len(l.Dims) > 1 {
		return Problem{}, atPos(op.Pos, "layer %s has %d symbolic extents; kernels take one, the batch", l.Name, len(l.Dims))
	}
	lo, hi := 1, 1
	if len(l.Dims) == 1 {
		lo, hi = max(l.Dims[0].Min, 1), l.Dims[0].Max
	} else if x := op.Args[0]; len(x.Shape) == 2 {
		// A fixed batch.
		lo = x.Shape[1-int(op.Attrs.Get("axis"))].N
		hi = lo
		if op.Attrs.Get("axis") != 0 {
			lo, hi = x.Shape[0].N, x.Shape[0].N
		}
	}
	w := op.Weight
	return Problem{
		Out: w.Out, In: w.In, BatchMin: lo, BatchMax: hi,
		TokenMajor: len(op.Args[0].Shape) < 2 || op.Attrs.Get("axis") != 0,
		Levels:     w.Pattern.Levels(w.Out, w.In),
	}, nil
}

// atPos is an error at a place in the spec.
func atPos(p ir.Pos, format string, args ...any) error {
	return fmt.Errorf("%s: %s", p, fmt.Sprintf(format, args...))
}

// Kernels are the kernels that the layers of m may need: what gen emits. The
// weights are not consulted.
func Kernels(m *ir.Module) ([]Kernel, error) {
	var ks []Kernel
	for _, l := range m.Layers {
		ps, err := Problems(l)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			ks = append(ks, p.Kernels()...)
		}
		for _, op := range l.Ops {
			if k, ok := mapKernels[sgpKind(op)]; ok {
				for _, isa := range ISAs() {
					ks = append(ks, Kernel{runtime.KernelKey{Op: k}, isa})
				}
			}
		}
	}
	return Sort(ks), nil
}

// mapKernels are the activations that have a kernel of their own; relu and
// clamp are part of the linear kernels.
var mapKernels = map[sgp.OpKind]runtime.KernelOp{
	sgp.Gelu: runtime.MapGelu, sgp.GeluTanh: runtime.MapGeluTanh, sgp.Silu: runtime.MapSilu,
	sgp.Sigmoid: runtime.MapSigmoid, sgp.Tanh: runtime.MapTanh,
}

// opKinds maps the language's ops to the packed file's.
var opKinds = map[string]sgp.OpKind{
	"linear": sgp.LinearOp, "relu": sgp.Relu, "clamp": sgp.Clamp, "silu": sgp.Silu,
	"sigmoid": sgp.Sigmoid, "tanh": sgp.Tanh, "add": sgp.Add, "mul": sgp.Mul,
	"softmax": sgp.Softmax, "layernorm": sgp.LayerNorm, "rmsnorm": sgp.RMSNorm, "gelu": sgp.Gelu,
}

func sgpKind(op *ir.Op) sgp.OpKind {
	if op.Kind == "gelu" && op.Attrs.Get("approx") == ir.GeluTanh {
		return sgp.GeluTanh
	}
	return opKinds[op.Kind]
}

// Pack plans every layer of m with the weights' real masks and packs it.
func Pack(m *ir.Module, weights Weights, o PackOptions) (*sgp.Model, []LayerReport, error) {
	model := &sgp.Model{Fingerprint: Fingerprint()}
	var reports []LayerReport
	total := ModelBytes(m)
	for _, l := range m.Layers {
		if o.Layers != nil && !slices.Contains(o.Layers, l.Name) {
			continue
		}
		layer, r, err := packLayer(l, weights, o, total)
		if err != nil {
			return nil, nil, err
		}
		model.Layers = append(model.Layers, *layer)
		reports = append(reports, r...)
	}
	return model, reports, nil
}

func packLayer(l *ir.Layer, weights Weights, o PackOptions, total int) (*sgp.Layer, []LayerReport, error) {
	out := &sgp.Layer{Name: l.Name, BatchMin: 1, BatchMax: 1}
	if len(l.Dims) == 1 {
		out.BatchMin, out.BatchMax = max(l.Dims[0].Min, 1), l.Dims[0].Max
	}
	v := values{layer: l, out: out, index: map[*ir.Value]int{}}
	for _, in := range l.Inputs {
		out.Inputs = append(out.Inputs, v.of(in))
	}
	var reports []LayerReport
	uses := map[*ir.Value]int{}
	for _, op := range l.Ops {
		for _, a := range op.Args {
			uses[a]++
		}
	}
	for _, r := range l.Outputs {
		uses[r]++
	}
	for i := 0; i < len(l.Ops); i++ {
		op := l.Ops[i]
		packed := sgp.Op{Kind: sgpKind(op)}
		for _, a := range op.Args {
			packed.Args = append(packed.Args, v.of(a))
		}
		result := op.Out
		if op.Weight != nil {
			lin, report, err := packLinear(l, op, weights, o, total)
			if err != nil {
				return nil, nil, err
			}
			reports = append(reports, report)
			// An activation that is the only reader of the result runs while the
			// result is in registers or in the cache.
			if i+1 < len(l.Ops) {
				if act := l.Ops[i+1]; isActivation(sgpKind(act)) && act.Args[0] == result && uses[result] == 1 {
					lin.Act = sgpKind(act)
					lin.Lo, lin.Hi = float32(act.Attrs.Get("lo")), float32(act.Attrs.Get("hi"))
					result = act.Out
					i++
				}
			}
			packed.Linear = lin
		} else if err := packAttributes(&packed, op, weights); err != nil {
			return nil, nil, err
		}
		packed.Out = v.of(result)
		out.Ops = append(out.Ops, packed)
	}
	for _, r := range l.Outputs {
		out.Outputs = append(out.Outputs, v.of(r))
	}
	return out, reports, nil
}

func isActivation(k sgp.OpKind) bool {
	return k == sgp.Relu || k == sgp.Clamp || mapKernels[k] != 0
}

func packAttributes(p *sgp.Op, op *ir.Op, weights Weights) error {
	p.Lo, p.Hi, p.Eps = float32(op.Attrs.Get("lo")), float32(op.Attrs.Get("hi")), float32(op.Attrs.Get("eps"))
	switch p.Kind {
	case sgp.Softmax, sgp.LayerNorm, sgp.RMSNorm:
		x := op.Args[0]
		axis := int(op.Attrs.Get("axis"))
		if x.Shape[axis].Sym != "" {
			return atPos(op.Pos, "%s over the batch axis %s has no kernel", op.Kind, x.Shape[axis].Sym)
		}
		p.Group = x.Shape[axis].N
	}
	var err error
	if p.Gain, err = Vector(op.Gain, weights); err != nil {
		return err
	}
	p.Bias, err = Vector(op.Bias, weights)
	return err
}

// Vector reads a weight of one axis; nil for none.
func Vector(w *ir.Weight, weights Weights) ([]float32, error) {
	if w == nil {
		return nil, nil
	}
	data, shape, err := weights(w.Tensor)
	if err != nil {
		return nil, atPos(w.Pos, "%v", err)
	}
	if len(data) != w.Out {
		return nil, atPos(w.Pos, "%q is %v in the file, the layer needs %d values", w.Tensor, shape, w.Out)
	}
	return data, nil
}

// values numbers a layer's values.
type values struct {
	layer *ir.Layer
	out   *sgp.Layer
	index map[*ir.Value]int
}

func (v *values) of(x *ir.Value) int {
	if i, ok := v.index[x]; ok {
		return i
	}
	s := sgp.Value{Name: x.Name}
	batch := false
	for _, e := range x.Shape {
		d := e.N
		if e.Sym != "" {
			d, batch = 0, true
		}
		s.Dims = append(s.Dims, d)
	}
	if !batch { // a layer without a symbolic extent runs a batch of one
		s.Dims = append([]int{0}, s.Dims...)
	}
	v.out.Values = append(v.out.Values, s)
	v.index[x] = len(v.out.Values) - 1
	return v.index[x]
}

// Matrix reads a linear op's weight as an [out, in] matrix.
func Matrix(w *ir.Weight, weights Weights) (patterns.Matrix, error) {
	data, shape, err := weights(w.Tensor)
	if err != nil {
		return patterns.Matrix{}, atPos(w.Pos, "%v", err)
	}
	if len(data) != w.Out*w.In {
		return patterns.Matrix{}, atPos(w.Pos, "%q is %v in the file, the layer needs %d by %d", w.Tensor, shape, w.Out, w.In)
	}
	if !w.Transposed {
		return patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: data}, nil
	}
	t := make([]float32, len(data))
	const block = 32 // keeps both sides in the cache
	for i0 := 0; i0 < w.In; i0 += block {
		for o0 := 0; o0 < w.Out; o0 += block {
			for i := i0; i < min(i0+block, w.In); i++ {
				for o := o0; o < min(o0+block, w.Out); o++ {
					t[o*w.In+i] = data[i*w.Out+o]
				}
			}
		}
	}
	return patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: t}, nil
}

func packLinear(l *ir.Layer, op *ir.Op, weights Weights, o PackOptions, total int) (*sgp.Linear, LayerReport, error) {
	w := op.Weight
	r := LayerReport{Layer: l.Name, Tensor: w.Tensor, Pattern: w.Pattern.String(), Kept: 1}
	p, err := problemOf(l, op)
	if err != nil {
		return nil, r, err
	}
	p.Model = total
	m, err := Matrix(w, weights)
	if err != nil {
		return nil, r, err
	}
	mask, err := MaskFor(w, m, o.Prune)
	if err != nil {
		return nil, r, err
	}
	if o.Prune {
		r.Kept = KeptMagnitude(m, mask)
	}
	lin := &sgp.Linear{Out: w.Out, In: w.In}
	if lin.Bias, err = Vector(op.Bias, weights); err != nil {
		return nil, r, err
	}
	lin.Variants, r.Plan, err = PlanTuned(p, m, mask, o.Core, o.Only, o.Tuned)
	if err != nil {
		return nil, r, atPos(op.Pos, "%v", err)
	}
	return lin, r, nil
}

// MaskFor is what the layer stores of m: the non-zeros, which must lie within
// the pattern, or with prune what the pattern keeps of the largest magnitudes. A
// dense pattern stores everything.
func MaskFor(w *ir.Weight, m patterns.Matrix, prune bool) (*patterns.Mask, error) {
	if prune {
		mask, err := w.Pattern.Prune(m)
		if err != nil {
			return nil, atPos(w.Pos, "%v", err)
		}
		return mask, nil
	}
	nonzero := patterns.MaskOf(m)
	if !w.Pattern.Fits(nonzero) {
		return nil, atPos(w.Pos, "%q has non-zeros (density %.3f) outside %s; prune it first (sparsegen prune, or pack --prune)",
			w.Tensor, nonzero.Density(), w.Pattern)
	}
	if !structureOf(w.Pattern.Levels(m.Rows, m.Cols)).listed {
		return w.Pattern.Prune(m) // dense: zeros are elements like others
	}
	return nonzero, nil
}

// KeptMagnitude is the share of the sum of magnitudes that a mask keeps, 1 of zeros.
func KeptMagnitude(m patterns.Matrix, mask *patterns.Mask) float64 {
	kept, all := 0.0, 0.0
	for r := range m.Rows {
		for c, v := range m.Data[r*m.Stride : r*m.Stride+m.Cols] {
			a := float64(max(v, -v))
			all += a
			if mask.At(r, c) {
				kept += a
			}
		}
	}
	if all == 0 {
		return 1
	}
	return kept / all
}
