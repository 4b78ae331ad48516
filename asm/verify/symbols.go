package verify

import (
	"fmt"
	"slices"
	"strings"
)

// Symbols are interned: the same integer read twice from a stream, or the same
// prefix sum reached on two paths, is the same symbol.

type symbolKind uint8

const (
	named      symbolKind = iota // an argument, a symbol of the contract, a loop's counter
	element                      // the integer of width bytes at pos in a region
	ones                         // the number of bits set in the width bytes at pos
	lowest                       // the low by bits of the integer of width bytes at pos
	lowestOnes                   // the number of bits set in those
	prefix                       // a sum over the elements of a region below pos
	floored                      // floor(pos / by)
	lesser                       // min(pos, with)
	clamped                      // max(pos, 0); where with is set, max(min(pos, with), 0)
)

type symbolInfo struct {
	kind     symbolKind
	name     string
	region   int
	width    int64
	sum      int
	pos      poly
	with     poly
	by       int64
	facts    []poly   // what is at least 0 wherever the symbol exists
	positive bool     // at least 1
	deps     []symbol // the symbols that it is made of, itself included
	self     poly     // the symbol alone
}

// sum says how a prefix sum weighs the elements of a region: period by period,
// or, with bits, every bit the same.
type sum struct {
	name   string // in the contract, or made up
	region int
	period int64
	terms  []sumTerm
	bits   bool
	ends   []poly // positions where the contract says that the stream ends
	same   int    // where each is set: the sum of bits over as many bytes a period
	each   poly
}

type sumTerm struct{ at, width, weight int64 }

func (s *sum) key() string { return fmt.Sprint(s.region, s.period, s.terms, s.bits) }

type symbols struct {
	info   []symbolInfo // by symbol; 0 is none
	intern map[identity][]symbol
	sums   []sum
	sumAt  map[string]int
	polys  *arena
}

func newSymbols() *symbols {
	return &symbols{info: make([]symbolInfo, 1, 64), intern: map[identity][]symbol{}, sumAt: map[string]int{}, polys: &arena{}}
}

// reset forgets all symbols, and the polynomials in them.
func (t *symbols) reset() {
	t.info, t.sums = t.info[:1], t.sums[:0]
	clear(t.intern)
	clear(t.sumAt)
	t.polys.reset()
}

// poly is s as a polynomial.
func (t *symbols) poly(s symbol) poly { return t.info[s].self }

func (t *symbols) constant(c int64) poly { return t.polys.one(0, c) }

func (t *symbols) add(i symbolInfo) symbol {
	if len(t.info) > 60000 {
		panic(tooLarge{})
	}
	s := symbol(len(t.info))
	i.deps = []symbol{s}
	if i.kind != named {
		for _, p := range []poly{i.pos, i.with} {
			for _, m := range p.terms() {
				m.m.each(func(u symbol) { i.deps = append(i.deps, t.info[u].deps...) })
			}
		}
		slices.Sort(i.deps)
		i.deps = slices.Compact(i.deps)
	}
	i.self = t.polys.one(mono(s), 1)
	t.info = append(t.info, i)
	return s
}

func (t *symbols) fresh(name string) symbol { return t.add(symbolInfo{kind: named, name: name}) }

// derived interns a symbol; facts is called for one that is new.
func (t *symbols) derived(i symbolInfo, facts func(s poly) []poly) poly {
	id := identity{i.kind, i.region, i.width, i.sum, i.by, i.pos.hash(), i.with.hash()}
	for _, s := range t.intern[id] {
		if old := &t.info[s]; old.pos.equal(i.pos) && old.with.equal(i.with) {
			return t.poly(s)
		}
	}
	s := t.add(i)
	t.intern[id] = append(t.intern[id], s)
	if facts != nil {
		t.info[s].facts = facts(t.poly(s))
	}
	return t.poly(s)
}

// identity is what tells derived symbols apart, their polynomials by hash.
type identity struct {
	kind      symbolKind
	region    int
	width     int64
	sum       int
	by        int64
	pos, with uint64
}

func (t *symbols) sumIndex(s sum) int {
	key := s.key()
	if i, ok := t.sumAt[key]; ok {
		return i
	}
	if s.name == "" {
		s.name = fmt.Sprintf("sum%d", len(t.sums))
	}
	t.sums = append(t.sums, s)
	t.sumAt[key] = len(t.sums) - 1
	return len(t.sums) - 1
}

// prefixAt is the sum over the elements before pos; an empty sum is 0.
func (t *symbols) prefixAt(sum int, pos poly) poly {
	if pos == nil {
		return nil
	}
	if s := &t.sums[sum]; s.each != nil {
		if rows, whole := pos.divided(s.period); whole {
			return t.prefixAt(s.same, rows.times(s.each))
		}
	}
	return t.derived(symbolInfo{kind: prefix, sum: sum, region: t.sums[sum].region, pos: pos}, nil)
}

// floorOf is floor(p / by) for p >= 0.
func (t *symbols) floorOf(p poly, by int64) poly {
	if q, ok := p.divided(by); ok {
		return q
	}
	return t.derived(symbolInfo{kind: floored, pos: p, by: by}, func(s poly) []poly {
		return []poly{p.plusTimes(s, -by), s.scaled(by).minus(p).plusConst(by - 1)}
	})
}

// lesserOf is min(p, q), of which the caller knows that both are at least 0.
func (t *symbols) lesserOf(p, q poly) poly {
	if p.equal(q) {
		return p
	}
	return t.derived(symbolInfo{kind: lesser, pos: p, with: q}, func(s poly) []poly {
		return []poly{p.minus(s), q.minus(s)}
	})
}

// clampOf is max(p, 0).
func (t *symbols) clampOf(p poly) poly {
	return t.derived(symbolInfo{kind: clamped, pos: p}, func(s poly) []poly { return []poly{s.minus(p)} })
}

// clampBelow is max(min(p, most), 0), of which the caller knows that most is at
// least 0.
func (t *symbols) clampBelow(p, most poly) poly {
	if most == nil {
		return nil
	}
	return t.derived(symbolInfo{kind: clamped, pos: p, with: most}, func(s poly) []poly { return []poly{most.minus(s)} })
}

// dependsOn reports whether a symbol is made of s.
func (t *symbols) dependsOn(u, s symbol) bool { return slices.Contains(t.info[u].deps, s) }

func (t *symbols) monoDependsOn(m mono, s symbol) bool {
	for ; m != 0; m >>= 16 {
		if t.dependsOn(symbol(m), s) {
			return true
		}
	}
	return false
}

func (t *symbols) polyDependsOn(p poly, s symbol) bool {
	return slices.ContainsFunc(p.terms(), func(m term) bool { return t.monoDependsOn(m.m, s) })
}

// substitute replaces s by q everywhere in p, also within what symbols are made
// of.
func (t *symbols) substitute(p poly, s symbol, q poly) poly {
	if !t.polyDependsOn(p, s) {
		return p
	}
	r := p.only(func(m term) bool { return !t.monoDependsOn(m.m, s) })
	for _, m := range p.list {
		if !t.monoDependsOn(m.m, s) {
			continue
		}
		product := t.substituted(symbol(m.m), s, q)
		for n := m.m >> 16; n != 0; n >>= 16 {
			product = product.times(t.substituted(symbol(n), s, q))
		}
		r = r.plusTimes(product, m.c)
	}
	return r
}

func (t *symbols) substituted(u, s symbol, q poly) poly {
	if u == s {
		return q
	}
	if !t.dependsOn(u, s) {
		return t.poly(u)
	}
	i := t.info[u]
	pos, with := t.substitute(i.pos, s, q), t.substitute(i.with, s, q)
	switch i.kind {
	case prefix:
		return t.prefixAt(i.sum, pos)
	case floored:
		return t.floorOf(pos, i.by)
	case lesser:
		return t.lesserOf(pos, with)
	case clamped:
		if i.with == nil {
			return t.clampOf(pos)
		}
		return t.clampBelow(pos, with)
	}
	return t.derived(symbolInfo{kind: i.kind, region: i.region, width: i.width, by: i.by, pos: pos}, func(e poly) []poly {
		facts := make([]poly, len(i.facts)) // c - u, each
		for k, f := range i.facts {
			facts[k] = f.plus(t.poly(u)).minus(e)
		}
		return facts
	})
}

// name is what a symbol is called in proofs and errors.
func (t *symbols) name(s symbol, regions []region) string {
	i := &t.info[s]
	show := func(p poly) string { return t.format(p, regions) }
	switch i.kind {
	case element:
		return fmt.Sprintf("%s[%s]", regions[i.region].name, t.place(i.pos, i.width, regions))
	case ones:
		return fmt.Sprintf("ones(%s[%s])", regions[i.region].name, show(i.pos))
	case lowest:
		return fmt.Sprintf("low%d(%s[%s])", i.by, regions[i.region].name, show(i.pos))
	case lowestOnes:
		return fmt.Sprintf("ones(low%d(%s[%s]))", i.by, regions[i.region].name, show(i.pos))
	case prefix:
		return fmt.Sprintf("%s(%s below byte %s)", t.sums[i.sum].name, regions[i.region].name, show(i.pos))
	case floored:
		return fmt.Sprintf("⌊(%s)/%d⌋", show(i.pos), i.by)
	case lesser:
		return fmt.Sprintf("min(%s, %s)", show(i.pos), show(i.with))
	case clamped:
		if i.with == nil {
			return fmt.Sprintf("max(%s, 0)", show(i.pos))
		}
		return fmt.Sprintf("max(min(%s, %s), 0)", show(i.pos), show(i.with))
	}
	return i.name
}

// place is the index of a position in elements.
func (t *symbols) place(pos poly, width int64, regions []region) string {
	if q, ok := pos.divided(width); ok {
		return t.format(q, regions)
	}
	return "byte " + t.format(pos, regions)
}

func (t *symbols) format(p poly, regions []region) string {
	return strings.TrimSpace(p.format(func(s symbol) string { return t.name(s, regions) }))
}
