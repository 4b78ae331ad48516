package codegen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// pinned is the fingerprint of the packers as they are. Where a change of layout
// is meant, set it to what the test says; packed files of before are then
// refused, with a word on packing again. Where none is meant, a packer is wrong.
const pinned = 0xb11ee4127e2f59b0

func TestFingerprintIsPinned(t *testing.T) {
	require.Equal(t, fmt.Sprintf("%#x", uint64(pinned)), fmt.Sprintf("%#x", Fingerprint()))
	require.Equal(t, Fingerprint(), Fingerprint())
}

// planCases are patterns, with shapes that they divide and that fill no panel.
var planCases = []string{
	"dense", "nm(2,4)", "nm(1,4)", "nm(1,8)", "nm(2,6)", "nm(20,24)", "block(4,1,sparsity=0.8)", "block(8,2,sparsity=0.5)",
	"block(16,1,sparsity=0.9)", "unstructured(sparsity=0.05)", "unstructured(sparsity=0.5)", "unstructured(sparsity=0.8)",
	"unstructured(sparsity=0.97)", "channel(rows,sparsity=0.5)", "channel(cols,sparsity=0.5)", "stripe(0:20,40:41)",
	"diag(-3,0,5,width=2)", "unstructured(sparsity=0.9) | stripe(0:4)",
}

// TestPlanNeverAboveDense: whatever the layer, the variants cover the batch
// range without a gap, and at each batch that was compared the one chosen is
// the best dense form or is estimated clearly below it.
func TestPlanNeverAboveDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	sparse, dense := 0, 0
	for _, text := range planCases {
		pattern, err := patterns.Parse(text)
		require.NoError(t, err)
		for _, shape := range [][2]int{{112, 96}, {16, 480}, {400, 48}} {
			out, in := shape[0], shape[1]
			if pattern.Validate(out, in) != nil {
				continue
			}
			m := patterns.NewMatrix(out, in)
			for i := range m.Data {
				m.Data[i] = float32(rng.NormFloat64())
			}
			mask, err := pattern.Prune(m)
			require.NoError(t, err)
			packed := map[Config]sgp.Variant{}
			pack := func(c Config) sgp.Variant {
				v, ok := packed[c]
				if !ok {
					v, err = c.Pack(m, mask)
					require.NoError(t, err)
					packed[c] = v
				}
				return v
			}
			for _, batch := range [][2]int{{1, 1}, {1, 4}, {3, 150}, {64, 64}} {
				for _, tokenMajor := range []bool{true, false} {
					for _, isa := range ISAs() {
						p := Problem{Out: out, In: in, BatchMin: batch[0], BatchMax: batch[1], TokenMajor: tokenMajor, Levels: pattern.Levels(out, in)}
						vs, plan, err := Plan(p, m, mask, Builtin(isa), nil)
						require.NoError(t, err)
						require.Len(t, plan.Choices, len(vs))
						what := fmt.Sprintf("%s [%d, %d] batch %v tokenMajor %t %v", text, out, in, batch, tokenMajor, isa)
						next := batch[0]
						for i, v := range vs {
							c := plan.Choices[i]
							require.Equal(t, next, v.BatchMin, what)
							require.GreaterOrEqual(t, v.BatchMax, v.BatchMin, what)
							require.Equal(t, []int{c.BatchMin, c.BatchMax}, []int{v.BatchMin, v.BatchMax}, what)
							next = v.BatchMax + 1
							require.NotZero(t, c.DenseCycles, "%s: no dense form was weighed", what)
							if c.Config.dense() {
								dense++
							} else {
								sparse++
							}
						}
						require.Equal(t, batch[1]+1, next, what)
						for _, b := range p.batches() {
							best, warm := 0.0, math.Inf(1)
							for _, f := range plan.Considered {
								for j, at := range f.Batch {
									if at == b && f.Config.dense() && (best == 0 || f.Cycles[j] < best) {
										best = f.Cycles[j]
									}
								}
								if f.Config.dense() {
									warm = min(warm, Builtin(isa).estimateWarm(f.Config, pack(f.Config), p, b))
								}
							}
							for i, v := range vs {
								if v.BatchMin > b || b > v.BatchMax {
									continue
								}
								chosen := plan.Choices[i].Config
								cycles := Builtin(isa).estimate(chosen, v, p, b)
								if chosen.dense() {
									require.Equal(t, best, cycles, "%s: at %d %v is chosen, another dense form is better", what, b, chosen)
								} else {
									require.LessOrEqual(t, cycles, margin*best, "%s: at %d %v", what, b, chosen)
									require.LessOrEqual(t, Builtin(isa).estimateWarm(chosen, v, p, b), margin*warm, "%s: at %d %v", what, b, chosen)
								}
							}
						}
					}
				}
			}
		}
	}
	require.NotZero(t, sparse, "no sparse form was ever chosen")
	require.NotZero(t, dense, "no dense form was ever chosen")
}

// TestWarmTokenIsNotSlowerThanDense: one token over weights of which half is
// pruned is faster than dense only where the weights come from memory. Where a
// cache keeps them the dense kernel waits for nothing, and is chosen.
func TestWarmTokenIsNotSlowerThanDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	pattern, err := patterns.Parse("unstructured")
	require.NoError(t, err)
	for _, c := range []struct {
		out, in, pruned int // percent
		dense           bool
	}{
		{1536, 384, 50, true}, {384, 1536, 50, true}, {1536, 384, 60, true}, {384, 1536, 60, true},
		{1536, 384, 80, false}, {384, 1536, 80, false}, {1536, 384, 90, false}, {384, 1536, 90, false},
		{2048, 2048, 50, false}, // more than the last cache keeps
	} {
		m := patterns.NewMatrix(c.out, c.in)
		for i := range m.Data {
			if rng.IntN(100) >= c.pruned {
				m.Data[i] = rng.Float32() + 1
			}
		}
		p := Problem{Out: c.out, In: c.in, BatchMin: 1, BatchMax: 1, TokenMajor: true, Levels: pattern.Levels(c.out, c.in)}
		_, plan, err := Plan(p, m, patterns.MaskOf(m), Builtin(runtime.AVX2), func(c Config) bool { return c.dense() || c.oneToken() })
		require.NoError(t, err)
		require.Equal(t, c.dense, plan.Choices[0].Config.dense(), "[%d, %d] at %d %%: %v", c.out, c.in, c.pruned, plan.Choices[0].Config)
	}
}

// TestCandidatesHaveKernels: the planner offers nothing that gen does not emit
// for the layer, on no instruction set.
func TestCandidatesHaveKernels(t *testing.T) {
	for _, text := range planCases {
		pattern, err := patterns.Parse(text)
		require.NoError(t, err)
		if pattern.Validate(112, 480) != nil {
			continue
		}
		for _, tokenMajor := range []bool{true, false} {
			p := Problem{Out: 112, In: 480, BatchMin: 1, BatchMax: 100, TokenMajor: tokenMajor, Levels: pattern.Levels(112, 480)}
			emitted := map[Kernel]bool{}
			for _, k := range p.Kernels() {
				emitted[k] = true
			}
			cs := Candidates(p)
			require.True(t, cs[0].dense(), "%s: a dense form comes first", text)
			for _, c := range cs {
				for _, k := range c.Kernels(tokenMajor) {
					require.True(t, emitted[k], "%s: %v needs %v", text, c, k)
					require.NoError(t, k.Key.Check())
				}
			}
		}
	}
}

func TestPlanWithoutAForm(t *testing.T) {
	m := patterns.NewMatrix(16, 16)
	_, _, err := Plan(Problem{Out: 16, In: 16, BatchMin: 1, BatchMax: 4}, m, patterns.MaskOf(m), Builtin(runtime.AVX2), func(Config) bool { return false })
	require.ErrorContains(t, err, "no form for a [16, 16] matrix at batch 1 to 4")
}

// TestBatchesOfARange: both ends and the powers of two between them, each once.
func TestBatchesOfARange(t *testing.T) {
	for _, c := range []struct {
		lo, hi int
		want   []int
	}{
		{1, 1, []int{1}}, {64, 64, []int{64}}, {1, 2, []int{1, 2}}, {1, 4, []int{1, 2, 4}}, {3, 9, []int{3, 4, 8, 9}}, {5, 7, []int{5, 7}},
	} {
		require.Equal(t, c.want, Problem{BatchMin: c.lo, BatchMax: c.hi}.batches())
	}
}

// TestCandidatesFollowTheBatch: forms for few tokens are offered where the range
// begins low, panels where it ends high, and DeltaTile where there are several
// tokens.
func TestCandidatesFollowTheBatch(t *testing.T) {
	pattern, err := patterns.Parse("unstructured(sparsity=0.8)")
	require.NoError(t, err)
	for _, c := range []struct {
		lo, hi                    int
		tokenMajor                bool
		row, delta, panels, lanes bool
	}{
		{1, 1, false, true, false, false, true},
		{1, 2, false, true, true, false, true},
		{4, 4, false, true, true, false, true},
		{5, 5, false, false, true, true, true},
		{16, 16, false, false, true, true, true},
		{17, 17, false, false, false, true, false},
		{17, 17, true, false, false, true, true},
		{1, 256, true, true, true, true, true},
	} {
		cs := Candidates(Problem{Out: 64, In: 64, BatchMin: c.lo, BatchMax: c.hi, TokenMajor: c.tokenMajor, Levels: pattern.Levels(64, 64)})
		has := func(op runtime.KernelOp) bool {
			return slices.ContainsFunc(cs, func(c Config) bool { return c.Op == op })
		}
		what := fmt.Sprintf("%+v", c)
		require.Equal(t, c.row, has(runtime.LanesRow), what)
		require.Equal(t, c.row, has(runtime.LanesMask), what)
		require.Equal(t, c.row, has(runtime.LanesWindow), what)
		require.Equal(t, c.delta, has(runtime.DeltaTile), what)
		require.Equal(t, c.panels, has(runtime.PanelGrouped), what)
		require.Equal(t, c.panels, has(runtime.PanelDense), what)
		require.Equal(t, c.lanes, has(runtime.LanesDense), what)
	}
}

// TestCuts: the drivers' cuts of a batch, as the model follows them.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		batch         int
		tokens, tiles []int
	}{
		{1, []int{1}, []int{8}}, {3, []int{2, 1}, []int{8}}, {4, []int{4}, []int{8}}, {9, []int{4, 4, 1}, []int{16}},
		{16, []int{4, 4, 4, 4}, []int{16}}, {17, []int{4, 4, 4, 4, 1}, []int{16, 8}}, {33, nil, []int{16, 16, 8}},
	} {
		if c.tokens != nil {
			require.Equal(t, c.tokens, cutTokens(c.batch, []int{4, 2, 1}), c.batch)
		}
		require.Equal(t, c.tiles, cutTiles(c.batch, []int{16, 8}, 8), c.batch)
	}
	halves := []int{64, 56, 48, 40, 32, 24, 16, 8}
	require.Equal(t, []int{56}, cutTiles(49, halves, 16))
	require.Equal(t, []int{64, 48, 48, 40}, cutTiles(196, halves, 16))
}

// TestBounds: a form's roofline has the largest bound first, by where its
// streams fit.
func TestBounds(t *testing.T) {
	p := Problem{Out: 512, In: 512, BatchMin: 1, BatchMax: 64}
	m := patterns.NewMatrix(512, 512)
	for i := range m.Data {
		m.Data[i] = float32(i%7 + 1)
	}
	c := Config{Op: runtime.LanesDense, S: 16}
	v, err := c.Pack(m, patterns.MaskOf(m))
	require.NoError(t, err)
	f := Packed{c, v}
	require.Equal(t, 4*512*512, f.Bytes())
	core := Builtin(runtime.AVX2)
	require.Greater(t, f.Bytes(), core.l2Size*3/4)
	many := f.Bounds(p, 64, core)
	require.Len(t, many, 3)
	require.Equal(t, Bound{"multiply-adds", 512 * 512 * 64 / 8.0 / 2}, many[0])
	require.Contains(t, many, Bound{"reading the weights from the third-level cache", float64(f.Bytes()) / core.L3})
	require.Contains(t, many, Bound{"moving activations", 1024 * 64 / 8.0 * 2 / 2})
	one := f.Bounds(p, 1, core)
	require.Equal(t, Bound{"reading the weights from memory", float64(f.Bytes()) / core.Memory}, one[0])
	require.Equal(t, []string{"multiply-adds", "moving activations"}, []string{one[1].Name, one[2].Name})
	small := patterns.NewMatrix(64, 64)
	copy(small.Data, m.Data)
	v, err = c.Pack(small, patterns.MaskOf(small))
	require.NoError(t, err)
	f = Packed{c, v}
	require.Contains(t, f.Bounds(p, 1, core), Bound{"reading the weights from the second-level cache", float64(f.Bytes()) / core.L2})
}

// TestCandidatesAreMeasured: a tuner tries every K-block that the planner
// proposes, whatever the layer.
func TestCandidatesAreMeasured(t *testing.T) {
	for _, text := range planCases {
		pattern, err := patterns.Parse(text)
		require.NoError(t, err)
		if pattern.Validate(112, 480) != nil {
			continue
		}
		for _, c := range Candidates(Problem{Out: 112, In: 480, BatchMin: 1, BatchMax: 100, Levels: pattern.Levels(112, 480)}) {
			if c.Panel() {
				require.Contains(t, kBlocks, c.KB, "%s: %v", text, c)
			}
		}
	}
}

// TestPlanFollowsTheCore: figures that were measured decide between the forms that
// they are about; fitted ones stay built in.
func TestPlanFollowsTheCore(t *testing.T) {
	pattern, err := patterns.Parse("unstructured(sparsity=0.9)")
	require.NoError(t, err)
	m := patterns.NewMatrix(512, 512)
	rng := rand.New(rand.NewPCG(3, 1))
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	mask, err := pattern.Prune(m)
	require.NoError(t, err)
	chosen := func(batch int, core Core) Config {
		p := Problem{Out: 512, In: 512, BatchMin: batch, BatchMax: batch, TokenMajor: true, Levels: pattern.Levels(512, 512)}
		_, plan, err := Plan(p, m, mask, core, nil)
		require.NoError(t, err)
		return plan.Choices[0].Config
	}
	builtin := Builtin(runtime.AVX2)
	require.Equal(t, runtime.LanesRow, chosen(1, builtin.With(Rates{Group: 2})).Op)
	require.NotEqual(t, runtime.LanesRow, chosen(1, builtin.With(Rates{Group: 80})).Op)
	require.Equal(t, runtime.DeltaTile, chosen(8, builtin.With(Rates{Delta: 0.5})).Op)
	require.NotEqual(t, runtime.DeltaTile, chosen(8, builtin.With(Rates{Delta: 20})).Op)
	require.Equal(t, builtin, builtin.With(Rates{Expand: 100, Step: 100, Mispredict: 100}))
	require.Equal(t, builtin, Core{}.With(Rates{}))
	// Multiply-adds and loads count together.
	require.Equal(t, builtin, builtin.With(Rates{FMA: 1.9, Shuffle: 0.7}))
	require.Equal(t, builtin, builtin.With(Rates{Load: 1.9}))
	require.NotEqual(t, builtin, builtin.With(Rates{FMA: 1.9, Load: 1.9}))
	for _, r := range (Rates{FMA: 1.9, Shuffle: 0.7, Latency: 4.1}).All() {
		require.Equal(t, slices.Contains([]string{"fma", "shuffle", "mispredict", "expand", "step", "l3"}, r.Name), r.Fitted, r.Name)
	}
	slow := builtin
	slow.Expand, slow.Step, slow.Group = 1000, 1000, 1000
	require.Equal(t, runtime.LanesDense, chosen(1, slow).Op)
}
