package eval

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBoundsCarryOperandErrors moves operands anywhere within their bounds: the
// exact result must stay within the bound of the result.
func TestBoundsCarryOperandErrors(t *testing.T) {
	for name, f := range map[string]function{
		"sigmoid": sigmoid, "tanh": tanh, "silu": silu, "geluErf": geluErf, "geluTanh": geluTanh,
		"relu": clamped(0, math.Inf(1)), "clamp": clamped(-1, 2),
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20000 {
			x, e := 4*rng.NormFloat64(), math.Exp(8*rng.Float64()-6)
			y, bound := f(x, e)
			moved, _ := f(x+e*(2*rng.Float64()-1), 0)
			require.LessOrEqual(t, math.Abs(moved-y), bound, "%s at %g with error %g", name, x, e)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	g, b := make([]float32, 16), make([]float32, 16)
	for i := range g {
		g[i], b[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	for name, f := range map[string]func(x, e, y, bound []float64){
		"softmax":   softmax,
		"layernorm": norm{center: true, eps: 1e-5, gain: g, bias: b}.row,
		"rmsnorm":   norm{eps: 1e-5, gain: g}.row,
	} {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 20000 {
			x, moved, e, y, bound, z := make([]float64, 16), make([]float64, 16), make([]float64, 16), make([]float64, 16), make([]float64, 16), make([]float64, 16)
			scale, err := math.Exp(3*rng.NormFloat64()), math.Exp(9*rng.Float64()-9)
			for i := range x {
				x[i] = scale * rng.NormFloat64()
				e[i] = err * scale * rng.Float64()
				moved[i] = x[i] + e[i]*(2*rng.Float64()-1)
			}
			f(x, e, y, bound)
			f(moved, make([]float64, 16), z, make([]float64, 16))
			for i := range x {
				require.LessOrEqual(t, math.Abs(z[i]-y[i]), bound[i], "%s, scale %g, error %g", name, scale, err)
			}
		}
	}
}

// TestSoftmaxOfAVanishedTerm: a term that underflows to 0 may come back within
// the operands' bounds.
func TestSoftmaxOfAVanishedTerm(t *testing.T) {
	y, bound := make([]float64, 2), make([]float64, 2)
	softmax([]float64{0, 1000}, []float64{600, 600}, y, bound)
	require.Zero(t, y[0])
	require.GreaterOrEqual(t, bound[0], 1.0)
	softmax([]float64{math.Inf(-1), 1000}, []float64{0, 0.1}, y, bound)
	require.Equal(t, []float64{0, 1}, y)
	require.Less(t, bound[0], 1e-30)
}

func TestReluBeyondItsBoundIsExact(t *testing.T) {
	y, bound := clamped(0, math.Inf(1))(-3, 0.5)
	require.Zero(t, y)
	require.Zero(t, bound)
}

// TestLayerNormOfDenormals: the mean of numbers below the normal range is rounded
// to a multiple of the smallest one, and the division makes that error large.
func TestLayerNormOfDenormals(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	p := norm{center: true, eps: 1e-5}
	for range 20000 {
		x, y, bound := make([]float64, 2), make([]float64, 2), make([]float64, 2)
		for i := range x {
			x[i] = float64(math.Float32frombits(rng.Uint32N(1 << 20)))
		}
		p.row(x, make([]float64, 2), y, bound)
		mean := float32((x[0] + x[1]) / 2)
		for i, v := range x {
			d := float32(v) - mean
			r := float32(1 / math.Sqrt(1e-5))
			require.LessOrEqual(t, math.Abs(float64(d*r)-y[i]), bound[i], "%g of %g", v, x)
		}
	}
}
