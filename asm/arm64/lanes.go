package arm64

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
)

// This file lowers the ops that move values between lanes, and those on a part of
// a vector.

// bcast repeats a float32. Where it only multiplies, it stays in one lane of a
// register, which it may share with its neighbours in memory.
func (l *lowerer) bcast(n int, i *asm.Inst) {
	if e, ok := l.uses.elements[n]; ok {
		if e.lane == 0 {
			t := l.vec()
			switch e.count {
			case 4:
				l.access("ldr.q", 16, t, i.Mem)
			case 2:
				l.access("ldr.d", 8, t, i.Mem)
			default:
				l.access("ldr.s", 4, t, i.Mem)
			}
			l.loaded[n] = t
		}
		l.lanes[i.Dst] = element{l.loaded[e.first], e.lane}
		return
	}
	delete(l.lanes, i.Dst)
	d := l.r(i.Dst)
	if base, disp := l.place(i.Mem); disp == 0 {
		l.emit("ld1r.4s", d, base)
		return
	}
	l.access("ldr.s", 4, d, i.Mem)
	l.emit("dup.4s", d, d, 0)
}

// fma multiplies and adds; one of the factors may be in one lane.
func (l *lowerer) fma(i *asm.Inst) {
	x, y := i.A, i.B
	if i.Op == asm.OpFMAMem {
		y = i.A
	} else if _, ok := l.lanes[x]; ok {
		x, y = y, x
	}
	var from int64
	if i.Op == asm.OpFMAMem {
		from = l.vec()
		l.access("ldr.q", 16, from, i.Mem)
	} else {
		from = l.r(x)
	}
	if e, ok := l.lanes[y]; ok {
		l.emit("fmla.4s[]", l.r(i.Dst), from, e.reg, e.lane)
	} else {
		l.emit("fmla.4s", l.r(i.Dst), from, l.r(y))
	}
}

// choose is the greater or lesser of A and B, B where they do not compare: what
// the machine's own maximum is not, which makes NaNs of NaNs and +0 of -0 and +0.
func (l *lowerer) choose(i *asm.Inst) {
	a, b, t := l.r(i.A), l.r(i.B), l.vec()
	if i.Op == asm.OpVMax {
		l.emit("fcmgt.4s", t, a, b)
	} else {
		l.emit("fcmgt.4s", t, b, a)
	}
	if i.Dst == i.B {
		l.emit("bit.16b", b, a, t)
		return
	}
	d := l.vec()
	l.emit("mov.v", d, b)
	l.emit("bit.16b", d, a, t)
	l.become(i.Dst, d)
}

func (l *lowerer) bcastN(i *asm.Inst) error {
	switch d := l.r(i.Dst); i.Imm {
	case 2:
		if base, disp := l.place(i.Mem); disp == 0 {
			l.emit("ld1r.2d", d, base)
			return nil
		}
		l.access("ldr.d", 8, d, i.Mem)
		l.emit("dup.2d", d, d, 0)
	case 4:
		l.access("ldr.q", 16, d, i.Mem)
	default:
		return fmt.Errorf("no broadcast of %d float32", i.Imm)
	}
	return nil
}

// accessMask loads or stores as many lanes as the mask says, one by one unless it
// is all.
func (l *lowerer) accessMask(i *asm.Inst) {
	reg, all, first, other := i.A, "str.q", "str.s", "st1.s[]"
	load := i.Op == asm.OpLoadMask
	if load {
		reg, all, first, other = i.Dst, "ldr.q", "ldr.s", "ld1.s[]"
	}
	full, end := l.newLabel("full"), l.newLabel("end")
	v, k, base := l.r(reg), l.r(i.Mask), l.at(i.Mem)
	l.compare(k, 4)
	l.emitAt("b.ge", full)
	if load {
		l.emit("movi.0", v)
	}
	for lane := range int64(3) {
		l.compare(k, lane)
		l.emitAt("b.le", end)
		if lane == 0 {
			l.emit(first, v, base, 0)
		} else {
			l.emit(other, v, lane, l.moved(base, 4*lane))
		}
	}
	l.emitAt("b", end)
	l.label(full)
	l.emit(all, v, base, 0)
	l.label(end)
	l.forget()
}

// selector is an index vector, and how many of its values differ.
type selector struct {
	idx asm.Reg
	of  int64
}

// selectLanes picks lane by lane from a table of Imm float32. The machine looks
// up bytes: those of lane l's float32 are 4*idx to 4*idx+3. Tables of several
// registers are in the highest ones, because a look-up takes them in a row.
func (l *lowerer) selectLanes(i *asm.Inst) error {
	lanes := int64(l.f.Machine.Lanes)
	if want := max(1, i.Imm/lanes); int64(len(i.Vs)) != want || i.Imm < 2 || i.Imm > 32 || i.Imm&(i.Imm-1) != 0 {
		return fmt.Errorf("no select from %d float32 in %d registers", i.Imm, len(i.Vs))
	}
	s := selector{i.A, i.Imm}
	bytes, ok := l.indices[s]
	if !ok {
		bytes = l.vec()
		t := l.vec()
		rest := 32 - int64(bits.TrailingZeros(uint(i.Imm)))
		l.emit("shl.4s", t, l.r(i.A), rest)
		l.emit("ushr.4s", t, t, rest)
		l.emit("mov.v", bytes, l.constant(0x03020100))
		l.emit("mla.4s", bytes, t, l.constant(0x04040404))
		l.indices[s] = bytes
	}
	if len(i.Vs) > 1 {
		for k, v := range i.Vs {
			l.fixed[l.r(v)] = vectors - int64(len(i.Vs)) + int64(k)
		}
	}
	d, first := l.r(i.Dst), l.r(i.Vs[0])
	switch len(i.Vs) {
	case 1:
		l.emit("tbl.1", d, first, bytes)
	case 2:
		l.emitList("tbl.2", i.Vs[1:], d, first, bytes)
	case 4:
		l.emitList("tbl.4", i.Vs[1:], d, first, bytes)
	default: // what is not in a table leaves its byte 0, or as it is
		t := l.vec()
		l.emitList("tbl.4", i.Vs[1:4], d, first, bytes)
		l.emit("sub.16b", t, bytes, l.constant(0x40404040))
		l.emitList("tbx.4", i.Vs[5:], d, l.r(i.Vs[4]), t)
	}
	return nil
}

// emitList is emit for a form that reads the registers rest besides.
func (l *lowerer) emitList(name string, rest []asm.Reg, values ...int64) {
	l.emit(name, values...)
	last := &l.out[len(l.out)-1]
	for _, v := range rest {
		last.reads = append(last.reads, l.r(v))
	}
}

// expand places consecutive values into the lanes whose bit is set: row b of the
// table names the bytes of each.
func (l *lowerer) expand(i *asm.Inst) {
	t := l.vec()
	l.emit("ldr.qx16", t, l.r(i.Vs[0]), l.r(i.A))
	d := l.r(i.Dst)
	l.access("ldr.q", 16, d, i.Mem)
	l.emit("tbl.1", d, d, t)
}

func (l *lowerer) transpose(i *asm.Inst) error {
	if len(i.Vs) != l.f.Machine.Lanes {
		return fmt.Errorf("transpose needs %d registers", l.f.Machine.Lanes)
	}
	var r, t [4]int64
	for k, v := range i.Vs {
		r[k], t[k] = l.r(v), l.vec()
	}
	for k := 0; k < 4; k += 2 {
		l.emit("trn1.4s", t[k], r[k], r[k+1])
		l.emit("trn2.4s", t[k+1], r[k], r[k+1])
	}
	for k := range 2 {
		l.emit("trn1.2d", r[k], t[k], t[2+k])
		l.emit("trn2.2d", r[2+k], t[k], t[2+k])
	}
	return nil
}

// constant is a vector of word that the whole function has.
func (l *lowerer) constant(word uint32) int64 {
	v, ok := l.constants[word]
	if !ok {
		v = l.vec()
		l.constants[word] = v
		l.loadConstant(&l.head, v, word)
	}
	return v
}

// loadConstant loads word, repeated, from the file's table: one instruction that
// occupies no unit that computes.
func (l *lowerer) loadConstant(list *[]inst, d int64, word uint32) {
	if l.base == 0 {
		l.base = l.integer()
		l.emitTo(&l.head, "adr", l.data.need(constantTable), l.base, 0)
	}
	l.emitTo(list, "ldr.q", "", d, l.base, l.data.constant(word))
}
