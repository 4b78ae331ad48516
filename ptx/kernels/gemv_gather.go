package kernels

import "github.com/sparsegen/sparsegen/ptx"

// gather adds the rows of the list to the accumulators. A warp takes Rows entries
// (times groups of lanes) in a turn: first all inputs are read, then all rows
// requested, then all values read and multiplied. The warp barrier between the
// loads and the values, which are in shared memory, keeps the assembler from
// moving each load down to its products, which would leave one row in flight.
func (g *gemv) gather(total ptx.Reg) {
	k := g.k
	k.Comment("gather and multiply")
	// Entries left from the warp's own on, and where its lane's entry is. Both
	// move by a round, the places within the round are immediates.
	left := k.Var(ptx.S32, k.Sub(total, k.Mul(g.warp, g.groups())))
	own := k.Mad(g.warp, g.groups(), k.Div(g.lane, g.Lanes))
	index := k.Var(ptx.U32, k.Mad(own, 4, g.base))
	value := k.Var(ptx.U32, k.Mad(own, 4*g.stride(), g.base))
	loads := "ld.global.L1::no_allocate.L2::256B.v4.b32"
	if g.Lanes == 8 {
		loads = "ld.global.L1::no_allocate.L2::128B.v4.b32"
	}
	step := g.Warps * g.groups() // entries between a lane's rows
	k.While(func() ptx.Reg { return k.SetP("gt", left, 0) }, func() {
		mine := left
		if g.groups() > 1 {
			mine = k.Sub(left, k.Div(g.lane, g.Lanes))
		}
		inputs := k.Regs(ptx.U32, g.Rows)
		live := make([]ptx.Reg, g.Rows)
		rows := make([][]ptx.Reg, g.Rows)
		for r := range inputs {
			k.Emit("ld.shared.u32", inputs[r], ptx.At(index, g.shared.indices+4*r*step))
			live[r] = k.SetP("gt", mine, r*step)
		}
		for r := range rows {
			at := k.MadWide(inputs[r], g.wPitch, g.column)
			rows[r] = k.Regs(ptx.B32, 4)
			k.Unspecified(rows[r]...) // where the entry is beyond the list, so are the products
			k.EmitIf(live[r], loads, ptx.Vec(rows[r]...), ptx.At(at, 0))
		}
		k.Emit("bar.warp.sync", ptx.Int(-1))
		for r := range rows {
			xs := k.Regs(ptx.F32, g.stride())
			g.eachVector(func(first, n int) {
				k.Emit("ld.shared"+vector(n)+".f32", one(xs[first:first+n]), ptx.At(value, g.shared.values+4*(r*step*g.stride()+first)))
			})
			for w, word := range rows[r] {
				for i, weight := range widenWord(k, g.W, word) {
					for t := range g.Tokens {
						a := g.acc[t][w*4/g.W.Size()+i]
						k.EmitIf(live[r], "fma.rn.f32", a, weight, xs[t], a)
					}
				}
			}
		}
		k.Mov(left, k.Sub(left, g.round()))
		k.Mov(index, k.Add(index, 4*g.round()))
		k.Mov(value, k.Add(value, 4*g.stride()*g.round()))
	})
}
