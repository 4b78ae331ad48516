package kernels

import "github.com/sparsegen/sparsegen/ptx"

// openBarrier makes the barrier on which the block waits for the sums of its
// cluster, and tells the cluster.
func (g *gemv) openBarrier() {
	k := g.k
	k.If(k.SetP("eq", k.TidX(), 0), func() {
		k.Emit("mbarrier.init.shared::cta.b64", ptx.At(g.base, g.shared.barrier), ptx.Int(1))
		k.Emit("fence.mbarrier_init.release.cluster")
		k.Emit("mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, ptx.At(g.base, g.shared.barrier), ptx.Int(int64(4*g.Tokens*g.outputs())))
	})
	k.Emit("barrier.cluster.arrive.relaxed.aligned")
}

// vectors is how many vectors of four sums a lane has for a token.
func (g *gemv) vectors() int { return g.perLane() / 4 }

// share is how many outputs of the tile this block finishes.
func (g *gemv) share() int {
	if g.clustered() {
		return g.outputs() / g.Split
	}
	return g.outputs()
}

// combine adds up the sums of lanes, warps and slices, each in a fixed order, and
// stores the results.
func (g *gemv) combine() {
	k := g.k
	k.Comment("sums of the block")
	for _, acc := range g.acc {
		for d := g.Lanes; d < 32; d *= 2 {
			for _, a := range acc {
				k.Mov(a, k.Add(a, g.fromLane(a, d)))
			}
		}
	}
	// One warp has no list to leave behind, but reads what its lanes wrote.
	k.Emit("bar.sync", ptx.Int(0))
	units := g.Tokens * g.vectors() * g.Lanes // of four sums
	store := func() {
		at := k.Add(k.Mad(g.warp, units*16, g.base), k.Mul(g.lane, 16))
		for t, acc := range g.acc {
			for v := range g.vectors() {
				k.Emit("st.shared.v4.f32", ptx.At(at, g.shared.sums+(t*g.vectors()+v)*g.Lanes*16), ptx.Vec(acc[4*v:4*v+4]...))
			}
		}
	}
	if g.groups() == 1 {
		store()
	} else {
		k.If(k.SetP("lt", g.lane, g.Lanes), store)
	}
	k.Emit("bar.sync", ptx.Int(0))
	if g.clustered() {
		k.Emit("barrier.cluster.wait.acquire.aligned")
	}
	g.overThreads(units, func(unit ptx.Reg) {
		at := k.Mad(unit, 16, g.base)
		sum := k.Regs(ptx.F32, 4)
		k.Emit("ld.shared.v4.f32", ptx.Vec(sum...), ptx.At(at, g.shared.sums))
		for w := 1; w < g.Warps; w++ {
			v := k.Regs(ptx.F32, 4)
			k.Emit("ld.shared.v4.f32", ptx.Vec(v...), ptx.At(at, g.shared.sums+w*units*16))
			for i := range sum {
				k.Mov(sum[i], k.Add(sum[i], v[i]))
			}
		}
		v := k.Div(unit, g.Lanes)
		column := k.Mad(k.Rem(v, g.vectors()), 4, k.Mul(k.Rem(unit, g.Lanes), g.perLane()))
		g.deliver(sum, k.Div(v, g.vectors()), column)
	})
	switch {
	case g.clustered():
		k.Comment("all slices have arrived")
		k.Loop(func(l *ptx.LoopCtl) {
			done := k.Reg(ptx.Pred)
			k.Emit("mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", done, ptx.At(g.base, g.shared.barrier), ptx.Int(0))
			l.BreakIf(done)
		})
		g.finish(func(t, c ptx.Reg, r int) ptx.Reg { return g.slot(t, c, r) })
	case g.Split > 1:
		g.partials.arrive(func() {
			g.finish(func(t, c ptx.Reg, r int) ptx.Reg {
				return g.partials.load(k.Const(ptx.U32, r), k.Mad(t, g.outputs(), c), ptx.F32, 1)[0]
			})
		})
	default:
		k.Emit("bar.sync", ptx.Int(0))
		g.finish(func(t, c ptx.Reg, r int) ptx.Reg { return g.slot(t, c, r) })
	}
}

// fromLane returns the register of the lane whose number differs in bit d.
func (g *gemv) fromLane(v ptx.Reg, d int) ptx.Reg {
	o := g.k.Reg(ptx.F32)
	g.k.Emit("shfl.sync.bfly.b32", o, v, ptx.Int(int64(d)), ptx.Int(31), ptx.Int(-1))
	return o
}

// overThreads deals n pieces of work out to the block's threads.
func (g *gemv) overThreads(n int, body func(i ptx.Reg)) {
	k := g.k
	for first := 0; first < n; first += g.threads() {
		i := k.Add(k.TidX(), first)
		if first+g.threads() <= n {
			body(i)
			continue
		}
		k.If(k.SetP("lt", i, n), func() { body(i) })
	}
}

// deliver sends four sums of a token, from a column of the tile on, to where they
// are finished.
func (g *gemv) deliver(sum []ptx.Reg, token, column ptx.Reg) {
	k := g.k
	if g.Split > 1 && !g.clustered() {
		g.partials.store(g.rank, k.Mad(token, g.outputs(), column), sum)
		return
	}
	share := g.share()
	if !g.clustered() {
		k.Emit("st.shared.v4.f32", ptx.At(k.Mad(k.Mad(token, share, column), 4, g.base), g.shared.slots), ptx.Vec(sum...))
		return
	}
	owner := k.Div(column, share)
	slot := k.Mad(k.Mad(g.rank, g.Tokens, token), share, k.Rem(column, share))
	remote := func(at ptx.Reg) ptx.Reg {
		r := k.Reg(ptx.U32)
		k.Emit("mapa.shared::cluster.u32", r, at, owner)
		return r
	}
	k.Emit("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32",
		ptx.At(remote(k.Add(k.Mad(slot, 4, g.base), g.shared.slots)), 0), ptx.Vec(sum...), ptx.At(remote(k.Add(g.base, g.shared.barrier)), 0))
}

// slot reads the sum of slice r for a token and an output of the share.
func (g *gemv) slot(token, output ptx.Reg, r int) ptx.Reg {
	k := g.k
	v := k.Reg(ptx.F32)
	at := k.Mad(k.Mad(token, g.share(), output), 4, g.base)
	k.Emit("ld.shared.f32", v, ptx.At(at, g.shared.slots+4*r*g.Tokens*g.share()))
	return v
}

// finish adds the slices' sums of the outputs that are the block's, and bias, and
// stores the activation of the result.
func (g *gemv) finish(sum func(token, output ptx.Reg, slice int) ptx.Reg) {
	k := g.k
	share := g.share()
	slices := 1
	if g.Split > 1 {
		slices = g.Split
	}
	g.overThreads(g.Tokens*share, func(i ptx.Reg) {
		token, output := k.Div(i, share), k.Rem(i, share)
		column := k.Mad(g.tile, g.outputs(), output)
		if g.clustered() {
			column = k.Mad(g.rank, share, column)
		}
		k.If(k.SetP("lt", column, g.out), func() {
			parts := make([]ptx.Reg, slices)
			for r := range parts {
				parts[r] = sum(token, output, r)
			}
			v := parts[0]
			for _, p := range parts[1:] {
				v = k.Add(v, p)
			}
			if g.Bias {
				b := k.Reg(ptx.F32)
				k.Emit("ld.global.nc.f32", b, ptx.At(g.element(g.bias, column, 4), 0))
				v = k.Add(v, b)
			}
			v = g.Activation.apply(k, v)
			at := column
			if g.Tokens > 1 {
				at = k.Mad(token, g.yPitch, column)
			}
			k.Emit("st.global."+memory(g.Y), ptx.At(g.element(g.y, at, g.Y.Size()), 0), narrow(k, g.Y, v))
		})
	})
}

// sharedLimit is the dynamic shared memory that a block may have, in bytes.
func sharedLimit(t ptx.Target) int {
	switch {
	case t.Has(ptx.SM90()):
		return 227 << 10
	case t.Has(ptx.SM89()):
		return 99 << 10
	}
	return 163 << 10
}
