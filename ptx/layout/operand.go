package layout

import "fmt"

// Major says along which dimension an operand's elements are contiguous.
type Major uint8

const (
	KMajor  Major = iota // along K, the reduction dimension
	MNMajor              // along M or N; only for elements of two bytes
)

// Operand is a tile of a wgmma operand in shared memory: Rows of M or N by K
// columns. The tile is made of boxes as tensor copies write them, one behind the
// other: K-major boxes are Rows by Swizzle.Span() bytes of K, MN-major boxes
// Swizzle.Span() bytes of M or N by K. Without a swizzle a K-major box is Rows by
// one 16-byte chunk, which stacks the core matrices.
type Operand struct {
	Major   Major
	Swizzle Swizzle
	Rows    int // extent in M or N
	K       int // extent in K; for a 2:4 operand, its compressed columns
	Size    int // bytes an element
}

// Check reports why the tile has no descriptor.
func (o Operand) Check() error {
	if err := checkSize(o.Size); err != nil {
		return err
	}
	span := o.Swizzle.Span()
	switch {
	case o.Swizzle > Swizzle128B:
		return fmt.Errorf("layout: swizzle %d", uint8(o.Swizzle))
	case o.Major > MNMajor:
		return fmt.Errorf("layout: major %d", uint8(o.Major))
	case o.Rows < 8 || o.Rows%8 != 0:
		return fmt.Errorf("layout: operand of %d rows, want a positive multiple of 8", o.Rows)
	case o.Major == KMajor && (o.K < 1 || o.K*o.Size%max(32, span) != 0):
		return fmt.Errorf("layout: operand of %d bytes of K, want a positive multiple of %d", o.K*o.Size, max(32, span))
	case o.Major == MNMajor && o.Size != 2:
		return fmt.Errorf("layout: MN-major operand of %d-byte elements, want 2", o.Size)
	case o.Major == MNMajor && o.Swizzle == SwizzleNone:
		return fmt.Errorf("layout: MN-major operand without a swizzle")
	case o.Major == MNMajor && o.Rows*o.Size%span != 0:
		return fmt.Errorf("layout: MN-major operand of %d bytes of M or N, want a multiple of %d", o.Rows*o.Size, span)
	case o.Major == MNMajor && (o.K < 8 || o.K%8 != 0):
		return fmt.Errorf("layout: MN-major operand of %d columns of K, want a positive multiple of 8", o.K)
	case o.Rows > maxExtent/o.K/o.Size:
		return fmt.Errorf("layout: operand [%d, %d] is too large", o.Rows, o.K)
	}
	return nil
}

// Bytes is the size of the tile.
func (o Operand) Bytes() int { return o.Rows * o.K * o.Size }

// Offset is where element (row, k) lies from the tile's base, which is a multiple
// of Swizzle.Align().
func (o Operand) Offset(row, k int) int {
	line, at, lines := row, k*o.Size, o.Rows
	if o.Major == MNMajor {
		line, at, lines = k, row*o.Size, o.K
	}
	span := o.Swizzle.Span()
	return o.Swizzle.Addr(at/span*lines*span + line*span + at%span)
}

// Descriptor describes the whole tile at address start.
func (o Operand) Descriptor(start uint32) (Descriptor, error) {
	if err := o.Check(); err != nil {
		return Descriptor{}, err
	}
	if int(start)%o.Swizzle.Align() != 0 {
		return Descriptor{}, fmt.Errorf("layout: tile at address %d, want a multiple of %d", start, o.Swizzle.Align())
	}
	d := Descriptor{Start: start, LBO: chunk, SBO: uint32(8 * o.Swizzle.Span()), Swizzle: o.Swizzle}
	switch {
	case o.Major == MNMajor:
		d.LBO = uint32(o.K * o.Swizzle.Span()) // from box to box
	case o.Swizzle == SwizzleNone:
		d.LBO = uint32(o.Rows * chunk) // from chunk to chunk along K
	}
	return d, d.Check()
}

// Advance is what to add to the low word of the tile's descriptor so that it
// describes the part that begins at element (row, k): a warpgroup's 64 rows, or
// the next instruction's columns. A kernel adds it to a register, so parts must
// be reachable without touching the swizzle's phase.
func (o Operand) Advance(row, k int) (uint32, error) {
	if err := o.Check(); err != nil {
		return 0, err
	}
	rows, ks := 8, 32/o.Size
	if o.Major == MNMajor {
		rows, ks = o.Swizzle.Span()/o.Size, 8
	}
	switch {
	case row < 0 || row >= o.Rows || k < 0 || k >= o.K:
		return 0, fmt.Errorf("layout: part at (%d, %d) of operand [%d, %d]", row, k, o.Rows, o.K)
	case row%rows != 0 || k%ks != 0:
		return 0, fmt.Errorf("layout: part at (%d, %d), want multiples of (%d, %d)", row, k, rows, ks)
	}
	return uint32(o.Offset(row, k)) / chunk, nil
}
