package layout

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func fragments() map[string]Fragment {
	f := map[string]Fragment{
		"matrix8x8":       Matrix8x8(false),
		"matrix8x8.trans": Matrix8x8(true),
	}
	for _, n := range []int{8, 16, 24, 40, 136, 224, 256} {
		f[fmt.Sprintf("m16n%d D", n)] = Accumulator(n)
		f[fmt.Sprintf("m64n%d D", n)] = Accumulator(n).Warps(4)
	}
	for _, size := range []int{1, 2} {
		f[fmt.Sprintf("A %d", size)] = FragmentA(size)
		f[fmt.Sprintf("wgmma A %d", size)] = FragmentA(size).Warps(4)
		f[fmt.Sprintf("B %d", size)] = FragmentB(size, 32/size)
		f[fmt.Sprintf("sparse B %d", size)] = FragmentB(size, 64/size)
		f[fmt.Sprintf("metadata %d", size)] = Metadata(size)
		f[fmt.Sprintf("wgmma metadata %d", size)] = Metadata(size).Warps(4)
	}
	return f
}

func TestFragmentsAreBijections(t *testing.T) {
	for name, f := range fragments() {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, f.Rows*f.Cols, f.Threads*f.Elems)
			seen := map[[2]int]bool{}
			for thread := range f.Threads {
				for i := range f.Elems {
					row, col := f.At(thread, i)
					if row < 0 || row >= f.Rows || col < 0 || col >= f.Cols || seen[[2]int{row, col}] {
						t.Fatalf("thread %d, element %d at (%d, %d)", thread, i, row, col)
					}
					seen[[2]int{row, col}] = true
					if ft, fi := f.Find(row, col); ft != thread || fi != i {
						t.Fatalf("(%d, %d) is found in thread %d, element %d, not %d, %d", row, col, ft, fi, thread, i)
					}
				}
			}
		})
	}
}

// The formulas of the manual's figures, g = lane/4 and t = lane%4.
func TestFragmentFormulas(t *testing.T) {
	type at struct{ row, col int }
	check := func(f Fragment, want func(w, g, t, i int) at) {
		t.Helper()
		for thread := range f.Threads {
			for i := range f.Elems {
				row, col := f.At(thread, i)
				if e := want(thread/32, thread%32/4, thread%4, i); e != (at{row, col}) {
					t.Fatalf("thread %d, element %d: (%d, %d), want %v", thread, i, row, col, e)
				}
			}
		}
	}
	check(Accumulator(8), func(_, g, t, i int) at { return at{g + 8*(i/2), 2*t + i%2} })
	check(Accumulator(96).Warps(4), func(w, g, t, i int) at {
		return at{16*w + g + 8*(i%4/2), 8*(i/4) + 2*t + i%2}
	})
	check(FragmentA(2), func(_, g, t, i int) at { // m16n8k16: a0,a1,a4,a5 have row g
		row, col := g, 2*t+i%2
		if i == 2 || i == 3 || i == 6 || i == 7 {
			row += 8
		}
		if i >= 4 {
			col += 8
		}
		return at{row, col}
	})
	check(FragmentA(1), func(_, g, t, i int) at { // m16n8k32: register i/4
		return at{g + 8*(i/4%2), 4*t + i%4 + 16*(i/8)}
	})
	check(FragmentA(1).Warps(4), func(w, g, t, i int) at {
		return at{16*w + g + 8*(i/4&1), 4*t + i%4 + 16*(i/4>>1)}
	})
	check(FragmentB(2, 16), func(_, g, t, i int) at { return at{2*t + i%2 + 8*(i/2), g} })
	check(FragmentB(2, 32), func(_, g, t, i int) at { return at{2*t + i%2 + 8*(i/2), g} })
	check(FragmentB(1, 32), func(_, g, t, i int) at { return at{4*t + i%4 + 16*(i/4), g} })
	check(FragmentB(1, 64), func(_, g, t, i int) at { return at{4*t + i%4 + 16*(i/4), g} })
	check(Matrix8x8(false), func(_, g, t, i int) at { return at{g, 2*t + i} })
	check(Matrix8x8(true), func(_, g, t, i int) at { return at{2*t + i, g} })
}

func TestFragmentRegisters(t *testing.T) {
	require.Equal(t, 128, Accumulator(256).Regs())
	require.Equal(t, 4, FragmentA(2).Regs())
	require.Equal(t, 4, FragmentA(1).Warps(4).Regs())
	require.Equal(t, 2, FragmentB(2, 16).Regs())
	require.Equal(t, 4, FragmentB(1, 64).Regs())
	require.Equal(t, 1, Metadata(2).Regs())
	require.Equal(t, 2, Metadata(1).Regs())
	require.Panics(t, func() { Accumulator(8).At(32, 0) })
	require.Panics(t, func() { Accumulator(8).At(0, -1) })
	require.Panics(t, func() { Accumulator(8).Find(16, 0) })
}

// memory is a tile of 16-bit elements in swizzled rows.
type memory struct {
	s     Swizzle
	bytes []byte
}

func (m memory) at(row, b int) *byte { return &m.bytes[m.s.Offset(row, b)] }

// x4 is what ldmatrix.x4 does: for each of four matrices, the row that a lane
// addresses is spread over the threads of Matrix8x8. It calls f with the thread,
// the byte of its four registers and the byte of memory.
func (m memory) x4(a LaneAddresses, trans bool, f func(thread, i int, b *byte)) {
	shape := Matrix8x8(trans)
	for matrix := range 4 {
		for r := range 8 {
			row, c := a.At(8*matrix + r)
			for e := range 8 {
				thread, i := shape.Find(r, e)
				for b := range 2 {
					f(thread, matrix*4+i*2+b, m.at(row, c*chunk+e*2+b))
				}
			}
		}
	}
}

func newMemory(s Swizzle, rows int) memory { return memory{s, make([]byte, rows*s.Span())} }

// ldmatrix.x4 with the lane addresses for A gives the registers of the A
// fragment, for elements of either size.
func TestLoadMatrixGivesFragmentA(t *testing.T) {
	for _, size := range []int{1, 2} {
		f, m := FragmentA(size), newMemory(Swizzle64B, 16)
		m.x4(RowsFirst(), false, func(thread, i int, b *byte) {
			row, col := f.At(thread, i/size)
			require.Same(t, m.at(row, col*size+i%size), b)
		})
	}
}

// Rows of memory are columns of N: two N tiles at once, or, for mma.sp, the
// doubled K of one.
func TestLoadMatrixGivesFragmentB(t *testing.T) {
	for _, size := range []int{1, 2} {
		m := newMemory(Swizzle64B, 16)
		f := FragmentB(size, 32/size)
		m.x4(ChunksFirst(), false, func(thread, i int, b *byte) {
			k, n := f.At(thread, i%8/size)
			require.Same(t, m.at(n+8*(i/8), k*size+i%size), b)
		})
		f = FragmentB(size, 64/size)
		m.x4(FourChunks(), false, func(thread, i int, b *byte) {
			k, n := f.At(thread, i/size)
			require.Same(t, m.at(n, k*size+i%size), b)
		})
	}
}

// stmatrix.x4 of accumulators packed to 16 bits, plain and transposed: registers
// are pairs of D of two neighbouring n8 tiles.
func TestStoreMatrixOfAccumulators(t *testing.T) {
	d, m := Accumulator(16), newMemory(Swizzle32B, 16)
	m.x4(RowsFirst(), false, func(thread, i int, b *byte) {
		row, col := d.At(thread, i/2)
		require.Same(t, m.at(row, col*2+i%2), b)
	})
	m.x4(ChunksFirst(), true, func(thread, i int, b *byte) {
		row, col := d.At(thread, i/2)
		require.Same(t, m.at(col, row*2+i%2), b)
	})
}

func TestLaneAddressFormulas(t *testing.T) {
	for l := range 32 {
		row, c := RowsFirst().At(l)
		require.Equal(t, [2]int{l & 15, l >> 4}, [2]int{row, c})
		row, c = ChunksFirst().At(l)
		require.Equal(t, [2]int{l&7 + 8*(l>>4), l >> 3 & 1}, [2]int{row, c})
		row, c = FourChunks().At(l)
		require.Equal(t, [2]int{l & 7, l >> 3}, [2]int{row, c})
	}
}
