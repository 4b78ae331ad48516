package layout

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/patterns"
)

// Pack lays out weights of shape [Out, In]. What the mask drops becomes zero. The
// mask of 2:4 weights is required and must be 2:4; else nil keeps everything.
func (f Format) Pack(w Matrix, mask *patterns.Mask) ([]byte, error) {
	if err := f.checkWeights(w, mask); err != nil {
		return nil, err
	}
	n, err := f.Bytes(w.Rows, w.Cols)
	if err != nil {
		return nil, err
	}
	packed := make([]byte, n)
	s := f.newShuffle()
	row := f.newStored(w.Cols)
	for r := range f.Tiles(w.Rows) * f.TileRows {
		row.clear()
		if r < w.Rows {
			if err := row.load(w.Row(r), mask, r); err != nil {
				return nil, err
			}
		}
		tile := packed[int64(r/f.TileRows)*f.TileBytes(w.Cols):]
		s.scatter(tile, row, r%f.TileRows)
	}
	return packed, nil
}

// Unpack is the inverse of Pack: the weights with zeros where the mask dropped.
// It reports metadata that is no ordered pair and padding that is not empty.
func (f Format) Unpack(packed []byte, out, in int) (Matrix, error) {
	n, err := f.Bytes(out, in)
	if err != nil {
		return Matrix{}, err
	}
	if int64(len(packed)) != n {
		return Matrix{}, fmt.Errorf("layout: %d bytes of packed weights [%d, %d], want %d", len(packed), out, in, n)
	}
	if f.Sparse && in%group != 0 {
		return Matrix{}, fmt.Errorf("layout: 2:4 weights with %d columns", in)
	}
	w := NewMatrix(out, in, f.Size)
	s := f.newShuffle()
	row, empty := f.newStored(in), f.newStored(in)
	for r := range f.Tiles(out) * f.TileRows {
		s.gather(packed[int64(r/f.TileRows)*f.TileBytes(in):], row, r%f.TileRows)
		stored := 0
		if r < out {
			stored = in
			if err := row.store(w.Row(r), r); err != nil {
				return Matrix{}, err
			}
		}
		if !row.sameFrom(empty, stored) {
			return Matrix{}, fmt.Errorf("layout: padding of row %d, from column %d on, is not empty", r, stored)
		}
	}
	return w, nil
}

func (f Format) checkWeights(w Matrix, mask *patterns.Mask) error {
	if err := f.Check(); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	if w.Size != f.Size {
		return fmt.Errorf("layout: weights of %d-byte elements for a format of %d", w.Size, f.Size)
	}
	if f.Sparse {
		return checkSparse(w, mask)
	}
	if mask != nil && (mask.Rows != w.Rows || mask.Cols != w.Cols) {
		return fmt.Errorf("layout: mask [%d, %d] for weights [%d, %d]", mask.Rows, mask.Cols, w.Rows, w.Cols)
	}
	return nil
}

// stored is one row of weights as it is stored, padding included, before it is
// shuffled into k-blocks.
type stored struct {
	size    int
	sparse  bool
	bytes   []byte  // [Blocks][RowBytes]
	nibbles []uint8 // one a group of logical columns; none without sparsity
}

func (f Format) newStored(in int) *stored {
	n := f.Blocks(in)
	s := &stored{size: f.Size, sparse: f.Sparse, bytes: make([]byte, n*f.RowBytes)}
	if f.Sparse {
		s.nibbles = make([]uint8, n*f.KBlock()/group)
	}
	s.clear()
	return s
}

func (s *stored) clear() {
	clear(s.bytes)
	for i := range s.nibbles {
		s.nibbles[i] = emptyNibble
	}
}

// load fills a cleared row from row r of the weights and the mask.
func (s *stored) load(codes []byte, mask *patterns.Mask, r int) error {
	if s.sparse {
		return compressRow(s.bytes, s.nibbles, codes, s.size, mask, r)
	}
	if mask == nil {
		copy(s.bytes, codes)
		return nil
	}
	for c := range mask.RowCols(r) {
		copy(s.bytes[c*s.size:][:s.size], codes[c*s.size:])
	}
	return nil
}

// store is the inverse of load; codes is zero.
func (s *stored) store(codes []byte, r int) error {
	if s.sparse {
		return decompressRow(codes, s.bytes, s.nibbles, s.size, r)
	}
	copy(codes, s.bytes)
	return nil
}

// sameFrom reports whether two rows agree from logical column c on.
func (s *stored) sameFrom(o *stored, c int) bool {
	if !s.sparse {
		return slices.Equal(s.bytes[c*s.size:], o.bytes[c*s.size:])
	}
	return slices.Equal(s.bytes[c/group*kept*s.size:], o.bytes[c/group*kept*s.size:]) &&
		slices.Equal(s.nibbles[c/group:], o.nibbles[c/group:])
}

// shuffle is where the parts of a row lie in a k-block. A piece is what stays
// together in every order: pieces of stored bytes, and the nibbles of four
// groups, which are half a metadata word in either element size.
type shuffle struct {
	block, rowBytes  int
	piece            int
	pieces, quads    int   // of each a row
	pieceAt, nibbles []int // [TileRows][pieces], [TileRows][quads]
}

const quad = 4 // groups

func (f Format) newShuffle() shuffle {
	s := shuffle{block: f.BlockBytes(), rowBytes: f.RowBytes, piece: chunk}
	if f.Order == FragmentMajor {
		s.piece = 4 // a register
	}
	s.pieces = f.RowBytes / s.piece
	if f.Sparse {
		s.quads = f.KBlock() / group / quad
	}
	meta := Metadata(f.Size)
	for r := range f.TileRows {
		for p := range s.pieces {
			s.pieceAt = append(s.pieceAt, f.AOffset(r, p*s.piece))
		}
		for q := range s.quads {
			g := q * quad
			lane, i := meta.Find(r%fragmentRows, g%meta.Cols)
			at := f.MetaOffset(g/meta.Cols, r/fragmentRows*meta.Threads+lane)
			s.nibbles = append(s.nibbles, at+i/2)
		}
	}
	return s
}

// scatter writes row r of a tile, whose k-blocks begin at tile[0].
func (s shuffle) scatter(tile []byte, row *stored, r int) {
	for k := range len(row.bytes) / s.rowBytes {
		block := tile[k*s.block:][:s.block]
		for p, at := range s.pieceAt[r*s.pieces:][:s.pieces] {
			copy(block[at:][:s.piece], row.bytes[k*s.rowBytes+p*s.piece:])
		}
		for q, at := range s.nibbles[r*s.quads:][:s.quads] {
			n := row.nibbles[(k*s.quads+q)*quad:][:quad]
			binary.LittleEndian.PutUint16(block[at:], uint16(n[0])|uint16(n[1])<<4|uint16(n[2])<<8|uint16(n[3])<<12)
		}
	}
}

// gather is the inverse of scatter.
func (s shuffle) gather(tile []byte, row *stored, r int) {
	for k := range len(row.bytes) / s.rowBytes {
		block := tile[k*s.block:][:s.block]
		for p, at := range s.pieceAt[r*s.pieces:][:s.pieces] {
			copy(row.bytes[k*s.rowBytes+p*s.piece:][:s.piece], block[at:])
		}
		for q, at := range s.nibbles[r*s.quads:][:s.quads] {
			v := binary.LittleEndian.Uint16(block[at:])
			for i := range quad {
				row.nibbles[(k*s.quads+q)*quad+i] = uint8(v >> (4 * i) & 15)
			}
		}
	}
}
