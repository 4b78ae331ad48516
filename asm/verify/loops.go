package verify

import "slices"

// Loops are proved by induction. Their bodies run three times: once with what
// they change replaced by unknowns, to see by how much each register moves; then
// with closed forms in a counter i of the rounds, which the guess gives. If the
// registers of round i, put through the body, are those of round i+1, the closed
// forms hold in every round. A wrong guess cannot make a wrong proof.

// trial is a guess of what a loop does.
type trial struct {
	i     symbol
	forms [numPlaces]poly // of the numbers that change, in i
	steps [numPlaces]bool // which of them
	facts []poly          // at the head, in i
	trips poly            // rounds at most; nil if not known
	sums  []stepped       // that the forms speak of
	cover coverage        // what the rounds before i have written
	gaps  bool            // it is not known
}

func (a *analysis) runLoop(l *loop, entry *state) ([]edge, error) {
	trials, err := a.guess(l, entry)
	if err != nil {
		return nil, err
	}
	var first error
	for k, t := range trials {
		exits, err := a.tryLoop(l, entry, t)
		if err == nil {
			return exits, nil
		}
		if k == 0 {
			first = err
		}
	}
	return nil, first
}

// head is a state at the head of the loop in which what it changes is unknown.
func (a *analysis) head(l *loop, entry *state) *state {
	s := entry.clone()
	live := a.blocks[l.head].live
	for r := range l.writes.and(s.defined).all {
		if !live.has(r) || !s.at(r).number() {
			s.set(r, value{})
		}
	}
	s.flag = fUndefined
	s.dirty = s.dirty || l.upper
	s.cover = nil
	return s
}

// unknowns stand for how far the places of numbers have moved since the loop began.
type unknowns struct {
	places regSet
	of     [numPlaces]symbol
}

// moves reports whether p depends on them.
func (a *analysis) moves(p poly, u *unknowns) bool {
	for r := range u.places.all {
		if a.syms.polyDependsOn(p, u.of[r]) {
			return true
		}
	}
	return false
}

// solved is p with the closed forms that there are for unknowns.
func (a *analysis) solved(p poly, t *trial, u *unknowns, entry *state) poly {
	for r := range u.places.all {
		if t.steps[r] && a.syms.polyDependsOn(p, u.of[r]) {
			p = a.syms.substitute(p, u.of[r], t.forms[r].minus(entry.at(r).p))
		}
	}
	return p
}

// moves is by how much each register differs at a back edge.
type moves struct {
	by    [numPlaces]poly
	known [numPlaces]bool
	s     *state
}

// guess runs the body once on unknowns and makes closed forms of what comes
// back, a trial for each way back that differs.
func (a *analysis) guess(l *loop, entry *state) ([]*trial, error) {
	s := a.head(l, entry)
	u := unknowns{}
	for r := range l.writes.all {
		if v := s.at(r); v.number() {
			u.of[r] = a.syms.fresh("moved")
			u.places.add(r)
			a.moving = append(a.moving, u.of[r])
			v.p = v.p.plus(a.syms.poly(u.of[r]))
			s.set(r, v)
		}
	}
	var tied regSet
	for r := range u.places.all {
		v := entry.at(r)
		if v.k != vInt {
			continue
		}
		if p, ok := a.tie(entry, &u, v.p); ok {
			v.p = p
			tied.add(r)
			s.set(r, v)
		}
	}
	u.places = u.places.andNot(tied)
	start := s.clone()
	l.begin = start
	base := s.known
	backs, _, err := a.quietly(l, s)
	if err != nil {
		return nil, err
	}
	var trials []*trial
	for _, b := range backs {
		m := moves{s: b}
		for r := range u.places.all {
			v, w := b.at(r), start.at(r)
			if v.k == w.k && v.region == w.region {
				m.by[r], m.known[r] = v.p.minus(w.p), true
			}
		}
		t := a.solve(l, entry, &m, &u, base, start)
		for r := range tied.all {
			if form := a.solved(start.at(r).p, t, &u, entry); !a.moves(form, &u) {
				t.forms[r], t.steps[r] = form, true
			}
		}
		if len(trials) < maxTrials && !a.sameTrial(trials, t) {
			trials = append(trials, t)
		}
	}
	if len(trials) == 0 {
		trials = append(trials, &trial{i: a.syms.fresh("i_" + l.name)})
	}
	return trials, nil
}

const maxTrials = 20

func (a *analysis) sameTrial(ts []*trial, t *trial) bool {
	for _, u := range ts {
		same := true
		for r := range t.forms {
			same = same && t.steps[r] == u.steps[r] && a.syms.substitute(u.forms[r], u.i, a.syms.poly(t.i)).equal(t.forms[r])
		}
		if same {
			return true
		}
	}
	return false
}

// tie writes p, which holds integers read from streams at places where pointers
// are at the entry of a loop, as read where they are at its head: a value that is
// read ahead moves with its pointer.
func (a *analysis) tie(entry *state, u *unknowns, p poly) (poly, bool) {
	found := false
	for _, t := range p.terms() {
		for m := t.m; m != 0; m >>= 16 {
			e := a.syms.info[symbol(m)]
			if e.kind != element {
				continue
			}
			for q := range u.places.all {
				v := entry.at(q)
				if v.k != vPtr || v.region != e.region {
					continue
				}
				if _, ok := v.p.minus(e.pos).isConst(); ok {
					p = a.syms.substitute(p, symbol(m), a.elementAt(e.region, e.pos.plus(a.syms.poly(u.of[q])), e.width))
					found = true
					break
				}
			}
		}
	}
	return p, found
}

// quietly runs a body without checks.
func (a *analysis) quietly(l *loop, s *state) ([]*state, []edge, error) {
	was := a.quiet
	a.quiet = true
	defer func() { a.quiet = was }()
	return a.run(l, s)
}

// solve makes closed forms of moves.
func (a *analysis) solve(l *loop, entry *state, m *moves, u *unknowns, base *fact, start *state) *trial {
	t := &trial{i: a.syms.fresh("i_" + l.name)}
	for changed := true; changed; {
		changed = false
		for r := range u.places.all {
			if t.steps[r] || !m.known[r] {
				continue
			}
			by := a.solved(m.by[r], t, u, entry)
			if a.moves(by, u) {
				continue
			}
			if total, ok := a.sumOver(by, t); ok {
				t.forms[r], t.steps[r], changed = entry.at(r).p.plus(total), true, true
			}
		}
	}
	// A condition on the way back bounds a register that moves by a constant.
	for r := range u.places.all {
		step, ok := m.by[r].isConst()
		if !ok || !m.known[r] || step == 0 || !t.steps[r] {
			continue
		}
		v := start.at(r).p
		for f := m.s.known; f != base && f != nil; f = f.prev {
			sign := int64(1)
			if step > 0 {
				sign = -1
			}
			// f.p is sign*v - limit >= 0, and limit is free of what changes.
			limit := v.scaled(sign).minus(f.p)
			if a.moves(limit, u) {
				continue
			}
			// At the next head, sign*v >= limit - |step|.
			bound := limit.plusConst(sign * step)
			if a.proves(entry.known, entry.at(r).p.scaled(sign).minus(bound)) {
				t.facts = append(t.facts, t.forms[r].scaled(sign).minus(bound))
				// |step|*i <= |entry - bound|
				room := entry.at(r).p.scaled(sign).minus(bound)
				trips := a.tripsOf(room, -sign*step)
				if t.trips == nil || len(trips.terms()) < len(t.trips.terms()) {
					t.trips = trips
				}
			}
		}
	}
	return t
}

// tripsOf bounds the rounds of a register that moves by step and may move by
// room, which is at least 0.
func (a *analysis) tripsOf(room poly, step int64) poly {
	return a.syms.floorOf(room, step).plusConst(1)
}

// tryLoop proves a trial and returns the states that leave the loop.
func (a *analysis) tryLoop(l *loop, entry *state, t *trial) ([]edge, error) {
	at := func(i poly) (forms [numPlaces]poly) {
		for r := range forms {
			if t.steps[r] {
				forms[r] = a.syms.substitute(t.forms[r], t.i, i)
			}
		}
		return forms
	}
	s := a.head(l, entry)
	for r := range l.writes.all {
		if v := s.at(r); v.number() {
			// In round 0 it is what it is on the way in.
			if t.steps[r] && a.syms.substitute(t.forms[r], t.i, nil).equal(entry.at(r).p) {
				v.p = t.forms[r]
				s.set(r, v)
			} else {
				t.steps[r] = false
				s.set(r, value{})
			}
		}
	}
	for _, f := range t.facts {
		s.known = s.known.with(f)
	}
	next := a.syms.poly(t.i).plusConst(1)
	cost := entry.cost
	s.cost = nil
	start := s.clone()
	sums := t.sums
	l.begin = start
	backs, exits, err := a.run(l, s)
	if err != nil {
		return nil, err
	}
	// What rounds write does not depend on what has been written before.
	t.gaps = len(backs) > 0
	for _, b := range backs {
		a.fold(b, sums)
		if all, ok := a.rounds(b.cover, t.i, b.known); ok {
			t.cover, t.gaps = all, false
			break
		}
	}
	once := len(backs) == 0
	if a.quiet {
		return a.leave(l, entry, t, exits, cost, nil, once), nil
	}
	if len(backs) > 0 && t.trips == nil {
		return nil, a.errorAt(&a.fn.Insts[a.blocks[l.head].first], "", "begins a loop that no counter bounds")
	}
	var round poly // cost of one
	want := at(next)
	for again := false; len(backs) > 0; again = true {
		var odd []*state
		for _, b := range backs {
			a.fold(b, sums)
			round = most(round, b.cost)
			if !a.holds(l, start, b, t, want, next) || !a.coverHolds(b, t) {
				odd = append(odd, b)
			}
		}
		if len(odd) == 0 {
			break
		}
		if again {
			return nil, a.unmatched(l, start, odd[0], t, want, next)
		}
		// A way back on which the loop ends at its head need not fit.
		backs = nil
		for _, b := range odd {
			more, out, err := a.run(l, b)
			if err != nil {
				return nil, a.unmatched(l, start, b, t, want, next)
			}
			backs, exits = append(backs, more...), append(exits, out...)
		}
		if len(backs) > 0 {
			return nil, a.unmatched(l, start, odd[0], t, want, next)
		}
	}
	if t.trips != nil {
		a.noteLoop(l, start, t)
	}
	return a.leave(l, entry, t, exits, cost, round, once), nil
}

// most is the greater of p and q term by term: symbols are at least 0.
func most(p, q poly) poly {
	return p.plus(q.minus(p).only(func(t term) bool { return t.c > 0 }))
}

// holds reports whether state b at a back edge is the head's next round.
func (a *analysis) holds(l *loop, head, b *state, t *trial, want [numPlaces]poly, next poly) bool {
	return a.mismatch(l, head, b, t, want, next) == ""
}

// mismatch says what of b is not as the next round wants it, or nothing.
func (a *analysis) mismatch(l *loop, head, b *state, t *trial, want [numPlaces]poly, next poly) string {
	live := a.blocks[l.head].live
	for r := range live.and(l.writes).and(head.defined).all {
		h, v := head.at(r), b.at(r)
		switch {
		case !b.defined.has(r):
			return a.placeName(r) + " is undefined"
		case h.k == vAny:
		case h.k != v.k || h.region != v.region:
			return a.placeName(r) + " is no longer what it was"
		case t.steps[r] && !a.provesZero(b.known, v.p.minus(want[r])):
			return a.placeName(r) + " is " + a.format(v.p) + " where the rounds before suggest " + a.format(want[r])
		}
	}
	for _, f := range t.facts {
		g := a.syms.substitute(f, t.i, next)
		if !a.proves(b.known, g) {
			return a.format(g) + " ≥ 0 is not proved"
		}
	}
	return ""
}

// coverHolds reports whether what is written at a back edge is what the next
// round begins with.
func (a *analysis) coverHolds(b *state, t *trial) bool {
	next := t.cover.clone()
	next.substitute(a, t.i, a.syms.poly(t.i).plusConst(1))
	return !t.gaps && a.same(b.known, joined(slices.Concat(t.cover, b.cover)), next)
}

func (a *analysis) unmatched(l *loop, head, b *state, t *trial, want [numPlaces]poly, next poly) error {
	why := a.mismatch(l, head, b, t, want, next)
	if why == "" {
		why = "what is written is no rectangle that grows by one round: an output has gaps or is written twice"
	}
	return a.errorAt(&a.fn.Insts[a.blocks[l.head].first], "", "begins loop %s whose rounds are not alike: after one, %s", l.name, why)
}

// leave prepares states that leave the loop: sums are taken forward, and where
// the number of rounds is known it replaces the counter.
func (a *analysis) leave(l *loop, entry *state, t *trial, exits []edge, cost, round poly, once bool) []edge {
	// The head is reached t.trips times, and the body done once less.
	if t.trips != nil && round != nil {
		last := t.trips.plusConst(-1)
		before := round.times(last)
		if a.syms.polyDependsOn(round, t.i) {
			if total, ok := a.sumOver(round, t); ok {
				before = a.syms.substitute(total, t.i, last)
			}
		}
		cost = cost.plus(before)
	}
	for _, e := range exits {
		a.fold(e.s, t.sums)
		e.s.cover = joined(slices.Concat(entry.cover, t.cover, e.s.cover))
		if !a.eliminate(e.s, t) && once {
			a.replace(e.s, t.i, nil)
		}
		a.clip(e.s)
		e.s.cost = cost.plus(e.s.cost)
	}
	return exits
}

// eliminate replaces the loop's counter where what is known fixes it, and reports
// whether it did.
func (a *analysis) eliminate(s *state, t *trial) bool {
	for f := s.known; f != nil; f = f.prev {
		rounds, ok := a.solveFor(f.p, t.i)
		if !ok || !a.proves(s.known, f.p.scaled(-1)) {
			continue
		}
		a.replace(s, t.i, rounds)
		return true
	}
	return false
}

// replace puts p for x in all that s holds.
func (a *analysis) replace(s *state, x symbol, p poly) {
	for r := range s.defined.all {
		v := s.at(r)
		if a.syms.polyDependsOn(v.p, x) || a.syms.polyDependsOn(v.q, x) {
			v.p, v.q = a.syms.substitute(v.p, x, p), a.syms.substitute(v.q, x, p)
			s.set(r, v)
		}
	}
	s.cost = a.syms.substitute(s.cost, x, p)
	s.cover.substitute(a, x, p)
}

// solveFor is what s is where p is 0, if that is an integer by its form.
func (a *analysis) solveFor(p poly, s symbol) (poly, bool) {
	c := p.coefficient(mono(s))
	if c == 0 {
		return nil, false
	}
	rest := p.only(func(t term) bool { return t.m != mono(s) })
	if a.syms.polyDependsOn(rest, s) {
		return nil, false
	}
	if c > 0 {
		c, rest = -c, rest.scaled(-1)
	}
	return rest.divided(-c)
}
