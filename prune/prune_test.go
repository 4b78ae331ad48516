package prune

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/patterns"
)

const faceNet = "../internal/weights/testdata/faceapi/age_gender_model-weights_manifest.json"

// model writes a safetensors file with matrices of several dtypes.
func model(t *testing.T) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	f32 := make([]float32, 8*16)
	bf16 := make([]byte, 2*4*8)
	for i := range f32 {
		f32[i] = rng.Float32() - 0.5
	}
	for i := range bf16 {
		bf16[i] = byte(rng.Uint32())&^0x40 | 0x20 // finite
	}
	raw := func(b []byte) func() ([]byte, error) { return func() ([]byte, error) { return b, nil } }
	path := filepath.Join(t.TempDir(), "in.safetensors")
	require.NoError(t, weights.WriteSafetensors(path, []weights.Entry{
		weights.Float32Entry("a.weight", []int{8, 16}, f32),
		{Name: "b.weight", DType: weights.BF16, Shape: []int{4, 8}, Data: raw(bf16)},
		weights.Float32Entry("odd.weight", []int{4, 6}, f32[:24]),
		weights.Float32Entry("a.bias", []int{8}, f32[:8]),
		{Name: "ids", DType: weights.I32, Shape: []int{4, 4}, Data: raw(weights.Float32Bytes(f32[:16]))},
	}, map[string]string{"format": "pt"}))
	return path
}

func TestPrune24(t *testing.T) {
	in := model(t)
	out := filepath.Join(t.TempDir(), "out.safetensors")
	var steps []int
	rep, err := File(in, out, Options{Pattern: patterns.MustParse("nm(2,4)"), Progress: func(done, total int) {
		require.Equal(t, 5, total)
		steps = append(steps, done)
	}})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4, 5}, steps)
	src, err := weights.Open(in)
	require.NoError(t, err)
	defer src.Close()
	dst, err := weights.Open(out)
	require.NoError(t, err)
	defer dst.Close()
	require.Equal(t, src.Names(), dst.Names())
	require.Equal(t, src.Metadata, dst.Metadata)

	var got []string
	for i, name := range src.Names() {
		row := rep.Tensors[i]
		require.Equal(t, name, row.Name)
		got = append(got, row.Reason)
		before, err := src.Float32(name)
		require.NoError(t, err)
		after, err := dst.Float32(name)
		require.NoError(t, err)
		info, err := dst.Tensor(name)
		require.NoError(t, err)
		old, err := src.Tensor(name)
		require.NoError(t, err)
		require.Equal(t, old, info)
		if !row.Pruned {
			require.Equal(t, before, after)
			continue
		}
		// Each four keep their two largest, unchanged; the rest is +0.
		var total, kept float64
		for g := 0; g < len(before); g += 4 {
			for j := range 4 {
				larger := 0
				for k := range 4 {
					a, b := math.Abs(float64(before[g+k])), math.Abs(float64(before[g+j]))
					if a > b || a == b && k < j {
						larger++
					}
				}
				total += math.Abs(float64(before[g+j]))
				if larger < 2 {
					require.Equal(t, before[g+j], after[g+j])
					kept += math.Abs(float64(before[g+j]))
				} else {
					require.Zero(t, math.Float32bits(after[g+j]))
				}
			}
		}
		require.InDelta(t, kept/total, row.MagnitudeKept, 1e-12)
		require.Equal(t, 0.5, row.DensityAfter)
	}
	require.Equal(t, []string{"", "", got[2], "not a matrix", "I32 elements are no weights"}, got)
	require.NotEmpty(t, got[2], "6 columns do not divide by 4")

	var text strings.Builder
	require.NoError(t, rep.WriteText(&text))
	require.Contains(t, text.String(), "100.0% → 50.0%")
	require.Contains(t, text.String(), "2 of 5 tensors pruned to nm(2,4); left as they were:\n")
}

// A quantised tf.js model becomes F32, keeps its shapes, and says which way round
// its kernels are, so that a later reader finds the pattern again.
func TestPruneQuantisedModel(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.safetensors")
	p := patterns.MustParse("nm(1,4)")
	rep, err := File(faceNet, out, Options{Pattern: p, Tensors: regexp.MustCompile("pointwise_filter$")})
	require.NoError(t, err)
	src, err := weights.Open(faceNet)
	require.NoError(t, err)
	defer src.Close()
	dst, err := weights.Open(out)
	require.NoError(t, err)
	defer dst.Close()
	n := 0
	for i, name := range dst.Names() {
		info, err := dst.Tensor(name)
		require.NoError(t, err)
		require.Equal(t, weights.F32, info.DType)
		if !rep.Tensors[i].Pruned {
			want, err := src.Float32(name)
			require.NoError(t, err)
			got, err := dst.Float32(name)
			require.NoError(t, err)
			require.Equal(t, want, got)
			continue
		}
		n++
		v, m, err := dst.Matrix(name, weights.Auto)
		require.NoError(t, err)
		require.True(t, v.Transposed)
		require.True(t, p.Fits(patterns.MaskOf(patterns.Matrix{Rows: v.Rows, Cols: v.Cols, Stride: v.Cols, Data: m})), name)
	}
	require.Equal(t, 13, n, "every separable convolution has one")
}

func TestPruneInPlace(t *testing.T) {
	path := model(t)
	rep, err := File(path, path, Options{Pattern: patterns.MustParse("unstructured(sparsity=0.75)")})
	require.NoError(t, err)
	require.Equal(t, 0.25, rep.Tensors[0].DensityAfter)
	again, err := File(path, path, Options{Pattern: patterns.MustParse("unstructured(sparsity=0.75)")})
	require.NoError(t, err)
	require.Equal(t, 0.25, again.Tensors[0].DensityBefore)
	require.Equal(t, 1.0, again.Tensors[0].MagnitudeKept)
}

func TestPruneFailuresLeaveTheOutput(t *testing.T) {
	in := model(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out.safetensors")
	require.NoError(t, os.WriteFile(out, []byte("before"), 0o644))
	truncated := filepath.Join(dir, "t.safetensors")
	whole, err := os.ReadFile(in)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(truncated, whole[:len(whole)-9], 0o644))
	topology := filepath.Join(dir, "t.smtx")
	require.NoError(t, os.WriteFile(topology, []byte("2, 4, 2\n0 1 2\n0 3\n"), 0o644))
	p := patterns.MustParse("nm(2,4)")
	for _, c := range []struct {
		in, out string
		opts    Options
		want    string
	}{
		{in, out, Options{}, "no pattern"},
		{in, filepath.Join(dir, "out.npy"), Options{Pattern: p}, "must be named *.safetensors"},
		{truncated, out, Options{Pattern: p}, "truncated"},
		{topology, out, Options{Pattern: p}, "no values"},
		{in, out, Options{Pattern: p, Tensors: regexp.MustCompile("^odd")}, `tensor "odd.weight" cannot be pruned to nm(2,4)`},
		{in, out, Options{Pattern: p, Tensors: regexp.MustCompile("^none")}, "no tensor was chosen"},
		{in, out, Options{Pattern: patterns.MustParse("nm(2,32)")}, `("a.weight": `},
	} {
		_, err := File(c.in, c.out, c.opts)
		require.ErrorContains(t, err, c.want)
	}
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
}

// An embedding table is no matrix product: it is pruned where it is named, and
// not otherwise.
func TestPruneLeavesEmbeddings(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	random := func(shape ...int) []float32 {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = rng.Float32() - 0.5
		}
		return v
	}
	in := filepath.Join(t.TempDir(), "in.safetensors")
	require.NoError(t, weights.WriteSafetensors(in, []weights.Entry{
		weights.Float32Entry("embed_tokens.weight", []int{32, 8}, random(32, 8)),
		weights.Float32Entry("conv.weight", []int{8, 4, 3, 3}, random(8, 4, 3, 3)),
		weights.Float32Entry("up.weight", []int{16, 8}, random(16, 8)),
		weights.Float32Entry("up.bias", []int{16}, random(16)),
	}, nil))
	pruned := func(o Options) (names []string, text string) {
		o.Pattern = patterns.MustParse("nm(2,4)")
		r, err := File(in, filepath.Join(t.TempDir(), "out.safetensors"), o)
		require.NoError(t, err)
		for _, x := range r.Tensors {
			if x.Pruned {
				names = append(names, x.Name)
			}
		}
		var b strings.Builder
		require.NoError(t, r.WriteText(&b))
		return names, b.String()
	}
	names, text := pruned(Options{})
	require.Equal(t, []string{"up.weight"}, names)
	require.Contains(t, text, `
1 of 4 tensors pruned to nm(2,4); left as they were:
  an embedding table, by its name: embed_tokens.weight
  a convolution with a window: conv.weight
  not a matrix: up.bias
`)
	names, _ = pruned(Options{Tensors: regexp.MustCompile("^(embed|conv)")})
	require.Equal(t, []string{"embed_tokens.weight", "conv.weight"}, names)
}
