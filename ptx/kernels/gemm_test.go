package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemms are the configurations that are shipped.
func gemms() []GEMM {
	var cs []GEMM
	for _, form := range []gpu.Form{gpu.Dense, gpu.NM24} {
		for _, t := range []gpu.DType{gpu.BF16, gpu.F16, gpu.E4M3, gpu.S8} {
			for _, n := range []int{64, 128, 256} {
				cs = append(cs, GEMM{DType: t, Form: form, TileN: n, Y: gpu.BF16})
			}
		}
	}
	return cs
}

func TestGEMMAssembles(t *testing.T) {
	for _, c := range gemms() {
		for _, loop := range []hopper.Form{hopper.Drain, hopper.Overlap} {
			c.Loop = loop
			k, err := c.Build()
			require.NoError(t, err)
			t.Run(k.Name, func(t *testing.T) {
				got := clean(t, k)
				require.LessOrEqual(t, got.Registers, hopper.Registers(int(k.Threads)))
			})
		}
	}
}

func TestGEMMPlan(t *testing.T) {
	for _, c := range gemms() {
		k, err := c.Build()
		require.NoError(t, err)
		p := gpu.Problem{Out: 1000, In: 1040, Tokens: 777}
		l, err := k.Plan(p, h200)
		require.NoError(t, err)
		packed, err := c.Format().Bytes(p.Out, p.In)
		require.NoError(t, err)
		require.EqualValues(t, packed, k.WeightBytes(p), "the packer and the kernel agree on the weights")
		require.Len(t, l.Args, len(k.Params))
		require.LessOrEqual(t, k.Shared, uint32(hopper.SharedLimit))
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
		require.False(t, seen[c.Name()])
		seen[c.Name()] = true
	}
}
