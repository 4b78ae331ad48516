package ptx

// Copies, packing and conversions between types.

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
