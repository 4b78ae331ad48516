package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// row builds LanesRow: each lane of a vector takes its own element of x, one load
// each, and eight of them meet one vector of weights.
//
// Where this runs, loads are what a core runs out of. The eight indices of a
// group are one load of 64 bits, taken apart in registers, and the weights are an
// operand in memory. Two rows go in step, one from each half of the call's rows:
// their streams make two fronts, which memory serves faster than one.
func row(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	if k.S != 8 || mc.Lanes != 8 {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	r := &rows{Builder: b, byter: b.ByteInit()}
	for f := range r.fronts {
		r.fronts[f] = front{w: b.Arg("w"), meta: b.Arg("meta"), x: b.Int(), acc: b.Vec()}
	}
	// The second half begins behind the groups of the first. From here on the
	// slot of n counts pairs of rows, that of k holds the bytes of float32 or
	// counts in half of the rows.
	half := b.Arg("n")
	b.ShlI(half, 2)
	b.SetArg("n", half)
	bytes := b.Int()
	b.Mov(bytes, half)
	b.ShlI(bytes, 2)
	b.SetArg("k", bytes)
	cnt, groups, c := b.Arg("cnt"), b.Int(), b.Int()
	b.MovI(groups, 0)
	b.Loop("half", half, func() {
		b.LoadU(c, 4, asm.At(cnt, 0))
		b.Add(groups, c)
		b.AddI(cnt, 4)
	})
	second := &r.fronts[1]
	b.Lea(second.meta, asm.Mem{Base: second.meta, Index: groups, Scale: 8})
	b.ShlI(groups, 5)
	b.Add(second.w, groups)

	pair, end := b.NewLabel("pair"), b.NewLabel("end")
	b.Label(pair)
	r.pair()
	n := b.Arg("n")
	b.AddI(n, -1)
	b.SetArg("n", n)
	b.JumpZ(n, end)
	b.Jump(pair)
	b.Label(end)
	return nil
}

type rows struct {
	*asm.Builder
	byter  asm.Byter
	fronts [2]front
}

// front is one of the places at which the rows are walked.
type front struct {
	w, meta asm.Reg
	x       asm.Reg // where the group's indices count from
	acc     asm.Reg
}

// next reads an argument that points to elements of four bytes a row, moves it
// on by a row, and gives the addresses of both fronts' elements. They hold until
// the next Add.
func (r *rows) next(arg string) (at [2]asm.Mem) {
	p, half := r.Arg(arg), r.Arg("k")
	r.AddI(p, 4)
	r.SetArg(arg, p)
	return [2]asm.Mem{asm.At(p, -4), {Base: p, Index: half, Scale: 1, Disp: -4}}
}

// pair computes a row at each front: as many groups in step as both have, then
// the rest of the longer one.
func (r *rows) pair() {
	rest := [2]string{"ldy", "ldx"} // their slots serve as memory
	counts := [2]asm.Reg{r.Int(), r.Int()}
	for f, m := range r.next("cnt") {
		r.LoadU(counts[f], 4, m)
	}
	both := r.Int()
	r.Mov(both, counts[0])
	r.Min(both, counts[1])
	for f := range r.fronts {
		r.Sub(counts[f], both)
		r.SetArg(rest[f], counts[f])
	}
	for f, m := range r.next("bias") {
		r.LoadLow(r.fronts[f].acc, m)
		x := r.Arg("x")
		r.Mov(r.fronts[f].x, x)
	}
	r.walk("both", both, r.fronts[:])
	for f := range r.fronts {
		c := r.Arg(rest[f])
		r.walk("rest", c, r.fronts[f:f+1])
	}
	lo, hi := r.Vec(), r.Vec()
	r.BcastArg(lo, "lo")
	r.BcastArg(hi, "hi")
	for f, m := range r.next("y") {
		sum := r.Vec()
		r.SumLow(sum, r.fronts[f].acc)
		r.VMax(sum, lo, sum)
		r.VMin(sum, hi, sum)
		r.StoreLow(m, sum)
	}
}

// walk multiplies the next n groups at each of fronts. One index from -8n up to 0
// serves all streams: bytes of indices, and a quarter of the bytes of weights.
func (r *rows) walk(stem string, n asm.Reg, fronts []front) {
	loop, end := r.NewLabel(stem), r.NewLabel(stem+"_end")
	r.JumpZ(n, end)
	r.ShlI(n, 3)
	i := r.Int()
	r.MovI(i, 0)
	r.Sub(i, n)
	for _, f := range fronts {
		r.Add(f.meta, n)
		r.Lea(f.w, asm.Mem{Base: f.w, Index: n, Scale: 4})
	}
	r.Label(loop)
	for _, f := range fronts {
		if len(fronts) > 1 {
			r.Prefetch(asm.Mem{Base: f.w, Index: i, Scale: 4, Disp: ahead})
		}
		r.group(f, i)
	}
	r.AddJump(i, 8, loop)
	r.Label(end)
}

// group multiplies the eight elements of the group at i. Loading the last two
// indices by themselves keeps loads and other instructions in balance.
func (r *rows) group(f front, i asm.Reg) {
	meta := asm.Mem{Base: f.meta, Index: i, Scale: 1}
	word := r.Int()
	r.LoadU(word, 8, meta)
	var x [2]asm.Reg
	var k asm.Reg
	for e := range 8 {
		k = r.Int()
		if e < 6 {
			r.Byte(r.byter, k, word, e%2)
		} else {
			r.LoadU(k, 1, meta.Plus(e))
		}
		if e == 1 || e == 3 {
			r.ShrI(word, 16)
		}
		v, m := &x[e/4], asm.Mem{Base: f.x, Index: k, Scale: 4}
		if e%4 == 0 {
			*v = r.Vec()
			r.LoadLow(*v, m)
		} else {
			r.InsertLow(*v, e%4, m)
		}
	}
	r.Join(x[0], x[0], x[1])
	r.FMAMem(f.acc, x[0], asm.Mem{Base: f.w, Index: i, Scale: 4})
	r.Lea(f.x, asm.Mem{Base: f.x, Index: k, Scale: 4})
}
