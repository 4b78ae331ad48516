package patterns

import "math/bits"

// Mask says which elements of a [Rows, Cols] matrix are kept: one bit each,
// row-major, every row starting at a new 64-bit word.
type Mask struct {
	Rows, Cols int
	words      int // 64-bit words a row
	bits       []uint64
}

// NewMask returns a mask of shape [rows, cols] that keeps nothing.
func NewMask(rows, cols int) *Mask {
	w := (cols + 63) / 64
	return &Mask{Rows: rows, Cols: cols, words: w, bits: make([]uint64, rows*w)}
}

// At reports whether element (r, c) is kept.
func (m *Mask) At(r, c int) bool { return m.bits[r*m.words+c>>6]>>(c&63)&1 != 0 }

// Set keeps element (r, c).
func (m *Mask) Set(r, c int) { m.bits[r*m.words+c>>6] |= 1 << (c & 63) }

// Clear drops element (r, c).
func (m *Mask) Clear(r, c int) { m.bits[r*m.words+c>>6] &^= 1 << (c & 63) }

// Row is the words of row r; bit c&63 of word c>>6 is element (r, c). Bits at
// and beyond Cols are zero. The caller must not write to it.
func (m *Mask) Row(r int) []uint64 { return m.bits[r*m.words : (r+1)*m.words] }

// Count is the number of kept elements.
func (m *Mask) Count() int {
	n := 0
	for _, w := range m.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Density is Count over Rows*Cols.
func (m *Mask) Density() float64 {
	if m.Rows == 0 || m.Cols == 0 {
		return 0
	}
	return float64(m.Count()) / float64(m.Rows) / float64(m.Cols)
}
