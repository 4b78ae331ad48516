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

// activations are the bodies of the map kernels: each replaces the vectors x by
// its result, in registers of its choice.
var activations = map[runtime.KernelOp]func(m mapper, x []asm.Reg) []asm.Reg{
	runtime.MapGelu:     mapper.gelu,
	runtime.MapGeluTanh: mapper.geluTanh,
	runtime.MapSilu:     mapper.silu,
	runtime.MapSigmoid:  mapper.sigmoid,
	runtime.MapTanh:     mapper.tanh,
}

// mapUnroll is the vectors a round of the main loop: they share each load of a
// constant. Five registers a vector and one constant fit the sixteen of AVX2.
const mapUnroll = 3

// mapKernel builds MapGelu … MapTanh: rounds of mapUnroll vectors, then what is
// left a vector at a time under a mask.
func mapKernel(b *asm.Builder, k runtime.KernelKey) error {
	act := activations[k.Op]
	lanes := b.Machine().Lanes
	vb := lanes * 4
	y, n := b.Arg("y"), b.Arg("n")
	round, tail, end := b.NewLabel("round"), b.NewLabel("tail"), b.NewLabel("end")
	b.Label(round)
	b.JumpLE(n, mapUnroll*lanes-1, tail)
	x := b.Vecs(mapUnroll)
	for i := range x {
		b.Load(x[i], asm.At(y, i*vb))
	}
	for i, r := range act(mapper{b}, x) {
		b.Store(asm.At(y, i*vb), r)
	}
	b.AddI(y, mapUnroll*vb)
	b.AddI(n, -mapUnroll*lanes)
	b.Jump(round)

	b.Label(tail)
	b.JumpLE(n, 0, end)
	c, full, mask, last := b.Int(), b.Int(), b.Mask(), b.Vecs(1)
	b.Mov(c, n)
	b.MovI(full, lanes)
	b.Min(c, full)
	b.MaskFirst(mask, c)
	b.LoadMask(last[0], asm.At(y, 0), mask)
	b.StoreMask(asm.At(y, 0), act(mapper{b}, last)[0], mask)
	b.AddI(y, vb)
	b.AddI(n, -lanes)
	b.Jump(tail)
	b.Label(end)
	return nil
}

// mapper writes one operation for several vectors at a time, interleaved. Where
// an operand is one register, it is that of all vectors.
type mapper struct{ *asm.Builder }

// constant is c in every lane.
func (m mapper) constant(c float32) asm.Reg {
	r := m.Vec()
	m.BcastConst(r, math.Float32bits(c))
	return r
}

// atLeast is the lower half of the contract's clamp: where lo > x, x = lo. A NaN
// stays. atMost is the upper half.
func (m mapper) atLeast(x []asm.Reg, lo float32) {
	c := m.constant(lo)
	for _, r := range x {
		m.VMax(r, c, r)
	}
}

func (m mapper) atMost(x []asm.Reg, hi float32) {
	c := m.constant(hi)
	for _, r := range x {
		m.VMin(r, c, r)
	}
}

func (m mapper) clamp(x []asm.Reg, lo, hi float32) {
	m.atLeast(x, lo)
	m.atMost(x, hi)
}

// product is a*b in fresh registers.
func (m mapper) product(a, b []asm.Reg) []asm.Reg {
	d := m.Vecs(len(a))
	for i := range d {
		m.VMul(d[i], a[i], b[i])
	}
	return d
}

// polynomial is Horner's rule for the coefficients c, highest first, at u.
func (m mapper) polynomial(u []asm.Reg, c ...float32) []asm.Reg {
	p := m.Vecs(len(u))
	for _, r := range p {
		m.BcastConst(r, math.Float32bits(c[0]))
	}
	for _, next := range c[1:] {
		k := m.constant(next)
		for i := range p {
			m.FMA213(p[i], u[i], k)
		}
	}
	return p
}

// rational is clamp(x*P(x²)/Q(x²), -1, 1) for coefficients highest first; x is
// used up.
func (m mapper) rational(x []asm.Reg, p, q []float32) []asm.Reg {
	u := m.product(x, x)
	for i, r := range m.polynomial(u, p...) {
		m.VMul(x[i], x[i], r)
	}
	for i, r := range m.polynomial(u, q...) {
		m.VDiv(x[i], x[i], r)
	}
	m.clamp(x, -1, 1)
	return x
}

func (m mapper) tanh(x []asm.Reg) []asm.Reg {
	m.clamp(x, -fit.TanhMax, fit.TanhMax)
	return m.rational(x,
		[]float32{fit.TanhP5, fit.TanhP4, fit.TanhP3, fit.TanhP2, fit.TanhP1, 1},
		[]float32{fit.TanhQ4, fit.TanhQ3, fit.TanhQ2, fit.TanhQ1, 1})
}

func (m mapper) gelu(x []asm.Reg) []asm.Reg {
	m.atLeast(x, -fit.GeluMax)
	h, half := m.Vecs(len(x)), m.constant(0.5)
	for i := range x {
		m.VMul(h[i], half, x[i])
	}
	m.atMost(x, fit.GeluMax)
	e := m.rational(x,
		[]float32{fit.GeluP5, fit.GeluP4, fit.GeluP3, fit.GeluP2, fit.GeluP1, fit.GeluP0},
		[]float32{fit.GeluQ5, fit.GeluQ4, fit.GeluQ3, fit.GeluQ2, fit.GeluQ1, 1})
	for i := range e {
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
		m.VSubI32(t[i], t[i], c) // k, the integer n
	}
	for _, ln := range []float32{-fit.ExpLn2Hi, -fit.ExpLn2Lo} {
		c = m.constant(ln)
		for i := range x {
			m.FMA(x[i], n[i], c)
		}
	}
	p := m.polynomial(x, fit.ExpC6, fit.ExpC5, fit.ExpC4, fit.ExpC3, fit.ExpC2, 1, 1)
	bias := m.Vec()
	m.BcastConst(bias, 127)
	for i := range p { // x and n are free
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
func (m mapper) expNeg(x []asm.Reg) []asm.Reg {
	zero, d := m.Vec(), m.Vecs(len(x))
	m.Zero(zero)
	for i := range x {
		m.VSub(d[i], zero, x[i])
	}
	return m.exp(d)
}

// over is x/(1+e), in x.
func (m mapper) over(x, e []asm.Reg) []asm.Reg {
	one := m.constant(1)
	for i := range x {
		m.VAdd(e[i], one, e[i])
		m.VDiv(x[i], x[i], e[i])
	}
	return x
}

func (m mapper) sigmoid(x []asm.Reg) []asm.Reg {
	e, one := m.expNeg(x), m.constant(1)
	for i := range e {
		m.VAdd(e[i], one, e[i])
		m.VDiv(e[i], one, e[i])
	}
	return e
}

func (m mapper) silu(x []asm.Reg) []asm.Reg {
	e := m.expNeg(x)
	m.atLeast(x, -math.MaxFloat32)
	return m.over(x, e)
}

func (m mapper) geluTanh(x []asm.Reg) []asm.Reg {
	z := m.product(x, x)
	c3, c1 := m.constant(fit.GeluTanhC3), m.constant(fit.GeluTanhC1)
	for i := range z {
		m.FMA213(z[i], c3, c1)
		m.VMul(z[i], z[i], x[i])
	}
	e := m.exp(z)
	m.atLeast(x, -math.MaxFloat32)
	return m.over(x, e)
}
