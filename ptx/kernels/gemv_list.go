package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemv is a GEMV kernel while it is emitted.
type gemv struct {
	GEMV
	k      *ptx.Kernel
	shared gemvShared
	params params

	// Parameters.
	w, x, y, bias, thresholds ptx.Reg
	in, out, slice, wPitch    ptx.Reg // inputs, outputs, inputs a slice, bytes from one row of weights to the next
	xPitch, yPitch            ptx.Reg // elements from token to token
	threshold                 ptx.Reg
	partials                  *partials // with ByCounter

	base       ptx.Reg // of shared memory
	warp, lane ptx.Reg
	tile, rank ptx.Reg // which outputs, which slice of In
	column     ptx.Reg // address of the lane's 16 bytes of row 0
	acc        [][]ptx.Reg
}

func (g *gemv) emit() {
	k := g.k
	k.Threads(g.threads())
	if g.clustered() {
		k.Cluster(g.Split)
	}
	g.declare()
	g.base = k.SharedAddr(k.DynamicShared("shared_memory", 16))
	g.lane, g.warp = k.And(k.TidX(), 31), k.Shr(k.TidX(), 5)
	g.tile, g.rank = k.Div(k.CtaX(), g.Split), k.Rem(k.CtaX(), g.Split)
	if s := g.partials; s != nil {
		s.tile, s.tiles, s.flag = g.tile, k.Div(k.NCtaX(), g.Split), ptx.At(g.base, g.shared.counts)
	}
	if g.PDL {
		k.Emit("griddepcontrol.launch_dependents")
	}
	if g.clustered() {
		g.openBarrier()
	}
	// Lanes beyond the last output read its row's end again; nobody stores them.
	at := k.Add(k.Mul(g.tile, g.Lanes*16), k.Mul(k.Rem(g.lane, g.Lanes), 16))
	g.column = k.MadWide(k.Min(at, k.Sub(g.wPitch, 16)), 1, g.w)
	for range g.Tokens {
		acc := make([]ptx.Reg, g.perLane())
		for i := range acc {
			acc[i] = k.Var(ptx.F32, 0.0)
		}
		g.acc = append(g.acc, acc)
	}
	lo := k.Mul(g.rank, g.slice)
	hi := k.Min(k.Add(lo, g.slice), g.in)
	if g.PDL {
		k.Comment("activations are the predecessor's")
		k.Emit("griddepcontrol.wait")
	}
	k.For(lo, hi, g.threads()*g.Items, func(first ptx.Reg) {
		total := g.compact(first, hi)
		g.gather(total)
	})
	g.combine()
}

func (g *gemv) declare() {
	p := &g.params
	p.k = g.k
	g.w = p.pointer(gpu.Weights, 0, 0)
	g.x = p.pointer(gpu.X, g.X, gpu.QIn)
	g.y = p.pointer(gpu.Y, g.Y, gpu.QOut)
	if g.Bias {
		g.bias = p.pointer(gpu.Bias, gpu.F32, gpu.QOut)
	}
	if g.PerChannel {
		g.thresholds = p.pointer(gpu.Meta, gpu.F32, gpu.QIn)
	} else {
		g.threshold = p.f32("threshold", gpu.QThreshold)
	}
	if g.Combine == ByCounter && g.Split > 1 {
		g.partials = &partials{k: g.k, split: g.Split, sums: g.Tokens * g.outputs(), workspace: p.pointer(gpu.Workspace, 0, 0)}
	}
	g.in, g.out = p.u32("in", gpu.QIn), p.u32("out", gpu.QOut)
	g.slice, g.wPitch = p.u32("slice", gpu.QSlice), p.u32("w_pitch", gpu.QWeightPitch)
	if g.Tokens > 1 {
		g.xPitch, g.yPitch = p.u32("x_pitch", gpu.QXPitch), p.u32("y_pitch", gpu.QYPitch)
	}
}

// candidate is an input that a thread tests: its number, its values by token,
// zero where the token does not keep it, and its place in the warp's list.
type candidate struct {
	input  ptx.Reg
	values []ptx.Reg
	keep   ptx.Reg
	place  ptx.Reg
}

// compact writes the list of the active inputs from first on, a chunk of
// threads·Items, and returns its length. A warp tests consecutive inputs; the
// list is ordered by warp, item and lane, so that it does not depend on timing.
func (g *gemv) compact(first, hi ptx.Reg) (total ptx.Reg) {
	k := g.k
	k.Comment("list of the active inputs")
	candidates := g.test(first, hi)
	below := k.Sub(k.Shl(k.Const(ptx.U32, 1), g.lane), 1) // lanes below this one
	count := k.Var(ptx.U32, 0)
	for i := range candidates {
		c := &candidates[i]
		ballot := k.Reg(ptx.B32)
		k.Emit("vote.sync.ballot.b32", ballot, c.keep, ptx.Int(-1))
		c.place = k.Add(count, g.popc(k.And(ballot, below)))
		k.Mov(count, k.Add(count, g.popc(ballot)))
	}
	counts := k.Add(g.base, g.shared.counts)
	k.EmitIf(k.SetP("eq", g.lane, 0), "st.shared.u32", ptx.At(k.Mad(g.warp, 4, counts), 0), count)
	// Behind this barrier no warp reads the previous list any more either.
	k.Emit("bar.sync", ptx.Int(0))
	other := k.Var(ptx.U32, 0)
	k.EmitIf(k.SetP("lt", g.lane, g.Warps), "ld.shared.u32", other, ptx.At(k.Mad(g.lane, 4, counts), 0))
	total = g.sumLanes(other)
	before := g.sumLanes(k.Select(k.SetP("lt", g.lane, g.warp), other, k.Const(ptx.U32, 0)))
	for _, c := range candidates {
		place := k.Add(before, c.place)
		k.EmitIf(c.keep, "st.shared.u32", ptx.At(k.Mad(place, 4, g.base), g.shared.indices), c.input)
		at := k.Mad(place, 4*g.stride(), g.base)
		g.eachVector(func(first, n int) {
			vs := make([]ptx.Reg, n)
			for i := range vs {
				vs[i] = k.Var(ptx.F32, 0.0)
				if t := first + i; t < g.Tokens {
					vs[i] = c.values[t]
				}
			}
			k.EmitIf(c.keep, "st.shared"+vector(n)+".f32", ptx.At(at, g.shared.values+4*first), one(vs))
		})
	}
	k.Emit("bar.sync", ptx.Int(0))
	return total
}

// test loads a thread's candidates and compares them with the threshold; all
// loads are issued before the first is needed.
func (g *gemv) test(first, hi ptx.Reg) []candidate {
	k := g.k
	cs := make([]candidate, g.Items)
	raw := make([][]ptx.Reg, g.Items)
	thresholds := make([]ptx.Reg, g.Items)
	inside := make([]ptx.Reg, g.Items)
	start := k.Add(k.Mad(g.warp, 32*g.Items, first), g.lane)
	for i := range cs {
		c := &cs[i]
		c.input = k.Add(start, 32*i)
		inside[i] = k.SetP("lt", c.input, hi)
		for t := range g.Tokens {
			v, at := k.Reg(bits(g.X)), c.input
			if t > 0 {
				at = k.Mad(g.xPitch, t, at)
			}
			k.Mov(v, 0)
			// Not .nc: with PDL the predecessor writes it while this kernel runs.
			k.EmitIf(inside[i], "ld.global."+memory(g.X), v, ptx.At(g.element(g.x, at, g.X.Size()), 0))
			raw[i] = append(raw[i], v)
		}
		thresholds[i] = g.threshold
		if g.PerChannel {
			thresholds[i] = k.Var(ptx.F32, 0.0)
			k.EmitIf(inside[i], "ld.global.nc.f32", thresholds[i], ptx.At(g.element(g.thresholds, c.input, 4), 0))
		}
	}
	// The unordered comparisons keep a NaN.
	above := "setp.gtu.f32"
	if g.Inclusive {
		above = "setp.geu.f32"
	}
	for i := range cs {
		c := &cs[i]
		for t := range g.Tokens {
			v := widen(k, g.X, raw[i][t])
			p := k.Reg(ptx.Pred)
			k.Emit(above, p, unary(k, "abs.f32", v), thresholds[i])
			if g.Tokens > 1 {
				v = k.Select(p, v, k.Const(ptx.F32, 0.0))
			}
			c.values = append(c.values, v)
			if t == 0 {
				c.keep = p
			} else {
				c.keep = k.Or(c.keep, p)
			}
		}
		c.keep = k.And(c.keep, inside[i])
	}
	return cs
}

// element is the address of element i of an array.
func (g *gemv) element(array, i ptx.Reg, size int) ptx.Reg { return g.k.MadWide(i, size, array) }

func (g *gemv) popc(v ptx.Reg) ptx.Reg {
	n := g.k.Reg(ptx.U32)
	g.k.Emit("popc.b32", n, v)
	return n
}

// sumLanes returns the sum of v over the warp, in every lane.
func (g *gemv) sumLanes(v ptx.Reg) ptx.Reg {
	n := g.k.Reg(ptx.U32)
	g.k.Emit("redux.sync.add.u32", n, v, ptx.Int(-1))
	return n
}

// eachVector calls f for the vectors in which an entry's values are stored.
func (g *gemv) eachVector(f func(first, n int)) {
	n := min(g.stride(), 4)
	for first := 0; first < g.stride(); first += n {
		f(first, n)
	}
}

// vector is the vector qualifier of a load or store of n registers.
func vector(n int) string {
	return map[int]string{1: "", 2: ".v2", 4: ".v4"}[n]
}

// one is n registers as an operand: a vector, or a single register.
func one(rs []ptx.Reg) any {
	if len(rs) == 1 {
		return rs[0]
	}
	return ptx.Vec(rs...)
}
