package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKernelNames(t *testing.T) {
	for _, c := range []struct {
		key          KernelKey
		name, string string
	}{
		{KernelKey{Op: PanelGrouped, MR: 4, T: 64}, "panelGrouped_f32_m4_t64", "panelGrouped MR=4 T=64"},
		{KernelKey{Op: LanesNM, S: 32, NB: 8, N: 2, M: 4}, "lanesNM_f32_s32_b8_n2m4", "lanesNM S=32 NB=8 N=2 M=4"},
		{KernelKey{Op: LanesMask, S: 64, NB: 1}, "lanesMask_f32_s64_b1", "lanesMask S=64 NB=1"},
		{KernelKey{Op: DeltaTile, S: 8, T: 16}, "deltaTile_f32_t16_s8", "deltaTile T=16 S=8"},
		{KernelKey{Op: MapTanh}, "mapTanh_f32", "mapTanh"},
	} {
		require.NoError(t, c.key.Check())
		require.Equal(t, c.name, c.key.Name())
		require.Equal(t, c.string, c.key.String())
		back, err := ParseKernelKey(c.string)
		require.NoError(t, err)
		require.Equal(t, c.key, back)
	}
}

func TestKernelKeyErrors(t *testing.T) {
	for text, message := range map[string]string{
		"":                         "empty",
		"panel MR=4":               `no op "panel"`,
		"panelBlock MR=4":          "panelBlock needs T",
		"panelBlock MR=4 T=":       `"T=" is not a name=number`,
		"panelBlock MR=4 T=256":    `"T=256" is not a name=number with a number up to 255`,
		"panelBlock MR=4 T=12":     "T is not a multiple of 8",
		"panelBlock MR=4 MR=4":     `unknown or repeated coordinate "MR"`,
		"panelBlock X=4":           `unknown or repeated coordinate "X"`,
		"panelBlock MR=4 T=8 S=8":  "panelBlock has no S",
		"panelGrouped MR=9 T=8":    "MR is above 8",
		"lanesNM S=8 NB=1 N=2 M=6": "M is not a power of two",
		"lanesNM S=8 NB=1 N=1 M=1": "M is not a power of two from 2 up",
		"lanesNM S=8 NB=1 N=5 M=4": "N is above M",
		"lanesMask S=12 NB=1":      "S is not a multiple of 8",
		"lanesRow S=16":            "S is not 8",
	} {
		_, err := ParseKernelKey(text)
		require.ErrorContains(t, err, message, text)
	}
	require.ErrorContains(t, KernelKey{}.Check(), "unknown op")
	require.ErrorContains(t, KernelKey{Op: 200}.Check(), "unknown op")
}

// FuzzKernelKey checks that reading and printing keys are inverse, and that the
// reader takes any text.
func FuzzKernelKey(f *testing.F) {
	f.Add("lanesNM S=32 NB=8 N=2 M=4")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKernelKey(text)
		if err != nil {
			return
		}
		require.NoError(t, key.Check())
		back, err := ParseKernelKey(key.String())
		require.NoError(t, err)
		require.Equal(t, key, back)
	})
}
