package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// row builds LanesRow: each lane takes its own element of x, one load each, and
// eight of them meet eight weights: one vector or two.
//
// Where this runs, loads are what a core runs out of. The eight indices of a
// group are one load of 64 bits, taken apart in registers, and the weights are an
// operand in memory.
func row(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	if k.S != 8 || mc.Lanes > 8 || mc.Scalable {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	r := &rows{Builder: b, byter: b.ByteInit()}
	f := fronts{Builder: b, unit: unit{rows: 1, w: 32, meta: 8, begin: r.begin, walk: r.walk, end: r.end}}
	f.build(k)
	return nil
}

type rows struct {
	*asm.Builder
	byter asm.Byter
}

func (r *rows) begin(acc []asm.Reg, bias asm.Mem) {
	r.LoadLow(acc[0], bias)
	for _, a := range acc[1:] {
		r.Zero(a)
	}
}

func (r *rows) end(y asm.Mem, acc []asm.Reg, lo, hi asm.Reg) {
	sum := r.Vec()
	if len(acc) == 1 {
		r.SumLow(sum, acc[0])
	} else {
		r.VAdd(sum, acc[0], acc[1])
		r.SumLow(sum, sum)
	}
	r.VMax(sum, lo, sum)
	r.VMin(sum, hi, sum)
	r.StoreLow(y, sum)
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
	w := asm.Mem{Base: f.w, Index: i, Scale: 4}
	if len(f.acc) == 1 {
		r.Join(x[0], x[0], x[1])
		r.FMAMem(f.acc[0], x[0], w)
	} else {
		for h, a := range f.acc {
			r.FMAMem(a, x[h], w.Plus(16*h))
		}
	}
	r.Lea(f.x, asm.Mem{Base: f.x, Index: k, Scale: 4})
}
