package gpuplan

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Step is what one launch computes: a linear op, and behind it perhaps an
// activation and an addition, which the kernel does before it rounds.
type Step struct {
	Linear   *ir.Op
	Act, Add *ir.Op // or nil
	X, Out   *ir.Value
	Residual *ir.Value // what Add adds; nil without it

	last int // place in the layer of the last op among them
}

// Unsupported is a part of a layer that no GPU kernel computes.
type Unsupported struct {
	Pos       ir.Pos
	Msg, Hint string
}

// types are the element types that layers on a GPU may have.
var types = map[ir.DType]gpu.DType{ir.BF16: gpu.BF16, ir.F16: gpu.F16}

// Takes reports whether a layer's values have a type that GPU kernels compute in.
func Takes(l *ir.Layer) bool {
	ok := func(v *ir.Value) bool { return types[v.DType] != 0 }
	return len(l.Inputs) > 0 && !slices.ContainsFunc(slices.Concat(l.Inputs, l.Outputs), func(v *ir.Value) bool { return !ok(v) })
}

// activation is an op that a kernel does to its sums.
type activation struct {
	kernel kernels.Activation
	packed sgp.OpKind
	of     func(float64) float64
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func geluTanh(x float64) float64 {
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
}

// activationOf returns the activation that an op is, ok false for other ops.
func activationOf(op *ir.Op) (a activation, ok bool) {
	if op.Kind == "gelu" && op.Attrs.Get("approx") == ir.GeluTanh {
		return activation{kernels.GELUTanh, sgp.GeluTanh, geluTanh}, true
	}
	a, ok = map[string]activation{
		"relu":    {kernels.ReLU, sgp.Relu, func(x float64) float64 { return max(x, 0) }},
		"silu":    {kernels.SiLU, sgp.Silu, func(x float64) float64 { return x * sigmoid(x) }},
		"sigmoid": {kernels.Sigmoid, sgp.Sigmoid, sigmoid},
		"tanh":    {kernels.Tanh, sgp.Tanh, math.Tanh},
		"gelu":    {kernels.GELU, sgp.Gelu, func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }},
	}[op.Kind]
	return a, ok
}

// Steps cuts a layer into launches, in the order in which they run, and lists
// what is left over.
func Steps(l *ir.Layer) ([]Step, []Unsupported) {
	var bad []Unsupported
	report := func(op *ir.Op, hint, format string, args ...any) {
		bad = append(bad, Unsupported{op.Pos, fmt.Sprintf(format, args...), hint})
	}
	uses := map[*ir.Value]int{}
	for _, op := range l.Ops {
		for _, a := range op.Args {
			uses[a]++
		}
	}
	for _, v := range l.Outputs {
		uses[v]++
	}
	var steps []*Step
	open := map[*ir.Value]*Step{} // by the result of the step so far
	extend := func(s *Step, i int) {
		delete(open, s.Out)
		s.Out, s.last = l.Ops[i].Out, i
		open[s.Out] = s
	}
	// behind is the step whose result only this op reads.
	behind := func(v *ir.Value) *Step {
		if s := open[v]; s != nil && uses[v] == 1 {
			return s
		}
		return nil
	}
	for i, op := range l.Ops {
		_, act := activationOf(op)
		switch {
		case op.Weight != nil:
			if why := tokenMajor(op); why != "" {
				report(op, why, "linear over the first axis has no kernel on a GPU")
			}
			s := &Step{Linear: op, X: op.Args[0], Out: op.Out, last: i}
			steps = append(steps, s)
			open[op.Out] = s
		case act:
			s := behind(op.Args[0])
			if s == nil || s.Act != nil || s.Add != nil {
				report(op, "kernels apply it to the result of a linear op that nothing else reads: linear(...) | "+op.Kind, "%s has no kernel of its own on a GPU", op.Kind)
				continue
			}
			s.Act = op
			extend(s, i)
		case op.Kind == "add":
			s, other := behind(op.Args[0]), op.Args[1]
			if r := behind(op.Args[1]); r != nil && r.Add == nil && (s == nil || s.Add != nil || r.last > s.last) {
				s, other = r, op.Args[0]
			}
			if s == nil || s.Add != nil {
				report(op, "kernels add to the result of a linear op that nothing else reads: x + linear(...)", "add has no kernel of its own on a GPU")
				continue
			}
			s.Add, s.Residual = op, other
			extend(s, i)
		default:
			report(op, "", "%s has no kernel on a GPU", op.Kind)
		}
	}
	slices.SortStableFunc(steps, func(a, b *Step) int { return cmp.Compare(a.last, b.last) })
	out := make([]Step, len(steps))
	for i, s := range steps {
		out[i] = *s
	}
	return out, bad
}

// tokenMajor says how to write a linear op whose features are not the last axis
// of two, "" for one that is right.
func tokenMajor(op *ir.Op) string {
	x := op.Args[0]
	if len(x.Shape) > 2 || len(x.Shape) == 2 && op.Attrs.Get("axis") == 0 {
		return "kernels take [t, features]"
	}
	return ""
}

func (s *Step) activation() kernels.Activation {
	if s.Act == nil {
		return kernels.Identity
	}
	a, _ := activationOf(s.Act)
	return a.kernel
}
