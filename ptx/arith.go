package ptx

import "fmt"

// The arithmetic helpers: each returns a new register (or a constant, if its
// operands are), of the type of its first register operand. Operands are Regs
// and Go numbers.

// arith is the type that add, sub, min ... name: bits count as unsigned.
func (t Type) arith() string {
	if k := t.info(); k.kind == kindBits {
		return fmt.Sprintf("u%d", k.bits)
	}
	return t.String()
}

func (t Type) bitsName() string {
	if t == Pred {
		return "pred"
	}
	return fmt.Sprintf("b%d", t.Bits())
}

// Add is a + b.
func (k *Kernel) Add(a, b any) Reg {
	if t, ok := k.common("add", a, b); ok && t.isInt() {
		if k.isConst(b, 0) {
			return k.same(t, a)
		} else if k.isConst(a, 0) {
			return k.same(t, b)
		}
	}
	return k.binary("add", "add", foldFunc{
		func(_ Type, a, b int64) (int64, bool) { return a + b, true },
		func(a, b float64) (float64, bool) { return a + b, true },
	}, a, b)
}

// Sub is a - b.
func (k *Kernel) Sub(a, b any) Reg {
	if t, ok := k.common("sub", a, b); ok && t.isInt() && k.isConst(b, 0) {
		return k.same(t, a)
	}
	return k.binary("sub", "sub", foldFunc{
		func(_ Type, a, b int64) (int64, bool) { return a - b, true },
		func(a, b float64) (float64, bool) { return a - b, true },
	}, a, b)
}

// Mul is a * b, the low half for integers.
func (k *Kernel) Mul(a, b any) Reg {
	if t, ok := k.common("mul", a, b); ok && t.isInt() {
		if _, ok := k.constOf(a); ok {
			a, b = b, a
		}
		switch n, ok := k.pow2(b); {
		case k.isConst(b, 0):
			return k.Const(t, 0)
		case ok && n == 0:
			return k.same(t, a)
		case ok:
			if _, ok := k.constOf(a); !ok {
				return k.Shl(a, n)
			}
		}
	}
	return k.binary("mul", "mul", foldFunc{
		func(_ Type, a, b int64) (int64, bool) { return a * b, true },
		func(a, b float64) (float64, bool) { return a * b, true },
	}, a, b)
}

// Mad is a*b + c: mad.lo for integers, fused for floats.
func (k *Kernel) Mad(a, b, c any) Reg {
	t, ok := k.common("mad", a, b, c)
	if !ok {
		return k.poison(t)
	}
	_, ca := k.constOf(a)
	_, cb := k.constOf(b)
	switch {
	case t.isInt() && (ca && cb || k.isConst(a, 0) || k.isConst(b, 0) || k.isConst(a, 1) || k.isConst(b, 1) || k.isConst(c, 0)):
		return k.Add(k.as(t, k.Mul(a, b)), c)
	case t.isInt():
		return k.op(t, "mad.lo."+t.arith(), a, b, c)
	}
	return k.op(t, "fma.rn."+t.String(), a, b, c)
}

// MulWide is the double-width product of two 32-bit integers.
func (k *Kernel) MulWide(a, b any) Reg { return k.wide("mul", a, b) }

// MadWide is a*b + c, with a and b of 32 bits and c of 64: an address base c
// plus a scaled index.
func (k *Kernel) MadWide(a, b, c any) Reg { return k.wide("mad", a, b, c) }

func (k *Kernel) wide(op string, xs ...any) Reg {
	t, ok := k.common(op+".wide", xs[:2]...)
	if !ok || !t.isInt() || t.Bits() != 32 {
		if ok {
			k.errorf("%s.wide of %s: want 32-bit integers", op, t)
		}
		return k.poison(U64)
	}
	wt := U64
	if t.isSigned() {
		wt = S64
	}
	if c, ok := k.consts(t, xs[:2]...); ok {
		p := k.constReg(wt, Int(c[0].i*c[1].i))
		if op == "mul" {
			return p
		}
		return k.Add(p, xs[2])
	}
	return k.op(wt, op+".wide."+t.arith(), xs...)
}

// Div is a / b; a power of two becomes a shift. For floats it is the correctly
// rounded quotient.
func (k *Kernel) Div(a, b any) Reg {
	if t, ok := k.common("div", a, b); ok && t.isInt() && !t.isSigned() {
		if n, ok := k.pow2(b); ok {
			return k.Shr(a, n)
		}
	}
	return k.binary("div", "div", foldFunc{i: func(t Type, a, b int64) (int64, bool) {
		if b == 0 {
			return 0, false
		}
		if !t.isSigned() {
			return int64(uint64(a) / uint64(b)), true
		}
		return a / b, true
	}}, a, b)
}

// Rem is a % b of integers; a power of two becomes a mask.
func (k *Kernel) Rem(a, b any) Reg {
	if t, ok := k.common("rem", a, b); ok && t.isInt() && !t.isSigned() {
		if n, ok := k.pow2(b); ok {
			return k.And(a, int64(1)<<n-1)
		}
	}
	return k.binary("rem", "rem", foldFunc{i: func(t Type, a, b int64) (int64, bool) {
		if b == 0 {
			return 0, false
		}
		if !t.isSigned() {
			return int64(uint64(a) % uint64(b)), true
		}
		return a % b, true
	}}, a, b)
}

func less(t Type, a, b int64) bool {
	if t.isSigned() {
		return a < b
	}
	return uint64(a) < uint64(b)
}

// Min is the smaller of a and b.
func (k *Kernel) Min(a, b any) Reg {
	return k.binary("min", "min", foldFunc{i: func(t Type, a, b int64) (int64, bool) {
		if less(t, b, a) {
			return b, true
		}
		return a, true
	}}, a, b)
}

// Max is the larger of a and b.
func (k *Kernel) Max(a, b any) Reg {
	return k.binary("max", "max", foldFunc{i: func(t Type, a, b int64) (int64, bool) {
		if less(t, a, b) {
			return b, true
		}
		return a, true
	}}, a, b)
}

// And is a & b, of integers or predicates.
func (k *Kernel) And(a, b any) Reg {
	if t, ok := k.common("and", a, b); ok && t == Pred {
		if k.isConst(a, 0) || k.isConst(b, 0) {
			return k.Const(Pred, false)
		} else if k.isConst(b, 1) {
			return k.same(t, a)
		} else if k.isConst(a, 1) {
			return k.same(t, b)
		}
	}
	return k.binary("and", "and", wrapInt(func(a, b int64) int64 { return a & b }), a, b)
}

// Or is a | b, of integers or predicates.
func (k *Kernel) Or(a, b any) Reg {
	if t, ok := k.common("or", a, b); ok && (t == Pred || t.isInt()) {
		if t == Pred && (k.isConst(a, 1) || k.isConst(b, 1)) {
			return k.Const(Pred, true)
		} else if k.isConst(b, 0) {
			return k.same(t, a)
		} else if k.isConst(a, 0) {
			return k.same(t, b)
		}
	}
	return k.binary("or", "or", wrapInt(func(a, b int64) int64 { return a | b }), a, b)
}

// Xor is a ^ b, of integers or predicates.
func (k *Kernel) Xor(a, b any) Reg {
	if t, ok := k.common("xor", a, b); ok && (t == Pred || t.isInt()) {
		if k.isConst(b, 0) {
			return k.same(t, a)
		} else if _, constant := k.constOf(a); t == Pred && k.isConst(b, 1) && !constant {
			return k.Not(a)
		}
	}
	return k.binary("xor", "xor", wrapInt(func(a, b int64) int64 { return a ^ b }), a, b)
}

// Not is the bitwise or logical complement.
func (k *Kernel) Not(a any) Reg {
	t, ok := k.common("not", a)
	if !ok {
		return k.poison(t)
	}
	if c, ok := k.consts(t, a); ok && (t.isInt() || t == Pred) {
		return k.binary("xor", "xor", wrapInt(func(a, b int64) int64 { return a ^ b }), k.constReg(t, c[0]), k.allOnes(t))
	}
	return k.op(t, "not."+t.bitsName(), a)
}

func (k *Kernel) allOnes(t Type) Reg {
	if t == Pred {
		return k.Const(Pred, 1)
	}
	v, _ := Int(-1).as(t)
	return k.constReg(t, v)
}

// Neg is -a of a signed integer or a float.
func (k *Kernel) Neg(a any) Reg {
	t, ok := k.common("neg", a)
	if !ok {
		return k.poison(t)
	}
	if c, ok := k.constOf(a); ok && c.isFloat {
		return k.constReg(t, Float(-c.f))
	} else if t.isInt() {
		return k.Sub(k.Const(t, 0), a)
	}
	return k.op(t, "neg."+t.String(), a)
}

// Shl is a << n; n is a 32-bit Reg or a number.
func (k *Kernel) Shl(a, n any) Reg { return k.shift("shl", a, n) }

// Shr is a >> n: arithmetic for signed types, else logical.
func (k *Kernel) Shr(a, n any) Reg { return k.shift("shr", a, n) }

func (k *Kernel) shift(op string, a, n any) Reg {
	t, ok := k.common(op, a)
	if !ok {
		return k.poison(t)
	}
	name := t.bitsName()
	if op == "shr" {
		name = t.arith()
	}
	s, constant := k.constOf(n)
	if !constant {
		return k.op(t, op+"."+name, a, n)
	}
	if s.isFloat || s.i < 0 || s.i >= int64(t.Bits()) {
		k.errorf("%s of a %s by %s bits", op, t, s)
		return k.poison(t)
	}
	if s.i == 0 {
		return k.same(t, a)
	}
	if c, ok := k.consts(t, a); ok && t.isInt() {
		f := func(_ Type, a, n int64) (int64, bool) { return a << n, true }
		if op == "shr" {
			f = func(t Type, a, n int64) (int64, bool) {
				if t.isSigned() {
					return a >> n, true
				}
				return int64(uint64(a) >> n), true
			}
		}
		r, _ := foldFunc{i: f}.apply(t, c[0], Int(s.i))
		return k.constReg(t, r)
	}
	return k.op(t, op+"."+name, a, n)
}
