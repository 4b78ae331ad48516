package codegen

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestSpaceIsTheLegalVariations: the space holds every candidate of the planner,
// is in order without repeats, legal throughout, and survives its own notation.
func TestSpaceIsTheLegalVariations(t *testing.T) {
	for _, text := range planCases {
		pattern, err := patterns.Parse(text)
		require.NoError(t, err)
		for _, batch := range [][2]int{{1, 1}, {1, 128}, {32, 256}} {
			p := Problem{Out: 480, In: 480, BatchMin: batch[0], BatchMax: batch[1], TokenMajor: true, Levels: pattern.Levels(480, 480)}
			space := Space(p)
			for _, c := range Candidates(p) {
				require.Contains(t, space, c)
			}
			require.True(t, slices.IsSortedFunc(space, Config.Compare))
			require.Len(t, slices.Compact(slices.Clone(space)), len(space))
			require.LessOrEqual(t, len(space), 400)
			if batch[1] > 1 {
				require.GreaterOrEqual(t, len(space), 25, "%s batch %v", text, batch)
			}
			for _, c := range space {
				require.NoError(t, c.Legal(p, runtime.AVX2))
				again, err := ParseConfig(c.String())
				require.NoError(t, err)
				require.Equal(t, c, again)
			}
		}
	}
}

// TestSpaceHasOneSingleBlock: of the K-blocks that hold all columns, which pack
// the same, only the shortest is a variation.
func TestSpaceHasOneSingleBlock(t *testing.T) {
	pattern, err := patterns.Parse("unstructured(sparsity=0.8)")
	require.NoError(t, err)
	for in, want := range map[int][]int{48: {32, 48}, 64: {32, 48, 64}, 65: {32, 48, 64, 96}} {
		p := Problem{Out: 64, In: in, BatchMin: 8, BatchMax: 64, Levels: pattern.Levels(64, in)}
		proposed := Candidates(p)
		var kbs []int
		for _, c := range Space(p) {
			if c.Op == runtime.PanelGrouped && c.MR == 1 && !slices.Contains(proposed, c) {
				kbs = append(kbs, c.KB)
			}
		}
		want = slices.DeleteFunc(want, func(kb int) bool {
			return slices.Contains(proposed, Config{Op: runtime.PanelGrouped, MR: 1, KB: kb})
		})
		require.Equal(t, want, kbs, "%d columns", in)
	}
}

func TestIllegalConfigsSayWhy(t *testing.T) {
	pattern, err := patterns.Parse("block(4,1,sparsity=0.8)")
	require.NoError(t, err)
	p := Problem{Out: 480, In: 480, BatchMin: 1, BatchMax: 128, TokenMajor: true, Levels: pattern.Levels(480, 480)}
	for text, why := range map[string]string{
		"panelBlock mr=8 kb=256":       "blocks have 4 rows",
		"panelStep mr=3 kb=64":         "no kernels for panels of 3 rows",
		"panelDense mr=4":              "K-block of 0 columns",
		"lanesNM s=16 n=2 m=4":         "no form",
		"lanesDense s=16 mr=4":         "belong to other forms",
		"panelDense mr=4 kb=65535":     "",
		"panelDense mr=4 kb=256 short": "no kernels with longer vectors",
	} {
		c, err := ParseConfig(text)
		require.NoError(t, err)
		err = c.Legal(p, runtime.AVX2)
		if why == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, why)
	}
	for text, why := range map[string]string{
		"": "empty", "panelRound mr=4": `no form "panelRound"`, "copyTile": `no form "copyTile"`, "panelDense mr": `"mr"`,
		"panelDense mr=0": `"mr=0"`, "panelDense kb=70000": `"kb=70000"`, "panelDense q=1": `"q=1"`,
	} {
		_, err := ParseConfig(text)
		require.ErrorContains(t, err, why)
	}
}

// TestMeasurementsDecide: where there are measurements the plan follows them, and
// one packed form serves neighbouring batches where that costs next to nothing.
func TestMeasurementsDecide(t *testing.T) {
	pattern, err := patterns.Parse("unstructured(sparsity=0.8)")
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(7, 8))
	m := patterns.NewMatrix(64, 96)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	mask, err := pattern.Prune(m)
	require.NoError(t, err)
	p := Problem{Out: 64, In: 96, BatchMin: 1, BatchMax: 32, TokenMajor: true, Levels: pattern.Levels(64, 96)}
	row := Config{Op: runtime.LanesRow, S: 8}
	narrow := Config{Op: runtime.PanelStep, MR: 2, KB: 32} // not among the candidates
	wide := Config{Op: runtime.PanelGrouped, MR: 4, KB: 48}
	require.NotContains(t, Candidates(p), narrow)
	tuned := func(_ Problem, _ float64, batch int, _ runtime.ISA) []Measured {
		switch batch {
		case 1:
			return []Measured{{Config: row, Ratio: 1}}
		case 2: // the model knows better than another shape's record
			return []Measured{{Config: Config{Op: runtime.PanelDense, MR: 1, KB: 32}, Ratio: 1, Elsewhere: true, From: "there"}}
		case 8:
			return []Measured{{Config: narrow, Ratio: 1}, {Config: wide, Ratio: 1.01}}
		case 16:
			return []Measured{{Config: wide, Ratio: 1}, {Config: narrow, Ratio: 1.015}}
		case 32:
			return []Measured{{Config: wide, Ratio: 1}, {Config: narrow, Ratio: 1.03}}
		}
		return nil
	}
	vs, plan, err := PlanTuned(p, m, mask, Builtin(runtime.AVX2), nil, tuned)
	require.NoError(t, err)
	require.Len(t, plan.Objected, 1)
	require.Equal(t, "there", plan.Objected[0].From)
	at := func(batch int) (Config, bool) {
		for i, v := range vs {
			if v.BatchMin <= batch && batch <= v.BatchMax {
				return plan.Choices[i].Config, plan.Choices[i].Measured
			}
		}
		return Config{}, false
	}
	c, measured := at(2)
	require.NotEqual(t, runtime.PanelDense, c.Op)
	require.False(t, measured)
	for batch, want := range map[int]Config{1: row, 5: wide, 8: wide, 16: wide, 17: wide, 32: wide} {
		c, measured := at(batch)
		require.Equal(t, want, c, "batch %d", batch)
		require.True(t, measured, "batch %d", batch)
	}
}

// TestFewestForms: no other cut of the batches into runs with one form each, within
// 2 % of the best, has fewer runs; where batches are not measured the model's choice
// stays.
func TestFewestForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		n, forms := 1+rng.IntN(8), 2+rng.IntN(4)
		measured, is, pick := make([][]Measured, n), make([]bool, n), make([]int, n)
		ok := make([][]bool, n)
		for i := range n {
			pick[i], ok[i] = rng.IntN(forms), make([]bool, forms)
			if is[i] = rng.IntN(8) > 0; !is[i] {
				continue
			}
			ok[i][pick[i]] = true
			measured[i] = []Measured{{Config: Config{MR: pick[i]}, Ratio: 1}}
			for _, f := range rng.Perm(forms) {
				if f != pick[i] {
					ratio := 1 + 0.04*rng.Float64()
					ok[i][f] = ratio <= worthTuning
					measured[i] = append(measured[i], Measured{Config: Config{MR: f}, Ratio: ratio})
				}
			}
		}
		// least[i][f] is the fewest runs of the batches up to i, the last with form f.
		before := slices.Clone(pick)
		const never = 1 << 20
		least := make([][]int, n)
		for i := range n {
			least[i] = slices.Repeat([]int{never}, forms)
			for f := range forms {
				if !(ok[i][f] || !is[i] && f == before[i]) {
					continue
				}
				for g := range forms {
					switch {
					case i == 0:
						least[i][f] = 1
					case f == g && is[i] && is[i-1]:
						least[i][f] = min(least[i][f], least[i-1][g])
					default:
						least[i][f] = min(least[i][f], least[i-1][g]+1)
					}
				}
			}
		}
		fewest(pick, measured, is, func(c Config) int { return c.MR })
		runs := 0
		for i := range n {
			require.True(t, ok[i][pick[i]] || !is[i] && pick[i] == before[i])
			if i == 0 || pick[i] != pick[i-1] || !is[i] || !is[i-1] {
				runs++
			}
		}
		require.Equal(t, slices.Min(least[n-1]), runs)
	}
}

// TestMeasuredNearlyAsFast: a measured form that is no candidate is packed and
// weighed if it is slower than the best by worthTuning at most.
func TestMeasuredNearlyAsFast(t *testing.T) {
	m := patterns.NewMatrix(32, 40)
	for i := range m.Data {
		m.Data[i] = float32(i%5) + 1
	}
	p := Problem{Out: 32, In: 40, BatchMin: 8, BatchMax: 8}
	dense := Config{Op: runtime.PanelDense, MR: 4, KB: 256}
	other := Config{Op: runtime.PanelDense, MR: 4, KB: 32}
	require.Contains(t, Candidates(p), dense)
	require.NotContains(t, Candidates(p), other)
	for ratio, want := range map[float64]bool{1.01: true, worthTuning: true, 1.021: false} {
		_, plan, err := PlanTuned(p, m, patterns.MaskOf(m), Builtin(runtime.AVX2), nil, func(Problem, float64, int, runtime.ISA) []Measured {
			return []Measured{{Config: dense, Ratio: 1}, {Config: other, Ratio: ratio}}
		})
		require.NoError(t, err)
		require.Equal(t, want, slices.ContainsFunc(plan.Considered, func(c Considered) bool { return c.Config == other }), "%v", ratio)
		require.Equal(t, dense, plan.Choices[0].Config)
	}
}

// TestEqualFormsAreEqualStreams: a longer K-block than there are columns changes
// nothing of what a run reads; another matrix or form does.
func TestEqualFormsAreEqualStreams(t *testing.T) {
	m := patterns.NewMatrix(32, 40)
	for i := range m.Data {
		m.Data[i] = float32(i % 3)
	}
	pack := func(c Config) (Config, uint64) {
		v, err := c.Pack(m, patterns.MaskOf(m))
		require.NoError(t, err)
		h := fnv.New64a()
		hashVariant(h, v)
		return Packed{c, v}.Effective(), h.Sum64()
	}
	c, bytes := pack(Config{Op: runtime.PanelGrouped, MR: 4, KB: 64})
	same, equal := pack(Config{Op: runtime.PanelGrouped, MR: 4, KB: 512})
	require.Equal(t, c, same)
	require.Equal(t, bytes, equal)
	for _, other := range []Config{{Op: runtime.PanelGrouped, MR: 4, KB: 32}, {Op: runtime.PanelGrouped, MR: 1, KB: 64}, {Op: runtime.PanelStep, MR: 4, KB: 64}} {
		d, different := pack(other)
		require.NotEqual(t, c, d)
		require.NotEqual(t, bytes, different)
	}
}

// TestTransfer: the model's estimates, corrected by what was measured elsewhere, choose among
// what the problem can have; never what was not measured beside the model's own choice, what
// hardly gains, or what the model takes for much slower.
func TestTransfer(t *testing.T) {
	own, other, third := Config{Op: runtime.PanelStep, MR: 2, KB: 128}, Config{Op: runtime.PanelStep, MR: 4, KB: 128}, Config{Op: runtime.PanelDense, MR: 4, KB: 256}
	estimates := map[Config]float64{own: 1000, other: 1050, third: 1200}
	at := func(c Config) (float64, bool) { e, ok := estimates[c]; return e, ok }
	elsewhere := func(o, t float64) []Measured {
		return []Measured{{Config: other, Ratio: o, Elsewhere: true}, {Config: own, Ratio: 1, Elsewhere: true}, {Config: third, Ratio: t, Elsewhere: true}}
	}
	require.Equal(t, other, Transfer(own, elsewhere(0.9, 0.5), at)) // third is beyond the objection
	require.Equal(t, own, Transfer(own, elsewhere(0.94, 0.5), at))  // 1.3 % are not worth it
	require.Equal(t, own, Transfer(own, elsewhere(0.9, 0.5)[:1], at))
	require.Equal(t, own, Transfer(own, nil, at))
	delete(estimates, other)
	require.Equal(t, own, Transfer(own, elsewhere(0.9, 0.5), at))
	estimates[third] = 1100
	require.Equal(t, third, Transfer(own, elsewhere(0.9, 0.5), at))
}

// TestModelBeyondTheLastCache: one token over half-pruned weights decodes faster than it reads
// dense ones from memory and slower than from a cache. Only a model that no cache holds gets
// the sparse form.
func TestModelBeyondTheLastCache(t *testing.T) {
	pattern, err := patterns.Parse("unstructured(sparsity=0.5)")
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(4, 4))
	m := patterns.NewMatrix(1536, 512)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	mask, err := pattern.Prune(m)
	require.NoError(t, err)
	p := Problem{Out: 1536, In: 512, BatchMin: 1, BatchMax: 1, TokenMajor: true, Levels: pattern.Levels(1536, 512)}
	for model, dense := range map[int]bool{0: true, 4 * 1536 * 512: true, lastCache: true, lastCache + 1: false} {
		p.Model = model
		_, plan, err := Plan(p, m, mask, Builtin(runtime.AVX2), nil)
		require.NoError(t, err)
		require.Equal(t, dense, plan.Choices[0].Config.dense(), "%d bytes: %v", model, plan.Choices[0].Config)
	}
}
