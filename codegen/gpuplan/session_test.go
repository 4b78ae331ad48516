package gpuplan_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/codegen/gpuplan/plantest"
	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const mlp = `
layer mlp(x %[1]s[t, 100]) (y %[1]s[t, 100]) where t in 1..600 {
	h = linear(x, w"up"[136, 100] : nm(2,4), bias=w"up.bias") | silu
	y = x + linear(h, w"down" : dense)
}
`

// weightsOf makes random tensors for a module, pruned to their patterns.
func weightsOf(t testing.TB, m *ir.Module) codegen.Weights {
	rng := rand.New(rand.NewPCG(5, 6))
	data, shapes := map[string][]float32{}, map[string][]int{}
	add := func(w *ir.Weight, n, scale int) {
		if w == nil {
			return
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() / math.Sqrt(float64(scale)))
		}
		shapes[w.Tensor] = []int{n}
		if w.In > 0 {
			shapes[w.Tensor] = []int{w.Out, w.In}
			x := patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: v}
			mask, err := w.Pattern.Prune(x)
			require.NoError(t, err)
			mask.Apply(x)
		}
		data[w.Tensor] = v
	}
	for _, l := range m.Layers {
		for _, op := range l.Ops {
			if op.Weight != nil {
				add(op.Weight, op.Weight.Out*op.Weight.In, op.Weight.In)
			}
			if op.Bias != nil {
				add(op.Bias, op.Bias.Out, 1)
			}
		}
	}
	return func(name string) ([]float32, []int, error) {
		if data[name] == nil {
			return nil, nil, fmt.Errorf("no tensor %q", name)
		}
		return data[name], shapes[name], nil
	}
}

// packed is a module's packed file and its kernels.
func packed(t testing.TB, m *ir.Module, target ptx.Target, weights codegen.Weights) (string, runtime.Set) {
	model := &sgp.Model{Fingerprint: 1, GPUFingerprint: 2}
	for _, l := range m.Layers {
		plan, err := gpuplan.Plan(l, target)
		require.NoError(t, err)
		layer, reports, err := plan.Pack(weights, false)
		require.NoError(t, err)
		require.Len(t, reports, len(plan.Steps))
		model.Layers = append(model.Layers, *layer)
	}
	ks, err := gpuplan.Kernels(m.Layers, []ptx.Target{target}, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "model.sgp")
	require.NoError(t, sgp.WriteFile(path, model))
	return path, runtime.Set{Packing: 1, GPUPacking: 2, GPU: ks}
}

// fake is a driver on which the kernels of a module's plans compute in Go.
func fake(t testing.TB, m *ir.Module, target ptx.Target, compute func(*gpu.Kernel, kernels.Config) cudatest.Kernel) *cuda.Device {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f, err := plantest.Driver(64<<20, m.Layers, target, compute)
	require.NoError(t, err)
	sys, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := sys.Open(0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// deviation is ‖got - want‖ / ‖want‖.
func deviation(got []float32, want []float64) float64 {
	diff, all := 0.0, 0.0
	for i, w := range want {
		diff += (float64(got[i]) - w) * (float64(got[i]) - w)
		all += w * w
	}
	return math.Sqrt(diff / all)
}

// TestWholePath: spec, plan, packed file, session, with kernels that compute in Go
// what their parameters say, against float64 over the unrounded weights.
func TestWholePath(t *testing.T) {
	for _, c := range []struct {
		target ptx.Target
		format narrow.Format
		bound  float64 // a few roundings of the type
	}{{ptx.SM90a(), narrow.BF16, 8e-3}, {ptx.SM90a(), narrow.F16, 1e-3}, {ptx.SM80(), narrow.BF16, 8e-3}} {
		t.Run(fmt.Sprint(c.target, " ", c.format), func(t *testing.T) {
			m := load(t, fmt.Sprintf(mlp, c.format))
			weights := weightsOf(t, m)
			path, set := packed(t, m, c.target, weights)
			d := fake(t, m, c.target, plantest.Fast)
			model, err := runtime.Open(path, set)
			require.NoError(t, err)
			require.Equal(t, c.target.String(), model.Layers()[0].Target)
			s, err := cuda.NewSession(model, "mlp", d, runtime.MaxBatch(600))
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(7, 8))
			for _, tokens := range []int{1, 7, 64, 600, 7} {
				x, y := random(rng, 100*tokens), make([]float32, 100*tokens)
				require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
				want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{x}, map[string]int{"t": tokens})
				require.NoError(t, err)
				require.Less(t, deviation(y, want[0].Data), c.bound, "%d tokens", tokens)
				onDevice(t, s, d, c.format, x, y)
			}
			require.NoError(t, s.Close())
			require.NoError(t, model.Close())
		})
	}
}

// TestPatternsOnKernels runs the text of the kernels itself, for every form that
// weights may have.
func TestPatternsOnKernels(t *testing.T) {
	for _, c := range []struct {
		pattern string
		in      int
		listed  bool
	}{
		{"dense", 136, false}, {"nm(2,4)", 200, false}, {"nm(1,4)", 64, false}, {"unstructured", 72, false},
		{"block(64,64,sparsity=0.8)", 1024, true}, {"stripe(0:64,300:340)", 1024, true}, {"diag(0,width=8)", 2048, true},
	} {
		for _, target := range gpuplan.Targets() {
			t.Run(fmt.Sprint(c.pattern, " ", target), func(t *testing.T) {
				m := load(t, fmt.Sprintf("layer l(x bf16[t, %[1]d], z bf16[t, 256]) (y bf16[t, 256]) where t in 1..12 { y = z + (linear(x, w\"a\"[256, %[1]d] : %[2]s, bias=w\"b\") | gelu) }\n", c.in, c.pattern))
				weights := weightsOf(t, m)
				path, set := packed(t, m, target, weights)
				d := fake(t, m, target, plantest.Exact)
				model, err := runtime.Open(path, set)
				require.NoError(t, err)
				file, err := sgp.Open(path)
				require.NoError(t, err)
				require.Equal(t, c.listed, file.Model.Layers[0].Ops[0].Linear.Variants[0].GPU.Lists != nil)
				require.NoError(t, file.Close())
				s, err := model.NewSession("l", cuda.On(d))
				require.NoError(t, err)
				rng := rand.New(rand.NewPCG(9, 10))
				const tokens = 11
				x, z, y := random(rng, c.in*tokens), random(rng, 256*tokens), make([]float32, 256*tokens)
				require.NoError(t, s.Run(context.Background(), [][]float32{x, z}, [][]float32{y}))
				want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{x, z}, map[string]int{"t": tokens})
				require.NoError(t, err)
				require.Less(t, deviation(y, want[0].Data), 8e-3)
				require.NoError(t, s.Close())
				require.NoError(t, model.Close())
			})
		}
	}
}

// onDevice: the same bits from the session's other interface.
func onDevice(t *testing.T, s *cuda.Session, d *cuda.Device, f narrow.Format, x, want []float32) {
	in, out := s.Inputs()[0], s.Outputs()[0]
	require.Equal(t, 104, in.Pitch, "rows of 200 bytes start every 208")
	tokens := len(x) / in.Features
	raw := make([]byte, in.Bytes(tokens))
	for r := range tokens {
		copy(raw[r*in.Pitch*2:], f.Append(nil, x[r*in.Features:][:in.Features]))
	}
	bx, err := d.Alloc(in.Bytes(tokens))
	require.NoError(t, err)
	defer func() { require.NoError(t, bx.Free()) }()
	by, err := d.Alloc(out.Bytes(tokens))
	require.NoError(t, err)
	defer func() { require.NoError(t, by.Free()) }()
	require.NoError(t, cuda.Upload(nil, bx, raw))
	require.NoError(t, s.RunDevice(nil, tokens, []*cuda.Buffer{bx}, []*cuda.Buffer{by}))
	got := make([]byte, out.Bytes(tokens))
	require.NoError(t, cuda.Download(nil, got, by))
	for r := range tokens {
		for c := range out.Features {
			code := binary.LittleEndian.Uint16(got[2*(r*out.Pitch+c):])
			require.Equal(t, want[r*out.Features+c], f.Decode(code))
		}
	}
}

// TestOneToken: a layer without a batch axis has one token.
func TestOneToken(t *testing.T) {
	m := load(t, "layer l(x f16[72]) (h, y f16[40]) {\n h = linear(x, w\"a\"[40, 72])\n y = linear(h, w\"b\") + h\n}\n")
	weights := weightsOf(t, m)
	path, set := packed(t, m, ptx.SM90a(), weights)
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	s, err := model.NewSession("l", cuda.On(fake(t, m, ptx.SM90a(), plantest.Exact)))
	require.NoError(t, err)
	x, h, y := random(rand.New(rand.NewPCG(1, 1)), 72), make([]float32, 40), make([]float32, 40)
	require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{h, y}))
	want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{x}, nil)
	require.NoError(t, err)
	require.Less(t, deviation(h, want[0].Data), 1e-3)
	require.Less(t, deviation(y, want[1].Data), 1e-3)
	require.NoError(t, model.Close())
}
