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
	y        asm.Reg
	next     asm.Reg // up to where weights that follow are asked for; or none are
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

// inStep is how many slabs of some vectors each a kernel walks at once. With one token, there
// are machines where one stream leaves much of the memory's bandwidth unused: hardware fetches
// ahead in each stream by itself, and stops at the end of each page. With several, slabs share
// what is loaded of a token.
func inStep(k runtime.KernelKey, mc asm.Machine, vectors int) int {
	// Each slab has its accumulators and its indices in registers, all share a table.
	fits := func(g int) bool {
		return 2*g*vectors+tables(k, mc) < mc.Regs*3/4
	}
	switch {
	case k.Op != runtime.LanesDense && k.Op != runtime.LanesNM, k.S > slabRows:
		return 1
	case sharesTokens(k, mc, vectors):
		g := 4
		for g > 1 && registers(k, mc, g) > mc.Regs {
			g /= 2
		}
		return g
	case k.NB > 1:
		return 1
	case k.Op == runtime.LanesDense, mc.Regs > 16 && fits(4):
		return 4
	case fits(2):
		return 2
	}
	return 1
}

// sharesTokens reports whether slabs in step share what is loaded of several tokens. Where
// a slab is several vectors these do, and fill the registers.
func sharesTokens(k runtime.KernelKey, mc asm.Machine, vectors int) bool {
	return k.NB > 1 && vectors == 1 && !mc.Scalable
}

// registers is the vector registers that g slabs of one vector in step take with several
// tokens: accumulators and a weight each, and what the tokens are multiplied from.
func registers(k runtime.KernelKey, mc asm.Machine, g int) int {
	n := g*int(k.NB) + g + 1
	if k.Op == runtime.LanesNM {
		n += int(k.NB)*tables(k, mc) + g*layoutNM(k, mc, 1).phases
	}
	return n
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
	s.y, s.w.at = b.Arg("y"), b.Arg("w")
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
	l := layoutNM(s.key, s.Machine(), s.n)
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
	bias := s.Arg("bias")
	for v, a := range s.acc[0] {
		s.load(a, s.output(bias, v), v%s.n)
		for t := 1; t < s.nb; t++ {
			s.VMov(s.acc[t][v], a)
		}
	}
	s.AddI(bias, g*int(s.key.S)*4)
	s.SetArg("bias", bias)
	if sharesTokens(s.key, s.Machine(), s.n) {
		s.next = s.Int()
		if g > 1 {
			s.Lea(s.next, asm.Mem{Base: s.w.at, Index: s.w.stride, Scale: g})
		} else {
			s.Lea(s.next, asm.At(s.w.at, 2*ahead))
		}
	}
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

// column multiplies one column: the weights of the slabs in step are in wv, token t's
// activation is at s.token(xp, t, 0).
func (s *slab) column(wv []asm.Reg, xp asm.Reg) {
	for t := range s.nb {
		m := s.token(xp, t, 0)
		if len(wv) == 1 {
			s.FMABcast(s.acc[t][0], wv[0], m)
			continue
		}
		xb := s.Vec()
		s.Bcast(xb, m)
		for v := range wv {
			s.FMA(s.acc[t][v], wv[v], xb)
		}
	}
}

// loadWeights loads the weights that lie disp bytes on, and asks for what follows in each stream
// and for as many weights of the slabs that follow, whose beginnings no stream leads to: the
// multiply-adds of several tokens fill the core's window, so that it does not run ahead to
// the memory by itself.
func (s *slab) loadWeights(disp int) []asm.Reg {
	wv := s.Vecs(s.g * s.n)
	for v := range wv {
		m := s.weight(v, disp)
		s.load(wv[v], m, v%s.n)
		if !s.next.IsZero() {
			s.Prefetch(m.Plus(ahead))
			s.PrefetchFar(asm.At(s.next, s.g*disp+v*int(s.key.S)*4))
		}
	}
	return wv
}

// pass moves on by so many bytes of each slab's weights.
func (s *slab) pass(bytes int) {
	s.AddI(s.w.at, bytes)
	if !s.next.IsZero() {
		s.AddI(s.next, s.g*bytes)
	}
}

// storedColumn is column with the weights in memory at w, which it passes.
func (s *slab) storedColumn(xp asm.Reg) {
	if s.nb == 1 {
		xb := s.Vec()
		s.Bcast(xb, asm.At(xp, 0))
		for v, a := range s.acc[0] {
			s.fma(a, xb, s.weight(v, 0), v%s.n)
		}
	} else {
		s.column(s.loadWeights(0), xp)
	}
	s.pass(int(s.key.S) * 4)
}

func (s *slab) dense() {
	xp, k := s.Arg("x"), s.Arg("k")
	s.Loop("k", k, func() {
		s.storedColumn(xp)
		s.AddI(xp, 4)
	})
}

func (s *slab) list() {
	x, xp, off, c := s.Arg("x"), s.Int(), s.Int(), s.Int()
	s.LoadU(c, 4, asm.At(s.cnt, 0))
	s.AddI(s.cnt, 4)
	s.While("column", c, func() {
		s.LoadU(off, 2, asm.At(s.meta.at, 0))
		s.AddI(s.meta.at, 2)
		s.Lea(xp, asm.Mem{Base: x, Index: off, Scale: 4})
		s.storedColumn(xp)
	})
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
