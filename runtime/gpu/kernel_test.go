package gpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func gemm() Kernel {
	return Kernel{
		Name: "gemm", Target: "sm_90a", Family: "gemm", DType: BF16, Form: NM24, Y: BF16,
		Tile:    Tile{Out: 128, Tokens: 256, In: 64, Bytes: 9216, Split: 1},
		Threads: 288, Cluster: 1, Shared: 230400,
		Params: []Param{
			{Name: "w", Kind: ArgPtr, Of: Weights},
			{Name: "x", Kind: ArgMap, Map: MapSpec{DType: BF16, Of: X, Inner: QIn, Outer: QTokens, Box: [2]uint32{64, 256}, Swizzle: Swizzle128}},
			{Name: "y", Kind: ArgMap, Map: MapSpec{DType: BF16, Of: Y, Inner: QOut, Outer: QTokens, Box: [2]uint32{64, 64}, Swizzle: Swizzle128}},
			{Name: "bias", Kind: ArgPtr, Of: Bias, DType: F32, Len: QOut},
			{Name: "steps", Kind: ArgU32, Value: QSteps},
			{Name: "tilesm", Kind: ArgU32, Value: QOutTiles},
			{Name: "tilesn", Kind: ArgU32, Value: QTokTiles},
		},
	}
}

func TestPlan(t *testing.T) {
	k := gemm()
	p := Problem{Out: 1000, In: 520, Tokens: 300}
	l, err := k.Plan(p, hopper)
	require.NoError(t, err)
	require.Equal(t, [3]uint32{16, 1, 1}, l.Grid)
	require.Equal(t, [3]uint32{288, 1, 1}, l.Block)
	require.Zero(t, l.Cluster)
	require.EqualValues(t, 8*9*9216, k.WeightBytes(p))
	require.EqualValues(t, 8*9*9216, l.Args[0].Bytes)
	require.Equal(t, TensorMap{DType: BF16, Of: X, Dims: []uint64{520, 300}, Strides: []uint64{1040}, Box: []uint32{64, 256}, Swizzle: Swizzle128}, l.Args[1].Map)
	require.Equal(t, TensorMap{DType: BF16, Of: Y, Dims: []uint64{1000, 300}, Strides: []uint64{2000}, Box: []uint32{64, 64}, Swizzle: Swizzle128}, l.Args[2].Map)
	require.EqualValues(t, 4000, l.Args[3].Bytes)
	require.EqualValues(t, 9, l.Args[4].U32)
	require.EqualValues(t, 8, l.Args[5].U32)
	require.EqualValues(t, 2, l.Args[6].U32)
	need, err := l.Needs()
	require.NoError(t, err)
	require.EqualValues(t, k.WeightBytes(p), need[Weights])
	require.EqualValues(t, 520*300*2, need[X])
}

func TestPlanListed(t *testing.T) {
	k := gemm()
	k.Listed = true
	k.Params = append(k.Params, Param{Name: "lists", Kind: ArgPtr, Of: Meta, DType: U32, Len: QLists})
	p := Problem{Out: 1000, In: 520, Tokens: 300, Blocks: 20}
	l, err := k.Plan(p, hopper)
	require.NoError(t, err)
	require.EqualValues(t, 20*9216, k.WeightBytes(p))
	require.EqualValues(t, 4*(8+1+20), l.Args[7].Bytes)
}

func TestPlanGrid(t *testing.T) {
	for _, c := range []struct {
		cluster, split   int
		out, tokens      int
		grid, clusterDim uint32
	}{
		{1, 1, 8192, 8192, 132, 0},
		{1, 1, 128, 256, 1, 0},
		{2, 1, 8192, 8192, 132, 2},
		{2, 1, 136, 1, 2, 2},
		{2, 1, 128, 1, 2, 2}, // the second block works beyond the end
		{2, 1, 384, 257, 8, 2},
		{2, 2, 384, 257, 12, 2},
		{4, 2, 384, 257, 16, 4},
	} {
		k := gemm()
		k.Cluster, k.Tile.Split = uint32(c.cluster), c.split
		d := hopper
		d.MaxClusters4 = 30
		l, err := k.Plan(Problem{Out: c.out, In: 64, Tokens: c.tokens}, d)
		require.NoError(t, err)
		require.Equal(t, c.grid, l.Grid[0], "%+v", c)
		require.Equal(t, c.clusterDim, l.Cluster[0])
	}
}

func TestPlanPitch(t *testing.T) {
	k := gemm()
	p := Problem{Out: 1001, In: 515, Tokens: 3, XPitch: 520, YPitch: 1008}
	l, err := k.Plan(p, hopper)
	require.NoError(t, err)
	require.EqualValues(t, 515, l.Args[1].Map.Dims[0])
	require.EqualValues(t, 1040, l.Args[1].Map.Strides[0])
	require.EqualValues(t, 1001, l.Args[2].Map.Dims[0])
	require.EqualValues(t, 2016, l.Args[2].Map.Strides[0])
}

func TestPlanErrors(t *testing.T) {
	scaled := func(k *Kernel) { k.Params = append(k.Params, Param{Name: "scale", Kind: ArgF32, Value: QScale}) }
	for _, c := range []struct {
		want string
		edit func(*Kernel, *Problem, *Device)
	}{
		{"0 output features", func(_ *Kernel, p *Problem, _ *Device) { p.Out = 0 }},
		{"-1 input features", func(_ *Kernel, p *Problem, _ *Device) { p.In = -1 }},
		{"2147483647 tokens", func(_ *Kernel, p *Problem, _ *Device) { p.Tokens = math.MaxInt32 }},
		{"a row of the activations is 1030 bytes (515 of bf16), the kernel moves 16 at a time: give them a pitch of 520", func(_ *Kernel, p *Problem, _ *Device) { p.In = 515 }},
		{"a row of the result is 4004 bytes (1001 of f32), the kernel moves 16 at a time: give them a pitch of 1004", func(k *Kernel, p *Problem, _ *Device) { k.Y, p.Out = F32, 1001 }},
		{"rows of the activations have 512 elements but start every 256", func(_ *Kernel, p *Problem, _ *Device) { p.XPitch = 256 }},
		{"rows of the result have 1024 elements but start every 8", func(_ *Kernel, p *Problem, _ *Device) { p.YPitch = 8 }},
		{"result of unknown type DType(0)", func(k *Kernel, _ *Problem, _ *Device) { k.Y = 0 }},
		{"its tile is not set", func(k *Kernel, _ *Problem, _ *Device) { k.Tile.Split = 0 }},
		{"weight blocks, at most 2^32", func(_ *Kernel, p *Problem, _ *Device) { p.Out, p.In = 1<<30, 1<<30 }},
		{"tiles, at most 2^31", func(_ *Kernel, p *Problem, _ *Device) { p.Out, p.Tokens = 1<<28, 1<<28 }},
		{"3 stored blocks, but it takes all", func(_ *Kernel, p *Problem, _ *Device) { p.Blocks = 3 }},
		{"7 stored blocks, want 8 to 64", func(k *Kernel, p *Problem, _ *Device) { k.Listed, p.Blocks = true, 7 }},
		{"65 stored blocks, want 8 to 64", func(k *Kernel, p *Problem, _ *Device) { k.Listed, p.Blocks = true, 65 }},
		{"a scale of 2, but it does not scale", func(_ *Kernel, p *Problem, _ *Device) { p.Scale = 2 }},
		{"the scale is 0", func(k *Kernel, _ *Problem, _ *Device) { scaled(k) }},
		{"the scale is NaN", func(k *Kernel, p *Problem, _ *Device) { scaled(k); p.Scale = float32(math.NaN()) }},
		{"made for compute capability 9.0 alone, B has 10.0", func(_ *Kernel, _ *Problem, d *Device) { d.Name, d.CC = "B", [2]int{10, 0} }},
		{"H has no room for clusters of 2", func(k *Kernel, _ *Problem, d *Device) { k.Cluster, d.MaxClusters2 = 2, 0 }},
		{"clusters of 3", func(k *Kernel, _ *Problem, _ *Device) { k.Cluster = 3 }},
		{"a tile split 2 ways in clusters of 1", func(k *Kernel, _ *Problem, _ *Device) { k.Tile.Split = 2 }},
		{"230400 bytes of shared memory, H has 100000", func(_ *Kernel, _ *Problem, d *Device) { d.SharedMax = 100000 }},
		{"parameter w: a kind 0", func(k *Kernel, _ *Problem, _ *Device) { k.Params[0].Kind = 0 }},
		{"parameter steps: a kind 3 of Quantity(0)", func(k *Kernel, _ *Problem, _ *Device) { k.Params[4].Value = 0 }},
		{"parameter x: a matrix of scale by in", func(k *Kernel, _ *Problem, _ *Device) { k.Params[1].Map.Outer = QScale }},
		{"argument 1: tensor map of x: side 0", func(k *Kernel, _ *Problem, _ *Device) { k.Params[1].Map.Box[0] = 0 }},
	} {
		k, p, d := gemm(), Problem{Out: 1024, In: 512, Tokens: 300}, hopper
		c.edit(&k, &p, &d)
		_, err := k.Plan(p, d)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "gemm")
	}
	k := gemm()
	require.Zero(t, k.WeightBytes(Problem{}))
	scaled(&k)
	l, err := k.Plan(Problem{Out: 8, In: 8, Tokens: 1, Scale: -0.5}, hopper)
	require.NoError(t, err)
	require.EqualValues(t, -0.5, l.Args[7].F32)
}
