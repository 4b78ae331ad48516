package ptx

import (
	"fmt"
	"math"
	"strings"
)

// render is the text of an operand that fits its slot. A constant becomes an
// immediate where the slot takes one, else a register filled just before.
func (k *Kernel) render(s *slot, o any) arg {
	switch s.kind {
	case slotImm:
		if r, ok := o.(Reg); ok {
			o = *k.konst(r)
		}
		imm, _ := toImm(o)
		return arg{text: fmt.Sprint(imm.i)}
	case slotMem:
		return k.renderMem(s, o.(Mem))
	case slotSink:
		return arg{text: "_"}
	}
	switch o := o.(type) {
	case Reg:
		if c := k.konst(o); c != nil && !s.regOnly && s.typ != Pred {
			return arg{text: c.text(s.typ)}
		} else if c != nil && s.boolImm {
			return arg{text: fmt.Sprint(c.i & 1)}
		}
		r := k.materialise(o)
		return arg{r.String(), []Reg{r}}
	case Vector:
		a := arg{regs: make([]Reg, len(o.regs))}
		parts := make([]string, len(o.regs))
		for i, r := range o.regs {
			a.regs[i] = k.materialise(r)
			parts[i] = a.regs[i].String()
		}
		a.text = braces(parts)
		return a
	case Discard:
		return arg{text: "_"}
	case PairOf:
		a := k.render(s, o.a)
		q := o.b.(Reg)
		return arg{a.text + "|" + q.String(), append(a.regs, q)}
	case NotPred:
		p := k.materialise(o.p)
		return arg{"!" + p.String(), []Reg{p}}
	case Special:
		return arg{text: string(o)}
	case symbol:
		return arg{text: string(o)}
	}
	imm, _ := toImm(o)
	return arg{text: imm.text(s.typ)}
}

func (k *Kernel) renderMem(s *slot, m Mem) arg {
	off := ""
	if m.off != 0 {
		off = fmt.Sprintf("%+d", m.off)
	}
	if m.sym != "" {
		return arg{text: "[" + m.sym + off + "]"}
	}
	base := k.materialise(m.base)
	a := arg{regs: []Reg{base}}
	if s.space != 't' {
		a.text = "[" + base.String() + off + "]"
		return a
	}
	parts := make([]string, len(m.coords))
	for i, c := range m.coords {
		ca := k.render(&slot{typ: S32}, c)
		parts[i] = ca.text
		a.regs = append(a.regs, ca.regs...)
	}
	a.text = "[" + base.String() + ", " + braces(parts) + "]"
	return a
}

// materialise is r, or a register that holds the constant r.
func (k *Kernel) materialise(r Reg) Reg {
	c := k.konst(r)
	if c == nil {
		return r
	}
	return k.value(r.t, func(d Reg) {
		if r.t == Pred {
			k.emit(Reg{}, false, "setp.ne.u32", d, Int(c.i&1), Int(0))
			return
		}
		k.emit(Reg{}, false, "mov."+movType(r.t), d, *c)
	})
}

// movType is the type that mov, ld and st name for a register type.
func movType(t Type) string {
	if t.info().kind == kindPacked {
		return fmt.Sprintf("b%d", t.Bits())
	}
	return t.String()
}

// toImm reads a Go number as an immediate.
func toImm(v any) (Imm, bool) {
	switch v := v.(type) {
	case Imm:
		return v, true
	case int:
		return Int(int64(v)), true
	case int32:
		return Int(int64(v)), true
	case int64:
		return Int(v), true
	case uint8:
		return Int(int64(v)), true
	case uint16:
		return Int(int64(v)), true
	case uint32:
		return Int(int64(v)), true
	case uint64:
		return Int(int64(v)), true
	case float32:
		return Float(float64(v)), true
	case float64:
		return Float(v), true
	case bool:
		if v {
			return Int(1), true
		}
		return Int(0), true
	}
	return Imm{}, false
}

// as is the immediate as a value of type t: wrapped into its width, or not
// representable.
func (m Imm) as(t Type) (Imm, bool) {
	switch bits := t.Bits(); {
	case bits == 0:
		return m, false
	case t.isFloat():
		if !m.isFloat {
			m = Float(float64(m.i))
		}
		return m, true
	case m.isFloat:
		return m, false
	case t == Pred:
		return m, m.i == 0 || m.i == 1
	case bits == 64:
		return m, true
	case m.i < -(1<<(bits-1)) || m.i >= 1<<bits:
		return m, false
	case t.isSigned():
		m.i = m.i << (64 - bits) >> (64 - bits)
		return m, true
	default:
		m.i &= 1<<bits - 1
		return m, true
	}
}

// String is the immediate's value.
func (m Imm) String() string {
	if m.isFloat {
		return strings.TrimSuffix(fmt.Sprintf("%g", m.f), ".0")
	}
	if m.i == math.MinInt64 {
		return "-0x8000000000000000"
	}
	return fmt.Sprint(m.i)
}
