package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// linearLayer has one step, with a kernel and weights that fit it.
func linearLayer() *Layer {
	k := gemm()
	p := Problem{Out: 200, In: 100, Tokens: 1, XPitch: 104, YPitch: 200}
	return &Layer{
		Name: "l", DType: BF16, TokensMin: 1, TokensMax: 64,
		Values: []Value{{"x", 100}, {"y", 200}}, Inputs: []int{0}, Outputs: []int{1},
		Steps: []Step{{X: 0, Y: 1, Residual: NoValue, Out: 200, In: 100, Bias: make([]float32, 200), Packings: []Packing{
			{TokensMin: 1, TokensMax: 8, Kernel: &k, Weights: make([]byte, k.WeightBytes(p))},
			{TokensMin: 9, TokensMax: 64, Kernel: &k, Weights: make([]byte, k.WeightBytes(p))},
		}}},
	}
}

func TestLayer(t *testing.T) {
	l := linearLayer()
	require.NoError(t, l.Check())
	require.Equal(t, 104, l.Pitch(0), "200 bytes rounded up to 208")
	require.Equal(t, 200, l.Pitch(1))
	s := &l.Steps[0]
	require.Equal(t, Problem{Out: 200, In: 100, Tokens: 7, XPitch: 104, YPitch: 200}, l.Problem(s, 7))
	for tokens, want := range map[int]int{1: 0, 8: 0, 9: 1, 64: 1} {
		require.Equal(t, want, s.Packing(tokens))
	}
}

func TestLayerCheck(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(l *Layer, p *Packing)
	}{
		{"the layer is f16", func(l *Layer, _ *Packing) { l.DType = F16 }},
		{"a bias belongs to one", func(l *Layer, _ *Packing) { l.Steps[0].Bias = nil }},
		{"a residual belongs to one", func(l *Layer, _ *Packing) { l.Steps[0].Residual = 1 }},
		{"bytes of weights for [200, 100]", func(_ *Layer, p *Packing) { p.Weights = p.Weights[1:] }},
		{"0 tokens, want 1", func(_ *Layer, p *Packing) { p.TokensMin = 0 }},
		{"takes scales, which no layer has", func(_ *Layer, p *Packing) {
			k := *p.Kernel
			k.Params = append(k.Params[:len(k.Params):len(k.Params)], Param{Name: "scales", Kind: ArgPtr, Of: Scales, DType: F32, Len: QOut})
			p.Kernel = &k
		}},
		{"takes a bias of bf16", func(_ *Layer, p *Packing) {
			k := gemm()
			k.Params[3].DType = BF16
			p.Kernel = &k
		}},
	} {
		l := linearLayer()
		c.edit(l, &l.Steps[0].Packings[0])
		require.ErrorContains(t, l.Check(), c.want)
	}
}
