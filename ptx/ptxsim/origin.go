package ptxsim

import (
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// origin is where the words of a register were loaded from, by lane, as addresses
// in device memory; it holds as long as the register is not written again.
type origin struct {
	writes uint32
	from   lanes
}

// origins tells for each word of a k-block of packed 2:4 weights whose it is.
type origins struct {
	f     layout.Format
	words []owner
}

// owner is the row and the logical column, within a k-block, of the first element
// that a word of values holds or that the first code of a word of metadata speaks
// of.
type owner struct {
	meta     bool
	row, col int
}

func newOrigins(f layout.Format) *origins {
	o := &origins{f: f, words: make([]owner, f.BlockBytes()/4)}
	per := 4 / f.Size
	for at := 0; at < f.ABytes(); at += 4 {
		var row, b int
		if f.Order == layout.FragmentMajor {
			fragment, reg, lane := at/512, at%16/4, at%512/16
			row = fragment/(f.RowBytes/32)*16 + reg%2*8 + lane/4
			b = fragment%(f.RowBytes/32)*32 + reg/2*16 + lane%4*4
		} else {
			at := f.Swizzle().Addr(at)
			row, b = at/f.RowBytes, at%f.RowBytes
		}
		o.words[at/4] = owner{false, row, b / 4 * per * 2}
	}
	m := layout.Metadata(f.Size)
	slabs := f.TileRows / 16
	for at := 0; at < f.MetaBytes(); at += 4 {
		n := at / 4
		reg := n % m.Regs()
		lane := n / m.Regs() % 32
		slab := n / m.Regs() / 32 % slabs
		unit := n / m.Regs() / 32 / slabs
		row, group := m.At(lane, reg*m.PerReg)
		o.words[(f.ABytes()+at)/4] = owner{true, slab*16 + row, 4 * (unit*m.Cols + group)}
	}
	return o
}

// owner finds the owner of a word at an address, and the number of its k-block.
func (o *origins) owner(addr uint64) (w owner, block uint64, ok bool) {
	if gpu.Buffer(addr>>bufferBits) != gpu.Weights {
		return
	}
	off := addr & (1<<bufferBits - 1)
	size := uint64(o.f.BlockBytes())
	return o.words[off%size/4], off / size, true
}

// tag notes that n bytes at an offset of shared memory come from an address.
func (c *cta) tag(off int, addr uint64, n int) {
	if c.cl.m.origin == nil || off%4 != 0 {
		return
	}
	for at := 0; at+4 <= n; at += 4 {
		c.shadow[(off+at)>>2].from = addr + uint64(at)
	}
}

// trace notes where a register was loaded from: the word at plus off of each lane.
func (w *warp) trace(r int, s space, at *lanes, off int, m uint32) {
	st := &w.state[r]
	if st.from == nil {
		st.from = &origin{}
	}
	if m != fullMask && st.from.writes+1 != st.writes {
		st.from.from = lanes{}
	}
	st.from.writes = st.writes
	each(m, func(l int) {
		addr := at[l] + uint64(off)
		switch s {
		case globalSpace:
			st.from.from[l] = addr
		case sharedSpace:
			_, o := w.cta.place(addr, 4, 4, false)
			st.from.from[l] = w.cta.shadow[o>>2].from
		default:
			st.from.from[l] = 0
		}
	})
}

// originOf is where a register's word in a lane was loaded from, 0 if unknown.
func (w *warp) originOf(r, lane int) uint64 {
	if s := &w.state[r]; s.from != nil && s.from.writes == s.writes {
		return s.from.from[lane]
	}
	return 0
}

// checkMetadata checks that the codes of each row and column are those that were
// packed with the values of the same row and column. value gives the origin of a
// stored value.
func (w *warp) checkMetadata(arg operand, x *product, selector int, value func(row, k int) uint64) {
	o := w.cta.cl.m.origin
	if o == nil || arg.kind != opReg {
		return
	}
	for row := range 16 {
		for group := 0; group < x.k/4; group++ {
			lane, shift := x.code(row, group, selector)
			from := w.originOf(arg.reg, lane)
			mine, block, ok := o.owner(from)
			v, vblock, known := o.owner(value(row, 2*group))
			if !ok || !known || v.meta {
				continue
			}
			per := 32 / x.a.size / 4 // codes of a word that are of one row
			if x.a.size == 1 {
				per = 8
			}
			code := shift / 4
			r, c := mine.row+code/per*8, mine.col+code%per*4
			if !mine.meta {
				fail(Metadata, "lane %d holds values where row %d, columns %d to %d of the product want metadata", lane, row, 4*group, 4*group+3)
			}
			want := v.col + 2*(2*group%(4/x.a.size))
			if block != vblock || r != v.row || c != want {
				fail(Metadata, "metadata in the wrong lane: for row %d, columns %d to %d of the product lane %d holds the metadata of row %d, column %d of k-block %d, the values there are of row %d, column %d of k-block %d",
					row, 4*group, 4*group+3, lane, r, c, block, v.row, want, vblock)
			}
		}
	}
}
