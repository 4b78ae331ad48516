package verify

import "slices"

// Coverage is the part of an output that has been written, as rectangles of rows
// and bytes within rows. A store adds one; rectangles that adjoin become one. What
// lies beyond the output's end counts for nothing, so an end is compared with
// another up to that. If at a return the whole output is a single rectangle, each
// element was written, and since rectangles only ever adjoin, once.

// rect is rows [r0, r1) by bytes [c0, c1) of a region.
type rect struct {
	region         int
	r0, r1, c0, c1 poly
}

type coverage []rect

func (c coverage) clone() coverage { return slices.Clone(c) }

func (c coverage) substitute(a *analysis, s symbol, p poly) {
	for i := range c {
		r := &c[i]
		for _, x := range []*poly{&r.r0, &r.r1, &r.c0, &r.c1} {
			*x = a.syms.substitute(*x, s, p)
		}
	}
}

// joined merges rectangles that adjoin.
func joined(c coverage) coverage {
	c = slices.DeleteFunc(c, func(r rect) bool { return r.r0.equal(r.r1) || r.c0.equal(r.c1) })
	for i := 0; i < len(c); i++ {
		for j := 0; j < len(c); j++ {
			x, y := &c[i], &c[j]
			if i == j || x.region != y.region {
				continue
			}
			rows := x.r0.equal(y.r0) && x.r1.equal(y.r1)
			cols := x.c0.equal(y.c0) && x.c1.equal(y.c1)
			switch {
			case rows && x.c1.equal(y.c0):
				x.c1 = y.c1
			case cols && x.r1.equal(y.r0):
				x.r1 = y.r1
			default:
				continue
			}
			c = slices.Delete(c, j, j+1)
			i = -1
			break
		}
	}
	return c
}

// covers adds what a store writes.
func (a *analysis) covers(in *Inst, s *state, v value) {
	g := &a.regions[v.region]
	if !g.write {
		return
	}
	row, at, ok := poly(nil), v.p, true
	if g.stride != 0 {
		row, at, ok = v.p.split(g.stride)
	}
	if ok && g.pitch > 1 {
		row, ok = row.divided(g.pitch)
	}
	if ok && g.by >= 0 { // the row is one that a stream names: its place there counts
		ok = false
		if e, is := row.isSymbol(); is {
			if i := &a.syms.info[e]; i.kind == element && i.region == g.by {
				row, ok = i.pos.divided(i.width)
			}
		}
	}
	size, f, exact := a.extent(in, s)
	if !ok || !exact {
		s.cover = append(s.cover, rect{region: v.region, r1: a.syms.constant(-1), c1: a.syms.constant(1)}) // adjoins nothing
		return
	}
	full := a.syms.constant(in.Width)
	if !size.equal(full) && a.reaches(f, at.plus(size), at.plus(full), g.length) && a.idle(in, s, at.minus(g.length)) {
		size = full
	}
	s.cover = joined(append(s.cover, rect{v.region, row, row.plusConst(1), at, at.plus(size)}))
}

// idle reports whether beyond is at least 0 where the mask of an access has no
// lanes, in case that extent speaks of where it has some.
func (a *analysis) idle(in *Inst, s *state, beyond poly) bool {
	i := a.clampedLanes(in, s)
	return i == nil || a.proves(s.known.with(i.pos.scaled(-1)), beyond)
}

// reaches reports whether p and q are the same end, or both at or beyond end.
func (a *analysis) reaches(f *fact, p, q, end poly) bool {
	if p.equal(q) || a.proves(f, p.minus(end)) && a.proves(f, q.minus(end)) || a.provesZero(f, p.minus(q)) {
		return true
	}
	// A minimum is one or the other.
	for _, t := range p.terms() {
		for m := t.m; m != 0; m >>= 16 {
			s := symbol(m)
			if i := a.syms.info[s]; i.kind == lesser {
				return a.reaches(f.with(i.with.minus(i.pos)), a.syms.substitute(p, s, i.pos), q, end) &&
					a.reaches(f.with(i.pos.minus(i.with)), a.syms.substitute(p, s, i.with), q, end)
			}
		}
	}
	return false
}

// same reports whether two coverages are, as far as the outputs reach.
func (a *analysis) same(f *fact, c, d coverage) bool {
	if len(c) != len(d) {
		return false
	}
	taken := make([]bool, len(d)) // each stands for one of c
	for _, x := range c {
		g := &a.regions[x.region]
		at := slices.IndexFunc(d, func(y rect) bool {
			return x.region == y.region && a.provesZero(f, x.r0.minus(y.r0)) && a.provesZero(f, x.c0.minus(y.c0)) &&
				a.reaches(f, x.r1, y.r1, g.cover) && a.reaches(f, x.c1, y.c1, g.length)
		})
		if at < 0 || taken[at] {
			return false
		}
		taken[at] = true
	}
	return true
}

// mergedCoverage is one that both states have, perhaps only where the outputs end.
func (a *analysis) mergedCoverage(s, t *state) (coverage, bool) {
	c, d := s.cover, t.cover
	for range 2 {
		if a.same(s.known, c, d) {
			return d.clone(), true
		}
		if a.same(t.known, d, c) {
			return c.clone(), true
		}
		c, d = a.clipped(s), a.clipped(t)
	}
	return nil, false
}

// clipped is what s covers, up to where the outputs end.
func (a *analysis) clipped(s *state) coverage {
	end := &state{known: s.known, cover: s.cover.clone()}
	a.clip(end)
	return end.cover
}

// clip ends rectangles where the output ends.
func (a *analysis) clip(s *state) {
	for i := range s.cover {
		r := &s.cover[i]
		g := &a.regions[r.region]
		if !r.r1.equal(g.cover) && a.proves(s.known, r.r1.minus(g.cover)) {
			r.r1 = g.cover
		}
		if !r.c1.equal(g.length) && a.proves(s.known, r.c1.minus(g.length)) {
			r.c1 = g.length
		}
	}
	// Ends that are the same by what is known get the same form.
	for i := range s.cover {
		for j := range s.cover {
			x, y := &s.cover[i], &s.cover[j]
			if i == j || x.region != y.region {
				continue
			}
			if x.r0.equal(y.r0) && x.r1.equal(y.r1) && a.provesZero(s.known, x.c1.minus(y.c0)) {
				x.c1 = y.c0
			}
			if x.c0.equal(y.c0) && x.c1.equal(y.c1) && a.provesZero(s.known, x.r1.minus(y.r0)) {
				x.r1 = y.r0
			}
		}
	}
	s.cover = joined(s.cover)
}

// rounds is what the rounds before round i of a loop have covered, from what one
// round covers, at whose end f is known; ok is false if it is no rectangle that
// grows with i.
func (a *analysis) rounds(one coverage, i symbol, f *fact) (all coverage, ok bool) {
	next := a.syms.poly(i).plusConst(1)
	depends := func(ps ...poly) bool {
		return slices.ContainsFunc(ps, func(p poly) bool { return a.syms.polyDependsOn(p, i) })
	}
	meets := func(p, q poly) bool { // where the rounds are few, an end may be known
		p = a.syms.substitute(p, i, next)
		return p.equal(q) || a.provesZero(f, p.minus(q))
	}
	for _, r := range one {
		switch {
		case !depends(r.r0, r.r1) && meets(r.c0, r.c1):
			r.c1, r.c0 = r.c0, a.syms.substitute(r.c0, i, nil)
		case !depends(r.c0, r.c1) && meets(r.r0, r.r1):
			r.r1, r.r0 = r.r0, a.syms.substitute(r.r0, i, nil)
		default:
			return nil, false
		}
		all = append(all, r)
	}
	return all, true
}

// covered checks that each output is complete.
func (a *analysis) covered(in *Inst, s *state) error {
	a.clip(s)
	for i := range a.regions {
		g := &a.regions[i]
		if !g.write {
			continue
		}
		whole := 0
		for _, r := range s.cover {
			if r.region != i {
				continue
			}
			if r.r0 != nil || r.c0 != nil || !r.r1.equal(g.cover) || !r.c1.equal(g.length) {
				return a.errorAt(in, g.name, "returns with rows [%s, %s) bytes [%s, %s) of %s written, of %s rows of %s: not proved to be all, and once",
					a.format(r.r0), a.format(r.r1), a.format(r.c0), a.format(r.c1), g.name, a.format(g.cover), a.format(g.length))
			}
			whole++
		}
		if whole != 1 {
			return a.errorAt(in, g.name, "returns with %s written %d times", g.name, whole)
		}
	}
	return nil
}
