package runtime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// block is a transformer-like layer: every op that there is, one value used
// twice, an output in the middle.
func block(rng *rand.Rand, featureMajor bool, batchMax int) (*sgp.Model, [2]dense) {
	const in, hidden = 12, 20
	dims := func(n int) []int {
		if featureMajor {
			return []int{n, 0}
		}
		return []int{0, n}
	}
	up, down := randomDense(rng, hidden, in, 0.5), randomDense(rng, in, hidden, 0.3)
	linear := func(d dense, v *sgp.Variant) *sgp.Linear {
		v.BatchMin, v.BatchMax = 1, 4
		rest := *v
		rest.BatchMin, rest.BatchMax = 5, batchMax
		return &sgp.Linear{Out: d.out, In: d.in, Variants: []sgp.Variant{*v, rest}}
	}
	rows, _ := down.kept()
	v := func(name string, n int) sgp.Value { return sgp.Value{Name: name, Dims: dims(n)} }
	return &sgp.Model{Layers: []sgp.Layer{{
		Name: "block", BatchMin: 1, BatchMax: batchMax,
		Values: []sgp.Value{
			v("x", in), v("n", in), v("h", hidden), v("g", hidden), v("d", in),
			v("sum", in), v("soft", in), v("m", in), v("r", in), v("c", in), v("a", in),
		},
		Inputs: []int{0}, Outputs: []int{5, 10},
		Ops: []sgp.Op{
			{Kind: sgp.LayerNorm, Args: []int{0}, Out: 1, Group: in, Eps: 1e-5, Gain: randomFloats(rng, in), Bias: randomFloats(rng, in)},
			{Kind: sgp.LinearOp, Args: []int{1}, Out: 2, Linear: linear(up, &sgp.Variant{Lanes: packLanes(up, sgp.LanesMask, 8, 0, 0, nil, nil)})},
			{Kind: sgp.Silu, Args: []int{2}, Out: 3},
			{Kind: sgp.LinearOp, Args: []int{3}, Out: 4, Linear: linear(down, &sgp.Variant{Panel: packPanel(down, sgp.Grouped, 4, 8, rows, nil)})},
			{Kind: sgp.Add, Args: []int{0, 4}, Out: 5},
			{Kind: sgp.Softmax, Args: []int{5}, Out: 6, Group: in / 3},
			{Kind: sgp.Mul, Args: []int{5, 6}, Out: 7},
			{Kind: sgp.RMSNorm, Args: []int{7}, Out: 8, Group: in, Eps: 1e-6, Gain: randomFloats(rng, in)},
			{Kind: sgp.Clamp, Args: []int{8}, Out: 9, Lo: -0.9, Hi: 0.8},
			{Kind: sgp.Relu, Args: []int{9}, Out: 10},
		},
	}}}, [2]dense{up, down}
}

// blockReference is block in float64 for one token.
func blockReference(m *sgp.Model, w [2]dense, x []float32) (sum, out []float64) {
	ops := m.Layers[0].Ops
	v := make([]float64, len(x))
	for i := range x {
		v[i] = float64(x[i])
	}
	n := normReference(v, 1e-5, true)
	for i := range n {
		n[i] = n[i]*float64(ops[0].Gain[i]) + float64(ops[0].Bias[i])
	}
	h := matVec(w[0], n)
	for i := range h {
		h[i] /= 1 + math.Exp(-h[i])
	}
	sum = matVec(w[1], h)
	for i := range sum {
		sum[i] += v[i]
	}
	out = make([]float64, len(sum))
	for g := 0; g < len(sum); g += ops[5].Group {
		total := 0.0
		for i := range ops[5].Group {
			total += math.Exp(sum[g+i])
		}
		for i := range ops[5].Group {
			out[g+i] = sum[g+i] * math.Exp(sum[g+i]) / total
		}
	}
	out = normReference(out, 1e-6, false)
	for i := range out {
		out[i] = max(0, min(max(out[i]*float64(ops[7].Gain[i]), -0.9), 0.8))
	}
	return sum, out
}

func matVec(d dense, x []float64) []float64 {
	y := make([]float64, d.out)
	for r := range y {
		for c := range d.in {
			y[r] += float64(d.at(r, c)) * x[c]
		}
	}
	return y
}

func normReference(x []float64, eps float64, centre bool) []float64 {
	mean, square := 0.0, 0.0
	if centre {
		for _, v := range x {
			mean += v / float64(len(x))
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(square+eps)
	}
	return y
}

func TestEveryOp(t *testing.T) {
	for _, featureMajor := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(3, 4))
		m, w := block(rng, featureMajor, 9)
		s, err := openModel(t, m).NewSession("block")
		require.NoError(t, err)
		for batch := 1; batch <= 9; batch++ {
			x := randomFloats(rng, 12*batch)
			sum, out := randomFloats(rng, 12*batch), randomFloats(rng, 12*batch)
			require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{sum, out}))
			at := func(v []float32, b, i int) float32 {
				if featureMajor {
					return v[i*batch+b]
				}
				return v[b*12+i]
			}
			for b := range batch {
				token := make([]float32, 12)
				for i := range token {
					token[i] = at(x, b, i)
				}
				wantSum, wantOut := blockReference(m, w, token)
				for i := range token {
					// Sums of some 20 terms up to 100: a relative 1e-4 of them is far above
					// rounding and far below any wrong term. The softmax turns the
					// absolute error of its exponent into a relative one.
					require.InDelta(t, wantSum[i], at(sum, b, i), 1e-4*(1+math.Abs(wantSum[i])))
					require.InDelta(t, wantOut[i], at(out, b, i), 1e-3)
				}
			}
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m, _ := block(rng, false, 9)
	for i := range m.Layers[0].Ops { // the interpreted panel kernels allocate
		if lin := m.Layers[0].Ops[i].Linear; lin != nil {
			d := randomDense(rng, lin.Out, lin.In, 0.5)
			lin.Variants = []sgp.Variant{{BatchMin: 1, BatchMax: 9, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}
		}
	}
	set := Set{}
	for _, nb := range []uint8{1, 2, 4, 8} {
		set.Kernels = append(set.Kernels, Kernel{Key: KernelKey{Op: LanesDense, S: 8, NB: nb}, Fn: touchSlabs(int(nb))})
	}
	opened := openModel(t, m, set)
	for _, threads := range []int{1, 3} {
		s, err := opened.NewSession("block", Threads(threads))
		require.NoError(t, err)
		s.control.share = 0
		x, sum, out := randomFloats(rng, 12*9), make([]float32, 12*9), make([]float32, 12*9)
		in, res := [][]float32{nil}, [][]float32{nil, nil}
		batch := 0
		require.Zero(t, testing.AllocsPerRun(100, func() {
			batch = batch%9 + 1
			in[0], res[0], res[1] = x[:12*batch], sum[:12*batch], out[:12*batch]
			if err := s.Run(context.Background(), in, res); err != nil {
				t.Fatal(err)
			}
		}), "%d threads", threads)
	}
	single := dispatchSession(t, touchSlabs(1))
	in, res := [][]float32{randomFloats(rng, 16)}, [][]float32{make([]float32, 8)}
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if err := single.Run(ctx, in, res); err != nil {
				t.Fatal(err)
			}
		}))
	}
}

// touchSlabs is a kernel of LanesDense's shape that only writes the bias.
func touchSlabs(tokens int) LanesFunc {
	return func(y *float32, ldy uintptr, _ *float32, _ uintptr, _ *float32, _ *byte, _ *uint32, _ int, bias *float32, _, _ float32, n int) {
		for b := range tokens {
			for l := range n * 8 {
				*at(row(y, b, ldy), l) = *at(bias, l)
			}
		}
	}
}

func tinyModel(t testing.TB) (*Model, dense) {
	rng := rand.New(rand.NewPCG(7, 8))
	d := randomDense(rng, 8, 16, 1)
	lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
	return openModel(t, linearLayer(lin, false, 8)), d
}

// TestOpenBytes: a model in memory runs as one in a file does.
func TestOpenBytes(t *testing.T) {
	m, _ := tinyModel(t)
	data, err := os.ReadFile(m.path)
	require.NoError(t, err)
	embedded, err := OpenBytes("embedded", data, testKernels())
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, 3*16)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var results [2][]float32
	for i, m := range []*Model{m, embedded} {
		s, err := m.NewSession(m.Layers()[0].Name)
		require.NoError(t, err)
		results[i] = make([]float32, 3*8)
		require.NoError(t, s.Run(t.Context(), [][]float32{x}, [][]float32{results[i]}))
	}
	require.Equal(t, results[0], results[1])
	require.NoError(t, embedded.Close())
	_, err = embedded.NewSession("l")
	require.ErrorIs(t, err, ErrClosed)
	data[len(data)-1] ^= 1
	_, err = OpenBytes("embedded", data, testKernels())
	require.ErrorContains(t, err, "embedded: offset ")
}

func TestMisuse(t *testing.T) {
	m, _ := tinyModel(t)
	ctx := context.Background()
	_, err := m.NewSession("nothing")
	require.ErrorIs(t, err, ErrNoLayer)
	require.ErrorContains(t, err, `"nothing"`)
	for _, o := range []Option{Threads(0), MaxBatch(0), MaxBatch(9), WithISA(17)} {
		_, err := m.NewSession("l", o)
		require.Error(t, err)
	}
	s, err := m.NewSession("l", MaxBatch(4))
	require.NoError(t, err)
	f := func(n int) []float32 { return make([]float32, n) }
	for _, c := range []struct {
		in, out [][]float32
		want    error
		text    string
	}{
		{nil, nil, ErrLength, "0 inputs and 0 outputs"},
		{[][]float32{f(16)}, [][]float32{f(8), f(8)}, ErrLength, "2 outputs"},
		{[][]float32{f(17)}, [][]float32{f(8)}, ErrLength, "17 elements, not a multiple of its 16"},
		{[][]float32{f(0)}, [][]float32{f(0)}, ErrBatch, "0 where the session takes 1..4"},
		{[][]float32{f(80)}, [][]float32{f(40)}, ErrBatch, "5 where the session takes 1..4"},
		{[][]float32{f(32)}, [][]float32{f(8)}, ErrLength, `output 0 ("y") has 8 elements; 8 features and batch 2 need 16`},
	} {
		err := s.Run(ctx, c.in, c.out)
		require.ErrorIs(t, err, c.want)
		require.ErrorContains(t, err, c.text)
	}
	both := f(24)
	require.ErrorIs(t, s.Run(ctx, [][]float32{both[:16]}, [][]float32{both[15:23]}), ErrOverlap)
	require.NoError(t, s.Run(ctx, [][]float32{both[:16]}, [][]float32{both[16:]}))

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, s.Run(cancelled, [][]float32{f(16)}, [][]float32{f(8)}), context.Canceled)

	s.state.Store(running) // as another goroutine would have it
	require.ErrorIs(t, s.Run(ctx, [][]float32{f(16)}, [][]float32{f(8)}), ErrBusy)
	require.ErrorIs(t, s.Close(), ErrBusy)
	other, err := m.NewSession("l")
	require.NoError(t, err)
	require.ErrorIs(t, m.Close(), ErrBusy)
	require.NoError(t, other.Run(ctx, [][]float32{f(16)}, [][]float32{f(8)}), "a refused close changes nothing")
	s.state.Store(idle)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Run(ctx, [][]float32{f(16)}, [][]float32{f(8)}), ErrClosed)
	require.NoError(t, m.Close())
	require.ErrorIs(t, other.Run(ctx, [][]float32{f(16)}, [][]float32{f(8)}), ErrClosed)
	_, err = m.NewSession("l")
	require.ErrorIs(t, err, ErrClosed)
	require.Nil(t, m.Layers())
}

func TestMissingKernel(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	d := randomNM(rng, 8, 16, 2, 4)
	lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesNM, 8, 2, 4, nil, nil)}}}
	m := linearLayer(lin, false, 8)
	m.Fingerprint = 5
	path := filepath.Join(t.TempDir(), "m.sgp")
	require.NoError(t, sgp.WriteFile(path, m))

	_, err := Open(path)
	var missing *MissingKernelError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, KernelKey{Op: LanesNM, S: 8, N: 2, M: 4}, missing.Key)
	require.ErrorContains(t, err, `layer "l" has no kernel for 2:4 in slabs of 8 output rows`)
	require.ErrorContains(t, err, "go tool sparsegen gen")

	key := KernelKey{Op: LanesNM, S: 8, NB: 1, N: 2, M: 4}
	_, err = Open(path, Set{Packing: 4, Kernels: genericSet(key).Kernels})
	require.ErrorContains(t, err, "another version of the packer")
	require.ErrorContains(t, err, fmt.Sprintf("go tool sparsegen pack SPEC --out %q", path))
	_, err = Open(path, Set{Packing: 5, Kernels: []Kernel{{Key: key, Fn: interpretPanel(KernelKey{})}}})
	require.ErrorContains(t, err, "PanelFunc where a runtime.LanesFunc belongs")
	opened, err := Open(path, Set{Packing: 5, Kernels: genericSet(key).Kernels})
	require.NoError(t, err)
	require.Equal(t, []Layer{{Name: "l", BatchMin: 1, BatchMax: 8, Inputs: []Tensor{{"x", []int{0, 16}}}, Outputs: []Tensor{{"y", []int{0, 8}}}}}, opened.Layers())
	require.NoError(t, opened.Close())
}

// TestISA: for each key the best level up to the cap is bound; the environment
// caps, an unknown name is an error.
func TestISA(t *testing.T) {
	best := Generic
	for i := range isas {
		if ISA(i).Available() {
			best = ISA(i)
		}
	}
	used := Generic
	mark := func(isa ISA) LanesFunc {
		return func(*float32, uintptr, *float32, uintptr, *float32, *byte, *uint32, int, *float32, float32, float32, int) {
			used = isa
		}
	}
	set := Set{}
	for i := range isas {
		set.Kernels = append(set.Kernels, Kernel{KernelKey{Op: LanesDense, S: 8, NB: 1}, ISA(i), mark(ISA(i))})
	}
	rng := rand.New(rand.NewPCG(7, 8))
	d := randomDense(rng, 8, 16, 1)
	lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
	m := openModel(t, linearLayer(lin, false, 8), set)
	run := func(opts ...Option) ISA {
		s, err := m.NewSession("l", opts...)
		require.NoError(t, err)
		require.NoError(t, s.Run(context.Background(), [][]float32{make([]float32, 16)}, [][]float32{make([]float32, 8)}))
		require.NoError(t, s.Close())
		return used
	}
	t.Setenv(isaVariable, "")
	require.Equal(t, best, run())
	require.Equal(t, Generic, run(WithISA(Generic)))
	t.Setenv(isaVariable, "generic")
	require.Equal(t, Generic, run())
	require.Equal(t, best, run(WithISA(best)))
	t.Setenv(isaVariable, "sse9")
	_, err := m.NewSession("l")
	require.ErrorContains(t, err, `SPARSEGEN_ISA: "sse9" is no instruction set level`)
	_, err = Open(m.path, set)
	require.ErrorContains(t, err, "sse9")
}

// TestShort: a form that is for short vectors takes the kernels that have them, where the
// program has some, and those at hand where it does not.
func TestShort(t *testing.T) {
	if !AVX512.Available() {
		t.Skip("no AVX-512 here")
	}
	t.Setenv(isaVariable, "")
	used := Generic
	set := func(levels ...ISA) (s Set) {
		for _, isa := range levels {
			s.Kernels = append(s.Kernels, Kernel{KernelKey{Op: LanesDense, S: 8, NB: 1}, isa, LanesFunc(func(*float32, uintptr, *float32, uintptr, *float32, *byte, *uint32, int, *float32, float32, float32, int) {
				used = isa
			})})
		}
		return s
	}
	for _, c := range []struct {
		short bool
		set   Set
		cap   ISA
		want  ISA
	}{
		{false, set(Generic, AVX2, AVX512), AVX512, AVX512},
		{true, set(Generic, AVX2, AVX512), AVX512, AVX2},
		{true, set(Generic, AVX2, AVX512), AVX2, AVX2},
		{true, set(Generic, AVX2, AVX512), Generic, Generic},
		{true, set(AVX512), AVX512, AVX512},
		{true, set(Generic, AVX512), AVX512, AVX512},
	} {
		d := randomDense(rand.New(rand.NewPCG(7, 8)), 8, 16, 1)
		lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Short: c.short, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
		s, err := openModel(t, linearLayer(lin, false, 8), c.set).NewSession("l", WithISA(c.cap))
		require.NoError(t, err)
		require.NoError(t, s.Run(context.Background(), [][]float32{make([]float32, 16)}, [][]float32{make([]float32, 8)}))
		require.NoError(t, s.Close())
		require.Equal(t, c.want, used, "%+v", c)
	}
}

// TestTruncatedWhileMapped: a file made shorter under a running program is an
// error of Run, not a crash, whether a run is many kernel calls or one.
func TestTruncatedWhileMapped(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][2]int{{22, 4096}, {8, 4096}} {
		d := randomDense(rng, shape[0], shape[1], 1)
		lin := &sgp.Linear{Out: d.out, In: d.in, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
		m := openModel(t, linearLayer(lin, false, 8))
		for _, threads := range []int{1, 2} {
			s, err := m.NewSession("l", Threads(threads))
			require.NoError(t, err)
			s.control.share = 0
			in, out := [][]float32{randomFloats(rng, d.in)}, [][]float32{make([]float32, d.out)}
			if threads == 1 {
				require.NoError(t, s.Run(context.Background(), in, out))
				require.Equal(t, d.out == 8, s.single.f != nil)
				require.NoError(t, os.Truncate(m.path, 8192))
			}
			for range 2 {
				err = s.Run(context.Background(), in, out)
				require.ErrorContains(t, err, "memory fault")
				require.ErrorContains(t, err, m.path)
			}
		}
	}
}

// TestCancelWhileRunning: a run whose context ends stops before its next call
// of a kernel, be it of the same op or of the next.
func TestCancelWhileRunning(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 15))
	linear := func(d dense) *sgp.Linear {
		return &sgp.Linear{Out: d.out, In: d.in, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
	}
	many := linearLayer(linear(randomDense(rng, 96, 8200, 1)), false, 8) // a call for every four slabs of 8 rows
	chain := linearLayer(linear(randomDense(rng, 8, 8, 1)), false, 8)
	l := &chain.Layers[0]
	l.Values = append(l.Values, sgp.Value{Name: "z", Dims: []int{0, 8}})
	l.Ops = append(l.Ops, sgp.Op{Kind: sgp.LinearOp, Args: []int{1}, Out: 2, Linear: linear(randomDense(rng, 8, 8, 1))})
	l.Outputs = []int{2}
	for _, model := range []*sgp.Model{many, chain} {
		ctx, cancel := context.WithCancel(context.Background())
		calls := 0
		m := openModel(t, model, Set{Kernels: []Kernel{{Key: KernelKey{Op: LanesDense, S: 8, NB: 1}, Fn: LanesFunc(
			func(*float32, uintptr, *float32, uintptr, *float32, *byte, *uint32, int, *float32, float32, float32, int) {
				calls++
				cancel()
			})}}})
		s, err := m.NewSession("l")
		require.NoError(t, err)
		in := model.Layers[0].Values[0].Dims[1]
		out := model.Layers[0].Values[model.Layers[0].Outputs[0]].Dims[1]
		x, y := [][]float32{randomFloats(rng, in)}, [][]float32{make([]float32, out)}
		require.ErrorIs(t, s.Run(ctx, x, y), context.Canceled)
		require.Equal(t, 1, calls)
		require.NoError(t, s.Run(context.Background(), x, y), "the session is still good")
		require.Greater(t, calls, 2)
	}
}

// TestConcurrentUse: sessions of one model run at once; one session in several
// goroutines runs or says that it is busy, and never does wrong.
func TestConcurrentUse(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	model, _ := block(rng, false, 9)
	m := openModel(t, model)
	x := randomFloats(rng, 12*9)
	run := func(s *Session) ([]float32, error) {
		sum, out := make([]float32, 12*9), make([]float32, 12*9)
		err := s.Run(context.Background(), [][]float32{x}, [][]float32{sum, out})
		return append(sum, out...), err
	}
	shared, err := m.NewSession("block", Threads(2))
	require.NoError(t, err)
	shared.control.share = 0
	want, err := run(shared)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			own, err := m.NewSession("block", Threads(2))
			if !assert.NoError(t, err) {
				return
			}
			own.control.share = 0
			for range 20 {
				got, err := run(own)
				assert.NoError(t, err)
				assert.Equal(t, want, got)
				if got, err = run(shared); err != nil {
					assert.ErrorIs(t, err, ErrBusy)
				} else {
					assert.Equal(t, want, got)
				}
			}
			assert.NoError(t, own.Close())
		})
	}
	wg.Wait()
}
