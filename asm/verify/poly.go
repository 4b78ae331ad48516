package verify

import (
	"slices"
	"strconv"
	"strings"
)

// symbol is an integer that is at least 0 and that the analysis does not know.
type symbol uint16

// mono is a product of up to four symbols, packed in descending order; 0 is 1.
type mono uint64

func (m mono) each(do func(symbol)) {
	for ; m != 0; m >>= 16 {
		do(symbol(m))
	}
}

func (m mono) has(s symbol) bool {
	for ; m != 0; m >>= 16 {
		if symbol(m) == s {
			return true
		}
	}
	return false
}

// isSymbol returns the symbol that m is.
func (m mono) isSymbol() (symbol, bool) { return symbol(m), m != 0 && m>>16 == 0 }

// times multiplies; ok is false beyond four symbols.
func (m mono) times(n mono) (p mono, ok bool) {
	for shift := 0; m|n != 0; shift += 16 {
		if shift == 64 {
			return 0, false
		}
		// The lowest symbol of both comes first.
		a, b := symbol(m), symbol(n)
		if n == 0 || m != 0 && a <= b {
			p |= mono(a) << shift
			m >>= 16
		} else {
			p |= mono(b) << shift
			n >>= 16
		}
	}
	return p, true
}

// over divides; ok is false if n does not divide m.
func (m mono) over(n mono) (q mono, ok bool) {
	for shift := 0; m != 0; m >>= 16 {
		if n != 0 && symbol(m) == symbol(n) {
			n >>= 16
			continue
		}
		q |= m & 0xffff << shift
		shift += 16
	}
	return q, n == 0
}

type term struct {
	m mono
	c int64
}

// polynomial is a sum of terms with integer coefficients, none of them 0, in
// descending order of m, so that the constant is last. It is never changed; nil
// is 0.
type polynomial struct {
	list  []term
	in    *arena // where what is made of it lies
	known uint64 // its hash, once that is asked for
}

type poly = *polynomial

// arena is where the polynomials of a proof lie: there are thousands of them, and
// all go at once.
type arena struct {
	terms []term
	nodes []polynomial
}

// reset makes room for another proof's; those of the last one are no more.
func (a *arena) reset() { a.terms, a.nodes = a.terms[:0], a.nodes[:0] }

// begin is room for n terms. Whoever has got it calls end before the next begin.
func (a *arena) begin(n int) []term {
	if a == nil {
		return make([]term, 0, n)
	}
	if cap(a.terms)-len(a.terms) < n {
		a.terms = make([]term, 0, max(n, 2*cap(a.terms), 512))
	}
	at := len(a.terms)
	return a.terms[at : at : at+n]
}

// end is the polynomial of the terms that fill the room.
func (a *arena) end(list []term) poly {
	if a != nil {
		a.terms = a.terms[:len(a.terms)+len(list)]
	}
	return a.of(list)
}

// of is the polynomial of a list, which lasts.
func (a *arena) of(list []term) poly {
	switch {
	case len(list) == 0:
		return nil
	case a == nil:
		return &polynomial{list: list}
	case len(a.nodes) == cap(a.nodes):
		a.nodes = make([]polynomial, 0, max(2*cap(a.nodes), 128))
	}
	a.nodes = append(a.nodes, polynomial{list: list, in: a})
	return &a.nodes[len(a.nodes)-1]
}

// one is a polynomial of one term.
func (a *arena) one(m mono, c int64) poly {
	if c == 0 {
		return nil
	}
	return a.end(append(a.begin(1), term{m, c}))
}

// arenaOf is where what is made of p and q lies.
func arenaOf(p, q poly) *arena {
	if p != nil && p.in != nil {
		return p.in
	}
	if q != nil {
		return q.in
	}
	return nil
}

func (p poly) terms() []term {
	if p == nil {
		return nil
	}
	return p.list
}

func constant(c int64) poly { return (*arena)(nil).one(0, c) }

// limit bounds coefficients: what is beyond is a kernel gone wrong, and far from
// overflow.
const limit = 1 << 50

// plusTimes is p + k*q.
func (p poly) plusTimes(q poly, k int64) poly {
	switch {
	case k == 0 || q == nil:
		return p
	case p == nil && k == 1:
		return q
	}
	in := arenaOf(p, q)
	x, y := p.terms(), q.list
	r := in.begin(len(x) + len(y))
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].m > y[0].m:
			r, x = append(r, x[0]), x[1:]
		case len(x) == 0 || x[0].m < y[0].m:
			r, y = append(r, term{y[0].m, bounded(k, y[0].c)}), y[1:]
		default:
			if c := bounded(1, x[0].c+bounded(k, y[0].c)); c != 0 {
				r = append(r, term{x[0].m, c})
			}
			x, y = x[1:], y[1:]
		}
	}
	return in.end(r)
}

// bounded is a product that panics with tooLarge instead of overflowing.
func bounded(a, b int64) int64 {
	c := a * b
	if a != 0 && (c/a != b || c > limit || c < -limit) {
		panic(tooLarge{})
	}
	return c
}

// tooLarge is what arithmetic on polynomials panics with; Check turns it into an
// error.
type tooLarge struct{}

func (p poly) plus(q poly) poly    { return p.plusTimes(q, 1) }
func (p poly) minus(q poly) poly   { return p.plusTimes(q, -1) }
func (p poly) scaled(k int64) poly { return poly(nil).plusTimes(p, k) }

func (p poly) plusConst(c int64) poly {
	switch {
	case c == 0:
		return p
	case p == nil:
		return constant(c)
	}
	v := p.varying()
	r := append(p.in.begin(len(v)+1), v...)
	if c = bounded(1, c+p.constTerm()); c != 0 {
		r = append(r, term{0, c})
	}
	return p.in.end(r)
}

// timesMono is p*m: in the same order, for a product with m keeps it.
func (p poly) timesMono(m mono) poly {
	if m == 0 || p == nil {
		return p
	}
	r := p.in.begin(len(p.list))
	for _, t := range p.list {
		n, ok := t.m.times(m)
		if !ok {
			panic(tooLarge{})
		}
		r = append(r, term{n, t.c})
	}
	return p.in.end(r)
}

func (p poly) times(q poly) poly {
	var r poly
	for _, t := range q.terms() {
		r = r.plusTimes(p.timesMono(t.m), t.c)
	}
	return r
}

func (p poly) equal(q poly) bool { return p == q || slices.Equal(p.terms(), q.terms()) }

// isConst returns the value of a constant.
func (p poly) isConst() (c int64, ok bool) {
	switch {
	case p == nil:
		return 0, true
	case len(p.list) == 1 && p.list[0].m == 0:
		return p.list[0].c, true
	}
	return 0, false
}

// coefficient is that of m; 0 where there is no such term.
func (p poly) coefficient(m mono) int64 {
	for _, t := range p.terms() {
		if t.m == m {
			return t.c
		}
	}
	return 0
}

// constTerm is the constant among the terms.
func (p poly) constTerm() int64 {
	if p != nil && p.list[len(p.list)-1].m == 0 {
		return p.list[len(p.list)-1].c
	}
	return 0
}

// varying is the terms but the constant.
func (p poly) varying() []term {
	if p.constTerm() != 0 {
		return p.list[:len(p.list)-1]
	}
	return p.terms()
}

// isSymbol returns the symbol that p is.
func (p poly) isSymbol() (symbol, bool) {
	if p != nil && len(p.list) == 1 && p.list[0].c == 1 {
		return p.list[0].m.isSymbol()
	}
	return 0, false
}

// split writes p as s*with + without; ok is false where s occurs squared.
func (p poly) split(s symbol) (with, without poly, ok bool) {
	if p == nil {
		return nil, nil, true
	}
	ok = true
	r := p.in.begin(len(p.list))
	for _, t := range p.list {
		if q, divides := t.m.over(mono(s)); divides {
			ok = ok && !q.has(s)
			r = append(r, term{q, t.c})
		}
	}
	switch with = p.in.end(r); {
	case with == nil:
		return nil, p, true
	case len(r) == len(p.list):
		return with, nil, ok
	}
	return with, p.only(func(t term) bool { return !t.m.has(s) }), ok
}

// only is the terms of p that keep accepts.
func (p poly) only(keep func(term) bool) poly {
	if p == nil {
		return nil
	}
	r := p.in.begin(len(p.list))
	for _, t := range p.list {
		if keep(t) {
			r = append(r, t)
		}
	}
	return p.in.end(r)
}

// content is the greatest common divisor of the coefficients; of the constant
// too where all is true.
func (p poly) content(all bool) int64 {
	g := int64(0)
	for _, t := range p.terms() {
		if t.m == 0 && !all {
			continue
		}
		if g = gcd(g, max(t.c, -t.c)); g == 1 {
			return 1
		}
	}
	return g
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// dividedBy reports whether every coefficient of p is a multiple of d.
func (p poly) dividedBy(d int64) bool {
	for _, t := range p.terms() {
		if t.c%d != 0 {
			return false
		}
	}
	return true
}

// divided is p/d where d divides every coefficient.
func (p poly) divided(d int64) (poly, bool) {
	if d == 1 || p == nil {
		return p, true
	}
	r := p.in.begin(len(p.list))
	for _, t := range p.list {
		if t.c%d != 0 {
			return nil, false
		}
		r = append(r, term{t.m, t.c / d})
	}
	return p.in.end(r), true
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// tightened is an equivalent of p >= 0 over the integers with coprime
// coefficients.
func (p poly) tightened() poly {
	g := p.content(false)
	if g <= 1 {
		return p
	}
	r := p.in.begin(len(p.list))
	for _, t := range p.list {
		if c := floorDiv(t.c, g); c != 0 {
			r = append(r, term{t.m, c})
		}
	}
	return p.in.end(r)
}

// hash tells polynomials apart, though not all.
func (p poly) hash() uint64 {
	if p == nil {
		return 0
	}
	if p.known == 0 {
		h := uint64(len(p.list))
		for _, t := range p.list {
			h = (h ^ uint64(t.m)) * 0x9e3779b97f4a7c15
			h = (h>>29 ^ h ^ uint64(t.c)) * 0xbf58476d1ce4e5b9
		}
		p.known = h
	}
	return p.known
}

// format prints p with the names that the symbols have.
func (p poly) format(name func(symbol) string) string {
	if p == nil {
		return "0"
	}
	var b strings.Builder
	for i, t := range p.list {
		c := t.c
		switch {
		case i > 0 && c < 0:
			b.WriteString(" - ")
			c = -c
		case i > 0:
			b.WriteString(" + ")
		case c < 0:
			b.WriteString("-")
			c = -c
		}
		sep := ""
		if c != 1 || t.m == 0 {
			b.WriteString(strconv.FormatInt(c, 10))
			sep = "*"
		}
		t.m.each(func(s symbol) {
			b.WriteString(sep + name(s))
			sep = "*"
		})
	}
	return b.String()
}
