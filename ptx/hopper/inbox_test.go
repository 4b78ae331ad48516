package hopper

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// split is a kernel whose cluster adds up its accumulators, filled with Lead.
type split struct {
	cluster int
	columns int
	parts   func(*Ring, *TensorMap)
	collect func(*Inbox, *Warpgroup, *Acc)
	late    func(*Filling, *Part)
}

func (x split) text() (string, error) {
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel("split")
	c := New(k, 1, x.cluster)
	f := layout.Format{Size: 2, TileRows: 64, RowBytes: 128, StageBlocks: 1, Cluster: 1}
	weights := c.Pointer("weights", gpu.Weights, 0, 0)
	xm := c.TensorMap("x", gpu.MapSpec{DType: gpu.BF16, Of: gpu.X, Inner: gpu.QIn, Outer: gpu.QTokens, Box: [2]uint32{64, 16}, Swizzle: gpu.Swizzle128})
	steps := c.U32("steps", gpu.QSteps)
	ring := c.Ring("ring", 4)
	a := ring.Bulk("weights", f.BlockBytes(), f.Align())
	a.Once()
	b := ring.Tensor("activations", xm)
	if x.parts != nil {
		x.parts(ring, xm)
	}
	ring.Lay()
	inbox := c.Inbox(x.columns)
	c.LaunchDependents()
	c.Run(func(w *Warpgroup) {
		acc := w.Acc(16, gpu.BF16)
		p := &Product{Acc: acc, A: w.A(a, 0, f.Operand()), B: w.B(b), Type: gpu.BF16}
		w.Pipeline(p, w.Consumer(ring), Drain, nil).Run(w, steps)
		if x.collect != nil {
			x.collect(inbox, w, acc)
			return
		}
		inbox.Collect(w, acc, func() { k.Comment("the owner has the sum") })
	}, func(t *ProducerThread) {
		t.Producer(ring).Lead(steps, func(s *Filling, i ptx.Reg) {
			s.Bulk(a, k.MadWide(i, f.BlockBytes(), weights))
		}, c.Await, func(s *Filling, i ptx.Reg) {
			if x.late != nil {
				x.late(s, a)
				return
			}
			s.Tensor(b, k.Mul(i, 64), k.Const(ptx.U32, 0))
		})
	})
	return m.Text()
}

func TestInbox(t *testing.T) {
	for _, cluster := range []int{2, 4} {
		text, err := split{cluster: cluster, columns: 16}.text()
		require.NoError(t, err)
		require.Contains(t, text, "L2::cache_hint")
		require.NotContains(t, text, "barrier.cluster.wait.aligned", "nobody waits for the cluster before the sums")
		ptxtest.AssembleClean(t, text, ptx.SM90a())
	}
}

func TestInboxMisuse(t *testing.T) {
	for _, x := range []struct {
		want string
		s    split
	}{
		{"an inbox in a cluster of one", split{cluster: 1, columns: 16}},
		{"an accumulator of 16 columns for an inbox of 32", split{cluster: 2, columns: 32}},
		{"an inbox without Collect", split{cluster: 2, columns: 16, collect: func(*Inbox, *Warpgroup, *Acc) {}}},
		{"Collect twice", split{cluster: 2, columns: 16, collect: func(i *Inbox, w *Warpgroup, a *Acc) {
			i.Collect(w, a, func() {})
			i.Collect(w, a, func() {})
		}}},
		{"a multicast before the cluster's blocks meet", split{cluster: 2, columns: 16, parts: func(r *Ring, m *TensorMap) { r.TensorMulticast("more", m) }}},
		{"Once is of linear ones", split{cluster: 2, columns: 16, parts: func(r *Ring, m *TensorMap) { r.Tensor("more", m).Once() }}},
		{"a stage without activations never becomes full", split{cluster: 2, columns: 16, late: func(*Filling, *Part) {}}},
		{"weights copied twice in a stage", split{cluster: 2, columns: 16, late: func(s *Filling, a *Part) { s.Bulk(a, s.full) }}},
	} {
		_, err := x.s.text()
		require.ErrorContains(t, err, x.want)
	}
}
