package verify

import (
	"cmp"
	"fmt"
	"slices"
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

// poly is a polynomial with integer coefficients: its terms, none of them 0, in
// descending order of m, so that the constant is last. It is never changed.
type poly []term

func constant(c int64) poly {
	if c == 0 {
		return nil
	}
	return poly{{0, c}}
}

func (s symbol) poly() poly { return poly{{mono(s), 1}} }

// limit bounds coefficients: what is beyond is a kernel gone wrong, and far from
// overflow.
const limit = 1 << 50

// plusTimes is p + k*q.
func (p poly) plusTimes(q poly, k int64) poly {
	if k == 0 || len(q) == 0 {
		return p
	}
	r := make(poly, 0, len(p)+len(q))
	for len(p) > 0 || len(q) > 0 {
		switch {
		case len(q) == 0 || len(p) > 0 && p[0].m > q[0].m:
			r, p = append(r, p[0]), p[1:]
		case len(p) == 0 || p[0].m < q[0].m:
			r, q = append(r, term{q[0].m, bounded(k, q[0].c)}), q[1:]
		default:
			if c := bounded(1, p[0].c+bounded(k, q[0].c)); c != 0 {
				r = append(r, term{p[0].m, c})
			}
			p, q = p[1:], q[1:]
		}
	}
	return r
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

func (p poly) plus(q poly) poly       { return p.plusTimes(q, 1) }
func (p poly) minus(q poly) poly      { return p.plusTimes(q, -1) }
func (p poly) scaled(k int64) poly    { return poly(nil).plusTimes(p, k) }
func (p poly) plusConst(c int64) poly { return p.plus(constant(c)) }

func (p poly) timesMono(m mono, c int64) poly {
	if c == 0 {
		return nil
	}
	r := make(poly, len(p))
	for i, t := range p {
		n, ok := t.m.times(m)
		if !ok {
			panic(tooLarge{})
		}
		r[i] = term{n, bounded(t.c, c)}
	}
	if m != 0 {
		r.sort()
	}
	return r
}

// sort puts terms of different products in order.
func (p poly) sort() {
	slices.SortFunc(p, func(a, b term) int { return cmp.Compare(b.m, a.m) })
}

func (p poly) times(q poly) poly {
	var r poly
	for _, t := range q {
		r = r.plus(p.timesMono(t.m, t.c))
	}
	return r
}

func (p poly) equal(q poly) bool { return slices.Equal(p, q) }

// isConst returns the value of a constant.
func (p poly) isConst() (c int64, ok bool) {
	switch {
	case len(p) == 0:
		return 0, true
	case len(p) == 1 && p[0].m == 0:
		return p[0].c, true
	}
	return 0, false
}

// constTerm is the constant among the terms.
func (p poly) constTerm() int64 {
	if n := len(p); n > 0 && p[n-1].m == 0 {
		return p[n-1].c
	}
	return 0
}

// isSymbol returns the symbol that p is.
func (p poly) isSymbol() (symbol, bool) {
	if len(p) == 1 && p[0].c == 1 && p[0].m != 0 && p[0].m>>16 == 0 {
		return symbol(p[0].m), true
	}
	return 0, false
}

// split writes p as s*with + without; ok is false where s occurs squared.
func (p poly) split(s symbol) (with, without poly, ok bool) {
	ok = true
	for _, t := range p {
		q, divides := t.m.over(mono(s))
		if !divides {
			without = append(without, t)
			continue
		}
		ok = ok && !q.has(s)
		with = append(with, term{q, t.c})
	}
	with.sort()
	return with, without, ok
}

// content is the greatest common divisor of the coefficients; of the constant
// too where all is true.
func (p poly) content(all bool) int64 {
	g := int64(0)
	for _, t := range p {
		if t.m == 0 && !all {
			continue
		}
		a, b := g, max(t.c, -t.c)
		for b != 0 {
			a, b = b, a%b
		}
		if g = a; g == 1 {
			return 1
		}
	}
	return g
}

// divided is p/d where d divides every coefficient.
func (p poly) divided(d int64) (poly, bool) {
	r := make(poly, len(p))
	for i, t := range p {
		if t.c%d != 0 {
			return nil, false
		}
		r[i] = term{t.m, t.c / d}
	}
	return r, true
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
	r := make(poly, 0, len(p))
	for _, t := range p {
		if c := floorDiv(t.c, g); c != 0 {
			r = append(r, term{t.m, c})
		}
	}
	return r
}

// hash tells polynomials apart, though not all.
func (p poly) hash() uint64 {
	h := uint64(len(p))
	for _, t := range p {
		h = (h ^ uint64(t.m)) * 0x9e3779b97f4a7c15
		h = (h>>29 ^ h ^ uint64(t.c)) * 0xbf58476d1ce4e5b9
	}
	return h
}

// format prints p with the names that the symbols have.
func (p poly) format(name func(symbol) string) string {
	if len(p) == 0 {
		return "0"
	}
	var b strings.Builder
	for i, t := range p {
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
			fmt.Fprint(&b, c)
			sep = "*"
		}
		t.m.each(func(s symbol) {
			b.WriteString(sep + name(s))
			sep = "*"
		})
	}
	return b.String()
}
