package ir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const ffnSpec = `sparsegen 1

weights "model.safetensors"

// The feed-forward block.
layer ffn(x f32[t, 512]) (y f32[t, 512]) where t in 1..128 {
    h = linear(x, w"dense/kernel"[512, 1536].T : nm(2,4), bias=w"dense/bias") | relu // half of it
    y = linear(h, w"dense_1/kernel" : block(4,1) | unstructured, bias=w"dense_1/bias") | gelu(tanh)
}

target amd64(avx2, avx512), arm64(neon)
`

func TestLinearLayerGivesTheModule(t *testing.T) {
	m, err := Load("ffn.sg", []byte(ffnSpec), Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"model.safetensors"}, m.Weights)
	require.Equal(t, []Target{{"amd64", []string{"avx2", "avx512"}}, {"arm64", []string{"neon"}}}, m.Targets)
	l := m.Layer("ffn")
	require.Equal(t, []Dim{{"t", 1, 128}}, l.Dims)
	require.Len(t, l.Ops, 4)
	lin := l.Ops[0]
	require.Equal(t, "linear", lin.Kind)
	require.Equal(t, Attrs{{"axis", 1}}, lin.Attrs)
	require.Same(t, l.Inputs[0], lin.Args[0])
	require.Equal(t, "dense/kernel", lin.Weight.Tensor)
	require.True(t, lin.Weight.Transposed)
	require.Equal(t, [2]int{1536, 512}, [2]int{lin.Weight.Out, lin.Weight.In})
	require.Equal(t, "nm(2,4)", lin.Weight.Pattern.String())
	require.Equal(t, 1536, lin.Bias.Out)
	require.Zero(t, lin.Bias.In)
	require.Nil(t, lin.Bias.Pattern)
	require.Equal(t, "_ f32[t, 1536]", lin.Out.String())
	require.Equal(t, "h f32[t, 1536]", l.Ops[1].Out.String())
	require.Same(t, lin.Out, l.Ops[1].Args[0])
	require.Same(t, l.Outputs[0], l.Ops[3].Out)
	require.Equal(t, Attrs{{"approx", GeluTanh}}, l.Ops[3].Attrs)
	require.Equal(t, [2]int{512, 1536}, [2]int{l.Ops[2].Weight.Out, l.Ops[2].Weight.In})
	require.Equal(t, Pos{"ffn.sg", 7, 9}, lin.Pos)
	require.Equal(t, Pos{"ffn.sg", 7, 19}, lin.Weight.Pos)
}

func TestFormatKeepsCanonicalText(t *testing.T) {
	out, err := Format("ffn.sg", []byte(ffnSpec))
	require.NoError(t, err)
	require.Equal(t, ffnSpec, string(out))
}
