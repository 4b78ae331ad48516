package layout

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/patterns"
)

// Blocks is weights [Out, In] of which only the k-blocks with kept elements are
// stored, tile by tile: compressed sparse rows of blocks of Format.TileRows by
// Format.KBlock elements. Any pattern can be stored so, and 2:4 within the blocks.
// A tile has at least one block, which is empty where the mask drops all of it.
type Blocks struct {
	Format  Format
	Out, In int
	Start   []uint32 // [tiles + 1]: a tile's first block in Columns, and the end
	Columns []uint32 // k-block of In of each stored block, ascending in a tile
	Packed  []byte   // the stored blocks, Format.BlockBytes each
}

// checkBlocks checks what lists ask of a format: one block a stage and no tiles of
// padding, as neighbouring tiles have different blocks.
func (f Format) checkBlocks() error {
	if f.StageBlocks != 1 || f.Cluster != 1 {
		return fmt.Errorf("layout: lists of blocks with %d blocks a stage and %d tiles a cluster, want 1 of each", f.StageBlocks, f.Cluster)
	}
	return f.Check()
}

// PackBlocks stores the blocks of weights in which the mask keeps something. The
// mask is required; for 2:4 weights it must be 2:4.
func (f Format) PackBlocks(w Matrix, mask *patterns.Mask) (*Blocks, error) {
	if err := f.checkBlocks(); err != nil {
		return nil, err
	}
	if mask == nil {
		return nil, fmt.Errorf("layout: lists of blocks without a mask")
	}
	if err := f.checkWeights(w, mask); err != nil {
		return nil, err
	}
	b := &Blocks{Format: f, Out: w.Rows, In: w.Cols, Start: []uint32{0}}
	s, row := f.newShuffle(), f.newStored(w.Cols)
	tile := make([]byte, f.TileBytes(w.Cols))
	kept := make([]bool, f.Blocks(w.Cols))
	for t := range f.Tiles(w.Rows) {
		clear(kept)
		for i := range f.TileRows {
			row.clear()
			if r := t*f.TileRows + i; r < w.Rows {
				if err := row.load(w.Row(r), mask, r); err != nil {
					return nil, err
				}
				for c := range mask.RowCols(r) {
					kept[c/f.KBlock()] = true
				}
			}
			s.scatter(tile, row, i)
		}
		first := len(b.Columns)
		for c, keep := range kept {
			if keep || c == len(kept)-1 && len(b.Columns) == first {
				b.Columns = append(b.Columns, uint32(c))
				b.Packed = append(b.Packed, tile[c*f.BlockBytes():][:f.BlockBytes()]...)
			}
		}
		b.Start = append(b.Start, uint32(len(b.Columns)))
	}
	return b, nil
}

// Unpack is the inverse of PackBlocks: the weights with zeros where no block is
// stored.
func (b *Blocks) Unpack() (Matrix, error) {
	f := b.Format
	if err := f.checkBlocks(); err != nil {
		return Matrix{}, err
	}
	n, err := f.Bytes(b.Out, b.In)
	if err != nil {
		return Matrix{}, err
	}
	if err := f.CheckLists(b.Lists(), b.Out, b.In, len(b.Columns)); err != nil {
		return Matrix{}, err
	}
	if want := len(b.Columns) * f.BlockBytes(); len(b.Packed) != want {
		return Matrix{}, fmt.Errorf("layout: %d bytes of %d blocks, want %d", len(b.Packed), len(b.Columns), want)
	}
	empty := f.emptyBlock()
	packed := make([]byte, 0, n)
	for t := range f.Tiles(b.Out) {
		stored := b.Columns[b.Start[t]:b.Start[t+1]]
		for c := range f.Blocks(b.In) {
			block := empty
			if len(stored) > 0 && int(stored[0]) == c {
				at := (int(b.Start[t+1]) - len(stored)) * f.BlockBytes()
				block, stored = b.Packed[at:][:f.BlockBytes()], stored[1:]
			}
			packed = append(packed, block...)
		}
	}
	return f.Unpack(packed, b.Out, b.In)
}

// emptyBlock is a block that keeps nothing.
func (f Format) emptyBlock() []byte {
	tile := make([]byte, f.BlockBytes())
	s, row := f.newShuffle(), f.newStored(f.KBlock())
	for r := range f.TileRows {
		s.scatter(tile, row, r)
	}
	return tile
}

// Lists is what a kernel reads beside Packed: Start, then Columns.
func (b *Blocks) Lists() []uint32 {
	return append(b.Start[:len(b.Start):len(b.Start)], b.Columns...)
}

// ListBytes is Lists as a kernel reads them, little-endian.
func (b *Blocks) ListBytes() []byte {
	out := make([]byte, 0, 4*(len(b.Start)+len(b.Columns)))
	for _, v := range b.Lists() {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return out
}

// CheckLists reports lists of n blocks with which a kernel for weights [out, in]
// would read elsewhere or never end: every address that it computes from lists
// that pass lies within them, the packed blocks and the activations.
func (f Format) CheckLists(lists []uint32, out, in, n int) error {
	if err := checkShape(out, in); err != nil {
		return err
	}
	tiles, blocks := f.Tiles(out), f.Blocks(in)
	if n < tiles || int64(n) > min(int64(tiles)*int64(blocks), math.MaxUint32) {
		return fmt.Errorf("layout: %d blocks in %d tiles of at most %d", n, tiles, blocks)
	}
	if want := tiles + 1 + n; len(lists) != want {
		return fmt.Errorf("layout: %d list entries for %d tiles and %d blocks, want %d", len(lists), tiles, n, want)
	}
	start, columns := lists[:tiles+1], lists[tiles+1:]
	if start[0] != 0 || start[tiles] != uint32(n) {
		return fmt.Errorf("layout: tiles' blocks run from %d to %d, want 0 to %d", start[0], start[tiles], n)
	}
	for t := range tiles {
		if start[t] >= start[t+1] || start[t+1] > uint32(n) {
			return fmt.Errorf("layout: tile %d has the blocks from %d to %d of %d", t, start[t], start[t+1], n)
		}
		last := -1
		for _, c := range columns[start[t]:start[t+1]] {
			if int64(c) <= int64(last) || int64(c) >= int64(blocks) {
				return fmt.Errorf("layout: tile %d lists k-block %d after %d, want ascending ones below %d", t, c, last, blocks)
			}
			last = int(c)
		}
	}
	return nil
}
