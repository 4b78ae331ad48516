package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// The tile family moves activations between a matrix and the contiguous,
// aligned tiles that the panel kernels read.

var tileArgs = []asm.Arg{
	{Name: "tile", Type: "*float32"}, {Name: "m", Type: "*float32"}, {Name: "ld", Type: "uintptr"},
	{Name: "t", Type: "int"}, {Name: "rows", Type: "int"}, {Name: "cols", Type: "int"},
}

// tileMoves is the state of a tile kernel while it is being built.
type tileMoves struct {
	*asm.Builder
	lanes, vb int
}

// firstOf is a mask of the first min(n, lanes) lanes, n > 0.
func (m *tileMoves) firstOf(n asm.Reg) asm.Reg { return m.mask(n, false) }

// mask is a mask of the first min(n, lanes) lanes, none if n < 0, where that may
// be.
func (m *tileMoves) mask(n asm.Reg, negative bool) asm.Reg {
	if m.Machine().Scalable {
		k := m.Mask()
		m.MaskFirst(k, n)
		return k
	}
	c, bound := m.Int(), m.Int()
	m.Mov(c, n)
	m.MovI(bound, m.lanes)
	m.Min(c, bound)
	if negative {
		m.MovI(bound, 0)
		m.Max(c, bound)
	}
	k := m.Mask()
	m.MaskFirst(k, c)
	return k
}

// rowBytes is the length of a tile row in bytes.
func (m *tileMoves) rowBytes() asm.Reg {
	r := m.Arg("t")
	m.ShlI(r, 2)
	return r
}

// partial reports whether the last vector of a tile row may be a part of one: t is
// a multiple of 8.
func (m *tileMoves) partial() bool { return m.lanes > 8 || m.Machine().Scalable }

// soon is how many rows of m ahead CopyTile asks for lines: hardware does not foresee
// a few of each row.
const soon = 4

// copyTile builds CopyTile. Whole vectors go several at a time, so that a row of
// m is read in one piece; then come the columns that end within a vector.
func copyTile(b *asm.Builder, _ runtime.KernelKey) error {
	m := &tileMoves{b, b.Machine().Lanes, b.Machine().Lanes * 4}
	end := b.NewLabel("end")
	rows := b.Arg("rows")
	tile, src, ld, tb := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), m.rowBytes()
	left := b.Arg("cols") // columns of m to go
	v := b.Vecs(8)
	copyRows := func(n int, load, store func(i int, at asm.Mem)) {
		r, s, d := b.Int(), b.Int(), b.Int()
		b.Mov(r, rows)
		b.Mov(s, src)
		b.Mov(d, tile)
		hint := asm.Reg{}
		if !b.Machine().Scalable {
			hint = b.Int()
			b.Mov(hint, s)
			for range soon {
				b.Add(hint, ld)
			}
		}
		b.Loop("row", r, func() {
			if !hint.IsZero() {
				for line := 0; line < n*m.vb; line += 64 {
					b.Prefetch(asm.At(hint, line))
				}
				b.Add(hint, ld)
			}
			for i := range n {
				load(i, asm.At(s, 0).PlusVectors(i))
			}
			for i := range n {
				store(i, asm.At(d, 0).PlusVectors(i))
			}
			b.Add(s, ld)
			b.Add(d, tb)
		})
		b.AddVectors(src, n)
		b.AddVectors(tile, n)
		b.AddLanes(left, -n)
	}
	for n := len(v); n > 0; n-- {
		group, next := b.NewLabel("group"), b.NewLabel("next")
		b.Label(group)
		fewer(b, left, n, next)
		copyRows(n,
			func(i int, at asm.Mem) { b.Load(v[i], at) },
			func(i int, at asm.Mem) { b.Store(at, v[i]) })
		if n == len(v) {
			b.Jump(group)
		}
		b.Label(next)
	}
	// width is what is left of the tile's rows.
	width, whole := b.Arg("t"), b.Arg("cols")
	if b.Machine().Scalable {
		b.Sub(whole, left)
	} else {
		b.ShrI(whole, log2(m.lanes))
		b.ShlI(whole, log2(m.lanes))
	}
	b.Sub(width, whole)
	strip := b.NewLabel("strip")
	b.Label(strip)
	b.JumpLE(width, 0, end)
	from := m.mask(left, true)
	to := asm.Reg{}
	if m.partial() {
		to = m.firstOf(width)
	}
	copyRows(1,
		func(i int, at asm.Mem) { b.LoadMask(v[i], at, from) },
		func(i int, at asm.Mem) { m.store(at, v[i], to) })
	b.AddLanes(width, -1)
	b.Jump(strip)
	b.Label(end)
	return nil
}

// load reads the lanes of mask k, or all if there is no mask.
func (m *tileMoves) load(v asm.Reg, at asm.Mem, k asm.Reg) {
	if k.IsZero() {
		m.Load(v, at)
	} else {
		m.LoadMask(v, at, k)
	}
}

// store writes the lanes of mask k, or all if there is no mask.
func (m *tileMoves) store(at asm.Mem, v, k asm.Reg) {
	if k.IsZero() {
		m.Store(at, v)
	} else {
		m.StoreMask(at, v, k)
	}
}

// transTile builds TransTile: a square of tokens by features at a time.
func transTile(b *asm.Builder, k runtime.KernelKey) error {
	if b.Machine().Scalable {
		return noSquares(b, k)
	}
	m := &tileMoves{b, b.Machine().Lanes, b.Machine().Lanes * 4}
	tile, src, ld, tb := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), m.rowBytes()
	last := b.Arg("cols") // the last token
	b.AddI(last, -1)
	v := b.Vecs(m.lanes)
	tok, out, left, first, c := b.Int(), b.Int(), b.Int(), b.Int(), b.Int()
	b.MovI(first, 0)
	strip, end := b.NewLabel("strip"), b.NewLabel("end")
	b.Label(strip)
	width := b.Arg("t")
	b.Sub(width, first)
	b.JumpLE(width, 0, end)
	to := asm.Reg{}
	if m.partial() {
		to = m.firstOf(width)
	}
	b.Mov(left, b.Arg("rows"))
	b.Mov(out, tile)
	b.MovI(c, 0) // feature offset in bytes
	square, done := b.NewLabel("square"), b.NewLabel("done")
	b.Label(square)
	b.JumpLE(left, 0, done)
	from := m.firstOf(left)
	for i := range v {
		b.Mov(tok, first)
		if i > 0 {
			b.AddI(tok, i)
		}
		b.Min(tok, last)
		b.Mul(tok, ld)
		b.Add(tok, c)
		b.LoadMask(v[i], asm.Mem{Base: src, Index: tok, Scale: 1}, from)
	}
	b.Transpose(v)
	for i := range v {
		m.store(asm.At(out, 0), v[i], to)
		b.Add(out, tb)
	}
	b.AddI(c, m.vb)
	b.AddI(left, -m.lanes)
	b.Jump(square)
	b.Label(done)
	b.AddI(first, m.lanes)
	b.AddI(tile, m.vb)
	b.Jump(strip)
	b.Label(end)
	return nil
}

// untransTile builds UntransTile.
func untransTile(b *asm.Builder, k runtime.KernelKey) error {
	if b.Machine().Scalable {
		return noSquares(b, k)
	}
	m := &tileMoves{b, b.Machine().Lanes, b.Machine().Lanes * 4}
	tile, dst, ld, tb, cols := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), m.rowBytes(), b.Arg("cols")
	v := b.Vecs(m.lanes)
	p, in, left, c := b.Int(), b.Int(), b.Int(), b.Int()
	strip, end := b.NewLabel("strip"), b.NewLabel("end")
	b.Label(strip)
	b.JumpLE(cols, 0, end)
	from := asm.Reg{}
	if m.partial() {
		from = m.firstOf(cols)
	}
	b.Mov(left, b.Arg("rows"))
	b.Mov(in, tile)
	b.Mov(c, dst)
	square, done := b.NewLabel("square"), b.NewLabel("done")
	b.Label(square)
	b.JumpLE(left, 0, done)
	for i := range v {
		m.load(v[i], asm.At(in, 0), from)
		b.Add(in, tb)
	}
	b.Transpose(v)
	b.Mov(p, c)
	// Masked stores are slow where masks are vectors: only the last square of
	// each strip has them.
	narrow, stored := b.NewLabel("narrow"), b.NewLabel("stored")
	b.JumpLE(left, m.lanes-1, narrow)
	for i := range v {
		if i > 0 {
			b.JumpLE(cols, i, stored)
		}
		b.Store(asm.At(p, 0), v[i])
		if i+1 < len(v) {
			b.Add(p, ld)
		}
	}
	b.Jump(stored)
	b.Label(narrow)
	to := m.Mask()
	m.MaskFirst(to, left)
	for i := range v {
		if i > 0 {
			b.JumpLE(cols, i, stored)
		}
		b.StoreMask(asm.At(p, 0), v[i], to)
		if i+1 < len(v) {
			b.Add(p, ld)
		}
	}
	b.Label(stored)
	b.AddI(c, m.vb)
	b.AddI(left, -m.lanes)
	b.Jump(square)
	b.Label(done)
	b.AddI(cols, -m.lanes)
	b.AddI(tile, m.vb)
	for range m.lanes {
		b.Add(dst, ld)
	}
	b.Jump(strip)
	b.Label(end)
	return nil
}

// noSquares refuses a transposition: a square has as many vectors as they have
// lanes, which a program must know.
func noSquares(b *asm.Builder, k runtime.KernelKey) error {
	return fmt.Errorf("codegen: %s: no squares of vectors on %s", k.Name(), b.Machine().Name)
}

func log2(n int) int {
	k := 0
	for 1<<k < n {
		k++
	}
	return k
}
