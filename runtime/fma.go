package runtime

import "math"

// FMA32 is a*b + c rounded once to float32, to the nearest and ties to even:
// what a fused multiply-add instruction gives, for every input (a NaN result
// may have another payload).
//
// In float64 the product is exact and the sum is not; rounding that sum to odd
// before the last rounding makes two roundings equal to one (Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func FMA32(a, b, c float32) float32 {
	p := float64(float64(a) * float64(b))
	d := float64(c)
	s := p + d
	// What s lost, exactly (Knuth's TwoSum).
	v := s - p
	e := (p - (s - v)) + (d - v)
	if s-s != 0 { // Inf or NaN; e is no number
		return float32(s)
	}
	// Where e is not zero and s even, s moves one step towards e. Without
	// branches: both conditions are coin tosses.
	u, t := math.Float64bits(s), math.Float64bits(e)<<1
	inexact := (t | -t) >> 63
	opposite := (u ^ math.Float64bits(e)) >> 63
	u += (inexact &^ u) * (1 - 2*opposite)
	return float32(math.Float64frombits(u))
}
