package kernels

import (
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/ptx"
)

// Activation is an element-wise function that a kernel applies to its sums before
// it rounds them. The zero value is the identity.
type Activation uint8

// The activations. NaN stays NaN in all of them.
const (
	Identity Activation = iota
	ReLU
	Sigmoid
	SiLU     // x·σ(x)
	Tanh     //
	GELU     // x·Φ(x), by the error function
	GELUTanh // its approximation by tanh
)

var activations = [...]struct {
	name string
	emit func(k *ptx.Kernel, x ptx.Reg) ptx.Reg
}{
	Identity: {"identity", func(_ *ptx.Kernel, x ptx.Reg) ptx.Reg { return x }},
	ReLU:     {"relu", relu},
	Sigmoid:  {"sigmoid", sigmoid},
	SiLU:     {"silu", func(k *ptx.Kernel, x ptx.Reg) ptx.Reg { return k.Mul(x, sigmoid(k, x)) }},
	Tanh:     {"tanh", tanh},
	GELU:     {"gelu", gelu},
	GELUTanh: {"gelu_tanh", geluTanh},
}

// long reports whether the function needs several registers beside its argument.
func (a Activation) long() bool { return a == Tanh || a == GELU || a == GELUTanh }

func (a Activation) valid() bool { return int(a) < len(activations) }

// String is the function's name.
func (a Activation) String() string {
	if !a.valid() {
		return fmt.Sprintf("Activation(%d)", uint8(a))
	}
	return activations[a].name
}

// apply returns the function of an f32 register.
func (a Activation) apply(k *ptx.Kernel, x ptx.Reg) ptx.Reg { return activations[a].emit(k, x) }

func relu(k *ptx.Kernel, x ptx.Reg) ptx.Reg {
	y := k.Reg(ptx.F32)
	k.Emit("max.NaN.f32", y, x, ptx.Float(0))
	return y
}

// unary emits an instruction of one f32 source.
func unary(k *ptx.Kernel, form string, x ptx.Reg) ptx.Reg {
	y := k.Reg(ptx.F32)
	k.Emit(form, y, x)
	return y
}

// fma returns a·b + c; b and c are registers or numbers.
func fma(k *ptx.Kernel, a, b, c any) ptx.Reg {
	y := k.Reg(ptx.F32)
	k.Emit("fma.rn.f32", y, operand(a), operand(b), operand(c))
	return y
}

func operand(v any) any {
	if f, ok := v.(float64); ok {
		return ptx.Float(f)
	}
	return v
}

// sigmoid is 1/(1 + 2^(-x·log2 e)), to a few units in the last place.
func sigmoid(k *ptx.Kernel, x ptx.Reg) ptx.Reg {
	e := unary(k, "ex2.approx.ftz.f32", k.Mul(x, -math.Log2E))
	return unary(k, "rcp.approx.ftz.f32", k.Add(e, 1.0))
}

// tanh is 2σ(2x) - 1, which cancels near zero: there it is the Taylor series.
func tanh(k *ptx.Kernel, x ptx.Reg) ptx.Reg {
	far := fma(k, sigmoid(k, k.Mul(x, 2.0)), 2.0, -1.0)
	s := k.Mul(x, x)
	near := fma(k, fma(k, fma(k, s, -17.0/315, 2.0/15), s, -1.0/3), s, 1.0)
	return k.Select(k.SetP("lt", unary(k, "abs.f32", x), 0.25), k.Mul(near, x), far)
}

// gelu is x·Φ(x) with the rational approximation 7.1.26 of Abramowitz and
// Stegun (error below 1.5e-7): Φ(-z) = p(t)·exp(-z²/2)/2, t = 1/(1 + 0.3275911·z/√2).
func gelu(k *ptx.Kernel, x ptx.Reg) ptx.Reg {
	z := unary(k, "abs.f32", x)
	t := unary(k, "rcp.approx.ftz.f32", fma(k, z, 0.3275911/math.Sqrt2, 1.0))
	p := fma(k, t, 1.061405429/2, -1.453152027/2)
	for _, c := range []float64{1.421413741 / 2, -0.284496736 / 2, 0.254829592 / 2} {
		p = fma(k, p, t, c)
	}
	e := unary(k, "ex2.approx.ftz.f32", k.Mul(k.Mul(z, z), -math.Log2E/2))
	tail := k.Mul(k.Mul(p, t), e) // Φ(-|x|)
	// Φ(x) is the tail or what is left of it.
	phi := k.Select(k.SetP("lt", x, 0.0), tail, k.Sub(1.0, tail))
	return k.Mul(x, phi)
}

// geluTanh is x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), which equals
// x·(1 + tanh u)/2 without its cancellation.
func geluTanh(k *ptx.Kernel, x ptx.Reg) ptx.Reg {
	c := 2 * math.Sqrt(2/math.Pi)
	u := k.Mul(x, fma(k, k.Mul(x, x), c*0.044715, c))
	return k.Mul(x, sigmoid(k, u))
}
