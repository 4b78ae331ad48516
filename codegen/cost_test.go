package codegen

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// free is a core on which nothing takes time, but for what limit sets.
func free(limit func(*Core)) Core {
	inf := math.Inf(1)
	m := Core{isa: runtime.AVX2, lanes: 8, lists: listCost{fma: 1.15, sharedFMA: 1.3, chain: 1, weight: 0.25, shared: 1}, Rates: Rates{FMA: inf, Load: inf, Issue: inf, L2: inf, L3: inf, Memory: inf}}
	limit(&m)
	return m
}

// TestRunCyclesByHand: eight entries of one row in two runs, three vectors a
// column, on cores that one thing limits. Runs cost a cycle to look at and two at
// their end, which is 6 in all here.
func TestRunCyclesByHand(t *testing.T) {
	for what, c := range map[string]struct {
		limit func(*Core)
		runs  []uint16
		want  float64
	}{
		"nothing":            {func(m *Core) {}, []uint16{4, 4}, 6},
		"no entries":         {func(m *Core) { m.Load = 1 }, []uint16{0, 0}, 2},
		"multiply-adds":      {func(m *Core) { m.FMA = 0.5 }, []uint16{4, 4}, 6 + 8*1.15*3/0.5},
		"copies of a weight": {func(m *Core) { m.FMA, m.lists.repeat = 0.5, 0.7 }, []uint16{4, 4}, 6 + 8*(1.15*3/0.5+0.7)},
		// Three vectors of the tile and a quarter of four weights, at twice the price.
		"loads": {func(m *Core) { m.Load = 0.5 }, []uint16{4, 4}, 6 + 8*2*(3+0.25)/0.5},
		// Three multiply-adds, a broadcast, four for the column, three for the loop.
		"instructions":                 {func(m *Core) { m.Issue = 2 }, []uint16{4, 4}, 6 + 8*(3+1+4+3)/2.0},
		"a chain":                      {func(m *Core) { m.Latency = 6 }, []uint16{4, 4}, 6 + 8*6*8/(8+4*2.0)},
		"a chain as long as the loads": {func(m *Core) { m.Load, m.Latency = 2*3.25/6, 12 }, []uint16{4, 4}, 6 + 8*6*math.Pow(2, 1./8)},
		"loop exits":                   {func(m *Core) { m.Mispredict = 10 }, []uint16{3, 5}, 6 + 2*10*0.6},
		"equal exits":                  {func(m *Core) { m.Mispredict = 10 }, []uint16{4, 4}, 6},
	} {
		got := runCycles(sgp.Segment{Kind: sgp.Grouped, MR: 1, Runs: c.runs}, tileCost{factor: 2}, 3, free(c.limit))
		require.InDelta(t, c.want, got, 1e-9, what)
	}
	// Four columns that both rows share, two vectors each.
	got := runCycles(sgp.Segment{Kind: sgp.Grouped, MR: 2, Runs: []uint16{0, 0, 4}}, tileCost{}, 2, free(func(m *Core) { m.FMA, m.lists.repeat = 0.5, 0.7 }))
	require.InDelta(t, 3+2+4*2*1.3*2/0.5, got, 1e-9)
	// No less than the multiply-adds alone, where all rows share.
	got = runCycles(sgp.Segment{Kind: sgp.Grouped, MR: 2, Runs: []uint16{0, 0, 4}}, tileCost{}, 2, free(func(m *Core) { m.FMA, m.lists.sharedFMA = 0.5, 0.8 }))
	require.InDelta(t, 3+2+4*2*2/0.5, got, 1e-9)
	// Two columns an entry, of which each waits a cycle and a half.
	got = runCycles(sgp.Segment{Kind: sgp.Step, MR: 2, Runs: []uint16{4, 0, 0}}, tileCost{column: 1.5}, 3, free(func(*Core) {}))
	require.InDelta(t, 3+2+4*2*1.5, got, 1e-9)
}

// TestLanesCyclesByHand: two slabs of two vectors, one token, n of m weights. A
// step multiplies and permutes two vectors, loads two of weights and two of
// indices, the token's columns, and counts. Up to 1 of 16 the two slabs go in step
// and share the columns and the count.
func TestLanesCyclesByHand(t *testing.T) {
	p := Problem{Out: 32, In: 64, BatchMin: 1, BatchMax: 1}
	for _, c := range []struct {
		limit func(*Core)
		n, m  int
		want  float64
	}{
		{func(m *Core) {}, 2, 4, 2 * 20},
		{func(m *Core) { m.Issue = 2 }, 2, 4, 2 * (32*(2*2+2*2+(1+1)/2.0)/2 + 20)},
		{func(m *Core) { m.Issue = 1 }, 2, 32, 2 * (4*(2*2+2*2+4+1) + 20)},
		{func(m *Core) { m.Load = 0.5 }, 2, 32, 2 * (4*(2+4)/0.5 + 20)},
		{func(m *Core) { m.FMA, m.Shuffle = 0.5, 0.75 }, 2, 32, 2 * (4*2*(1+0.75*4)/0.5 + 20)},
		{func(m *Core) { m.Latency = 4 }, 1, 4, 2 * (16*4/2 + 20)},
	} {
		v := sgp.Variant{Lanes: &sgp.Lanes{S: 16, N: c.n, M: c.m}}
		got := estimateLanes(Config{Op: runtime.LanesNM, S: 16, N: c.n, M: c.m}, v, p, 1, free(c.limit))
		require.InDelta(t, c.want, got, 1e-9, "%d of %d", c.n, c.m)
	}
}

// TestPackingByHand: with long vectors the packing of each tile is some times its moves, and
// half of them where x is read in place: 49 vectors of each of 128 columns.
func TestPackingByHand(t *testing.T) {
	m := free(func(m *Core) { m.isa, m.lanes, m.Load, m.packing = runtime.AVX512, 16, 1, 3 })
	c, p := Config{Op: runtime.PanelGrouped, MR: 1, KB: 128}, Problem{Out: 1, In: 128, BatchMin: 784, BatchMax: 784}
	estimate := func(uses int) float64 {
		s := sgp.Segment{Kind: sgp.Grouped, MR: 1, Rows: []uint32{0}, Runs: []uint16{0}, W: make([]float32, 128*uses)}
		return estimatePanel(c, sgp.Variant{Panel: &sgp.Panel{KB: 128, Segments: []sgp.Segment{s}}}, p, 784, m)
	}
	require.InDelta(t, 49*128*2*(3-0.5), estimate(20)-estimate(19), 1e-6)
	require.Equal(t, estimate(6), estimate(19))
	m.lanes, m.isa = 8, runtime.AVX2
	require.Equal(t, estimate(10), estimate(32), "short vectors: x is in the second-level cache")
}

// Kinds of machines that the model knows have figures of their own, at the level that they
// are known for alone.
func TestCoresOfMachines(t *testing.T) {
	typical := Builtin(runtime.AVX512)
	for machine, known := range map[string]bool{
		"": false, "amd": false, "amd-25": false, "amd-25-": false, "amd-25-x": false, "amd-26-17": false, "intel-25-17": false,
		"amd-25-1": false, "amd-25-33": false, "amd-25-80": false, // Zen 3
		"amd-25-17": true, "amd-25-24": true, "amd-25-97": true, "amd-25-116": true, "amd-25-160": true,
	} {
		core := typical.On(machine)
		require.Equal(t, known, !reflect.DeepEqual(core, typical), machine)
		require.Equal(t, runtime.AVX512, core.ISA(), machine)
		require.NoError(t, core.Check(), machine)
		if known {
			require.Equal(t, "avx512 on Zen 4", core.String())
			require.Equal(t, core, core.On(machine))
		} else {
			require.Equal(t, "avx512", core.String())
		}
		require.Equal(t, known, !reflect.DeepEqual(Builtin(runtime.AVX2), Builtin(runtime.AVX2).On(machine)), machine)
		for _, isa := range []runtime.ISA{runtime.NEON, runtime.SVE} {
			require.Equal(t, Builtin(isa), Builtin(isa).On(machine), "%s %v", machine, isa)
		}
	}
}

// TestShortVectors: a core that gains by short vectors weighs each form that has kernels for
// both lengths twice, if the program has such kernels, and by what the level below takes.
func TestShortVectors(t *testing.T) {
	zen4 := Builtin(runtime.AVX512).On("amd-25-17")
	pattern, err := patterns.Parse("unstructured(sparsity=0.9)")
	require.NoError(t, err)
	p := Problem{Out: 64, In: 128, BatchMin: 1, BatchMax: 49, Levels: pattern.Levels(64, 128)}
	long := Candidates(p)
	require.Equal(t, long, Builtin(runtime.AVX512).Widened(long))
	require.Equal(t, long, zen4.Among([]runtime.ISA{runtime.AVX512, runtime.NEON}).Widened(long))
	all := zen4.Among([]runtime.ISA{runtime.AVX2, runtime.AVX512}).Widened(long)
	require.Equal(t, long, all[:len(long)])

	m := patterns.NewMatrix(64, 128)
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range m.Data {
		if rng.IntN(10) == 0 {
			m.Data[i] = float32(rng.NormFloat64())
		}
	}
	forms := NewForms(m, patterns.MaskOf(m))
	low := Builtin(runtime.AVX2)
	low.l2Size, low.l3Size, low.L2, low.L3, low.Memory, low.Mispredict = zen4.l2Size, zen4.l3Size, zen4.L2, zen4.L3, zen4.Memory, zen4.Mispredict
	shorts := 0
	for _, c := range all {
		if !c.Short {
			continue
		}
		shorts++
		require.NoError(t, c.Legal(p, runtime.AVX512), c)
		require.ErrorContains(t, c.Legal(p, runtime.NEON), "no kernels with longer vectors", c)
		again, err := ParseConfig(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
		one := c
		one.Short = false
		require.NotZero(t, c.Compare(one))
		for _, k := range c.Kernels(false) {
			require.NotEqual(t, runtime.AVX512, k.ISA, c)
			require.Contains(t, one.Kernels(false), k, c)
		}
		v, err := forms.Pack(c)
		require.NoError(t, err)
		require.True(t, v.Short, c)
		w, err := forms.Pack(one)
		require.NoError(t, err)
		require.False(t, w.Short, c)
		require.Equal(t, low.estimate(one, w, p, 49), zen4.estimate(c, v, p, 49), c)
		v.Short = false
		require.Equal(t, w, v, c)
	}
	for _, c := range long {
		require.Equal(t, !c.oneToken(), slices.Contains(all, Config{c.Op, c.MR, c.KB, c.S, c.N, c.M, c.Compact, true}), c)
	}
	require.Greater(t, shorts, len(long)/2)
	row := Config{Op: runtime.LanesRow, S: 8, Short: true}
	require.ErrorContains(t, row.Legal(p, runtime.AVX512), "no kernels with longer vectors")

	// 49 columns are seven short vectors and a column, and four long ones.
	_, plan, err := forms.Plan(p, zen4, nil, nil)
	require.NoError(t, err)
	require.True(t, plan.Choices[len(plan.Choices)-1].Config.Short, plan.Choices)
	_, plan, err = forms.Plan(p, Builtin(runtime.AVX512), nil, nil)
	require.NoError(t, err)
	for _, c := range plan.Choices {
		require.False(t, c.Config.Short)
	}
}

// TestTokensByHand: two slabs of a vector in step, eight tokens: what is loaded of a token serves both, and all
// four groups of 2:4 whose activations fill a vector.
func TestTokensByHand(t *testing.T) {
	p := Problem{Out: 32, In: 64, BatchMin: 8, BatchMax: 8}
	avx512 := func(m *Core) { m.isa, m.lanes = runtime.AVX512, 16 }
	for _, c := range []struct {
		op    runtime.KernelOp
		n, m  int
		limit func(*Core)
		want  float64
	}{
		{runtime.LanesDense, 0, 0, func(m *Core) { m.Load = 0.5 }, 2 * (64*(1+8/2)/0.5 + 20)},
		{runtime.LanesNM, 2, 4, func(m *Core) { m.Load = 0.5 }, 2 * (32*(1+8./(4*2)/2)/0.5 + 20)},
		{runtime.LanesNM, 2, 4, func(m *Core) { m.Issue = 2 }, 2 * (32*(8*2+2+(8./(4*2)+1)/2)/2 + 20)},
		{runtime.LanesNM, 2, 4, func(m *Core) { m.FMA, m.Shuffle = 1, 0.5 }, 2 * (32*8*1.5 + 20)},
	} {
		v := sgp.Variant{Lanes: &sgp.Lanes{S: 16, N: c.n, M: c.m}}
		got := estimateLanes(Config{Op: c.op, S: 16, N: c.n, M: c.m}, v, p, 8, free(func(m *Core) { avx512(m); c.limit(m) }))
		require.InDelta(t, c.want, got, 1e-9, "%v %d:%d", c.op, c.n, c.m)
	}
}
