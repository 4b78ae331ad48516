package runtime

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// wantFMA is a*b+c of finite numbers by big.Float, whose sums here are exact.
func wantFMA(a, b, c float32) float32 {
	x := func(f float32) *big.Float { return new(big.Float).SetPrec(700).SetFloat64(float64(f)) }
	s := new(big.Float).SetPrec(700)
	s.Add(s.Mul(x(a), x(b)), x(c))
	if s.Sign() == 0 { // big.Float's sum of opposite zeros is +0 as well; keep -0 + -0
		return float32(float64(a)*float64(b) + float64(c))
	}
	f, _ := s.Float32()
	return f
}

func sameFMA(t *testing.T, a, b, c float32) {
	t.Helper()
	got, want := FMA32(a, b, c), wantFMA(a, b, c)
	if math.Float32bits(got) != math.Float32bits(want) {
		t.Fatalf("FMA32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
	}
}

// TestFMA32Adversarial takes triples near which two roundings differ from one:
// a sum half-way between two float32 but for a far smaller addend, results that
// are denormal, sums that cancel, and results at the edge of overflow.
func TestFMA32Adversarial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() float32 {
		for {
			if f := math.Float32frombits(rng.Uint32()); !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) {
				return f
			}
		}
	}
	for range 20_000 {
		sameFMA(t, word(), word(), word())
	}
	for range 20_000 {
		// a*b has up to 48 bits; c is placed so that the sum's tail lies behind
		// bit 24, or behind bit 53, where float64 rounds.
		a := float32(1<<23+rng.IntN(1<<23)) * float32(math.Ldexp(1, -rng.IntN(100)))
		b := float32(1<<23+rng.IntN(1<<23)) * float32(math.Ldexp(1, -rng.IntN(100)))
		_, e := math.Frexp(float64(a) * float64(b))
		c := float32(math.Ldexp(float64(1+rng.IntN(1<<rng.IntN(24))), e-30+rng.IntN(60)))
		sameFMA(t, a, b, c)
		sameFMA(t, a, b, -c)
		// Exactly half-way, then a little off: the double rounding case.
		half := float32(math.Ldexp(1+math.Ldexp(float64(rng.IntN(1<<23)), -23), 0))
		tie := float32(math.Ldexp(1, -12))
		for _, off := range []float32{0, 0x1p-149, -0x1p-149, 0x1p-60, -0x1p-60, 0x1p-30, -0x1p-30} {
			sameFMA(t, tie, tie+off, half)
			sameFMA(t, 0x1p-24*(1+off), 1, half)
			sameFMA(t, half, 0x1p-149, 0x1p-127+off)
			sameFMA(t, half*0x1p-75, 0x1.8p-75, off)
		}
		sameFMA(t, math.MaxFloat32, 1+0x1p-23*float32(rng.IntN(3)), -float32(math.Ldexp(1, 90+rng.IntN(20))))
	}
}

// TestFMA32DoubleRounding: 1 + 2^-23 + 2^-24 - 2^-70 lies below a tie of
// float32, but float64 rounds it to that tie.
func TestFMA32DoubleRounding(t *testing.T) {
	a, b, c := float32(0x1.000002p-12), float32(0x1.fffffcp-13), float32(0x1.000002p0)
	require.Equal(t, float32(0x1.000002p0), FMA32(a, b, c))
	require.NotEqual(t, FMA32(a, b, c), float32(math.FMA(float64(a), float64(b), float64(c))))
}

func TestFMA32Special(t *testing.T) {
	inf, nan, zero := float32(math.Inf(1)), float32(math.NaN()), float32(0)
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct{ a, b, c, want float32 }{
		{inf, 1, 1, inf}, {inf, -1, 1, -inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan},
		{1, 1, inf, inf}, {math.MaxFloat32, 2, 0, inf}, {math.MaxFloat32, 2, -inf, -inf},
		{math.MaxFloat32, math.MaxFloat32, -math.MaxFloat32, inf},
		{nan, 1, 1, nan}, {1, nan, 1, nan}, {1, 1, nan, nan},
		{zero, 1, negZero, zero}, {negZero, 1, negZero, negZero}, {negZero, 1, zero, zero},
		{1, 1, -1, zero}, {0x1p-149, 0x1p-149, 0, zero}, {-0x1p-149, 0x1p-149, 0, negZero},
		{0x1p-149, 0.5, 0x1p-149, 0x1p-148}, {0x1p-149, 0x1p-149, 0x1p-149, 0x1p-149},
	} {
		got := FMA32(c.a, c.b, c.c)
		if c.want != c.want {
			require.True(t, got != got, "%v: %v", c, got)
			continue
		}
		require.Equal(t, math.Float32bits(c.want), math.Float32bits(got), "%v: %v", c, got)
	}
}

func BenchmarkFMA32(b *testing.B) {
	x, y, acc := float32(1.1), float32(0.9), float32(0)
	for b.Loop() {
		acc = FMA32(x, y, acc)
		x += 0x1p-20
	}
	sink = acc
}

var sink float32
