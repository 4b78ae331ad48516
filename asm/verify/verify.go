// Package verify proves that a kernel, as its final listing says, stays within
// its arguments: for every call that its contract allows, every access to memory
// lies within the argument that it is made through, every loop ends, no register
// is read before it is written, and what the calling convention reserves is left
// alone.
//
// It interprets the listing over polynomials in the integers of the contract.
// What an instruction does it learns from Inst, which a package of the target
// fills in from its table of semantics; ReadListing reads what is the same for
// every target. A kernel's contract is data, too.
//
// It must not import codegen, goref, runtime or a package of a target, nor know
// a kernel family or a mnemonic.
package verify

import (
	"fmt"
	"go/ast"
	"strings"
)

// Error says what could not be proved, and where.
type Error struct {
	Kernel string
	Line   int    // in the listing's file
	Text   string // the instruction as listed
	Arg    string // the argument, or ""
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: line %d: %s: %s", e.Kernel, e.Line, strings.Join(strings.Fields(e.Text), " "), e.Reason)
}

// analysis is the proof of one function.
type analysis struct {
	fn      *Func
	syms    *symbols
	names   map[string]poly // of the contract
	parsed  map[string]ast.Expr
	regions []region
	slots   []slot
	initial []value // of the slots
	frame   int64
	base    *fact
	walks   []walk
	steps   []poly // candidates for what a whole amounts to

	blocks []block
	order  []int
	byName map[string]int

	loop   *loop    // whose body runs
	quiet  bool     // to see what a body does: nothing is checked
	hasty  bool     // proofs that need effort are not looked for
	moving []symbol // what unknown registers have moved, in that

	answers map[question]answer
	untried []try // of the searches that are under way
	work    int   // steps of proofs so far
	proof   *Proof
	at      int       // the instruction that is looked at
	effects []effects // of each
	cost    poly
}

// Check proves f against c. tables is the read-only data that f may name. The
// error is an *Error where the kernel, and not the contract, is at fault.
func Check(f *Func, c *Contract, tables []Table) (*Proof, error) {
	return new(Prover).Check(f, c, tables)
}

// A Prover proves one kernel after another, in the same memory. It is for one
// goroutine; its zero value is ready.
type Prover struct {
	syms    *symbols
	answers map[question]answer
	untried []try
	parsed  map[string]ast.Expr // the expressions of contracts so far
}

// Check is the function Check.
func (p *Prover) Check(f *Func, c *Contract, tables []Table) (proof *Proof, err error) {
	defer func() {
		e := &Error{Kernel: f.Name, Line: f.Line, Text: "TEXT"}
		switch r := recover().(type) {
		case nil:
			return
		case tooLarge:
			e.Reason = "its addresses are too large to follow"
		case tooMuch:
			e.Reason = "it is too long, or its loops too deep, to be proved"
		default:
			panic(r)
		}
		proof, err = nil, e
	}()
	proof = &Proof{Kernel: f.Name, Instructions: len(f.Insts)}
	// A pointer that may be nil is either: the two calls are proved apart, so there
	// is one such pointer at most.
	optional := []string{""}
	for _, g := range c.Args {
		if g.Memory != nil && g.Memory.Optional {
			optional = append(optional, g.Name)
		}
	}
	if len(optional) > 2 {
		return nil, fmt.Errorf("verify: contract of %s: %s may both be nil", f.Name, strings.Join(optional[1:], " and "))
	}
	seen := make([]effects, len(f.Insts))
	for _, nilArg := range optional {
		if p.syms == nil {
			p.syms, p.answers, p.parsed = newSymbols(), map[question]answer{}, map[string]ast.Expr{}
		}
		p.syms.reset()
		clear(p.answers)
		a := &analysis{fn: f, effects: seen, syms: p.syms, parsed: p.parsed, proof: proof, byName: map[string]int{}, answers: p.answers, untried: p.untried[:0]}
		if err := a.check(c, tables, nilArg); err != nil {
			return nil, err
		}
		proof.Idle, p.untried = a.withoutEffect(), a.untried
	}
	return proof, nil
}

func (a *analysis) check(c *Contract, tables []Table, absent string) error {
	f := a.fn
	if err := a.bind(c, absent); err != nil {
		return fmt.Errorf("verify: contract of %s: %w", f.Name, err)
	}
	for _, t := range tables {
		a.regions = append(a.regions, region{name: t.Name, length: a.syms.constant(int64(len(t.Data))), data: t.Data})
	}
	for _, s := range c.Steps {
		p, err := a.expr(s)
		if err != nil {
			return fmt.Errorf("verify: contract of %s: %w", f.Name, err)
		}
		a.steps = append(a.steps, p)
	}
	if len(f.Insts) == 0 {
		return &Error{Kernel: f.Name, Line: f.Line, Text: "TEXT", Reason: "has no instructions"}
	}
	if f.Frame != 0 || f.Args != a.frame || len(a.slots) > maxSlots {
		return &Error{Kernel: f.Name, Line: f.Line, Text: "TEXT", Reason: fmt.Sprintf("declares %d bytes of stack and %d of arguments where the contract has none and %d", f.Frame, f.Args, a.frame)}
	}
	for i := range f.Insts {
		in := &f.Insts[i]
		if in.D.Kind != Register {
			continue
		}
		for _, r := range f.Reserved {
			if in.D.Reg == r && a.written(in) == r {
				return a.errorAt(in, "", "writes %s, which the calling convention reserves", a.placeName(r))
			}
		}
	}
	if err := a.buildFlow(); err != nil {
		return err
	}
	s := &state{known: a.base}
	for i, v := range a.initial {
		s.set(numRegs+Reg(i), v)
	}
	a.proof.begin(a, absent)
	for i := range a.effects {
		a.effects[i] &^= touches
	}
	_, _, err := a.run(nil, s)
	return err
}

// atReturn checks what must hold where the function ends.
func (a *analysis) atReturn(in *Inst, s *state) error {
	if s.dirty {
		return a.errorAt(in, "", "returns without clearing the upper parts of vector registers")
	}
	a.noteReturn(s)
	return a.covered(in, s)
}

func (a *analysis) errorAt(in *Inst, arg, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	if a.fn.Bits > 0 {
		reason += fmt.Sprintf(" where vectors have %d bits", a.fn.Bits)
	}
	return &Error{Kernel: a.fn.Name, Line: in.Line, Text: in.Text, Arg: arg, Reason: reason}
}

func (a *analysis) format(p poly) string { return a.syms.format(p, a.regions) }

func (a *analysis) placeName(r Reg) string {
	if r >= numRegs {
		return "argument " + a.slots[r-numRegs].name
	}
	return a.fn.RegName(r)
}

func (a *analysis) blockOf(label string) int {
	if len(a.byName) == 0 {
		for name, at := range a.fn.Labels {
			for b := range a.blocks {
				if a.blocks[b].first == at {
					a.byName[name] = b
				}
			}
		}
	}
	return a.byName[label]
}
