package codegen

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// pinned is the fingerprint of the packers as they are. Where a change of layout
// is meant, set it to what the test says; packed files of before are then
// refused, with a word on packing again. Where none is meant, a packer is wrong.
const pinned = 0x9a724399e02cee0e

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
			for _, batch := range [][2]int{{1, 1}, {1, 4}, {3, 150}, {64, 64}} {
				for _, tokenMajor := range []bool{true, false} {
					for _, isa := range ISAs() {
						p := Problem{Out: out, In: in, BatchMin: batch[0], BatchMax: batch[1], TokenMajor: tokenMajor, Levels: pattern.Levels(out, in)}
						vs, plan, err := Plan(p, m, mask, isa, nil)
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
							best := 0.0
							for _, f := range plan.Considered {
								for j, at := range f.Batch {
									if at == b && f.Config.dense() && (best == 0 || f.Cycles[j] < best) {
										best = f.Cycles[j]
									}
								}
							}
							for i, v := range vs {
								if v.BatchMin > b || b > v.BatchMax {
									continue
								}
								chosen := plan.Choices[i].Config
								cycles := estimate(chosen, v, p, b, isa)
								if chosen.dense() {
									require.Equal(t, best, cycles, "%s: at %d %v is chosen, another dense form is better", what, b, chosen)
								} else {
									require.LessOrEqual(t, cycles, margin*best, "%s: at %d %v", what, b, chosen)
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
	_, _, err := Plan(Problem{Out: 16, In: 16, BatchMin: 1, BatchMax: 4}, m, patterns.MaskOf(m), runtime.AVX2, func(Config) bool { return false })
	require.ErrorContains(t, err, "no form for a [16, 16] matrix at batch 1 to 4")
}
