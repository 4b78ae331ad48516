package eval

import (
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/patterns"
)

const (
	unit = 0x1p-24  // unit roundoff of float32, to nearest
	tiny = 0x1p-149 // smallest float32: bounds the rounding of a result below the normal range
	// least is the smallest normal float32: a kernel's exp, sigmoid and the like
	// may give 0 for less.
	least = 0x1p-126
)

// gamma is γ_n = n·u/(1 - n·u), which bounds the relative error of n roundings.
func gamma(n int) float64 {
	nu := float64(n) * unit
	if nu >= 1 {
		return math.Inf(1)
	}
	return nu / (1 - nu)
}

// Linear is y = x·Wᵀ + bias over the weights that mask keeps (all when mask is
// nil). w is [out, in]; bias holds out elements or is nil. With axis 1, x is
// [t, in] and y [t, out] (an x of one axis is one row); with axis 0, x is [in,
// t] and y [out, t].
//
// The bound of an element is 2·γ_K·(Σ|w|(|x|+e) + |bias|) + Σ|w|e, with K the
// number of kept weights in its row, one more with a bias, and e the bound of x.
func Linear(w patterns.Matrix, mask *patterns.Mask, bias []float32, x *Tensor, axis int) (*Tensor, error) {
	rank := len(x.Shape)
	if rank == 1 {
		axis = 1
	}
	in := 0 // the axis of x that is contracted
	if rank == 2 {
		in = axis
	}
	switch {
	case rank != 1 && rank != 2 || axis < 0 || axis > 1:
		return nil, fmt.Errorf("linear over axis %d of shape %v", axis, x.Shape)
	case x.Shape[in] != w.Cols:
		return nil, fmt.Errorf("shape %v has %d features, the weight takes %d", x.Shape, x.Shape[in], w.Cols)
	case bias != nil && len(bias) != w.Rows:
		return nil, fmt.Errorf("the bias has %d elements, not %d", len(bias), w.Rows)
	case mask != nil && (mask.Rows != w.Rows || mask.Cols != w.Cols):
		return nil, fmt.Errorf("the mask is %d×%d, the weight %d×%d", mask.Rows, mask.Cols, w.Rows, w.Cols)
	}
	t := 1
	if rank == 2 {
		t = x.Shape[1-axis]
	}
	shape := append([]int(nil), x.Shape...)
	shape[in] = w.Rows
	y := newTensor(shape)
	// Feature-major copies make the inner loop contiguous: xs[c] holds feature c
	// of all rows.
	xs, es := byFeature(x.Data, w.Cols, t, axis), byFeature(x.Bound, w.Cols, t, axis)
	exact := !anyPositive(x.Bound)
	sum, mag, spread := make([]float64, t), make([]float64, t), make([]float64, t)
	for o := range w.Rows {
		b, terms := 0.0, 0
		if bias != nil {
			b, terms = float64(bias[o]), 1
		}
		for r := range t {
			sum[r], mag[r], spread[r] = b, math.Abs(b), 0
		}
		for c, v := range w.Data[o*w.Stride:][:w.Cols] {
			if mask != nil && !mask.At(o, c) {
				continue
			}
			terms++
			wv := float64(v)
			for r, xv := range xs[c*t:][:t] {
				p := wv * xv
				sum[r] += p
				mag[r] += math.Abs(p)
			}
			if exact {
				continue
			}
			for r, e := range es[c*t:][:t] {
				spread[r] += math.Abs(wv) * e
			}
		}
		g := 2 * gamma(terms)
		for r := range t {
			i := o*t + r
			if axis == 1 {
				i = r*w.Rows + o
			}
			y.Data[i] = sum[r]
			y.Bound[i] = g*(mag[r]+spread[r]) + spread[r] + float64(terms)*tiny
		}
	}
	return y, nil
}

// byFeature returns [features, t] data: x itself with axis 0, its transpose with
// axis 1.
func byFeature(x []float64, features, t, axis int) []float64 {
	if axis == 0 || t == 1 {
		return x
	}
	out := make([]float64, len(x))
	for r := range t {
		for c := range features {
			out[c*t+r] = x[r*features+c]
		}
	}
	return out
}

func anyPositive(xs []float64) bool {
	for _, x := range xs {
		if x > 0 || math.IsNaN(x) {
			return true
		}
	}
	return false
}
