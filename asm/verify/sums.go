package verify

import (
	"cmp"
	"slices"
)

// sumOver is the sum of by over the rounds 0 .. i-1, where by may hold elements
// of a stream that the rounds read on: their sum is a prefix sum.
func (a *analysis) sumOver(by poly, t *trial) (poly, bool) {
	i := t.i
	type read struct {
		s symbol
		c int64
	}
	groups := map[[2]int][]read{} // by region and kind
	var keys [][2]int
	free := func(t term) bool { return !a.syms.monoDependsOn(t.m, i) }
	total := by.only(free).times(a.syms.poly(i))
	for _, m := range by.terms() {
		if free(m) {
			continue
		}
		s, ok := m.m.isSymbol()
		if !ok || s == i {
			return nil, false
		}
		o := &a.syms.info[s]
		if o.kind != element && o.kind != ones && o.kind != prefix {
			return nil, false
		}
		k := [2]int{o.region, int(o.kind)}
		if o.kind == prefix {
			k[0] = o.sum
		}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], read{s, m.c})
	}
	next := a.syms.poly(i).plusConst(1)
	for _, k := range keys {
		g := groups[k]
		if symbolKind(k[1]) == prefix {
			// Of a sum that has been taken forward, the rounds cancel.
			if len(g) != 2 || g[0].c+g[1].c != 0 {
				return nil, false
			}
			p, q := a.syms.info[g[0].s].pos, a.syms.info[g[1].s].pos
			if a.syms.substitute(p, i, next).equal(q) {
				p, q, g[0] = q, p, g[1]
			}
			if !a.syms.substitute(q, i, next).equal(p) {
				return nil, false
			}
			first := a.syms.substitute(q, i, nil)
			total = total.plusTimes(a.syms.prefixAt(k[0], q).minus(a.syms.prefixAt(k[0], first)), g[0].c)
			continue
		}
		pos := func(r read) poly { return a.syms.info[r.s].pos }
		base := pos(g[0])
		for _, r := range g {
			d, ok := pos(r).minus(base).isConst()
			if !ok {
				return nil, false
			}
			if d < 0 {
				base = pos(r)
			}
		}
		slices.SortFunc(g, func(x, y read) int {
			return cmp.Compare(pos(x).minus(base).constTerm(), pos(y).minus(base).constTerm())
		})
		period, ok := a.syms.substitute(base, i, next).minus(base).isConst()
		if !ok || period <= 0 {
			return nil, false
		}
		u := sum{region: k[0], period: period, bits: symbolKind(k[1]) == ones}
		unit, end := int64(0), int64(0)
		for _, r := range g {
			unit = gcd(max(r.c, -r.c), unit)
		}
		for _, r := range g {
			at, width := pos(r).minus(base).constTerm(), a.syms.info[r.s].width
			if at < end || at+width > period || r.c < 0 || u.bits && (at != end || r.c != unit) {
				return nil, false
			}
			end = at + width
			u.terms = append(u.terms, sumTerm{at, width, r.c / unit})
		}
		if u.bits {
			if end != period {
				return nil, false
			}
			u.period, u.terms = 0, nil
		}
		index := a.syms.sumIndex(u)
		first := a.syms.substitute(base, i, nil)
		now := a.syms.prefixAt(index, base)
		total = total.plusTimes(now.minus(a.syms.prefixAt(index, first)), unit)
		step := poly(nil)
		for _, r := range g {
			step = step.plusTimes(a.syms.poly(r.s), r.c/unit)
		}
		t.sums = append(t.sums, stepped{index, now, step, a.syms.prefixAt(index, base.plusConst(period))})
	}
	return total, true
}

// fold writes sums that have been taken forward by one step as one symbol.
func (a *analysis) fold(s *state, sums []stepped) {
	for _, u := range sums {
		now, ok := u.now.isSymbol()
		if !ok {
			continue
		}
		for r := range s.defined.all {
			v := s.at(r)
			if !v.number() || v.p == nil {
				continue
			}
			v.p = foldPoly(v.p, now, u)
			for _, t := range v.p.terms() { // and where integers are read
				for m := t.m; m != 0; m >>= 16 {
					if e := a.syms.info[symbol(m)]; e.kind == element {
						if pos := foldPoly(e.pos, now, u); !pos.equal(e.pos) {
							v.p = a.syms.substitute(v.p, symbol(m), a.elementAt(e.region, pos, e.width))
						}
					}
				}
			}
			if !v.p.equal(s.at(r).p) {
				s.set(r, v)
			}
		}
	}
}

func foldPoly(p poly, now symbol, u stepped) poly {
	c := p.coefficient(mono(now))
	if c == 0 {
		return p
	}
	for _, t := range u.step.terms() {
		if p.coefficient(t.m) != t.c*c {
			return p
		}
	}
	return p.plusTimes(u.now.plus(u.step).minus(u.next), -c)
}
