package codegen

import (
	"math"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/internal/fit"
	"github.com/sparsegen/sparsegen/runtime"
)

// The map family applies an activation in place. Each does on vectors what
// runtime/act.go does on one float32, operation by operation, and so gives the
// same bits.

var mapArgs = []asm.Arg{{Name: "y", Type: "*float32"}, {Name: "n", Type: "int"}}

// activations are the bodies of the map kernels. Each loads the vectors that it
// is about and gives their results.
var activations = map[runtime.KernelOp]func(mapper) []asm.Reg{
	runtime.MapGelu:     mapper.gelu,
	runtime.MapGeluTanh: mapper.geluTanh,
	runtime.MapSilu:     mapper.silu,
	runtime.MapSigmoid:  mapper.sigmoid,
	runtime.MapTanh:     mapper.tanh,
}

// mapUnroll is the vectors a round of the main loop: their chains of operations
// overlap, and they share each load of a constant. Three registers a vector and
// one for a constant fit the sixteen of AVX2.
const mapUnroll = 4

// mapKernel builds MapGelu … MapTanh: rounds of mapUnroll vectors, then of one,
// then what is left, under a mask.
func mapKernel(b *asm.Builder, k runtime.KernelKey) error {
	act := activations[k.Op]
	y, n := b.Arg("y"), b.Arg("n")
	for _, vectors := range []int{mapUnroll, 1} {
		m := mapper{b, vectors, func(x asm.Reg, i int) { b.Load(x, asm.At(y, 0).PlusVectors(i)) }}
		round, rest := b.NewLabel("round"), b.NewLabel("rest")
		b.Label(round)
		fewer(b, n, vectors, rest)
		for i, r := range act(m) {
			b.Store(asm.At(y, 0).PlusVectors(i), r)
		}
		b.AddVectors(y, vectors)
		b.AddLanes(n, -vectors)
		b.Jump(round)
		b.Label(rest)
	}
	end := b.NewLabel("end")
	b.JumpLE(n, 0, end)
	mask := b.Mask()
	b.MaskFirst(mask, n)
	m := mapper{b, 1, func(x asm.Reg, _ int) { b.LoadMask(x, asm.At(y, 0), mask) }}
	b.StoreMask(asm.At(y, 0), act(m)[0], mask)
	b.Label(end)
	return nil
}

// mapper writes one operation for several vectors at a time, interleaved. Where
// an operand is one register, it is that of all vectors.
type mapper struct {
	*asm.Builder
	vectors int
	from    func(x asm.Reg, i int) // loads vector i
}

// load loads the vectors into fresh registers. To load them a second time is
// cheaper than to hold them in registers meanwhile.
func (m mapper) load() []asm.Reg {
	x := m.Vecs(m.vectors)
	for i := range x {
		m.from(x[i], i)
	}
	return x
}

// constant is c in every lane.
func (m mapper) constant(c float32) asm.Reg {
	r := m.Vec()
	m.BcastConst(r, math.Float32bits(c))
	return r
}

// atLeast is the lower half of the contract's clamp: where lo > x, x = lo. A NaN
// stays.
func (m mapper) atLeast(x []asm.Reg, lo float32) {
	c := m.constant(lo)
	for _, r := range x {
		m.VMax(r, c, r)
	}
}

func (m mapper) clamp(x []asm.Reg, lo, hi float32) {
	m.atLeast(x, lo)
	c := m.constant(hi)
	for _, r := range x {
		m.VMin(r, c, r)
	}
}

// square is x*x in fresh registers.
func (m mapper) square(x []asm.Reg) []asm.Reg {
	d := m.Vecs(len(x))
	for i := range d {
		m.VMul(d[i], x[i], x[i])
	}
	return d
}

// polynomial is Horner's rule for the coefficients c, highest first, at u.
func (m mapper) polynomial(u []asm.Reg, c []float32) []asm.Reg {
	p := m.Vecs(len(u))
	for _, r := range p {
		m.BcastConst(r, math.Float32bits(c[0]))
	}
	var k asm.Reg
	for i, next := range c[1:] {
		if i == 0 || next != c[i] {
			k = m.constant(next)
		}
		for i := range p {
			m.FMA213(p[i], u[i], k)
		}
	}
	return p
}

// rational is clamp(x*P(x²)/Q(x²), -1, 1) for coefficients highest first; x is
// used up.
func (m mapper) rational(x []asm.Reg, p, q []float32) []asm.Reg {
	u := m.square(x)
	for i, r := range m.polynomial(u, p) {
		m.VMul(x[i], x[i], r)
	}
	for i, r := range m.polynomial(u, q) {
		m.VDiv(x[i], x[i], r)
	}
	m.clamp(x, -1, 1)
	return x
}

func (m mapper) tanh() []asm.Reg {
	x := m.load()
	m.clamp(x, -fit.TanhMax, fit.TanhMax)
	return m.rational(x,
		[]float32{fit.TanhP5, fit.TanhP4, fit.TanhP3, fit.TanhP2, fit.TanhP1, 1},
		[]float32{fit.TanhQ4, fit.TanhQ3, fit.TanhQ2, fit.TanhQ1, 1})
}

func (m mapper) gelu() []asm.Reg {
	x := m.load()
	m.clamp(x, -fit.GeluMax, fit.GeluMax)
	e := m.rational(x,
		[]float32{fit.GeluP5, fit.GeluP4, fit.GeluP3, fit.GeluP2, fit.GeluP1, fit.GeluP0},
		[]float32{fit.GeluQ5, fit.GeluQ4, fit.GeluQ3, fit.GeluQ2, fit.GeluQ1, 1})
	h := m.load()
	m.atLeast(h, -fit.GeluMax)
	half := m.constant(0.5)
	for i := range h {
		m.VMul(h[i], half, h[i])
		m.FMA213(e[i], h[i], h[i])
	}
	return e
}

// exp is exp(x); x is used up.
func (m mapper) exp(x []asm.Reg) []asm.Reg {
	m.clamp(x, fit.ExpMin, fit.ExpMax)
	magic := math.Float32bits(fit.ExpMagic)
	t, n := m.Vecs(len(x)), m.Vecs(len(x))
	c := m.constant(fit.ExpInvLn)
	for i := range x {
		m.BcastConst(t[i], magic)
		m.FMA(t[i], x[i], c)
	}
	c = m.constant(fit.ExpMagic)
	for i := range x {
		m.VSub(n[i], t[i], c)
	}
	for _, ln := range []float32{-fit.ExpLn2Hi, -fit.ExpLn2Lo} {
		c = m.constant(ln)
		for i := range x {
			m.FMA(x[i], n[i], c)
		}
	}
	p := m.polynomial(x, []float32{fit.ExpC6, fit.ExpC5, fit.ExpC4, fit.ExpC3, fit.ExpC2, 1, 1})
	bias := m.Vec()
	m.BcastConst(bias, 127)
	// As an integer, t is n and a multiple of 2^22, of which the shift into the
	// exponent's place leaves nothing.
	for i := range p { // x is free, and t is wanted no more
		h, rest := x[i], t[i]
		m.VSarI(h, t[i], 1)
		m.VSubI32(rest, t[i], h)
		for _, half := range []asm.Reg{h, rest} {
			m.VAddI32(half, half, bias)
			m.VShlI(half, half, 23)
			m.VMul(p[i], p[i], half)
		}
	}
	return p
}

// expNeg is exp(-x) as exp(0-x): the sign of a zero is lost in exp.
func (m mapper) expNeg() []asm.Reg {
	zero, x := m.Vec(), m.load()
	m.Zero(zero)
	for i := range x {
		m.VSub(x[i], zero, x[i])
	}
	return m.exp(x)
}

// over is x/(1+e), in e; an x of -Inf, where e is +Inf, counts as finite.
func (m mapper) over(e []asm.Reg) []asm.Reg {
	x, one := m.load(), m.constant(1)
	m.atLeast(x, -math.MaxFloat32)
	for i := range x {
		m.VAdd(e[i], one, e[i])
		m.VDiv(e[i], x[i], e[i])
	}
	return e
}

func (m mapper) silu() []asm.Reg { return m.over(m.expNeg()) }

func (m mapper) sigmoid() []asm.Reg {
	e, one := m.expNeg(), m.constant(1)
	for i := range e {
		m.VAdd(e[i], one, e[i])
		m.VDiv(e[i], one, e[i])
	}
	return e
}

func (m mapper) geluTanh() []asm.Reg {
	x := m.load()
	z := m.square(x)
	c3, c1 := m.constant(fit.GeluTanhC3), m.constant(fit.GeluTanhC1)
	for i := range z {
		m.FMA213(z[i], c3, c1)
		m.VMul(z[i], z[i], x[i])
	}
	return m.over(m.exp(z))
}
