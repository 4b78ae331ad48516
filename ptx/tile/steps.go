package tile

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Steps is the k-blocks of weights that a row of tiles multiplies, one pipeline
// stage each: where a pattern meets the kernel.
type Steps interface {
	// Count is their number, at least one.
	Count(row ptx.Reg) ptx.Reg
	// Each emits the loop over them: stored is the number of the block among the
	// packed weights, column its k-block of In.
	Each(row ptx.Reg, body func(stored, column ptx.Reg))
}

// All declares the steps of weights of which every block is stored.
func All(c *hopper.CTA) Steps { return all{c.K, c.U32("steps", gpu.QSteps)} }

type all struct {
	k     *ptx.Kernel
	steps ptx.Reg
}

func (a all) Count(ptx.Reg) ptx.Reg { return a.steps }

func (a all) Each(row ptx.Reg, body func(stored, column ptx.Reg)) {
	first := a.k.Mul(row, a.steps)
	a.k.For(0, a.steps, 1, func(i ptx.Reg) { body(a.k.Add(first, i), i) })
}

// Listed declares the steps of weights of which some blocks are stored, those that
// layout.Blocks lists. Tiles is the number of rows.
func Listed(c *hopper.CTA, tiles ptx.Reg) Steps {
	return listed{c.K, tiles, c.Pointer("lists", gpu.Meta, gpu.U32, gpu.QLists)}
}

type listed struct {
	k            *ptx.Kernel
	tiles, lists ptx.Reg
}

// bounds are the first of a row's stored blocks and the first of the next row's.
func (l listed) bounds(row ptx.Reg) (lo, hi ptx.Reg) {
	at := l.k.MadWide(row, 4, l.lists)
	lo, hi = l.k.Reg(ptx.U32), l.k.Reg(ptx.U32)
	l.k.Emit("ld.global.nc.u32", lo, ptx.At(at, 0))
	l.k.Emit("ld.global.nc.u32", hi, ptx.At(at, 4))
	return lo, hi
}

func (l listed) Count(row ptx.Reg) ptx.Reg {
	lo, hi := l.bounds(row)
	return l.k.Sub(hi, lo)
}

func (l listed) Each(row ptx.Reg, body func(stored, column ptx.Reg)) {
	k := l.k
	lo, hi := l.bounds(row)
	columns := k.MadWide(k.Add(l.tiles, 1), 4, l.lists)
	last := k.Sub(hi, 1)
	// A column is fetched one step ahead of its use.
	next := k.Reg(ptx.U32)
	fetch := func(i ptx.Reg) { k.Emit("ld.global.nc.u32", next, ptx.At(k.MadWide(i, 4, columns), 0)) }
	fetch(lo)
	k.For(lo, hi, 1, func(stored ptx.Reg) {
		column := k.Var(ptx.U32, next)
		fetch(k.Min(k.Add(stored, 1), last))
		body(stored, column)
	})
}
