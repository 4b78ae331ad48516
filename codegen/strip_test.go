package codegen_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestLoadsOfWeights: a load has the weights of a round of four columns, but where vectors
// are long and each weight has one multiply-add only.
func TestLoadsOfWeights(t *testing.T) {
	for _, c := range []struct {
		key     runtime.KernelKey
		isa     runtime.ISA
		several bool
	}{
		{runtime.KernelKey{Op: runtime.PanelStep, MR: 2, T: 8}, runtime.AVX2, true},
		{runtime.KernelKey{Op: runtime.DeltaTile, S: 8, T: 8}, runtime.AVX2, true},
		{runtime.KernelKey{Op: runtime.PanelStep, MR: 2, T: 32}, runtime.AVX512, true},
		{runtime.KernelKey{Op: runtime.PanelStep, MR: 2, T: 16}, runtime.AVX512, false},
		{runtime.KernelKey{Op: runtime.DeltaTile, S: 8, T: 16}, runtime.AVX512, false},
	} {
		files, err := codegen.Emit([]codegen.Kernel{{Key: c.key, ISA: c.isa}}, codegen.EmitOptions{Package: "kernels"})
		require.NoError(t, err)
		for _, f := range files {
			if strings.HasSuffix(f.Name, "_amd64.s") {
				fours := strings.Count(string(f.Data), "VBROADCASTF128") + strings.Count(string(f.Data), "VBROADCASTF32X4")
				require.Equal(t, c.several, fours > 0, "%s %v", c.key.Name(), c.isa)
			}
		}
	}
}
