package ptx

import "fmt"

// Label is a place in a kernel's code.
type Label struct {
	k  *Kernel
	id int
}

type labelInfo struct {
	name   string
	placed bool
	used   bool
	scope  int
	pos    position
}

// NewLabel makes a label, to be placed once by Label; the number makes its name
// unique.
func (k *Kernel) NewLabel(name string) Label {
	if !validName(name) {
		k.errorf("label name %q is not a PTX identifier", name)
		name = "L"
	}
	k.labels = append(k.labels, labelInfo{name: fmt.Sprintf("$%s_%d", name, len(k.labels)), pos: here()})
	return Label{k, len(k.labels) - 1}
}

func (k *Kernel) label(l Label) *labelInfo {
	if l.k != k {
		k.errorf("a label of another kernel")
		return nil
	}
	return &k.labels[l.id]
}

// Label places l here.
func (k *Kernel) Label(l Label) {
	i := k.label(l)
	if i == nil {
		return
	}
	if i.placed {
		k.errorf("the label %s is placed twice", i.name)
		return
	}
	i.placed, i.scope = true, k.scope()
	k.add(inst{kind: instLabel, label: l.id})
}

// Bra jumps to l.
func (k *Kernel) Bra(l Label) { k.branch(Reg{}, false, l) }

// BraIf jumps to l where p is true.
func (k *Kernel) BraIf(p Reg, l Label) { k.branchIf(p, false, l) }

// BraUnless jumps to l where p is false.
func (k *Kernel) BraUnless(p Reg, l Label) { k.branchIf(p, true, l) }

func (k *Kernel) branchIf(p Reg, neg bool, l Label) {
	if !k.checkPredicate(p) {
		return
	}
	if c := k.konst(p); c != nil {
		if (c.i != 0) != neg {
			k.Bra(l)
		}
		return
	}
	k.branch(p, neg, l)
}

func (k *Kernel) branch(p Reg, neg bool, l Label) {
	if i := k.label(l); i != nil {
		i.used = true
		k.add(inst{kind: instBranch, label: l.id, pred: p, neg: neg})
	}
}

// Ret ends the thread. RetIf ends it where p is true.
func (k *Kernel) Ret() { k.add(inst{kind: instReturn}) }

// RetIf ends the thread where p is true.
func (k *Kernel) RetIf(p Reg) {
	if !k.checkPredicate(p) {
		return
	}
	if c := k.konst(p); c != nil {
		if c.i != 0 {
			k.Ret()
		}
		return
	}
	k.add(inst{kind: instReturn, pred: p})
}

// If runs then where p is true.
func (k *Kernel) If(p Reg, then func()) { k.IfElse(p, then, nil) }

// IfElse runs then where p is true and els where it is false. A constant p
// leaves only one of them.
func (k *Kernel) IfElse(p Reg, then, els func()) {
	if !k.checkPredicate(p) {
		p = k.poison(Pred)
	}
	if c := k.konst(p); c != nil {
		if c.i != 0 {
			then()
		} else if els != nil {
			els()
		}
		return
	}
	end := k.NewLabel("endif")
	if els == nil {
		k.BraUnless(p, end)
		then()
	} else {
		other := k.NewLabel("else")
		k.BraUnless(p, other)
		then()
		k.Bra(end)
		k.Label(other)
		els()
	}
	k.Label(end)
}

// LoopOption changes how a loop is emitted.
type LoopOption uint8

// NoUnroll puts .pragma "nounroll" at the loop's head: the assembler keeps it
// rolled.
const NoUnroll LoopOption = 1

func (k *Kernel) loopHead(name string, opts []LoopOption) Label {
	top := k.NewLabel(name)
	k.Label(top)
	for _, o := range opts {
		if o == NoUnroll {
			k.add(inst{kind: instPragma, text: "nounroll"})
		} else {
			k.errorf("unknown loop option %d", o)
		}
	}
	return top
}

// LoopCtl leaves or restarts the loop whose body it was given to.
type LoopCtl struct {
	k         *Kernel
	next, end Label
}

// Break leaves the loop.
func (l *LoopCtl) Break() { l.k.Bra(l.end) }

// BreakIf leaves the loop where p is true.
func (l *LoopCtl) BreakIf(p Reg) { l.k.BraIf(p, l.end) }

// BreakUnless leaves the loop where p is false.
func (l *LoopCtl) BreakUnless(p Reg) { l.k.BraUnless(p, l.end) }

// Continue starts the next iteration.
func (l *LoopCtl) Continue() { l.k.Bra(l.next) }

// ContinueIf starts the next iteration where p is true.
func (l *LoopCtl) ContinueIf(p Reg) { l.k.BraIf(p, l.next) }

// Loop repeats body until it breaks or returns.
func (k *Kernel) Loop(body func(*LoopCtl), opts ...LoopOption) {
	top := k.loopHead("loop", opts)
	l := &LoopCtl{k, top, k.NewLabel("endloop")}
	body(l)
	k.Bra(top)
	k.Label(l.end)
}

// While repeats body as long as cond's predicate is true before it.
func (k *Kernel) While(cond func() Reg, body func(), opts ...LoopOption) {
	k.Loop(func(l *LoopCtl) {
		l.BreakUnless(cond())
		body()
	}, opts...)
}

// DoWhile runs body, and again as long as the predicate that it returns is
// true.
func (k *Kernel) DoWhile(body func() Reg, opts ...LoopOption) {
	top := k.loopHead("do", opts)
	k.BraIf(body(), top)
}

// RepeatUntil runs body until the predicate that it returns is true: a spin on
// a barrier is RepeatUntil of one try_wait.
func (k *Kernel) RepeatUntil(body func() Reg, opts ...LoopOption) {
	top := k.loopHead("until", opts)
	k.BraUnless(body(), top)
}

// For runs body with i = lo, lo+step, ... below hi. The bounds are Regs or
// numbers, step is positive (a number, or a Reg taken to be positive); i has
// the type of the first Reg among lo, hi and step, else U32.
func (k *Kernel) For(lo, hi, step any, body func(i Reg), opts ...LoopOption) {
	t := U32
	for _, v := range []any{lo, hi, step} {
		if r, ok := v.(Reg); ok && r.k == k {
			t = r.t
			break
		}
	}
	if t != U32 && t != S32 && t != B32 && t != U64 && t != S64 {
		k.errorf("For counts in an integer type of 32 or 64 bits, not %s", t)
		return
	}
	if s, ok := k.constOf(step); ok && (s.isFloat || s.i <= 0) {
		k.errorf("For with the step %s: want a positive integer", s)
		return
	}
	i := k.newReg(t, regInduction)
	k.inHelper++
	k.Mov(i, lo)
	k.inHelper--
	// Tested at the end; before the first run only if that is in doubt.
	end := k.NewLabel("endfor")
	l, lok := k.constOf(lo)
	h, hok := k.constOf(hi)
	if !lok || !hok {
		k.BraUnless(k.SetP("lt", i, hi), end)
	} else if !(l.i < h.i) {
		return
	}
	top := k.loopHead("for", opts)
	body(i)
	k.inHelper++
	k.Emit("add."+i.t.arith(), i, i, step)
	k.inHelper--
	k.BraIf(k.SetP("lt", i, hi), top)
	k.Label(end)
}

// constOf is v's value if it is a number or a constant register.
func (k *Kernel) constOf(v any) (Imm, bool) {
	if r, ok := v.(Reg); ok {
		if c := k.konst(r); c != nil {
			return *c, true
		}
		return Imm{}, false
	}
	return toImm(v)
}
