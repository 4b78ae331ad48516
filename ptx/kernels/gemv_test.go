package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var (
	h200 = gpu.Device{Name: "H200", CC: [2]int{9, 0}, SMs: 132, SharedMax: 232448, MaxClusters2: 66, MaxClusters4: 30}
	a100 = gpu.Device{Name: "A100", CC: [2]int{8, 0}, SMs: 108, SharedMax: 166912}
)

func bf16GEMV() GEMV {
	return GEMV{Target: ptx.SM90a(), W: gpu.BF16, X: gpu.BF16, Y: gpu.BF16, Tokens: 1, Lanes: 32, Warps: 8, Rows: 8, Items: 2, Split: 8, PDL: true}
}

func TestGEMVGolden(t *testing.T) {
	k, err := bf16GEMV().Build()
	require.NoError(t, err)
	golden(t, "gemv.ptx", k.PTX)
}

func TestGEMVManifest(t *testing.T) {
	ffn, down, square := gpu.Problem{Out: 14336, In: 4096, Tokens: 1}, gpu.Problem{Out: 4096, In: 14336, Tokens: 1}, gpu.Problem{Out: 4096, In: 4096, Tokens: 1}
	tokens := func(p gpu.Problem, n int) gpu.Problem { p.Tokens = n; return p }
	hopper := GEMV{Target: ptx.SM90a(), W: gpu.BF16, X: gpu.BF16, Y: gpu.BF16, PDL: true}
	ampere := GEMV{Target: ptx.SM80(), W: gpu.F16, X: gpu.F32, Y: gpu.F32, Bias: true, PerChannel: true, Activation: GELU}
	single := GEMV{Target: ptx.SM80(), W: gpu.F32, X: gpu.F16, Y: gpu.F16, Inclusive: true, Activation: Tanh}
	list := []struct {
		c         GEMV
		p         gpu.Problem
		registers int
	}{
		{hopper, ffn, 64}, {hopper, down, 80}, {hopper, tokens(square, 5), 96}, {hopper, tokens(ffn, 8), 128},
		{ampere, ffn, 64}, {ampere, tokens(square, 2), 80}, {single, gpu.Problem{Out: 100, In: 100, Tokens: 1}, 64},
	}
	var ks []*gpu.Kernel
	for _, x := range list {
		d := h200
		if x.c.Target == ptx.SM80() {
			d = a100
		}
		c := ChooseGEMV(x.c, x.p, d)
		k, err := c.Build()
		require.NoError(t, err)
		ks = append(ks, k)
		l, err := k.Plan(x.p, d)
		require.NoError(t, err)
		require.EqualValues(t, c.blocks(x.p), l.Grid[0])
	}
	for i, got := range manifest(t, "gemv_manifest.txt", ks) {
		require.LessOrEqual(t, got.Registers, list[i].registers, ks[i].Name)
	}
}

func TestGEMVSpace(t *testing.T) {
	for _, d := range []gpu.Device{h200, a100} {
		c := bf16GEMV()
		if d.Name == "A100" {
			c.Target, c.PDL = ptx.SM80(), false
		}
		p := gpu.Problem{Out: 4096, In: 14336, Tokens: 1}
		space := GEMVSpace(c, p, d)
		require.Greater(t, len(space), 8)
		require.Equal(t, ChooseGEMV(c, p, d), space[0])
		names := map[string]bool{}
		for _, c := range space {
			require.NoError(t, c.Check())
			require.False(t, names[c.Name()], c.Name())
			names[c.Name()] = true
		}
	}
}

func TestGEMVChoice(t *testing.T) {
	for _, c := range []struct {
		p            gpu.Problem
		lanes, split int
	}{
		{gpu.Problem{Out: 14336, In: 4096, Tokens: 1}, 32, 8},
		{gpu.Problem{Out: 4096, In: 14336, Tokens: 1}, 16, 8},
		{gpu.Problem{Out: 1024, In: 4096, Tokens: 1}, 8, 8},
		{gpu.Problem{Out: 64, In: 100, Tokens: 1}, 8, 1},
	} {
		got := ChooseGEMV(bf16GEMV(), c.p, h200)
		require.NoError(t, got.Check())
		require.Equal(t, [2]int{c.lanes, c.split}, [2]int{got.Lanes, got.Split}, "%+v", c.p)
	}
}

func TestGEMVErrors(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(*GEMV)
	}{
		{"types s8", func(c *GEMV) { c.W = gpu.S8 }},
		{"9 tokens", func(c *GEMV) { c.Tokens = 9 }},
		{"12 lanes", func(c *GEMV) { c.Lanes = 12 }},
		{"0 warps", func(c *GEMV) { c.Warps = 0 }},
		{"17 rows", func(c *GEMV) { c.Rows = 17 }},
		{"combine 2", func(c *GEMV) { c.Combine = 2 }},
		{"a cluster of 3", func(c *GEMV) { c.Split = 3 }},
		{"65 slices", func(c *GEMV) { c.Combine, c.Split = ByCounter, 65 }},
		{"need sm_90, not sm_80", func(c *GEMV) { c.Target = ptx.SM80() }},
		{"activation 99", func(c *GEMV) { c.Activation = 99 }},
		{"bytes of shared memory", func(c *GEMV) { c.Tokens, c.Items, c.Warps, c.Rows = 8, 16, 16, 16 }},
	} {
		g := bf16GEMV()
		c.edit(&g)
		_, err := g.Build()
		require.ErrorContains(t, err, c.want)
	}
}
