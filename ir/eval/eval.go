// Package eval says what a layer computes: it runs a checked layer in float64
// over dense operands, weights masked by their patterns, and gives for every
// element a bound on the error that a float32 kernel may make. It is the oracle
// of the tests of every backend, so it is written for clarity, without tiling.
//
// # Error bounds
//
// The bound of an element is what a kernel may lie away from the float64 value
// when it works in float32 with unit roundoff u = 2^-24, adds in any order, and
// follows the model below. With γ_n = n·u/(1 - n·u) (Higham, Accuracy and
// Stability of Numerical Algorithms, 2nd ed., section 3.1):
//
//   - linear: 2·γ_K·(Σ|w||x| + |bias|), where K counts the kept weights of the row
//     and the bias, plus Σ|w|·e for an operand x with the bound e. Adding a stored
//     zero rounds nothing, so K does not grow with padding.
//   - add, mul: u times the magnitude of the result, plus what the operands'
//     bounds give, products of bounds included.
//   - relu, clamp, which round nothing: the operand's bound.
//   - gelu, silu, sigmoid, tanh: the operand's bound times a bound on the slope
//     near the operand, plus FuncUlps·u of a scale: |y| of sigmoid and silu, 1 of
//     tanh, |x| of gelu. Results below 2^-126 may be flushed to zero.
//   - softmax: y·(exp(r) - 1), where r adds the relative errors of numerator and
//     denominator.
//   - layernorm, rmsnorm: twice the first-order error, for the two-pass formulas
//     of the manual; where first order does not hold (a row whose spread is not
//     well above its error) the largest value the row can take.
//
// Bounds are propagated from op to op. They are strict but for the norms, whose
// second-order terms the factor two covers, and for the rounding of the bounds
// themselves, which are computed in float64. Each rounding may add 2^-149 for
// results below the normal range. Values of f16 and bf16 add their own rounding after
// every op.
//
// This package must not import any other package of this module but ir and
// patterns.
package eval

import (
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
)

// Lookup returns a tensor of the weight files, row-major, with its shape as
// stored. The result is not written to.
type Lookup func(tensor string) (data []float32, shape []int, err error)

// Tensor is a row-major float64 tensor with a bound on the error of each
// element.
type Tensor struct {
	Shape []int
	Data  []float64
	Bound []float64 // what a float32 kernel may differ from Data; 0 of inputs
}

// Layer runs a checked layer. inputs holds one slice an input, in order, each
// of the size that dims gives; dims holds the size of every symbolic extent,
// within its range. The result holds one tensor an output, in order.
//
// A weight is masked by the mask that its pattern's Prune chooses, so a weight
// that already fits its pattern is used as it is.
func Layer(l *ir.Layer, lookup Lookup, inputs [][]float32, dims map[string]int) ([]*Tensor, error) {
	if err := checkDims(l, dims); err != nil {
		return nil, err
	}
	if len(inputs) != len(l.Inputs) {
		return nil, fmt.Errorf("layer %s has %d inputs, got %d", l.Name, len(l.Inputs), len(inputs))
	}
	vals := make(map[*ir.Value]*Tensor, len(l.Inputs)+len(l.Ops))
	for i, v := range l.Inputs {
		shape, err := v.Size(dims)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
		t := newTensor(shape)
		if len(inputs[i]) != len(t.Data) {
			return nil, fmt.Errorf("layer %s: input %s needs %d elements, got %d", l.Name, v, len(t.Data), len(inputs[i]))
		}
		for j, x := range inputs[i] {
			t.Data[j] = float64(x)
		}
		vals[v] = t
	}
	for _, op := range l.Ops {
		y, err := run(op, vals, lookup)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", op.Pos, op.Kind, err)
		}
		roundTo(y, op.Out.DType)
		vals[op.Out] = y
	}
	outs := make([]*Tensor, len(l.Outputs))
	for i, v := range l.Outputs {
		if outs[i] = vals[v]; outs[i] == nil {
			return nil, fmt.Errorf("layer %s: no op computes output %s", l.Name, v)
		}
	}
	return outs, nil
}

func checkDims(l *ir.Layer, dims map[string]int) error {
	for _, d := range l.Dims {
		n, ok := dims[d.Name]
		if !ok {
			return fmt.Errorf("layer %s: the extent %s has no size", l.Name, d.Name)
		}
		if n < d.Min || n > d.Max {
			return fmt.Errorf("layer %s: the extent %s is %d, outside %d..%d", l.Name, d.Name, n, d.Min, d.Max)
		}
	}
	return nil
}

func newTensor(shape []int) *Tensor {
	n := 1
	for _, e := range shape {
		n *= e
	}
	return &Tensor{Shape: shape, Data: make([]float64, n), Bound: make([]float64, n)}
}

// roundTo adds the rounding of a storage type narrower than float32.
func roundTo(t *Tensor, d ir.DType) {
	var u, tiny float64
	switch d {
	case ir.F16:
		u, tiny = 0x1p-11, 0x1p-25
	case ir.BF16:
		u, tiny = 0x1p-8, 0x1p-134
	default:
		return
	}
	for i, y := range t.Data {
		t.Bound[i] += u*(math.Abs(y)+t.Bound[i]) + tiny
	}
}

// run computes one op.
func run(op *ir.Op, vals map[*ir.Value]*Tensor, lookup Lookup) (*Tensor, error) {
	args := make([]*Tensor, len(op.Args))
	for i, v := range op.Args {
		if args[i] = vals[v]; args[i] == nil {
			return nil, fmt.Errorf("operand %s has no value", v)
		}
	}
	x := args[0]
	bias, err := vector(op.Bias, lookup)
	if err != nil {
		return nil, err
	}
	gain, err := vector(op.Gain, lookup)
	if err != nil {
		return nil, err
	}
	// Kernels hold attributes as float32.
	attr := func(name string) float64 { return float64(float32(op.Attrs.Get(name))) }
	axis := int(op.Attrs.Get("axis"))

	switch op.Kind {
	case "linear":
		w, err := Matrix(op.Weight, lookup)
		if err != nil {
			return nil, err
		}
		mask, err := op.Weight.Pattern.Prune(w)
		if err != nil {
			return nil, fmt.Errorf("weight %q: %w", op.Weight.Tensor, err)
		}
		return Linear(w, mask, bias, x, axis)
	case "add":
		return pair(x, args[1], func(a, b float64) float64 { return a + b },
			func(_, _, ea, eb float64) float64 { return ea + eb }), nil
	case "mul":
		return pair(x, args[1], func(a, b float64) float64 { return a * b },
			func(a, b, ea, eb float64) float64 { return math.Abs(a)*eb + math.Abs(b)*ea + ea*eb }), nil
	case "relu":
		return each(x, clamped(0, math.Inf(1))), nil
	case "clamp":
		return each(x, clamped(attr("lo"), attr("hi"))), nil
	case "sigmoid":
		return each(x, sigmoid), nil
	case "tanh":
		return each(x, tanh), nil
	case "silu":
		return each(x, silu), nil
	case "gelu":
		if op.Attrs.Get("approx") == ir.GeluTanh {
			return each(x, geluTanh), nil
		}
		return each(x, geluErf), nil
	case "softmax":
		return rows(x, axis, softmax), nil
	case "layernorm":
		return rows(x, axis, norm{center: true, eps: attr("eps"), gain: gain, bias: bias}.row), nil
	case "rmsnorm":
		return rows(x, axis, norm{eps: attr("eps"), gain: gain}.row), nil
	}
	return nil, fmt.Errorf("the op has no reference")
}

// vector reads a weight of one axis; nil of nil.
func vector(w *ir.Weight, lookup Lookup) ([]float32, error) {
	if w == nil {
		return nil, nil
	}
	data, _, err := lookup(w.Tensor)
	if err != nil {
		return nil, fmt.Errorf("weight %q: %w", w.Tensor, err)
	}
	if len(data) != w.Out {
		return nil, fmt.Errorf("weight %q has %d elements, not %d", w.Tensor, len(data), w.Out)
	}
	return data, nil
}

// Matrix reads a weight of two axes as [out, in], not masked.
func Matrix(w *ir.Weight, lookup Lookup) (patterns.Matrix, error) {
	data, _, err := lookup(w.Tensor)
	if err != nil {
		return patterns.Matrix{}, fmt.Errorf("weight %q: %w", w.Tensor, err)
	}
	if w.Out < 1 || w.In < 1 || len(data)%w.In != 0 || len(data)/w.In != w.Out {
		return patterns.Matrix{}, fmt.Errorf("weight %q has %d elements, not %d×%d", w.Tensor, len(data), w.Out, w.In)
	}
	if !w.Transposed {
		return patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: data}, nil
	}
	t := make([]float32, len(data))
	for i := range w.In {
		for o := range w.Out {
			t[o*w.In+i] = data[i*w.Out+o]
		}
	}
	return patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: t}, nil
}
