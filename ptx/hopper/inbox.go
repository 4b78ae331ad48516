package hopper

import "github.com/sparsegen/sparsegen/ptx"

// Inbox adds up the accumulators of a cluster whose blocks each multiplied a part
// of K. Warpgroup i of all blocks has the same tile; the block whose rank is i
// modulo the cluster's size owns it. The others push their sums into the owner's
// shared memory, each to a place of its own, and are done; the owner adds them in
// the order of their ranks. Nobody waits but owners, for the bytes they need.
type Inbox struct {
	cta     *CTA
	columns int // of an accumulator
	at      Region
	full    Region // mbarriers, one for each owned warpgroup
}

// Inbox declares room for accumulators of n columns. The cluster's blocks then
// meet in Collect and not before, so nothing else may reach into a peer.
func (c *CTA) Inbox(n int) *Inbox {
	if c.cluster < 2 {
		c.K.Errorf("an inbox in a cluster of one")
	}
	x := &Inbox{cta: c, columns: n}
	owned := (c.consumers + c.cluster - 1) / c.cluster
	x.at = c.Shared("inbox", owned*(c.cluster-1)*x.bytes(), 16)
	x.full = c.mbarriers("inbox full", owned, 1)
	c.meetLate = true
	return x
}

// bytes is the size of one accumulator, [4 registers][128 threads].
func (x *Inbox) bytes() int { return 64 * x.columns * 4 }

// Owner returns the predicate that the block owns the warpgroup's tile.
func (x *Inbox) Owner(w *Warpgroup) ptx.Reg {
	k := x.cta.K
	return k.SetP("eq", k.Rem(w.Index, x.cta.cluster), x.cta.rank)
}

// Collect adds the sums of all blocks to the owner's accumulator, whose wgmmas
// have retired, and has the owner run then. Every consumer warpgroup calls it
// once.
func (x *Inbox) Collect(w *Warpgroup, acc *Acc, then func()) {
	c, k := x.cta, x.cta.K
	if acc.N != x.columns {
		k.Errorf("an accumulator of %d columns for an inbox of %d", acc.N, x.columns)
	}
	if c.met {
		k.Errorf("Collect twice")
	}
	c.met = true
	k.Comment("sums of the cluster")
	k.Emit("barrier.cluster.wait") // the peers' barriers are ready
	sums := acc.Regs()
	owned := k.Div(w.Index, c.cluster)
	full := k.Add(k.Mad(owned, 8, c.base), x.full.Offset)
	slots := k.Add(k.Mad(w.Thread, 16, k.Mad(owned, (c.cluster-1)*x.bytes(), c.base)), x.at.Offset)
	vec := "v4." + acc.Type.String()
	k.IfElse(x.Owner(w), func() {
		k.EmitIf(w.Leader, "mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, ptx.At(full, 0), ptx.Int(int64((c.cluster-1)*x.bytes())))
		// What peers wrote is acquired at the cluster's scope.
		k.RepeatUntil(func() ptx.Reg {
			done := k.Reg(ptx.Pred)
			k.Emit("mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", done, ptx.At(full, 0), ptx.Int(0))
			return done
		})
		for peer := range c.cluster - 1 {
			for i := 0; i < len(sums); i += 4 {
				v := k.Regs(acc.Type, 4)
				k.Emit("ld.shared."+vec, ptx.Vec(v...), ptx.At(slots, peer*x.bytes()+i/4*128*16))
				for j, s := range sums[i : i+4] {
					k.Emit("add."+acc.Type.String(), s, s, v[j])
				}
			}
		}
		then()
	}, func() {
		owner := k.Rem(w.Index, c.cluster)
		// Peers in order of rank, the owner left out.
		place := k.Sub(c.rank, k.Select(k.SetP("gt", c.rank, owner), k.Const(ptx.U32, 1), k.Const(ptx.U32, 0)))
		remote := func(at ptx.Reg) ptx.Reg {
			r := k.Reg(ptx.U32)
			k.Emit("mapa.shared::cluster.u32", r, at, owner)
			return r
		}
		to, bar := remote(k.Mad(place, x.bytes(), slots)), remote(full)
		for i := 0; i < len(sums); i += 4 {
			k.Emit("st.async.shared::cluster.mbarrier::complete_tx::bytes."+vec,
				ptx.At(to, i/4*128*16), ptx.Vec(sums[i:i+4]...), ptx.At(bar, 0))
		}
	})
}
