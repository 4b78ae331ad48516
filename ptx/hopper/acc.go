package hopper

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// wgmmaOverhead is how many registers a thread needs beside the accumulators of
// a wgmma from shared memory, as measured on the assembler's output.
const wgmmaOverhead = 26

// Acc is the accumulator of a warpgroup: 64 rows by N columns in N/2 registers a
// thread, distributed as layout.Accumulator(N).Warps(4) says.
type Acc struct {
	N    int
	Type ptx.Type // F32, or S32 of integer products
	w    *Warpgroup
	regs []ptx.Reg
	zero bool
}

// Acc makes an accumulator of n columns for products of the type.
func (w *Warpgroup) Acc(n int, t gpu.DType) *Acc {
	k := w.CTA.K
	a := &Acc{N: n, Type: ptx.F32, w: w}
	if t == gpu.S8 || t == gpu.U8 {
		a.Type = ptx.S32
	}
	if need, have := n/2+wgmmaOverhead, Registers(w.CTA.threads); need > have {
		k.Errorf("an accumulator of %d columns needs %d registers, a thread of a block of %d has %d", n, need, w.CTA.threads, have)
	}
	a.regs = k.Regs(a.Type, n/2)
	return a
}

// Zero clears the accumulator. Without it before the loop, the assembler cannot
// keep the wgmmas of one loop in flight.
func (a *Acc) Zero() {
	k := a.w.CTA.K
	if a.inFlight() {
		k.Errorf("an accumulator zeroed while a wgmma that adds to it is in flight")
	}
	for _, r := range a.regs {
		k.Mov(r, 0)
	}
	a.zero = true
}

// Regs are the accumulator's registers, once every wgmma that adds to them has
// retired.
func (a *Acc) Regs() []ptx.Reg {
	switch k := a.w.CTA.K; {
	case !a.zero:
		k.Errorf("an accumulator read that nothing has written")
	case a.inFlight():
		k.Errorf("an accumulator read while a wgmma that adds to it is in flight: wait for its group")
	}
	return a.regs
}

func (a *Acc) inFlight() bool {
	return slices.ContainsFunc(a.w.CTA.flights, func(g *Group) bool { return slices.Contains(g.accs, a) })
}

// Operand is a tile in each stage of a ring as an operand of wgmma.
type Operand struct {
	part *Part
	tile layout.Operand
	lo   ptx.Reg // low word of the descriptor in the first stage
	hi   uint32
}

// A makes the tile that lies off bytes into a part the operand A, of which each
// warpgroup multiplies its own 64 rows.
func (w *Warpgroup) A(p *Part, off int, tile layout.Operand) *Operand {
	k := w.CTA.K
	o := w.operand(p, off, tile)
	if rows := 64 * w.CTA.consumers; tile.Rows != rows {
		k.Errorf("operand %s: %d rows for %d warpgroups, want %d", p.name, tile.Rows, w.CTA.consumers, rows)
	}
	if w.CTA.consumers > 1 {
		rows, err := tile.Advance(64, 0)
		if err != nil {
			k.Errorf("operand %s: %v", p.name, err)
		}
		o.lo = k.Mad(w.Index, int(rows), o.lo)
	}
	return o
}

// B makes a part that a tensor copy fills the operand B of all warpgroups.
func (w *Warpgroup) B(p *Part) *Operand {
	if p.tensor == nil {
		w.CTA.K.Errorf("operand %s: no tensor copy tells its layout", p.name)
		return &Operand{part: p}
	}
	return w.operand(p, 0, p.tensor.Operand(p.slices))
}

func (w *Warpgroup) operand(p *Part, off int, tile layout.Operand) *Operand {
	k := w.CTA.K
	d, err := tile.Descriptor(uint32(p.Offset + off))
	if err == nil && off+tile.Bytes() > p.Bytes {
		err = fmt.Errorf("a tile of %d bytes at %d of %d", tile.Bytes(), off, p.Bytes)
	}
	if err != nil {
		k.Errorf("operand %s: %v", p.name, err)
	}
	d.Start = 0
	lo, hi := d.Words()
	at := k.And(k.Shr(w.CTA.Addr(p.ring.stage, p.Offset+off), 4), 0x3fff)
	return &Operand{part: p, tile: tile, lo: k.Add(at, int(lo)), hi: hi}
}

// descriptor is that of the columns from k on of the tile in a stage.
func (o *Operand) descriptor(h *Held, col int) ptx.Reg {
	k := h.consumer.ring.cta.K
	step, err := o.tile.Advance(0, col)
	if err != nil {
		k.Errorf("operand %s: %v", o.part.name, err)
	}
	lo := k.Add(k.Add(o.lo, k.Shr(h.offset, 4)), int(step))
	d := k.Reg(ptx.B64)
	k.Emit("mov.b64", d, ptx.Vec(lo, k.Const(ptx.B32, int64(o.hi))))
	return d
}

// Product is the product of two operands of a ring's stages, added to an
// accumulator. A is 2:4 sparse if it has half of B's columns.
type Product struct {
	Acc  *Acc
	A, B *Operand
	Type gpu.DType // of both operands
}

// Sparse says whether A is 2:4 sparse.
func (p *Product) Sparse() bool { return p.A.tile.K != p.B.tile.K }

// Words is the number of metadata registers that a thread needs for a stage: 0
// for a dense product.
func (p *Product) Words() int {
	if !p.Sparse() {
		return 0
	}
	return p.B.tile.K * p.B.tile.Size / 128 * layout.Metadata(p.B.tile.Size).Regs()
}

// Group is a group of wgmmas between their fence and their commit.
type Group struct {
	w     *Warpgroup
	accs  []*Acc
	reads []*Held
	open  bool
}

// Group has issue issue wgmmas and commits them as one group.
func (w *Warpgroup) Group(issue func(*Group)) {
	k := w.CTA.K
	g := &Group{w: w, open: true}
	k.Emit("wgmma.fence.sync.aligned")
	issue(g)
	g.open = false
	k.Emit("wgmma.commit_group.sync.aligned")
	w.CTA.flights = append(w.CTA.flights, g)
}

// Wait waits until at most n groups are in flight.
func (w *Warpgroup) Wait(n int) {
	c := w.CTA
	c.K.Emit("wgmma.wait_group.sync.aligned", ptx.Int(int64(n)))
	c.flights = c.flights[max(0, len(c.flights)-n):]
}

// Stage issues the wgmmas of one stage. Meta are the thread's metadata words,
// which must stay as they are until the group retires.
func (g *Group) Stage(p *Product, h *Held, meta []ptx.Reg) {
	k := g.w.CTA.K
	size := p.B.tile.Size
	switch {
	case !g.open:
		k.Errorf("a wgmma outside its group")
	case h.released:
		k.Errorf("a wgmma reads a stage that was released")
	case !p.Acc.zero:
		k.Errorf("a wgmma adds to an accumulator that was not zeroed")
	case len(meta) != p.Words():
		k.Errorf("%d metadata words for a stage, want %d", len(meta), p.Words())
		return
	case p.Sparse() && 2*p.A.tile.K != p.B.tile.K, p.A.tile.Size != size, p.Type.Size() != size:
		k.Errorf("operands [%d, %d] and [%d, %d] do not multiply", p.A.tile.Rows, p.A.tile.K, p.B.tile.Rows, p.B.tile.K)
		return
	case p.Acc.N != p.B.tile.Rows:
		k.Errorf("an accumulator of %d columns for a product of %d", p.Acc.N, p.B.tile.Rows)
		return
	}
	if !slices.Contains(g.accs, p.Acc) {
		g.accs = append(g.accs, p.Acc)
	}
	g.reads = append(g.reads, h)
	const bytesOfA = 32 // along K, in every wgmma
	kA, kB, sp := bytesOfA/size, bytesOfA/size, ""
	if p.Sparse() {
		kB, sp = 2*kA, ".sp"
	}
	form := fmt.Sprintf("wgmma.mma_async%s.sync.aligned.m64n%dk%d.%v.%v.%v", sp, p.Acc.N, kB, p.Acc.Type, p.Type, p.Type)
	// All descriptors before the first wgmma: nothing is written while a metadata
	// register is read late.
	type pair struct{ a, b ptx.Reg }
	var descriptors []pair
	for step := range p.A.tile.K / kA {
		descriptors = append(descriptors, pair{p.A.descriptor(h, step*kA), p.B.descriptor(h, step*kB)})
	}
	for step, d := range descriptors {
		ops := []any{ptx.Vec(p.Acc.regs...), d.a, d.b}
		if p.Sparse() {
			reg, sel := layout.MetadataOperand(size, step%2)
			each := layout.Metadata(size).Regs() // for two wgmmas
			ops = append(ops, meta[step/2*each+reg], ptx.Int(int64(sel)))
		}
		ops = append(ops, ptx.Int(1)) // add to D
		if p.Acc.Type == ptx.F32 {
			ops = append(ops, ptx.Int(1), ptx.Int(1)) // neither operand negated
		}
		if size == 2 {
			ops = append(ops, ptx.Int(0), ptx.Int(0)) // both K-major
		}
		k.Emit(form, ops...)
	}
}
