package layout

import (
	"fmt"

	"github.com/sparsegen/sparsegen/patterns"
)

// Of each 4 consecutive columns a 2:4 matrix keeps at most 2. Its compressed form
// is the two values and a nibble: the position of the first value in bits 0 and
// 1, that of the second, which is higher, in bits 2 and 3 (PTX ISA, sparse matrix
// storage of mma.sp and wgmma.mma_async.sp).
const (
	group = 4
	kept  = 2
)

// emptyNibble stands for a group without a value: positions 0 and 1. Nibbles in
// which both positions are equal are outside the ISA even for zero values.
const emptyNibble = 0x4

// nibbles is the code for each set of kept positions (bit i: column i of the
// group), 0 where more than two are kept. A lone value is paired with the last
// column, or with the first if it is the last.
var nibbles = [16]uint8{
	0b0000: emptyNibble,
	0b0001: 0xc, 0b0010: 0xd, 0b0100: 0xe, 0b1000: 0xc,
	0b0011: 0x4, 0b0101: 0x8, 0b1001: 0xc, 0b0110: 0x9, 0b1010: 0xd, 0b1100: 0xe,
}

// Compressed is a 2:4 matrix of shape [Rows, Cols], compressed.
type Compressed struct {
	Values  Matrix  // [Rows, Cols/2]
	Nibbles []uint8 // [Rows, Cols/4], one a byte; row-major without gaps
}

// Compress keeps of w what the mask keeps. The mask must be 2:4 and of w's shape;
// the first group that is not is reported with its row and column.
func Compress(w Matrix, mask *patterns.Mask) (*Compressed, error) {
	if err := checkSparse(w, mask); err != nil {
		return nil, err
	}
	c := &Compressed{NewMatrix(w.Rows, w.Cols/group*kept, w.Size), make([]uint8, w.Rows*w.Cols/group)}
	for r := range w.Rows {
		if err := compressRow(c.Values.Row(r), c.nibbleRow(r), w.Row(r), w.Size, mask, r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Decompress is the inverse of Compress: w with zeros where the mask drops.
// Values whose nibble is not an ordered pair are an error.
func (c *Compressed) Decompress() (Matrix, error) {
	if err := c.Values.check(); err != nil {
		return Matrix{}, err
	}
	if c.Values.Cols%kept != 0 || len(c.Nibbles) != c.Values.Rows*c.Values.Cols/kept {
		return Matrix{}, fmt.Errorf("layout: compressed values [%d, %d] with %d nibbles", c.Values.Rows, c.Values.Cols, len(c.Nibbles))
	}
	w := NewMatrix(c.Values.Rows, c.Values.Cols/kept*group, c.Values.Size)
	for r := range w.Rows {
		if err := decompressRow(w.Row(r), c.Values.Row(r), c.nibbleRow(r), w.Size, r); err != nil {
			return Matrix{}, err
		}
	}
	return w, nil
}

func (c *Compressed) nibbleRow(r int) []uint8 {
	n := c.Values.Cols / kept
	return c.Nibbles[r*n : (r+1)*n]
}

func checkSparse(w Matrix, mask *patterns.Mask) error {
	if err := w.check(); err != nil {
		return err
	}
	if mask == nil {
		return fmt.Errorf("layout: 2:4 weights without a mask")
	}
	if mask.Rows != w.Rows || mask.Cols != w.Cols {
		return fmt.Errorf("layout: mask [%d, %d] for weights [%d, %d]", mask.Rows, mask.Cols, w.Rows, w.Cols)
	}
	if err := patterns.MustParse("nm(2,4)").Validate(w.Rows, w.Cols); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	return nil
}

// compressRow compresses row r of the mask's matrix: codes to values, which holds
// half as many and is zero, and to nib, one nibble a group.
func compressRow(values []byte, nib []uint8, codes []byte, size int, mask *patterns.Mask, r int) error {
	words := mask.Row(r)
	for g := range len(codes) / size / group {
		set := words[g/16] >> (g % 16 * group) & 15
		n := nibbles[set]
		if n == 0 {
			return fmt.Errorf("layout: row %d keeps more than 2 of columns %d..%d, not 2:4", r, g*group, g*group+group-1)
		}
		nib[g] = n
		for i, pos := range [kept]uint8{n & 3, n >> 2} {
			if set>>pos&1 != 0 {
				copy(values[(g*kept+i)*size:][:size], codes[(g*group+int(pos))*size:])
			}
		}
	}
	return nil
}

// decompressRow is the inverse of compressRow; codes is zero.
func decompressRow(codes, values []byte, nib []uint8, size, r int) error {
	for g := range len(codes) / size / group {
		n := nib[g]
		if n > 15 || n&3 >= n>>2 {
			return fmt.Errorf("layout: row %d, columns %d..%d: metadata %#x is not an ordered pair of positions", r, g*group, g*group+group-1, n)
		}
		for i, pos := range [kept]uint8{n & 3, n >> 2} {
			copy(codes[(g*group+int(pos))*size:][:size], values[(g*kept+i)*size:])
		}
	}
	return nil
}
