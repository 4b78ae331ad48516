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
