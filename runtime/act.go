package runtime

import (
	"math"

	"github.com/sparsegen/sparsegen/internal/fit"
)

// The activations that are no clamp. Each is a fixed sequence of float32
// operations, exactly rounded: +, -, *, /, FMA32, clamp as the kernels' contract
// has it, and integer shifts of an exponent. There is no branch and no table. A
// generated Map kernel does the same operations in the same order on a vector,
// so that its bits are these on every machine. float32(x*y) keeps the compiler
// from fusing.
//
// The errors are the largest that were measured against float64; ulp is the
// distance of two float32 at the true value. NaN gives NaN.

// Tanh replaces each element by its hyperbolic tangent. Within 5 ulp; ±1 from
// ±9.02 on; ±0 and the denormals as they are.
func Tanh(y []float32) {
	for i, x := range y {
		y[i] = tanh32(x)
	}
}

// Sigmoid replaces each x by 1/(1+exp(-x)). Within 2.5 ulp for x >= -87, 0 below
// -88.73.
func Sigmoid(y []float32) {
	for i, x := range y {
		y[i] = sigmoid32(x)
	}
}

// Silu replaces each x by x/(1+exp(-x)), also called swish (Elfwing, Uchibe
// and Doya, 2017). Within 3 ulp for x >= -87, -0 below -88.73 and for -Inf.
func Silu(y []float32) {
	for i, x := range y {
		y[i] = silu32(x)
	}
}

// Gelu replaces each x by x*(1+erf(x/√2))/2 (Hendrycks and Gimpel, 2016).
// Within 5 ulp for x >= -1; below, where the sum cancels, within 3 ulp of x;
// 0 below -5.56 and for -Inf.
func Gelu(y []float32) {
	for i, x := range y {
		y[i] = gelu32(x)
	}
}

// GeluTanh replaces each x by x*(1+tanh(√(2/π)*(x+0.044715*x³)))/2, which is
// x/(1+exp(-2√(2/π)*(x+0.044715*x³))). Within 3 ulp for x >= -1; below, within
// 2 ulp of x; -0 for -Inf.
func GeluTanh(y []float32) {
	for i, x := range y {
		y[i] = geluTanh32(x)
	}
}

// exp32 is exp(x): with n = round(x/ln 2) and r = x - n*ln 2, a polynomial in r
// times 2^n, in two factors so that the ends of the range come out right. Within
// 1.1 ulp where the result is normal; denormal results are rounded twice.
func exp32(x float32) float32 {
	x = clamp(x, fit.ExpMin, fit.ExpMax)
	t := FMA32(x, fit.ExpInvLn, fit.ExpMagic)
	n := t - fit.ExpMagic
	r := FMA32(n, -fit.ExpLn2Hi, x)
	r = FMA32(n, -fit.ExpLn2Lo, r)
	p := FMA32(fit.ExpC6, r, fit.ExpC5)
	p = FMA32(p, r, fit.ExpC4)
	p = FMA32(p, r, fit.ExpC3)
	p = FMA32(p, r, fit.ExpC2)
	p = FMA32(p, r, 1)
	p = FMA32(p, r, 1)
	// t's low bits are n. Half of n first, by an arithmetic shift.
	k := int32(math.Float32bits(t)) - int32(math.Float32bits(fit.ExpMagic))
	h := k >> 1
	p = float32(p * math.Float32frombits(uint32(h+127)<<23))
	return float32(p * math.Float32frombits(uint32(k-h+127)<<23))
}

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

func silu32(x float32) float32 {
	e := exp32(-x)
	return clamp(x, -math.MaxFloat32, float32(math.Inf(1))) / (1 + e)
}

func geluTanh32(x float32) float32 {
	z := FMA32(float32(x*x), fit.GeluTanhC3, fit.GeluTanhC1)
	e := exp32(float32(z * x))
	return clamp(x, -math.MaxFloat32, float32(math.Inf(1))) / (1 + e)
}

func tanh32(x float32) float32 {
	x = clamp(x, -fit.TanhMax, fit.TanhMax)
	u := float32(x * x)
	p := FMA32(fit.TanhP5, u, fit.TanhP4)
	p = FMA32(p, u, fit.TanhP3)
	p = FMA32(p, u, fit.TanhP2)
	p = FMA32(p, u, fit.TanhP1)
	p = FMA32(p, u, 1)
	q := FMA32(fit.TanhQ4, u, fit.TanhQ3)
	q = FMA32(q, u, fit.TanhQ2)
	q = FMA32(q, u, fit.TanhQ1)
	q = FMA32(q, u, 1)
	return clamp(float32(x*p)/q, -1, 1)
}

// gelu32 beyond the range of the fit is that of -5.56, which is 0, or x.
func gelu32(x float32) float32 {
	x = clamp(x, -fit.GeluMax, float32(math.Inf(1)))
	h := float32(0.5 * x)
	x = clamp(x, -fit.GeluMax, fit.GeluMax)
	u := float32(x * x)
	p := FMA32(fit.GeluP5, u, fit.GeluP4)
	p = FMA32(p, u, fit.GeluP3)
	p = FMA32(p, u, fit.GeluP2)
	p = FMA32(p, u, fit.GeluP1)
	p = FMA32(p, u, fit.GeluP0)
	q := FMA32(fit.GeluQ5, u, fit.GeluQ4)
	q = FMA32(q, u, fit.GeluQ3)
	q = FMA32(q, u, fit.GeluQ2)
	q = FMA32(q, u, fit.GeluQ1)
	q = FMA32(q, u, 1)
	e := clamp(float32(x*p)/q, -1, 1)
	return FMA32(h, e, h)
}
