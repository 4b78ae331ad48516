package runtime

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// ulp32 is the distance of two float32 at v.
func ulp32(v float64) float64 {
	if math.Abs(v) < 0x1p-126 {
		return 0x1p-149
	}
	_, e := math.Frexp(v)
	return math.Ldexp(1, e-24)
}

// TestActivationErrors samples all float32 and holds the errors against what
// the doc comments state.
func TestActivationErrors(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	cases := []struct {
		name string
		f    func(float32) float32
		want func(float64) float64
		// ulps of the result from x = from on, ulps of x below.
		ulps, from, ulpsOfX float64
	}{
		{"exp", exp32, math.Exp, 1.1, -87, 0},
		{"tanh", tanh32, math.Tanh, 5, math.Inf(-1), 0},
		{"sigmoid", sigmoid32, sigmoid, 2.5, -87, 0},
		{"silu", silu32, func(x float64) float64 { return x * sigmoid(x) }, 3, -87, 1},
		{"gelu", gelu32, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, 5, -1, 3},
		{"geluTanh", geluTanh32, func(x float64) float64 {
			return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
		}, 3, -1, 2},
	}
	for _, c := range cases {
		check := func(bits uint32) {
			x := math.Float32frombits(bits)
			got, want := float64(c.f(x)), c.want(float64(x))
			if math.IsNaN(want) || math.IsInf(float64(x), 0) {
				return // TestActivationEnds
			}
			if float32(want) == float32(math.Inf(1)) {
				require.Equal(t, math.Inf(1), got, "%s(%v)", c.name, x)
				return
			}
			limit := c.ulps * ulp32(want)
			if float64(x) < c.from {
				limit = c.ulpsOfX*ulp32(float64(x)) + 0x1p-125
			}
			if diff := math.Abs(got - want); !(diff <= limit) {
				t.Fatalf("%s(%v) = %v, want %v: off by %.3g ulp", c.name, x, got, want, diff/ulp32(want))
			}
		}
		for bits := uint64(0); bits < 1<<32; bits += 8191 {
			check(uint32(bits))
		}
		for e := uint32(0); e < 1<<18; e++ { // 0.03 to 128, both signs, more closely
			check(0x3d000000 + e<<8)
			check(0xbd000000 + e<<8)
		}
	}
}

func TestActivationEnds(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		name                 string
		f                    func([]float32)
		negInf, zero, posInf float32
	}{
		{"tanh", Tanh, -1, 0, 1},
		{"sigmoid", Sigmoid, 0, 0.5, 1},
		{"silu", Silu, negZero, 0, inf},
		{"gelu", Gelu, 0, 0, inf},
		{"geluTanh", GeluTanh, negZero, 0, inf},
	} {
		y := []float32{-inf, 0, inf, -math.MaxFloat32, math.MaxFloat32, nan}
		c.f(y)
		require.Equal(t, math.Float32bits(c.negInf), math.Float32bits(y[0]), c.name)
		require.Equal(t, math.Float32bits(c.zero), math.Float32bits(y[1]), c.name)
		require.Equal(t, c.posInf, y[2], c.name)
		require.Equal(t, c.negInf, y[3], c.name)
		require.Equal(t, min(c.posInf, math.MaxFloat32), y[4], c.name)
		require.True(t, y[5] != y[5], c.name)
	}
}
