package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// linearLayer has one step, with a kernel and weights that fit it.
func linearLayer() *Layer {
	k := gemm()
	p := Problem{Out: 200, In: 100, Tokens: 1, XPitch: 104, YPitch: 200}
	return &Layer{
		Name: "l", DType: BF16, TokensMin: 1, TokensMax: 64,
		Values: []Value{{"x", 100}, {"y", 200}}, Inputs: []int{0}, Outputs: []int{1},
		Steps: []Step{{X: 0, Y: 1, Residual: NoValue, Out: 200, In: 100, Bias: make([]float32, 200), Packings: []Packing{
			{TokensMin: 1, TokensMax: 8, Kernel: &k, Weights: make([]byte, k.WeightBytes(p))},
			{TokensMin: 9, TokensMax: 64, Kernel: &k, Weights: make([]byte, k.WeightBytes(p))},
		}}},
	}
}

func TestLayer(t *testing.T) {
	l := linearLayer()
	require.NoError(t, l.Check())
	require.Equal(t, 104, l.Pitch(0), "200 bytes rounded up to 208")
	require.Equal(t, 200, l.Pitch(1))
	s := &l.Steps[0]
	require.Equal(t, Problem{Out: 200, In: 100, Tokens: 7, XPitch: 104, YPitch: 200}, l.Problem(s, &s.Packings[0], 7))
	for tokens, want := range map[int]int{1: 0, 8: 0, 9: 1, 64: 1} {
		require.Equal(t, want, s.Packing(tokens))
	}
}

func TestLayerCheck(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(l *Layer, p *Packing)
	}{
		{"the layer is f16", func(l *Layer, _ *Packing) { l.DType = F16 }},
		{"a bias belongs to one", func(l *Layer, _ *Packing) { l.Steps[0].Bias = nil }},
		{"a residual belongs to one", func(l *Layer, _ *Packing) { l.Steps[0].Residual = 1 }},
		{"bytes of weights for [200, 100]", func(_ *Layer, p *Packing) { p.Weights = p.Weights[1:] }},
		{"0 tokens, want 1", func(_ *Layer, p *Packing) { p.TokensMin = 0 }},
		{"takes scales, which no layer has", func(_ *Layer, p *Packing) {
			k := *p.Kernel
			k.Params = append(k.Params[:len(k.Params):len(k.Params)], Param{Name: "scales", Kind: ArgPtr, Of: Scales, DType: F32, Len: QOut})
			p.Kernel = &k
		}},
		{"takes a bias of bf16", func(_ *Layer, p *Packing) {
			k := gemm()
			k.Params[3].DType = BF16
			p.Kernel = &k
		}},
	} {
		l := linearLayer()
		c.edit(l, &l.Steps[0].Packings[0])
		require.ErrorContains(t, l.Check(), c.want)
	}
}

// TestLists: lists that a kernel could follow out of its weights or activations,
// or that would end before they begin, are refused.
func TestLists(t *testing.T) {
	layer := func(lists ...uint32) *Layer {
		l := linearLayer()
		k := gemm()
		k.Listed = true
		k.Params = append(k.Params, Param{Name: "lists", Kind: ArgPtr, Of: Meta, DType: U32, Len: QLists})
		p := &l.Steps[0].Packings[0]
		p.Kernel, p.Lists = &k, lists
		if n := len(lists) - 3; n > 0 { // two tiles of 128 rows
			p.Weights = make([]byte, n*k.Tile.Bytes)
		}
		return l
	}
	require.NoError(t, layer(0, 1, 3, 1, 0, 1).Check())
	for want, lists := range map[string][]uint32{
		"0 stored blocks, want 2 to 4":                {},
		"1 stored blocks, want 2 to 4":                {0, 1, 1, 0},
		"5 stored blocks, want 2 to 4":                {0, 2, 5, 0, 1, 0, 1, 1},
		"lists from 1 to 3 of 3 blocks":               {1, 2, 3, 0, 0, 1},
		"lists from 0 to 4 of 3 blocks":               {0, 1, 4, 0, 0, 1},
		"tile 0 the blocks from 0 to 0 of 2":          {0, 0, 2, 0, 1},
		"tile 0 the blocks from 0 to 4294967295 of 2": {0, 1<<32 - 1, 2, 0, 1},
		"k-block 2 after -1 in tile 0":                {0, 1, 3, 2, 0, 1},
		"k-block 0 after 1 in tile 1":                 {0, 1, 3, 0, 1, 0},
		"k-block 1 after 1 in tile 1":                 {0, 1, 3, 0, 1, 1},
	} {
		require.ErrorContains(t, layer(lists...).Check(), want)
	}
	l := linearLayer()
	l.Steps[0].Packings[1].Lists = []uint32{0, 1, 2, 0, 0}
	require.ErrorContains(t, l.Check(), "lists of blocks, but it takes all")
}

// pickedLayer spreads 100 features over 200.
func pickedLayer() *Layer {
	k := Kernel{
		Name: "pick", Target: "sm_80", Family: "gather", DType: F16, Form: Picked, Order: OneTile, Y: F16,
		Tile: Tile{Out: 128, Tokens: 4, Split: 1}, Threads: 128, Cluster: 1,
		Params: []Param{
			{Name: "weights", Kind: ArgPtr, Of: Weights}, {Name: "meta", Kind: ArgPtr, Of: Meta, DType: U32, Len: QOut},
			{Name: "x", Kind: ArgPtr, Of: X, DType: F16, Len: QIn}, {Name: "y", Kind: ArgPtr, Of: Y, DType: F16, Len: QOut, Wide: true},
		},
	}
	index := make([]uint32, 200)
	for i := range index {
		if index[i] = uint32(i * 7 % 100); i%3 == 0 {
			index[i] = NoInput
		}
	}
	return &Layer{
		Name: "l", DType: F16, TokensMin: 1, TokensMax: 1 << 20,
		Values: []Value{{"x", 100}, {"y", 200}}, Inputs: []int{0}, Outputs: []int{1},
		Steps: []Step{{X: 0, Y: 1, Residual: NoValue, Out: 200, In: 100, Packings: []Packing{
			{TokensMin: 1, TokensMax: 1 << 20, Kernel: &k, Weights: make([]byte, 400), Lists: index},
		}}},
	}
}

// TestPicked: indices that lead out of the activations are refused, and a launch
// covers more tokens than a grid has rows of blocks.
func TestPicked(t *testing.T) {
	l := pickedLayer()
	require.NoError(t, l.Check())
	s := &l.Steps[0]
	launch, err := s.Packings[0].Kernel.Plan(l.Problem(s, &s.Packings[0], 1<<20), Device{CC: [2]int{8, 0}})
	require.NoError(t, err)
	require.Equal(t, [3]uint32{2, maxGridYZ, 1}, launch.Grid)
	require.EqualValues(t, 400, launch.Args[0].Bytes)
	require.EqualValues(t, 800, launch.Args[1].Bytes)
	for want, edit := range map[string]func(p *Packing){
		"output 1 is input 100 of 100":   func(p *Packing) { p.Lists[1] = 100 },
		"output 199 is input 4294967294": func(p *Packing) { p.Lists[199] = NoInput - 1 },
		"199 indices for 200 outputs":    func(p *Packing) { p.Lists = p.Lists[1:] },
		"0 indices for 200 outputs":      func(p *Packing) { p.Lists = nil },
		"398 bytes of weights":           func(p *Packing) { p.Weights = p.Weights[2:] },
		"0 tokens, want 1":               func(p *Packing) { p.TokensMin = 0 },
	} {
		l := pickedLayer()
		edit(&l.Steps[0].Packings[0])
		require.ErrorContains(t, l.Check(), want)
	}
	for want, p := range map[string]Problem{
		"3 stored blocks, but it takes all": {Out: 200, In: 100, Tokens: 1, Blocks: 3},
		"rows start every 2147483648":       {Out: 200, In: 100, Tokens: 1, XPitch: 1 << 31},
		"a row of the result is 402 bytes":  {Out: 201, In: 100, Tokens: 1},
	} {
		_, err := s.Packings[0].Kernel.Plan(p, Device{CC: [2]int{8, 0}})
		require.ErrorContains(t, err, want)
	}
}
