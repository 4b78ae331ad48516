package ptx

import "fmt"

// check finds what only the whole kernel shows: labels that are nowhere or out
// of reach, registers read before they are written, and registers touched
// while a wgmma in flight uses them.
func (k *Kernel) check(errs *errorList) {
	before := len(errs.list)
	for i := range k.code {
		k.checkBranch(errs, &k.code[i])
	}
	if len(errs.list) > before {
		return
	}
	f := newFlow(k)
	f.checkDefined(errs)
	f.checkFlight(errs)
}

func (k *Kernel) report(errs *errorList, p position, format string, args ...any) {
	errs.addError(&Error{Kernel: k.name, Pos: p.String(), Msg: fmt.Sprintf(format, args...)})
}

func (k *Kernel) checkBranch(errs *errorList, i *inst) {
	if i.kind != instBranch {
		return
	}
	switch l := &k.labels[i.label]; {
	case !l.placed:
		k.report(errs, i.pos, "branch to the label %s, which is not placed", l.name)
	case !k.within(i.scope, l.scope):
		k.report(errs, i.pos, "branch to the label %s inside a scope that does not hold the branch", l.name)
	}
}

// fact says that a register is written where a predicate has a value: what a
// predicated instruction leaves behind.
type fact struct {
	reg, pred int32
	neg       bool
}

// defined is the analysis of definite assignment. Its sets hold the registers
// that are written on every path, then the facts that hold on every path.
type defined struct {
	*flow
	regs  int
	index map[fact]int
	facts []fact
	in    []bitset
}

func (f *flow) checkDefined(errs *errorList) {
	d := &defined{flow: f, regs: len(f.k.regs), index: map[fact]int{}}
	for _, i := range f.code {
		if i.pred.IsZero() {
			continue
		}
		i.accesses(func(a access) {
			if c := (fact{a.reg, i.pred.id, i.neg}); a.write {
				if _, ok := d.index[c]; !ok {
					d.index[c] = len(d.facts)
					d.facts = append(d.facts, c)
				}
			}
		})
	}
	size := d.regs + len(d.facts)
	d.in = make([]bitset, len(f.blocks))
	for b := range d.in {
		d.in[b] = newBitset(size)
		if b != 0 {
			for i := range d.in[b] {
				d.in[b][i] = ^uint64(0)
			}
		}
	}
	state, out := newBitset(size), newBitset(size)
	for changed := true; changed; {
		changed = false
		for _, b := range f.order {
			state.copyFrom(d.in[b])
			d.run(b, state, nil)
			for _, e := range f.blocks[b].next {
				out.copyFrom(state)
				d.assume(out, e)
				if d.in[e.to].and(out) {
					changed = true
				}
			}
		}
	}
	for _, b := range f.order {
		state.copyFrom(d.in[b])
		d.run(b, state, func(i *inst, a access) {
			r := Reg{f.k, a.reg, f.k.regs[a.reg].typ}
			f.k.report(errs, i.pos, "%s is read (by %s) before it is written on every path (made at %s; say Unspecified if any value will do)",
				r, i.name(), f.k.regs[a.reg].pos)
		})
	}
}

func (i *inst) name() string {
	switch {
	case i.kind == instBranch:
		return "bra"
	case i.kind == instOp:
		return i.row.form
	}
	return "ret"
}

// run takes the state through a block; undefined hears of bad reads.
func (d *defined) run(b int, state bitset, undefined func(*inst, access)) {
	for _, i := range d.code[d.blocks[b].lo:d.blocks[b].hi] {
		i.accesses(func(a access) {
			switch {
			case a.read:
				if undefined != nil && !state.has(int(a.reg)) && !d.holds(state, i, a) {
					undefined(i, a)
					state.add(int(a.reg)) // complain once
				}
			case a.write:
				d.write(state, i, a.reg)
			}
		})
	}
}

// holds reports whether a predicated instruction reads what was written under
// the same predicate.
func (d *defined) holds(state bitset, i *inst, a access) bool {
	if i.pred.IsZero() || a.slot < 0 {
		return false
	}
	n, ok := d.index[fact{a.reg, i.pred.id, i.neg}]
	return ok && state.has(d.regs+n)
}

func (d *defined) write(state bitset, i *inst, reg int32) {
	if d.k.regs[reg].typ == Pred {
		for n, c := range d.facts {
			if c.pred == reg {
				state.remove(d.regs + n)
			}
		}
	}
	if i.pred.IsZero() {
		state.add(int(reg))
		return
	}
	if reg == i.pred.id {
		return
	}
	state.add(d.regs + d.index[fact{reg, i.pred.id, i.neg}])
	if n, ok := d.index[fact{reg, i.pred.id, !i.neg}]; ok && state.has(d.regs+n) {
		state.add(int(reg))
	}
}

// assume turns facts into definite assignments on an edge that fixes their
// predicate.
func (d *defined) assume(state bitset, e edge) {
	if e.pred == 0 {
		return
	}
	for n, c := range d.facts {
		if c.pred == e.pred && c.neg == e.neg && state.has(d.regs+n) {
			state.add(int(c.reg))
		}
	}
}
