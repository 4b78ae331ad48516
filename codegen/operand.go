package codegen

import (
	"math/bits"

	"github.com/sparsegen/sparsegen/patterns"
)

// operand is a masked weight matrix as the packers read it: the output rows and
// input columns that take part, in packed order, with what the mask drops set to
// +0.
type operand struct {
	rows  []uint32  // the output row of each packed row
	cols  []uint32  // the input column of each k; nil: all
	out   int       // rows of the whole matrix
	k     int       // packed columns
	v     []float32 // [rows, k]
	kept  []uint64  // [rows, words]: bit k&63 of word k>>6
	words int
}

// newOperand reads what mask keeps of m. Rows in which it keeps nothing are
// left out: they are act(bias) and cost nothing. compact leaves out such columns
// too.
func newOperand(m patterns.Matrix, mask *patterns.Mask, compact bool) *operand {
	o := &operand{out: m.Rows, k: m.Cols, rows: []uint32{}}
	live := make([]uint64, (m.Cols+63)/64)
	for r := range m.Rows {
		any := uint64(0)
		for i, w := range mask.Row(r) {
			any |= w
			live[i] |= w
		}
		if any != 0 {
			o.rows = append(o.rows, uint32(r))
		}
	}
	if len(o.rows) == 0 && m.Rows > 0 { // a form stores something, if only zeros
		o.rows = []uint32{0}
	}
	if compact {
		cols := []uint32{}
		for c := range m.Cols {
			if live[c>>6]>>(c&63)&1 != 0 {
				cols = append(cols, uint32(c))
			}
		}
		if len(cols) == 0 && m.Cols > 0 {
			cols = []uint32{0}
		}
		if len(cols) < m.Cols {
			o.cols, o.k = cols, len(cols)
		}
	}
	o.words = (o.k + 63) / 64
	o.v = make([]float32, len(o.rows)*o.k)
	o.kept = make([]uint64, len(o.rows)*o.words)
	for i, r := range o.rows {
		row := m.Data[int(r)*m.Stride:][:m.Cols]
		v, kept := o.v[i*o.k:][:o.k], o.kept[i*o.words:][:o.words]
		if o.cols == nil {
			copy(kept, mask.Row(int(r)))
			for k := range eachBit(kept) {
				v[k] = row[k]
			}
			continue
		}
		for k, c := range o.cols {
			if mask.At(int(r), int(c)) {
				v[k] = row[c]
				kept[k>>6] |= 1 << (k & 63)
			}
		}
	}
	return o
}

// row is the values and the kept bits of packed row r; a row beyond the last is
// padding, which keeps nothing.
func (o *operand) row(r int) (v []float32, kept []uint64) {
	if r >= len(o.rows) {
		return make([]float32, o.k), make([]uint64, o.words)
	}
	return o.v[r*o.k:][:o.k], o.kept[r*o.words:][:o.words]
}

// block is n consecutive rows from r on.
func (o *operand) block(r, n int) (v [][]float32, kept [][]uint64) {
	for i := range n {
		a, b := o.row(r + i)
		v, kept = append(v, a), append(kept, b)
	}
	return v, kept
}

// stored is how many elements the packed rows from first to end keep.
func (o *operand) stored(first, end int) int {
	n := 0
	for _, w := range o.kept[first*o.words : end*o.words] {
		n += bits.OnesCount64(w)
	}
	return n
}

func isSet(words []uint64, k int) bool { return words[k>>6]>>(k&63)&1 != 0 }

// eachBitIn yields the set bits from k0 up to k1, ascending.
func eachBitIn(words []uint64, k0, k1 int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := k0 >> 6; i<<6 < k1; i++ {
			w := words[i]
			if i == k0>>6 {
				w &= ^uint64(0) << (k0 & 63)
			}
			if end := k1 - i<<6; end < 64 {
				w &= 1<<end - 1
			}
			for ; w != 0; w &= w - 1 {
				if !yield(i<<6 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// eachBit yields the set bits, ascending.
func eachBit(words []uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i, w := range words {
			for ; w != 0; w &= w - 1 {
				if !yield(i<<6 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
