package amd64

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"

	"github.com/sparsegen/sparsegen/asm"
)

// Options says how the emitted files present themselves.
type Options struct {
	Package string
	Header  string // first line of both files, without the comment slashes
	// Constraint is the files' build constraint, such as "!noasm"; the
	// architecture is in their names.
	Constraint string
}

// Emit lowers funcs and prints one assembly file and the Go file that declares
// its functions. Both are deterministic.
func Emit(funcs []*asm.Func, o Options) (asmText, stubs []byte, err error) {
	ctx := build.NewContext()
	if o.Constraint != "" {
		ctx.ConstraintExpr(o.Constraint)
	}
	data := &tables{constants: constantsOf(funcs)}
	width := map[string]int{}
	for _, f := range funcs {
		if err := lower(ctx, f, data); err != nil {
			return nil, nil, err
		}
		width[f.Name] = f.Machine.Regs
	}
	file, err := ctx.Result()
	if err != nil {
		return nil, nil, fmt.Errorf("amd64: %w", err)
	}
	if err := file2asm(width).Execute(file); err != nil {
		return nil, nil, fmt.Errorf("amd64: %w", err)
	}
	cfg := printer.Config{Name: "sparsegen", Pkg: o.Package}
	if asmText, err = printer.NewGoAsm(cfg).Print(file); err != nil {
		return nil, nil, err
	}
	if stubs, err = printer.NewStubs(cfg).Print(file); err != nil {
		return nil, nil, err
	}
	return withHeader(asmText, o.Header), withHeader(stubs, o.Header), nil
}

func withHeader(text []byte, header string) []byte {
	_, rest, _ := strings.Cut(string(text), "\n")
	return []byte("// " + header + "\n" + rest)
}

// file2asm is avo's pass list with our own register pools and the check that
// no register lies above what the function's instruction set can encode.
func file2asm(vectors map[string]int) pass.Interface {
	return pass.Concat(
		pass.Verify,
		pass.FunctionPass(pass.PruneJumpToFollowingLabel),
		pass.FunctionPass(pass.PruneDanglingLabels),
		pass.FunctionPass(pass.LabelTarget),
		pass.FunctionPass(pass.CFG),
		pass.InstructionPass(pass.ZeroExtend32BitOutputs),
		pass.FunctionPass(pass.Liveness),
		pass.FunctionPass(func(f *ir.Function) error { return allocate(f, vectors[f.Name]) }),
		pass.FunctionPass(pass.BindRegisters),
		pass.FunctionPass(pass.VerifyAllocation),
		pass.FunctionPass(func(f *ir.Function) error { return checkVectors(f, vectors[f.Name]) }),
		pass.Func(pass.IncludeTextFlagHeader),
		pass.FunctionPass(pass.PruneSelfMoves),
		pass.FunctionPass(pass.RequiredISAExtensions),
	)
}

// allocate colours registers from restricted pools: no BP (the frame pointer),
// no R15 (the GOT pointer when linking dynamically), and only the first n
// vector registers, because 16..31 exist in EVEX encodings alone.
func allocate(f *ir.Function, n int) error {
	as := map[reg.Kind]*pass.Allocator{}
	each := func(do func(r reg.Register) error) error {
		for _, i := range f.Instructions() {
			for _, r := range i.Registers() {
				if err := do(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := each(func(r reg.Register) error {
		k := r.Kind()
		if as[k] == nil {
			var pool []reg.Physical
			for _, p := range reg.FamilyOfKind(k).Registers() {
				switch {
				case k == reg.KindGP && (p.Info()&reg.BasePointer != 0 || p.PhysicalIndex() == 15):
				case k == reg.KindVector && int(p.PhysicalIndex()) >= n:
				default:
					pool = append(pool, p)
				}
			}
			a, err := pass.NewAllocator(pool)
			if err != nil {
				return err
			}
			as[k] = a
		}
		as[k].Add(r.ID())
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range f.Instructions() {
		for _, d := range i.OutputRegisters() {
			out := i.LiveOut.OfKind(d.Kind())
			out.DiscardRegister(d)
			as[d.Kind()].AddInterferenceSet(d, out)
		}
	}
	f.Allocation = reg.NewEmptyAllocation()
	for k, a := range as {
		al, err := a.Allocate()
		if err != nil {
			return fmt.Errorf("%s: registers of kind %d: %w", f.Name, k, err)
		}
		if err := f.Allocation.Merge(al); err != nil {
			return err
		}
	}
	return nil
}

// checkVectors fails on a vector register that the function's instruction set
// cannot encode.
func checkVectors(f *ir.Function, n int) error {
	for _, i := range f.Instructions() {
		for _, r := range i.Registers() {
			p, ok := r.(reg.Physical)
			if ok && p.Kind() == reg.KindVector && int(p.PhysicalIndex()) >= n {
				return fmt.Errorf("%s: %s uses vector register %d of %d", f.Name, i.Opcode, p.PhysicalIndex(), n)
			}
		}
	}
	return nil
}

// tables are read-only data shared by the functions of a file, made on demand.
type tables struct {
	rampMem, halvesMem, constantsMem operand.Mem
	constants                        []operand.U32 // ascending
}

// constantsOf is what funcs broadcast.
func constantsOf(funcs []*asm.Func) []operand.U32 {
	var words []operand.U32
	for _, f := range funcs {
		for i := range f.Insts {
			if f.Insts[i].Op == asm.OpBcastConst {
				words = append(words, operand.U32(f.Insts[i].Imm))
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// constant is 32 bits in memory: an instruction that broadcasts them occupies
// no unit that computes.
func (t *tables) constant(c *build.Context, word uint32) operand.Mem {
	if t.constantsMem.Symbol.Name == "" {
		t.constantsMem = global(c, "sparsegenConstants", t.constants)
	}
	at, _ := slices.BinarySearch(t.constants, operand.U32(word))
	return t.constantsMem.Offset(4 * at)
}

// ramp is eight words of ones followed by eight words of zeros.
func (t *tables) ramp(c *build.Context) operand.Mem {
	if t.rampMem.Symbol.Name == "" {
		words := make([]operand.U64, 8)
		for k := range 4 {
			words[k] = ^operand.U64(0)
		}
		t.rampMem = global(c, "sparsegenRamp", words)
	}
	return t.rampMem
}

// halves holds, for each byte b, what VPSHUFB takes to place the values of the bits
// set in b: those of the lower four bits end the lower half of a vector, those of the
// upper four begin the upper half. Lanes whose bit is not set become 0.
func (t *tables) halves(c *build.Context) operand.Mem {
	if t.halvesMem.Symbol.Name == "" {
		words := make([]operand.U64, 0, 4*256)
		for b := range 256 {
			at := 4 - bits.OnesCount(uint(b&15)) // of the next value, in its half
			for l := range 8 {
				if l == 4 {
					at = 0
				}
				bytes := operand.U64(0x80808080)
				if b>>l&1 != 0 {
					bytes = 0x03020100 + operand.U64(4*at)*0x01010101
					at++
				}
				if l%2 == 0 {
					words = append(words, bytes)
				} else {
					words[len(words)-1] |= bytes << 32
				}
			}
		}
		t.halvesMem = global(c, "sparsegenHalves", words)
	}
	return t.halvesMem
}

// global adds a read-only table without disturbing the function being built.
func global[W operand.Constant](c *build.Context, name string, words []W) operand.Mem {
	m := c.StaticGlobal(name)
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, w := range words {
		c.AppendDatum(w)
	}
	return m
}

// Instructions counts the instructions of each function in emitted assembly
// text, by name; it serves reports and tests.
func Instructions(asmText []byte) (map[string]int, error) {
	n, cur := map[string]int{}, ""
	for k, line := range strings.Split(string(asmText), "\n") {
		switch {
		case strings.HasPrefix(line, "TEXT "):
			name, _, ok := strings.Cut(strings.TrimPrefix(line, "TEXT ·"), "(SB)")
			if !ok {
				return nil, errors.New("amd64: line " + strconv.Itoa(k+1) + ": TEXT without a symbol")
			}
			cur = name
		case cur != "" && strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "\t//"):
			n[cur]++
		}
	}
	return n, nil
}
