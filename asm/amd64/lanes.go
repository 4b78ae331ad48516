package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/sparsegen/sparsegen/asm"
)

// This file lowers the ops that move values between lanes.

func (l *lowerer) bcastN(i *asm.Inst) error {
	c, m, d := l.ctx, l.mem(i.Mem), l.r(i.Dst)
	switch {
	case i.Imm == int64(l.f.Machine.Lanes):
		c.VMOVUPS(m, d)
	case i.Imm == 2:
		c.VBROADCASTSD(m, d)
	case i.Imm == 4 && l.wide:
		c.VBROADCASTF32X4(m, d)
	case i.Imm == 4:
		c.VBROADCASTF128(m, d)
	case i.Imm == 8 && l.wide:
		c.VBROADCASTF32X8(m, d)
	default:
		return fmt.Errorf("no broadcast of %d float32", i.Imm)
	}
	return nil
}

func (l *lowerer) maskFirst(i *asm.Inst) {
	c := l.ctx
	if l.wide {
		ones, bits := c.GP64(), c.GP64()
		c.MOVQ(operand.I32(-1), ones)
		c.BZHIQ(l.r(i.A), ones, bits)
		c.KMOVW(bits.As32(), l.r(i.Dst))
		return
	}
	// Eight words of ones, then eight of zeros: the window that begins at
	// 8-n has n ones.
	p, n := c.GP64(), c.GP64()
	c.LEAQ(l.data.ramp(c), p)
	c.MOVQ(l.r(i.A), n)
	c.NEGQ(n)
	c.VMOVUPS(operand.Mem{Base: p, Index: n, Scale: 4, Disp: 32}, l.r(i.Dst))
}

// selectLanes picks lane by lane from a table of Imm float32.
func (l *lowerer) selectLanes(i *asm.Inst) error {
	c, idx, d := l.ctx, l.r(i.A), l.r(i.Dst)
	lanes := l.f.Machine.Lanes
	if want := max(1, int(i.Imm)/lanes); len(i.Vs) != want {
		return fmt.Errorf("a table of %d float32 needs %d registers, got %d", i.Imm, want, len(i.Vs))
	}
	switch {
	case i.Imm == 2 || i.Imm == 4: // within 128-bit lanes, low two bits
		c.VPERMILPS(idx, l.r(i.Vs[0]), d)
	case int(i.Imm) <= lanes: // low three or four bits
		c.VPERMPS(l.r(i.Vs[0]), idx, d)
	case l.wide && i.Imm == 32: // low five bits
		c.VMOVAPS(idx, d)
		c.VPERMI2PS(l.r(i.Vs[1]), l.r(i.Vs[0]), d)
	case !l.wide && (i.Imm == 16 || i.Imm == 32):
		// Eight at a time, then blend on the next index bit moved to the sign.
		pair := func(lo, hi asm.Reg, out reg.Register) {
			t, s := l.vec(), l.vec()
			c.VPERMPS(l.r(lo), idx, out)
			c.VPERMPS(l.r(hi), idx, t)
			c.VPSLLD(operand.U8(28), idx, s)
			c.VBLENDVPS(s, t, out, out)
		}
		pair(i.Vs[0], i.Vs[1], d)
		if i.Imm == 32 {
			hi, s := l.vec(), l.vec()
			pair(i.Vs[2], i.Vs[3], hi)
			c.VPSLLD(operand.U8(27), idx, s)
			c.VBLENDVPS(s, hi, d, d)
		}
	default:
		return fmt.Errorf("no select from %d float32", i.Imm)
	}
	return nil
}

// expandInit loads what expandByte needs; EVEX machines need nothing.
func (l *lowerer) expandInit(i *asm.Inst) {
	if !l.wide {
		l.ctx.LEAQ(l.data.halves(l.ctx), l.r(i.Dst))
	}
}

// expand places consecutive values into the lanes whose bit is set.
func (l *lowerer) expand(i *asm.Inst) error {
	if !l.wide {
		return fmt.Errorf("for registers of 16 float32, not of %d", l.f.Machine.Lanes)
	}
	// On Zen 4 VEXPANDPS waits for its destination's old value: cut that.
	c, k, d := l.ctx, l.ctx.K(), l.r(i.Dst)
	c.VPXORD(d, d, d)
	c.KMOVW(l.gp(i.A).As32(), k)
	c.VEXPANDPS_Z(l.mem(i.Mem), k, d)
	return nil
}

// expandByte is expand for a byte among those of a mask. The values of the byte's
// lower four lanes end where those of the upper four begin. A vector loaded around
// that place has either in the half in which a shuffle needs them, which takes a
// quarter of the time of a permutation across lanes and makes the zeros besides.
func (l *lowerer) expandByte(i *asm.Inst) error {
	if l.wide {
		return fmt.Errorf("for registers of 8 float32, not of %d", l.f.Machine.Lanes)
	}
	c, d, mask := l.ctx, l.r(i.Dst), l.gp(i.A).As32()
	before := c.GP64()
	c.BZHIL(l.gp(i.B).As32(), mask, before.As32())
	c.POPCNTQ(before, before)
	values := l.mem(i.Mem)
	values.Index, values.Scale, values.Disp = before, 4, values.Disp-16
	c.VMOVUPS(values, d)
	row := c.GP64()
	c.RORXL(operand.U8(8*i.Imm-5)&31, mask, row.As32())
	c.ANDL(operand.I32(255*32), row.As32())
	c.VPSHUFB(operand.Mem{Base: l.r(i.Vs[0]), Index: row, Scale: 1}, d, d)
	return nil
}

// sumLow adds up eight lanes, halving them each time.
func (l *lowerer) sumLow(i *asm.Inst) {
	c, a, d, t := l.ctx, l.r(i.A).(reg.Vec), l.low(i.Dst), l.ctx.XMM()
	c.VEXTRACTF128(operand.U8(1), a.AsY(), t)
	c.VADDPS(t, a.AsX(), d)
	c.VMOVHLPS(d, d, t)
	c.VADDPS(t, d, d)
	c.VMOVSHDUP(d, t)
	c.VADDSS(t, d, d)
}

func (l *lowerer) transpose(i *asm.Inst) error {
	if len(i.Vs) != l.f.Machine.Lanes {
		return fmt.Errorf("transpose needs %d registers", l.f.Machine.Lanes)
	}
	r := make([]reg.Register, len(i.Vs))
	for k, v := range i.Vs {
		r[k] = l.r(v)
	}
	n := len(r)
	c := l.ctx
	// Within 128-bit lanes: 4x4 blocks transpose by two rounds of unpacking.
	t := make([]reg.Register, n)
	for k := range t {
		t[k] = l.vec()
	}
	for k := 0; k < n; k += 2 {
		c.VUNPCKLPS(r[k+1], r[k], t[k])
		c.VUNPCKHPS(r[k+1], r[k], t[k+1])
	}
	u := make([]reg.Register, n)
	for k := 0; k < n; k += 4 {
		for h := range 2 {
			lo, hi := l.vec(), l.vec()
			c.VUNPCKLPD(t[k+2+h], t[k+h], lo)
			c.VUNPCKHPD(t[k+2+h], t[k+h], hi)
			u[k+2*h], u[k+2*h+1] = lo, hi
		}
	}
	// u[4q+j] now holds, in each 128-bit lane g, column 4g+j of rows 4q..4q+3.
	if !l.wide {
		for j := range 4 {
			c.VPERM2F128(operand.U8(0x20), u[4+j], u[j], r[j])
			c.VPERM2F128(operand.U8(0x31), u[4+j], u[j], r[4+j])
		}
		return nil
	}
	for j := range 4 {
		a, b, e, f := l.vec(), l.vec(), l.vec(), l.vec()
		c.VSHUFF32X4(operand.U8(0x88), u[4+j], u[j], a) // lanes 0,2 of both
		c.VSHUFF32X4(operand.U8(0xdd), u[4+j], u[j], b) // lanes 1,3
		c.VSHUFF32X4(operand.U8(0x88), u[12+j], u[8+j], e)
		c.VSHUFF32X4(operand.U8(0xdd), u[12+j], u[8+j], f)
		c.VSHUFF32X4(operand.U8(0x88), e, a, r[j])
		c.VSHUFF32X4(operand.U8(0xdd), e, a, r[8+j])
		c.VSHUFF32X4(operand.U8(0x88), f, b, r[4+j])
		c.VSHUFF32X4(operand.U8(0xdd), f, b, r[12+j])
	}
	return nil
}
