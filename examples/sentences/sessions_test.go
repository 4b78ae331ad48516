package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/runtime"
)

// packing is a folder in which the model is packed once for all tests.
var packing struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if packing.dir != "" {
		if err := os.RemoveAll(packing.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// packedFile is the model as the command of README.md packs it.
func packedFile(t testing.TB) string {
	t.Helper()
	dir := modelDir(t)
	packing.once.Do(func() {
		if packing.dir, packing.err = os.MkdirTemp("", "sentences-*"); packing.err == nil {
			packing.err = pack(filepath.Join(dir, "model.json"), filepath.Join(packing.dir, "use.sgp"))
		}
	})
	require.NoError(t, packing.err)
	return filepath.Join(packing.dir, "use.sgp")
}

// pack packs the model for this machine. Package tool could, but links the GPU's
// driver at run time, which a static program for an emulator cannot.
func pack(model, out string) error {
	src, err := os.ReadFile("use.sg")
	if err != nil {
		return err
	}
	m, err := ir.Load("use.sg", src, ir.Options{})
	if err != nil {
		return err
	}
	file, err := weights.Open(model)
	if err != nil {
		return err
	}
	defer file.Close()
	best := runtime.Generic
	for _, k := range nativeKernels() {
		if k.ISA.Available() {
			best = max(best, k.ISA)
		}
	}
	packed, _, err := codegen.Pack(m, tensors(file), codegen.PackOptions{Core: codegen.Builtin(best), Prune: true})
	if err != nil {
		return err
	}
	return sgp.WriteFile(out, packed)
}

// tensors looks up weights by name.
func tensors(file *weights.File) func(name string) ([]float32, []int, error) {
	return func(name string) ([]float32, []int, error) {
		info, err := file.Tensor(name)
		if err != nil {
			return nil, nil, err
		}
		values, err := file.Float32(name)
		return values, info.Shape, err
	}
}

func openPacked(t testing.TB) *runtime.Model {
	t.Helper()
	m, err := runtime.Open(packedFile(t), Kernels())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func newSessions(t testing.TB, m *runtime.Model, pattern string) *Sessions {
	t.Helper()
	s, err := NewSessions(m, pattern)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// embedOnKernels encodes texts as the program does.
func embedOnKernels(t *testing.T, pattern string, texts []string) [][]float32 {
	t.Helper()
	model, err := ReadModel(modelDir(t))
	require.NoError(t, err)
	e, err := embed(t.Context(), model, openPacked(t), pattern, texts)
	require.NoError(t, err)
	return e
}

// cosine is computed in float64.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// Each variant's embeddings are those of the plain Go layers.
func TestKernelsGiveTheReferencesEmbeddings(t *testing.T) {
	slow(t)
	texts := defaultSentences[:3]
	dir := modelDir(t)
	for pattern, prune := range map[string]func([]float32, int) error{
		"dense": nil, "nm(2,4)": keep2of4, "unstructured(sparsity=0.5)": keepHalf,
	} {
		want := embedAll(t, dir, prune, texts)
		for i, e := range embedOnKernels(t, pattern, texts) {
			requireNearlyEqual(t, want[i], e, pattern+": "+texts[i])
		}
	}
}

// Every element of every layer lies within its error bound, at one batch of
// each form that the planner chose, on random rows.
func TestLayersStayWithinTheirErrorBounds(t *testing.T) {
	slow(t)
	packed := openPacked(t)
	spec := loadSpec(t, ir.Options{})
	file, err := weights.Open(filepath.Join(modelDir(t), "model.json"))
	require.NoError(t, err)
	defer file.Close()
	rng := rand.New(rand.NewPCG(13, 14))
	for _, l := range spec.Layers {
		session, err := packed.NewSession(l.Name)
		require.NoError(t, err)
		worst := 0.0
		for _, batch := range []int{1, 3, 8, 15, 41} {
			x := make([]float32, batch*l.Inputs[0].Shape[1].N)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			y := make([]float32, batch*l.Outputs[0].Shape[1].N)
			require.NoError(t, session.Run(t.Context(), [][]float32{x}, [][]float32{y}))
			ref, err := eval.Layer(l, tensors(file), [][]float32{x}, map[string]int{"t": batch})
			require.NoError(t, err)
			for i, v := range y {
				off := math.Abs(float64(v) - ref[0].Data[i])
				require.LessOrEqual(t, off, ref[0].Bound[i], "%s, %d rows, element %d", l.Name, batch, i)
				worst = max(worst, off/ref[0].Bound[i])
			}
		}
		require.NoError(t, session.Close())
		t.Logf("%-10s at most %.3f of the bound", l.Name, worst)
	}
}

// Pure Go, AVX2, AVX-512 and NEON give the same bits.
func TestEmbeddingsDoNotDependOnTheInstructionSet(t *testing.T) {
	texts := some(defaultSentences[:2], 1)
	for _, v := range some(variants[:], 1) {
		t.Setenv("SPARSEGEN_ISA", "generic")
		want := embedOnKernels(t, v.pattern, texts)
		for _, isa := range []runtime.ISA{runtime.AVX2, runtime.AVX512, runtime.NEON, runtime.SVE} {
			if !isa.Available() {
				t.Logf("this machine has no %v", isa)
				continue
			}
			t.Setenv("SPARSEGEN_ISA", isa.String())
			require.Equal(t, want, embedOnKernels(t, v.pattern, texts), "%s, %v", v.pattern, isa)
		}
	}
}

func TestSessionsRunAllocatesNothing(t *testing.T) {
	packed := openPacked(t)
	rng := rand.New(rand.NewPCG(15, 16))
	for _, v := range some(variants[:], 1) {
		s := newSessions(t, packed, v.pattern)
		for _, c := range encoderCalls(t) {
			for _, rows := range []int{1, 7, 16} {
				x, y := make([]float32, rows*c.in), make([]float32, rows*c.out)
				for i := range x {
					x[i] = float32(rng.NormFloat64())
				}
				ctx := t.Context()
				allocs := testing.AllocsPerRun(1, func() {
					if err := s.Run(ctx, c.layer, x, rows, y); err != nil {
						t.Error(err)
					}
				})
				require.Zero(t, allocs, "%s, %s, %d rows", v.pattern, c.layer, rows)
			}
		}
	}
}

func TestSessionsErrors(t *testing.T) {
	packed := openPacked(t)
	_, err := NewSessions(packed, "nm(1,4)")
	require.EqualError(t, err, `use.sg has no feed-forward layers with the pattern "nm(1,4)"; there are dense, nm(2,4), unstructured(sparsity=0.5)`)
	s := newSessions(t, packed, "dense")
	require.EqualError(t, s.Run(t.Context(), "ffn7", nil, 1, nil), `no layer "ffn7"`)
	require.ErrorIs(t, s.Run(t.Context(), "ffn0", make([]float32, 511), 1, make([]float32, 512)), runtime.ErrLength)
	require.NoError(t, packed.Close())
	_, err = NewSessions(packed, "dense")
	require.ErrorIs(t, err, runtime.ErrClosed)
}

// Encode of a short sentence and of one of 31 pieces. BenchmarkEncode/dense and
// its neighbours differ in the feed-forward weights alone.
func BenchmarkEncode(b *testing.B) {
	model, err := ReadModel(modelDir(b))
	require.NoError(b, err)
	packed := openPacked(b)
	for _, v := range variants {
		encoder := NewEncoder(model, newSessions(b, packed, v.pattern))
		for _, text := range []string{
			"how old are you?",
			"A sentence encoder maps each sentence to a vector, so that sentences that mean nearly the same lie near each other, whatever their words are.",
		} {
			pieces := len(model.Tokenizer.Encode(text))
			b.Run(fmt.Sprintf("%s/pieces=%d", v.pattern, pieces), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := encoder.Encode(b.Context(), text); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The feed-forward layer of block 0 alone, rows are tokens.
func BenchmarkFeedForward(b *testing.B) {
	packed := openPacked(b)
	rng := rand.New(rand.NewPCG(17, 18))
	for _, rows := range []int{1, 8, 32, 128} {
		x, y := make([]float32, rows*width), make([]float32, rows*width)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		for _, v := range variants {
			layers := newSessions(b, packed, v.pattern)
			b.Run(fmt.Sprintf("rows=%d/%s", rows, v.pattern), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := layers.Run(b.Context(), "ffn0", x, rows, y); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
