package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// activations by name, with their values in float64.
var activations = map[string]struct {
	kernel kernels.Activation
	value  func(float64) float64
}{
	"":        {kernels.Identity, func(v float64) float64 { return v }},
	"relu":    {kernels.ReLU, func(v float64) float64 { return max(v, 0) }},
	"sigmoid": {kernels.Sigmoid, func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }},
	"silu":    {kernels.SiLU, func(v float64) float64 { return v / (1 + math.Exp(-v)) }},
	"tanh":    {kernels.Tanh, math.Tanh},
	"gelu":    {kernels.GELU, func(v float64) float64 { return v / 2 * math.Erfc(-v/math.Sqrt2) }},
	"gelu_tanh": {kernels.GELUTanh, func(v float64) float64 {
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	}},
}

// finish makes what the epilogue reads, and the function that it is.
func (in *inputs) finish(s spec) error {
	rng := rand.New(rand.NewPCG(in.seed, 5))
	floats := func(n int, centre, spread float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(float32(centre + spread*rng.NormFloat64()))
		}
		return v
	}
	in.extra = map[gpu.Buffer][]byte{}
	// Sums have a deviation of √In; scales bring them to where activations bend.
	unit := 1 / math.Sqrt(float64(s.In))
	if s.DType == "s8" {
		unit /= 400
	}
	scale := 1.0
	if s.TensorScale {
		scale = float64(float32(unit))
		in.problem.Scale = float32(scale)
		unit = 1
	}
	var outs, tokens, bias []float64
	if s.OutScale {
		outs = floats(s.Out, unit, unit/4)
		in.extra[gpu.Scales] = encode(outs, gpu.F32)
		unit = 1
	}
	if s.TokenScale {
		tokens = floats(s.Tokens, unit, unit/4)
		in.extra[gpu.XScales] = encode(tokens, gpu.F32)
	}
	if s.Bias != "" {
		bias = floats(s.Out, 0, 1)
		in.extra[gpu.Bias] = encode(bias, dtypes[s.Bias])
		for i := range bias {
			bias[i] = decode(in.extra[gpu.Bias], i, dtypes[s.Bias])
		}
	}
	var residual layout.Matrix
	if s.Residual {
		residual = randomMatrix(in.seed+2, s.Tokens, s.Out, s.result())
		in.extra[gpu.Residual] = residual.Data
	}
	act := activations[s.Activation].value
	in.after = func(v float64, token, out int) float64 {
		v *= scale
		if outs != nil {
			v *= outs[out]
		}
		if tokens != nil {
			v *= tokens[token]
		}
		if bias != nil {
			v += bias[out]
		}
		v = act(v)
		if s.Residual {
			v += decode(residual.Row(token), out, s.result())
		}
		return v
	}
	return nil
}

// encode is v as elements of a type.
func encode(v []float64, t gpu.DType) []byte {
	b := make([]byte, len(v)*t.Size())
	for i, f := range v {
		if t == gpu.F32 {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(float32(f)))
		} else {
			put(b, i, t, float32(f))
		}
	}
	return b
}

// decode is element i of b.
func decode(b []byte, i int, t gpu.DType) float64 {
	switch t {
	case gpu.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	case gpu.S32:
		return float64(int32(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return float64(get(b, i, t))
}
