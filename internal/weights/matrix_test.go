package weights

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestViewOrientations(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	values := make([]float32, 70*50)
	for i := range values {
		values[i] = rng.Float32()
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteSafetensors(path, []Entry{
		Float32Entry("m", []int{70, 50}, values),
		Float32Entry("conv", []int{7, 10, 5, 10}, values),
		Float32Entry("v", []int{3500}, values),
	}, nil))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, c := range []struct {
		name string
		o    Orientation
		want View
	}{
		{"m", Auto, View{70, 50, false}},
		{"m", OutIn, View{70, 50, false}},
		{"m", InOut, View{50, 70, true}},
		{"conv", OutIn, View{7, 500, false}},
		{"conv", InOut, View{10, 350, true}},
	} {
		v, m, err := f.Matrix(c.name, c.o)
		require.NoError(t, err)
		require.Equal(t, c.want, v)
		for r := range v.Rows {
			for col := range v.Cols {
				require.Equal(t, values[v.Index(r, col)], m[r*v.Cols+col])
			}
		}
	}
	_, err = f.View("v", Auto)
	require.ErrorContains(t, err, `tensor "v" of shape [3500] is not a matrix`)
}

// A file converted from TensorFlow.js says which way round its matrices are.
func TestOrientationFollowsMetadata(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteSafetensors(path, []Entry{Float32Entry("m", []int{2, 1}, []float32{1, 2})}, map[string]string{OrientationKey: "in-out"}))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, InOut, f.Orientation())
	v, err := f.View("m", Auto)
	require.NoError(t, err)
	require.Equal(t, View{1, 2, true}, v)
	_, err = ParseOrientation("up")
	require.Error(t, err)
}

func TestNotLinear(t *testing.T) {
	const window, embedding = "a convolution with a window", "an embedding table, by its name"
	cases := []struct {
		name   string
		shape  []int
		reason string // read as [out, in]
	}{
		{"model.layers.0.mlp.up_proj.weight", []int{6, 4}, ""},
		{"features.1.weight", []int{6, 4, 1, 1}, ""},
		{"features.0.weight", []int{6, 4, 3, 3}, window},
		{"patch_embed.proj.weight", []int{6, 4}, ""},
		{"text_embedder.layers.0.q_proj.weight", []int{6, 4}, ""},
		{"lm_head.weight", []int{6, 4}, ""},
		{"model.embed_tokens.weight", []int{6, 4}, embedding},
		{"embeddings.position_embeddings.weight", []int{6, 4}, embedding},
		{"module/Embeddings_en", []int{6, 4}, embedding},
		{"transformer.wte.weight", []int{6, 4}, embedding},
		{"wpe", []int{6, 4}, embedding},
		{"upwte.weight", []int{6, 4}, ""},
		{"norm.weight", []int{6}, "not a matrix"},
		{"empty.weight", []int{0, 4}, "no elements"},
	}
	var entries []Entry
	for _, c := range cases {
		entries = append(entries, Float32Entry(c.name, c.shape, make([]float32, product(c.shape))))
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, WriteSafetensors(path, entries, nil))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, c := range cases {
		require.Equal(t, c.reason, f.NotLinear(c.name, Auto), c.name)
	}
	// Read the other way round, the window stands in front.
	require.Equal(t, window, f.NotLinear("features.1.weight", InOut))
}
