package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// decodeSteps are the stages of weights that a row of tiles multiplies, in parts
// for the blocks that share a tile.
type decodeSteps struct {
	k             *ptx.Kernel
	cta           *hopper.CTA
	split, blocks int
	stages        int     // of the ring
	steps         ptx.Reg // of a row, where every block is stored
	lists, tiles  ptx.Reg // where not: layout.Blocks.Lists, and the number of rows
	slots         hopper.Region
}

// steps declares what tells the stages.
func (c Decode) steps(cta *hopper.CTA) *decodeSteps {
	s := &decodeSteps{k: cta.K, cta: cta, split: c.Split, blocks: c.Blocks, stages: c.Stages}
	if !c.Listed {
		s.steps = cta.U32("steps", gpu.QSteps)
		return s
	}
	s.lists, s.tiles = cta.Pointer("lists", gpu.Meta, gpu.U32, gpu.QLists), cta.U32("out_tiles", gpu.QOutTiles)
	s.slots = cta.Shared("columns", 4*c.Stages, 16)
	return s
}

// bounds are the block's first stage of the row among all that are stored, and
// their number, which can be 0 if blocks share the row.
func (s *decodeSteps) bounds(row ptx.Reg) (first, count ptx.Reg) {
	k := s.k
	if s.lists.IsZero() {
		first, count = k.Mul(row, s.steps), s.steps
	} else {
		at, end := k.MadWide(row, 4, s.lists), k.Reg(ptx.U32)
		first = k.Reg(ptx.U32)
		k.Emit("ld.global.nc.u32", first, ptx.At(at, 0))
		k.Emit("ld.global.nc.u32", end, ptx.At(at, 4))
		count = k.Sub(end, first)
	}
	if s.split == 1 {
		return first, count
	}
	skip := k.Div(k.Mul(s.cta.Rank(), count), s.split)
	next := k.Div(k.Mad(s.cta.Rank(), count, count), s.split)
	return k.Add(first, skip), k.Sub(next, skip)
}

// decodeColumns tells the producer the k-block of In of each of the block's
// stages, in order. Listed columns are copied to shared memory a turn of the ring
// before they are needed.
type decodeColumns struct {
	*decodeSteps
	skip ptx.Reg // stages of the row before the block's first
	from ptx.Reg // address of the first listed column
	last ptx.Reg // number of the last stage
	slot ptx.Reg // address of the place of the next column
}

// columns are those of the block's stages of a row.
func (s *decodeSteps) columns(row, first, count ptx.Reg) *decodeColumns {
	k := s.k
	c := &decodeColumns{decodeSteps: s}
	if s.lists.IsZero() {
		c.skip = k.Sub(first, k.Mul(row, s.steps))
		return c
	}
	c.from = k.MadWide(k.Add(k.Add(s.tiles, 1), first), 4, s.lists)
	c.last = k.Sub(k.Max(count, 1), 1)
	c.slot = k.Var(ptx.U32, s.cta.Addr(s.slots, 0))
	return c
}

// request starts the copy of a stage's column, of the first turn of the ring.
func (c *decodeColumns) request(i ptx.Reg) {
	if !c.lists.IsZero() {
		c.copy(c.k.Mad(i, 4, c.cta.Addr(c.slots, 0)), i)
	}
}

func (c *decodeColumns) copy(to, i ptx.Reg) {
	k := c.k
	k.Emit("cp.async.ca.shared.global", ptx.At(to, 0), ptx.At(k.MadWide(k.Min(i, c.last), 4, c.from), 0), ptx.Int(4))
	k.Emit("cp.async.commit_group")
}

// begin waits for the columns that were requested.
func (c *decodeColumns) begin() {
	if !c.lists.IsZero() {
		c.k.Emit("cp.async.wait_all")
	}
}

// end waits for the columns that were copied in vain.
func (c *decodeColumns) end() { c.begin() }

// at is the first k-block of In of a stage.
func (c *decodeColumns) at(i ptx.Reg) ptx.Reg {
	k := c.k
	if c.lists.IsZero() {
		return k.Mul(k.Add(c.skip, i), c.blocks)
	}
	// Every call starts the copy that the call a turn later reads.
	k.Emit("cp.async.wait_group", ptx.Int(int64(c.stages-1)))
	column := k.Reg(ptx.U32)
	k.Emit("ld.shared.u32", column, ptx.At(c.slot, 0))
	c.copy(c.slot, k.Add(i, c.stages))
	k.Emit("add.u32", c.slot, c.slot, ptx.Int(4))
	k.EmitIf(k.SetP("eq", c.slot, c.cta.Addr(c.slots, 4*c.stages)), "mov.u32", c.slot, c.cta.Addr(c.slots, 0))
	return column
}
