package codegen

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime"
)

// someConfigs has every op, and for N:M every way in which indices fill words.
func someConfigs() []Config {
	cs := []Config{
		{Op: runtime.PanelGrouped, MR: 1, KB: 256}, {Op: runtime.PanelGrouped, MR: 4, KB: 256},
		{Op: runtime.PanelBlock, MR: 4, KB: 256}, {Op: runtime.PanelBlock, MR: 8, KB: 256},
		{Op: runtime.PanelStep, MR: 2, KB: 256}, {Op: runtime.PanelStep, MR: 4, KB: 256},
		{Op: runtime.PanelDense, MR: 6, KB: 256},
		{Op: runtime.LanesDense, S: 16}, {Op: runtime.LanesList, S: 16}, {Op: runtime.LanesMask, S: 32},
		{Op: runtime.LanesRow, S: 8}, {Op: runtime.LanesWindow, S: 16}, {Op: runtime.DeltaTile, S: 8},
	}
	for _, nm := range [][2]int{{1, 2}, {1, 4}, {2, 4}, {1, 8}, {2, 8}, {4, 8}, {1, 16}, {8, 16}, {1, 32}, {16, 32}} {
		cs = append(cs, Config{Op: runtime.LanesNM, S: 16, N: nm[0], M: nm[1]})
	}
	return cs
}

func TestEmitEveryKernel(t *testing.T) {
	var ks []Kernel
	for _, c := range someConfigs() {
		ks = append(ks, c.Kernels(true)...)
		ks = append(ks, c.Kernels(false)...)
	}
	first, err := Emit(ks, EmitOptions{Package: "layers", Spec: "model.sg"})
	require.NoError(t, err)
	for i, j := 0, len(ks)-1; i < j; i, j = i+1, j-1 {
		ks[i], ks[j] = ks[j], ks[i]
	}
	second, err := Emit(ks, EmitOptions{Package: "layers", Spec: "model.sg"})
	require.NoError(t, err)
	require.Equal(t, first, second, "the order of kernels must not show")
}
