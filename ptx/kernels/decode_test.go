package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func bf16Decode() Decode {
	return Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 8, Split: 2, Resident: 2, PDL: true, Y: gpu.BF16, Bias: gpu.F32, Activation: ReLU}
}

func TestDecodeGolden(t *testing.T) {
	k, err := bf16Decode().Build()
	require.NoError(t, err)
	golden(t, "decode.ptx", k.PTX)
}

// decodes are the configurations that the choice takes for the sizes of
// transformers' layers, of every type.
func decodes() []Decode {
	var cs []Decode
	for _, form := range []gpu.Form{gpu.NM24, gpu.Dense} {
		for _, dt := range []gpu.DType{gpu.BF16, gpu.E4M3, gpu.S8} {
			for _, x := range []struct{ m, n, split, resident int }{
				{64, 8, 1, 2}, {64, 16, 1, 2}, {64, 32, 2, 2}, {64, 64, 2, 1}, {64, 128, 2, 1},
				{128, 8, 1, 1}, {128, 16, 1, 1}, {128, 32, 1, 1}, {128, 64, 1, 1}, {128, 128, 2, 1},
			} {
				c := Linear{DType: dt, Form: form, Y: gpu.BF16}.decode(x.m, x.n)
				c.Split, c.Resident = x.split, x.resident
				cs = append(cs, c)
			}
		}
	}
	return cs
}

func TestDecodeManifest(t *testing.T) {
	// Those of 2:4 bf16 and every seventh of the others: the assembler takes its time.
	var cs []Decode
	for i, c := range decodes() {
		if c.Form == gpu.NM24 && c.DType == gpu.BF16 || i%7 == 0 {
			cs = append(cs, c)
		}
	}
	cs = append(cs,
		Decode{DType: gpu.F16, Form: gpu.NM24, TileM: 128, TileN: 128, Blocks: 1, Split: 2, Y: gpu.F16, Bias: gpu.BF16, Activation: SiLU, Residual: true},
		Decode{DType: gpu.S8, Form: gpu.Dense, TileM: 64, TileN: 16, Split: 2, PDL: true, Y: gpu.F32, OutScale: true, TokenScale: true, Residual: true},
		Decode{DType: gpu.S8, Form: gpu.NM24, TileM: 128, TileN: 32, Blocks: 4, Y: gpu.S32},
		Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 128, TileN: 8, Split: 2, Y: gpu.BF16, Residual: true},
		Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 128, TileN: 16, Split: 2, Listed: true, PDL: true, Y: gpu.BF16},
	)
	var ks []*gpu.Kernel
	for _, c := range cs {
		k, err := c.Build()
		require.NoError(t, err)
		ks = append(ks, k)
	}
	for i, got := range manifest(t, "decode_manifest.txt", ks) {
		// Two blocks of a multiprocessor also share its registers.
		limit := hopper.Registers(int(ks[i].Threads))
		if cs[i].Resident == 2 {
			limit = hopper.Registers(2 * int(ks[i].Threads))
		}
		require.LessOrEqual(t, got.Registers, limit)
	}
}

func TestDecodePlan(t *testing.T) {
	for _, c := range decodes() {
		k, err := c.Build()
		require.NoError(t, err)
		p := gpu.Problem{Out: 1000, In: 1040, Tokens: c.TileN + 1}
		l, err := k.Plan(p, h200)
		require.NoError(t, err)
		packed, err := c.Format().Bytes(p.Out, p.In)
		require.NoError(t, err)
		require.EqualValues(t, packed, k.WeightBytes(p), "the packer and the kernel agree on the weights")
		require.Equal(t, [3]uint32{uint32((1000 + c.TileM - 1) / c.TileM * max(1, c.Split)), 2, 1}, l.Grid)
		require.True(t, l.PDL)
		c = c.normal()
		require.LessOrEqual(t, c.Resident*(int(k.Shared)+1024), 228<<10, k.Name)
	}
}

// The configurations that were the fastest when all were timed on an H100, or no
// more than 5 % slower than that.
func TestDecodeChoice(t *testing.T) {
	l := Linear{Target: ptx.SM90a(), DType: gpu.BF16, Form: gpu.NM24, Y: gpu.BF16}
	for _, c := range []struct{ out, in, tokens, m, split int }{
		{4096, 4096, 1, 64, 2}, {4096, 4096, 16, 64, 2}, {4096, 4096, 64, 64, 2}, {4096, 4096, 128, 64, 2}, {4096, 4096, 256, 128, 2},
		{14336, 4096, 1, 128, 1}, {14336, 4096, 16, 128, 1}, {14336, 4096, 64, 128, 1}, {14336, 4096, 128, 128, 1},
		{4096, 14336, 1, 64, 2}, {4096, 14336, 16, 64, 2}, {4096, 14336, 64, 64, 2}, {4096, 14336, 128, 64, 2}, {4096, 14336, 256, 128, 2},
	} {
		got, err := l.Choose(gpu.Problem{Out: c.out, In: c.in, Tokens: c.tokens}, h200)
		require.NoError(t, err)
		d, ok := got.(Decode)
		require.True(t, ok, "%+v: %s", c, got.Name())
		require.Equal(t, [2]int{c.m, c.split}, [2]int{d.TileM, d.Split}, "%+v: %s", c, d.Name())
		require.True(t, d.PDL)
	}
	l.Serial = true
	got, err := l.Choose(gpu.Problem{Out: 4096, In: 4096, Tokens: 1}, h200)
	require.NoError(t, err)
	require.False(t, got.(Decode).PDL)
}

func TestDecodeCheck(t *testing.T) {
	for _, x := range []struct {
		want string
		edit func(*Decode)
	}{
		{"tiles of 96 output features", func(c *Decode) { c.TileM = 96 }},
		{"tiles of 24 tokens", func(c *Decode) { c.TileN = 24 }},
		{"tiles of 256 tokens", func(c *Decode) { c.TileN = 256 }},
		{"stages of 3 k-blocks", func(c *Decode) { c.Blocks = 3 }},
		{"3 blocks share a tile", func(c *Decode) { c.Split = 3 }},
		{"3 resident blocks", func(c *Decode) { c.Resident = 3 }},
		{"1 stages", func(c *Decode) { c.Stages = 1 }},
		{"60 stages", func(c *Decode) { c.Stages = 60 }},
		{"operands of type f32", func(c *Decode) { c.DType = gpu.F32 }},
		{"weights of form by_input", func(c *Decode) { c.Form = gpu.ByInput }},
		{"of operands of type bf16, want s8", func(c *Decode) { c.Y = gpu.S32 }},
		{"activation 77", func(c *Decode) { c.Activation = 77 }},
	} {
		c := bf16Decode()
		x.edit(&c)
		require.ErrorContains(t, c.Check(), x.want)
		_, err := c.Build()
		require.ErrorContains(t, err, x.want)
	}
}

// One packing of listed weights serves all numbers of tokens on a target.
func TestListedWeightsAreShared(t *testing.T) {
	for _, x := range []struct {
		target ptx.Target
		d      gpu.Device
	}{{ptx.SM90a(), h200}, {ptx.SM80(), a100}} {
		for _, form := range []gpu.Form{gpu.Dense, gpu.NM24} {
			l := Linear{Target: x.target, DType: gpu.BF16, Form: form, Y: gpu.BF16, Listed: true}
			first, err := l.Choose(gpu.Problem{Out: 4096, In: 4096, Tokens: 1, Blocks: 1024}, x.d)
			require.NoError(t, err)
			families := map[string]bool{}
			for _, tokens := range []int{1, 8, 64, 256, 4096} {
				cs, err := l.Candidates(gpu.Problem{Out: 4096, In: 4096, Tokens: tokens, Blocks: 1024}, x.d)
				require.NoError(t, err)
				for _, c := range cs {
					require.Equal(t, first.Format(), c.Format(), c.Name())
				}
				k, err := cs[0].Build()
				require.NoError(t, err)
				require.True(t, k.Listed)
				families[k.Family] = true
			}
			require.Equal(t, x.target == ptx.SM90a(), families["decode"] && families["gemm"])
		}
	}
}
