package ptx_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

// wg is a kernel with what a wgmma needs.
type wg struct {
	*ptx.Kernel
	m          *ptx.Module
	acc, a     []ptx.Reg
	desc, smem ptx.Reg
}

func newWG() *wg {
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel("hazard")
	k.Threads(128)
	k.MinCTAs(1)
	w := &wg{Kernel: k, m: m, smem: k.SharedAddr(k.DynamicShared("smem", 1024))}
	w.acc, w.a = k.Regs(ptx.F32, 4), k.Regs(ptx.B32, 4)
	for _, r := range w.acc {
		k.Mov(r, 0)
	}
	for _, r := range w.a {
		k.Mov(r, 0x3f803f80)
	}
	w.desc = k.Pack(k.Shr(w.smem, 4), k.Const(ptx.B32, 0x40000040))
	return w
}

func (w *wg) fence()     { w.Emit("wgmma.fence.sync.aligned") }
func (w *wg) commit()    { w.Emit("wgmma.commit_group.sync.aligned") }
func (w *wg) wait(n int) { w.Emit("wgmma.wait_group.sync.aligned", n) }
func (w *wg) load(e ptx.Reg) {
	w.Emit("ld.shared.b32", e, ptx.At(w.smem, 0))
}
func (w *wg) sparse(e ptx.Reg) {
	w.Emit("wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.bf16.bf16", ptx.Vec(w.acc...), w.desc, w.desc, e, 0, 1, 1, 1, 0, 0)
}
func (w *wg) dense() {
	w.Emit("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16", ptx.Vec(w.acc...), w.desc, w.desc, 1, 1, 1, 0, 0)
}
func (w *wg) rs() {
	w.Emit("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16", ptx.Vec(w.acc...), ptx.Vec(w.a...), w.desc, 1, 1, 1, 0)
}

// anchor keeps e alive: a store that never runs.
func (w *wg) anchor(never, e ptx.Reg) {
	w.EmitIf(never, "st.volatile.shared.b32", ptx.At(w.smem, 0), e)
}

func TestHazards(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(w *wg)
		want  string // part of the error; "" for none
	}{
		{"drained", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.For(0, 4, 1, func(ptx.Reg) { w.load(e); w.fence(); w.sparse(e); w.commit(); w.wait(0) })
		}, ""},
		{"metadata written before the wait", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.load(e)
			w.fence()
			w.sparse(e)
			w.commit()
			w.load(e)
			w.wait(0)
		}, "ld.shared.b32 writes %r7, the sparsity metadata of the wgmma at"},
		{"metadata written around the back edge", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.For(0, w.TidX(), 1, func(ptx.Reg) { w.load(e); w.fence(); w.sparse(e); w.commit(); w.wait(1) })
		}, "the sparsity metadata of the wgmma at"},
		{"metadata written, not yet committed", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.load(e)
			w.fence()
			w.sparse(e)
			w.wait(0) // retires nothing: there is no commit
			w.load(e)
		}, "the sparsity metadata"},
		{"two sets and anchors", func(w *wg) {
			e := w.Regs(ptx.B32, 2)
			never := w.SetP("eq", w.TidX(), -1)
			w.load(e[0])
			w.load(e[1])
			w.For(0, w.TidX(), 2, func(ptx.Reg) {
				for s := range e {
					w.load(e[s])
					w.fence()
					w.sparse(e[s])
					w.commit()
					w.wait(1)
					w.anchor(never, e[1-s])
				}
			})
			w.wait(0)
			w.anchor(never, e[0])
			w.anchor(never, e[1])
		}, ""},
		{"two sets without anchors", func(w *wg) {
			e := w.Regs(ptx.B32, 2)
			w.For(0, w.TidX(), 2, func(ptx.Reg) {
				for s := range e {
					w.load(e[s])
					w.fence()
					w.sparse(e[s])
					w.commit()
					w.wait(1)
				}
			})
			w.wait(0)
		}, "is in flight and not read again"},
		{"two sets, one wait too late", func(w *wg) {
			e := w.Regs(ptx.B32, 2)
			never := w.SetP("eq", w.TidX(), -1)
			w.load(e[1])
			w.For(0, w.TidX(), 2, func(ptx.Reg) {
				for s := range e {
					w.load(e[s])
					w.fence()
					w.sparse(e[s])
					w.commit()
					w.wait(2)
					w.anchor(never, e[1-s])
				}
			})
		}, "the sparsity metadata"},
		{"waited for on one path only", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.load(e)
			w.fence()
			w.sparse(e)
			w.commit()
			w.If(w.SetP("lt", w.TidX(), 64), func() { w.wait(0) })
			w.load(e)
		}, "the sparsity metadata"},
		{"predicated wait", func(w *wg) {
			e := w.Reg(ptx.B32)
			w.load(e)
			w.fence()
			w.sparse(e)
			w.commit()
			w.EmitIf(w.SetP("lt", w.TidX(), 64), "wgmma.wait_group.sync.aligned", 0)
			w.load(e)
		}, "the sparsity metadata"},
		{"fragment written before the wait", func(w *wg) {
			w.fence()
			w.rs()
			w.commit()
			w.Mov(w.a[2], 0)
			w.wait(0)
		}, "mov.b32 writes %r3, an A fragment of the wgmma at"},
		{"fragment written around the back edge", func(w *wg) {
			w.Loop(func(l *ptx.LoopCtl) {
				w.Emit("ldmatrix.sync.aligned.m8n8.x4.shared.b16", ptx.Vec(w.a...), ptx.At(w.smem, 0))
				w.fence()
				w.rs()
				w.commit()
				w.wait(1)
				l.BreakIf(w.SetP("eq", w.TidX(), 3))
			})
			w.wait(0)
		}, "an A fragment of the wgmma at"},
		{"accumulator read before the wait", func(w *wg) {
			w.fence()
			w.dense()
			w.commit()
			w.Add(w.acc[1], 1.0)
			w.wait(0)
		}, "add.f32 reads %f1, an accumulator of the wgmma at"},
		{"accumulator read between groups", func(w *wg) {
			w.fence()
			w.dense()
			w.commit()
			w.dense()
			w.commit()
			w.wait(1)
			w.Add(w.acc[1], 1.0)
		}, "an accumulator of the wgmma at"},
		{"accumulator zeroed before the wait", func(w *wg) {
			w.fence()
			w.dense()
			w.commit()
			w.Mov(w.acc[0], 0)
		}, "mov.f32 writes %f0, an accumulator"},
		{"accumulator kept over groups", func(w *wg) {
			w.fence()
			w.dense()
			w.commit()
			w.dense()
			w.commit()
			w.wait(0)
			w.Add(w.acc[1], 1.0)
		}, ""},
		{"accumulator reordered", func(w *wg) {
			w.fence()
			w.dense()
			w.acc[0], w.acc[1] = w.acc[1], w.acc[0]
			w.dense()
		}, "an accumulator of the wgmma at"},
		{"no fence", func(w *wg) { w.dense() }, "touched since the last wgmma.fence"},
		{"no fence after zeroing in the loop", func(w *wg) {
			w.fence()
			w.For(0, 3, 1, func(ptx.Reg) {
				w.dense()
				w.commit()
				w.wait(0)
				w.Mov(w.acc[3], 0)
			})
		}, "uses %f3, which was touched"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWG()
			c.build(w)
			_, err := w.m.Text()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Regexp(t, `ptx/hazard_test\.go:\d+: kernel hazard: `, strings.Split(err.Error(), "\n")[0])
		})
	}
}
