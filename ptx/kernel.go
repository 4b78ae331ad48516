package ptx

import (
	"fmt"
	"slices"
	"strings"
)

// Kernel is one entry function and the builder of its instructions.
type Kernel struct {
	m       *Module
	name    string
	params  []Param
	shared  []*sharedVar
	threads [3]int
	cluster [3]int
	minCTAs int
	maxRegs int

	regs     []regInfo // index 0 is no register
	count    [numClasses]int
	entry    []inst // what was hoisted to the entry
	code     []inst
	cache    map[string]Reg
	labels   []labelInfo
	scopes   []int // open scopes, innermost last; -1 is the kernel
	parents  []int // parent of each scope
	pragma   bool  // nounroll for the next loop
	inHelper int   // > 0 while a helper writes its own result
}

type regKind uint8

const (
	regVariable  regKind = iota // made by Reg, Regs or Var: anyone may write it
	regValue                    // result of a helper: written once
	regInduction                // a loop's counter: written by the loop only
)

type regInfo struct {
	name  string
	typ   Type
	kind  regKind
	scope int
	konst *Imm // a constant: no register at all
	pos   position
}

type instKind uint8

const (
	instOp instKind = iota
	instBranch
	instLabel
	instReturn
	instComment
	instOpen // scope
	instClose
	instPragma
	instAnyValue
)

// inst is one statement of the kernel's body.
type inst struct {
	kind  instKind
	text  string // operation and operands, or comment
	row   *row
	args  []arg
	any   []Reg // whose value does not matter
	pred  Reg
	neg   bool
	label int // of a label or branch
	scope int
	pos   position
}

func (k *Kernel) errorf(format string, args ...any) { k.errorAt(here(), format, args...) }

// Errorf reports a misuse of what a package builds on this one, at the position
// of that package's caller.
func (k *Kernel) Errorf(format string, args ...any) { k.errorAt(here(), format, args...) }

func (k *Kernel) errorAt(p position, format string, args ...any) {
	k.m.errs.addError(&Error{Kernel: k.name, Pos: p.String(), Msg: fmt.Sprintf(format, args...)})
}

// Module is the module that k belongs to.
func (k *Kernel) Module() *Module { return k.m }

// Name is the kernel's entry name.
func (k *Kernel) Name() string { return k.name }

func (k *Kernel) scope() int { return k.scopes[len(k.scopes)-1] }

func (k *Kernel) newReg(t Type, kind regKind) Reg {
	if !t.isReg() {
		k.errorf("no register has the type %s", t)
		t = B32
	}
	c := t.class()
	_, prefix := c.decl()
	k.regs = append(k.regs, regInfo{
		name: fmt.Sprintf("%s%d", prefix, k.count[c]), typ: t, kind: kind, scope: k.scope(), pos: here(),
	})
	k.count[c]++
	return Reg{k, int32(len(k.regs) - 1), t}
}

// Reg makes a variable: a register that may be written any number of times.
func (k *Kernel) Reg(t Type) Reg { return k.newReg(t, regVariable) }

// Regs makes n variables.
func (k *Kernel) Regs(t Type, n int) []Reg {
	rs := make([]Reg, max(n, 0))
	for i := range rs {
		rs[i] = k.newReg(t, regVariable)
	}
	return rs
}

// Var makes a variable of type t that starts as init (a Reg or a number).
func (k *Kernel) Var(t Type, init any) Reg {
	r := k.newReg(t, regVariable)
	k.Mov(r, init)
	return r
}

// Unspecified says that it does not matter what value the variables have here:
// they may be read although not every path has written them. It emits nothing.
func (k *Kernel) Unspecified(regs ...Reg) {
	for _, r := range regs {
		if why := k.fitsReg(&slot{role: roleWrite, typ: r.t}, r); why != "" {
			k.errorf("Unspecified: %s", why)
			return
		}
	}
	k.add(inst{kind: instAnyValue, any: slices.Clone(regs)})
}

// Op emits an instruction whose first operand is its result and returns that,
// a new register of type t.
func (k *Kernel) Op(t Type, form string, operands ...any) Reg { return k.op(t, form, operands...) }

// OpVec is Op for an instruction whose result is a vector of n registers, such
// as a vector load or ldmatrix.
func (k *Kernel) OpVec(t Type, n int, form string, operands ...any) []Reg {
	rs := make([]Reg, max(n, 0))
	for i := range rs {
		rs[i] = k.newReg(t, regValue)
	}
	k.inHelper++
	k.emit(Reg{}, false, form, append([]any{Vec(rs...)}, operands...)...)
	k.inHelper--
	return rs
}

// Const is a constant of type t; it takes a register only where an instruction
// cannot take an immediate.
func (k *Kernel) Const(t Type, v any) Reg {
	imm, ok := toImm(v)
	if !ok {
		k.errorf("constant of type %s from a %T", t, v)
		return k.poison(t)
	}
	return k.constReg(t, imm)
}

func (k *Kernel) constReg(t Type, imm Imm) Reg {
	imm, ok := imm.as(t)
	if !ok || !t.isReg() {
		k.errorf("%s does not fit a register of type %s", imm, t)
		return k.poison(t)
	}
	k.regs = append(k.regs, regInfo{typ: t, kind: regValue, scope: -1, konst: &imm})
	return Reg{k, int32(len(k.regs) - 1), t}
}

// poison is what a helper returns after an error: a constant, so that building
// goes on without further errors.
func (k *Kernel) poison(t Type) Reg {
	if !t.isReg() {
		t = B32
	}
	k.regs = append(k.regs, regInfo{typ: t, kind: regValue, scope: -1, konst: &Imm{isFloat: t.isFloat()}})
	return Reg{k, int32(len(k.regs) - 1), t}
}

func (k *Kernel) konst(r Reg) *Imm {
	if r.k != k {
		return nil
	}
	return k.regs[r.id].konst
}

// value makes a register that code writes; nobody else may.
func (k *Kernel) value(t Type, code func(Reg)) Reg {
	r := k.newReg(t, regValue)
	k.inHelper++
	code(r)
	k.inHelper--
	return r
}

// Comment puts a comment line into the text.
func (k *Kernel) Comment(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		k.add(inst{kind: instComment, text: strings.TrimRight(line, "\r\n")})
	}
}

// Scope puts body into braces under a comment; registers made inside may not
// be used after it.
func (k *Kernel) Scope(name string, body func()) {
	k.Comment("%s", name)
	k.add(inst{kind: instOpen})
	k.parents = append(k.parents, k.scope())
	k.scopes = append(k.scopes, len(k.parents)-1)
	body()
	k.scopes = k.scopes[:len(k.scopes)-1]
	k.add(inst{kind: instClose})
}

// within reports whether scope inner lies in outer (or is it).
func (k *Kernel) within(inner, outer int) bool {
	for inner != outer {
		if inner < 0 {
			return false
		}
		inner = k.parents[inner]
	}
	return true
}

func (k *Kernel) add(i inst) {
	i.scope = k.scope()
	i.pos = here()
	k.code = append(k.code, i)
}
