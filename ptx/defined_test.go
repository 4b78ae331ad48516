package ptx_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

func TestReadBeforeWritten(t *testing.T) {
	for _, c := range []struct {
		name string
		ok   bool
		do   func(k *ptx.Kernel, r, p ptx.Reg)
	}{
		{"written", true, func(k *ptx.Kernel, r, p ptx.Reg) { k.Mov(r, 1); k.Add(r, 1) }},
		{"never written", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.Add(r, 1) }},
		{"written after", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.Add(r, 1); k.Mov(r, 1) }},
		{"written on one path", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.If(p, func() { k.Mov(r, 1) }); k.Add(r, 1) }},
		{"written on both paths", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.IfElse(p, func() { k.Mov(r, 1) }, func() { k.Mov(r, 2) })
			k.Add(r, 1)
		}},
		{"the other path returns", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.IfElse(p, func() { k.Mov(r, 1) }, func() { k.Ret() })
			k.Add(r, 1)
		}},
		{"the other path traps", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.IfElse(p, func() { k.Mov(r, 1) }, func() { k.Emit("trap") })
			k.Add(r, 1)
		}},
		{"the other path may trap", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.IfElse(p, func() { k.Mov(r, 1) }, func() { k.EmitIf(p, "trap") })
			k.Add(r, 1)
		}},
		{"in a loop that may not run", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.For(0, k.TidX(), 1, func(ptx.Reg) { k.Mov(r, 1) })
			k.Add(r, 1)
		}},
		{"in a loop that runs", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.For(0, 3, 1, func(ptx.Reg) { k.Mov(r, 1) })
			k.Add(r, 1)
		}},
		{"carried around a loop, first run bad", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.For(0, 3, 1, func(ptx.Reg) { k.Add(r, 1); k.Mov(r, 1) })
		}},
		{"broken out of", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.Loop(func(l *ptx.LoopCtl) { l.BreakIf(p); k.Mov(r, 1) })
			k.Add(r, 1)
		}},
		{"predicated", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.EmitIf(p, "mov.u32", r, 1); k.Add(r, 1) }},
		{"predicated both ways", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.EmitUnless(p, "mov.u32", r, 2)
			k.Add(r, 1)
		}},
		{"read under the same predicate", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.EmitIf(p, "st.shared.u32", ptx.At(k.TidX(), 0), r)
		}},
		{"read under the opposite predicate", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.EmitUnless(p, "st.shared.u32", ptx.At(k.TidX(), 0), r)
		}},
		{"the predicate changes", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.Emit("setp.eq.u32", p, k.TidX(), 7)
			k.EmitIf(p, "st.shared.u32", ptx.At(k.TidX(), 0), r)
		}},
		{"read where a branch says the predicate", true, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.If(p, func() { k.Add(r, 1) })
		}},
		{"read where a branch says the opposite", false, func(k *ptx.Kernel, r, p ptx.Reg) {
			k.EmitIf(p, "mov.u32", r, 1)
			k.IfElse(p, func() {}, func() { k.Add(r, 1) })
		}},
		{"any value will do", true, func(k *ptx.Kernel, r, p ptx.Reg) { k.Unspecified(r); k.Add(r, 1) }},
		{"read by itself", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.Mov(r, k.Add(r, 1)) }},
		{"an address", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.Emit("st.shared.u32", ptx.At(r, 0), 1) }},
		{"in code that never runs", true, func(k *ptx.Kernel, r, p ptx.Reg) { k.Ret(); k.Add(r, 1) }},
		{"a guard", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.EmitIf(k.Reg(ptx.Pred), "trap") }},
		{"a branch's guard", false, func(k *ptx.Kernel, r, p ptx.Reg) { k.If(k.Reg(ptx.Pred), func() {}) }},
		{"an accumulator", false, func(k *ptx.Kernel, r, p ptx.Reg) { wgmmaWith(k, 1) }},
		{"an accumulator that is not read", true, func(k *ptx.Kernel, r, p ptx.Reg) { wgmmaWith(k, 0) }},
		{"an accumulator read or not", false, func(k *ptx.Kernel, r, p ptx.Reg) { wgmmaWith(k, p) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ptx.NewModule(ptx.SM90a())
			k := m.Kernel("k")
			p := k.Reg(ptx.Pred)
			k.Emit("setp.lt.u32", p, k.TidX(), 5)
			c.do(k, k.Reg(ptx.U32), p)
			_, err := m.Text()
			if c.ok {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "before it is written on every path")
			}
		})
	}
}

func wgmmaWith(k *ptx.Kernel, scaleD any) {
	desc := k.Const(ptx.B64, 1<<40)
	k.Emit("wgmma.fence.sync.aligned")
	k.Emit("wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8", ptx.Vec(k.Regs(ptx.S32, 4)...), desc, desc, scaleD)
}
