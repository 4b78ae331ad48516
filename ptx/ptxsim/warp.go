package ptxsim

import (
	"fmt"
	"math/bits"
	"slices"
)

// lanes are the values of a register in the lanes of a warp.
type lanes [32]uint64

const fullMask = 0xffffffff

// warp is 32 threads that execute an instruction together where they are at the
// same one.
type warp struct {
	cta   *cta
	id    int // in the block
	agent int
	view  view
	given view // what relaxed operations hand on: what was before the last fence
	alive uint32
	frags []*frag

	reg      []lanes
	pred     []uint32
	state    []regState
	predInit []uint32
	special  map[string]*lanes
	scratch  lanes
	current  *frag  // that executes
	pure     bool   // it only computes
	undef    uint32 // lanes in which a source that it read has no value

	carry  uint32      // flags of add.cc and the like
	epoch  uint32      // count of wgmma.fences, plus 1
	inits  []*mbarrier // initialised since the last fence
	budget int         // registers a thread

	groups  groups // of wgmmas
	copies  [32]groups
	stores  [32]groups
	wgmmas  int // executed
	wgAgent int // reads shared memory for wgmmas
	cpAgent int // writes shared memory for cp.async
	stAgent int // reads shared memory for bulk stores
}

// regState is what the checks know of a register.
type regState struct {
	init   uint32 // lanes that have a value
	epoch  uint32 // of the last write
	writes uint32
	group  int32 // of wgmmas that use it, counted from 1; 0 for none
	sums   bool  // as an accumulator
	from   *origin
}

// frag is lanes of a warp that are at the same instruction.
type frag struct {
	pc      int
	mask    uint32
	wait    func() bool // nil, or whether it may go on
	why     func() string
	yielded bool // has asked a barrier in vain this turn
	stuck   bool // waits for other lanes of the warp
}

// read returns a register for reading.
func (w *warp) read(r int, m uint32) *lanes {
	s := &w.state[r]
	w.unknown(m&^s.init, "a register")
	if s.sums && int(s.group) > w.groups.done {
		fail(InFlight, "an accumulator is read before a wgmma.wait_group that retires group %d", s.group)
	}
	return &w.reg[r]
}

// write returns a register for writing.
func (w *warp) write(r int, m uint32) *lanes {
	s := &w.state[r]
	if int(s.group) > w.groups.done {
		what := "a register that it reads is written"
		if s.sums {
			what = "an accumulator is written"
		}
		fail(InFlight, "%s before a wgmma.wait_group that retires group %d", what, s.group)
	}
	s.init = s.init&^m | m&^w.undef
	s.epoch = w.epoch
	s.writes++
	return &w.reg[r]
}

// unknown notes lanes in which a source has no value. An instruction that only
// computes hands that on to its results; another may not do it.
func (w *warp) unknown(m uint32, what string) {
	if m == 0 {
		return
	}
	if !w.pure {
		fail(Uninitialised, "%s that has no value in lane %d", what, bits.TrailingZeros32(m))
	}
	w.undef |= m
}

// defined ends the reading of operands that must have a value.
func (w *warp) defined(what string) {
	if w.undef != 0 {
		fail(Uninitialised, "%s that has no value in lane %d", what, bits.TrailingZeros32(w.undef))
	}
}

// pick chooses the lanes that run next: those that are furthest behind.
func (w *warp) pick() *frag {
	slices.SortStableFunc(w.frags, func(a, b *frag) int { return a.pc - b.pc })
	for i := 0; i+1 < len(w.frags); {
		a, b := w.frags[i], w.frags[i+1]
		if a.pc != b.pc || a.wait != nil || b.wait != nil {
			i++
			continue
		}
		a.mask |= b.mask
		a.stuck, a.yielded = false, a.yielded && b.yielded
		w.frags = slices.Delete(w.frags, i+1, i+2)
	}
	for _, f := range w.frags {
		if f.wait != nil && f.wait() {
			f.wait, f.why = nil, nil
			w.cta.cl.progress++
		}
		if f.wait == nil && !f.yielded && !f.stuck {
			return f
		}
	}
	return nil
}

// run executes up to budget instructions.
func (w *warp) run(budget int) {
	m := w.cta.cl.m
	m.at = w
	for _, f := range w.frags {
		f.yielded = false
	}
	for budget > 0 {
		f := w.pick()
		if f == nil {
			break
		}
		limit := len(m.p.code) + 1
		for _, g := range w.frags {
			if g != f && g.pc > f.pc {
				limit = min(limit, g.pc)
			}
		}
		budget = w.advance(f, limit, budget)
	}
	m.at, m.now = nil, nil
}

// advance executes instructions of a fragment until it waits, parts, or meets
// others.
func (w *warp) advance(f *frag, limit, budget int) int {
	cl := w.cta.cl
	m := cl.m
	for ; budget > 0; budget-- {
		if f.pc >= len(m.p.code) {
			w.exit(f, f.mask)
			return budget
		}
		i := &m.p.code[f.pc]
		m.now = i
		if m.steps++; m.steps > m.o.Limit && m.o.Limit > 0 {
			fail(Runaway, "%d instructions", m.steps)
		}
		mask := f.mask
		if i.guard >= 0 {
			w.pure = false
			p := w.predicate(i.guard, mask)
			if i.neg {
				p = ^p
			}
			mask &= p
		}
		if !i.spins {
			cl.progress++
		}
		switch {
		case mask == 0:
			f.pc++
		case i.kind == branch:
			m.report.count(i, w, mask)
			if mask == f.mask {
				f.pc = i.target
			} else {
				f.mask &^= mask
				f.pc++
				w.frags = append(w.frags, &frag{pc: i.target, mask: mask, yielded: f.yielded})
				return budget - 1
			}
			if f.yielded || f.pc < limit && len(w.frags) > 1 {
				return budget - 1
			}
		case i.kind == leave:
			m.report.count(i, w, mask)
			w.exit(f, mask)
			return budget - 1
		default:
			if i.kind != plain && !w.together(i, f, mask) {
				return budget
			}
			m.report.count(i, w, mask)
			w.current, w.pure, w.undef = f, i.pure, 0
			i.exec(w, mask)
			if i.shows {
				m.trace(w, i)
			}
			f.pc++
			if f.wait != nil {
				return budget - 1
			}
		}
		if f.pc >= limit {
			return budget - 1
		}
	}
	return 0
}

// together reports whether all lanes that an instruction needs are there.
func (w *warp) together(i *instr, f *frag, mask uint32) bool {
	need := w.alive
	if i.kind == collective {
		list := i.lanes(w, mask)
		need = 0
		for l := range 32 {
			if mask>>l&1 == 0 {
				continue
			}
			if need != 0 && uint32(list[l]) != need {
				fail(Divergence, "lanes that name different masks")
			}
			need = uint32(list[l])
		}
		if gone := need &^ w.alive; gone != 0 {
			fail(Divergence, "the mask %#x names lanes that have left (%#x)", need, gone)
		}
		if mask&^need != 0 {
			fail(Divergence, "the mask %#x leaves out lanes that execute it (%#x)", need, mask)
		}
	}
	if f.mask&need != need {
		f.stuck = true
		f.why = func() string { return fmt.Sprintf("for lanes %#x of its warp", need&^f.mask) }
		return false
	}
	if mask&need != need {
		fail(Divergence, "lanes %#x of %#x do not execute it", need&^mask, need)
	}
	return true
}

// exit ends lanes of a fragment.
func (w *warp) exit(f *frag, mask uint32) {
	for l := range 32 {
		if mask>>l&1 != 0 && w.stores[l].pending() {
			fail(Barriers, "lane %d leaves with stores from shared memory in flight", l)
		}
	}
	if w.groups.pending() && w.alive == mask {
		fail(InFlight, "the warp leaves with wgmmas in flight")
	}
	f.mask &^= mask
	if f.mask == 0 {
		w.frags = slices.DeleteFunc(w.frags, func(g *frag) bool { return g == f })
	} else {
		f.pc++
	}
	w.alive &^= mask
	for _, g := range w.frags {
		g.stuck = false
	}
	c := w.cta
	c.cl.progress++
	c.alive -= bits.OnesCount32(mask)
	c.cl.left(w, mask)
}
