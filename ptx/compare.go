package ptx

import "math"

// Comparison and selection.

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
