package codegen

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// The lanes family: lanes are output rows, for few tokens (decode) or for
// formats whose column differs from lane to lane.

var lanesArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"},
	{Name: "x", Type: "*float32"}, {Name: "ldx", Type: "uintptr"},
	{Name: "w", Type: "*float32"}, {Name: "meta", Type: "*byte"}, {Name: "cnt", Type: "*uint32"},
	{Name: "k", Type: "int"}, {Name: "bias", Type: "*float32"},
	{Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"}, {Name: "n", Type: "int"},
}

var deltaTileArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"},
	{Name: "x", Type: "*float32"}, {Name: "w", Type: "*float32"},
	{Name: "meta", Type: "*byte"}, {Name: "cnt", Type: "*uint32"}, {Name: "bias", Type: "*float32"},
	{Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"}, {Name: "n", Type: "int"},
}

// slab is the state of a lanes kernel while it is being built.
type slab struct {
	span     // of a slab
	key      runtime.KernelKey
	nb, g    int // tokens; slabs in step
	x, y     asm.Reg
	bias     asm.Reg
	cnt      asm.Reg // LanesList
	w, meta  stream
	acc      [][]asm.Reg     // [nb][g*n]
	multiple map[int]asm.Reg // odd multiples of ldx
}

// stream is one of the streams that a kernel walks, at several slabs at once:
// slab j of those in step is j*stride bytes further.
type stream struct{ at, stride, triple asm.Reg }

// of is the address disp bytes into slab j of those in step.
func (s stream) of(j, disp int) asm.Mem {
	switch j {
	case 0:
		return asm.At(s.at, disp)
	case 3:
		return asm.Mem{Base: s.at, Index: s.triple, Scale: 1, Disp: disp}
	}
	return asm.Mem{Base: s.at, Index: s.stride, Scale: j, Disp: disp}
}

// inStep is how many slabs of some vectors each a kernel for one token walks at
// once. One stream leaves most of the memory's bandwidth unused: hardware fetches ahead in each
// stream by itself, and stops at the end of each page.
func inStep(k runtime.KernelKey, mc asm.Machine, vectors int) int {
	// Each slab has its accumulators and its indices in registers, all share a table.
	fits := func(g int) bool {
		return 2*g*vectors+tables(k, mc) < mc.Regs*3/4
	}
	switch {
	case k.NB > 1:
		return 1
	case k.Op == runtime.LanesDense, k.Op == runtime.LanesNM && mc.Regs > 16 && fits(4):
		return 4
	case k.Op == runtime.LanesNM && fits(2):
		return 2
	}
	return 1
}

// tables is the registers that M activations fill, among which indices choose.
func tables(k runtime.KernelKey, mc asm.Machine) int {
	return max(1, int(k.M)/max(leastLanes, mc.Lanes))
}

// token is the address of token t's element at xp + disp.
func (s *slab) token(xp asm.Reg, t, disp int) asm.Mem {
	if t == 0 {
		return asm.At(xp, disp)
	}
	shift := bits.TrailingZeros(uint(t))
	return asm.Mem{Base: xp, Index: s.multiple[t>>shift], Scale: 1 << shift, Disp: disp}
}

// lanes builds LanesDense, LanesList, LanesNM, and LanesMask but for one token on eight lanes.
func lanes(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	// A machine whose vectors may be short has no table of several of them, and none
	// that is Scalable places values by bits.
	if int(k.S)%max(leastLanes, mc.Lanes) != 0 || k.NB > 15 || mc.Scalable && k.M > leastLanes {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	strips(b, int(k.S), mc.Regs, func(s span, _ asm.Reg) { lanesSpan(s, k) })
	return nil
}

// lanesSpan computes slabs of one span each.
func lanesSpan(of span, k runtime.KernelKey) {
	b := of.Builder
	s := &slab{span: of, key: k, nb: int(k.NB)}
	n := b.Arg("n")
	s.x, s.y, s.bias, s.w.at = b.Arg("x"), b.Arg("y"), b.Arg("bias"), b.Arg("w")
	if k.Op != runtime.LanesDense {
		s.meta.at = b.Arg("meta")
	}
	s.multiple = map[int]asm.Reg{}
	for t := 1; t < s.nb; t += 2 {
		s.multiple[t] = b.Arg("ldx")
		if t > 1 {
			b.MulI(s.multiple[t], s.multiple[t], t)
		}
	}
	var body func()
	switch k.Op {
	case runtime.LanesDense:
		body = s.dense
	case runtime.LanesList:
		s.cnt, body = b.Arg("cnt"), s.list
	case runtime.LanesMask:
		body = s.mask
	case runtime.LanesNM:
		body = s.nm
	}

	end := b.NewLabel("end")
	g := inStep(k, b.Machine(), s.n)
	if g > 1 {
		several, rest := b.NewLabel("slabs"), b.NewLabel("rest")
		s.strides(g)
		b.Label(several)
		b.JumpLE(n, g-1, rest)
		s.slabs(g, body)
		b.AddI(n, -g)
		b.Jump(several)
		b.Label(rest)
		b.JumpZ(n, end)
	}
	if g == 2 { // one at most
		s.slabs(1, body)
	} else {
		b.Loop("slab", n, func() { s.slabs(1, body) })
	}
	b.Label(end)
}

// strides prepares the streams for g slabs in step.
func (s *slab) strides(g int) {
	set := func(st *stream, elements asm.Reg, bytes int) {
		st.stride = elements
		s.MulI(st.stride, elements, bytes)
		if g > 3 {
			st.triple = s.Int()
			s.Lea(st.triple, asm.Mem{Base: st.stride, Index: st.stride, Scale: 2})
		}
	}
	k := s.Arg("k")
	if s.key.Op == runtime.LanesDense {
		set(&s.w, k, int(s.key.S)*4)
		return
	}
	l := s.nmLayout()
	s.ShrI(k, bits.TrailingZeros(uint(l.m)))
	words := s.Int()
	if l.groups > 1 { // k/groups, rounded up; exact for extents below 2^31
		const shift = 31
		s.Lea(words, asm.At(k, l.groups-1))
		s.MulI(words, words, (1<<shift+l.groups-1)/l.groups)
		s.ShrI(words, shift)
	} else {
		s.MulI(words, k, max(1, l.words))
	}
	set(&s.meta, words, int(s.key.S)*4)
	set(&s.w, k, l.n*int(s.key.S)*4)
}

// slabs computes the next g slabs.
func (s *slab) slabs(g int, body func()) {
	s.g, s.acc = g, nil
	for range s.nb {
		s.acc = append(s.acc, s.Vecs(g*s.n))
	}
	for v, a := range s.acc[0] {
		s.load(a, s.output(s.bias, v), v%s.n)
		for t := 1; t < s.nb; t++ {
			s.VMov(s.acc[t][v], a)
		}
	}
	s.AddI(s.bias, g*int(s.key.S)*4)
	body()
	if g > 1 { // each stream has passed the first of them
		for _, st := range []stream{s.w, s.meta} {
			if !st.at.IsZero() {
				s.Lea(st.at, st.of(g-1, 0))
			}
		}
	}
	lo, hi := s.Vec(), s.Vec()
	s.BcastArg(lo, "lo")
	s.BcastArg(hi, "hi")
	out := s.y
	if s.nb > 1 {
		out = s.Int()
		s.Mov(out, s.y)
	}
	for t, acc := range s.acc {
		for v, a := range acc {
			s.VMax(a, lo, a)
			s.VMin(a, hi, a)
			s.store(s.output(out, v), v%s.n, a)
		}
		if t+1 < s.nb {
			ld := s.Arg("ldy")
			s.Add(out, ld)
		}
	}
	s.AddI(s.y, g*int(s.key.S)*4)
}

// weight is the address, disp bytes on in the stream of weights, of the span with
// the v-th vector of the slabs in step.
func (s *slab) weight(v, disp int) asm.Mem { return s.w.of(v/s.n, disp) }

// output is weight for what lies slab by slab.
func (s *slab) output(at asm.Reg, v int) asm.Mem { return asm.At(at, v/s.n*int(s.key.S)*4) }

// ahead is how far before its use a weight is asked for where decoding fills the
// core's window, so that it does not run ahead to the memory by itself: bytes.
// Streams that need no decoding lose by it.
const ahead = 2048

// column multiplies one column: the slab's weights are in wv, token t's
// activation is at s.token(xp, t, 0).
func (s *slab) column(wv []asm.Reg, xp asm.Reg) {
	for t := range s.nb {
		m := s.token(xp, t, 0)
		if s.n == 1 {
			s.FMABcast(s.acc[t][0], wv[0], m)
			continue
		}
		xb := s.Vec()
		s.Bcast(xb, m)
		for v := range s.n {
			s.FMA(s.acc[t][v], wv[v], xb)
		}
	}
}

// storedColumn is column with the weights in memory at w, which it passes, for
// the slabs in step.
func (s *slab) storedColumn(xp asm.Reg) {
	if s.nb == 1 {
		xb := s.Vec()
		s.Bcast(xb, asm.At(xp, 0))
		for v, a := range s.acc[0] {
			s.fma(a, xb, s.weight(v, 0), v%s.n)
		}
	} else {
		wv := s.Vecs(s.n)
		for v := range wv {
			s.load(wv[v], s.weight(v, 0), v)
		}
		s.column(wv, xp)
	}
	s.AddI(s.w.at, int(s.key.S)*4)
}

func (s *slab) dense() {
	xp, k := s.Int(), s.Arg("k")
	s.Mov(xp, s.x)
	s.Loop("k", k, func() {
		s.storedColumn(xp)
		s.AddI(xp, 4)
	})
}

func (s *slab) list() {
	xp, off, c := s.Int(), s.Int(), s.Int()
	s.LoadU(c, 4, asm.At(s.cnt, 0))
	s.AddI(s.cnt, 4)
	s.While("column", c, func() {
		s.LoadU(off, 2, asm.At(s.meta.at, 0))
		s.AddI(s.meta.at, 2)
		s.Lea(xp, asm.Mem{Base: s.x, Index: off, Scale: 4})
		s.storedColumn(xp)
	})
}

// nmLayout is how the indices of LanesNM fill words.
type nmLayout struct {
	n, m   int
	bits   int // an index
	per    int // indices a word
	groups int // groups a word, or 0: a group takes several words
	words  int // words a group, if several
}

func (s *slab) nmLayout() nmLayout {
	n, m := int(s.key.N), int(s.key.M)
	bit := max(1, bits.TrailingZeros(uint(m)))
	l := nmLayout{n: n, m: m, bits: bit, per: 32 / bit}
	if n > l.per {
		l.words = (n + l.per - 1) / l.per
	} else {
		l.groups = l.per / n
	}
	return l
}

// nm walks the groups; the indices of up to 32/B stored elements of a lane lie
// in one word, lowest first, and are shifted down as they are used.
func (s *slab) nm() {
	l := s.nmLayout()
	n, m := l.n, l.m
	xp, groups := s.Int(), s.Arg("k")
	s.Mov(xp, s.x)
	s.ShrI(groups, bits.TrailingZeros(uint(m)))
	idx := s.Vecs(s.g * s.n)
	loadWords := func() {
		for v := range idx {
			s.load(idx[v], s.meta.of(v/s.n, 0), v%s.n)
		}
		s.AddI(s.meta.at, int(s.key.S)*4)
	}
	shift := func() {
		for v := range idx {
			s.VShrI(idx[v], idx[v], l.bits)
		}
	}

	if l.words > 0 {
		s.Loop("group", groups, func() {
			for q := range n {
				if q%l.per == 0 {
					loadWords()
				}
				s.stored(idx, xp, 0, q)
				shift()
			}
			s.AddI(xp, 4*m)
			s.AddI(s.w.at, n*int(s.key.S)*4)
		})
		return
	}
	main, rest, end := s.NewLabel("word"), s.NewLabel("rest"), s.NewLabel("end")
	s.Label(main)
	s.JumpLE(groups, l.groups-1, rest)
	loadWords()
	for e := range l.groups {
		for q := range n {
			s.stored(idx, xp, e*4*m, e*n+q)
			if e*n+q+1 < l.groups*n {
				shift()
			}
		}
	}
	s.AddI(xp, l.groups*4*m)
	s.AddI(s.w.at, l.groups*n*int(s.key.S)*4)
	s.AddI(groups, -l.groups)
	s.Jump(main)
	s.Label(rest)
	if l.groups == 1 { // whole words leave no rest
		return
	}
	s.JumpZ(groups, end)
	loadWords()
	group := func() {
		for q := range n {
			s.stored(idx, xp, 0, q)
			shift()
		}
		s.AddI(xp, 4*m)
		s.AddI(s.w.at, n*int(s.key.S)*4)
	}
	if l.groups == 2 { // one at most is left
		group()
	} else {
		s.Loop("group", groups, group)
	}
	s.Label(end)
}

// stored multiplies the j-th stored element from w in every lane of the slabs
// in step; idx holds its place in the group that begins at xp + disp.
func (s *slab) stored(idx []asm.Reg, xp asm.Reg, disp, j int) {
	m, count := int(s.key.M), tables(s.key, s.Machine())
	at := func(v int) asm.Mem { return s.weight(v, j*int(s.key.S)*4) }
	var wv []asm.Reg
	if s.nb > 1 && count == 1 {
		wv = s.Vecs(len(idx))
		for v := range wv {
			s.load(wv[v], at(v), v%s.n)
		}
	}
	for t := range s.nb {
		table := s.Vecs(count)
		for h := range table {
			s.BcastN(table[h], m/count, s.token(xp, t, disp+h*m/count*4))
		}
		for v := range idx {
			sel := s.Vec()
			s.Select(sel, idx[v], table, m)
			if wv != nil {
				s.FMA(s.acc[t][v], sel, wv[v])
			} else {
				s.fma(s.acc[t][v], sel, at(v), v%s.n)
			}
		}
	}
}

// deltaTile builds DeltaTile: eight rows in step, each with its own column,
// found by adding up byte deltas. Eight column counters fill the integer
// registers, so what changes once a slab lives in the argument slots.
func deltaTile(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	const most = 2 // vectors a row
	if least := max(leastLanes, mc.Lanes); k.S != deltaRows || int(k.T)%least != 0 || int(k.T) > most*least {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	strips(b, int(k.T), most, func(s span, _ asm.Reg) { deltaSpan(s, k) })
	return nil
}

// deltaRows is the rows of a slab of DeltaTile.
const deltaRows = 8

// deltaSpan computes slabs of deltaRows spans.
func deltaSpan(of span, k runtime.KernelKey) {
	const s = deltaRows
	b, nv := of.Builder, of.n
	x, w, meta := b.Arg("x"), b.Arg("w"), b.Arg("meta")
	acc := b.Vecs(s * nv) // nv a row
	b.LoopArg("slab", "n", func() {
		bias := b.Arg("bias")
		for l := range s {
			b.Bcast(acc[l*nv], asm.At(bias, 4*l))
			for v := 1; v < nv; v++ {
				b.VMov(acc[l*nv+v], acc[l*nv])
			}
		}
		b.AddI(bias, 4*s)
		b.SetArg("bias", bias)
		cnt, c := b.Arg("cnt"), b.Int()
		b.LoadU(c, 4, asm.At(cnt, 0))
		b.AddI(cnt, 4)
		b.SetArg("cnt", cnt)
		var off [s]asm.Reg
		for l := range off {
			off[l] = b.Int()
			b.MovI(off[l], 0)
		}
		b.While("step", c, func() {
			d, weight := b.Int(), of.weights(w, s)
			b.Prefetch(asm.At(w, ahead))
			for l := range off {
				b.LoadU(d, 1, asm.At(meta, l))
				// off counts in units of 8 bytes, a row of the tile is T/2 of them.
				b.Lea(off[l], asm.Mem{Base: off[l], Index: d, Scale: int(k.T) / 2})
				wv := weight(l)
				for v := range nv {
					of.fma(acc[l*nv+v], wv, asm.Mem{Base: x, Index: off[l], Scale: 8}, v)
				}
			}
			b.AddI(meta, s)
			b.AddI(w, 4*s)
		})
		lo, hi := b.Vec(), b.Vec()
		b.BcastArg(lo, "lo")
		b.BcastArg(hi, "hi")
		y, ldy := b.Arg("y"), b.Arg("ldy")
		for i, a := range acc {
			b.VMax(a, lo, a)
			b.VMin(a, hi, a)
			of.store(asm.At(y, 0), i%nv, a)
			if i%nv == nv-1 {
				b.Add(y, ldy)
			}
		}
		b.SetArg("y", y)
	})
}
