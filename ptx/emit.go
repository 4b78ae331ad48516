package ptx

import (
	"fmt"
	"slices"
	"strings"
)

// Emit appends one instruction: a form of the table and its operands in PTX's
// order. An operand is a Reg, Vec, At, AtParam, AtShared, TMACoord, Pair, Not,
// Sink, Special, an Imm, or a Go number.
func (k *Kernel) Emit(form string, operands ...any) { k.emit(Reg{}, false, form, operands...) }

// EmitIf appends an instruction that runs where p is true.
func (k *Kernel) EmitIf(p Reg, form string, operands ...any) {
	k.emitPredicated(p, false, form, operands)
}

// EmitUnless appends an instruction that runs where p is false.
func (k *Kernel) EmitUnless(p Reg, form string, operands ...any) {
	k.emitPredicated(p, true, form, operands)
}

func (k *Kernel) emitPredicated(p Reg, neg bool, form string, operands []any) {
	if !k.checkPredicate(p) {
		return
	}
	if c := k.konst(p); c != nil {
		if (c.i != 0) != neg {
			k.emit(Reg{}, false, form, operands...)
		}
		return
	}
	k.emit(p, neg, form, operands...)
}

func (k *Kernel) checkPredicate(p Reg) bool {
	switch {
	case p.IsZero() || p.k != k:
		k.errorf("the predicate is no register of this kernel")
	case p.t != Pred:
		k.errorf("the predicate %s has the type %s", p, p.t)
	case !k.visible(p):
		k.errorf("the predicate %s was made in a scope that is closed", p)
	default:
		return true
	}
	return false
}

func (k *Kernel) emit(p Reg, neg bool, form string, operands ...any) {
	rows := instructions().rows[form]
	if len(rows) == 0 {
		k.errorf("no instruction %q%s", form, instructions().suggest(form))
		return
	}
	r, why := k.match(rows, operands)
	if r == nil {
		k.errorf("%s: %s", form, why)
		return
	}
	if !k.require(form, r.need) {
		return
	}
	args := make([]arg, len(operands))
	texts := make([]string, len(operands))
	for i, o := range operands {
		args[i] = k.render(&r.slots[i], o)
		texts[i] = args[i].text
	}
	text := form
	if len(texts) > 0 {
		text += " " + strings.Join(texts, ", ")
	}
	k.add(inst{kind: instOp, text: text, row: r, args: args, pred: p, neg: neg})
}

// match finds the row whose operands fit.
func (k *Kernel) match(rows []*row, operands []any) (*row, string) {
	var why []string
	for _, r := range rows {
		if len(r.slots) != len(operands) {
			why = append(why, fmt.Sprintf("%d operands, want %d (%s)", len(operands), len(r.slots), r.signature()))
			continue
		}
		bad := ""
		for i := range r.slots {
			if w := k.fits(&r.slots[i], operands[i]); w != "" {
				bad = fmt.Sprintf("operand %d: %s", i+1, w)
				break
			}
		}
		if bad == "" {
			return r, ""
		}
		why = append(why, bad)
	}
	// Prefer the complaints of the rows with the right number of operands.
	if slices.ContainsFunc(why, func(w string) bool { return strings.HasPrefix(w, "operand") }) {
		why = slices.DeleteFunc(why, func(w string) bool { return !strings.HasPrefix(w, "operand") })
	}
	return nil, strings.Join(slices.Compact(why), "; or ")
}

func (r *row) signature() string {
	s := make([]string, len(r.slots))
	for i := range r.slots {
		s[i] = r.slots[i].describe
	}
	return strings.Join(s, " ")
}

func (k *Kernel) visible(r Reg) bool { return k.within(k.scope(), k.regs[r.id].scope) }

// fits says why operand o does not fit slot s, or "".
func (k *Kernel) fits(s *slot, o any) string {
	switch s.kind {
	case slotImm:
		return k.fitsImm(s, o)
	case slotMem:
		m, ok := o.(Mem)
		if !ok {
			return fmt.Sprintf("want an address (At, AtShared, AtParam, TMACoord), have %s", describe(o))
		}
		return k.fitsMem(s, m)
	case slotSink:
		if _, ok := o.(Discard); !ok {
			return fmt.Sprintf("want the result _ (Sink), have %s", describe(o))
		}
		return ""
	}
	if _, ok := o.(PairOf); s.pairOnly && !ok {
		return fmt.Sprintf("want a result and a predicate (Pair), have %s", describe(o))
	}
	switch o := o.(type) {
	case Reg:
		if s.n > 0 {
			return fmt.Sprintf("want a vector of %d %s, have one register", s.n, s.typ)
		}
		return k.fitsReg(s, o)
	case Vector:
		if s.n != len(o.regs) {
			if s.n == 0 {
				return fmt.Sprintf("want one %s, have a vector of %d", s.typ, len(o.regs))
			}
			return fmt.Sprintf("want a vector of %d %s, have %d registers", s.n, s.typ, len(o.regs))
		}
		for i, r := range o.regs {
			if why := k.fitsReg(s, r); why != "" {
				return fmt.Sprintf("element %d: %s", i, why)
			}
			if s.writes() && slices.Contains(o.regs[:i], r) {
				return fmt.Sprintf("element %d: %s is written twice", i, r)
			}
		}
		return ""
	case Discard:
		if !s.sink {
			return "this operand cannot be _"
		}
		return ""
	case PairOf:
		if !s.pair {
			return "this operand has no second, predicate part"
		}
		first := *s
		first.pair, first.pairOnly = false, false
		if why := k.fits(&first, o.a); why != "" {
			return why
		}
		q, ok := o.b.(Reg)
		if !ok {
			return fmt.Sprintf("after the bar: want a predicate, have %s", describe(o.b))
		}
		return k.fitsReg(&slot{role: roleWrite, typ: Pred}, q)
	case NotPred:
		if !s.negable {
			return "this operand cannot be negated"
		}
		return k.fitsReg(&slot{typ: Pred, regOnly: true}, o.p)
	case Special:
		if s.role != roleRead || s.regOnly || s.n > 0 || !specialRegisters[string(o)] {
			return fmt.Sprintf("special register %q does not fit here", string(o))
		}
		return ""
	case symbol:
		return ""
	}
	imm, ok := toImm(o)
	if !ok {
		return fmt.Sprintf("want %s, have %s", s.describe, describe(o))
	}
	return s.fitsConstant(imm)
}

func (s *slot) writes() bool {
	return s.role == roleWrite || s.role == roleUpdate || s.role == roleAccumulate
}

// fitsConstant checks an immediate for a value operand.
func (s *slot) fitsConstant(imm Imm) string {
	switch {
	case s.role != roleRead:
		return "want a register, have an immediate"
	case s.boolImm:
		if imm.isFloat || imm.i != 0 && imm.i != 1 {
			return "want a predicate, 0 or 1"
		}
		return ""
	case s.n > 0 || s.regOnly || s.typ == Pred:
		return fmt.Sprintf("want a register of type %s, have an immediate", s.typ)
	}
	if _, ok := imm.as(s.typ); !ok {
		return fmt.Sprintf("the immediate %s does not fit %s", imm, s.typ)
	}
	if s.multiple > 0 && (imm.i < s.lo || imm.i > s.hi || imm.i%s.multiple != 0) {
		return fmt.Sprintf("the immediate %d is no multiple of %d in %d..%d", imm.i, s.multiple, s.lo, s.hi)
	}
	return ""
}

func (k *Kernel) fitsReg(s *slot, r Reg) string {
	if r.IsZero() || r.k != k || int(r.id) >= len(k.regs) {
		return "not a register of this kernel"
	}
	info := &k.regs[r.id]
	if info.konst != nil {
		if s.writes() {
			return "a constant cannot be written"
		}
		if s.multiple > 0 {
			return s.fitsConstant(*info.konst)
		}
		return ""
	}
	switch {
	case !k.visible(r):
		return fmt.Sprintf("%s was made (at %s) in a scope that is closed", r, info.pos)
	case !s.typ.accepts(r.t, s.wider):
		return fmt.Sprintf("want %s, have %s of type %s", s.typ, r, r.t)
	case !s.writes() || info.kind == regVariable || k.inHelper > 0:
		return ""
	case info.kind == regInduction:
		return fmt.Sprintf("%s counts a loop, which alone may write it", r)
	}
	return fmt.Sprintf("%s is a value (made at %s), which is written once; make a variable with Var or Reg", r, info.pos)
}

func (k *Kernel) fitsImm(s *slot, o any) string {
	if r, ok := o.(Reg); ok {
		if c := k.konst(r); c != nil {
			o = *c
		}
	}
	imm, ok := toImm(o)
	if !ok || imm.isFloat {
		return fmt.Sprintf("want an integer immediate, have %s", describe(o))
	}
	if s.set != nil {
		if !slices.Contains(s.set, imm.i) {
			return fmt.Sprintf("the immediate %d is not one of %v", imm.i, s.set)
		}
		return ""
	}
	if imm.i < s.lo || imm.i > s.hi {
		return fmt.Sprintf("the immediate %d is not in %d..%d", imm.i, s.lo, s.hi)
	}
	return ""
}

func (k *Kernel) fitsMem(s *slot, m Mem) string {
	if m.off != int64(int32(m.off)) {
		return fmt.Sprintf("the offset %d does not fit 32 bits", m.off)
	}
	if s.space == 't' {
		return k.fitsTensor(s, m)
	}
	if m.coords != nil {
		return "this operand is no tensor"
	}
	if m.sym != "" {
		if m.k == nil || m.k.m != k.m || m.space == 'p' && m.k != k {
			return fmt.Sprintf("%s belongs to another kernel", m.sym)
		}
		if m.space != s.space {
			return fmt.Sprintf("%s is in another state space", m.sym)
		}
		return ""
	}
	if why := k.fitsReg(&slot{typ: B64}, m.base); why == "" {
		return ""
	} else if s.space == 's' {
		if k.fitsReg(&slot{typ: U32}, m.base) == "" {
			return ""
		}
		return "shared address: " + why
	} else {
		return "address: " + why
	}
}

func (k *Kernel) fitsTensor(s *slot, m Mem) string {
	if m.coords == nil {
		return "want a tensor map and coordinates (TMACoord)"
	}
	if len(m.coords) != s.dims {
		return fmt.Sprintf("want %d coordinates, have %d", s.dims, len(m.coords))
	}
	if m.off != 0 {
		return "a tensor operand takes no offset"
	}
	if why := k.fitsReg(&slot{typ: B64, regOnly: true}, m.base); why != "" {
		return "tensor map: " + why
	}
	for i, c := range m.coords {
		if why := k.fits(&slot{typ: S32, describe: "s32"}, c); why != "" {
			return fmt.Sprintf("coordinate %d: %s", i, why)
		}
	}
	return ""
}

func describe(o any) string {
	switch o := o.(type) {
	case nil:
		return "nil"
	case Reg:
		return fmt.Sprintf("%s of type %s", o, o.t)
	case Imm:
		return "the immediate " + o.String()
	case Mem:
		return "an address"
	case Vector:
		return fmt.Sprintf("a vector of %d", len(o.regs))
	}
	return fmt.Sprintf("a %T", o)
}
