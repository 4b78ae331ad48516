package ptx

import (
	"fmt"
	"math"
)

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

// common is the type of an operation over xs: that of the first Reg.
func (k *Kernel) common(op string, xs ...any) (Type, bool) {
	t := Type(0)
	for _, x := range xs {
		switch x := x.(type) {
		case Reg:
			if x.k != k || x.IsZero() {
				k.errorf("%s: an operand is no register of this kernel", op)
				return B32, false
			}
			if t == 0 {
				t = x.t
			} else if !t.accepts(x.t, false) && !x.t.accepts(t, false) {
				k.errorf("%s of a %s and a %s", op, t, x.t)
				return t, false
			} else if signSensitive[op] && t.isSigned() != x.t.isSigned() && t.isInt() && x.t.isInt() &&
				k.konst(x) == nil && t.info().kind != kindBits && x.t.info().kind != kindBits {
				k.errorf("%s of a %s and a %s: say which with As", op, t, x.t)
				return t, false
			}
		default:
			if _, ok := toImm(x); !ok {
				k.errorf("%s: an operand is a %T, neither Reg nor number", op, x)
				return B32, false
			}
		}
	}
	if t != 0 {
		return t, true
	}
	t = U32
	for _, x := range xs {
		if imm, _ := toImm(x); imm.isFloat {
			return F32, true
		} else if imm.i < 0 {
			t = S32
		}
	}
	return t, true
}

var signSensitive = map[string]bool{"div": true, "rem": true, "min": true, "max": true, "setp": true, "mulhi": true}

// consts are the operands' values as t, if all are constant.
func (k *Kernel) consts(t Type, xs ...any) ([]Imm, bool) {
	out := make([]Imm, len(xs))
	for i, x := range xs {
		c, ok := k.constOf(x)
		if ok {
			c, ok = c.as(t)
		}
		if !ok {
			return nil, false
		}
		out[i] = c
	}
	return out, true
}

// isConst reports whether x is the constant v.
func (k *Kernel) isConst(x any, v int64) bool {
	c, ok := k.constOf(x)
	return ok && (!c.isFloat && c.i == v || c.isFloat && c.f == float64(v))
}

// pow2 is log2 of x, if x is a constant power of two.
func (k *Kernel) pow2(x any) (int, bool) {
	c, ok := k.constOf(x)
	if !ok || c.isFloat || c.i <= 0 || c.i&(c.i-1) != 0 {
		return 0, false
	}
	n := 0
	for c.i>>n != 1 {
		n++
	}
	return n, true
}

// same is x itself if it can never change, else a copy.
func (k *Kernel) same(t Type, x any) Reg {
	if c, ok := k.constOf(x); ok {
		if c, ok := c.as(t); ok {
			return k.constReg(t, c)
		}
	}
	if r, ok := x.(Reg); ok && r.k == k && k.regs[r.id].kind == regValue {
		return r
	}
	return k.op(t, "mov."+movType(t), x)
}

func (k *Kernel) op(t Type, form string, xs ...any) Reg {
	return k.value(t, func(d Reg) { k.emit(Reg{}, false, form, append([]any{d}, xs...)...) })
}

type foldFunc struct {
	i func(t Type, a, b int64) (int64, bool)
	f func(a, b float64) (float64, bool)
}

func wrapInt(f func(a, b int64) int64) foldFunc {
	return foldFunc{i: func(_ Type, a, b int64) (int64, bool) { return f(a, b), true }}
}

// binary emits or folds one two-operand operation.
func (k *Kernel) binary(op, form string, fold foldFunc, a, b any) Reg {
	t, ok := k.common(op, a, b)
	if !ok {
		return k.poison(t)
	}
	if c, ok := k.consts(t, a, b); ok {
		if r, ok := fold.apply(t, c[0], c[1]); ok {
			return k.constReg(t, r)
		}
	}
	if t == Pred {
		a, b = k.predicate(a), k.predicate(b)
	}
	name := t.arith()
	if form == "and" || form == "or" || form == "xor" {
		name = t.bitsName()
	}
	if t.isInt() {
		switch form {
		case "mul":
			form = "mul.lo"
		case "div":
			if _, ok := k.constOf(b); ok && k.isConst(b, 0) {
				k.errorf("division by zero")
				return k.poison(t)
			}
		}
	} else if form == "div" {
		form = "div.rn"
	}
	return k.op(t, form+"."+name, a, b)
}

// predicate is x, of type Pred, as a register.
func (k *Kernel) predicate(x any) Reg {
	if r, ok := x.(Reg); ok {
		return r
	}
	return k.Const(Pred, x)
}

func (f foldFunc) apply(t Type, a, b Imm) (Imm, bool) {
	switch {
	case t.isInt() && f.i != nil:
		v, ok := f.i(t, a.i, b.i)
		if !ok {
			return Imm{}, false
		}
		// Results wrap into the type, as the machine's do.
		if bits := t.Bits(); bits < 64 {
			v &= 1<<bits - 1
		}
		return Int(v).as(t)
	case t == F32 && f.f != nil:
		v, ok := f.f(float64(float32(a.f)), float64(float32(b.f)))
		return Float(float64(float32(v))), ok
	case t == F64 && f.f != nil:
		v, ok := f.f(a.f, b.f)
		return Float(v), ok
	case t == Pred && f.i != nil:
		v, ok := f.i(t, a.i, b.i)
		return Int(v & 1), ok
	}
	return Imm{}, false
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

// Mov sets the variable dst to src (a Reg or a number).
func (k *Kernel) Mov(dst Reg, src any) {
	if dst.IsZero() || dst.k != k {
		k.errorf("mov: the destination is no register of this kernel")
		return
	}
	if c, ok := k.constOf(src); ok {
		if c, ok = c.as(dst.t); !ok {
			k.errorf("mov: the constant does not fit %s", dst.t)
			return
		} else if dst.t == Pred {
			k.Emit("setp.ne.u32", dst, Int(c.i), Int(0))
			return
		}
		src = c
	}
	k.Emit("mov."+movType(dst.t), dst, src)
}

// As is r read as another type of its register class (U32 for S32, say); it
// costs nothing.
func (k *Kernel) As(t Type, r Reg) Reg {
	if r.IsZero() || r.k != k || !t.isReg() || t.class() != r.t.class() {
		k.errorf("As(%s, %s of type %s): not the same class of register", t, r, r.t)
		return k.poison(t)
	}
	return k.as(t, r)
}

func (k *Kernel) as(t Type, r Reg) Reg {
	if c := k.konst(r); c != nil && r.t.isInt() && t.isInt() && r.t.Bits() == t.Bits() && r.t != t {
		return k.constReg(t, *c)
	}
	r.t = t
	return r
}

// Pack makes a wider register of equal parts, the lowest first: two or four of
// 16 bits, or two of 32.
func (k *Kernel) Pack(parts ...Reg) Reg {
	if len(parts) == 0 {
		k.errorf("Pack of nothing")
		return k.poison(B32)
	}
	t := B64
	if parts[0].t.Bits()*len(parts) == 32 {
		t = B32
	}
	return k.op(t, "mov."+t.String(), Vec(parts...))
}

// Unpack splits a register into parts of type t, the lowest first.
func (k *Kernel) Unpack(t Type, r Reg) []Reg {
	if r.IsZero() || r.k != k || !t.isReg() || t == Pred || r.t.Bits() <= t.Bits() {
		k.errorf("Unpack of a %s into %s", r.t, t)
		return []Reg{k.poison(t), k.poison(t)}
	}
	parts := make([]Reg, r.t.Bits()/t.Bits())
	for i := range parts {
		parts[i] = k.newReg(t, regValue)
	}
	k.inHelper++
	k.Emit("mov."+r.t.bitsName(), Vec(parts...), r)
	k.inHelper--
	return parts
}

// setpCompare are the comparisons of integers and floats.
var setpCompare = map[string]func(lt, eq bool) bool{
	"eq": func(_, eq bool) bool { return eq },
	"ne": func(_, eq bool) bool { return !eq },
	"lt": func(lt, _ bool) bool { return lt },
	"le": func(lt, eq bool) bool { return lt || eq },
	"gt": func(lt, eq bool) bool { return !lt && !eq },
	"ge": func(lt, _ bool) bool { return !lt },
}

// SetP is the predicate a cmp b, with cmp one of eq ne lt le gt ge (and for
// floats equ neu ltu leu gtu geu num nan).
func (k *Kernel) SetP(cmp string, a, b any) Reg {
	t, ok := k.common("setp", a, b)
	if !ok {
		return k.poison(Pred)
	}
	f, plain := setpCompare[cmp]
	if c, ok := k.consts(t, a, b); ok && plain {
		if t.isInt() {
			return k.Const(Pred, f(less(t, c[0].i, c[1].i), c[0].i == c[1].i))
		} else if !math.IsNaN(c[0].f) && !math.IsNaN(c[1].f) {
			return k.Const(Pred, f(c[0].f < c[1].f, c[0].f == c[1].f))
		}
	}
	if _, ok := k.constOf(a); ok && plain {
		flip := map[string]string{"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
		if o, ok := flip[cmp]; ok {
			cmp = o
		}
		a, b = b, a
	}
	return k.op(Pred, "setp."+cmp+"."+t.arith(), a, b)
}

// Select is a where p is true, else b.
func (k *Kernel) Select(p Reg, a, b any) Reg {
	t, ok := k.common("select", a, b)
	if !ok || !k.checkPredicate(p) {
		return k.poison(t)
	}
	if c := k.konst(p); c != nil {
		x := b
		if c.i != 0 {
			x = a
		}
		if v, ok := k.constOf(x); ok {
			return k.constReg(t, v)
		}
		return k.same(t, x)
	}
	return k.op(t, "selp."+movType(t), a, b, p)
}

// Cvt converts r to type t: integers widen by their own sign and narrow by
// truncation; to an integer floats round toward zero, to a float to nearest
// even.
func (k *Kernel) Cvt(t Type, x any) Reg {
	from, ok := k.common("cvt", x)
	if !ok || !t.isReg() || t == Pred || from == Pred {
		if ok {
			k.errorf("Cvt from %s to %s", from, t)
		}
		return k.poison(t)
	}
	if c, ok := k.constOf(x); ok && (t.isInt() && !c.isFloat || t.isFloat()) {
		if t.isInt() && t.Bits() < 64 {
			c.i &= 1<<t.Bits() - 1
		}
		return k.constReg(t, c)
	}
	r, ok := x.(Reg)
	if !ok {
		r = k.Const(from, x)
	}
	fromFloat, toFloat := !from.isInt(), !t.isInt()
	round := ""
	switch {
	case !fromFloat && !toFloat:
		if t.Bits() == from.Bits() {
			return k.same(t, k.as(t, r))
		}
	case fromFloat && toFloat:
		if from == t {
			return k.same(t, r)
		} else if t.Bits() < from.Bits() {
			round = ".rn"
		}
	case fromFloat:
		round = ".rzi"
	default:
		round = ".rn"
	}
	return k.op(t, "cvt"+round+"."+t.arith()+"."+from.arith(), r)
}
