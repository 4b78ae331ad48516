package layout

import (
	"fmt"
	"math"
)

// Order is how the weights of a k-block lie in it.
type Order uint8

const (
	// Swizzled: rows of RowBytes, their chunks permuted by the swizzle of that
	// width, as a tensor copy would have written them. wgmma reads them through a
	// descriptor, ldmatrix through RowsFirst without bank conflicts.
	Swizzled Order = iota
	// FragmentMajor: for every 16 rows by 32 bytes the registers of FragmentA,
	// [RowBytes/32] [32 lanes] [16 bytes], so that a lane loads the A operand of
	// one mma or mma.sp with one 16-byte load, past shared memory.
	FragmentMajor
)

// Format says how weights [Out, In] are packed for a kernel whose operand A they
// are:
//
//	[tile of TileRows rows of Out] [k-block] { A, metadata }
//
// A is TileRows by RowBytes stored bytes in the Order; a k-block holds In/KBlock
// columns of a row. Metadata, of 2:4 weights only, follows as
// [128 bytes of logical K] [16 rows] [lane] [register] 32-bit words, those of
// Metadata: 64 rows are the [warp][lane] of a warpgroup. One linear copy fetches
// any number of consecutive k-blocks with all that belongs to them.
//
// Out is padded with zeros to a multiple of Cluster tiles and In to a multiple of
// StageBlocks k-blocks, so that no kernel needs a case for the tail.
type Format struct {
	Size        int // bytes an element: 1 or 2
	Sparse      bool
	Order       Order
	TileRows    int // multiple of 16, at most 256; of 64 for wgmma
	RowBytes    int // stored bytes of a row in a k-block: 64 or 128
	StageBlocks int // k-blocks that a kernel fetches at once, 1..64
	Cluster     int // tiles that a cluster of CTAs takes at once, 1..16
}

const (
	maxTileRows    = 256
	maxStageBlocks = 64
	maxCluster     = 16
	fragmentRows   = 16
	fragmentBytes  = 32 // of K, in an A fragment
	unitBytes      = 64 // of stored K, for which a Metadata fragment holds the nibbles
)

// Check reports a field outside its range, or a k-block whose size would move the
// next one off the swizzle's alignment.
func (f Format) Check() error {
	if err := checkSize(f.Size); err != nil {
		return err
	}
	switch {
	case f.Order > FragmentMajor:
		return fmt.Errorf("layout: order %d", uint8(f.Order))
	case f.TileRows < fragmentRows || f.TileRows > maxTileRows || f.TileRows%fragmentRows != 0:
		return fmt.Errorf("layout: tiles of %d rows, want a multiple of %d up to %d", f.TileRows, fragmentRows, maxTileRows)
	case f.RowBytes != 64 && f.RowBytes != 128:
		return fmt.Errorf("layout: k-blocks of %d bytes a row, want 64 or 128", f.RowBytes)
	case f.StageBlocks < 1 || f.StageBlocks > maxStageBlocks:
		return fmt.Errorf("layout: stages of %d k-blocks, want 1..%d", f.StageBlocks, maxStageBlocks)
	case f.Cluster < 1 || f.Cluster > maxCluster:
		return fmt.Errorf("layout: clusters of %d tiles, want 1..%d", f.Cluster, maxCluster)
	case f.BlockBytes()%f.Align() != 0:
		return fmt.Errorf("layout: k-blocks of %d bytes, want a multiple of the alignment %d", f.BlockBytes(), f.Align())
	}
	return nil
}

// Swizzle is that of the k-block's rows.
func (f Format) Swizzle() Swizzle {
	if f.Order == FragmentMajor {
		return SwizzleNone
	}
	if f.RowBytes == 64 {
		return Swizzle64B
	}
	return Swizzle128B
}

// Align is what the address of a k-block must be a multiple of.
func (f Format) Align() int { return f.Swizzle().Align() }

// KBlock is the columns of In in a k-block.
func (f Format) KBlock() int {
	if f.Sparse {
		return f.RowBytes / f.Size * group / kept
	}
	return f.RowBytes / f.Size
}

// ABytes is the size of a k-block's weights, and the offset of its metadata.
func (f Format) ABytes() int { return f.TileRows * f.RowBytes }

// MetaBytes is the size of a k-block's metadata, 0 without sparsity.
func (f Format) MetaBytes() int {
	if !f.Sparse {
		return 0
	}
	return f.RowBytes / unitBytes * f.unitMetaBytes()
}

// unitMetaBytes is the metadata of a tile for 128 logical bytes of K.
func (f Format) unitMetaBytes() int {
	m := Metadata(f.Size)
	return f.TileRows / fragmentRows * m.Threads * m.Regs() * 4
}

// BlockBytes is the size of a k-block, weights and metadata.
func (f Format) BlockBytes() int { return f.ABytes() + f.MetaBytes() }

// StageBytes is the size of what a kernel fetches at once.
func (f Format) StageBytes() int { return f.StageBlocks * f.BlockBytes() }

// Tiles is the number of tiles that out rows take, those of padding included.
func (f Format) Tiles(out int) int {
	return ceil(out, f.TileRows*f.Cluster) * f.Cluster
}

// Stages is the number of stages that in columns take.
func (f Format) Stages(in int) int { return ceil(in, f.KBlock()*f.StageBlocks) }

// Blocks is the number of k-blocks that in columns take, those of padding
// included.
func (f Format) Blocks(in int) int { return f.Stages(in) * f.StageBlocks }

// TileBytes is the distance from tile to tile.
func (f Format) TileBytes(in int) int64 { return int64(f.Blocks(in)) * int64(f.BlockBytes()) }

// Bytes is the size of packed weights of shape [out, in].
func (f Format) Bytes(out, in int) (int64, error) {
	if err := f.Check(); err != nil {
		return 0, err
	}
	if err := checkShape(out, in); err != nil {
		return 0, err
	}
	// Padded, that is below 2^29 rows of below 2^31 bytes: the product fits.
	n := int64(f.Tiles(out)) * f.TileBytes(in)
	if n > math.MaxInt {
		return 0, fmt.Errorf("layout: packed weights [%d, %d] of %d bytes exceed this machine's addresses", out, in, n)
	}
	return n, nil
}

// Operand is one k-block's weights as operand A of wgmma; MetadataWords beside
// it are at ABytes. The order is Swizzled.
func (f Format) Operand() Operand {
	return Operand{Major: KMajor, Swizzle: f.Swizzle(), Rows: f.TileRows, K: f.RowBytes / f.Size, Size: f.Size}
}

// AOffset is where stored byte b, below RowBytes, of a tile's row lies in a
// k-block.
func (f Format) AOffset(row, b int) int {
	if f.Order == Swizzled {
		return f.Swizzle().Offset(row, b)
	}
	lane, i := FragmentA(1).Find(row%fragmentRows, b%fragmentBytes)
	slice := row/fragmentRows*(f.RowBytes/fragmentBytes) + b/fragmentBytes
	return slice*fragmentRows*fragmentBytes + lane*fragmentRows + i
}

// MetaOffset is where a thread's first metadata word for the unit-th 128 logical
// bytes of a k-block lies in it; its other registers follow. Thread t holds the
// metadata of rows 16*(t/32)..+15 of the tile.
func (f Format) MetaOffset(unit, thread int) int {
	return f.ABytes() + unit*f.unitMetaBytes() + thread*Metadata(f.Size).Regs()*4
}

func ceil(a, b int) int { return (a + b - 1) / b }
