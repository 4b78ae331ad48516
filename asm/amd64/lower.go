// Package amd64 turns asm programs into Go assembly for amd64 through avo, used
// as a library: own contexts, register pools restricted to what the declared
// instruction set can encode, own header.
//
// It must not import codegen, ir or patterns: it knows instructions, not layers.
package amd64

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/sparsegen/sparsegen/asm"
)

// Machines of this architecture. On both, one 512-bit register holds 16
// float32 and one 256-bit register 8.
var (
	AVX2   = asm.Machine{Name: "avx2", Lanes: 8, Regs: 16, LaneCopies: 1}
	AVX512 = asm.Machine{Name: "avx512", Lanes: 16, Regs: 32, BroadcastOperand: true, Halves: true, LaneCopies: 2}
)

// lowerer turns one asm.Func into one avo function.
type lowerer struct {
	ctx  *build.Context
	f    *asm.Func
	wide bool // 512-bit
	regs map[asm.Reg]reg.Register
	data *tables
}

func lower(ctx *build.Context, f *asm.Func, data *tables) error {
	l := &lowerer{ctx: ctx, f: f, wide: f.Machine.Lanes == 16, regs: map[asm.Reg]reg.Register{}, data: data}
	if !l.wide && f.Machine.Lanes != 8 {
		return fmt.Errorf("amd64: %s: no registers of %d float32", f.Name, f.Machine.Lanes)
	}
	ctx.Function(f.Name)
	ctx.Doc(f.Doc...)
	ctx.Pragma("noescape")
	ctx.Attributes(attr.NOSPLIT)
	params := make([]string, len(f.Args))
	for i, a := range f.Args {
		params[i] = a.Name + " " + a.Type
	}
	ctx.SignatureExpr("func(" + strings.Join(params, ", ") + ")")
	for i := range f.Insts {
		if err := l.inst(&f.Insts[i]); err != nil {
			return fmt.Errorf("amd64: %s: instruction %d: %w", f.Name, i, err)
		}
	}
	ctx.VZEROUPPER()
	ctx.RET()
	return nil
}

// r is the avo register that stands for v.
func (l *lowerer) r(v asm.Reg) reg.Register {
	if p, ok := l.regs[v]; ok {
		return p
	}
	var p reg.Register
	switch v.Kind {
	case asm.IntReg:
		p = l.ctx.GP64()
	case asm.VecReg:
		p = l.vec()
	case asm.HalfReg:
		p = l.ctx.YMM()
	case asm.MaskReg:
		if l.wide {
			p = l.ctx.K()
		} else {
			p = l.ctx.YMM() // the AVX2 mask is a vector of sign bits
		}
	}
	l.regs[v] = p
	return p
}

func (l *lowerer) vec() reg.VecVirtual {
	if l.wide {
		return l.ctx.ZMM()
	}
	return l.ctx.YMM()
}

// of is the register of v as an instruction on d reads it.
func (l *lowerer) of(v, d asm.Reg) reg.Register {
	if d.Kind == asm.HalfReg {
		return l.r(v).(reg.Vec).AsY()
	}
	return l.r(v)
}

// low is the 128-bit register that holds lane 0 of v.
func (l *lowerer) low(v asm.Reg) reg.Register { return l.r(v).(reg.Vec).AsX() }

func (l *lowerer) gp(v asm.Reg) reg.GP { return l.r(v).(reg.GP) }

func (l *lowerer) mem(m asm.Mem) operand.Mem {
	o := operand.Mem{Base: l.r(m.Base), Disp: m.Disp}
	if !m.Index.IsZero() {
		o.Index, o.Scale = l.r(m.Index), uint8(max(m.Scale, 1))
	}
	return o
}

func (l *lowerer) inst(i *asm.Inst) error {
	c := l.ctx
	if i.Comment != "" {
		c.Comment(i.Comment)
	}
	if (i.Dst.Kind == asm.HalfReg || i.A.Kind == asm.HalfReg) && !(l.f.Machine.Halves && i.Op.OnHalves()) {
		return fmt.Errorf("not on half vectors of %s", l.f.Machine.Name)
	}
	if f, ok := simple[i.Op]; ok {
		f(l, i)
		return nil
	}
	switch i.Op {
	case asm.OpArg:
		c.Load(c.Param(i.Name), l.r(i.Dst))
	case asm.OpSetArg:
		b, err := c.Param(i.Name).Resolve()
		if err != nil {
			return err
		}
		c.MOVQ(l.r(i.A), b.Addr)
	case asm.OpLoadU:
		d := l.gp(i.Dst)
		switch i.Imm {
		case 1:
			c.MOVBLZX(l.mem(i.Mem), d.As32())
		case 2:
			c.MOVWLZX(l.mem(i.Mem), d.As32())
		case 4:
			c.MOVL(l.mem(i.Mem), d.As32())
		case 8:
			c.MOVQ(l.mem(i.Mem), l.r(i.Dst))
		default:
			return fmt.Errorf("no load of %d bytes", i.Imm)
		}
	case asm.OpBcastArg:
		b, err := c.Param(i.Name).Resolve()
		if err != nil {
			return err
		}
		c.VBROADCASTSS(b.Addr, l.r(i.Dst))
	case asm.OpBcastConst:
		c.VBROADCASTSS(l.data.constant(c, uint32(i.Imm)), l.r(i.Dst))
	case asm.OpLaneOf4:
		c.VPERMILPS(operand.U8(uint8(i.Imm)*0b01010101), l.r(i.A), l.r(i.Dst))
	case asm.OpBcastN:
		return l.bcastN(i)
	case asm.OpFMABcast:
		if l.wide {
			c.VFMADD231PS_BCST(l.mem(i.Mem), l.of(i.A, i.Dst), l.r(i.Dst))
			return nil
		}
		t := l.vec()
		c.VBROADCASTSS(l.mem(i.Mem), t)
		c.VFMADD231PS(t, l.r(i.A), l.r(i.Dst))
	case asm.OpLoadMask:
		if l.wide {
			c.VMOVUPS_Z(l.mem(i.Mem), l.r(i.Mask), l.r(i.Dst))
		} else {
			c.VMASKMOVPS(l.mem(i.Mem), l.r(i.Mask), l.r(i.Dst))
		}
	case asm.OpStoreMask:
		if l.wide {
			c.VMOVUPS(l.r(i.A), l.r(i.Mask), l.mem(i.Mem))
		} else {
			c.VMASKMOVPS(l.r(i.A), l.r(i.Mask), l.mem(i.Mem))
		}
	case asm.OpMaskFirst:
		l.maskFirst(i)
	case asm.OpSelect:
		return l.selectLanes(i)
	case asm.OpExpand:
		return l.expand(i)
	case asm.OpExpandByte:
		return l.expandByte(i)
	case asm.OpExpandInit:
		l.expandInit(i)
	case asm.OpLoadLow:
		c.VMOVSS(l.mem(i.Mem), l.low(i.Dst))
	case asm.OpStoreLow:
		c.VMOVSS(l.low(i.A), l.mem(i.Mem))
	case asm.OpInsertLow:
		c.VINSERTPS(operand.U8(uint8(i.Imm)<<4), l.mem(i.Mem), l.low(i.Dst), l.low(i.Dst))
	case asm.OpLoadAfter, asm.OpJoin, asm.OpSumLow:
		if l.wide { // VEX encodings alone, which do not reach every register
			return fmt.Errorf("for registers of 8 float32, not of %d", l.f.Machine.Lanes)
		}
		switch i.Op {
		case asm.OpLoadAfter:
			c.VBLENDPS(operand.U8(0xfe), l.mem(i.Mem), l.r(i.A), l.r(i.Dst))
		case asm.OpJoin:
			c.VINSERTF128(operand.U8(1), l.low(i.B), l.r(i.A), l.r(i.Dst))
		default:
			l.sumLow(i)
		}
	case asm.OpByteInit: // from bit 8 on, 8 bits
		c.MOVQ(operand.I32(8|8<<8), l.r(i.Dst))
	case asm.OpByte:
		if i.Imm == 0 {
			c.MOVBLZX(l.gp(i.A).As8(), l.gp(i.Dst).As32())
		} else { // Go's assembler cannot take the high byte of any register
			c.BEXTRL(l.gp(i.B).As32(), l.gp(i.A).As32(), l.gp(i.Dst).As32())
		}
	case asm.OpTranspose:
		return l.transpose(i)
	default:
		return fmt.Errorf("no lowering for op %d", i.Op)
	}
	return nil
}

// simple holds the ops that are one amd64 instruction in both widths. Go's
// assembler writes sources right to left, so A op B is (B, A, Dst).
var simple = map[asm.Op]func(l *lowerer, i *asm.Inst){
	asm.OpMovI: func(l *lowerer, i *asm.Inst) { l.ctx.MOVQ(operand.I32(int32(i.Imm)), l.r(i.Dst)) },
	asm.OpMov:  func(l *lowerer, i *asm.Inst) { l.ctx.MOVQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpAdd:  func(l *lowerer, i *asm.Inst) { l.ctx.ADDQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpSub:  func(l *lowerer, i *asm.Inst) { l.ctx.SUBQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpAddI: func(l *lowerer, i *asm.Inst) { l.ctx.ADDQ(operand.I32(int32(i.Imm)), l.r(i.Dst)) },
	asm.OpMul:  func(l *lowerer, i *asm.Inst) { l.ctx.IMULQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpMulI: func(l *lowerer, i *asm.Inst) {
		l.ctx.IMUL3Q(operand.I32(int32(i.Imm)), l.r(i.A), l.r(i.Dst))
	},
	asm.OpShlI:      func(l *lowerer, i *asm.Inst) { l.ctx.SHLQ(operand.U8(uint8(i.Imm)), l.r(i.Dst)) },
	asm.OpShrI:      func(l *lowerer, i *asm.Inst) { l.ctx.SHRQ(operand.U8(uint8(i.Imm)), l.r(i.Dst)) },
	asm.OpPopcnt:    func(l *lowerer, i *asm.Inst) { l.ctx.POPCNTQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpCountByte: func(l *lowerer, i *asm.Inst) { l.ctx.POPCNTQ(l.r(i.A), l.r(i.Dst)) },
	asm.OpLowBits: func(l *lowerer, i *asm.Inst) {
		l.ctx.MOVQ(l.r(i.A), l.r(i.Dst))
		l.ctx.ANDQ(operand.I32(int32(1<<i.Imm-1)), l.r(i.Dst))
	},
	asm.OpMin: func(l *lowerer, i *asm.Inst) {
		l.ctx.CMPQ(l.r(i.A), l.r(i.Dst))
		l.ctx.CMOVQLT(l.r(i.A), l.r(i.Dst))
	},
	asm.OpMax: func(l *lowerer, i *asm.Inst) {
		l.ctx.CMPQ(l.r(i.A), l.r(i.Dst))
		l.ctx.CMOVQGT(l.r(i.A), l.r(i.Dst))
	},
	asm.OpLea:   func(l *lowerer, i *asm.Inst) { l.ctx.LEAQ(l.mem(i.Mem), l.r(i.Dst)) },
	asm.OpLabel: func(l *lowerer, i *asm.Inst) { l.ctx.Label(i.Name) },
	asm.OpJump:  func(l *lowerer, i *asm.Inst) { l.ctx.JMP(operand.LabelRef(i.Name)) },
	asm.OpJumpZ: func(l *lowerer, i *asm.Inst) {
		l.ctx.TESTQ(l.r(i.A), l.r(i.A))
		l.ctx.JZ(operand.LabelRef(i.Name))
	},
	asm.OpJumpLE: func(l *lowerer, i *asm.Inst) {
		l.ctx.CMPQ(l.r(i.A), operand.I32(int32(i.Imm)))
		l.ctx.JLE(operand.LabelRef(i.Name))
	},
	asm.OpDecJump: func(l *lowerer, i *asm.Inst) {
		l.ctx.DECQ(l.r(i.Dst))
		l.ctx.JNZ(operand.LabelRef(i.Name))
	},
	asm.OpAddJump: func(l *lowerer, i *asm.Inst) {
		l.ctx.ADDQ(operand.I32(int32(i.Imm)), l.r(i.Dst))
		l.ctx.JNZ(operand.LabelRef(i.Name))
	},
	asm.OpPrefetch:    func(l *lowerer, i *asm.Inst) { l.ctx.PREFETCHT0(l.mem(i.Mem)) },
	asm.OpPrefetchFar: func(l *lowerer, i *asm.Inst) { l.ctx.PREFETCHT1(l.mem(i.Mem)) },
	asm.OpZero: func(l *lowerer, i *asm.Inst) {
		d := l.r(i.Dst)
		if l.wide {
			l.ctx.VPXORD(d, d, d)
		} else {
			l.ctx.VXORPS(d, d, d)
		}
	},
	asm.OpVMov:  func(l *lowerer, i *asm.Inst) { l.ctx.VMOVAPS(l.of(i.A, i.Dst), l.r(i.Dst)) },
	asm.OpLoad:  func(l *lowerer, i *asm.Inst) { l.ctx.VMOVUPS(l.mem(i.Mem), l.r(i.Dst)) },
	asm.OpStore: func(l *lowerer, i *asm.Inst) { l.ctx.VMOVUPS(l.r(i.A), l.mem(i.Mem)) },
	asm.OpBcast: func(l *lowerer, i *asm.Inst) { l.ctx.VBROADCASTSS(l.mem(i.Mem), l.r(i.Dst)) },
	asm.OpFMA: func(l *lowerer, i *asm.Inst) {
		l.ctx.VFMADD231PS(l.of(i.B, i.Dst), l.of(i.A, i.Dst), l.r(i.Dst))
	},
	asm.OpFMA213: func(l *lowerer, i *asm.Inst) { l.ctx.VFMADD213PS(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpFMAMem: func(l *lowerer, i *asm.Inst) {
		l.ctx.VFMADD231PS(l.mem(i.Mem), l.of(i.A, i.Dst), l.r(i.Dst))
	},
	asm.OpVAdd: func(l *lowerer, i *asm.Inst) { l.ctx.VADDPS(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVSub: func(l *lowerer, i *asm.Inst) { l.ctx.VSUBPS(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVMul: func(l *lowerer, i *asm.Inst) { l.ctx.VMULPS(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVDiv: func(l *lowerer, i *asm.Inst) { l.ctx.VDIVPS(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVMax: func(l *lowerer, i *asm.Inst) {
		l.ctx.VMAXPS(l.of(i.B, i.Dst), l.of(i.A, i.Dst), l.r(i.Dst))
	},
	asm.OpVMin: func(l *lowerer, i *asm.Inst) {
		l.ctx.VMINPS(l.of(i.B, i.Dst), l.of(i.A, i.Dst), l.r(i.Dst))
	},
	asm.OpVAddI32: func(l *lowerer, i *asm.Inst) { l.ctx.VPADDD(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVSubI32: func(l *lowerer, i *asm.Inst) { l.ctx.VPSUBD(l.r(i.B), l.r(i.A), l.r(i.Dst)) },
	asm.OpVAnd: func(l *lowerer, i *asm.Inst) {
		if l.wide {
			l.ctx.VPANDD(l.r(i.B), l.r(i.A), l.r(i.Dst))
		} else {
			l.ctx.VPAND(l.r(i.B), l.r(i.A), l.r(i.Dst))
		}
	},
	asm.OpVShlI: func(l *lowerer, i *asm.Inst) {
		l.ctx.VPSLLD(operand.U8(uint8(i.Imm)), l.r(i.A), l.r(i.Dst))
	},
	asm.OpVShrI: func(l *lowerer, i *asm.Inst) {
		l.ctx.VPSRLD(operand.U8(uint8(i.Imm)), l.r(i.A), l.r(i.Dst))
	},
	asm.OpVSarI: func(l *lowerer, i *asm.Inst) {
		l.ctx.VPSRAD(operand.U8(uint8(i.Imm)), l.r(i.A), l.r(i.Dst))
	},
}
