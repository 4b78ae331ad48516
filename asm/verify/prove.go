package verify

import (
	"cmp"
	"slices"
)

// Bounds of the search for a proof: bounds applied one upon another, and bounds
// tried in all.
const (
	maxSteps = 12
	maxTries = 150
	fewSteps = 5
	fewTries = 12
	glances  = 3
)

// maxWork bounds the steps of all proofs of a kernel, and thereby its polynomials.
// Kernels need some hundreds, few of them thousands; a listing that needs so many
// is none of ours.
const maxWork = 100_000

// tooMuch is what search panics with beyond maxWork; Check turns it into an error.
type tooMuch struct{}

// try is what a goal becomes by some q >= 0 that has a negative term which divides
// its worst one; those with fewer negative terms are tried first.
type try struct {
	scale    int64 // of the goal
	q        poly  // what is added, k times
	k        int64
	negative int
}

// proves reports whether p >= 0 follows from f. It removes one negative term
// after another, each by adding a multiple of what is known to be at least 0;
// what is left has no negative term. All symbols are at least 0.
func (a *analysis) proves(f *fact, p poly) bool {
	if nonNegative(p) {
		return true
	}
	if c, ok := p.isConst(); ok {
		return c >= 0
	}
	q := question{f, p.hash(), a.hasty}
	if old, ok := a.answers[q]; ok && old.p.equal(p) {
		return old.yes
	}
	steps, tries := maxSteps, maxTries
	if a.hasty {
		steps, tries = fewSteps, fewTries
	}
	yes := a.search(f, p, steps, &tries)
	a.answers[q] = answer{p, yes}
	return yes
}

// question is what has been asked of proves; rows and bounds of a round's
// accesses are the same again and again.
type question struct {
	f     *fact
	hash  uint64
	hasty bool
}

type answer struct {
	p   poly
	yes bool
}

// sees is proves at a glance, for what need not be found: a way that is followed
// in vain is no mistake.
func (a *analysis) sees(f *fact, p poly) bool {
	if c, ok := p.isConst(); ok {
		return c >= 0
	}
	tries := glances
	return a.search(f, p, glances, &tries)
}

func (a *analysis) provesZero(f *fact, p poly) bool {
	return p == nil || a.proves(f, p) && a.proves(f, p.scaled(-1))
}

func nonNegative(p poly) bool {
	for _, t := range p.terms() {
		if t.c < 0 {
			return false
		}
	}
	return true
}

func (a *analysis) search(f *fact, goal poly, steps int, tries *int) bool {
	if a.work++; a.work > maxWork {
		panic(tooMuch{})
	}
	goal = reduced(goal)
	at := a.hardest(goal)
	if at < 0 {
		return true
	}
	if steps == 0 || !small(goal) {
		return false
	}
	if c := goal.constTerm(); c > 0 {
		// Without it, the terms may have factors in common.
		if v := goal.varying(); len(v) > 1 {
			rest := goal.in.of(v)
			if r := reduced(rest); r != rest && a.search(f, r, steps-1, tries) {
				return true
			}
		}
	}
	if tied, free := parts(goal); len(tied.terms()) > 1 && len(free.terms()) > 1 {
		few := min(*tries, maxTries/5)
		*tries -= few
		if a.search(f, tied, steps-1, &few) && a.search(f, free, steps-1, &few) {
			return true
		}
		*tries += max(0, few)
	}
	worst := goal.list[at]
	first := len(a.untried)
	defer func() { a.untried = a.untried[:first] }()
	// apply reports whether what becomes of goal has no negative term.
	apply := func(q poly) bool {
		for _, t := range q.terms() {
			if t.c >= 0 || (t.m == 0) != (worst.m == 0) {
				continue
			}
			times, ok := worst.m.over(t.m)
			g := gcd(-t.c, -worst.c)
			scale := -t.c / g
			if !ok || !fits(q, times) || scale > maxFactor || -worst.c/g > maxFactor {
				continue
			}
			// scale*goal exceeds scale-1 less than 0 exactly if goal >= 0.
			more := q
			if times != 0 {
				more = q.timesMono(times)
			}
			n := negatives(goal, scale, more, worst.c/g)
			if n == 0 {
				return true
			}
			a.untried = append(a.untried, try{scale, more, worst.c / g, n})
		}
		return false
	}
	for m := worst.m; m != 0; m >>= 16 {
		for _, q := range a.derivedFacts(f, symbol(m), goal, steps, tries) {
			if apply(q) {
				return true
			}
		}
	}
	for _, t := range goal.list { // what else ties these symbols to others
		for m := t.m; m != 0; m >>= 16 {
			if i := &a.syms.info[symbol(m)]; i.kind == floored && t.c > 0 {
				for _, q := range i.facts {
					if apply(q) {
						return true
					}
				}
			}
		}
	}
	for g := f; g != nil; g = g.other {
		if apply(g.p) {
			return true
		}
	}
	end := len(a.untried)
	slices.SortStableFunc(a.untried[first:end], func(x, y try) int { return cmp.Compare(x.negative, y.negative) })
	for i := first; i < end; i++ {
		n := a.untried[i]
		if *tries--; *tries < 0 {
			return false
		}
		// No branch takes all: another may be the short one.
		few := (*tries + 1) / 2
		*tries -= few
		p := goal
		if n.scale != 1 {
			p = p.scaled(n.scale).plusConst(n.scale - 1)
		}
		if a.search(f, p.plusTimes(n.q, n.k), steps-1, &few) {
			return true
		}
		*tries += max(0, few)
	}
	return false
}

// negatives is the number of negative terms of scale*p + scale-1 + k*q.
func negatives(x poly, scale int64, y poly, k int64) int {
	n := 0
	p, q := x.terms(), y.terms()
	for len(p) > 0 || len(q) > 0 {
		var t term
		switch {
		case len(q) == 0 || len(p) > 0 && p[0].m > q[0].m:
			t, p = term{p[0].m, scale * p[0].c}, p[1:]
		case len(p) == 0 || p[0].m < q[0].m:
			t, q = term{q[0].m, k * q[0].c}, q[1:]
		default:
			t, p, q = term{p[0].m, scale*p[0].c + k*q[0].c}, p[1:], q[1:]
		}
		if t.m == 0 {
			t.c += scale - 1
		}
		if t.c < 0 {
			n++
		}
	}
	return n
}

// What lies beyond these does not occur in what can be proved; within them
// nothing overflows.
const (
	maxFactor = 1 << 14
	maxCoeff  = 1 << 34
)

func small(p poly) bool {
	for _, t := range p.terms() {
		if t.c > maxCoeff || t.c < -maxCoeff {
			return false
		}
	}
	return true
}

// fits reports whether p*m can be written.
func fits(p poly, m mono) bool {
	if !small(p) {
		return false
	}
	for _, t := range p.terms() {
		if _, ok := t.m.times(m); !ok {
			return false
		}
	}
	return true
}

// reduced divides out what all terms share; symbols are at least 0.
func reduced(p poly) poly {
	p = p.tightened()
	for p != nil && len(p.list) > 1 && p.constTerm() == 0 {
		m := p.list[0].m
		for m != 0 && slices.ContainsFunc(p.list, func(t term) bool { return !t.m.has(symbol(m)) }) {
			m >>= 16
		}
		if m == 0 {
			break
		}
		r := p.in.begin(len(p.list))
		for _, t := range p.list {
			n, _ := t.m.over(mono(symbol(m)))
			r = append(r, term{n, t.c})
		}
		p = p.in.end(r).tightened()
	}
	return p
}

// parts is the terms of p, apart where no product of symbols ties them: those of
// which products speak, and the others.
func parts(p poly) (tied, free poly) {
	if !slices.ContainsFunc(p.terms(), func(t term) bool { return t.m>>16 != 0 }) {
		return nil, p
	}
	ties := func(t term) bool {
		return t.m>>16 != 0 || t.m != 0 && slices.ContainsFunc(p.list, func(u term) bool { return u.m>>16 != 0 && u.m.has(symbol(t.m)) })
	}
	return p.only(ties), p.only(func(t term) bool { return !ties(t) })
}

// hardness is the order in which kinds of symbols are removed: what is made of
// others first.
var hardness = [...]int{prefix: 4, element: 3, ones: 3, lesser: 3, clamped: 3, named: 2, floored: 1}

// hardest is the negative term to remove first: one with a prefix sum, then one
// with a symbol that is made of others, then the one of fewest symbols, so that
// what is left has factors in common, and the constant last; -1 if there is none.
func (a *analysis) hardest(p poly) int {
	at, rank := -1, 0
	for i, t := range p.terms() {
		if t.c >= 0 {
			continue
		}
		r := 0
		for m := t.m; m != 0; m >>= 16 {
			r = max(r, hardness[a.syms.info[symbol(m)].kind])
		}
		if at < 0 || r > rank || r == rank && degree(t.m) < degree(p.list[at].m) {
			at, rank = i, r
		}
	}
	return at
}

func degree(m mono) int {
	n := 0
	for ; m != 0; m >>= 16 {
		n++
	}
	return n
}
