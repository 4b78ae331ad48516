package ptx

// Constant folding: what the helpers do with operands that are constants.

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
