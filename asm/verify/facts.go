package verify

import "slices"

// fact is a polynomial that is at least 0, in front of those known before it.
type fact struct {
	p     poly
	prev  *fact
	other *fact // the last of those before that says something else, not less
	depth int
}

func (f *fact) with(p poly) *fact {
	if _, ok := p.isConst(); ok {
		return f
	}
	p = p.tightened()
	if f != nil && weaker(p, f.p) {
		return f // says no more
	}
	g := &fact{p: p, prev: f, other: f}
	if f != nil {
		g.depth = f.depth + 1
	}
	for g.other != nil && weaker(g.other.p, p) {
		g.other = g.other.prev
	}
	return g
}

// weaker reports whether p >= 0 is q >= 0 with a constant added.
func weaker(p, q poly) bool {
	return p.constTerm() >= q.constTerm() && differsByConst(p, q)
}

// differsByConst reports whether p - q is a constant.
func differsByConst(p, q poly) bool {
	return slices.Equal(p.varying(), q.varying())
}

func (f *fact) withEqual(p poly) *fact { return f.with(p).with(p.scaled(-1)) }

// common is the last fact that both lists share.
func common(f, g *fact) *fact {
	for f != g {
		switch {
		case f == nil || g == nil:
			return nil
		case f.depth >= g.depth:
			f = f.prev
		default:
			g = g.prev
		}
	}
	return f
}

// derivedFacts is what is known of a symbol by what it is.
func (a *analysis) derivedFacts(f *fact, s symbol, goal poly, steps int, tries *int) []poly {
	i := &a.syms.info[s]
	if i.kind == element {
		return a.elementFacts(f, s, steps, tries)
	}
	if i.kind != prefix {
		return i.facts
	}
	u := a.syms.sums[i.sum]
	var facts []poly
	// The elements of the period at pos, as far as a loop has met them.
	row, period := a.syms.poly(s), u.period
	pos := i.pos
	for _, t := range u.terms {
		row = row.plusTimes(a.elementAt(u.region, pos.plusConst(t.at), t.width), t.weight)
	}
	if u.bits { // the bytes from pos on whose bits the goal counts
		row, period = a.bitsFrom(row, u.region, pos, goal)
	}
	for _, end := range u.ends {
		d := end.minus(pos)
		if _, whole := d.divided(max(1, u.period)); !whole {
			continue // a sum over other places of the periods
		}
		if a.search(f, d.plusConst(-period), steps-1, tries) {
			facts = append(facts, a.syms.prefixAt(i.sum, end).minus(row))
		} else if a.search(f, d, steps-1, tries) {
			facts = append(facts, a.syms.prefixAt(i.sum, end).minus(a.syms.poly(s)))
		}
	}
	// Elements are at least 0: a sum that goes further is no less.
	for _, t := range goal.terms() {
		more, ok := t.m.isSymbol()
		o := &a.syms.info[more]
		if !ok || t.c < 0 || o.kind != prefix || o.sum != i.sum {
			continue
		}
		if _, whole := o.pos.minus(pos).divided(max(1, u.period)); whole && a.search(f, o.pos.minus(pos), steps-1, tries) {
			facts = append(facts, a.syms.poly(more).minus(a.syms.poly(s)))
		}
	}
	return append(facts, a.walkFacts(f, s, row, goal, steps, tries)...)
}

// elementFacts bounds an integer of a stream by what the contract says of it.
func (a *analysis) elementFacts(f *fact, s symbol, steps int, tries *int) []poly {
	i := &a.syms.info[s]
	g := &a.regions[i.region]
	if _, whole := i.pos.divided(i.width); g.hasMax && g.elem == i.width && whole &&
		a.search(f, g.until.minus(i.pos).plusConst(-i.width), steps-1, tries) {
		return append([]poly{g.below.plusConst(-1).minus(a.syms.poly(s))}, i.facts...)
	}
	return i.facts
}

// bitsFrom adds to row the ones of the bytes from pos on, as far as goal counts
// them, and gives their number.
func (a *analysis) bitsFrom(row poly, region int, pos, goal poly) (poly, int64) {
	end := int64(0)
	for found := true; found; {
		found = false
		for _, t := range goal.terms() {
			for m := t.m; m != 0; m >>= 16 {
				o := &a.syms.info[symbol(m)]
				if o.kind == ones && o.region == region && o.pos.plusConst(-end).equal(pos) {
					row, end, found = row.plus(a.syms.poly(symbol(m))), end+o.width, true
				}
			}
		}
	}
	return row, end
}

// walkFacts bounds a running sum from the beginning of a row on by what the
// contract says of a Walk.
func (a *analysis) walkFacts(f *fact, s symbol, row, goal poly, steps int, tries *int) (facts []poly) {
	i := &a.syms.info[s]
	for _, w := range a.walks {
		if w.region != i.region || w.period != a.syms.sums[i.sum].period || len(a.syms.sums[i.sum].terms) != 1 || a.syms.sums[i.sum].terms[0].weight != 1 {
			continue
		}
		for _, t := range goal.terms() {
			start, ok := t.m.isSymbol()
			if !ok || t.c < 0 || start == s {
				continue
			}
			o := &a.syms.info[start]
			if o.kind != prefix || o.sum != i.sum {
				continue
			}
			_, whole := i.pos.minus(o.pos).divided(w.period)
			length, ok := a.rowAt(w, o.pos)
			if !ok || !whole || !a.search(f, length.minus(i.pos.minus(o.pos)).plusConst(-w.period), steps-1, tries) {
				continue
			}
			bound := w.below.plusConst(-1).minus(a.syms.poly(s)).plus(a.syms.poly(start))
			if w.carry >= 0 && o.pos.constTerm() != w.carry {
				continue // a sum of others
			}
			if w.carry < 0 {
				facts = append(facts, bound.minus(row.minus(a.syms.poly(s))))
				continue
			}
			for at := w.from; at < w.period; at++ { // pos is at the carry of its row
				facts = append(facts, bound.minus(a.elementAt(i.region, i.pos.plusConst(at-w.carry), 1)))
			}
		}
	}
	return facts
}

// rowAt is the length in bytes of the row of w that begins at pos, less than a
// period rounded up.
func (a *analysis) rowAt(w walk, pos poly) (poly, bool) {
	at := pos.plusConst(-pos.constTerm())
	if c := pos.constTerm(); c < 0 || c >= w.period || at == nil || len(at.list) != 1 || at.list[0].c != w.period {
		return nil, false
	}
	begin, ok := at.list[0].m.isSymbol()
	if !ok {
		return nil, false
	}
	if i := &a.syms.info[begin]; i.kind == prefix && i.sum == w.rows {
		u := a.syms.sums[w.rows]
		if _, whole := i.pos.divided(u.period); !whole {
			return nil, false
		}
		return a.elementAt(u.region, i.pos, u.period).scaled(w.period), true
	}
	return nil, false
}
