package autotune

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// A spec may name AVX-512 alone, and some forms have kernels for AVX2 only: a worker without
// them failed in the calibration, and would have in a race.
func TestTuningForOneLevelHasKernelsOfThoseBelow(t *testing.T) {
	p := codegen.Problem{Out: 64, In: 256, TokenMajor: true, BatchMin: 1, BatchMax: 1}
	built := map[codegen.Kernel]bool{}
	for _, k := range kernelsOf([]codegen.Problem{p}, []runtime.ISA{runtime.AVX512}) {
		built[k] = true
	}
	has := func(of string, kernels []codegen.Kernel) {
		for _, k := range kernels {
			if k.ISA <= runtime.AVX512 && built[k] {
				return
			}
		}
		require.Fail(t, "no kernel", "%s: %v", of, kernels)
	}
	for _, c := range codegen.Space(p) {
		has(c.String(), c.Kernels(p.TokenMajor))
	}
	for _, probe := range codegen.Probes(runtime.AVX512, 1<<20, 32<<20) {
		for _, f := range probe.Forms {
			has(probe.Rate, f.Config.Kernels(f.Problem.TokenMajor))
		}
	}
}
