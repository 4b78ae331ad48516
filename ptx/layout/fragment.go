package layout

import "fmt"

// Fragment says which elements of a tile the threads of a warp or warpgroup
// hold: a bijection between (thread, i) and (row, column), where i counts a
// thread's elements in the order of its registers, the lowest bits of a register
// first. Thread 32*warp+lane is lane lane of warp warp.
type Fragment struct {
	Rows, Cols int
	Threads    int
	Elems      int // elements a thread
	PerReg     int // elements a 32-bit register

	thread, elem []mode
}

// mode is one digit of a thread's or element's number: n values, each of which
// moves by row rows or col columns (one of the two is 0). The first mode is the
// lowest digit. A row or column number has the digits of all its modes, which
// makes the map invertible.
type mode struct{ n, row, col int }

func newFragment(perReg int, thread, elem []mode) Fragment {
	f := Fragment{Rows: 1, Cols: 1, PerReg: perReg, thread: thread, elem: elem}
	product := func(modes []mode) int {
		n := 1
		for _, m := range modes {
			n *= m.n
			if m.row > 0 {
				f.Rows *= m.n
			} else {
				f.Cols *= m.n
			}
		}
		return n
	}
	f.Threads, f.Elems = product(thread), product(elem)
	return f
}

// Regs is the number of 32-bit registers that a thread's elements take.
func (f Fragment) Regs() int { return (f.Elems + f.PerReg - 1) / f.PerReg }

// At is the row and column of element i of a thread.
func (f Fragment) At(thread, i int) (row, col int) {
	if uint(thread) >= uint(f.Threads) || uint(i) >= uint(f.Elems) {
		panic(fmt.Sprintf("layout: thread %d, element %d of a fragment of %d threads with %d", thread, i, f.Threads, f.Elems))
	}
	walk := func(modes []mode, v int) {
		for _, m := range modes {
			d := v % m.n
			v /= m.n
			row += d * m.row
			col += d * m.col
		}
	}
	walk(f.thread, thread)
	walk(f.elem, i)
	return row, col
}

// Find is the inverse of At.
func (f Fragment) Find(row, col int) (thread, i int) {
	if uint(row) >= uint(f.Rows) || uint(col) >= uint(f.Cols) {
		panic(fmt.Sprintf("layout: element (%d, %d) of a fragment of [%d, %d]", row, col, f.Rows, f.Cols))
	}
	gather := func(modes []mode) int {
		v, weight := 0, 1
		for _, m := range modes {
			d := 0
			if m.row > 0 {
				d = row / m.row % m.n
			} else {
				d = col / m.col % m.n
			}
			v += d * weight
			weight *= m.n
		}
		return v
	}
	return gather(f.thread), gather(f.elem)
}

// Warps puts n of the fragment, each held by threads of its own, below each
// other: four m16 fragments are the m64 fragment of a warpgroup.
func (f Fragment) Warps(n int) Fragment {
	return newFragment(f.PerReg, append(f.thread[:len(f.thread):len(f.thread)], mode{n: n, row: f.Rows}), f.elem)
}

// transposed exchanges rows and columns.
func (f Fragment) transposed() Fragment {
	turn := func(modes []mode) []mode {
		out := make([]mode, len(modes))
		for i, m := range modes {
			out[i] = mode{m.n, m.col, m.row}
		}
		return out
	}
	return newFragment(f.PerReg, turn(f.thread), turn(f.elem))
}

// Accumulator is the fragment of D and C in mma.m16n8 (n = 8) and, by Warps(4),
// in wgmma.m64nN: n columns of 32-bit elements (PTX ISA 9.7.13.4.8, 9.7.14.5.1).
// n is a multiple of 8.
func Accumulator(n int) Fragment {
	return newFragment(1,
		[]mode{{n: 4, col: 2}, {n: 8, row: 1}},
		[]mode{{n: 2, col: 1}, {n: 2, row: 8}, {n: n / 8, col: 8}})
}

// FragmentA is the fragment of A, 16 rows by 32 bytes of K, in mma.m16n8k16 and
// m16n8k32 (elements of two and one bytes) and, by Warps(4), in wgmma with A from
// registers. A 2:4 operand has the same fragment over its compressed columns.
func FragmentA(size int) Fragment {
	e := 4 / size
	return newFragment(e,
		[]mode{{n: 4, col: e}, {n: 8, row: 1}},
		[]mode{{n: e, col: 1}, {n: 2, row: 8}, {n: 2, col: 4 * e}})
}

// FragmentB is the fragment of B, [k, 8], in mma.m16n8kK: k rows of K by 8 columns
// of N. k is 16 or 32 for elements of two bytes, 32 or 64 for one byte; the larger
// is that of mma.sp.
func FragmentB(size, k int) Fragment {
	e := 4 / size
	return newFragment(e,
		[]mode{{n: 4, row: e}, {n: 8, col: 1}},
		[]mode{{n: e, row: 1}, {n: k / (4 * e), row: 4 * e}})
}

// Matrix8x8 is the fragment of one 8 by 8 matrix of 16-bit elements as ldmatrix
// and stmatrix move it: rows are the rows that lanes address. With .trans a
// thread holds elements of a column (PTX ISA 9.7.13.4.15, 9.7.13.4.16).
func Matrix8x8(trans bool) Fragment {
	f := newFragment(2,
		[]mode{{n: 4, col: 2}, {n: 8, row: 1}},
		[]mode{{n: 2, col: 1}})
	if trans {
		return f.transposed()
	}
	return f
}

// LaneAddresses is how the 32 lanes of ldmatrix.x4 or stmatrix.x4 share out the
// rows of four 8 by 8 matrices: lane l addresses a row and, within it, a 16-byte
// chunk; matrix l/8 goes to or comes from register l/8.
type LaneAddresses struct{ lane []mode }

// At is the row and the chunk that a lane addresses.
func (a LaneAddresses) At(lane int) (row, chunk int) {
	for _, m := range a.lane {
		d := lane % m.n
		lane /= m.n
		row += d * m.row
		chunk += d * m.col
	}
	return row, chunk
}

// RowsFirst addresses 16 rows by 2 chunks, rows running faster: FragmentA, and an
// accumulator packed to 16 bits and stored with its rows as memory rows.
func RowsFirst() LaneAddresses {
	return LaneAddresses{[]mode{{n: 16, row: 1}, {n: 2, col: 1}}}
}

// ChunksFirst addresses 16 rows by 2 chunks, chunks running faster: FragmentB of
// two neighbouring N tiles whose columns are memory rows, and, with .trans, an
// accumulator packed to 16 bits and stored with its columns as memory rows.
func ChunksFirst() LaneAddresses {
	return LaneAddresses{[]mode{{n: 8, row: 1}, {n: 2, col: 1}, {n: 2, row: 8}}}
}

// FourChunks addresses 8 rows by 4 chunks: FragmentB of mma.sp for one N tile
// whose columns are memory rows of 64 bytes.
func FourChunks() LaneAddresses {
	return LaneAddresses{[]mode{{n: 8, row: 1}, {n: 4, col: 1}}}
}
