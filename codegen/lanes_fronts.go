package codegen

import (
	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// fronts builds the lanes kernels for one token whose units of output rows have
// each their own number of groups. They are walked at two places at once, one in
// each half of the call's units: their streams make two fronts, which memory
// serves faster than one.
type fronts struct {
	*asm.Builder
	unit unit
	at   [2]front
}

// front is one of the places.
type front struct {
	w, meta asm.Reg
	x       asm.Reg   // where the group's columns count from
	acc     []asm.Reg // eight lanes
}

// unit is what the fronts walk: rows of a slab that have their groups in common.
type unit struct {
	rows    int // of output, a unit
	w, meta int // bytes a group
	begin   func(acc []asm.Reg, bias asm.Mem)
	walk    func(stem string, groups asm.Reg, at []front) // all the groups; spends the register
	end     func(y asm.Mem, acc []asm.Reg, lo, hi asm.Reg)
}

// build emits the kernel. From the second half on the slot of n counts pairs of
// units, and that of k holds the bytes of counts in half of the units.
func (b *fronts) build(k runtime.KernelKey) {
	for f := range b.at {
		b.at[f] = front{w: b.Arg("w"), meta: b.Arg("meta"), x: b.Int(), acc: b.Vecs(8 / b.Machine().Lanes)}
	}
	half := b.Arg("n")
	if pairs := int(k.S) / b.unit.rows / 2; pairs > 1 {
		b.MulI(half, half, pairs)
	}
	b.SetArg("n", half)
	bytes := b.Int()
	b.Mov(bytes, half)
	b.ShlI(bytes, 2)
	b.SetArg("k", bytes)
	// The second half begins behind the groups of the first.
	cnt, groups, c := b.Arg("cnt"), b.Int(), b.Int()
	b.MovI(groups, 0)
	b.Loop("half", half, func() {
		b.LoadU(c, 4, asm.At(cnt, 0))
		b.Add(groups, c)
		b.AddI(cnt, 4)
	})
	second := &b.at[1]
	b.MulI(c, groups, b.unit.meta)
	b.Add(second.meta, c)
	b.MulI(c, groups, b.unit.w)
	b.Add(second.w, c)

	b.LoopArg("pair", "n", b.pair)
}

// next reads an argument that points to elements of size bytes a unit, at most 8
// times 4, moves it on by a unit, and gives the addresses of both fronts' elements.
// They hold until the next Add.
func (b *fronts) next(arg string, size int) (at [2]asm.Mem) {
	p, half := b.Arg(arg), b.Arg("k")
	b.AddI(p, size)
	b.SetArg(arg, p)
	return [2]asm.Mem{asm.At(p, -size), {Base: p, Index: half, Scale: size / 4, Disp: -size}}
}

// pair computes a unit at each front: as many groups in step as both have, then
// the rest of the longer one.
func (b *fronts) pair() {
	rest := [2]string{"ldy", "ldx"} // their slots serve as memory
	counts := [2]asm.Reg{b.Int(), b.Int()}
	for f, m := range b.next("cnt", 4) {
		b.LoadU(counts[f], 4, m)
	}
	both := b.Int()
	b.Mov(both, counts[0])
	b.Min(both, counts[1])
	for f := range b.at {
		b.Sub(counts[f], both)
		b.SetArg(rest[f], counts[f])
	}
	for f, m := range b.next("bias", 4*b.unit.rows) {
		b.unit.begin(b.at[f].acc, m)
		x := b.Arg("x")
		b.Mov(b.at[f].x, x)
	}
	b.unit.walk("both", both, b.at[:])
	for f := range b.at {
		c := b.Arg(rest[f])
		b.unit.walk("rest", c, b.at[f:f+1])
	}
	lo, hi := b.Vec(), b.Vec()
	b.BcastArg(lo, "lo")
	b.BcastArg(hi, "hi")
	for f, m := range b.next("y", 4*b.unit.rows) {
		b.unit.end(m, b.at[f].acc, lo, hi)
	}
}
