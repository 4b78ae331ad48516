package runtime

import "math"

func each(y []float32, f func(float64) float64) {
	for i, v := range y {
		y[i] = float32(f(float64(v)))
	}
}

// Gelu is x*(1+erf(x/sqrt2))/2, in place.
func Gelu(y []float32) {
	each(y, func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) })
}

// GeluTanh is Gelu with tanh's approximation of erf, in place.
func GeluTanh(y []float32) {
	each(y, func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	})
}

// Silu is x/(1+exp(-x)), in place.
func Silu(y []float32) { each(y, func(x float64) float64 { return x / (1 + math.Exp(-x)) }) }

// Sigmoid is 1/(1+exp(-x)), in place.
func Sigmoid(y []float32) { each(y, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }) }

// Tanh is tanh(x), in place.
func Tanh(y []float32) { each(y, math.Tanh) }

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }
