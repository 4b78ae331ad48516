package patterns

import (
	"fmt"
	"iter"
	"math"
	"math/bits"
)

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

// MaskOf returns the mask that keeps what is non-zero in m. Both zeros count as
// zero, NaN does not.
func MaskOf(m Matrix) *Mask {
	k := NewMask(m.Rows, m.Cols)
	for r := range m.Rows {
		row, words := m.Row(r), k.row(r)
		for i := range words {
			var w uint64
			for j, v := range row[i*64 : min(i*64+64, m.Cols)] {
				// The sign bit is shifted out; x|-x has its top bit set
				// exactly where x is not zero. No branch to mispredict.
				x := math.Float32bits(v) << 1
				w |= uint64((x|-x)>>31) << j
			}
			words[i] = w
		}
	}
	return k
}

// At reports whether element (r, c) is kept.
func (m *Mask) At(r, c int) bool { return m.bits[r*m.words+c>>6]>>(c&63)&1 != 0 }

// Set keeps element (r, c).
func (m *Mask) Set(r, c int) { m.bits[r*m.words+c>>6] |= 1 << (c & 63) }

// Clear drops element (r, c).
func (m *Mask) Clear(r, c int) { m.bits[r*m.words+c>>6] &^= 1 << (c & 63) }

// SetRange keeps columns [lo, hi) of row r.
func (m *Mask) SetRange(r, lo, hi int) {
	row := m.row(r)
	for lo < hi {
		n := min(64-lo&63, hi-lo)
		row[lo>>6] |= ^uint64(0) >> (64 - n) << (lo & 63)
		lo += n
	}
}

// Row is the words of row r; bit c&63 of word c>>6 is element (r, c). Bits at
// and beyond Cols are zero. The caller must not write to it.
func (m *Mask) Row(r int) []uint64 { return m.row(r) }

func (m *Mask) row(r int) []uint64 { return m.bits[r*m.words : (r+1)*m.words] }

// field is the n <= 32 columns of row r from column c on, lowest bit first.
func (m *Mask) field(r, c, n int) uint32 {
	i := r*m.words + c>>6
	w := m.bits[i] >> (c & 63)
	if c&63+n > 64 {
		w |= m.bits[i+1] << (64 - c&63)
	}
	return uint32(w & (1<<n - 1))
}

// countIn is the number of kept elements in rows [r0, r1) and columns [c0, c1).
func (m *Mask) countIn(r0, r1, c0, c1 int) int {
	n := 0
	for r := r0; r < r1; r++ {
		row := m.row(r)
		for c := c0; c < c1; {
			k := min(64-c&63, c1-c)
			n += bits.OnesCount64(row[c>>6] >> (c & 63) << (64 - k))
			c += k
		}
	}
	return n
}

// anyIn reports whether an element of rows [r0, r1), columns [c0, c1) is kept.
func (m *Mask) anyIn(r0, r1, c0, c1 int) bool {
	for r := r0; r < r1; r++ {
		row := m.row(r)
		for c := c0; c < c1; {
			k := min(64-c&63, c1-c)
			if row[c>>6]>>(c&63)<<(64-k) != 0 {
				return true
			}
			c += k
		}
	}
	return false
}

// Count is the number of kept elements.
func (m *Mask) Count() int {
	n := 0
	for _, w := range m.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// RowCount is the number of kept elements of row r.
func (m *Mask) RowCount(r int) int {
	n := 0
	for _, w := range m.row(r) {
		n += bits.OnesCount64(w)
	}
	return n
}

// ColCount is the number of kept elements of column c.
func (m *Mask) ColCount(c int) int {
	n := 0
	for r := range m.Rows {
		n += int(m.bits[r*m.words+c>>6] >> (c & 63) & 1)
	}
	return n
}

// ColCounts is the number of kept elements of every column, [Cols].
func (m *Mask) ColCounts() []int {
	n := make([]int, m.Cols)
	for r := range m.Rows {
		for c := range m.RowCols(r) {
			n[c]++
		}
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

// RowCols yields the kept columns of row r, ascending.
func (m *Mask) RowCols(r int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range m.row(r) {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// All yields row and column of every kept element, row by row.
func (m *Mask) All() iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for r := range m.Rows {
			for c := range m.RowCols(r) {
				if !yield(r, c) {
					return
				}
			}
		}
	}
}

// coords yields each c < n for which an element is kept in rows [r0, r1) and the
// span columns from (base+c)*span on, ascending.
func (m *Mask) coords(r0, r1, base, n, span int) iter.Seq[int] {
	return func(yield func(int) bool) {
		end := (base + n) * span
		for at := base * span; at < end; {
			first := end
			for r := r0; r < r1; r++ {
				first = m.next(r, at, first)
			}
			if first == end {
				return
			}
			c := first / span
			if !yield(c - base) {
				return
			}
			at = (c + 1) * span
		}
	}
}

// next is the first kept column of row r in [from, end), or end.
func (m *Mask) next(r, from, end int) int {
	row := m.row(r)
	for c := from; c < end; c = c&^63 + 64 {
		if w := row[c>>6] >> (c & 63); w != 0 {
			return min(c+bits.TrailingZeros64(w), end)
		}
	}
	return end
}

// Clone returns a copy.
func (m *Mask) Clone() *Mask {
	k := *m
	k.bits = append([]uint64(nil), m.bits...)
	return &k
}

// Equal reports whether both masks have one shape and keep the same elements.
func (m *Mask) Equal(o *Mask) bool {
	return m.Rows == o.Rows && m.Cols == o.Cols && m.none(o, func(a, b uint64) uint64 { return a ^ b })
}

// And drops from m what o does not keep. Both have one shape.
func (m *Mask) And(o *Mask) { m.combine(o, func(a, b uint64) uint64 { return a & b }) }

// Or also keeps in m what o keeps. Both have one shape.
func (m *Mask) Or(o *Mask) { m.combine(o, func(a, b uint64) uint64 { return a | b }) }

// AndNot drops from m what o keeps. Both have one shape.
func (m *Mask) AndNot(o *Mask) { m.combine(o, func(a, b uint64) uint64 { return a &^ b }) }

// Within reports whether o keeps everything that m keeps. Both have one shape.
func (m *Mask) Within(o *Mask) bool {
	m.sameShape(o)
	return m.none(o, func(a, b uint64) uint64 { return a &^ b })
}

func (m *Mask) combine(o *Mask, f func(a, b uint64) uint64) {
	m.sameShape(o)
	for i, w := range o.bits {
		m.bits[i] = f(m.bits[i], w)
	}
}

func (m *Mask) none(o *Mask, f func(a, b uint64) uint64) bool {
	for i, w := range o.bits {
		if f(m.bits[i], w) != 0 {
			return false
		}
	}
	return true
}

// sameShape panics on a programmer's mistake, as an index out of range would.
func (m *Mask) sameShape(o *Mask) {
	if m.Rows != o.Rows || m.Cols != o.Cols {
		panic(fmt.Sprintf("patterns: masks of shape [%d, %d] and [%d, %d]", m.Rows, m.Cols, o.Rows, o.Cols))
	}
}

// Apply sets to +0 every element of w, [Rows, Cols], that the mask drops.
func (m *Mask) Apply(w Matrix) {
	for r := range m.Rows {
		row := w.Row(r)
		for i, k := range m.row(r) {
			n := min(64, m.Cols-i*64)
			for d := ^k & (^uint64(0) >> (64 - n)); d != 0; d &= d - 1 {
				row[i*64+bits.TrailingZeros64(d)] = 0
			}
		}
	}
}

// indicator is the matrix that is 1 where the mask keeps and 0 elsewhere.
func (m *Mask) indicator() Matrix {
	w := NewMatrix(m.Rows, m.Cols)
	for r, c := range m.All() {
		w.Data[r*m.Cols+c] = 1
	}
	return w
}

// RowCounts is the number of kept elements of every row, [Rows].
func (m *Mask) RowCounts() []int {
	n := make([]int, m.Rows)
	for r := range n {
		n[r] = m.RowCount(r)
	}
	return n
}
