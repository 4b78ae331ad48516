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
	sum, mag, spread, unread := make([]float64, t), make([]float64, t), make([]float64, t), make([]float64, t)
	var kept, size []float64 // the weights of a row, and their magnitudes
	var ops, errs [][]float64
	for o := range w.Rows {
		kept, size, ops, errs = kept[:0], size[:0], ops[:0], errs[:0]
		for c, v := range w.Data[o*w.Stride:][:w.Cols] {
			if mask == nil || mask.At(o, c) {
				kept, ops = append(kept, float64(v)), append(ops, xs[c*t:][:t])
				size, errs = append(size, math.Abs(float64(v))), append(errs, es[c*t:][:t])
			}
		}
		b, terms := 0.0, len(kept)
		if bias != nil {
			b = float64(bias[o])
			terms++
		}
		for r := range t {
			sum[r], mag[r], spread[r] = b, math.Abs(b), 0
		}
		addProducts(sum, mag, kept, ops)
		if !exact {
			addProducts(spread, unread, size, errs)
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

// addProducts adds w[k]·x[k] to sum and its magnitude to mag, for k ascending;
// four at a time, so that sum and mag are not written for each. The conversions
// keep products from being fused, so that all machines agree.
func addProducts(sum, mag, w []float64, x [][]float64) {
	for len(w) >= 4 {
		w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
		x0, x1, x2, x3 := x[0][:len(sum)], x[1][:len(sum)], x[2][:len(sum)], x[3][:len(sum)]
		mag := mag[:len(sum)]
		for r := range sum {
			p0, p1, p2, p3 := float64(w0*x0[r]), float64(w1*x1[r]), float64(w2*x2[r]), float64(w3*x3[r])
			sum[r] = sum[r] + p0 + p1 + p2 + p3
			mag[r] = mag[r] + math.Abs(p0) + math.Abs(p1) + math.Abs(p2) + math.Abs(p3)
		}
		w, x = w[4:], x[4:]
	}
	for k, wk := range w {
		for r, xv := range x[k] {
			p := float64(wk * xv)
			sum[r] += p
			mag[r] += math.Abs(p)
		}
	}
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
