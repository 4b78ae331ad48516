package verify

import (
	"math/bits"
	"slices"
)

// step carries s over one instruction that does not jump.
func (a *analysis) step(in *Inst, s *state) error {
	if a.quiet && (in.Op >= Vector && (in.D.Kind != Register || in.D.Reg >= FirstVec)) {
		return nil // how registers move does not depend on vectors, nor on what is written
	}
	if !a.quiet {
		if err := a.checkRegisters(in, s); err != nil {
			return err
		}
	}
	if in.Upper {
		s.dirty = true
	}
	switch in.Op {
	case Hint:
		return nil
	case ClearUpper:
		s.dirty = false
		for r := range s.defined.all {
			if r >= FirstVec && r < FirstMask {
				s.set(r, value{})
			}
		}
		return nil
	case Vector, VectorLoad, VectorStore, SetMask, FirstLanes:
		return a.stepVector(in, s)
	}
	return a.stepInteger(in, s)
}

// checkRegisters reports a register that is read before it is written, or is not
// the function's to write.
func (a *analysis) checkRegisters(in *Inst, s *state) (err error) {
	a.reads(in, func(r Reg) {
		if !s.defined.has(r) && err == nil {
			err = a.errorAt(in, "", "reads %s, which nothing has written on some way here", a.placeName(r))
		}
	})
	if in.Op == MoveIf && s.flag == fUndefined && err == nil {
		err = a.errorAt(in, "", "depends on flags that nothing has set")
	}
	return err
}

func (a *analysis) stepVector(in *Inst, s *state) error {
	v := value{k: vAny}
	if in.A.Kind == Memory || in.A.Kind == Slot {
		loaded, err := a.access(in, s, &in.A, false)
		if err != nil {
			return err
		}
		if in.Op == VectorLoad {
			v = loaded
		}
	}
	if in.D.Kind == Memory || in.D.Kind == Slot {
		_, err := a.access(in, s, &in.D, true)
		return err
	}
	if in.Op == SetMask && in.A.Kind == Register {
		if b := s.at(in.A.Reg); b.k == vBits {
			v = value{k: vMask, p: b.p, q: a.syms.constant(8 * in.Width)}
		}
	}
	if in.Op == FirstLanes {
		n, err := a.operand(in, s, &in.A)
		if err != nil {
			return err
		}
		v = a.firstLanes(s, n, in.Width)
	}
	if in.Flags == Clobbers {
		s.flag = fUndefined
	}
	if in.Op == VectorLoad && in.A.Kind == Register { // a move
		v = s.at(in.A.Reg)
	}
	if d := a.written(in); d != NoReg {
		s.set(d, v)
	}
	return nil
}

// firstLanes is the mask of the first n of lanes, as a conditional move would clamp
// n to them.
func (a *analysis) firstLanes(s *state, n value, lanes int64) value {
	if n.k != vInt {
		return value{k: vAny}
	}
	all, p := a.syms.constant(lanes), n.p
	if a.proves(s.known, p.minus(all)) {
		return value{k: vMask, p: all, q: all}
	}
	some, fits := a.proves(s.known, p), a.proves(s.known, all.minus(p))
	switch {
	case some && fits:
	case some:
		p = a.syms.lesserOf(p, all)
	case fits:
		p = a.syms.clampOf(p)
	default:
		p = a.syms.clampBelow(p, all)
	}
	return value{k: vMask, p: p, q: all}
}

// operand is an integer operand's value.
func (a *analysis) operand(in *Inst, s *state, o *Operand) (value, error) {
	switch o.Kind {
	case Immediate:
		if o.Imm > limit || o.Imm < -limit {
			return value{k: vAny}, nil
		}
		return value{k: vInt, p: a.syms.constant(o.Imm)}, nil
	case Register:
		return s.at(o.Reg), nil
	case Memory, Slot:
		return a.access(in, s, o, false)
	}
	return value{k: vAny}, nil
}

func (a *analysis) stepInteger(in *Inst, s *state) error {
	source := a.operand
	if in.Op == Address {
		source = a.address
	}
	x, err := source(in, s, &in.A)
	if err != nil {
		return err
	}
	var d, y value
	if in.D.Kind == Register {
		d = s.at(in.D.Reg)
	}
	if y, err = a.operand(in, s, &in.B); err != nil {
		return err
	}
	if in.Op == Compare || in.Op == Test {
		flag, diff := s.flag, s.diff
		a.compare(in.Op, s, x, y)
		a.sawFlags(s, flag, diff)
		return nil
	}
	r := a.result(in, s, x, y, d)
	if r.number() && !a.fitsRegister(s.known, r.p) {
		r = value{k: vAny}
	}
	a.setFlags(in, s, x, r)
	if in.D.Kind == Memory {
		_, err := a.access(in, s, &in.D, true)
		return err
	}
	if in.D.Kind == Slot {
		if at := a.slotAt(in.D.Disp); at < 0 || in.Width != a.slots[at].size || in.D.Symbol != a.slots[at].name {
			return a.errorAt(in, in.D.Symbol, "writes %d bytes at %d of the frame, where no such argument is", in.Width, in.D.Disp)
		}
	}
	if at := a.written(in); at != NoReg {
		s.set(at, r)
	}
	return nil
}

// setFlags sets the flags by what an instruction has made of x.
func (a *analysis) setFlags(in *Inst, s *state, x, r value) {
	if in.Flags == Keeps {
		return
	}
	shift := in.Op == ShiftLeft || in.Op == ShiftRight
	if c, ok := x.p.isConst(); shift && ok && x.k == vInt && c == 0 {
		return // a shift by nothing leaves flags alone
	}
	s.left, s.right = value{}, value{}
	switch {
	case in.Flags == Clobbers:
		s.flag = fUndefined
	case r.k != vInt:
		s.flag = fUnknown
	case shift: // whether the sign has overflowed is not defined
		s.flag, s.diff = fZero, r.p
	default:
		s.flag, s.diff = fNumber, r.p
	}
}

// Registers hold 64 bits. An integer of a call is taken to be below 2^40, and a
// product of two below 2^42: no memory is as large.
const maxScale = 1 << 20

// fitsRegister reports whether p cannot wrap around: by its form, or as a
// multiple of what is known to be small enough.
func (a *analysis) fitsRegister(f *fact, p poly) bool {
	small := func(p poly) bool {
		for _, t := range p.terms() {
			if t.m>>32 != 0 || t.m != 0 && (t.c > maxScale || t.c < -maxScale) {
				return false
			}
		}
		return true
	}
	if small(p) {
		return true
	}
	c := p.content(true)
	x, _ := p.divided(c)
	return small(x) && a.proves(f, x) && a.proves(f, a.syms.constant(min(limit<<12/c, maxCoeff)).minus(x))
}

func (a *analysis) compare(op Op, s *state, x, y value) {
	s.flag = fUnknown
	s.left, s.right = x, y
	switch {
	case op == Test && x.equal(y) && x.k == vInt:
		s.flag, s.diff = fNumber, x.p
		s.left, s.right = x, value{k: vInt}
	case op == Test && x.equal(y) && x.k == vPtr && a.regions[x.region].optional:
		s.flag = fNonzero // not the one that may be nil; others may be where nothing is
	case op == Compare && x.k == vInt && y.k == vInt,
		op == Compare && x.k == vPtr && y.k == vPtr && x.region == y.region:
		s.flag, s.diff = fNumber, x.p.minus(y.p)
	case op == Compare && x.k == vLesser && y.k == vInt:
	}
}

// result is what an integer instruction puts into its destination.
func (a *analysis) result(in *Inst, s *state, x, y, d value) value {
	unknown := value{k: vAny}
	switch in.Op {
	case Move:
		if in.A.Kind == Memory || in.A.Kind == Slot || in.Width == 8 {
			return x
		}
		return a.narrowed(s, x, in.Width)
	case Extract:
		if c, ok := x.p.isConst(); ok && x.k == vInt && y.k == vBytes && c&7 == 0 && c>>8&7 == 0 && c&0xff+c>>8&0xff <= 8*in.Width {
			return a.fromBytes(y, c&0xff/8, c>>8&0xff/8)
		} else if ok && x.k == vInt && y.k == vInt && c&0xff == 0 && c>>8 < 32 && a.proves(s.known, y.p) {
			by := int64(1) << (c >> 8) // what is left of a division
			return value{k: vInt, p: y.p.plusTimes(a.quotient(s.known, y.p, by), -by)}
		}
	case Address:
		return x
	case Add:
		switch {
		case d.number() && x.k == vInt:
			return value{k: d.k, region: d.region, p: d.p.plus(x.p)}
		case d.k == vInt && x.k == vPtr:
			return value{k: vPtr, region: x.region, p: d.p.plus(x.p)}
		}
	case Sub:
		switch {
		case d.number() && x.k == vInt:
			return value{k: d.k, region: d.region, p: d.p.minus(x.p)}
		case d.k == vPtr && x.k == vPtr && d.region == x.region:
			return value{k: vInt, p: d.p.minus(x.p)}
		}
	case Mul:
		if x.k == vInt && y.k == vInt {
			return value{k: vInt, p: x.p.times(y.p)}
		}
	case ShiftLeft:
		if c, ok := x.p.isConst(); ok && x.k == vInt && d.k == vInt && c >= 0 && c < 32 {
			return value{k: vInt, p: d.p.scaled(1 << c)}
		}
	case ShiftRight:
		if c, ok := x.p.isConst(); ok && x.k == vInt && d.k == vBytes && c >= 0 && c < 64 && c%8 == 0 {
			return value{k: vBytes, region: d.region, p: d.p.plusConst(c / 8), q: d.q.plusConst(-c / 8)}
		}
		if c, ok := x.p.isConst(); ok && x.k == vInt && d.k == vInt && c >= 0 && c < 32 && a.proves(s.known, d.p) {
			return value{k: vInt, p: a.quotient(s.known, d.p, 1<<c)}
		}
	case Negate:
		if d.k == vInt {
			return value{k: vInt, p: d.p.scaled(-1)}
		}
	case CountOnes:
		if t, ok := x.p.isSymbol(); ok && x.k == vInt {
			if i := a.syms.info[t]; i.kind == element {
				return value{k: vInt, p: a.onesAt(i.region, i.pos, i.width)}
			} else if i.kind == lowest {
				i.kind = lowestOnes
				return value{k: vInt, p: a.upTo(i.by, i)}
			}
		}
	case LowBits:
		// Of all ones, as many as A says, which counts in its low byte only.
		if y.k == vInt && y.p.equal(a.syms.constant(-1)) && x.k == vInt && a.proves(s.known, x.p) && a.proves(s.known, a.syms.constant(64).minus(x.p)) {
			return value{k: vBits, p: x.p}
		}
		n, ok := x.p.isConst()
		if t, whole := y.p.isSymbol(); ok && whole && x.k == vInt && y.k == vInt && n >= 0 && n < 32 {
			if i := a.syms.info[t]; i.kind == element && n <= 8*i.width {
				return value{k: vInt, p: a.upTo(1<<n-1, symbolInfo{kind: lowest, region: i.region, width: i.width, pos: i.pos, by: n})}
			}
		}
	case Rotate:
		n, ok := x.p.isConst()
		if t, whole := y.p.isSymbol(); ok && whole && x.k == vInt && y.k == vInt && in.Width == 4 && n >= 0 && n < 32 {
			if i := a.syms.info[t]; i.kind == element && i.width == 4 {
				return value{k: vRotated, region: i.region, p: i.pos, q: a.syms.constant(n)}
			}
		}
	case And:
		// Of a rotated integer, one of its bytes where the rotation has left it.
		if mask, ok := x.p.isConst(); ok && x.k == vInt && d.k == vRotated && mask > 0 {
			at := int64(bits.TrailingZeros64(uint64(mask)))
			from := at + d.q.constTerm()
			if mask == 0xff<<at && at <= 24 && from%8 == 0 {
				return value{k: vInt, p: a.elementAt(d.region, d.p.plusConst(from%32/8), 1).scaled(1 << at)}
			}
		}
	case MoveIf:
		return a.moveIf(in, s, x, d)
	}
	return unknown
}

// upTo is a symbol that is at most the given.
func (a *analysis) upTo(most int64, i symbolInfo) poly {
	return a.syms.derived(symbolInfo{kind: i.kind, region: i.region, width: i.width, by: i.by, pos: i.pos}, func(e poly) []poly {
		return []poly{a.syms.constant(most).minus(e)}
	})
}

// quotient is floor(p / by) for p >= 0. A product with by/d, rounded up, stands
// for a division by d as long as the error of the rounding does not add up to 1.
func (a *analysis) quotient(f *fact, p poly, by int64) poly {
	c := p.content(true)
	if shared := gcd(by, max(c, 1)); shared > 1 {
		p, _ = p.divided(shared)
		by, c = by/shared, c/shared
	}
	if c > 1 {
		x, _ := p.divided(c)
		for d := by / c; d <= by/c+1; d++ {
			if excess := c*d - by; d > 1 && excess >= 0 && excess < d && a.proves(f, a.syms.constant(by-1).plusTimes(x, -excess)) {
				return a.syms.floorOf(x, d)
			}
		}
	}
	return a.syms.floorOf(p, by)
}

// narrowed is the low bytes of a value, zero-extended.
func (a *analysis) narrowed(s *state, x value, width int64) value {
	switch {
	case x.k == vBytes:
		return a.fromBytes(x, 0, width)
	case x.k == vInt && width <= 4 && a.proves(s.known, x.p) && a.proves(s.known, a.syms.constant(1<<(8*width)-1).minus(x.p)):
		return x
	}
	return value{k: vAny}
}

// fromBytes is the integer of width bytes at a place in bytes loaded at once.
func (a *analysis) fromBytes(v value, at, width int64) value {
	if width != 1 || at+width > v.q.constTerm() {
		return value{k: vAny}
	}
	return value{k: vInt, p: a.elementAt(v.region, v.p.plusConst(at), 1)}
}

// moveIf is the value of a conditional move of x over d.
func (a *analysis) moveIf(in *Inst, s *state, x, d value) value {
	c, unknown := in.Cond, value{k: vAny}
	if x.equal(d) {
		return x
	}
	if s.flag == fNumber {
		known := s.known
		can := a.assume(s, c)
		s.known = known
		if !can {
			if c == Less && s.left.equal(x) && d.k == vInt && x.k == vInt && !a.proves(s.known, d.p) {
				// d is the lesser; that x bounds it serves a maximum with 0.
				return value{k: vLesser, p: d.p, q: x.p}
			}
			return d
		}
		can = a.assume(s, negated[c])
		s.known = known
		if !can {
			a.saw(met)
			return x
		}
	}
	a.saw(met)
	// After a comparison of x with d, the lesser or the greater of both.
	least := c == Less || c == LessEqual
	if c == Equal || c == NotEqual || c == Always {
		return unknown
	}
	if s.left.equal(d) && s.right.equal(x) {
		least = !least
	} else if !s.left.equal(x) || !s.right.equal(d) {
		return unknown
	}
	if least {
		if x.k != vInt || d.k != vInt {
			return unknown
		}
		if a.proves(s.known, x.p) && a.proves(s.known, d.p) {
			return value{k: vInt, p: a.syms.lesserOf(d.p, x.p)}
		}
		return value{k: vLesser, p: d.p, q: x.p}
	}
	if zero, ok := x.p.isConst(); x.k == vInt && ok && zero == 0 {
		switch {
		case d.k == vInt:
			return value{k: vInt, p: a.syms.clampOf(d.p)}
		case d.k == vLesser && a.proves(s.known, d.q):
			return value{k: vInt, p: a.syms.clampBelow(d.p, d.q)}
		}
	}
	return unknown
}

// elementAt is the integer of width bytes at pos in a region.
func (a *analysis) elementAt(r int, pos poly, width int64) poly {
	most := int64(1)<<(8*width) - 1
	if data := a.regions[r].data; data != nil && width == 1 {
		if x, ok := pos.isSymbol(); ok && a.syms.info[x].kind == element && a.syms.info[x].width == 1 && countsBits(data) {
			return a.onesAt(a.syms.info[x].region, a.syms.info[x].pos, 1)
		}
		most = int64(slices.Max(data))
	}
	return a.syms.derived(symbolInfo{kind: element, region: r, width: width, pos: pos}, func(e poly) []poly {
		return []poly{a.syms.constant(most).minus(e)}
	})
}

// countsBits reports whether a table has, for each byte, how many bits are set.
func countsBits(data []byte) bool {
	for i, n := range data {
		if int(n) != bits.OnesCount(uint(i)) {
			return false
		}
	}
	return len(data) == 256
}

// onesAt is the number of bits set in the width bytes at pos.
func (a *analysis) onesAt(r int, pos poly, width int64) poly {
	return a.syms.derived(symbolInfo{kind: ones, region: r, width: width, pos: pos}, func(e poly) []poly {
		return []poly{a.syms.constant(8 * width).minus(e)}
	})
}
