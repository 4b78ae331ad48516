package verify

import "slices"

// valueKind is what is known of a register.
type valueKind uint8

const (
	vAny     valueKind = iota // nothing
	vInt                      // p
	vPtr                      // p bytes into a region
	vLesser                   // min(p, q), which may be negative
	vBits                     // an integer whose low p bits are set
	vMask                     // a mask of q lanes, the first p of them set
	vBytes                    // the q bytes from p on in a region, the first one lowest, then zeros
	vRotated                  // the 4 bytes from p on in a region, rotated right by q bits
)

type value struct {
	k      valueKind
	region int
	p, q   poly
}

func (v value) equal(w value) bool {
	return v.k == w.k && v.region == w.region && v.p.equal(w.p) && v.q.equal(w.q)
}

// number reports whether v has a symbolic value that loops may step.
func (v value) number() bool { return v.k == vInt || v.k == vPtr }

const maxSlots = 16

// numPlaces is the registers and, behind them, the slots of arguments.
const numPlaces = numRegs + maxSlots

// flagKind is what is known of the flags.
type flagKind uint8

const (
	fUndefined flagKind = iota
	fUnknown            // set by an instruction of which nothing is known
	fNumber             // as a comparison of diff with 0
	fZero               // the same, but for its sign
	fNonzero            // not 0
)

// state is what is known at a place of the program, on some path to it.
type state struct {
	defined regSet // the places that have been written
	banks   [numPlaces / bankSize]*bank
	own     uint16 // the banks that no other state has
	flag    flagKind
	diff    poly // fNumber, fZero
	// Of a comparison, what was compared: a conditional move of one of them is
	// their minimum or maximum.
	left, right value
	known       *fact
	dirty       bool // upper parts of vector registers
	cost        poly // instructions executed, at most
	cover       coverage
}

// A bank is the values of some places, which states share until one of them
// writes one. Where there is none, nothing is known of them.
type bank [bankSize]value

const bankSize = 8

// at is the value of a place; of one that has not been written it is any.
func (s *state) at(r Reg) value {
	if b := s.banks[r/bankSize]; b != nil && s.defined.has(r) {
		return b[r%bankSize]
	}
	return value{}
}

// set changes the value of a place.
func (s *state) set(r Reg, v value) {
	s.defined.add(r)
	i := r / bankSize
	if v.k == vAny && (s.banks[i] == nil || s.banks[i][r%bankSize].k == vAny) {
		return
	}
	if s.own>>i&1 == 0 {
		b := &bank{}
		if s.banks[i] != nil {
			*b = *s.banks[i]
		}
		s.banks[i] = b
		s.own |= 1 << i
	}
	s.banks[i][r%bankSize] = v
}

// drop forgets the places that are not live: nothing reads them.
func (s *state) drop(live regSet) {
	s.defined = s.defined.and(live)
	for i := range s.banks {
		if b := Reg(i * bankSize); live[b>>6]>>(b&63)&(1<<bankSize-1) == 0 {
			s.banks[i] = nil
			s.own &^= 1 << i
		}
	}
}

func (s *state) clone() *state {
	s.own = 0
	c := *s
	c.cover = s.cover.clone()
	return &c
}

// shares reports whether s and t have the bank of r in common.
func (s *state) shares(t *state, r Reg) bool { return s.banks[r/bankSize] == t.banks[r/bankSize] }

// edge is a state on its way to a block.
type edge struct {
	to int
	s  *state
}

// merge joins states at a block into few: two become one where nothing that is
// live is lost.
func (a *analysis) merge(block int, states []*state) []*state {
	var kept []*state
next:
	// The last to come have come furthest: what they have written bounds what the
	// others have.
	for _, s := range slices.Backward(states) {
		for i, k := range kept {
			if m, ok := a.merged(block, k, s); ok {
				kept[i] = m
				continue next
			}
		}
		kept = append(kept, s)
	}
	return kept
}

func (a *analysis) merged(block int, s, t *state) (*state, bool) {
	a.hasty = true
	defer func() { a.hasty = false }()
	live := a.blocks[block].live
	both := live.and(s.defined).and(t.defined)
	// What tells the states apart is looked for first.
	for r := range both.all {
		if r >= FirstVec && r < numRegs || s.shares(t, r) {
			continue
		}
		if v, w := s.at(r), t.at(r); !v.equal(w) {
			if v.k != w.k || v.region != w.region || !v.number() {
				return nil, false
			}
			if d := v.p.minus(w.p); len(a.steps) == 0 && (a.differs(d) || a.differs(d.scaled(-1))) {
				return nil, false
			}
		}
	}
	m := s.clone()
	m.drop(both)
	m.known = common(s.known, t.known)
	m.dirty = s.dirty || t.dirty
	m.flag, m.diff, m.left, m.right = fUnknown, nil, value{}, value{}
	if s.flag == fUndefined || t.flag == fUndefined {
		m.flag = fUndefined
	}
	for r := range both.all {
		if s.shares(t, r) {
			continue
		}
		v, w := s.at(r), t.at(r)
		switch {
		case v.equal(w):
		case r >= FirstVec && r < numRegs:
			m.set(r, value{})
		default:
			p, ok := a.mergedPoly(r, s, t)
			if !ok {
				return nil, false
			}
			v.p = p
			m.set(r, v)
		}
	}
	c, ok := a.mergedCoverage(s, t)
	if !ok {
		return nil, false
	}
	m.cover = c
	m.cost = a.atMost(s, t)
	return m, true
}

// mergedPoly is a polynomial that is the number at r in both states.
func (a *analysis) mergedPoly(r Reg, s, t *state) (poly, bool) {
	p, q := s.at(r).p, t.at(r).p
	d := p.minus(q)
	if !a.differs(d) && !a.differs(d.scaled(-1)) {
		if q, ok := a.general(s, t, p, q); ok {
			return q, true
		}
	}
	// What the contract says of the whole may be what both amount to.
	for l := a.loop; l != nil; l = l.outer {
		for _, step := range a.steps {
			v := l.begin.at(r)
			c := v.p.plus(step)
			if v.number() && a.provesZero(s.known, p.minus(c)) && a.provesZero(t.known, q.minus(c)) {
				return c, true
			}
		}
	}
	return nil, false
}

// general is one of p in s and q in t that holds in both.
func (a *analysis) general(s, t *state, p, q poly) (poly, bool) {
	d := p.minus(q)
	switch {
	// Where one way fixes a symbol, such as a count of 0, the other may be the
	// general form of both.
	case a.provesZero(s.known, d), a.fixed(s, t, d):
		return q, true
	case a.provesZero(t.known, d), a.fixed(t, s, d):
		return p, true
	}
	return nil, false
}

// differs reports whether p is above 0 at a glance: no term is negative, and one
// is of symbols that are at least 1.
func (a *analysis) differs(p poly) bool {
	return nonNegative(p) && slices.ContainsFunc(p.terms(), func(t term) bool {
		for m := t.m; m != 0; m >>= 16 {
			if !a.syms.info[symbol(m)].positive {
				return false
			}
		}
		return true
	})
}

// fixed reports whether d is 0 by an equation that holds in s and not in t.
func (a *analysis) fixed(s, t *state, d poly) bool {
	for f, end := s.known, common(s.known, t.known); f != end; f = f.prev {
		for _, m := range f.p.terms() {
			x, ok := m.m.isSymbol()
			if !ok || m.c != 1 && m.c != -1 {
				continue
			}
			v, ok := a.solveFor(f.p, x)
			if ok && a.syms.substitute(d, x, v) == nil && a.proves(s.known, f.p.scaled(-1)) {
				return true
			}
		}
	}
	return false
}

// atMost bounds the costs of both states.
func (a *analysis) atMost(s, t *state) poly {
	d := s.cost.minus(t.cost)
	switch {
	case nonNegative(d) || a.proves(common(s.known, t.known), d):
		return s.cost
	case nonNegative(d.scaled(-1)) || a.proves(common(s.known, t.known), d.scaled(-1)):
		return t.cost
	}
	return most(s.cost, t.cost)
}
