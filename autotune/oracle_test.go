package autotune

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestOracleJudges: on times that are known, the race and the naive policy find the
// best candidate, the model's choice has the regret that it has, and the next batch's
// choice is what transfer gives.
func TestOracleJudges(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 512, 32, 64)
	b := &fake{t: t, rng: rand.New(rand.NewPCG(1, 2)), ns: func(v sgp.Variant) float64 {
		if v.Panel != nil && v.Panel.KB == 192 && v.Panel.Segments[0].Kind == sgp.Step && v.Panel.Segments[0].MR == 2 {
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
	for _, r := range rep.Problems {
		require.Equal(t, "panelStep mr=2 kb=192", r.Oracle)
		require.Less(t, r.Noise, 0.01)
		require.Len(t, r.Tuned, 2)
		for _, c := range append(r.Tuned, r.Naive, r.Transfer) {
			require.Equal(t, "panelStep mr=2 kb=192", c.Config)
			require.Zero(t, c.Regret)
		}
		require.InDelta(t, 0.25, r.Default.Regret, 0.01)
		require.GreaterOrEqual(t, r.Candidates, 10)
	}
	require.NoDirExists(t, dir+"/test-1", "no records")
	require.Len(t, rep.Policies, 4)
	for i, want := range []struct {
		policy  string
		choices int
		geomean float64
	}{{"race", 4, 0}, {"naive", 2, 0}, {"transfer", 2, 0}, {"model", 2, 0.25}} {
		p := rep.Policies[i]
		require.Equal(t, want.policy, p.Policy)
		require.Equal(t, want.choices, p.Choices)
		require.InDelta(t, want.geomean, p.Geomean, 0.01)
		require.Zero(t, p.Slower)
	}
}

func TestRankCorrelation(t *testing.T) {
	require.Equal(t, 1.0, rankCorrelation([]float64{1, 2, 3, 4}, []float64{10, 20, 30, 50}))
	require.Equal(t, -1.0, rankCorrelation([]float64{1, 2, 3, 4}, []float64{9, 8, 7, 6}))
	require.InDelta(t, 0.8, rankCorrelation([]float64{1, 2, 3, 4}, []float64{1, 3, 2, 4}), 1e-12)
	require.Zero(t, rankCorrelation([]float64{1, 2}, []float64{1, 2}))
}
