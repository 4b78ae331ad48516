package torture

import (
	"math"

	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/runtime"
)

// judge compares the outputs of the pure-Go kernels with the float64 reference by
// its bound. The case proves something if an output lies further from what zeros
// for inputs give than both bounds together.
//
// The bound holds where no sum overflows. In a token with an infinite or NaN input,
// a result that is finite in both has to lie within it; a kernel may give NaN
// elsewhere, since a stored zero times infinity is NaN (docs/numerics.md). A token
// with inputs so large that sums may overflow on their way is not judged, and no
// token is where a weight is so large.
func (e *engine) judge(c *Case, l *ir.Layer, weights tensors, runs map[int]*batchRun, got [][]float32) (proves bool, fault *finding, err error) {
	still, err := reference(c, l, weights, c.batchMin, nil)
	if err != nil {
		return false, nil, err
	}
	done := map[int]*eval.Tensor{}
	for i, batch := range c.batches {
		r := runs[batch]
		if done[batch] == nil {
			if done[batch], err = reference(c, l, weights, batch, r.in); err != nil {
				return false, nil, err
			}
			if e.faults.Bounds != nil {
				e.faults.Bounds(done[batch].Bound)
			}
		}
		want := done[batch]
		for t, risk := range r.risks {
			if risk == overflow {
				continue
			}
			for f := range c.out() {
				at := c.at(t, f, c.out(), batch)
				y, ref, bound := float64(got[i][at]), want.Data[at], want.Bound[at]
				if risk == infinite && (!finite(y) || !finite(ref) || math.IsNaN(bound)) {
					continue
				}
				if !(math.Abs(y-ref) <= bound) {
					return false, wrong(runtime.Generic, "batch %d: y of token %d, feature %d is %v where float64 gives %v, by %.3g more than the bound %.3g",
						batch, t, f, got[i][at], ref, math.Abs(y-ref)-bound, bound), nil
				}
				if !proves {
					zero := c.at(0, f, c.out(), c.batchMin)
					proves = math.Abs(ref-still.Data[zero]) > bound+still.Bound[zero]
				}
			}
		}
	}
	return proves, nil, nil
}

func finite(x float64) bool { return !math.IsInf(x, 0) && x == x }

// reference evaluates the layer in float64, of zeros where in is nil.
func reference(c *Case, l *ir.Layer, weights tensors, batch int, in [][]float32) (*eval.Tensor, error) {
	if in == nil {
		for _, v := range l.Inputs {
			n := batch
			for _, e := range v.Shape {
				if e.Sym == "" {
					n *= e.N
				}
			}
			in = append(in, make([]float32, n))
		}
	}
	dims := map[string]int{}
	if !c.vector {
		dims["t"] = batch
	}
	y, err := eval.Layer(l, weights.lookup, in, dims)
	if err != nil {
		return nil, err
	}
	return y[0], nil
}

// same compares the outputs of a level with those of the pure-Go kernels by ==,
// where any NaN is like any other.
func (c *Case) same(isa runtime.ISA, got, want [][]float32) *finding {
	for i, batch := range c.batches {
		for at, w := range want[i] {
			g := got[i][at]
			if math.Float32bits(g) == math.Float32bits(w) || g != g && w != w {
				continue
			}
			t, f := at/c.out(), at%c.out()
			if c.featureMajor {
				t, f = at%batch, at/batch
			}
			return wrong(isa, "batch %d: y of token %d, feature %d is %v (%#08x) where pure Go gives %v (%#08x)",
				batch, t, f, g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
	return nil
}
