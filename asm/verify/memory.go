package verify

import "slices"

// address is the value of a memory operand's address.
func (a *analysis) address(in *Inst, s *state, o *Operand) (value, error) {
	if o.Kind != Memory {
		return value{k: vAny}, nil
	}
	if o.Base == NoReg {
		r := slices.IndexFunc(a.regions, func(r region) bool { return !r.arg && r.name == o.Symbol })
		if r < 0 {
			return value{}, a.errorAt(in, o.Symbol, "names a table that the file does not have")
		}
		return value{k: vPtr, region: r, p: a.syms.constant(o.Disp)}, nil
	}
	v := s.at(o.Base)
	v.p = v.p.plusConst(o.Disp)
	if o.Index != NoReg {
		i := s.at(o.Index)
		switch {
		case i.k == vInt && v.number():
			v.p = v.p.plusTimes(i.p, int64(o.Scale))
		case v.k == vInt && i.k == vPtr && o.Scale == 1:
			v = value{k: vPtr, region: i.region, p: v.p.plus(i.p)}
		default:
			return value{k: vAny}, nil
		}
	}
	if !v.number() {
		return value{k: vAny}, nil
	}
	return v, nil
}

// access checks an access to memory and returns what a load gives.
func (a *analysis) access(in *Inst, s *state, o *Operand, write bool) (value, error) {
	unknown := value{k: vAny}
	if o.Kind == Slot {
		i := a.slotAt(o.Disp)
		switch {
		case i < 0 || in.Width > a.slots[i].size:
			return value{}, a.errorAt(in, o.Symbol, "accesses %d bytes at %d of the frame, where no such argument is", in.Width, o.Disp)
		case o.Symbol != a.slots[i].name:
			return value{}, a.errorAt(in, o.Symbol, "names argument %s where %s lies", o.Symbol, a.slots[i].name)
		case write:
			return unknown, a.errorAt(in, o.Symbol, "writes a vector over an argument")
		}
		v := s.at(numRegs + Reg(i))
		if in.Width == a.slots[i].size {
			return v, nil
		}
		return a.narrowed(s, v, in.Width), nil
	}
	v, err := a.address(in, s, o)
	if err != nil {
		return value{}, err
	}
	if v.k != vPtr {
		if a.quiet {
			return unknown, nil
		}
		if v.k == vInt {
			return value{}, a.errorAt(in, "", "goes to address %s, where no argument is", a.format(v.p))
		}
		return value{}, a.errorAt(in, "", "goes to an address of which nothing is known")
	}
	if !a.quiet {
		if err := a.checkAccess(in, s, v, write); err != nil {
			return value{}, err
		}
	}
	if write && !a.quiet {
		a.covers(in, s, v)
	}
	r := &a.regions[v.region]
	switch {
	case write, r.write: // what an output holds may change
		return unknown, nil
	case in.Op == Move && in.Width <= 4:
		return value{k: vInt, p: a.elementAt(v.region, v.p, in.Width)}, nil
	case in.Op == Move && r.elem == 1:
		return value{k: vBytes, region: v.region, p: v.p, q: a.syms.constant(in.Width)}, nil
	case in.Op == VectorLoad && r.data != nil && in.Mask == NoReg:
		return a.maskFrom(s, r, v.p, in.Width), nil
	}
	return unknown, nil
}

// maskFrom is what a load from a table gives: if the table is ones up to some
// place and zeros from there on, a mask.
func (a *analysis) maskFrom(s *state, r *region, at poly, width int64) value {
	n := int64(0)
	for n < int64(len(r.data)) && r.data[n] == 0xff {
		n++
	}
	for _, b := range r.data[n:] {
		if b != 0 {
			return value{k: vAny}
		}
	}
	if lanes, ok := a.syms.constant(n).minus(at).divided(4); ok && n > 0 && a.proves(s.known, lanes) {
		return value{k: vMask, p: lanes, q: a.syms.constant(width / 4)}
	}
	return value{k: vAny}
}

// extent is the bytes that an access touches, and what is known where it touches
// any. Where it is not exact it touches some of these bytes.
func (a *analysis) extent(in *Inst, s *state) (size poly, f *fact, exact bool) {
	f = s.known
	if in.Mask == NoReg {
		return a.syms.constant(in.Width), f, true
	}
	mask := s.at(in.Mask)
	lanes := in.Width / in.Lane
	if mask.k != vMask || mask.q.constTerm() < lanes {
		return a.syms.constant(in.Width), f, false
	}
	n := mask.p
	if i := a.clampedLanes(in, s); i != nil {
		// More than none means that the clamp at 0 did nothing.
		f = f.with(n.plusConst(-1)).with(i.pos.minus(n)).with(i.pos.plusConst(-1))
	}
	if a.proves(f, a.syms.constant(lanes).minus(n)) {
		return n.scaled(in.Lane), f, true
	}
	return a.syms.constant(in.Width), f, a.proves(f, n.plusConst(-lanes))
}

// clampedLanes is the lanes of an access's mask if their number was clamped at 0.
func (a *analysis) clampedLanes(in *Inst, s *state) *symbolInfo {
	if in.Mask == NoReg || s.at(in.Mask).k != vMask {
		return nil
	}
	if t, ok := s.at(in.Mask).p.isSymbol(); ok && a.syms.info[t].kind == clamped {
		return &a.syms.info[t]
	}
	return nil
}

// checkAccess proves that an access lies in its region.
func (a *analysis) checkAccess(in *Inst, s *state, v value, write bool) error {
	r := &a.regions[v.region]
	if write && !r.write {
		return a.errorAt(in, r.name, "writes %s, which is for reading", r.name)
	}
	size, f, _ := a.extent(in, s)
	row, at := poly(nil), v.p
	if r.rows != nil {
		var ok bool
		if row, at, ok = v.p.split(r.stride); ok {
			row, ok = row.divided(r.pitch)
		}
		if !ok {
			return a.errorAt(in, r.name, "is at %s, which is no place in rows of %s", a.format(v.p), r.name)
		}
		if !a.proves(f, row) || !a.proves(f, r.rows.minus(row).plusConst(-1)) {
			return a.errorAt(in, r.name, "touches row %s of %s, of which there are %s: not proved to be one of them", a.format(row), r.name, a.format(r.rows))
		}
	}
	end := at.plus(size)
	if !a.proves(f, at) || !a.proves(f, r.length.minus(end)) {
		what := "bytes"
		if r.rows != nil {
			what = "row bytes"
		}
		return a.errorAt(in, r.name, "touches %s [%s, %s) of %s, which has %s: not proved to lie within", what, a.format(at), a.format(end), r.name, a.format(r.length))
	}
	if in.Align > 1 {
		if !v.p.dividedBy(in.Align) || r.align == 0 || r.align%in.Align != 0 {
			return a.errorAt(in, r.name, "needs an address that is a multiple of %d; %s + %s is not proved to be one", in.Align, r.name, a.format(v.p))
		}
	}
	if r.arg {
		a.count(r.name, write)
	}
	return nil
}
