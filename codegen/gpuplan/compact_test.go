package gpuplan_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/codegen/gpuplan/plantest"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const compacted = "layer l(x %[1]s[t, %[2]d], z %[1]s[t, %[3]d]) (y %[1]s[t, %[3]d]) where t in 1..12 { y = z + (linear(x, w\"a\"[%[3]d, %[2]d] : %[4]s, bias=w\"b\") | %[5]s) }\n"

// channels makes the weights of layers with one matrix each, random where a row is
// the first of so many and a column the second, zero elsewhere.
func channels(m *ir.Module, everyRow, everyCol int, twoOfFour bool) codegen.Weights {
	rng := rand.New(rand.NewPCG(15, 16))
	data, shapes := map[string][]float32{}, map[string][]int{}
	for _, op := range m.Layers[0].Ops {
		w := op.Weight
		if w == nil {
			continue
		}
		v := make([]float32, w.Out*w.In)
		for r := 0; r < w.Out; r += everyRow {
			for c := min(1, everyCol-1); c < w.In; c += everyCol {
				if !twoOfFour || (r+c)%4 < 2 {
					v[r*w.In+c] = float32(rng.NormFloat64()) / 16
				}
			}
		}
		data[w.Tensor], shapes[w.Tensor] = v, []int{w.Out, w.In}
		if b := op.Bias; b != nil {
			data[b.Tensor], shapes[b.Tensor] = random(rng, b.Out), []int{b.Out}
		}
	}
	return func(name string) ([]float32, []int, error) { return data[name], shapes[name], nil }
}

// TestCompaction runs the text of the kernels, gathers among them, against float64.
func TestCompaction(t *testing.T) {
	for _, c := range []struct {
		pattern, act string
		in, out      int
		rows, cols   int // every which has something
		ops          int
		kept         [2]int // rows, columns
	}{
		{"channel(cols)", "gelu", 8190, 1000, 1, 100, 2, [2]int{1000, 82}},
		{"channel(rows,sparsity=0.98)", "silu", 1000, 8190, 100, 1, 2, [2]int{82, 1000}},
		{"channel(rows) & channel(cols)", "sigmoid", 3004, 3006, 20, 33, 3, [2]int{151, 91}},
		{"channel(rows) & nm(2,4)", "tanh", 1000, 12290, 100, 1, 2, [2]int{123, 1000}},
	} {
		for i, target := range gpuplan.Targets() {
			t.Run(fmt.Sprint(c.pattern, " ", target), func(t *testing.T) {
				dtype, bound := "bf16", 8e-3
				if i > 0 {
					dtype, bound = "f16", 1e-3
				}
				m := load(t, fmt.Sprintf(compacted, dtype, c.in, c.out, c.pattern, c.act))
				weights := channels(m, c.rows, c.cols, c.pattern == "channel(rows) & nm(2,4)")
				path, set := packed(t, m, target, weights)
				file, err := sgp.Open(path)
				require.NoError(t, err)
				ops := file.Model.Layers[0].Ops
				require.Len(t, ops, c.ops)
				product := slices.IndexFunc(ops, func(o sgp.Op) bool { return o.Linear.Bias != nil })
				require.Equal(t, c.kept, [2]int{ops[product].Linear.Out, ops[product].Linear.In})
				require.NoError(t, file.Close())
				model, err := runtime.Open(path, set)
				require.NoError(t, err)
				s, err := model.NewSession("l", cuda.On(fake(t, m, target, plantest.Exact)))
				require.NoError(t, err)
				rng := rand.New(rand.NewPCG(21, 22))
				const tokens = 7
				x, z, y := random(rng, c.in*tokens), random(rng, c.out*tokens), make([]float32, c.out*tokens)
				require.NoError(t, s.Run(context.Background(), [][]float32{x, z}, [][]float32{y}))
				want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{x, z}, map[string]int{"t": tokens})
				require.NoError(t, err)
				require.Less(t, deviation(y, want[0].Data), bound)
				require.NoError(t, s.Close())
				require.NoError(t, model.Close())
			})
		}
	}
}

// TestCompactionFast: more tokens, and results that the next op reads.
func TestCompactionFast(t *testing.T) {
	m := load(t, `layer l(x bf16[t, 3074]) (h, y bf16[t, 3074]) where t in 1..40 {
	h = linear(x, w"a"[3074, 3074] : channel(rows), bias=w"b") | relu
	y = x + (linear(h, w"c"[3074, 3074] : channel(rows) & channel(cols)) | silu)
}
`)
	for _, target := range gpuplan.Targets() {
		weights := channels(m, 50, 7, false)
		path, set := packed(t, m, target, weights)
		file, err := sgp.Open(path)
		require.NoError(t, err)
		require.Len(t, file.Model.Layers[0].Ops, 5)
		require.NoError(t, file.Close())
		model, err := runtime.Open(path, set)
		require.NoError(t, err)
		s, err := model.NewSession("l", cuda.On(fake(t, m, target, plantest.Fast)), runtime.MaxBatch(40))
		require.NoError(t, err)
		for _, tokens := range []int{1, 9} {
			x := random(rand.New(rand.NewPCG(3, uint64(tokens))), 3074*tokens)
			h, y := make([]float32, len(x)), make([]float32, len(x))
			require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{h, y}))
			want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{x}, map[string]int{"t": tokens})
			require.NoError(t, err)
			require.Less(t, deviation(h, want[0].Data), 8e-3)
			require.Less(t, deviation(y, want[1].Data), 8e-3)
		}
		require.NoError(t, model.Close())
	}
}

// TestCompactionMustPay: weights that drop little, all or nothing, and small ones,
// are stored whole; whatever they are, gen has listed the kernels.
func TestCompactionMustPay(t *testing.T) {
	for _, c := range []struct {
		out, in, rows, cols int // kept
		compact             bool
	}{
		{3072, 4096, 3072, 4096, false}, {3072, 4096, 3072, 4000, false}, {64, 64, 64, 4, false},
		{3072, 4096, 512, 512, true}, {3072, 4096, 0, 0, false},
	} {
		m := load(t, fmt.Sprintf("layer l(x bf16[t, %d]) (y bf16[t, %d]) where t in 1..64 { y = linear(x, w\"a\" : channel(rows) & channel(cols)) | relu }\n", c.in, c.out))
		data := make([]float32, c.out*c.in)
		for r := range c.rows {
			for i := range c.cols {
				data[r*c.in+i] = float32(1 + (r+i)%7)
			}
		}
		plan, err := gpuplan.Plan(m.Layers[0], ptx.SM90a())
		require.NoError(t, err)
		layer, reports, err := plan.Pack(func(string) ([]float32, []int, error) { return data, []int{c.out, c.in}, nil }, false)
		require.NoError(t, err)
		require.Equal(t, c.compact, len(layer.Ops) > 1, "%+v: %s", c, reports[0].Plan.Note)
		require.Equal(t, c.compact, reports[0].Plan.Compact != nil)
		require.Contains(t, reports[0].Plan.Note, fmt.Sprintf("something in %d of %d rows", c.rows, c.out))
		ks, err := gpuplan.Kernels(m.Layers, []ptx.Target{ptx.SM90a()}, nil)
		require.NoError(t, err)
		for _, op := range layer.Ops {
			for _, v := range op.Linear.Variants {
				require.True(t, slices.ContainsFunc(ks, func(k gpu.Kernel) bool { return k.Name == v.GPU.Kernel }), v.GPU.Kernel)
			}
		}
	}
}

// TestDroppedOutputs: what stands for an output without weights is its activation
// of the bias, as the float64 reference has it.
func TestDroppedOutputs(t *testing.T) {
	for _, act := range []string{"relu", "silu", "sigmoid", "tanh", "gelu", "gelu(approx=tanh)"} {
		m := load(t, fmt.Sprintf("layer l(x f16[t, 1024]) (y f16[t, 8192]) where t in 1..4 { y = linear(x, w\"a\" : channel(rows), bias=w\"b\") | %s }\n", act))
		weights := channels(m, 100, 1, false)
		plan, err := gpuplan.Plan(m.Layers[0], ptx.SM80())
		require.NoError(t, err)
		layer, _, err := plan.Pack(weights, false)
		require.NoError(t, err)
		require.Len(t, layer.Ops, 2)
		want, err := eval.Layer(m.Layers[0], eval.Lookup(weights), [][]float32{make([]float32, 1024)}, map[string]int{"t": 1})
		require.NoError(t, err)
		v := layer.Ops[1].Linear.Variants[0].GPU
		dropped := 0
		for i, at := range v.Lists {
			if at == gpu.NoInput {
				dropped++
				got := half(uint16(v.Weights[2*i]) | uint16(v.Weights[2*i+1])<<8)
				require.InDelta(t, want[0].Data[i], got, math.Abs(want[0].Data[i])/1024+1e-6, act)
			}
		}
		require.Equal(t, 8192-82, dropped)
	}
}

// half reads binary16.
func half(b uint16) float64 {
	sign, e, f := 1-2*float64(b>>15), int(b>>10&31), float64(b&1023)
	if e == 0 {
		return sign * math.Ldexp(f, -24)
	}
	return sign * math.Ldexp(1024+f, e-25)
}

// TestOpenChecksGathers: a file whose indices or constants are not right for the
// kernel does not open.
func TestOpenChecksGathers(t *testing.T) {
	m := load(t, fmt.Sprintf(compacted, "bf16", 1024, 16384, "channel(rows)", "relu"))
	path, set := packed(t, m, ptx.SM90a(), channels(m, 200, 1, false))
	for want, lie := range map[string]func(f *sgp.GPU, l *sgp.Layer){
		"output 5 is input 82 of 82":                func(f *sgp.GPU, _ *sgp.Layer) { f.Lists = slices.Clone(f.Lists); f.Lists[5] = 82 },
		"output 16383 is input 4294967294 of 82":    func(f *sgp.GPU, _ *sgp.Layer) { f.Lists = slices.Clone(f.Lists); f.Lists[16383] = 1<<32 - 2 },
		"16383 indices for 16384 outputs":           func(f *sgp.GPU, _ *sgp.Layer) { f.Lists = f.Lists[1:] },
		"0 indices for 16384 outputs":               func(f *sgp.GPU, _ *sgp.Layer) { f.Lists = nil },
		"32766 bytes of weights for [16384, 82]":    func(f *sgp.GPU, _ *sgp.Layer) { f.Weights = f.Weights[2:] },
		"has no kernel gather_bf16":                 func(f *sgp.GPU, _ *sgp.Layer) { f.Kernel = "gather_bf16" },
		"a residual belongs to one of kernel":       func(_ *sgp.GPU, l *sgp.Layer) { l.Ops[1].Args = l.Ops[1].Args[:1] },
		"a bias belongs to one of kernel":           func(_ *sgp.GPU, l *sgp.Layer) { l.Ops[1].Linear.Bias = make([]float32, 16384) },
		"lists of blocks, but it takes all":         func(f *sgp.GPU, l *sgp.Layer) { l.Ops[0].Linear.Variants[0].GPU.Lists = f.Lists },
		"linear [16384, 82] between 1024 and 16384": func(_ *sgp.GPU, l *sgp.Layer) { l.Ops[1].Args[0] = 0 },
	} {
		file, err := sgp.Open(path)
		require.NoError(t, err)
		l := &file.Model.Layers[0]
		require.Len(t, l.Ops, 2)
		lie(l.Ops[1].Linear.Variants[0].GPU, l)
		bad := path + ".bad"
		err = sgp.WriteFile(bad, file.Model)
		require.NoError(t, file.Close())
		if err == nil {
			_, err = runtime.Open(bad, set)
		}
		require.ErrorContains(t, err, want)
	}
}

// TestGatherKernelsAreGenerated: only for patterns that may need them.
func TestGatherKernelsAreGenerated(t *testing.T) {
	for pattern, want := range map[string][]string{
		"dense": nil, "nm(2,4)": nil, "unstructured": nil, "channel(cols)": {"gather_f16_pdl"}, "channel(rows)": {"gather_f16_residual_pdl"},
		"channel(rows) & channel(cols)": {"gather_f16_pdl", "gather_f16_residual_pdl"},
	} {
		m := load(t, fmt.Sprintf(compacted, "f16", 256, 256, pattern, "relu"))
		ks, err := gpuplan.Kernels([]*ir.Layer{m.Layers[0]}, []ptx.Target{ptx.SM90a()}, nil)
		require.NoError(t, err)
		var got []string
		for _, k := range ks {
			if k.Family == "gather" {
				got = append(got, k.Name)
			}
		}
		require.Equal(t, want, got, pattern)
	}
}
