package codegen

import (
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// nmLayout is how the indices of LanesNM fill words, and how a kernel takes them.
type nmLayout struct {
	n, m   int
	bits   int // an index
	per    int // indices a word
	groups int // groups a word, or 0: a group takes several words
	words  int // words a group, if several
	side   int // groups of a token side by side in a vector, among which its indices choose
	phases int // an index as wide as that takes has room for so many of bits
}

// layoutNM is that of the kernels for slabs of so many vectors.
func layoutNM(k runtime.KernelKey, mc asm.Machine, vectors int) nmLayout {
	n, m := int(k.N), int(k.M)
	bit := max(1, bits.TrailingZeros(uint(m)))
	l := nmLayout{n: n, m: m, bits: bit, per: 32 / bit, side: 1, phases: 1}
	if n > l.per {
		l.words = (n + l.per - 1) / l.per
		return l
	}
	l.groups = l.per / n
	if side := mc.Lanes / m; sharesTokens(k, mc, vectors) && side > 1 && l.groups%side == 0 {
		wide := bits.TrailingZeros(uint(mc.Lanes))
		l.side, l.phases = side, (wide+bit-1)/bit
	}
	return l
}

// nm walks the groups; the indices of up to 32/B stored elements of a lane lie
// in one word, lowest first, and are shifted down as they are used.
func (s *slab) nm() {
	l := layoutNM(s.key, s.Machine(), s.n)
	n, m := l.n, l.m
	xp, groups := s.Arg("x"), s.Arg("k")
	s.ShrI(groups, bits.TrailingZeros(uint(m)))
	words := s.Vecs(s.g * s.n)
	loadWords := func() {
		for v := range words {
			s.load(words[v], s.meta.of(v/s.n, 0), v%s.n)
		}
		s.AddI(s.meta.at, int(s.key.S)*4)
	}
	shift := func(idx []asm.Reg, by int) {
		for v := range idx {
			s.VShrI(idx[v], idx[v], by)
		}
	}

	if l.words > 0 {
		s.Loop("group", groups, func() {
			table := s.tables(xp, 0, m)
			for q := range n {
				if q%l.per == 0 {
					loadWords()
				}
				s.stored(words, table, m, q)
				shift(words, l.bits)
			}
			s.AddI(xp, 4*m)
			s.pass(n * int(s.key.S) * 4)
		})
		return
	}
	main, rest, end := s.NewLabel("word"), s.NewLabel("rest"), s.NewLabel("end")
	s.Label(main)
	s.JumpLE(groups, l.groups-1, rest)
	loadWords()
	idx := s.widened(words, l)
	for e := 0; e < l.groups; e += l.side {
		table := s.tables(xp, e*4*m, l.side*m)
		for i := e * n; i < (e+l.side)*n; i++ {
			s.stored(idx[i%l.phases], table, l.side*m, i)
			if i+l.phases < l.groups*n {
				shift(idx[i%l.phases], l.phases*l.bits)
			}
		}
	}
	s.AddI(xp, l.groups*4*m)
	s.pass(l.groups * n * int(s.key.S) * 4)
	s.AddI(groups, -l.groups)
	s.Jump(main)
	s.Label(rest)
	if l.groups == 1 { // whole words leave no rest
		return
	}
	s.JumpZ(groups, end)
	loadWords()
	group := func() {
		table := s.tables(xp, 0, m)
		for q := range n {
			s.stored(words, table, m, q)
			shift(words, l.bits)
		}
		s.AddI(xp, 4*m)
		s.pass(n * int(s.key.S) * 4)
	}
	if l.groups == 2 { // one at most is left
		group()
	} else {
		s.Loop("group", groups, group)
	}
	s.Label(end)
}

// widened parts the indices of words into phases, each of which has every so-manieth of
// them, with the number of its group among those side by side above it. words are the first.
func (s *slab) widened(words []asm.Reg, l nmLayout) [][]asm.Reg {
	idx := [][]asm.Reg{words}
	for p := 1; p < l.phases; p++ {
		later := s.Vecs(len(words))
		for v := range words {
			s.VShrI(later[v], words[v], p*l.bits)
		}
		idx = append(idx, later)
	}
	for p := 0; p < l.phases && l.side > 1; p++ {
		var keep, group uint32
		for i := p; i < l.groups*l.n; i += l.phases {
			at := (i - p) * l.bits
			keep |= (1<<l.bits - 1) << at
			group |= uint32(i/l.n%l.side) << (at + l.bits)
		}
		mask, above := s.Vec(), s.Vec()
		s.BcastConst(mask, keep)
		s.BcastConst(above, group)
		for _, w := range idx[p] {
			s.VAnd(w, w, mask)
			s.VAddI32(w, w, above)
		}
	}
	return idx
}

// tables gives the table of each token: its size activations from xp + disp on. Where slabs share
// tokens, all tables stay in registers, for whatever is stored of their groups.
func (s *slab) tables(xp asm.Reg, disp, size int) func(t int) []asm.Reg {
	load := func(t int) []asm.Reg {
		table := s.Vecs(tables(s.key, s.Machine()))
		each := size / len(table)
		for h := range table {
			s.BcastN(table[h], each, s.token(xp, t, disp+h*each*4))
		}
		return table
	}
	if !sharesTokens(s.key, s.Machine(), s.n) {
		return load
	}
	var held [][]asm.Reg
	for t := range s.nb {
		held = append(held, load(t))
	}
	return func(t int) []asm.Reg { return held[t] }
}

// stored multiplies the j-th stored element from w in every lane of the slabs
// in step; idx holds its place in the tables of size activations.
func (s *slab) stored(idx []asm.Reg, table func(t int) []asm.Reg, size, j int) {
	disp := j * int(s.key.S) * 4
	var wv []asm.Reg
	if one := tables(s.key, s.Machine()) == 1; s.nb > 1 && (one || sharesTokens(s.key, s.Machine(), s.n)) {
		wv = s.loadWeights(disp)
	}
	for t := range s.nb {
		from := table(t)
		for v := range idx {
			sel := s.Vec()
			s.Select(sel, idx[v], from, size)
			if wv != nil {
				s.FMA(s.acc[t][v], sel, wv[v])
			} else {
				s.fma(s.acc[t][v], sel, s.weight(v, disp), v%s.n)
			}
		}
	}
}
