package runtime

import "math"

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
	x = clamp(x, -104, 89)
	t := FMA32(x, 1/math.Ln2, expMagic)
	n := t - expMagic
	r := FMA32(n, -expLn2Hi, x)
	r = FMA32(n, -expLn2Lo, r)
	p := FMA32(expC6, r, expC5)
	p = FMA32(p, r, expC4)
	p = FMA32(p, r, expC3)
	p = FMA32(p, r, expC2)
	p = FMA32(p, r, 1)
	p = FMA32(p, r, 1)
	// t's low bits are n. Half of n first, by an arithmetic shift.
	k := int32(math.Float32bits(t)) - int32(math.Float32bits(expMagic))
	h := k >> 1
	p = float32(p * math.Float32frombits(uint32(h+127)<<23))
	return float32(p * math.Float32frombits(uint32(k-h+127)<<23))
}

// The polynomial is the minimax fit of 1 + r + r²q(r) to exp, relative, over
// |r| <= ln(2)/2: 2^-28.3.
const (
	expMagic = 0x1.8p23 // adding it rounds to an integer, ties to even
	expLn2Hi = 0x1.62e43p-1
	expLn2Lo = -0x1.05c610p-29
	expC2    = 0x1.fffffcp-2
	expC3    = 0x1.555492p-3
	expC4    = 0x1.5558f2p-5
	expC5    = 0x1.1239e2p-7
	expC6    = 0x1.6a2434p-10
)

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

func silu32(x float32) float32 {
	e := exp32(-x)
	return clamp(x, -math.MaxFloat32, float32(math.Inf(1))) / (1 + e)
}

func geluTanh32(x float32) float32 {
	z := FMA32(float32(x*x), geluTanhC3, geluTanhC1)
	e := exp32(float32(z * x))
	return clamp(x, -math.MaxFloat32, float32(math.Inf(1))) / (1 + e)
}

const (
	geluTanhC1 = -0x1.988454p0  // -2√(2/π)
	geluTanhC3 = -0x1.2444f2p-4 // that times 0.044715
)

// tanh32 is x*P(x²)/Q(x²), the minimax fit over |x| <= 9.02: 2^-29.5 relative.
func tanh32(x float32) float32 {
	x = clamp(x, -tanhMax, tanhMax)
	u := float32(x * x)
	p := FMA32(-0x1.ad5e7ep-37, u, 0x1.06b8f8p-25)
	p = FMA32(p, u, 0x1.d5e2f0p-16)
	p = FMA32(p, u, 0x1.fb0778p-9)
	p = FMA32(p, u, 0x1.182a24p-3)
	p = FMA32(p, u, 1)
	q := FMA32(0x1.5992f8p-20, u, 0x1.9cfebap-12)
	q = FMA32(q, u, 0x1.be654cp-6)
	q = FMA32(q, u, 0x1.e16a66p-2)
	q = FMA32(q, u, 1)
	return clamp(float32(x*p)/q, -1, 1)
}

const tanhMax = 9.02

// erf(x/√2) is x*P(x²)/Q(x²), the minimax fit over |x| <= 5.56: 2^-25.6
// relative. Beyond, gelu32(x) is that of -5.56, which is 0, or x.
func gelu32(x float32) float32 {
	x = clamp(x, -geluMax, float32(math.Inf(1)))
	h := float32(0.5 * x)
	x = clamp(x, -geluMax, geluMax)
	u := float32(x * x)
	p := FMA32(0x1.835c38p-25, u, 0x1.a65452p-17)
	p = FMA32(p, u, 0x1.5e7f34p-12)
	p = FMA32(p, u, 0x1.31d490p-7)
	p = FMA32(p, u, 0x1.145deap-4)
	p = FMA32(p, u, 0x1.988452p-1)
	q := FMA32(0x1.3eb0dep-20, u, 0x1.318f34p-14)
	q = FMA32(q, u, 0x1.eb9354p-10)
	q = FMA32(q, u, 0x1.d41728p-6)
	q = FMA32(q, u, 0x1.01428ep-2)
	q = FMA32(q, u, 1)
	e := clamp(float32(x*p)/q, -1, 1)
	return FMA32(h, e, h)
}

const geluMax = 5.56
