package verify

import (
	"cmp"
	"go/ast"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomPoly has up to four terms over the symbols.
func randomPoly(in *arena, rng *rand.Rand, syms []symbol, coefficient int64) poly {
	var p poly
	for range 1 + rng.IntN(4) {
		m := mono(0)
		for range rng.IntN(3) {
			m, _ = m.times(mono(syms[rng.IntN(len(syms))]))
		}
		p = p.plus(in.one(m, rng.Int64N(2*coefficient+1)-coefficient))
	}
	return p
}

func (p poly) eval(at map[symbol]int64) int64 {
	sum := int64(0)
	for _, t := range p.terms() {
		v := t.c
		t.m.each(func(s symbol) { v *= at[s] })
		sum += v
	}
	return sum
}

// TestPolynomials compares arithmetic on polynomials with that on integers.
func TestPolynomials(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	syms, in := []symbol{3, 9, 4, 70}, &arena{}
	for range 3000 {
		at := map[symbol]int64{}
		for _, s := range syms {
			at[s] = rng.Int64N(9)
		}
		p, q := randomPoly(in, rng, syms, 9), randomPoly(in, rng, syms, 9)
		k := rng.Int64N(7) - 3
		require.Equal(t, p.eval(at)+k*q.eval(at), p.plusTimes(q, k).eval(at))
		require.Equal(t, p.eval(at)*q.eval(at), p.times(q).eval(at))
		for _, r := range []poly{p.plusTimes(q, k), p.times(q), p.plusConst(k), p.timesMono(mono(syms[0])), reduced(p)} {
			require.True(t, slices.IsSortedFunc(r.terms(), func(x, y term) int { return cmp.Compare(y.m, x.m) }), "%v", r.terms())
			require.True(t, r == nil || len(r.list) > 0, "nil is 0")
			require.False(t, slices.ContainsFunc(r.terms(), func(t term) bool { return t.c == 0 }))
		}
		require.True(t, p.plus(q).minus(q).equal(p))
		require.True(t, p.times(q).equal(q.times(p)))
		if p.equal(q) {
			require.Equal(t, p.hash(), q.hash())
		}
		require.Equal(t, p.hash(), q.plus(p.minus(q)).hash())
		with, without, once := p.split(syms[0])
		if once {
			require.True(t, with.times(in.one(mono(syms[0]), 1)).plus(without).equal(p))
		}
		tied, free := parts(p)
		require.Equal(t, p.eval(at), tied.eval(at)+free.eval(at))
		// Both say the same of integers.
		require.Equal(t, p.eval(at) >= 0, p.tightened().eval(at) >= 0)
		if reduced(p).eval(at) >= 0 {
			require.GreaterOrEqual(t, p.eval(at), int64(0))
		}
	}
}

// TestProofsHold: what is proved from random facts is so for every small value
// of the symbols that fits the facts.
func TestProofsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a := &analysis{answers: map[question]answer{}, syms: newSymbols()}
	var syms []symbol
	for _, name := range []string{"a", "b", "c"} {
		syms = append(syms, a.syms.fresh(name))
	}
	proved, refuted := 0, 0
	for range 4000 {
		var f *fact
		var facts []poly
		for range 1 + rng.IntN(4) {
			p := randomPoly(a.syms.polys, rng, syms, 5)
			f, facts = f.with(p), append(facts, p)
		}
		goal := randomPoly(a.syms.polys, rng, syms, 5)
		if rng.IntN(3) > 0 { // most of what is random does not follow
			goal = facts[0].scaled(1 + rng.Int64N(3)).plus(facts[len(facts)-1]).plusConst(rng.Int64N(5) - 2)
		}
		holds := a.proves(f, goal)
		for n := range int64(7 * 7 * 7) {
			at := map[symbol]int64{syms[0]: n % 7, syms[1]: n / 7 % 7, syms[2]: n / 49}
			fits := true
			for _, p := range facts {
				fits = fits && p.eval(at) >= 0
			}
			if fits && goal.eval(at) < 0 {
				require.False(t, holds, "%s at %v", a.format(goal), at)
				refuted++
				break
			}
		}
		if holds {
			proved++
		}
	}
	require.Greater(t, proved, 500)
	require.Greater(t, refuted, 500)
}

// TestWhatMustBeProved: shapes of proofs that kernels need.
func TestWhatMustBeProved(t *testing.T) {
	a := &analysis{answers: map[question]answer{}, syms: newSymbols(), names: map[string]poly{}, parsed: map[string]ast.Expr{}}
	for _, name := range []string{"n", "k", "i", "j", "G", "W", "q", "e", "r", "R"} {
		a.names[name] = a.syms.poly(a.syms.fresh(name))
	}
	for _, c := range []struct {
		goal  string
		facts []string
	}{
		{"n*k - i*k - j - 1", []string{"n - i - 1", "k - j - 1"}},              // a stream of k elements a round
		{"W*n - W*i - q - 1", []string{"n - i - 1", "G - 8*q - 8", "8*W - G"}}, // words of eight groups
		{"q - W", []string{"G - 8*q", "8*q - G", "G + 7 - 8*W"}},               // whole words, no rest
		{"W - q - 1", []string{"G - 8*q - 1", "8*W - G"}},                      // and with a rest
		{"16*R - 8*q - 8", []string{"r - 8*q - 1", "16*R - r"}},                // rounded up to squares
		{"e*R - e*r - e + 2*W - 2*q", []string{"R - r - 1", "16*W + 15 - G", "G - 16*q"}},
	} {
		var f *fact
		for _, text := range c.facts {
			p, err := a.expr(text)
			require.NoError(t, err)
			f = f.with(p)
		}
		goal, err := a.expr(c.goal)
		require.NoError(t, err)
		require.True(t, a.proves(f, goal), c.goal)
		require.False(t, a.proves(f, goal.scaled(-1).plusConst(-1)), "not %s", c.goal)
	}
}

// TestClampBelowNothing: what is no more than 0 and no less is 0.
func TestClampBelowNothing(t *testing.T) {
	syms := newSymbols()
	n := syms.poly(syms.fresh("n"))
	require.Nil(t, syms.clampBelow(n, syms.constant(0)))
	require.NotNil(t, syms.clampBelow(n, syms.constant(1)))
	require.False(t, syms.clampOf(n).equal(syms.clampBelow(n, n)))
}
