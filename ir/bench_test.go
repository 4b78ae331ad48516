package ir

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyLayers is a spec of n feed-forward layers.
func manyLayers(n int) []byte {
	var b strings.Builder
	b.WriteString("sparsegen 1\n\nweights \"model.safetensors\"\n")
	for i := range n {
		fmt.Fprintf(&b, `
layer ffn%[1]d(x f32[t, 512]) (y f32[t, 512]) where t in 1..128 {
    h = linear(x, w"block%[1]d/dense/kernel"[1536, 512] : nm(2,4), bias=w"block%[1]d/dense/bias") | relu
    y = linear(h, w"block%[1]d/dense_1/kernel" : unstructured, bias=w"block%[1]d/dense_1/bias")
}
`, i)
	}
	return []byte(b.String())
}

func BenchmarkLoad100Layers(b *testing.B) {
	src := manyLayers(100)
	m, err := Load("many.sg", src, Options{})
	require.NoError(b, err)
	require.Len(b, m.Layers, 100)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("many.sg", src, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
