package arm64

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
)

// This file lowers what programs do with vectors whose length is known at run time
// only: the Scalable Vector Extension. Integers are as in every program.

// SVE is the machine of that extension: a register holds 4, 8, 16, 32 or 64
// float32.
var SVE = asm.Machine{Name: "sve", Regs: vectors, Scalable: true}

// all is the predicate of all lanes, which the whole function has.
func (l *lowerer) all() int64 {
	if l.everyLane == 0 {
		l.everyLane = l.fresh('P')
		l.emitTo(&l.head, "ptrue.s", "", l.everyLane)
	}
	return l.everyLane
}

// address is the address m in one register, which the block's other accesses to it
// share.
func (l *lowerer) address(m asm.Mem) int64 {
	if t, ok := l.sums[m]; ok {
		return t
	}
	t := l.at(m)
	l.sums[m] = t
	return t
}

// near is an address that a form with an offset from least to most, in steps, can
// reach.
func (l *lowerer) near(m asm.Mem, least, most, step int64) (base, disp int64) {
	base, disp = l.place(m)
	if disp < least || disp > most || disp%step != 0 {
		return l.moved(base, disp), 0
	}
	return base, disp
}

// accessVector loads or stores a vector, the lanes of mask k where there is one.
func (l *lowerer) accessVector(op string, reg int64, m asm.Mem, k asm.Reg) {
	n := int64(m.Vectors)
	m.Vectors = 0
	base := l.address(m)
	form, reach := op+"r.z", int64(256)
	if !k.IsZero() {
		form, reach = op+"1w", 8
	}
	for n < -reach || n >= reach {
		t, step := l.integer(), max(-32, min(31, n))
		l.emit("addvl", t, base, step)
		base, n = t, n-step
	}
	if k.IsZero() {
		l.emit(form, reg, base, n)
	} else {
		l.emit(form, reg, l.r(k), base, n)
	}
}

// scalableOps are the ops on vectors of any length, and the integer ones on their
// lengths.
var scalableOps = map[asm.Op]func(l *lowerer, n int, i *asm.Inst) error{
	asm.OpAddLanes: func(l *lowerer, _ int, i *asm.Inst) error {
		form, d, count := "incw", l.r(i.Dst), i.Imm
		if count < 0 {
			form, count = "decw", -count
		}
		for ; count > 0; count -= 16 {
			l.emit(form, d, min(16, count))
		}
		return nil
	},
	asm.OpAddVectors: func(l *lowerer, _ int, i *asm.Inst) error {
		for d, n := l.r(i.Dst), i.Imm; n != 0; {
			step := max(-32, min(31, n))
			l.emit("addvl", d, d, step)
			n -= step
		}
		return nil
	},
	asm.OpMaskFirst: func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit("whilelt.s", l.r(i.Dst), l.r(i.A))
		return nil
	},
	asm.OpZero: func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit("mov.z.i", l.r(i.Dst), 0)
		return nil
	},
	asm.OpVMov: func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit("mov.z", l.r(i.Dst), l.r(i.A))
		return nil
	},
	asm.OpLoad: func(l *lowerer, _ int, i *asm.Inst) error {
		l.accessVector("ld", l.r(i.Dst), i.Mem, asm.Reg{})
		return nil
	},
	asm.OpStore: func(l *lowerer, _ int, i *asm.Inst) error {
		l.accessVector("st", l.r(i.A), i.Mem, asm.Reg{})
		return nil
	},
	asm.OpLoadMask: func(l *lowerer, _ int, i *asm.Inst) error {
		l.accessVector("ld", l.r(i.Dst), i.Mem, i.Mask)
		return nil
	},
	asm.OpStoreMask: func(l *lowerer, _ int, i *asm.Inst) error {
		l.accessVector("st", l.r(i.A), i.Mem, i.Mask)
		return nil
	},
	asm.OpBcast: (*lowerer).bcastScalable,
	asm.OpBcastN: func(l *lowerer, _ int, i *asm.Inst) error {
		return l.repeat(l.r(i.Dst), i.Imm, i.Mem)
	},
	asm.OpBcastArg: func(l *lowerer, _ int, i *asm.Inst) error {
		d := l.r(i.Dst)
		l.emitAt("ldr.s.arg", l.arg(i.Name), d)
		l.emit("dup.z", d, d)
		return nil
	},
	asm.OpBcastConst: func(l *lowerer, _ int, i *asm.Inst) error {
		if l.words == 0 {
			l.words = l.integer()
			l.emitTo(&l.head, "adr", l.data.need(wordTable), l.words, 0)
		}
		base, at := l.words, l.data.word(uint32(i.Imm))
		if at >= 4*64 {
			base, at = l.moved(base, at), 0
		}
		l.emit("ld1rw", l.r(i.Dst), l.all(), base, at)
		return nil
	},
	asm.OpFMA: func(l *lowerer, _ int, i *asm.Inst) error {
		x, y := i.A, i.B
		if _, ok := l.lanes[x]; ok {
			x, y = y, x
		}
		l.multiplyAdd(l.r(i.Dst), l.r(x), y)
		return nil
	},
	asm.OpFMAMem: func(l *lowerer, _ int, i *asm.Inst) error {
		t := l.vec()
		l.accessVector("ld", t, i.Mem, i.Mask)
		l.multiplyAdd(l.r(i.Dst), t, i.A)
		return nil
	},
	asm.OpFMABcast: func(l *lowerer, _ int, i *asm.Inst) error {
		t := l.vec()
		if err := l.repeat(t, 1, i.Mem); err != nil {
			return err
		}
		l.emit("fmla.z", l.r(i.Dst), l.all(), l.r(i.A), t)
		return nil
	},
	asm.OpFMA213: func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit("fmad.z", l.r(i.Dst), l.all(), l.r(i.A), l.r(i.B))
		return nil
	},
	asm.OpVAdd:    threeScalable("fadd.z"),
	asm.OpVSub:    threeScalable("fsub.z"),
	asm.OpVMul:    threeScalable("fmul.z"),
	asm.OpVAddI32: threeScalable("add.z"),
	asm.OpVSubI32: threeScalable("sub.z"),
	asm.OpVAnd:    threeScalable("and.z"),
	asm.OpVShlI:   shiftScalable("lsl.z"),
	asm.OpVShrI:   shiftScalable("lsr.z"),
	asm.OpVSarI:   shiftScalable("asr.z"),
	asm.OpVDiv: func(l *lowerer, _ int, i *asm.Inst) error {
		if i.Dst == i.A {
			l.emit("fdiv.z", l.r(i.Dst), l.all(), l.r(i.B))
			return nil
		}
		t := l.vec()
		l.emit("mov.z", t, l.r(i.A))
		l.emit("fdiv.z", t, l.all(), l.r(i.B))
		l.become(i.Dst, t)
		return nil
	},
	// The greater or lesser as choose has it, and for its reasons.
	asm.OpVMax: func(l *lowerer, _ int, i *asm.Inst) error {
		return l.chooseScalable(i, l.r(i.A), l.r(i.B))
	},
	asm.OpVMin: func(l *lowerer, _ int, i *asm.Inst) error {
		return l.chooseScalable(i, l.r(i.B), l.r(i.A))
	},
	asm.OpSelect: (*lowerer).selectScalable,
}

func threeScalable(form string) func(*lowerer, int, *asm.Inst) error {
	return func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit(form, l.r(i.Dst), l.r(i.A), l.r(i.B))
		return nil
	}
}

func shiftScalable(form string) func(*lowerer, int, *asm.Inst) error {
	return func(l *lowerer, _ int, i *asm.Inst) error {
		l.emit(form, l.r(i.Dst), l.r(i.A), i.Imm)
		return nil
	}
}

// multiplyAdd adds x times y to d; y may be in one lane of each 128 bits.
func (l *lowerer) multiplyAdd(d, x int64, y asm.Reg) {
	if e, ok := l.lanes[y]; ok {
		l.emit("fmla.z[]", d, x, e.reg, e.lane)
	} else {
		l.emit("fmla.z", d, l.all(), x, l.r(y))
	}
}

// bcastScalable is bcast: two or four neighbours in memory share a register, in
// each 128 bits of which they are.
func (l *lowerer) bcastScalable(n int, i *asm.Inst) error {
	e, ok := l.uses.elements[n]
	if !ok || e.count == 1 {
		delete(l.lanes, i.Dst)
		return l.repeat(l.r(i.Dst), 1, i.Mem)
	}
	if e.lane == 0 {
		l.loaded[n] = l.vec()
		if err := l.repeat(l.loaded[n], int64(e.count), i.Mem); err != nil {
			return err
		}
	}
	l.lanes[i.Dst] = element{l.loaded[e.first], e.lane}
	return nil
}

// repeat loads n float32 as often as they fit.
func (l *lowerer) repeat(d, n int64, m asm.Mem) error {
	form, least, most := "", int64(0), int64(63)
	switch n {
	case 1:
		form = "ld1rw"
	case 2:
		form = "ld1rd"
	case 4:
		form, least, most = "ld1rqw", -8, 7
	default:
		return fmt.Errorf("no broadcast of %d float32", n)
	}
	base, disp := l.near(m, 4*n*least, 4*n*most, 4*n)
	l.emit(form, d, l.all(), base, disp)
	return nil
}

// chooseScalable is i.A where a > b, and i.B elsewhere.
func (l *lowerer) chooseScalable(i *asm.Inst, a, b int64) error {
	p := l.fresh('P')
	l.emit("fcmgt.z", p, l.all(), a, b)
	l.emit("sel.z", l.r(i.Dst), p, l.r(i.A), l.r(i.B))
	return nil
}

// selectScalable picks lane by lane from a table of Imm float32, which the shortest
// vector holds.
func (l *lowerer) selectScalable(_ int, i *asm.Inst) error {
	if len(i.Vs) != 1 || i.Imm != 2 && i.Imm != 4 {
		return fmt.Errorf("no select from %d float32 in %d registers", i.Imm, len(i.Vs))
	}
	s := selector{i.A, i.Imm}
	places, ok := l.indices[s]
	if !ok {
		places = l.vec()
		l.emit("and.z", places, l.r(i.A), l.small(i.Imm-1))
		l.indices[s] = places
	}
	l.emit("tbl.z", l.r(i.Dst), l.r(i.Vs[0]), places)
	return nil
}

// small is a vector of an integer that the whole function has.
func (l *lowerer) small(imm int64) int64 {
	v, ok := l.constants[uint32(imm)]
	if !ok {
		v = l.vec()
		l.constants[uint32(imm)] = v
		l.emitTo(&l.head, "mov.z.i", "", v, imm)
	}
	return v
}
