package eval

import "math"

// FuncUlps is how many unit roundoffs (2^-24) of its scale a kernel's gelu,
// silu, sigmoid, tanh or exp may lie away from the exact function. It is a
// promise that kernels make, part of their meaning, and no measured figure.
const FuncUlps = 8

// function is one elementwise op: the value at x, and its bound when x has the
// bound e.
type function func(x, e float64) (y, bound float64)

func each(x *Tensor, f function) *Tensor {
	y := newTensor(x.Shape)
	for i := range x.Data {
		y.Data[i], y.Bound[i] = f(x.Data[i], x.Bound[i])
	}
	return y
}

// pair computes a result of two operands with one rounding; carried is what the
// operands' bounds ea and eb give.
func pair(a, b *Tensor, f func(a, b float64) float64, carried func(a, b, ea, eb float64) float64) *Tensor {
	y := newTensor(a.Shape)
	for i := range a.Data {
		v := f(a.Data[i], b.Data[i])
		c := carried(a.Data[i], b.Data[i], a.Bound[i], b.Bound[i])
		y.Data[i] = v
		y.Bound[i] = c + unit*(math.Abs(v)+c) + tiny
	}
	return y
}

// clamped is min(max(x, lo), hi), which rounds nothing. Where x is further from
// an end than its bound, beyond it, the result is exact.
func clamped(lo, hi float64) function {
	clamp := func(x float64) float64 { return min(max(x, lo), hi) }
	return func(x, e float64) (y, bound float64) {
		y = clamp(x)
		return y, max(clamp(x+e)-y, y-clamp(x-e))
	}
}

func logistic(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	z := math.Exp(x)
	return z / (1 + z)
}

// nearest is the point of [x-e, x+e] nearest to zero.
func nearest(x, e float64) float64 { return max(math.Abs(x)-e, 0) }

func sigmoid(x, e float64) (y, bound float64) {
	y = logistic(x)
	// The slope σ(1-σ) falls with |x|.
	s := logistic(-nearest(x, e))
	return y, e*s*(1-s) + FuncUlps*unit*(y+e*s*(1-s)) + least
}

func tanh(x, e float64) (y, bound float64) {
	y = math.Tanh(x)
	t := math.Tanh(nearest(x, e))
	return y, e*(1-t*t) + FuncUlps*unit
}

// carry bounds e·max|f'| on [x-e, x+e] by the slope at x and a bound on the
// curvature, or by a bound on the slope anywhere.
func carry(e, slope, curvature, steepest float64) float64 {
	return e * min(math.Abs(slope)+e*curvature, steepest)
}

func silu(x, e float64) (y, bound float64) {
	s := logistic(x)
	y = x * s
	// f' = σ(1 + x(1-σ)) reaches 1.0999; |f''| reaches 1/2 at 0.
	c := carry(e, s*(1+x*(1-s)), 0.5, 1.1)
	return y, c + FuncUlps*unit*(math.Abs(y)+c) + least*(1+math.Abs(x)+e)
}

func geluErf(x, e float64) (y, bound float64) {
	cdf := math.Erfc(-x/math.Sqrt2) / 2
	y = x * cdf
	pdf := math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
	// f' = Φ + xφ reaches 1.1290; |f''| = φ|2-x²| reaches 2φ(0) = 0.798 at 0.
	c := carry(e, cdf+x*pdf, 0.8, 1.13)
	return y, c + FuncUlps*unit*(math.Abs(x)+e) + tiny
}

func geluTanh(x, e float64) (y, bound float64) {
	const a = 0.044715
	k := math.Sqrt(2 / math.Pi)
	// 1/2·(1 + tanh z) = σ(2z), which keeps its digits where tanh z nears -1.
	s := logistic(2 * k * (x + a*x*x*x))
	y = x * s
	slope := s
	if d := s * (1 - s); d > 0 {
		slope += x * d * 2 * k * (1 + 3*a*x*x)
	}
	// f' reaches 1.1290, |f''| 0.798, as in the erf form to three digits.
	c := carry(e, slope, 0.81, 1.14)
	return y, c + FuncUlps*unit*(math.Abs(x)+e) + tiny
}
