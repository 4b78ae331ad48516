package kernels

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func bf16Ampere() Ampere {
	return Ampere{Target: ptx.SM80(), DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 16, WarpsM: 4, WarpsN: 1, Split: 2, Y: gpu.BF16, Bias: gpu.F32, Activation: ReLU}
}

func TestAmpereGolden(t *testing.T) {
	k, err := bf16Ampere().Build()
	require.NoError(t, err)
	golden(t, "ampere.ptx", k.PTX)
}

// amperes are the configurations that are shipped, by target and operands.
func amperes() []Ampere {
	var cs []Ampere
	for _, target := range []ptx.Target{ptx.SM80(), ptx.SM90()} {
		for _, form := range []gpu.Form{gpu.Dense, gpu.NM24} {
			for _, dt := range []gpu.DType{gpu.BF16, gpu.F16, gpu.S8} {
				for _, x := range ampereTiles {
					for _, split := range []int{1, 4} {
						c := Linear{Target: target, DType: dt, Form: form, Y: gpu.BF16}.ampere(x.m, x.n, x.warpsM, x.warpsN, x.blocks)
						c.Split, c.Ordered = split, form == gpu.NM24 && target == ptx.SM90()
						cs = append(cs, c)
					}
				}
			}
		}
	}
	return cs
}

func TestAmpereManifest(t *testing.T) {
	var cs []Ampere
	for i, c := range amperes() {
		if i%13 == 0 { // the assembler takes its time
			cs = append(cs, c)
		}
	}
	cs = append(cs,
		Ampere{Target: ptx.SM80(), DType: gpu.F16, Form: gpu.NM24, TileM: 128, TileN: 128, WarpsM: 2, WarpsN: 4, Y: gpu.F32, Bias: gpu.BF16, Activation: GELU, Residual: true},
		Ampere{Target: ptx.SM80(), DType: gpu.S8, Form: gpu.Dense, TileM: 64, TileN: 64, WarpsM: 2, WarpsN: 2, Split: 3, Y: gpu.F16, TensorScale: true, OutScale: true, TokenScale: true, Bias: gpu.F32, Residual: true},
		Ampere{Target: ptx.SM89(), DType: gpu.S8, Form: gpu.NM24, TileM: 32, TileN: 8, WarpsM: 2, WarpsN: 1, Blocks: 4, Split: 16, Ordered: true, Y: gpu.S32},
		Ampere{Target: ptx.SM80(), DType: gpu.BF16, Form: gpu.Dense, TileM: 256, TileN: 128, WarpsM: 4, WarpsN: 2, Y: gpu.BF16},
		Ampere{Target: ptx.SM80(), DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 32, WarpsM: 4, WarpsN: 1, Split: 2, Listed: true, Y: gpu.BF16},
	)
	var ks []*gpu.Kernel
	for _, c := range cs {
		k, err := c.Build()
		require.NoError(t, err)
		ks = append(ks, k)
	}
	for i, got := range manifest(t, "ampere_manifest.txt", ks) {
		require.LessOrEqual(t, got.Registers*int(ks[i].Threads), 65536)
	}
}

func TestAmperePlan(t *testing.T) {
	for i, c := range amperes() {
		require.NoError(t, c.Check())
		if i%5 > 0 {
			continue
		}
		k, err := c.Build()
		require.NoError(t, err)
		d := a100
		if c.Target == ptx.SM90() {
			d = h200
		}
		p := gpu.Problem{Out: 1000, In: 1040, Tokens: c.TileN + 1}
		l, err := k.Plan(p, d)
		require.NoError(t, err)
		packed, err := c.Format().Bytes(p.Out, p.In)
		require.NoError(t, err)
		require.EqualValues(t, packed, k.WeightBytes(p), "the packer and the kernel agree on the weights")
		tiles := (1000 + c.TileM - 1) / c.TileM
		require.Equal(t, [3]uint32{uint32(tiles * c.Split), 2, 1}, l.Grid)
		need, err := l.Needs()
		require.NoError(t, err)
		if c.Split > 1 {
			require.EqualValues(t, (4*2*tiles+15)&^15+4*2*tiles*c.Split*c.TileM*c.TileN, need[gpu.Workspace])
		} else {
			require.Zero(t, need[gpu.Workspace])
		}
		p.XPitch = 1041
		_, err = k.Plan(p, d)
		require.ErrorContains(t, err, "the kernel moves 16 at a time")
	}
}

func TestAmpereChoice(t *testing.T) {
	for _, c := range []struct {
		form            gpu.Form
		out, in, tokens int
		m, n            int
		split           bool
	}{
		{gpu.Dense, 8192, 8192, 8192, 128, 256, false},
		{gpu.NM24, 8192, 8192, 8192, 128, 256, false},
		{gpu.NM24, 4096, 4096, 1, 64, 8, false},
		{gpu.NM24, 4096, 4096, 16, 64, 16, false},
		{gpu.NM24, 512, 16384, 32, 64, 32, true},
	} {
		l := Linear{Target: ptx.SM80(), DType: gpu.BF16, Form: c.form, Y: gpu.BF16}
		got, err := l.Choose(gpu.Problem{Out: c.out, In: c.in, Tokens: c.tokens}, a100)
		require.NoError(t, err)
		a := got.(Ampere)
		require.Equal(t, c.n, a.TileN, "%+v: %s", c, a.Name())
		require.Equal(t, c.m, a.TileM, "%+v: %s", c, a.Name())
		require.Equal(t, c.split, a.Split > 1, "%+v: %s", c, a.Name())
		require.False(t, a.Ordered)
	}
	d := a100
	d.Driver = 12080
	got, err := Linear{Target: ptx.SM80(), DType: gpu.BF16, Form: gpu.NM24, Y: gpu.BF16}.Choose(gpu.Problem{Out: 64, In: 64, Tokens: 8}, d)
	require.NoError(t, err)
	require.True(t, got.(Ampere).Ordered)
}

func TestAmpereCheck(t *testing.T) {
	for _, x := range []struct {
		want string
		edit func(*Ampere)
	}{
		{"operands of type e4m3", func(c *Ampere) { c.DType = gpu.E4M3 }},
		{"operands of type f32", func(c *Ampere) { c.DType = gpu.F32 }},
		{"tiles of 48 output features", func(c *Ampere) { c.TileM = 48 }},
		{"tiles of 4 tokens", func(c *Ampere) { c.TileN = 4 }},
		{"3 by 1 warps", func(c *Ampere) { c.WarpsM = 3 }},
		{"1 by 1 warps", func(c *Ampere) { c.WarpsM = 1 }},
		{"4 by 4 warps on a tile of 64 by 16", func(c *Ampere) { c.WarpsN = 4 }},
		{"warps with 128 by 64 sums", func(c *Ampere) { c.TileM, c.WarpsM, c.TileN, c.WarpsN = 256, 2, 64, 1 }},
		{"stages of 3 k-blocks", func(c *Ampere) { c.Blocks = 3 }},
		{"17 blocks share a tile", func(c *Ampere) { c.Split = 17 }},
		{"1 stages", func(c *Ampere) { c.Stages = 1 }},
		{"bytes of shared memory", func(c *Ampere) { c.TileM, c.TileN, c.WarpsM, c.WarpsN, c.Stages = 256, 256, 4, 4, 5 }},
		{"weights of form by_input", func(c *Ampere) { c.Form = gpu.ByInput }},
	} {
		c := bf16Ampere()
		x.edit(&c)
		require.ErrorContains(t, c.Check(), x.want)
		_, err := c.Build()
		require.ErrorContains(t, err, x.want)
	}
}

// The widest tile was offered with activations that made ptxas spill 24 bytes.
func TestWidestAmpereTileDoesNotSpill(t *testing.T) {
	p := gpu.Problem{Out: 4096, In: 4096, Tokens: 4096}
	for a := Identity; a <= GELUTanh; a++ {
		for _, residual := range []bool{false, true} {
			l := Linear{Target: ptx.SM80(), DType: gpu.BF16, Form: gpu.Dense, Y: gpu.BF16, Bias: gpu.F32, Activation: a, Residual: residual}
			cs, err := l.Candidates(p, Reference(l.Target))
			require.NoError(t, err)
			i := slices.IndexFunc(cs, func(c Candidate) bool { return c.Config.(Ampere).TileN == 256 })
			require.Equal(t, a.long(), i < 0, "%v, residual %v", a, residual)
			if i >= 0 {
				k, err := cs[i].Build()
				require.NoError(t, err)
				clean(t, k)
			}
		}
	}
}
