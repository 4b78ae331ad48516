// Package arm64 turns asm programs into Go assembly for arm64: its own table of
// instruction forms, with their encodings, its own register allocator and
// printer. What Go's assembler lacks goes into the text as instruction words.
//
// It must not import codegen, ir or patterns: it knows instructions, not layers.
package arm64

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
)

// NEON is the machine of the architecture's baseline: a 128-bit register holds 4
// float32.
var NEON = asm.Machine{Name: "neon", Lanes: 4, Regs: vectors}

// inst is an instruction with virtual registers, or a label.
type inst struct {
	*form   // nil for a label
	values  []int64
	symbol  string  // label, argument or table
	reads   []int64 // registers behind those that it names
	comment string
}

// firstVirtual is the lowest number of a virtual register; below are those of
// the machine.
const firstVirtual = 32

// lowerer turns one asm.Func into instructions.
type lowerer struct {
	f     *asm.Func
	out   []inst
	head  []inst // what precedes them, once a call
	kinds []byte // of virtual registers: X, V or P
	fixed map[int64]int64
	regs  map[asm.Reg]int64
	args  map[string]int
	frame int // bytes of arguments
	data  *tables
	uses  *usage
	note  string
	err   error

	// Known in the current block:
	sums    map[asm.Mem]int64 // addresses that are in a register
	lanes   map[asm.Reg]element
	loaded  map[int]int64      // the register with the elements of a group, by its first instruction
	indices map[selector]int64 // bytes of a table, see selectLanes

	constants map[uint32]int64 // vectors for the whole function
	base      int64            // address of the file's constants
	words     int64            // address of the file's constants that machines repeat
	everyLane int64            // see all
	counts    int64            // address of the counts of bits in a byte
	labels    int
}

// element is one lane of a virtual register.
type element struct{ reg, lane int64 }

func lower(f *asm.Func, data *tables) (*lowerer, error) {
	if f.Machine.Lanes != NEON.Lanes && !f.Machine.Scalable {
		return nil, fmt.Errorf("arm64: %s: no registers of %d float32", f.Name, f.Machine.Lanes)
	}
	l := &lowerer{
		f: f, data: data, uses: usageOf(f), fixed: map[int64]int64{}, regs: map[asm.Reg]int64{}, args: map[string]int{},
		constants: map[uint32]int64{},
	}
	l.forget()
	for _, a := range f.Args {
		size := 8
		if a.Type == "float32" {
			size = 4
		}
		l.frame = (l.frame + size - 1) / size * size
		l.args[a.Name] = l.frame
		l.frame += size
	}
	l.frame = (l.frame + 7) / 8 * 8
	for n := range f.Insts {
		i := &f.Insts[n]
		l.note = i.Comment
		if err := l.inst(n, i); err != nil {
			return nil, fmt.Errorf("arm64: %s: instruction %d: %w", f.Name, n, err)
		}
		if l.err != nil {
			return nil, fmt.Errorf("arm64: %s: instruction %d: %w", f.Name, n, l.err)
		}
		l.changed(i)
	}
	l.emit("ret")
	l.out = pairs(append(l.head, l.out...))
	return l, nil
}

// forget drops what was known in the block that ends.
func (l *lowerer) forget() {
	l.sums, l.lanes, l.indices = map[asm.Mem]int64{}, map[asm.Reg]element{}, map[selector]int64{}
	l.loaded = map[int]int64{}
}

// changed drops what depended on what i has written.
func (l *lowerer) changed(i *asm.Inst) {
	if i.Op == asm.OpLabel {
		l.forget()
		return
	}
	if i.Op != asm.OpBcast {
		delete(l.lanes, i.Dst)
	}
	for m := range l.sums {
		if m.Base == i.Dst || m.Index == i.Dst {
			delete(l.sums, m)
		}
	}
	for s := range l.indices {
		if s.idx == i.Dst {
			delete(l.indices, s)
		}
	}
}

// emit appends an instruction of form name.
func (l *lowerer) emit(name string, values ...int64) { l.emitTo(&l.out, name, "", values...) }

// emitAt is emit for a form that names a label, an argument or a table, whose
// value is 0.
func (l *lowerer) emitAt(name, symbol string, values ...int64) {
	l.emitTo(&l.out, name, symbol, append(values, 0)...)
}

func (l *lowerer) emitTo(list *[]inst, name, symbol string, values ...int64) {
	f, ok := forms.byName[name]
	if !ok && l.err == nil {
		l.err = fmt.Errorf("the table has no form %s", name)
	}
	*list = append(*list, inst{form: f, values: values, symbol: symbol, comment: l.note})
	l.note = ""
}

func (l *lowerer) label(name string) {
	l.out = append(l.out, inst{symbol: name, comment: l.note})
	l.note = ""
}

// newLabel is a label that the program does not have.
func (l *lowerer) newLabel(stem string) string {
	l.labels++
	return fmt.Sprintf("%s_%d", stem, l.labels)
}

func (l *lowerer) fresh(kind byte) int64 {
	l.kinds = append(l.kinds, kind)
	return firstVirtual + int64(len(l.kinds)) - 1
}

func (l *lowerer) vec() int64     { return l.fresh('V') }
func (l *lowerer) integer() int64 { return l.fresh('X') }

// r is the virtual register that stands for v. A mask is the number of its lanes
// where vectors have a fixed length, and a predicate elsewhere.
func (l *lowerer) r(v asm.Reg) int64 {
	if p, ok := l.regs[v]; ok {
		return p
	}
	kind := byte('X')
	switch {
	case v.Kind == asm.VecReg:
		kind = 'V'
	case v.Kind == asm.MaskReg && l.f.Machine.Scalable:
		kind = 'P'
	case v.Kind == asm.HalfReg:
		l.err = fmt.Errorf("no half vectors")
	}
	l.regs[v] = l.fresh(kind)
	return l.regs[v]
}

// place is the address m as a register and a displacement.
func (l *lowerer) place(m asm.Mem) (reg, disp int64) {
	if m.Index.IsZero() {
		return l.r(m.Base), int64(m.Disp)
	}
	disp, m.Disp = int64(m.Disp), 0
	if t, ok := l.sums[m]; ok {
		return t, disp
	}
	t := l.integer()
	l.sum(t, m)
	l.sums[m] = t
	return t, disp
}

// sum puts base and index of m into d.
func (l *lowerer) sum(d int64, m asm.Mem) {
	if m.Scale > 1 {
		l.emit("add.lsl", d, l.r(m.Base), l.r(m.Index), int64(bits.TrailingZeros(uint(m.Scale))))
	} else {
		l.emit("add", d, l.r(m.Base), l.r(m.Index))
	}
}

// at is the address m in one register.
func (l *lowerer) at(m asm.Mem) int64 {
	reg, disp := l.place(m)
	return l.moved(reg, disp)
}

func (l *lowerer) moved(reg, disp int64) int64 {
	if disp == 0 {
		return reg
	}
	t := l.integer()
	l.add(t, reg, disp)
	return t
}

// access is a load or store of width bytes at m: a form that counts in widths, or
// its unscaled sister, whose name has a u in it.
func (l *lowerer) access(form string, width, reg int64, m asm.Mem) {
	base, disp := l.place(m)
	switch {
	case disp >= 0 && disp%width == 0 && disp < 4096*width:
	case disp >= -256 && disp < 256:
		form = form[:2] + "u" + form[2:]
	default:
		base, disp = l.moved(base, disp), 0
	}
	l.emit(form, reg, base, disp)
}

// add puts a + imm into d.
func (l *lowerer) add(d, a, imm int64) {
	op, n := "add", imm
	if n < 0 {
		op, n = "sub", -n
	}
	switch {
	case n == 0 && d == a:
	case n>>24 != 0:
		t := l.integer()
		l.movI(t, imm)
		l.emit("add", d, a, t)
	case n>>12 == 0:
		l.emit(op+".i", d, a, n)
	default:
		l.emit(op+".hi", d, a, n&^4095)
		if n&4095 != 0 {
			l.emit(op+".i", d, d, n&4095)
		}
	}
}

// movI puts imm into d. Constants of more than 32 bits no kernel has.
func (l *lowerer) movI(d, imm int64) {
	switch {
	case imm == 0:
		l.emit("mov.0", d)
	case imm > 0 && imm < 1<<16:
		l.emit("movz", d, imm)
	case imm < 0 && imm >= -1<<16:
		l.emit("movn", d, imm)
	case imm > 0 && imm < 1<<32:
		l.emit("movz.hi", d, imm&^0xffff)
		if imm&0xffff != 0 {
			l.add(d, d, imm&0xffff)
		}
	default:
		l.err = fmt.Errorf("no constant %d", imm)
	}
}

// mulI puts a * imm into d.
func (l *lowerer) mulI(d, a, imm int64) {
	shift := int64(bits.TrailingZeros64(uint64(imm)))
	switch odd := imm >> shift; {
	case imm == 1:
		l.emit("mov", d, a)
	case imm > 0 && odd == 1:
		l.emit("lsl", d, a, shift)
	case imm > 0 && (odd == 3 || odd == 5 || odd == 9):
		l.emit("add.lsl", d, a, a, int64(bits.TrailingZeros64(uint64(odd-1))))
		if shift > 0 {
			l.emit("lsl", d, d, shift)
		}
	default:
		t := l.integer()
		l.movI(t, imm)
		l.emit("mul", d, a, t)
	}
}

// arg is argument name as the assembler has it.
func (l *lowerer) arg(name string) string {
	at, ok := l.args[name]
	if !ok {
		l.err = fmt.Errorf("no argument %s", name)
	}
	return fmt.Sprintf("%s+%d", name, at)
}

// compare compares a with imm.
func (l *lowerer) compare(a, imm int64) {
	if imm < 0 {
		l.emit("cmn.i", a, -imm)
	} else {
		l.emit("cmp.i", a, imm)
	}
}

func (l *lowerer) inst(n int, i *asm.Inst) error {
	if l.f.Machine.Scalable {
		if f, ok := scalableOps[i.Op]; ok {
			return f(l, n, i)
		}
		vectors := false
		see := func(r asm.Reg) { vectors = vectors || r.Kind != asm.IntReg }
		reads(i, see)
		writes(i, see)
		if vectors {
			return fmt.Errorf("no lowering for op %d on vectors of any length", i.Op)
		}
	}
	if f, ok := simple[i.Op]; ok {
		f(l, i)
		return nil
	}
	switch i.Op {
	case asm.OpLoadU:
		return l.loadU(i)
	case asm.OpLea:
		if i.Mem.Index.IsZero() {
			l.add(l.r(i.Dst), l.r(i.Mem.Base), int64(i.Mem.Disp))
			return nil
		}
		t := l.r(i.Dst)
		l.sum(t, i.Mem)
		if i.Mem.Disp != 0 {
			l.add(t, t, int64(i.Mem.Disp))
		}
	case asm.OpBcast:
		l.bcast(n, i)
	case asm.OpFMA, asm.OpFMAMem:
		l.fma(i)
	case asm.OpFMABcast:
		t := l.vec()
		l.access("ldr.s", 4, t, i.Mem)
		l.emit("fmla.4s[]", l.r(i.Dst), l.r(i.A), t, 0)
	case asm.OpFMA213:
		t := l.vec()
		l.emit("mov.v", t, l.r(i.B))
		l.emit("fmla.4s", t, l.r(i.Dst), l.r(i.A))
		l.become(i.Dst, t)
	case asm.OpVMax, asm.OpVMin:
		l.choose(i)
	case asm.OpLaneOf4:
		l.emit("dup.4s", l.r(i.Dst), l.r(i.A), i.Imm)
	case asm.OpBcastN:
		return l.bcastN(i)
	case asm.OpLoadMask, asm.OpStoreMask:
		l.accessMask(i)
	case asm.OpLoadAfter:
		d := l.vec()
		l.access("ldr.q", 16, d, i.Mem)
		l.emit("ins.s", d, 0, l.r(i.A))
		l.become(i.Dst, d)
	case asm.OpSelect:
		return l.selectLanes(i)
	case asm.OpExpand:
		l.expand(i)
	case asm.OpTranspose:
		return l.transpose(i)
	default:
		return fmt.Errorf("no lowering for op %d", i.Op)
	}
	return nil
}

// become makes d what t is: by name, where no other block can tell.
func (l *lowerer) become(d asm.Reg, t int64) {
	if l.uses.local[d] {
		l.regs[d] = t
	} else {
		l.emit(l.move(), l.r(d), t)
	}
}

// move is the form that copies a vector.
func (l *lowerer) move() string {
	if l.f.Machine.Scalable {
		return "mov.z"
	}
	return "mov.v"
}

func (l *lowerer) loadU(i *asm.Inst) error {
	form, ok := map[int64]string{1: "ldrb", 2: "ldrh", 4: "ldr.w", 8: "ldr"}[i.Imm]
	if !ok {
		return fmt.Errorf("no load of %d bytes", i.Imm)
	}
	indexed, has := map[int64]string{1: "ldrb.x", 2: "ldrh.x", 4: "ldr.wx"}[i.Imm]
	if m := i.Mem; has && !m.Index.IsZero() && m.Disp == 0 && max(1, int64(m.Scale)) == i.Imm {
		l.emit(indexed, l.r(i.Dst), l.r(m.Base), l.r(m.Index))
		return nil
	}
	l.access(form, i.Imm, l.r(i.Dst), i.Mem)
	return nil
}

// loadLow loads one float32 and zeros.
func (l *lowerer) loadLow(d int64, m asm.Mem) {
	if !m.Index.IsZero() && m.Scale == 4 && m.Disp == 0 {
		l.emit("ldr.sx", d, l.r(m.Base), l.r(m.Index))
		return
	}
	l.access("ldr.s", 4, d, m)
}

// three is a form of two sources.
func three(form string) func(l *lowerer, i *asm.Inst) {
	return func(l *lowerer, i *asm.Inst) { l.emit(form, l.r(i.Dst), l.r(i.A), l.r(i.B)) }
}

// prefetch emits a hint at m.
func (l *lowerer) prefetch(form string, m asm.Mem) {
	base, disp := l.place(m)
	if disp < 0 || disp%8 != 0 || disp >= 8*4096 {
		base, disp = l.moved(base, disp), 0
	}
	l.emit(form, base, disp)
}

// shift is a form of a source and an immediate.
func shift(form string) func(l *lowerer, i *asm.Inst) {
	return func(l *lowerer, i *asm.Inst) { l.emit(form, l.r(i.Dst), l.r(i.A), i.Imm) }
}

// simple holds the ops that need no choice.
var simple = map[asm.Op]func(l *lowerer, i *asm.Inst){
	asm.OpArg:    func(l *lowerer, i *asm.Inst) { l.emitAt("ldr.arg", l.arg(i.Name), l.r(i.Dst)) },
	asm.OpSetArg: func(l *lowerer, i *asm.Inst) { l.emitAt("str.arg", l.arg(i.Name), l.r(i.A)) },
	asm.OpMovI:   func(l *lowerer, i *asm.Inst) { l.movI(l.r(i.Dst), i.Imm) },
	asm.OpMov:    func(l *lowerer, i *asm.Inst) { l.emit("mov", l.r(i.Dst), l.r(i.A)) },
	asm.OpAdd:    func(l *lowerer, i *asm.Inst) { l.emit("add", l.r(i.Dst), l.r(i.Dst), l.r(i.A)) },
	asm.OpSub:    func(l *lowerer, i *asm.Inst) { l.emit("sub", l.r(i.Dst), l.r(i.Dst), l.r(i.A)) },
	asm.OpAddI:   func(l *lowerer, i *asm.Inst) { l.add(l.r(i.Dst), l.r(i.Dst), i.Imm) },
	asm.OpMul:    func(l *lowerer, i *asm.Inst) { l.emit("mul", l.r(i.Dst), l.r(i.Dst), l.r(i.A)) },
	asm.OpMulI:   func(l *lowerer, i *asm.Inst) { l.mulI(l.r(i.Dst), l.r(i.A), i.Imm) },
	asm.OpShlI:   func(l *lowerer, i *asm.Inst) { l.emit("lsl", l.r(i.Dst), l.r(i.Dst), i.Imm) },
	asm.OpShrI:   func(l *lowerer, i *asm.Inst) { l.emit("lsr", l.r(i.Dst), l.r(i.Dst), i.Imm) },
	asm.OpPopcnt: func(l *lowerer, i *asm.Inst) {
		t := l.vec()
		l.emit("fmov.dx", t, l.r(i.A))
		l.emit("cnt.8b", t, t)
		l.emit("addv.8b", t, t)
		l.emit("fmov.ws", l.r(i.Dst), t)
	},
	asm.OpCountByte: func(l *lowerer, i *asm.Inst) {
		if l.counts == 0 {
			l.counts = l.integer()
			l.emitTo(&l.head, "adr", l.data.need(countTable), l.counts, 0)
		}
		l.emit("ldrb.x", l.r(i.Dst), l.counts, l.r(i.A))
	},
	asm.OpLowBits: func(l *lowerer, i *asm.Inst) { l.emit("ubfx.0", l.r(i.Dst), l.r(i.A), i.Imm) },
	asm.OpMin: func(l *lowerer, i *asm.Inst) {
		l.emit("cmp", l.r(i.A), l.r(i.Dst))
		l.emit("csel.lt", l.r(i.Dst), l.r(i.A), l.r(i.Dst))
	},
	asm.OpMax: func(l *lowerer, i *asm.Inst) {
		l.emit("cmp", l.r(i.A), l.r(i.Dst))
		l.emit("csel.gt", l.r(i.Dst), l.r(i.A), l.r(i.Dst))
	},
	asm.OpLabel: func(l *lowerer, i *asm.Inst) { l.label(i.Name) },
	asm.OpJump:  func(l *lowerer, i *asm.Inst) { l.emitAt("b", i.Name) },
	asm.OpJumpZ: func(l *lowerer, i *asm.Inst) { l.emitAt("cbz", i.Name, l.r(i.A)) },
	asm.OpJumpLE: func(l *lowerer, i *asm.Inst) {
		l.compare(l.r(i.A), i.Imm)
		l.emitAt("b.le", i.Name)
	},
	asm.OpDecJump: func(l *lowerer, i *asm.Inst) {
		l.emit("subs.i", l.r(i.Dst), l.r(i.Dst), 1)
		l.emitAt("b.ne", i.Name)
	},
	asm.OpAddJump: func(l *lowerer, i *asm.Inst) {
		l.emit("adds.i", l.r(i.Dst), l.r(i.Dst), i.Imm)
		l.emitAt("b.ne", i.Name)
	},
	asm.OpPrefetch:    func(l *lowerer, i *asm.Inst) { l.prefetch("prfm", i.Mem) },
	asm.OpPrefetchFar: func(l *lowerer, i *asm.Inst) { l.prefetch("prfm.l2", i.Mem) },
	asm.OpZero:        func(l *lowerer, i *asm.Inst) { l.emit("movi.0", l.r(i.Dst)) },
	asm.OpVMov:        func(l *lowerer, i *asm.Inst) { l.emit("mov.v", l.r(i.Dst), l.r(i.A)) },
	asm.OpLoad:        func(l *lowerer, i *asm.Inst) { l.access("ldr.q", 16, l.r(i.Dst), i.Mem) },
	asm.OpStore:       func(l *lowerer, i *asm.Inst) { l.access("str.q", 16, l.r(i.A), i.Mem) },
	asm.OpBcastArg: func(l *lowerer, i *asm.Inst) {
		d := l.r(i.Dst)
		l.emitAt("ldr.s.arg", l.arg(i.Name), d)
		l.emit("dup.4s", d, d, 0)
	},
	asm.OpBcastConst: func(l *lowerer, i *asm.Inst) { l.loadConstant(&l.out, l.r(i.Dst), uint32(i.Imm)) },
	asm.OpVAdd:       three("fadd.4s"),
	asm.OpVSub:       three("fsub.4s"),
	asm.OpVMul:       three("fmul.4s"),
	asm.OpVDiv:       three("fdiv.4s"),
	asm.OpVAddI32:    three("add.4s"),
	asm.OpVSubI32:    three("sub.4s"),
	asm.OpVAnd:       three("and.16b"),
	asm.OpVShlI:      shift("shl.4s"),
	asm.OpVShrI:      shift("ushr.4s"),
	asm.OpVSarI:      shift("sshr.4s"),
	asm.OpMaskFirst:  func(l *lowerer, i *asm.Inst) { l.emit("mov", l.r(i.Dst), l.r(i.A)) },
	asm.OpExpandInit: func(l *lowerer, i *asm.Inst) { l.emitAt("adr", l.data.need(expandTable), l.r(i.Dst)) },
	asm.OpLoadLow:    func(l *lowerer, i *asm.Inst) { l.loadLow(l.r(i.Dst), i.Mem) },
	asm.OpStoreLow:   func(l *lowerer, i *asm.Inst) { l.access("str.s", 4, l.r(i.A), i.Mem) },
	asm.OpInsertLow: func(l *lowerer, i *asm.Inst) {
		t := l.vec()
		l.loadLow(t, i.Mem)
		l.emit("ins.s", l.r(i.Dst), i.Imm, t)
	},
	asm.OpSumLow: func(l *lowerer, i *asm.Inst) {
		t := l.vec()
		l.emit("ext.16b", t, l.r(i.A), l.r(i.A), 8)
		l.emit("fadd.2s", t, l.r(i.A), t)
		l.emit("faddp.s", l.r(i.Dst), t)
	},
	asm.OpByteInit: func(l *lowerer, i *asm.Inst) {}, // nothing: any byte is one instruction
	asm.OpByte:     func(l *lowerer, i *asm.Inst) { l.emit("ubfx.8", l.r(i.Dst), l.r(i.A), 8*i.Imm) },
}
