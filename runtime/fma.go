package runtime

import "math"

// FMA32 is a*b + c rounded once to float32, to the nearest and ties to even:
// what a fused multiply-add instruction gives, for every input (a NaN result
// may have another payload).
//
// In float64 the product is exact and the sum s is rounded. Rounding s again
// goes wrong only where s is a tie of float32 that the exact sum is not.
func FMA32(a, b, c float32) float32 {
	s := float64(float64(a)*float64(b)) + float64(c)
	if u := math.Float64bits(s); u&(1<<29-1) == 1<<28 || u<<1 < minNormal32 {
		return roundFMA(a, b, c)
	}
	return float32(s)
}

// minNormal32 is 2^-126, the least normal float32, as float64 bits without the
// sign: below it ties of float32 lie at other bits.
const minNormal32 = (1023 - 126) << 53

// roundFMA rounds the float64 sum to odd before it rounds to float32, which
// makes the two roundings equal to one (Boldo and Melquiond, "Emulation of FMA
// and correctly rounded sums", 2008).
func roundFMA(a, b, c float32) float32 {
	p, d := float64(float64(a)*float64(b)), float64(c)
	s := p + d
	// What s lost, exactly (Knuth's TwoSum).
	v := s - p
	e := (p - (s - v)) + (d - v)
	if e > 0 || e < 0 { // not where s is no number: e is NaN then
		if u := math.Float64bits(s); u&1 == 0 {
			if (e > 0) == (s > 0) {
				u++
			} else {
				u--
			}
			s = math.Float64frombits(u)
		}
	}
	return float32(s)
}
