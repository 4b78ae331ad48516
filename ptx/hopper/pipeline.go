package hopper

import "github.com/sparsegen/sparsegen/ptx"

// Form is how a pipeline orders its waits.
type Form uint8

const (
	// Drain waits for a stage's wgmmas before it takes the next one; the other
	// warpgroups keep the tensor cores busy meanwhile.
	Drain Form = iota
	// Overlap keeps one group in flight while the next stage's is issued. The
	// metadata of a sparse product then needs two sets of registers, used in turn
	// by a loop unrolled twice.
	Overlap
)

// String returns "drain" or "overlap".
func (f Form) String() string {
	if f == Overlap {
		return "overlap"
	}
	return "drain"
}

// Pipeline multiplies all stages of a tile and leaves the sum in the product's
// accumulator.
type Pipeline struct {
	Product  *Product
	Consumer *Consumer
	Form     Form
	// Fetch loads the thread's metadata words of a stage; nil for dense products.
	Fetch func(h *Held, meta []ptx.Reg)

	sets  [][]ptx.Reg
	last  ptx.Reg // empty barrier of the stage whose group is in flight
	k     ptx.Reg // stage of the tile
	some  ptx.Reg // predicate: this lane has such a stage to release
	never ptx.Reg // predicate that is false, which the assembler cannot know
}

// Pipeline reserves the registers that live as long as the role. It belongs
// before the loop over tiles.
func (w *Warpgroup) Pipeline(p *Product, c *Consumer, f Form, fetch func(*Held, []ptx.Reg)) *Pipeline {
	k := w.CTA.K
	if (fetch == nil) != (p.Words() == 0) {
		k.Errorf("a pipeline with %d metadata words a stage, and fetching them is %v", p.Words(), fetch != nil)
	}
	l := &Pipeline{Product: p, Consumer: c, Form: f, Fetch: fetch, k: k.Reg(ptx.U32)}
	sets := 1
	if f == Overlap {
		l.last, l.some = k.Reg(ptx.U32), k.Reg(ptx.Pred)
		if p.Sparse() {
			sets = 2
		}
	}
	for range sets {
		set := k.Regs(ptx.B32, p.Words())
		for _, r := range set {
			k.Mov(r, 0x44444444) // metadata of empty groups
		}
		l.sets = append(l.sets, set)
	}
	return l
}

// Run emits the loop over that many stages, at least one.
func (l *Pipeline) Run(w *Warpgroup, steps ptx.Reg) {
	k := w.CTA.K
	k.Comment("products of all stages of the tile, %v", l.Form)
	l.Product.Acc.Zero()
	k.Mov(l.k, 0)
	if l.Product.Sparse() {
		l.never = k.SetP("eq", steps, 0xffffffff)
	}
	if l.Form == Drain {
		k.Loop(func(loop *ptx.LoopCtl) {
			h := l.issue(w, 0)
			w.Wait(0)
			l.anchor(w, 0)
			h.Release()
			k.Emit("add.u32", l.k, l.k, ptx.Int(1))
			loop.BreakIf(k.SetP("ge", l.k, steps))
		})
		return
	}
	k.Mov(l.last, l.Consumer.empty)
	k.Emit("setp.ne.u32", l.some, l.k, ptx.Int(0))
	k.Loop(func(loop *ptx.LoopCtl) {
		for set := range l.sets {
			h := l.issue(w, set)
			w.Wait(1)
			l.anchor(w, (set+len(l.sets)-1)%len(l.sets))
			l.Consumer.arrive(l.some, l.last)
			h.released = true // by the next turn, or after the loop
			k.Mov(l.last, h.empty)
			k.Mov(l.some, l.Consumer.releases)
			k.Emit("add.u32", l.k, l.k, ptx.Int(1))
			loop.BreakIf(k.SetP("ge", l.k, steps))
		}
	})
	w.Wait(0)
	for set := range l.sets {
		l.anchor(w, set)
	}
	l.Consumer.arrive(l.some, l.last)
}

// issue takes the next stage and commits its group.
func (l *Pipeline) issue(w *Warpgroup, set int) *Held {
	h := l.Consumer.Next()
	meta := l.sets[set]
	if len(meta) > 0 {
		l.Fetch(h, meta)
	}
	w.Group(func(g *Group) { g.Stage(l.Product, h, meta) })
	return h
}

// anchor keeps a set of metadata registers alive up to here.
func (l *Pipeline) anchor(w *Warpgroup, set int) { w.Anchor(l.never, l.sets[set]) }

// Anchor keeps metadata registers alive up to here, behind the wait that retires
// their wgmmas. A sparse wgmma reads its metadata register when it starts to
// execute, not when it is issued, while the assembler takes the register's life
// to end at the issue: without a later read it may give the register to something
// else. Never is a predicate that is false, which the assembler cannot know:
// nothing is stored.
func (w *Warpgroup) Anchor(never ptx.Reg, meta []ptx.Reg) {
	c := w.CTA
	for _, r := range meta {
		c.K.EmitIf(never, "st.volatile.shared.b32", c.At(c.scratch, 0), r)
	}
}
