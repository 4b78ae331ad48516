package ptx_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
)

var update = flag.Bool("update", false, "rewrite testdata with what is printed now")

// goldens are small kernels, each printed into testdata/NAME.txtar.
var goldens = map[string]func() *ptx.Module{
	"saxpy":      saxpy,
	"mmasp":      mmaSparse,
	"wgmma":      wgmmaDrain,
	"structure":  structure,
	"folding":    folding,
	"twokernels": twoKernels,
}

func TestGolden(t *testing.T) {
	for name, build := range goldens {
		t.Run(name, func(t *testing.T) {
			m := build()
			text, err := m.Text()
			require.NoError(t, err)
			again, err := build().Text()
			require.NoError(t, err)
			require.Equal(t, text, again, "two builds differ")
			second, err := m.Text()
			require.NoError(t, err)
			require.Equal(t, text, second, "Text changes the module")

			path := filepath.Join("testdata", name+".txtar")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				a := &txtar.Archive{
					Comment: []byte("# written by go test ./ptx -run Golden -update\n"),
					Files:   []txtar.File{{Name: "kernel.ptx", Data: []byte(text)}},
				}
				require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
			}
			a, err := txtar.ParseFile(path)
			require.NoError(t, err)
			require.Equal(t, string(a.Files[0].Data), text)
			ptxtest.AssembleClean(t, text, m.Target())
		})
	}
}

// saxpy is y[i] = alpha*x[i] + y[i] in a grid-stride loop.
func saxpy() *ptx.Module {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("saxpy")
	k.Threads(256)
	k.MaxRegs(64)
	px, py, pn, pa := k.ParamU64("x"), k.ParamU64("y"), k.ParamU32("n"), k.ParamF32("alpha")
	k.Comment("y = alpha x + y, %d threads a block", 256)
	first := k.Mad(k.CtaX(), 256, k.TidX())
	k.For(first, k.LoadParam(pn), k.Mul(k.NCtaX(), 256), func(i ptx.Reg) {
		x, y := k.MadWide(i, 4, k.LoadParam(px)), k.MadWide(i, 4, k.LoadParam(py))
		v := k.Mad(k.Op(ptx.F32, "ld.global.nc.f32", ptx.At(x, 0)), k.LoadParam(pa), k.Op(ptx.F32, "ld.global.f32", ptx.At(y, 0)))
		k.Emit("st.global.f32", ptx.At(y, 0), v)
	})
	return m
}

// mmaSparse is one warp's 2:4 product through cp.async, ldmatrix and mma.sp.
func mmaSparse() *ptx.Module {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("mmasp")
	k.Threads(32)
	a, e, y := k.ParamU64("a"), k.ParamU64("e"), k.ParamU64("y")
	tile := k.StaticShared("tile", 128, 2048)
	lane := k.LaneID()
	at := k.Mad(lane, 16, k.SharedAddr(tile))
	from := k.MadWide(lane, 16, k.LoadParam(a))
	k.Emit("cp.async.cg.shared.global", ptx.At(at, 0), ptx.At(from, 0), 16)
	k.Emit("cp.async.cg.shared.global.L2::128B", ptx.At(at, 512), ptx.At(from, 512), 16, k.Select(k.SetP("lt", lane, 16), 16, 0))
	k.Emit("cp.async.commit_group")
	k.Emit("cp.async.wait_group", 0)
	k.Emit("bar.warp.sync", 0xffffffff)
	fa := k.OpVec(ptx.B32, 4, "ldmatrix.sync.aligned.m8n8.x4.shared.b16", ptx.At(at, 0))
	fb := k.OpVec(ptx.B32, 4, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", ptx.At(at, 512))
	meta := k.Op(ptx.B32, "ld.global.nc.b32", ptx.At(k.MadWide(lane, 4, k.LoadParam(e)), 0))
	acc := k.Regs(ptx.F32, 4)
	for _, r := range acc {
		k.Mov(r, 0)
	}
	for sel := range 2 {
		k.Emit("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32",
			ptx.Vec(acc...), ptx.Vec(fa...), ptx.Vec(fb...), ptx.Vec(acc...), meta, sel)
	}
	k.Emit("st.global.v4.f32", ptx.At(k.MadWide(lane, 16, k.LoadParam(y)), 0), ptx.Vec(acc...))
	return m
}

// wgmmaDrain is the 2:4 main loop of Hopper in small: a producer warp fills one
// stage, a consumer warpgroup drains it.
func wgmmaDrain() *ptx.Module {
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel("drain")
	k.Threads(160)
	k.MinCTAs(1)
	k.Cluster(2)
	tmB, w, y, nk := k.ParamTensorMap("tm_b"), k.ParamU64("w"), k.ParamU64("y"), k.ParamU32("nk")
	smem := k.SharedAddr(k.DynamicShared("smem", 1024))
	full, empty := k.Add(smem, 32768), k.Add(smem, 32776)
	warp := k.Op(ptx.U32, "shfl.sync.idx.b32", k.Shr(k.TidX(), 5), 0, 31, 0xffffffff)
	k.If(k.SetP("eq", k.TidX(), 0), func() {
		k.Emit("prefetch.tensormap", ptx.At(k.ParamAddr(tmB), 0))
		k.Emit("mbarrier.init.shared::cta.b64", ptx.At(full, 0), 1)
		k.Emit("mbarrier.init.shared::cta.b64", ptx.At(empty, 0), 1)
		k.Emit("fence.mbarrier_init.release.cluster")
	})
	k.Emit("barrier.cluster.arrive.relaxed.aligned")
	k.Emit("barrier.cluster.wait.aligned")
	wait := func(bar, parity ptx.Reg) {
		k.RepeatUntil(func() ptx.Reg {
			return k.Op(ptx.Pred, "mbarrier.try_wait.parity.shared::cta.b64", ptx.At(bar, 0), parity)
		})
	}
	k.IfElse(k.SetP("eq", warp, 4), func() {
		k.Scope("producer", func() {
			one := k.Reg(ptx.Pred)
			k.Emit("elect.sync", ptx.Pair(ptx.Sink, one), 0xffffffff)
			k.If(one, func() {
				k.For(0, k.LoadParam(nk), 1, func(i ptx.Reg) {
					wait(empty, k.Xor(k.And(i, 1), 1))
					k.Emit("mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, ptx.At(full, 0), 4608+8192)
					k.Emit("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes",
						ptx.At(smem, 0), ptx.At(k.MadWide(i, 4608, k.LoadParam(w)), 0), 4608, ptx.At(full, 0))
					k.Emit("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes",
						ptx.At(smem, 8192), ptx.TMACoord(k.ParamAddr(tmB), k.Mul(i, 64), 0), ptx.At(full, 0))
				}, ptx.NoUnroll)
			})
		})
	}, func() {
		k.Scope("consumer", func() {
			acc := k.Regs(ptx.F32, 32)
			for _, r := range acc {
				k.Mov(r, 0)
			}
			meta := k.Reg(ptx.B32)
			desc := func(off, hi int) ptx.Reg {
				lo := k.Or(k.Op(ptx.U32, "bfe.u32", k.Add(smem, off), 4, 14), 0x10000)
				return k.Pack(lo, k.Const(ptx.U32, hi))
			}
			a, b := desc(0, 2<<30|32), desc(8192, 1<<30|64)
			k.For(0, k.LoadParam(nk), 1, func(i ptx.Reg) {
				wait(full, k.And(i, 1))
				k.Emit("ld.shared.b32", meta, ptx.At(k.Mad(k.TidX(), 4, smem), 4096))
				k.Emit("wgmma.fence.sync.aligned")
				k.Emit("wgmma.mma_async.sp.sync.aligned.m64n64k32.f32.bf16.bf16",
					ptx.Vec(acc...), a, b, meta, 0, true, 1, 1, 0, 0)
				k.Emit("wgmma.commit_group.sync.aligned")
				k.Emit("wgmma.wait_group.sync.aligned", 0)
				k.EmitIf(k.SetP("eq", k.TidX(), 0), "mbarrier.arrive.shared::cta.b64", ptx.Sink, ptx.At(empty, 0))
			})
			at := k.MadWide(k.TidX(), 128, k.LoadParam(y))
			for i := 0; i < len(acc); i += 4 {
				k.Emit("st.global.v4.f32", ptx.At(at, 4*i), ptx.Vec(acc[i:i+4]...))
			}
		})
	})
	k.Emit("barrier.cluster.arrive")
	k.Emit("barrier.cluster.wait")
	return m
}

// structure has every form of control.
func structure() *ptx.Module {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("structure")
	p, n := k.ParamU64("p"), k.ParamU32("n")
	out := k.NewLabel("out")
	sum := k.Var(ptx.U32, 0)
	add := func(v any) { k.Mov(sum, k.Add(sum, v)) }
	k.BraIf(k.SetP("eq", k.LoadParam(n), 0), out)
	k.IfElse(k.SetP("lt", k.TidX(), 16), func() { add(1) }, func() { add(2) })
	k.If(k.And(k.SetP("ge", k.TidX(), 4), k.Not(k.SetP("gt", k.TidX(), 9))), func() { add(k.CtaX()) })
	k.Scope("a scope\nof two lines", func() {
		k.Loop(func(l *ptx.LoopCtl) {
			add(3)
			l.ContinueIf(k.SetP("lt", sum, 20))
			l.BreakIf(k.SetP("gt", sum, 100))
			add(5)
		})
	})
	k.While(func() ptx.Reg { return k.SetP("lt", sum, 1000) }, func() { add(sum) })
	k.For(10, 20, 2, func(i ptx.Reg) { add(i) }, ptx.NoUnroll)
	k.For(20, 10, 2, func(i ptx.Reg) { add(i) })
	k.DoWhile(func() ptx.Reg { add(7); return k.SetP("ne", k.Rem(sum, 3), 0) })
	k.If(k.Const(ptx.Pred, true), func() { add(11) })
	k.If(k.Const(ptx.Pred, false), func() { add(12) })
	k.EmitUnless(k.SetP("eq", k.TidX(), 0), "st.global.u32", ptx.At(k.LoadParam(p), 0), sum)
	k.RetIf(k.SetP("eq", k.CtaX(), 3))
	k.Emit("st.global.u32", ptx.At(k.LoadParam(p), 4), sum)
	k.Label(out)
	return m
}

// folding shows what the helpers make of constants.
func folding() *ptx.Module {
	m := ptx.NewModule(ptx.SM80())
	k := m.Kernel("folding")
	out := k.LoadParam(k.ParamU64("out"))
	x := k.TidX()
	store := func(what string, vs ...ptx.Reg) {
		k.Comment("%s", what)
		for _, v := range vs {
			k.Emit("st.global.b32", ptx.At(out, 0), v)
		}
	}
	store("constants only", k.Add(k.Const(ptx.U32, 40), 2), k.Shl(k.Const(ptx.U32, 1), 31), k.Sub(k.Const(ptx.U32, 1), 2), k.Mul(k.Const(ptx.F32, 1.5), 2))
	store("x itself", k.Add(x, 0), k.Mul(x, 1), k.Shr(x, 0), k.Or(x, 0))
	store("shifts and masks", k.Mul(x, 64), k.Div(x, 32), k.Rem(x, 32))
	store("signed division stays", k.Div(k.As(ptx.S32, x), 32))
	store("a multiply-add of constants", k.Mad(3, 4, x), k.Mad(x, 1, 8), k.Mad(x, 0, 8))
	store("halves", k.Unpack(ptx.B32, k.Pack(x, k.Const(ptx.U32, 9)))...)
	store("a constant on the left", k.Select(k.SetP("gt", 7, x), 1, 2))
	store("conversions", k.Cvt(ptx.F32, x), k.Cvt(ptx.U32, k.Cvt(ptx.F32, x)), k.Cvt(ptx.U32, k.Cvt(ptx.U64, x)), k.Cvt(ptx.F32, k.Cvt(ptx.F16, k.Cvt(ptx.F32, x))))
	store("a float by its bits", k.Mad(k.Cvt(ptx.F32, x), 0.1, -2.5))
	return m
}

// twoKernels share the dynamic array; one raises the ISA.
func twoKernels() *ptx.Module {
	m := ptx.NewModule(ptx.SM90())
	for _, name := range []string{"first", "second"} {
		k := m.Kernel(name)
		s := k.SharedAddr(k.DynamicShared("smem", 128))
		k.Emit("st.shared.b32", ptx.At(s, 0), k.ClusterRank())
	}
	k := m.Kernel("third")
	k.Cluster(2, 1, 1)
	bar := k.StaticShared("bar", 8, 8)
	k.Emit("mbarrier.arrive.relaxed.cta.shared::cta.b64", ptx.Sink, ptx.AtShared(bar, 0))
	return m
}
