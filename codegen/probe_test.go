package codegen

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime"
)

// TestProbesInvertTheModel: on a core that takes exactly the cycles that the model
// says, each probe finds the figure of that core.
func TestProbesInvertTheModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, isa := range ISAs() {
		core := Builtin(isa)
		for _, f := range rates {
			*f.of(&core.Rates) *= 0.9 + 0.2*rng.Float64()
		}
		var found Rates
		for _, p := range Probes(isa, core.l2Size, 32<<20) {
			require.NotEmpty(t, p.Forms, p.Rate)
			var cycles []float64
			for _, f := range p.Forms {
				core := core                             // one that the probe's figure limits, not another
				if f.Problem.Out*f.Problem.In < 32<<10 { // the model has no first-level cache
					core.L2 = math.Inf(1)
				}
				switch {
				case f.Cold:
					core.L3 = core.Memory
				case p.Rate == "load":
					core.Issue, core.FMA = 2*core.Issue, 2*core.FMA
				case p.Rate == "issue":
					core.Load *= 2
				}
				cycles = append(cycles, core.estimateWarm(f.Config, f.Variant, f.Problem, p.Batch))
			}
			found = p.Solve(cycles, found)
			require.NotZero(t, *p.at(&found), "%v: %s", isa, p.Rate)
		}
		for _, f := range rates {
			switch {
			case f.name == "mispredict", f.name == "load" && isa == runtime.AVX512: // have no probe
			default:
				require.InEpsilon(t, *f.of(&core.Rates), *f.of(&found), 0.04, "%v: %s", isa, f.name)
			}
		}
	}
}

// TestProbesKeepWhatIsPossible: times that no core has leave a figure open.
func TestProbesKeepWhatIsPossible(t *testing.T) {
	for _, p := range Probes(runtime.AVX2, 512<<10, 32<<20) {
		cycles := make([]float64, len(p.Forms)) // as if nothing took time
		require.Equal(t, Rates{}, p.Solve(cycles, Rates{}), p.Rate)
	}
}

func TestRatesAreChecked(t *testing.T) {
	require.NoError(t, Builtin(runtime.AVX512).Check())
	require.NoError(t, Rates{}.Check())
	require.EqualError(t, Rates{FMA: 1000}.Check(), "fma is 1000 (vector multiply-adds a cycle), and can be 0.1 to 16")
	require.ErrorContains(t, Rates{Memory: -1}.Check(), "memory is -1")
}
