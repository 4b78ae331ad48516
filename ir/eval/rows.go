package eval

import "math"

// rows applies f to every row along an axis: f reads x and its bound e, and
// writes y and its bound.
func rows(x *Tensor, axis int, f func(x, e, y, bound []float64)) *Tensor {
	out := newTensor(x.Shape)
	n, inner := x.Shape[axis], 1
	for _, d := range x.Shape[axis+1:] {
		inner *= d
	}
	buf := make([]float64, 4*n)
	xs, es, ys, bs := buf[:n], buf[n:2*n], buf[2*n:3*n], buf[3*n:]
	for start := 0; start < len(x.Data); start += n * inner {
		for j := range inner {
			for i := range n {
				xs[i], es[i] = x.Data[start+i*inner+j], x.Bound[start+i*inner+j]
			}
			f(xs, es, ys, bs)
			for i := range n {
				out.Data[start+i*inner+j], out.Bound[start+i*inner+j] = ys[i], bs[i]
			}
		}
	}
	return out
}

// softmax is exp(x - m)/Σ exp(x - m) with m the largest x.
//
// Relative errors add up to r and give the bound y·(exp(r) - 1), at most 1: an operand's error e moves its exponential by a factor
// within exp(±e), and so does the rounding u|x-m| of the difference; exp itself
// has FuncUlps·u, the sum γ_n, the division u (and once more for a reciprocal).
// The denominator's error is the mean of its terms', weighted by y.
func softmax(x, e, y, bound []float64) {
	m := math.Inf(-1)
	for _, v := range x {
		m = max(m, v)
	}
	sum := 0.0
	for i, v := range x {
		y[i] = math.Exp(v - m)
		sum += y[i]
	}
	worst, den := 0.0, 0.0
	for i := range x {
		y[i] /= sum
		worst = max(worst, e[i])
		if y[i] > 0 { // x may be -Inf
			den += y[i] * unit * (m - x[i])
		}
	}
	common := worst + den + 2*FuncUlps*unit + gamma(len(x)) + 2*unit
	for i := range x {
		// The operands' errors may also move which x is the largest; the
		// differences then round by up to 2·worst·u more.
		r := common + e[i] + 4*worst*unit
		if y[i] > 0 {
			r += unit * (m - x[i])
		}
		if r < 0.5 {
			bound[i] = y[i]*math.Expm1(r) + 2*least
			continue
		}
		// The factor is large: y may have vanished and come back, up to 1.
		bound[i] = max(y[i], math.Exp(min(x[i]-m-math.Log(sum)+r, 0))) + FuncUlps*unit
	}
}

// norm is layernorm with center, rmsnorm without: d/√(mean d² + eps)·gain +
// bias with d = x - mean x or d = x.
type norm struct {
	center     bool
	eps        float64
	gain, bias []float32 // nil: 1 and 0
}

// row normalizes one row.
//
// To first order, an error δ of d gives the error (δ_i - h_i·mean(h·δ))/s of h =
// d/s, with s the root; rounding adds to the mean of squares γ_{n+2} of itself,
// to the root and the division FuncUlps·u, to each product u.
func (p norm) row(x, e, y, bound []float64) {
	n := len(x)
	fn := float64(n)
	mean, absMean, eMean := 0.0, 0.0, 0.0
	if p.center {
		for i, v := range x {
			mean += v / fn
			absMean += math.Abs(v) / fn
			eMean += e[i] / fn
		}
	}
	square := p.eps
	for i, v := range x {
		y[i] = v - mean
		square += y[i] * y[i] / fn
	}
	s := math.Sqrt(square)
	// bound holds the error of d until the last loop.
	shift := 0.0
	if p.center {
		shift = gamma(n+1)*(absMean+eMean) + eMean + tiny // tiny: a mean below the normal range
	}
	moved := 0.0 // mean |h|·δ over s: the relative error of s that the operands give
	for i, d := range y {
		bound[i] = e[i] + shift
		if p.center {
			bound[i] += unit * (math.Abs(d) + e[i] + shift)
		}
		moved += math.Abs(d) / s * bound[i] / s / fn
	}
	rel := moved + gamma(n+3)/2 + (FuncUlps+2)*unit
	for i, d := range y {
		g, b := 1.0, 0.0
		if p.gain != nil {
			g = float64(p.gain[i])
		}
		if p.bias != nil {
			b = float64(p.bias[i])
		}
		h := d / s
		err := 2 * (bound[i]/s + math.Abs(h)*rel)
		if rel > 0.05 { // first order says nothing: |h| <= √n always
			err = 2*math.Sqrt(fn) + 1
		}
		err *= math.Abs(g)
		y[i] = h*g + b
		bound[i] = err + unit*(math.Abs(h*g)+err) + unit*(math.Abs(y[i])+err) + 3*tiny
	}
}
