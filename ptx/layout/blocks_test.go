package layout

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// blockMask keeps each block of rows by cols elements with probability p, and of
// 2:4 weights two of four within it.
func blockMask(rng *rand.Rand, out, in, rows, cols int, p float64, sparse bool) *patterns.Mask {
	m := patterns.NewMask(out, in)
	for r := 0; r < out; r += rows {
		for c := 0; c < in; c += cols {
			if rng.Float64() >= p {
				continue
			}
			for i := r; i < min(r+rows, out); i++ {
				for j := c; j < min(c+cols, in); j++ {
					if !sparse || j%4 == i%2 || j%4 == 2 {
						m.Set(i, j)
					}
				}
			}
		}
	}
	return m
}

func TestPackBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, x := range []struct {
		size    int
		sparse  bool
		out, in int
		p       float64
	}{
		{2, false, 256, 512, 0.3}, {2, true, 300, 520, 0.5}, {1, false, 130, 1000, 0.2}, {1, true, 128, 128, 1}, {2, false, 400, 640, 0}, {1, true, 129, 132, 0.1},
	} {
		f := Format{Size: x.size, Sparse: x.sparse, TileRows: 128, RowBytes: 128, StageBlocks: 1, Cluster: 1}
		if x.sparse {
			f.RowBytes = 64
		}
		w := NewMatrix(x.out, x.in, x.size)
		for i := range w.Data {
			w.Data[i] = byte(rng.IntN(255) + 1)
		}
		mask := blockMask(rng, x.out, x.in, 64, f.KBlock(), x.p, x.sparse)
		b, err := f.PackBlocks(w, mask)
		require.NoError(t, err)
		require.NoError(t, f.CheckLists(b.Lists(), x.out, x.in, len(b.Columns)))
		require.Len(t, b.ListBytes(), 4*len(b.Lists()))
		got, err := b.Unpack()
		require.NoError(t, err)
		want := NewMatrix(x.out, x.in, x.size)
		for r := range x.out {
			for c := range mask.RowCols(r) {
				copy(want.Row(r)[c*x.size:][:x.size], w.Row(r)[c*x.size:])
			}
		}
		require.Equal(t, want, got)
		// The stored blocks are those of the full packing.
		full, err := f.Pack(w, mask)
		require.NoError(t, err)
		for tile := range f.Tiles(x.out) {
			for i := b.Start[tile]; i < b.Start[tile+1]; i++ {
				at := tile*int(f.TileBytes(x.in)) + int(b.Columns[i])*f.BlockBytes()
				require.Equal(t, full[at:at+f.BlockBytes()], b.Packed[int(i)*f.BlockBytes():][:f.BlockBytes()])
			}
		}
		if x.p == 0 {
			require.Len(t, b.Columns, f.Tiles(x.out), "an empty tile stores one block")
		}
	}
}

func TestCheckLists(t *testing.T) {
	f := Format{Size: 2, TileRows: 128, RowBytes: 128, StageBlocks: 1, Cluster: 1}
	good := []uint32{0, 2, 3, 0, 3, 1} // 2 tiles, 3 blocks of 4
	require.NoError(t, f.CheckLists(good, 256, 256, 3))
	for _, x := range []struct {
		want string
		n    int
		edit func([]uint32) []uint32
	}{
		{"1 blocks in 2 tiles", 1, func(l []uint32) []uint32 { return l }},
		{"9 blocks in 2 tiles of at most 4", 9, func(l []uint32) []uint32 { return l }},
		{"5 list entries", 3, func(l []uint32) []uint32 { return l[:5] }},
		{"run from 1 to 3", 3, func(l []uint32) []uint32 { l[0] = 1; return l }},
		{"run from 0 to 4", 3, func(l []uint32) []uint32 { l[2] = 4; return l }},
		{"tile 0 has the blocks from 0 to 0", 3, func(l []uint32) []uint32 { l[1] = 0; return l }},
		{"tile 0 has the blocks from 0 to 4000000000", 3, func(l []uint32) []uint32 { l[1] = 4000000000; return l }},
		{"tile 0 lists k-block 4 after 0", 3, func(l []uint32) []uint32 { l[4] = 4; return l }},
		{"tile 0 lists k-block 0 after 0", 3, func(l []uint32) []uint32 { l[4] = 0; return l }},
		{"tile 1 lists k-block 4294967295 after -1", 3, func(l []uint32) []uint32 { l[5] = 1<<32 - 1; return l }},
	} {
		require.ErrorContains(t, f.CheckLists(x.edit(append([]uint32(nil), good...)), 256, 256, x.n), x.want)
	}
	_, err := f.PackBlocks(NewMatrix(8, 8, 2), nil)
	require.ErrorContains(t, err, "without a mask")
	f.StageBlocks = 2
	_, err = f.PackBlocks(NewMatrix(8, 8, 2), patterns.NewMask(8, 8))
	require.ErrorContains(t, err, "2 blocks a stage")
	_, err = (&Blocks{Format: f}).Unpack()
	require.ErrorContains(t, err, "2 blocks a stage")
	f.StageBlocks = 1
	_, err = (&Blocks{Format: f, Out: 128, In: 64, Start: []uint32{0, 1}, Columns: []uint32{0}, Packed: make([]byte, 5)}).Unpack()
	require.ErrorContains(t, err, "5 bytes of 1 blocks")
}
