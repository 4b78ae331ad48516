package ptx_test

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

// Every misuse is one error with the position of the line that misused.
func TestMisuse(t *testing.T) {
	other := ptx.NewModule(ptx.SM90a()).Kernel("other")
	foreign := other.Reg(ptx.U32)
	const add, mov = "add.u32", "mov.b32"
	for _, c := range []struct {
		name string
		do   func(k *ptx.Kernel)
		want string
	}{
		{"unknown form", func(k *ptx.Kernel) { k.Emit("add.u33", k.Reg(ptx.U32), 1, 2) }, `no instruction "add.u33"; the nearest is add.`},
		{"unknown mnemonic", func(k *ptx.Kernel) { k.Emit("frobnicate") }, `no instruction "frobnicate"`},
		{"unknown shape", func(k *ptx.Kernel) { k.Emit("wgmma.mma_async.sync.aligned.m64n257k16.f32.bf16.bf16") }, `the nearest is wgmma.mma_async.sync.aligned.m64n`},
		{"integer shape", func(k *ptx.Kernel) { k.Emit("wgmma.mma_async.sync.aligned.m64n40k32.s32.s8.s8") }, `no instruction`},
		{"target", func(k *ptx.Kernel) { k.Emit("setmaxnreg.inc.sync.aligned.u32", 232) }, "setmaxnreg.inc.sync.aligned.u32 needs the target sm_90a; this module is for sm_80"},
		{"target of a special register", func(k *ptx.Kernel) { k.ClusterRank() }, "%cluster_ctarank needs the target sm_90"},
		{"target of a directive", func(k *ptx.Kernel) { k.Cluster(2) }, ".reqnctapercluster needs the target sm_90"},
		{"target of a parameter", func(k *ptx.Kernel) { k.ParamTensorMap("tm") }, "needs the target sm_90"},
		{"ISA", func(k *ptx.Kernel) {
			k.Module().PinISA(84)
			four := k.Regs(ptx.F32, 4)
			k.Emit("mma.sp::ordered_metadata.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", ptx.Vec(four...), ptx.Vec(k.Regs(ptx.B32, 2)...), ptx.Vec(k.Regs(ptx.B32, 2)...), ptx.Vec(four...), k.Reg(ptx.B32), 0)
		}, "needs PTX ISA 8.5; this module is pinned to 8.4"},
		{"too few operands", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U32), 1) }, "add.u32: 2 operands, want 3 (=u32 u32 u32)"},
		{"register class", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U32), k.Const(ptx.U32, 1), k.Var(ptx.F32, 1)) }, "operand 3: want u32, have %f0 of type f32"},
		{"width", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U64), 1, 2) }, "operand 1: want u32, have %rd0 of type u64"},
		{"predicate as integer", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U32), k.SetP("eq", k.TidX(), 0), 2) }, "operand 2: want u32"},
		{"immediate result", func(k *ptx.Kernel) { k.Emit(add, 1, 2, 3) }, "operand 1: want a register, have an immediate"},
		{"immediate too large", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U32), 1, 1<<32) }, "the immediate 4294967296 does not fit u32"},
		{"float for an integer", func(k *ptx.Kernel) { k.Emit(add, k.Reg(ptx.U32), 1, 2.5) }, "the immediate 2.5 does not fit u32"},
		{"immediate out of range", func(k *ptx.Kernel) { k.Emit("lop3.b32", k.Reg(ptx.B32), 1, 2, 3, 256) }, "operand 5: the immediate 256 is not in 0..255"},
		{"immediate out of a set", func(k *ptx.Kernel) {
			k.Emit("cp.async.ca.shared.global", ptx.At(k.TidX(), 0), ptx.At(k.Const(ptx.U64, 0), 0), 12)
		}, "operand 3: the immediate 12 is not one of [4 8 16]"},
		{"barrier number", func(k *ptx.Kernel) { k.Emit("bar.sync", 16) }, "the immediate 16 is no multiple of 1 in 0..15"},
		{"barrier threads", func(k *ptx.Kernel) { k.Emit("bar.sync", 1, k.Const(ptx.U32, 100)) }, "the immediate 100 is no multiple of 32 in 32..1024"},
		{"vector length", func(k *ptx.Kernel) {
			k.Emit("ld.global.v4.f32", ptx.Vec(k.Regs(ptx.F32, 3)...), ptx.At(k.Const(ptx.U64, 0), 0))
		}, "want a vector of 4 f32, have 3 registers"},
		{"vector element", func(k *ptx.Kernel) {
			k.Emit("ld.global.v2.f32", ptx.Vec(k.Reg(ptx.F32), k.Reg(ptx.U32)), ptx.At(k.Const(ptx.U64, 0), 0))
		}, "element 1: want f32"},
		{"element twice", func(k *ptx.Kernel) {
			r := k.Reg(ptx.F32)
			k.Emit("ld.global.v2.f32", ptx.Vec(r, r), ptx.At(k.Const(ptx.U64, 0), 0))
		}, "element 1: %f0 is written twice"},
		{"scalar for a vector", func(k *ptx.Kernel) { k.Emit("ld.shared.v2.f32", k.Reg(ptx.F32), ptx.At(k.TidX(), 0)) }, "want a vector of 2 f32, have one register"},
		{"global address of 32 bits", func(k *ptx.Kernel) { k.Emit("ld.global.f32", k.Reg(ptx.F32), ptx.At(k.TidX(), 0)) }, "operand 2: address: want b64"},
		{"offset", func(k *ptx.Kernel) { k.Emit("ld.shared.f32", k.Reg(ptx.F32), ptx.At(k.TidX(), 1<<31)) }, "the offset 2147483648 does not fit 32 bits"},
		{"no address", func(k *ptx.Kernel) { k.Emit("ld.shared.f32", k.Reg(ptx.F32), k.TidX()) }, "want an address"},
		{"state space", func(k *ptx.Kernel) {
			k.Emit("ld.global.f32", k.Reg(ptx.F32), ptx.AtShared(k.DynamicShared("s", 16), 0))
		}, "s is in another state space"},
		{"sink", func(k *ptx.Kernel) { k.Emit(add, ptx.Sink, 1, 2) }, "this operand cannot be _"},
		{"negation", func(k *ptx.Kernel) { k.Emit("mov.pred", k.Reg(ptx.Pred), ptx.Not(k.SetP("eq", k.TidX(), 1))) }, "cannot be negated"},
		{"pair", func(k *ptx.Kernel) { k.Emit(mov, ptx.Pair(k.Reg(ptx.B32), k.Reg(ptx.Pred)), 1) }, "no second, predicate part"},
		{"foreign register", func(k *ptx.Kernel) { k.Emit(mov, k.Reg(ptx.B32), foreign) }, "not a register of this kernel"},
		{"foreign operand of a helper", func(k *ptx.Kernel) { k.Add(foreign, 1) }, "add: an operand is no register of this kernel"},
		{"no register", func(k *ptx.Kernel) { k.Emit(mov, ptx.Reg{}, 1) }, "not a register of this kernel"},
		{"no operand", func(k *ptx.Kernel) { k.Emit(mov, k.Reg(ptx.B32), nil) }, "have nil"},
		{"odd operand", func(k *ptx.Kernel) { k.Emit(mov, k.Reg(ptx.B32), "x") }, "have a string"},
		{"write to a value", func(k *ptx.Kernel) { k.Mov(k.Add(k.TidX(), 1), 2) }, "is a value (made at ptx/misuse_test.go:"},
		{"write to a constant", func(k *ptx.Kernel) { k.Mov(k.Const(ptx.U32, 1), 2) }, "a constant cannot be written"},
		{"write to a counter", func(k *ptx.Kernel) { k.For(0, 4, 1, func(i ptx.Reg) { k.Mov(i, 2) }) }, "counts a loop"},
		{"guard", func(k *ptx.Kernel) { k.EmitIf(k.TidX(), "trap") }, "the predicate %r0 has the type u32"},
		{"no guard", func(k *ptx.Kernel) { k.If(ptx.Reg{}, func() {}) }, "the predicate is no register"},
		{"types of a helper", func(k *ptx.Kernel) { k.Add(k.TidX(), k.Var(ptx.F32, 1)) }, "add of a u32 and a f32"},
		{"signs of a helper", func(k *ptx.Kernel) { k.Min(k.TidX(), k.Var(ptx.S32, 1)) }, "min of a u32 and a s32: say which with As"},
		{"operand of a helper", func(k *ptx.Kernel) { k.Add(k.TidX(), "1") }, "add: an operand is a string"},
		{"shift", func(k *ptx.Kernel) { k.Shl(k.TidX(), 32) }, "shl of a u32 by 32 bits"},
		{"division", func(k *ptx.Kernel) { k.Div(k.TidX(), 0) }, "division by zero"},
		{"class of As", func(k *ptx.Kernel) { k.As(ptx.F32, k.TidX()) }, "not the same class of register"},
		{"step", func(k *ptx.Kernel) { k.For(0, 1, 0, func(ptx.Reg) {}) }, "For with the step 0"},
		{"label twice", func(k *ptx.Kernel) { l := k.NewLabel("l"); k.Label(l); k.Label(l) }, "the label $l_0 is placed twice"},
		{"label nowhere", func(k *ptx.Kernel) { k.Bra(k.NewLabel("l")) }, "branch to the label $l_0, which is not placed"},
		{"label in a scope", func(k *ptx.Kernel) {
			l := k.NewLabel("l")
			k.Scope("s", func() { k.Label(l) })
			k.Bra(l)
		}, "inside a scope that does not hold the branch"},
		{"register of a scope", func(k *ptx.Kernel) {
			var r ptx.Reg
			k.Scope("s", func() { r = k.Add(k.TidX(), 1) })
			k.Add(r, 1)
		}, "in a scope that is closed"},
		{"threads", func(k *ptx.Kernel) { k.Threads(1025) }, "each dimension is in 1..1024"},
		{"threads in all", func(k *ptx.Kernel) { k.Threads(64, 64) }, "4096 in all, more than 1024"},
		{"dimensions", func(k *ptx.Kernel) { k.Threads() }, "one to three dimensions"},
		{"CTAs", func(k *ptx.Kernel) { k.MinCTAs(0) }, "want 1..32"},
		{"registers", func(k *ptx.Kernel) { k.MaxRegs(300) }, "want 16..255"},
		{"parameter twice", func(k *ptx.Kernel) { k.ParamU32("x"); k.ParamU64("x") }, "second parameter of the name x"},
		{"parameter's name", func(k *ptx.Kernel) { k.ParamU32("a b") }, `parameter name "a b"`},
		{"parameter elsewhere", func(k *ptx.Kernel) { k.LoadParam(other.ParamU32("x")) }, "not a scalar parameter of the kernel"},
		{"alignment", func(k *ptx.Kernel) { k.DynamicShared("s", 24) }, "alignment 24"},
		{"array size", func(k *ptx.Kernel) { k.StaticShared("s", 16, 0) }, "shared array s of 0 bytes"},
		{"array twice", func(k *ptx.Kernel) { k.StaticShared("s", 16, 8); k.DynamicShared("s", 16) }, "second shared array of the name s"},
		{"read before written", func(k *ptx.Kernel) { k.Add(k.Reg(ptx.U32), 1) }, "%r0 is read (by add.u32) before it is written on every path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ptx.NewModule(ptx.SM80())
			c.do(m.Kernel("k"))
			text, err := m.Text()
			require.ErrorContains(t, err, c.want)
			require.Empty(t, text)
			first := strings.Split(err.Error(), "\n")[0]
			require.Regexp(t, regexp.MustCompile(`^ptx/misuse_test\.go:\d+: kernel k: `), first)
			var e *ptx.Error
			require.True(t, errors.As(err, &e))
			require.Equal(t, "k", e.Kernel)
		})
	}
}

// next is the position of the line after the call.
func next() string {
	_, _, line, _ := runtime.Caller(1)
	return fmt.Sprintf("ptx/misuse_test.go:%d: ", line+1)
}

func TestMisuseHasTheCallersLine(t *testing.T) {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("k")
	var want []string
	mark := func(pos string) { want = append(want, pos) }
	mark(next())
	k.Emit("add.u32")
	k.If(k.SetP("eq", k.TidX(), 0), func() {
		k.For(0, k.TidX(), 1, func(i ptx.Reg) {
			mark(next())
			k.Select(k.TidX(), 1, 2)
			k.Loop(func(l *ptx.LoopCtl) {
				mark(next())
				l.BreakIf(i)
			})
		})
	})
	mark(next())
	k.Emit("mov.u32", k.Reg(ptx.U32), 1.5)
	_, err := m.Text()
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, len(want), err)
	for i, pos := range want {
		require.True(t, strings.HasPrefix(lines[i], pos), "want %s, have %s", pos, lines[i])
	}
}

// One mistake in an unrolled loop is not a thousand errors.
func TestMisuseRepeatedIsReportedOnce(t *testing.T) {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("k")
	for range 1000 {
		k.Emit("add.u32", 1, 2, 3)
	}
	for i := range 1000 {
		k.Emit(fmt.Sprintf("no%d", i))
	}
	_, err := m.Text()
	require.Len(t, strings.Split(err.Error(), "\n"), 21)
	require.ErrorContains(t, err, "and 981 more")
}

func TestModuleMisuse(t *testing.T) {
	_, err := ptx.NewModule(ptx.SM80()).Text()
	require.ErrorContains(t, err, "a module without a kernel")
	_, err = ptx.NewModule(ptx.Target{SM: 35}).Text()
	require.ErrorContains(t, err, "target sm_35 is not one of")
	m := ptx.NewModule(ptx.SM80())
	m.Kernel("k")
	m.Kernel("k")
	_, err = m.Text()
	require.ErrorContains(t, err, `second kernel of the name "k"`)
	m = ptx.NewModule(ptx.SM80())
	m.Kernel("1k")
	_, err = m.Text()
	require.ErrorContains(t, err, `kernel name "1k" is not a PTX identifier`)
	m = ptx.NewModule(ptx.SM90a())
	m.Kernel("k")
	m.PinISA(78)
	_, err = m.Text()
	require.ErrorContains(t, err, "PTX ISA 7.8 does not have the target sm_90a, which came with 8.0")
	_, err = ptx.ParseTarget("sm_100")
	require.ErrorContains(t, err, `unknown target "sm_100"`)
	for _, target := range ptx.Targets() {
		got, err := ptx.ParseTarget(target.String())
		require.NoError(t, err)
		require.Equal(t, target, got)
	}
}
