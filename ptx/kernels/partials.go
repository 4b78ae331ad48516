package kernels

import "github.com/sparsegen/sparsegen/ptx"

// partials is how the blocks that share a tile, each with a slice of In, meet
// without a cluster: each leaves its sums in the workspace, and the one that
// arrives last, by an atomic counter of the tile, finishes the tile from all of
// them in the order of the slices. Counters of 4 bytes for each tile come first
// in the workspace, rounded up to 16 bytes, as gpu.Kernel plans it; they wrap to
// zero, as the next launch needs them.
type partials struct {
	k           *ptx.Kernel
	split       int // blocks of a tile
	sums        int // of a tile
	workspace   ptx.Reg
	tile, tiles ptx.Reg // the block's tile, and their number
	flag        ptx.Mem // 4 bytes of shared memory
}

// at is the address of a slice's sum i.
func (s *partials) at(slice, i ptx.Reg) ptx.Reg {
	k := s.k
	counters := k.And(k.Mad(s.tiles, 4, k.Const(ptx.U32, 15)), 0xfffffff0)
	block := k.MadWide(k.Mad(s.tile, s.split, slice), 4*s.sums, k.MadWide(counters, 1, s.workspace))
	return k.MadWide(i, 4, block)
}

// arrive counts the block in, all of whose threads have stored their sums, and
// runs last in the block that sees those of all.
func (s *partials) arrive(last func()) {
	k := s.k
	k.Comment("the last slice of the tile finishes it")
	k.Emit("fence.acq_rel.gpu")
	k.Emit("bar.sync", ptx.Int(0))
	k.If(k.SetP("eq", k.TidX(), 0), func() {
		before := k.Reg(ptx.U32)
		k.Emit("atom.acq_rel.gpu.inc.u32", before, ptx.At(k.MadWide(s.tile, 4, s.workspace), 0), ptx.Int(int64(s.split-1)))
		k.Emit("st.shared.u32", s.flag, before)
	})
	k.Emit("bar.sync", ptx.Int(0))
	before := k.Reg(ptx.U32)
	k.Emit("ld.shared.u32", before, s.flag)
	k.If(k.SetP("eq", before, s.split-1), func() {
		k.Emit("fence.acq_rel.gpu")
		last()
	})
}

// load reads n neighbouring sums of a slice, 1 or 4, from sum i on.
func (s *partials) load(slice, i ptx.Reg, t ptx.Type, n int) []ptx.Reg {
	v := s.k.Regs(t, n)
	s.k.Emit("ld.relaxed.gpu.global"+vector(n)+"."+t.String(), one(v), ptx.At(s.at(slice, i), 0))
	return v
}

// store leaves four neighbouring sums of a slice, from sum i on.
func (s *partials) store(slice, i ptx.Reg, v []ptx.Reg) {
	s.k.Emit("st.global.v4."+v[0].Type().String(), ptx.At(s.at(slice, i), 0), ptx.Vec(v...))
}
