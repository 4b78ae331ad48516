package arm64

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// semantics is what a form does, as far as safety depends on it. Its operands say
// the rest: what is written, what is read, and where in memory: at X register n,
// plus register m times scale or an immediate. A form without semantics is not
// for kernels that are to be proved.
type semantics struct {
	op    verify.Op
	flags verify.Flags
	cond  verify.Cond
	width int64 // bytes of memory that it accesses, of each register of a pair
	scale uint8 // of register m in an address; 0 is 1
	store bool
	pair  bool // of registers, the second behind the first in memory
	list  int  // registers from n on that it reads
	unit  unit // of the immediate
}

// unit is what an immediate counts. A load or store that counts vectors is of one.
type unit uint8

const (
	one    unit = iota
	lane        // the lanes of a vector, float32
	vector      // the bytes of a vector
)

// Registers of a function in Go's stack-based calling convention (ABI0) that it
// leaves alone: the platform's, the linker's and assembler's, g, frame pointer,
// link register and stack pointer. R16 and R17 are its own, as it calls nothing.
var reserved = []verify.Reg{18, 27, 28, 29, 30, 31}

// integers are the registers that kernels use.
var integers = []int64{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26,
}

const vectors = 32

func regName(r verify.Reg) string {
	switch {
	case r >= verify.FirstMask:
		return fmt.Sprintf("P%d", r-verify.FirstMask)
	case r >= verify.FirstVec:
		return fmt.Sprintf("V%d", r-verify.FirstVec)
	}
	return fmt.Sprintf("R%d", r)
}

// decoded is an instruction of a listing.
type decoded struct {
	*form
	values []int64
	symbol string // label, argument or table
	length int64  // bytes of a vector, where the instruction depends on it
}

// scalable reports whether what f does depends on the length of vectors.
func (f *form) scalable() bool {
	return slices.ContainsFunc(f.ops, func(o operand) bool { return o.kind == 'Z' || o.kind == 'P' }) || f.does.unit != one
}

// at is operand name, or -1.
func (d *decoded) at(name string) int {
	return slices.IndexFunc(d.ops, func(o operand) bool { return o.name == name })
}

func (d *decoded) place(i int) verify.Reg {
	switch d.ops[i].kind {
	case 'V', 'Z':
		return verify.FirstVec + verify.Reg(d.values[i])
	case 'P':
		return verify.FirstMask + verify.Reg(d.values[i])
	}
	return verify.Reg(d.values[i])
}

func (d *decoded) register(name string) verify.Operand {
	i := d.at(name)
	if i < 0 {
		return verify.Operand{}
	}
	return verify.Operand{Kind: verify.Register, Reg: d.place(i), Base: verify.NoReg, Index: verify.NoReg}
}

func immediate(v int64) verify.Operand {
	return verify.Operand{Kind: verify.Immediate, Imm: v, Base: verify.NoReg, Index: verify.NoReg}
}

// constant is the immediate operand, if it has one.
func (d *decoded) constant() (int64, bool) {
	for i, o := range d.ops {
		if o.kind == 0 {
			switch d.does.unit {
			case lane:
				return d.values[i] * d.length / 4, true
			case vector:
				return d.values[i] * d.length, true
			}
			return d.values[i], true
		}
	}
	return 0, false
}

// memory is the operand in memory, or the address that an addition computes.
func (d *decoded) memory() (verify.Operand, error) {
	o := verify.Operand{Kind: verify.Memory, Base: verify.NoReg, Index: verify.NoReg}
	switch {
	case d.at("arg") >= 0:
		o.Kind = verify.Slot
		var err error
		o.Symbol, o.Disp, err = verify.SplitSymbol(d.symbol)
		return o, err
	case d.at("symbol") >= 0:
		o.Symbol = d.symbol
		return o, nil
	}
	if d.at("n") < 0 {
		o.Base = d.place(d.at("m"))
		o.Disp, _ = d.constant()
		return o, nil
	}
	o.Base = d.place(d.at("n"))
	if m := d.at("m"); m >= 0 {
		o.Index, o.Scale = d.place(m), max(1, d.does.scale)
		if by := d.at("by"); by >= 0 {
			if d.values[by] > 3 {
				return o, fmt.Errorf("shifts its index by more than 3")
			}
			o.Scale = 1 << d.values[by]
		}
	} else if v, ok := d.constant(); ok && d.at("ld4") < 0 {
		o.Disp = v
	}
	if d.name == "sub.i" || d.name == "sub.hi" {
		o.Disp = -o.Disp
	}
	return o, nil
}

// meaning is what the instruction does, as instructions of package verify.
func (d *decoded) meaning() ([]verify.Inst, error) {
	s := d.does
	in := verify.Inst{Op: s.op, Flags: s.flags, Cond: s.cond, Width: s.width, Mask: verify.NoReg, D: d.register("d")}
	imm, hasImm := d.constant()
	switch s.op {
	case 0:
		return nil, fmt.Errorf("asm/arm64's table of semantics has nothing for it")
	case verify.Return:
	case verify.FirstLanes:
		in.D, in.A, in.Width = d.register("p"), d.register("m"), d.length/4
		if in.A.Kind == verify.None {
			in.A = immediate(in.Width)
		}
	case verify.Hint, verify.Address:
		var err error
		in.A, err = d.memory()
		return []verify.Inst{in}, err
	case verify.Jump:
		in.Target, in.D = d.symbol, verify.Operand{}
		if d.name == "cbz" {
			x := d.register("d")
			test := verify.Inst{Op: verify.Test, Flags: verify.Sets, Width: 8, A: x, B: x, Mask: verify.NoReg}
			return []verify.Inst{test, in}, nil
		}
	case verify.Compare:
		in.A, in.B, in.Width = d.register("n"), d.register("m"), 8
		if hasImm {
			if d.name == "cmn.i" {
				imm = -imm
			}
			in.B = immediate(imm)
		}
	case verify.Extract:
		from, width := imm, int64(8)
		if d.at("low") >= 0 {
			from, width = 0, imm
		}
		in.A, in.B, in.Width = immediate(from|width<<8), d.register("n"), 8
	case verify.Mul:
		in.A, in.B = d.register("n"), d.register("m")
	case verify.Move:
		return d.move(in)
	case verify.MoveIf:
		in.A = d.register("n")
		if d.register("m") != in.D {
			return nil, fmt.Errorf("chooses from two registers beside its destination")
		}
	case verify.Add, verify.Sub, verify.ShiftLeft, verify.ShiftRight:
		in.A = d.register("m")
		if hasImm {
			in.A = immediate(imm)
		}
		if n := d.register("n"); n.Kind != verify.None && n != in.D {
			if in.A == in.D {
				return nil, fmt.Errorf("writes over its second operand")
			}
			return []verify.Inst{{Op: verify.Move, Width: 8, A: n, D: in.D, Mask: verify.NoReg}, in}, nil
		}
	default:
		return d.vector(in)
	}
	return []verify.Inst{in}, nil
}

// move is a load, a store, or a move between registers.
func (d *decoded) move(in verify.Inst) ([]verify.Inst, error) {
	imm, _ := d.constant()
	switch {
	case d.at("n") < 0 && d.at("m") >= 0:
		in.A = d.register("m")
	case d.at("n") < 0 && d.symbol == "": // without an immediate, 0
		in.A, in.Width = immediate(imm), 8
	default:
		m, err := d.memory()
		if err != nil {
			return nil, err
		}
		in.A = m
		if d.does.store {
			in.A, in.D = in.D, m
		}
	}
	return []verify.Inst{in}, nil
}

// vector is an instruction of the vector unit.
func (d *decoded) vector(in verify.Inst) ([]verify.Inst, error) {
	var regs []int // registers that it reads
	for i, o := range d.ops {
		switch {
		case o.kind != 'V' && o.kind != 'Z' && o.kind != 'P':
		case o.read && o.set:
			in.Acc = true
		case o.read:
			regs = append(regs, i)
		}
	}
	if in.D.Kind == verify.None {
		in.D = d.register("p")
	}
	if d.does.unit == vector {
		in.Width, in.Lane = d.length, 4
		if g := d.at("g"); g >= 0 {
			in.Mask = d.place(g)
		}
	}
	if in.Width == 0 {
		for _, i := range regs {
			in.Reads = append(in.Reads, d.place(i))
		}
		for k := 1; k < d.does.list; k++ {
			in.Reads = append(in.Reads, verify.FirstVec+(d.place(d.at("n"))-verify.FirstVec+verify.Reg(k))%vectors)
		}
		return []verify.Inst{in}, nil
	}
	m, err := d.memory()
	if err != nil {
		return nil, err
	}
	if g := d.at("g"); g >= 0 && in.Mask == verify.NoReg { // repeats what it loads
		in.Reads = append(in.Reads, d.place(g))
	}
	access := func(name string, disp int64) verify.Inst {
		i := in
		i.D, i.A = d.register(name), m
		i.A.Disp += disp
		if d.does.store {
			i.D, i.A = i.A, i.D
		}
		return i
	}
	if d.does.pair {
		return []verify.Inst{access("d", 0), access("a", d.does.width)}, nil
	}
	return []verify.Inst{access("d", 0)}, nil
}
