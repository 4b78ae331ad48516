package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemms are the configurations that layers choose from, for the smallest epilogue,
// and others that show what an epilogue costs.
func gemms() []GEMM {
	var cs []GEMM
	for _, form := range []gpu.Form{gpu.Dense, gpu.NM24} {
		for _, t := range []gpu.DType{gpu.BF16, gpu.E4M3, gpu.S8} {
			for _, n := range []int{64, 128, 256} {
				c := GEMM{DType: t, Form: form, TileN: n, Y: gpu.BF16}
				cs = append(cs, c.with(1, hopper.Drain), c.with(2, hopper.Overlap))
				if n == 256 {
					cs = append(cs, c.with(1, hopper.Overlap))
				}
			}
		}
	}
	wide := GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 256, Y: gpu.BF16}
	add := func(edit func(*GEMM)) {
		c := wide
		edit(&c)
		cs = append(cs, c, c.with(2, hopper.Overlap))
	}
	for act := ReLU; act.valid(); act++ {
		add(func(c *GEMM) { c.Activation, c.Bias = act, gpu.F32 })
	}
	add(func(c *GEMM) { c.DType, c.Residual = gpu.F16, true })
	add(func(c *GEMM) { c.Residual, c.Y, c.Buffers = true, gpu.F16, 1 })
	add(func(c *GEMM) { c.Residual, c.Y, c.Bias = true, gpu.F32, gpu.BF16 })
	add(func(c *GEMM) { c.DType, c.Y, c.PDL = gpu.S8, gpu.S32, true })
	add(func(c *GEMM) {
		c.DType, c.TensorScale, c.OutScale, c.TokenScale, c.Bias, c.Activation = gpu.S8, true, true, true, gpu.BF16, GELU
	})
	add(func(c *GEMM) {
		c.DType, c.TensorScale, c.OutScale, c.TokenScale, c.Residual, c.Activation = gpu.E4M3, true, true, true, true, SiLU
	})
	for _, form := range []gpu.Form{gpu.Dense, gpu.NM24} {
		c := GEMM{DType: gpu.BF16, Form: form, TileN: 256, Y: gpu.BF16, Listed: true}
		cs = append(cs, c, c.with(1, hopper.Overlap))
	}
	return cs
}

func TestGEMMManifest(t *testing.T) {
	var ks []*gpu.Kernel
	for _, c := range gemms() {
		k, err := c.Build()
		require.NoError(t, err)
		ks = append(ks, k)
	}
	manifest(t, "gemm_manifest.txt", ks)
}

func TestGEMMGolden(t *testing.T) {
	for name, c := range map[string]GEMM{
		"gemm_dense.ptx": {DType: gpu.BF16, Form: gpu.Dense, TileN: 64, Y: gpu.BF16, Stages: 4},
		"gemm_nm24.ptx":  {DType: gpu.BF16, Form: gpu.NM24, TileN: 64, Y: gpu.BF16, Stages: 4, Loop: hopper.Overlap, Cluster: 2},
		"gemm_full.ptx": {
			DType: gpu.E4M3, Form: gpu.NM24, TileN: 64, Y: gpu.F32, Stages: 4, Buffers: 1,
			TensorScale: true, OutScale: true, TokenScale: true, Bias: gpu.BF16, Activation: SiLU, Residual: true, PDL: true,
		},
	} {
		k, err := c.Build()
		require.NoError(t, err)
		golden(t, name, k.PTX)
	}
}

func TestGEMMPlan(t *testing.T) {
	for _, c := range gemms() {
		k, err := c.Build()
		require.NoError(t, err)
		p := gpu.Problem{Out: 1000, In: 1040, Tokens: 777}
		if c.TensorScale {
			p.Scale = 0.5
		}
		packed, err := c.Format().Bytes(p.Out, p.In)
		require.NoError(t, err)
		if c.Listed {
			p.Blocks = 11
			packed = 11 * int64(c.Format().BlockBytes())
		}
		l, err := k.Plan(p, h200)
		require.NoError(t, err)
		require.EqualValues(t, packed, k.WeightBytes(p), "the packer and the kernel agree on the weights")
		require.Len(t, l.Args, len(k.Params))
		require.LessOrEqual(t, k.Shared, uint32(hopper.SharedLimit))
		f := c.Format()
		if c.Form == gpu.NM24 {
			words := layout.Metadata(c.DType.Size()).Regs()
			for thread := range 256 {
				require.Equal(t, f.MetaOffset(0, 0)+4*words*thread, f.MetaOffset(0, thread), "what a thread loads")
			}
		}
	}
}

func TestGEMMCheck(t *testing.T) {
	good := GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 256, Y: gpu.BF16}
	require.NoError(t, good.Check())
	for _, x := range []struct {
		want string
		edit func(*GEMM)
	}{
		{"operands of type f32", func(c *GEMM) { c.DType = gpu.F32 }},
		{"weights of form by_input", func(c *GEMM) { c.Form = gpu.ByInput }},
		{"tiles of 96 tokens", func(c *GEMM) { c.TileN = 96 }},
		{"clusters of 4", func(c *GEMM) { c.Cluster = 4 }},
		{"over listed weights, want 1", func(c *GEMM) { c.Listed, c.Cluster = true, 2 }},
		{"loop 7", func(c *GEMM) { c.Loop = 7 }},
		{"bands of 15 tiles", func(c *GEMM) { c.Cluster, c.Band = 2, 15 }},
		{"9 store buffers", func(c *GEMM) { c.Buffers = 9 }},
		{"results of type e4m3", func(c *GEMM) { c.Y = gpu.E4M3 }},
		{"s32 of operands of type bf16", func(c *GEMM) { c.Y = gpu.S32 }},
		{"the sums themselves", func(c *GEMM) { c.DType, c.Y, c.Residual = gpu.S8, gpu.S32, true }},
		{"a bias of type f16", func(c *GEMM) { c.Bias = gpu.F16 }},
		{"activation 99", func(c *GEMM) { c.Activation = 99 }},
		{"9 stages of 41984 bytes, want 2 to 4", func(c *GEMM) { c.Stages = 9 }},
		{"1 stages", func(c *GEMM) { c.Stages = 1 }},
	} {
		c := good
		x.edit(&c)
		require.ErrorContains(t, c.Check(), x.want)
		_, err := c.Build()
		require.ErrorContains(t, err, x.want)
	}
}

func TestGEMMName(t *testing.T) {
	c := GEMM{DType: gpu.E4M3, Form: gpu.NM24, TileN: 128, Y: gpu.F16, OutScale: true, Bias: gpu.F32, Activation: SiLU}
	require.Equal(t, "gemm_nm24_e4m3_yf16_n128_s7_c1_drain_g16_e2_outscale_biasf32_silu", c.Name())
	seen := map[string]bool{}
	for _, c := range gemms() {
		require.False(t, seen[c.Name()], c.Name())
		seen[c.Name()] = true
	}
}
