package amd64

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// ParseListing reads the assembly that Emit prints. What it does not understand
// is an error with its line.
func ParseListing(text []byte) (*verify.Listing, error) {
	// One slice holds the instructions of all functions: there are as many as
	// lines at most.
	insts := make([]verify.Inst, 0, bytes.Count(text, []byte("\n"))+1)
	seen := map[string]verify.Inst{} // by their text: kernels repeat themselves
	l, err := verify.ReadListing(text, func(f *verify.Func, n int, code, _ string) error {
		i, ok := seen[code]
		if !ok {
			name, rest, _ := strings.Cut(code, " ")
			var err error
			if i, err = instruction(name, strings.TrimSpace(rest)); err != nil {
				return err
			}
			i.Text = code
			seen[code] = i
		}
		i.Line = n
		insts = append(insts, i)
		f.Insts = insts[len(insts)-len(f.Insts)-1 : len(insts) : len(insts)]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("amd64: %w", err)
	}
	for _, f := range l.Funcs {
		f.RegName = regName
		for _, r := range reserved {
			f.Reserved = append(f.Reserved, registers[r].reg)
		}
	}
	return l, nil
}

func instruction(name, rest string) (verify.Inst, error) {
	in := verify.Inst{Mask: verify.NoReg}
	s, ok := table[name]
	if !ok {
		return in, fmt.Errorf("%s: asm/amd64's table of semantics has no such instruction", name)
	}
	in.Op, in.Flags, in.Cond = s.op, s.flags, s.cond
	if s.op == verify.Jump {
		in.Target = rest
		return in, nil
	}
	ops := make([]verify.Operand, 0, 5)
	if s.one {
		ops = append(ops, verify.Operand{Kind: verify.Immediate, Imm: 1, Base: verify.NoReg, Index: verify.NoReg})
	}
	var width int64 // of the vector registers
	for field := range strings.SplitSeq(rest, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		o, err := parseOperand(field)
		if err != nil {
			return in, fmt.Errorf("%s: %w", name, err)
		}
		if o.Kind == verify.Register {
			width = max(width, registers[field].bytes)
		}
		ops = append(ops, o)
	}
	in.Width = s.width
	if s.width <= 0 {
		in.Width = width / max(1, -s.width)
	}
	if s.align {
		in.Align = in.Width
	}
	if err := arrange(&in, s, strings.HasSuffix(name, ".Z"), ops); err != nil {
		return in, fmt.Errorf("%s: %w", name, err)
	}
	in.Upper = in.D.Kind == verify.Register && vector(in.D.Reg) && width > 16
	return in, nil
}

func vector(r verify.Reg) bool { return r >= verify.FirstVec && r < verify.FirstMask }

// counts is how many operands the integer instructions have.
var counts = map[verify.Op]int{
	verify.Move: 2, verify.Add: 2, verify.Sub: 2, verify.ShiftLeft: 2, verify.ShiftRight: 2, verify.Negate: 1,
	verify.Address: 2, verify.CountOnes: 2, verify.LowBits: 3, verify.Extract: 3, verify.Rotate: 3, verify.And: 2, verify.Compare: 2, verify.Test: 2, verify.MoveIf: 2,
	verify.Return: 0, verify.ClearUpper: 0, verify.Hint: 1, verify.SetMask: 2,
}

// arrange puts operands where in.Op has them.
func arrange(in *verify.Inst, s *semantics, zeroing bool, ops []verify.Operand) error {
	n := len(ops)
	if want, ok := counts[in.Op]; ok && want != n {
		return fmt.Errorf("%d operands where it has %d", n, want)
	}
	switch in.Op {
	case verify.Return, verify.ClearUpper, verify.Hint:
		if in.Op == verify.Hint {
			in.A = ops[0]
		}
		return nil
	case verify.Compare, verify.Test:
		in.A, in.B = ops[0], ops[1]
		return nil
	case verify.Mul:
		if n != 2 && n != 3 {
			return fmt.Errorf("%d operands", n)
		}
		in.A, in.B, in.D = ops[0], ops[n-2], ops[n-1]
		if n == 2 {
			in.B = ops[1]
		}
		return nil
	case verify.LowBits, verify.Extract, verify.Rotate:
		in.A, in.B, in.D = ops[0], ops[1], ops[2]
		return nil
	case verify.Move, verify.Add, verify.Sub, verify.And, verify.ShiftLeft, verify.ShiftRight, verify.Address, verify.CountOnes, verify.MoveIf:
		in.A, in.D = ops[0], ops[1]
		return nil
	case verify.Negate:
		in.D = ops[0]
		return nil
	}
	if n < 2 {
		return fmt.Errorf("%d operands", n)
	}
	return arrangeVector(in, s, zeroing, ops)
}

func arrangeVector(in *verify.Inst, s *semantics, zeroing bool, ops []verify.Operand) error {
	n := len(ops)
	in.D, in.Acc = ops[n-1], s.acc
	in.Reads = make([]verify.Reg, 0, n-1)
	memory := false
	for _, o := range ops[:n-1] {
		switch o.Kind {
		case verify.Register:
			if in.Op == verify.VectorLoad && n == 2 || in.Op == verify.SetMask {
				in.A = o
			} else {
				in.Reads = append(in.Reads, o.Reg)
			}
		case verify.Memory, verify.Slot:
			if memory {
				return fmt.Errorf("two operands in memory")
			}
			in.A, memory = o, true
		case verify.Immediate:
		}
	}
	if s.zero && n == 3 && ops[0] == ops[1] && ops[0].Kind == verify.Register {
		in.Reads = nil
	}
	if in.Op != verify.VectorLoad || n != 3 {
		// Lanes that a mask leaves out stay.
		in.Acc = in.Acc || in.Op == verify.Vector && !zeroing && slices.ContainsFunc(in.Reads, func(r verify.Reg) bool { return r >= verify.FirstMask })
		return nil
	}
	// Of three operands of a move, the one in the middle is a mask.
	if ops[1].Kind != verify.Register {
		return fmt.Errorf("the mask is no register")
	}
	in.Mask, in.Lane = ops[1].Reg, 4
	if in.Mask >= verify.FirstMask && !zeroing && in.D.Kind == verify.Register {
		in.Acc = true // lanes that the mask leaves out stay
	}
	in.Reads = slices.DeleteFunc(in.Reads, func(r verify.Reg) bool { return r == in.Mask })
	if in.D.Kind == verify.Memory && ops[0].Kind == verify.Register {
		in.A = ops[0]
	}
	return nil
}

// register is where a register is, and how many bytes it has as a vector.
type register struct {
	reg   verify.Reg
	bytes int64
}

var registers = makeRegisters()

var integers = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"}

func makeRegisters() map[string]register {
	m := map[string]register{}
	for i, name := range integers {
		m[name] = register{verify.Reg(i), 0}
	}
	for i := 8; i < 16; i++ {
		m[fmt.Sprintf("R%d", i)] = register{verify.Reg(i), 0}
	}
	for i := range 32 {
		r := verify.FirstVec + verify.Reg(i)
		m[fmt.Sprintf("X%d", i)] = register{r, 16}
		m[fmt.Sprintf("Y%d", i)] = register{r, 32}
		m[fmt.Sprintf("Z%d", i)] = register{r, 64}
	}
	for i := range 8 {
		m[fmt.Sprintf("K%d", i)] = register{verify.FirstMask + verify.Reg(i), 0}
	}
	return m
}

func regName(r verify.Reg) string {
	switch {
	case int(r) < len(integers):
		return integers[r]
	case r < verify.FirstVec:
		return fmt.Sprintf("R%d", r)
	case r < verify.FirstMask:
		return fmt.Sprintf("vector register %d", r-verify.FirstVec)
	}
	return fmt.Sprintf("K%d", r-verify.FirstMask)
}

// parseOperand reads one operand.
func parseOperand(s string) (o verify.Operand, err error) {
	o.Base, o.Index = verify.NoReg, verify.NoReg
	if r, ok := registers[s]; ok {
		o.Kind, o.Reg = verify.Register, r.reg
		return o, nil
	}
	if imm, ok := strings.CutPrefix(s, "$"); ok {
		o.Kind = verify.Immediate
		o.Imm, err = strconv.ParseInt(strings.TrimPrefix(imm, "+"), 0, 64)
		return o, err
	}
	at, inner, ok := strings.Cut(s, "(")
	inner, ok2 := strings.CutSuffix(inner, ")")
	if !ok || !ok2 {
		return o, fmt.Errorf("operand %q", s)
	}
	o.Kind = verify.Memory
	base, index, indexed := strings.Cut(inner, ")(")
	switch base {
	case "FP", "SB":
		if base == "FP" {
			o.Kind = verify.Slot
		}
		o.Symbol, o.Disp, err = verify.SplitSymbol(at)
		if indexed {
			return o, fmt.Errorf("operand %q", s)
		}
		return o, err
	}
	if at != "" {
		if o.Disp, err = strconv.ParseInt(at, 10, 32); err != nil {
			return o, err
		}
	}
	r, ok := registers[base]
	if !ok || r.reg >= verify.FirstVec {
		return o, fmt.Errorf("operand %q", s)
	}
	o.Base = r.reg
	if indexed {
		name, scale, ok := strings.Cut(index, "*")
		r, known := registers[name]
		if !ok || !known || r.reg >= verify.FirstVec {
			return o, fmt.Errorf("operand %q", s)
		}
		o.Index = r.reg
		n, err := strconv.ParseUint(scale, 10, 8)
		if err != nil || n > 8 || bits.OnesCount64(n) != 1 {
			return o, fmt.Errorf("operand %q: scale", s)
		}
		o.Scale = uint8(n)
	}
	return o, nil
}
