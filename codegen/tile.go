package codegen

import (
	"strconv"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// The tile family moves activations between a matrix and the contiguous,
// aligned tiles that the panel kernels read.

var tileArgs = []asm.Arg{
	{Name: "tile", Type: "*float32"}, {Name: "m", Type: "*float32"},
	{Name: "ld", Type: "uintptr"}, {Name: "rows", Type: "int"}, {Name: "cols", Type: "int"},
}

// copyTile builds CopyTile.
func copyTile(b *asm.Builder, k runtime.KernelKey) error {
	lanes := b.Machine().Lanes
	nv, vb := int(k.T)/lanes, lanes*4
	tile, src, ld, rows, cols := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), b.Arg("rows"), b.Arg("cols")
	v := b.Vecs(min(nv, 8))
	masked := b.NewLabel("masked")
	end := b.NewLabel("end")
	b.JumpZ(rows, end)
	full := b.NewLabel("full")
	b.JumpGE(cols, int(k.T), full)
	b.Jump(masked)
	b.Label(full)
	b.Loop("row", rows, func() {
		for j := range nv {
			b.Load(v[j%len(v)], asm.At(src, j*vb))
			b.Store(asm.At(tile, j*vb), v[j%len(v)])
		}
		b.Add(src, ld)
		b.AddI(tile, int(k.T)*4)
	})
	b.Jump(end)

	// A narrow tile goes one strip of vectors at a time, under that strip's mask.
	b.Label(masked)
	strips, full32, zero := b.Int(), b.Int(), b.Int()
	b.MovI(strips, nv)
	b.MovI(full32, lanes)
	b.MovI(zero, 0)
	b.Loop("strip", strips, func() {
		c, m := b.Int(), b.Mask()
		b.Mov(c, cols)
		b.Min(c, full32)
		b.Max(c, zero)
		b.MaskFirst(m, c)
		r, s, t := b.Int(), b.Int(), b.Int()
		b.Mov(r, rows)
		b.Mov(s, src)
		b.Mov(t, tile)
		b.Loop("part", r, func() {
			b.LoadMask(v[0], asm.At(s, 0), m)
			b.Store(asm.At(t, 0), v[0])
			b.Add(s, ld)
			b.AddI(t, int(k.T)*4)
		})
		b.AddI(cols, -lanes)
		b.AddI(src, vb)
		b.AddI(tile, vb)
	})
	b.Label(end)
	return nil
}

// transTile builds TransTile: a square of Lanes tokens by Lanes features at a
// time.
func transTile(b *asm.Builder, k runtime.KernelKey) error {
	lanes := b.Machine().Lanes
	vb := lanes * 4
	tile, src, ld, rows, cols := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), b.Arg("rows"), b.Arg("cols")
	last := b.Int() // cols-1
	b.Mov(last, cols)
	b.AddI(last, -1)
	v := b.Vecs(lanes)
	tok, out, left, full := b.Int(), b.Int(), b.Int(), b.Int()
	b.MovI(full, lanes)
	first := b.Int()
	b.MovI(first, 0)
	strip, end := b.NewLabel("strip"), b.NewLabel("end")
	b.Label(strip)
	b.JumpGE(first, int(k.T), end)
	b.Mov(left, rows)
	b.Mov(out, tile)
	c := b.Int() // feature offset in bytes
	b.MovI(c, 0)
	square, done := b.NewLabel("square"), b.NewLabel("done")
	b.Label(square)
	b.JumpLE(left, 0, done)
	m := b.Mask()
	b.Mov(tok, left)
	b.Min(tok, full)
	b.MaskFirst(m, tok)
	for i := range lanes {
		b.Mov(tok, first)
		b.AddI(tok, i)
		b.Min(tok, last)
		b.Mul(tok, ld)
		b.Add(tok, c)
		b.LoadMask(v[i], asm.Mem{Base: src, Index: tok, Scale: 1}, m)
	}
	b.Transpose(v)
	for i := range lanes {
		b.Store(asm.At(out, i*int(k.T)*4), v[i])
	}
	b.AddI(out, lanes*int(k.T)*4)
	b.AddI(c, vb)
	b.AddI(left, -lanes)
	b.Jump(square)
	b.Label(done)
	b.AddI(first, lanes)
	b.AddI(tile, vb)
	b.Jump(strip)
	b.Label(end)
	return nil
}

// untransTile builds UntransTile.
func untransTile(b *asm.Builder, k runtime.KernelKey) error {
	lanes := b.Machine().Lanes
	vb := lanes * 4
	tile, dst, ld, rows, cols := b.Arg("tile"), b.Arg("m"), b.Arg("ld"), b.Arg("rows"), b.Arg("cols")
	v := b.Vecs(lanes)
	p, in, left, full := b.Int(), b.Int(), b.Int(), b.Int()
	b.MovI(full, lanes)
	strip, end := b.NewLabel("strip"), b.NewLabel("end")
	b.Label(strip)
	b.JumpLE(cols, 0, end)
	b.Mov(left, rows)
	b.Mov(in, tile)
	c := b.Int()
	b.Mov(c, dst)
	square, done := b.NewLabel("square"), b.NewLabel("done")
	b.Label(square)
	b.JumpLE(left, 0, done)
	{
		cnt, m := b.Int(), b.Mask()
		b.Mov(cnt, left)
		b.Min(cnt, full)
		b.MaskFirst(m, cnt)
		// A last square of fewer rows loads none beyond them.
		some, loaded := b.NewLabel("some"), b.NewLabel("loaded")
		for i := range lanes {
			if i == 0 {
				b.Load(v[0], asm.At(in, 0))
				continue
			}
			b.JumpLE(cnt, i, some+"_"+strconv.Itoa(i))
			b.Load(v[i], asm.At(in, i*int(k.T)*4))
		}
		b.Jump(loaded)
		for i := 1; i < lanes; i++ {
			b.Label(some + "_" + strconv.Itoa(i))
			b.Zero(v[i])
		}
		b.Label(loaded)
		b.Transpose(v)
		b.Mov(p, c)
		stored := b.NewLabel("stored")
		for i := range lanes {
			b.JumpLE(cols, i, stored)
			b.StoreMask(asm.At(p, 0), v[i], m)
			b.Add(p, ld)
		}
		b.Label(stored)
	}
	b.AddI(in, lanes*int(k.T)*4)
	b.AddI(c, vb)
	b.AddI(left, -lanes)
	b.Jump(square)
	b.Label(done)
	b.AddI(cols, -lanes)
	b.AddI(tile, vb)
	for range lanes {
		b.Add(dst, ld)
	}
	b.Jump(strip)
	b.Label(end)
	return nil
}
