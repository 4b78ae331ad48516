package autotune

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestOracleJudges: on times that are known, the race and the naive policy find the
// best candidate, the model's choice has the regret that it has, and the next batch's
// choice is what transfer gives.
func TestOracleJudges(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 512, 32, 64)
	b := &fake{t: t, rng: rand.New(rand.NewPCG(1, 2)), ns: func(v sgp.Variant) float64 {
		if v.Panel != nil && v.Panel.KB == 128 && v.Panel.Segments[0].Kind == sgp.Step && v.Panel.Segments[0].MR == 2 {
			return 800
		}
		return 1000
	}}
	dir := t.TempDir()
	tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}})
	tn.env.Microarch, tn.bench, tn.worker = "test-1", b, "fake"
	rep, err := tn.oracle(context.Background(), []Linear{l}, 2)
	require.NoError(t, err)
	require.Len(t, rep.Problems, 2)
	for i, r := range rep.Problems {
		require.Equal(t, "panelStep mr=2 kb=128", r.Oracle)
		require.Less(t, r.Noise, 0.01)
		require.Len(t, r.Tuned, 2)
		for _, c := range append(r.Tuned, r.Naive) {
			require.Equal(t, "panelStep mr=2 kb=128", c.Config)
			require.Zero(t, c.Regret)
		}
		require.InDelta(t, 0.25, r.Default.Regret, 0.01)
		// The other batch's record says that the model overestimates the fast one.
		own, err := codegen.ParseConfig(r.Default.Config)
		require.NoError(t, err)
		other := rep.Problems[1-i]
		require.Equal(t, codegen.Transfer(own, corrections(other.Oracle, other.Race, 1), func(c codegen.Config) (float64, bool) {
			t, ran := r.timed(c.String())
			return t.Cycles, ran
		}).String(), r.Transfer.Config)
		require.GreaterOrEqual(t, r.Candidates, 10)
	}
	require.NoDirExists(t, dir+"/test-1", "no records")
	require.Len(t, rep.Policies, 4)
	for i, want := range []struct {
		policy  string
		choices int
		geomean float64 // at most
	}{{"race", 4, 0}, {"naive", 2, 0}, {"transfer", 2, 0.26}, {"model", 2, 0.26}} {
		p := rep.Policies[i]
		require.Equal(t, want.policy, p.Policy)
		require.Equal(t, want.choices, p.Choices)
		require.LessOrEqual(t, p.Geomean, want.geomean)
		require.Zero(t, p.Slower)
	}
}

// TestOracleBetween: what the choice for the next larger batch costs at a batch that
// the planner does not compare, and reports that are kept are judged the same.
func TestOracleBetween(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 512, 32, 64)
	b := &fake{t: t, rng: rand.New(rand.NewPCG(1, 2)), ns: preferPanels}
	tn := newTuner(Options{Dir: t.TempDir(), ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}, Between: true})
	tn.env.Microarch, tn.bench, tn.worker = "test-1", b, "fake"
	rep, err := tn.oracle(context.Background(), []Linear{l}, 1)
	require.NoError(t, err)
	require.Len(t, rep.Problems, 3)
	require.Equal(t, []int{32, 48, 64}, []int{rep.Problems[0].Problem.Batch, rep.Problems[1].Problem.Batch, rep.Problems[2].Problem.Batch})
	require.Nil(t, rep.Problems[0].Bucket)
	require.Equal(t, 64, rep.Problems[1].Between)
	require.NotNil(t, rep.Problems[1].Bucket)
	require.Equal(t, rep.Problems[2].Tuned[0].Config, rep.Problems[1].Bucket.Config)
	require.Equal(t, "bucket", rep.Policies[4].Policy)
	require.Equal(t, 1, rep.Policies[4].Choices)

	// Two halves of a report are the whole.
	halves := []OracleReport{{Machine: rep.Machine, Problems: rep.Problems[:1]}, {Machine: rep.Machine, Problems: rep.Problems[1:]}}
	whole, err := MergeOracles(halves)
	require.NoError(t, err)
	require.Equal(t, rep.Problems, whole.Problems)
	require.Equal(t, rep.Policies, whole.Policies)

	halves[1].Machine.Microarch = "test-2"
	_, err = MergeOracles(halves)
	require.ErrorContains(t, err, "measured on test-1 and on test-2")
	damaged := rep.Problems[0]
	damaged.Naive.Config = "panelDense mr=9 kb=1"
	_, err = MergeOracles([]OracleReport{{Problems: []Regret{damaged}}})
	require.ErrorContains(t, err, `no time of "panelDense mr=9 kb=1"`)
}

func TestRankCorrelation(t *testing.T) {
	require.Equal(t, 1.0, rankCorrelation([]float64{1, 2, 3, 4}, []float64{10, 20, 30, 50}))
	require.Equal(t, -1.0, rankCorrelation([]float64{1, 2, 3, 4}, []float64{9, 8, 7, 6}))
	require.InDelta(t, 0.8, rankCorrelation([]float64{1, 2, 3, 4}, []float64{1, 3, 2, 4}), 1e-12)
	require.Zero(t, rankCorrelation([]float64{1, 2}, []float64{1, 2}))
}

// TestWhoLeftTheOracleKeepsItsTime: who left after the trial must not be judged by the few of its
// rounds that later count as undisturbed, in one of which the default had a bad moment.
func TestWhoLeftTheOracleKeepsItsTime(t *testing.T) {
	ns := [][]float64{{100, 100, 100, 300, 100}, {90, 91, 90, 91, 90}, {200, 200, 200, 200}}
	ratios := make([]float64, 3)
	ratiosTo([][]float64{ns[0][:4], ns[1][:4], ns[2]}, []int{0, 1, 2}, ratios)
	require.Equal(t, []float64{1, 0.9, 2}, []float64{ratios[0], math.Round(10*ratios[1]) / 10, ratios[2]})
	ratiosTo(ns, []int{0, 1}, ratios)
	require.Equal(t, 2.0, ratios[2])
}

// TestWhoIsMeasuredAgain: the default and its twin, those that were chosen, and those near the fastest.
func TestWhoIsMeasuredAgain(t *testing.T) {
	var entrants []*candidate
	for _, kb := range []int{64, 96, 128, 192, 256} {
		entrants = append(entrants, &candidate{Packed: codegen.Packed{Config: codegen.Config{Op: runtime.PanelStep, MR: 2, KB: kb}}})
	}
	x := newExhaustion(make([]worker.File, 6), entrants, 1)
	x.fastest, x.ratios = 100, [][]float64{{1, 1}, {0.9, 0.9}, {0.91, 0.91}, {1.2, 1.2}, {1.3}, {1, 1.01}}
	x.alive = []int{0, 1, 2, 3, 5} // the fifth left
	x.narrow(func(c *candidate) bool { return c.Config.KB == 192 || c.Config.KB == 256 })
	require.Equal(t, []int{0, 1, 2, 3, 5}, x.alive)
	x.narrow(func(c *candidate) bool { return c.Config.KB == 64 })
	require.Equal(t, []int{0, 1, 2, 5}, x.alive)
}
