package ptx

import "slices"

// A wgmma runs asynchronously: it reads and writes its accumulators, and reads
// its A fragments and its sparsity metadata, at any time until a
// wgmma.wait_group retires the group that it was committed to. The metadata
// register is the treacherous one, for no assembler warns: it is read when the
// tensor core starts on the instruction, long after it was issued.
//
// checkFlight follows the groups along every path and reports
//
//   - a write to a register that a wgmma in flight reads late, or any access to
//     an accumulator in flight (other than by a wgmma of the same accumulator);
//   - a register written while a metadata register in flight is dead, which
//     lets the assembler give both the same machine register;
//   - a wgmma whose accumulator or A fragment was touched since the last
//     wgmma.fence.

// use is the youngest wgmma in flight that uses a register.
type use struct {
	age int8 // groups committed since, itself included; 0: not yet committed
	by  int32
}

const (
	landed = 127 // age of a use that is over, or never was
	oldest = 100 // ages stop here
)

func younger(a, b use) use {
	if b.age < a.age || b.age == a.age && b.by < a.by {
		return b
	}
	return a
}

// flight is the state: for each register that some wgmma uses late, the uses
// as an accumulator and as a late source, and whether it was touched since the
// last fence.
type flight struct {
	acc, src []use
	dirty    []bool
}

type flights struct {
	*flow
	slot map[int32]int // register -> index in the state
	regs []int32       // index -> register
	meta []bool        // by index: a metadata register
	in   []*flight
	live []bitset       // registers live at the end of each block, by index
	said map[int32]bool // wgmmas whose metadata was reported as dead
}

func (f *flow) checkFlight(errs *errorList) {
	fl := &flights{flow: f, slot: map[int32]int{}, said: map[int32]bool{}}
	for _, i := range f.code {
		i.accesses(func(a access) {
			if !a.late {
				return
			}
			n, ok := fl.slot[a.reg]
			if !ok {
				n = len(fl.meta)
				fl.slot[a.reg] = n
				fl.meta = append(fl.meta, false)
				fl.regs = append(fl.regs, a.reg)
			}
			fl.meta[n] = fl.meta[n] || i.row.slots[a.slot].isMetadata()
		})
	}
	if len(fl.slot) == 0 {
		return
	}
	fl.in = make([]*flight, len(f.blocks))
	fl.in[0] = fl.newState()
	for n := range fl.in[0].dirty {
		fl.in[0].dirty[n] = true
	}
	for changed := true; changed; {
		changed = false
		for _, b := range f.order {
			if fl.in[b] == nil {
				continue
			}
			state := fl.in[b].clone()
			for n := f.blocks[b].lo; n < f.blocks[b].hi; n++ {
				fl.step(state, n)
			}
			for _, e := range f.blocks[b].next {
				if fl.in[e.to] == nil {
					fl.in[e.to] = fl.newState()
					changed = true
				}
				if fl.in[e.to].join(state) {
					changed = true
				}
			}
		}
	}
	fl.liveness()
	for _, b := range f.order {
		fl.report(errs, b)
	}
}

// isMetadata reports whether the slot is a wgmma's sparsity metadata.
func (s *slot) isMetadata() bool { return s.role == roleReadLate && s.n == 0 }

func (fl *flights) newState() *flight {
	n := len(fl.meta)
	s := &flight{acc: make([]use, n), src: make([]use, n), dirty: make([]bool, n)}
	for i := range n {
		s.acc[i], s.src[i] = use{age: landed}, use{age: landed}
	}
	return s
}

func (s *flight) clone() *flight {
	return &flight{slices.Clone(s.acc), slices.Clone(s.src), slices.Clone(s.dirty)}
}

func (s *flight) join(o *flight) bool {
	changed := false
	for i := range s.acc {
		a, b, d := younger(s.acc[i], o.acc[i]), younger(s.src[i], o.src[i]), s.dirty[i] || o.dirty[i]
		changed = changed || a != s.acc[i] || b != s.src[i] || d != s.dirty[i]
		s.acc[i], s.src[i], s.dirty[i] = a, b, d
	}
	return changed
}

// step takes the state through instruction n. A predicated commit, wait or
// fence may not have run, so it changes nothing.
func (fl *flights) step(s *flight, n int) {
	i := fl.code[n]
	if i.kind != instOp {
		return
	}
	sure := i.pred.IsZero()
	switch i.row.form {
	case "wgmma.commit_group.sync.aligned":
		if sure {
			s.each(func(u *use) {
				if u.age < oldest {
					u.age++
				}
			})
		}
		return
	case "wgmma.wait_group.sync.aligned":
		if pending := i.args[0].imm(); sure {
			s.each(func(u *use) {
				if u.age > 0 && int64(u.age) > pending {
					*u = use{age: landed}
				}
			})
		}
		return
	case "wgmma.fence.sync.aligned":
		if sure {
			clear(s.dirty)
		}
		return
	}
	i.accesses(func(a access) {
		at, ok := fl.slot[a.reg]
		switch {
		case !ok:
		case !a.late:
			s.dirty[at] = true
		case i.row.slots[a.slot].role == roleAccumulate:
			s.acc[at] = use{0, int32(n)}
		default:
			s.src[at] = use{0, int32(n)}
		}
	})
}

func (s *flight) each(visit func(*use)) {
	for i := range s.acc {
		if s.acc[i].age != landed {
			visit(&s.acc[i])
		}
		if s.src[i].age != landed {
			visit(&s.src[i])
		}
	}
}

// liveness finds, for each block, the late registers that are read after it.
func (fl *flights) liveness() {
	n := len(fl.meta)
	fl.live = make([]bitset, len(fl.blocks))
	for b := range fl.live {
		fl.live[b] = newBitset(n)
	}
	live := newBitset(n)
	for changed := true; changed; {
		changed = false
		for at := len(fl.order) - 1; at >= 0; at-- {
			b := fl.order[at]
			live.copyFrom(fl.live[b])
			for i := fl.blocks[b].hi - 1; i >= fl.blocks[b].lo; i-- {
				fl.liveBefore(live, fl.code[i])
			}
			for _, p := range fl.blocks[b].prev {
				if fl.live[p].or(live) {
					changed = true
				}
			}
		}
	}
}

func (fl *flights) liveBefore(live bitset, i *inst) {
	i.accesses(func(a access) {
		if at, ok := fl.slot[a.reg]; ok && a.write && i.pred.IsZero() {
			live.remove(at)
		}
	})
	i.accesses(func(a access) {
		if at, ok := fl.slot[a.reg]; ok && a.read {
			live.add(at)
		}
	})
}

// report walks a reachable block and reports its hazards.
func (fl *flights) report(errs *errorList, b int) {
	lo, hi := fl.blocks[b].lo, fl.blocks[b].hi
	// after[n] is what is live after each instruction of the block.
	after := make([]bitset, hi-lo)
	live := newBitset(len(fl.meta))
	live.copyFrom(fl.live[b])
	for n := hi - 1; n >= lo; n-- {
		after[n-lo] = slices.Clone(live)
		fl.liveBefore(live, fl.code[n])
	}
	state := fl.in[b].clone()
	for n := lo; n < hi; n++ {
		if i := fl.code[n]; i.kind == instOp || !i.pred.IsZero() {
			fl.hazards(errs, state, i)
			fl.reuse(errs, state, i, after[n-lo])
		}
		fl.step(state, n)
	}
}

func (fl *flights) hazards(errs *errorList, s *flight, i *inst) {
	k := fl.k
	i.accesses(func(a access) {
		at, ok := fl.slot[a.reg]
		if !ok {
			return
		}
		r := Reg{k, a.reg, k.regs[a.reg].typ}
		verb := "reads"
		if a.write {
			verb = "writes"
		}
		if u := s.acc[at]; u.age != landed && !fl.sameAccumulator(i, a, fl.code[u.by]) {
			k.report(errs, i.pos, "%s %s %s, an accumulator of the wgmma at %s, before the wgmma.wait_group that retires it",
				i.name(), verb, r, fl.code[u.by].pos)
			s.acc[at].age = landed
		}
		if u := s.src[at]; a.write && u.age != landed {
			what := "an A fragment"
			if fl.meta[at] {
				what = "the sparsity metadata"
			}
			k.report(errs, i.pos, "%s writes %s, %s of the wgmma at %s, before the wgmma.wait_group that retires it",
				i.name(), r, what, fl.code[u.by].pos)
			s.src[at].age = landed
		}
		if a.late && s.dirty[at] && !i.row.slots[a.slot].isMetadata() {
			k.report(errs, i.pos, "%s uses %s, which was touched since the last wgmma.fence", i.name(), r)
			s.dirty[at] = false
		}
	})
}

// sameAccumulator reports whether access a of i is the accumulator that the
// wgmma before also has, in the same shape: those run in order.
func (fl *flights) sameAccumulator(i *inst, a access, before *inst) bool {
	return a.late && i.row.slots[a.slot].role == roleAccumulate &&
		slices.Equal(i.args[a.slot].regs, before.args[0].regs) &&
		i.row.slots[a.slot].typ == before.row.slots[0].typ
}

// reuse reports a metadata register that is in flight but dead while i writes
// another register.
func (fl *flights) reuse(errs *errorList, s *flight, i *inst, live bitset) {
	written := int32(0)
	i.accesses(func(a access) {
		if a.write && !a.late && fl.k.regs[a.reg].typ != Pred {
			written = a.reg
		}
	})
	if written == 0 {
		return
	}
	for at, reg := range fl.regs {
		u := s.src[at]
		if !fl.meta[at] || u.age == landed || live.has(at) || reg == written || fl.said[u.by] {
			continue
		}
		fl.said[u.by] = true
		k := fl.k
		k.report(errs, i.pos, "%s writes %s while %s, the sparsity metadata of the wgmma at %s, is in flight and not read again: "+
			"the assembler may give both one register; read it after the wgmma.wait_group that retires it",
			i.name(), Reg{k, written, k.regs[written].typ}, Reg{k, reg, k.regs[reg].typ}, fl.code[u.by].pos)
	}
}
