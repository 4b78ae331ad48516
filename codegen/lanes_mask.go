package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// masks builds LanesMask: bits say which lanes have a value, and the values of a
// column's lanes are expanded to their places.
func masks(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	// No machine that is Scalable places values by bits; eight lanes take them from a
	// register of 32.
	if mc.Scalable || mc.Lanes == 8 && k.S != pairRows {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	if k.NB > 1 || mc.Lanes != 8 {
		return lanes(b, k)
	}
	p := &pairs{Builder: b}
	p.build()
	return nil
}

// valueBytes is where the first value is in w.
const valueBytes = 4 * sgp.MaskHead

func (s *slab) mask() {
	xp, k := s.Arg("x"), s.Arg("k")
	bytes := int(s.key.S) / 8
	ex := s.ExpandInit(0)
	s.Loop("k", k, func() {
		s.Prefetch(asm.At(s.w.at, ahead))
		wv := s.Vecs(s.n)
		switch s.Machine().Lanes {
		case 4:
			s.expandHalves(ex, wv)
		case 8:
			bits := s.Int()
			s.LoadU(bits, bytes, asm.At(s.meta.at, 0))
			expandBytes(s.Builder, ex, wv, s.w.at, bits)
		default:
			s.expandAll(ex, wv)
		}
		s.column(wv, xp)
		s.AddI(s.meta.at, bytes)
		s.AddI(xp, 4)
	})
}

// expandAll takes a mask of whole bytes for each vector.
func (s *slab) expandAll(ex asm.Expander, wv []asm.Reg) {
	lanes := s.Machine().Lanes
	for v := range wv {
		m, n := s.Int(), s.Int()
		s.LoadU(m, lanes/8, asm.At(s.meta.at, v*lanes/8))
		s.Expand(ex, wv[v], asm.At(s.w.at, valueBytes), m)
		s.Popcnt(n, m)
		s.Lea(s.w.at, asm.Mem{Base: s.w.at, Index: n, Scale: 4})
	}
}

// expandHalves takes a byte for two vectors of four lanes.
func (s *slab) expandHalves(ex asm.Expander, wv []asm.Reg) {
	for v := 0; v < len(wv); v += 2 {
		m, half, n, second := s.Int(), s.Int(), s.Int(), s.Int()
		s.LoadU(m, 1, asm.At(s.meta.at, v/2))
		s.LowBits(half, m, 4)
		s.Expand(ex, wv[v], asm.At(s.w.at, valueBytes), half)
		s.CountByte(n, half)
		s.Lea(second, asm.Mem{Base: s.w.at, Index: n, Scale: 4})
		s.CountByte(n, m)
		s.Lea(s.w.at, asm.Mem{Base: s.w.at, Index: n, Scale: 4})
		s.ShrI(m, 4)
		s.Expand(ex, wv[v+1], asm.At(second, valueBytes), m)
	}
}

// expandBytes takes all vectors of eight lanes by the bits of their column, each from
// where it lies behind w, and passes them: what one waits for is the column before
// and not the vector before.
func expandBytes(b *asm.Builder, ex asm.Expander, wv []asm.Reg, w, bits asm.Reg) {
	for v := range wv {
		b.ExpandByte(ex, wv[v], asm.At(w, valueBytes), bits, v)
	}
	n := b.Int()
	b.Popcnt(n, bits)
	b.Lea(w, asm.Mem{Base: w, Index: n, Scale: 4})
}

// pairs builds LanesMask of eight lanes for one token. Slabs are walked at two
// places at once, one in each half of the call's slabs: their streams make two
// fronts, as those of fronts, and a column's activation serves both.
type pairs struct {
	*asm.Builder
	w, meta [2]asm.Reg
}

// pairRows is the rows of a slab of pairs, and pairVectors its vectors, of which each
// has a byte of a column's mask.
const (
	pairRows    = 32
	pairVectors = pairRows / 8
)

// build emits the kernel. From the second half on the slot of n counts pairs of slabs,
// that of ldx a slab that is left over, and that of ldy has the bytes of output in
// half of the slabs.
func (p *pairs) build() {
	p.w[0], p.meta[0] = p.Arg("w"), p.Arg("meta")
	p.w[1], p.meta[1] = p.Int(), p.Int()
	odd, half, bytes := p.Arg("n"), p.Int(), p.Arg("k")
	p.Mov(half, odd)
	p.ShrI(half, 1)
	p.Sub(odd, half)
	p.Sub(odd, half)
	p.SetArg("ldx", odd)
	p.SetArg("n", half)
	p.Mul(bytes, half)
	p.MulI(bytes, bytes, pairVectors)
	p.Mov(p.meta[1], p.meta[0])
	p.Add(p.meta[1], bytes)
	p.MulI(bytes, half, 4*pairRows)
	p.SetArg("ldy", bytes)
	cnt, values, c := p.Arg("cnt"), p.Int(), p.Int()
	p.MovI(values, 0)
	p.While("half", half, func() {
		p.LoadU(c, 4, asm.At(cnt, 0))
		p.Add(values, c)
		p.AddI(cnt, 4)
	})
	p.Lea(p.w[1], asm.Mem{Base: p.w[0], Index: values, Scale: 4})

	ex := p.ExpandInit(pairVectors)
	again, rest, end := p.NewLabel("pair"), p.NewLabel("rest"), p.NewLabel("end")
	p.Label(again)
	n := p.Arg("n")
	p.JumpZ(n, rest)
	p.AddI(n, -1)
	p.SetArg("n", n)
	p.slabs(ex, 0, 1)
	p.Jump(again)
	p.Label(rest)
	n = p.Arg("ldx")
	p.JumpZ(n, end)
	p.slabs(ex, 1)
	p.Label(end)
}

// output is where the next slabs have theirs in the vectors at an argument, which it
// moves on by one.
func (p *pairs) output(arg string) (at [2]asm.Mem) {
	first, half := p.Arg(arg), p.Arg("ldy")
	p.AddI(first, 4*pairRows)
	p.SetArg(arg, first)
	return [2]asm.Mem{asm.At(first, -4*pairRows), {Base: first, Index: half, Scale: 1, Disp: -4 * pairRows}}
}

// slabs computes the next slab at each of fronts.
func (p *pairs) slabs(ex asm.Expander, fronts ...int) {
	var acc [2][]asm.Reg
	at := p.output("bias")
	for _, f := range fronts {
		acc[f] = p.Vecs(pairVectors)
		for v, a := range acc[f] {
			p.Load(a, at[f].PlusVectors(v))
		}
	}
	// One index from -k up to 0 serves the activations and both masks.
	x, i := p.Arg("x"), p.Arg("k")
	p.Lea(x, asm.Mem{Base: x, Index: i, Scale: 4})
	for _, f := range fronts {
		p.Lea(p.meta[f], asm.Mem{Base: p.meta[f], Index: i, Scale: pairVectors})
	}
	k := i
	i = p.Int()
	p.MovI(i, 0)
	p.Sub(i, k)
	const turn = 4 // columns
	several, rest, one, end := p.NewLabel("columns"), p.NewLabel("rest"), p.NewLabel("column"), p.NewLabel("end")
	p.JumpLE(i, -turn, several)
	p.Jump(rest)
	p.Label(several)
	for _, f := range fronts {
		p.Prefetch(p.mask(f, i, 0).Plus(ahead / 2))
	}
	for c := range turn {
		p.column(ex, acc[:], x, i, c, fronts)
	}
	p.AddI(i, turn)
	p.JumpLE(i, -turn, several)
	p.Label(rest)
	p.JumpZ(i, end)
	p.Label(one)
	p.column(ex, acc[:], x, i, 0, fronts)
	p.AddJump(i, 1, one)
	p.Label(end)
	lo, hi := p.Vec(), p.Vec()
	p.BcastArg(lo, "lo")
	p.BcastArg(hi, "hi")
	at = p.output("y")
	for _, f := range fronts {
		for v, a := range acc[f] {
			p.VMax(a, lo, a)
			p.VMin(a, hi, a)
			p.Store(at[f].PlusVectors(v), a)
		}
	}
}

// mask is the mask of column i+c of front f's slab.
func (p *pairs) mask(f int, i asm.Reg, c int) asm.Mem {
	return asm.Mem{Base: p.meta[f], Index: i, Scale: pairVectors, Disp: c * pairVectors}
}

// column multiplies column i+c at each of fronts.
func (p *pairs) column(ex asm.Expander, acc [][]asm.Reg, x, i asm.Reg, c int, fronts []int) {
	xb := p.Vec()
	p.Bcast(xb, asm.Mem{Base: x, Index: i, Scale: 4, Disp: 4 * c})
	for _, f := range fronts {
		bits, wv := p.Int(), p.Vecs(pairVectors)
		p.Prefetch(asm.At(p.w[f], 2*ahead))
		p.LoadU(bits, pairVectors, p.mask(f, i, c))
		expandBytes(p.Builder, ex, wv, p.w[f], bits)
		for v, a := range acc[f] {
			p.FMA(a, wv[v], xb)
		}
	}
}
