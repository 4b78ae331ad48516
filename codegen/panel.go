package codegen

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// The panel family: lanes are batch columns, MR output rows share each loaded
// column of the activation tile (row sharing after Sparse Register Tiling,
// Wilkinson et al., PLDI 2023).

var panelArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"}, {Name: "rows", Type: "*uint32"},
	{Name: "x", Type: "*float32"}, {Name: "w", Type: "*float32"},
	{Name: "idx", Type: "*uint16"}, {Name: "runs", Type: "*uint16"},
	{Name: "bias", Type: "*float32"}, {Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"},
	{Name: "n", Type: "int"},
}

var panelDenseArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"}, {Name: "rows", Type: "*uint32"},
	{Name: "x", Type: "*float32"}, {Name: "w", Type: "*float32"},
	{Name: "bias", Type: "*float32"}, {Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"},
	{Name: "n", Type: "int"}, {Name: "kb", Type: "int"},
}

// panel builds PanelGrouped, PanelBlock and PanelDense.
func panel(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	mr, nv, vb := int(k.MR), int(k.T)/mc.Lanes, mc.Lanes*4
	if nv*mc.Lanes != int(k.T) {
		return fmt.Errorf("codegen: %s: no such tile on %s", k.Name(), mc.Name)
	}
	y, x, w := b.Arg("y"), b.Arg("x"), b.Arg("w")
	rows, n := b.Arg("rows"), b.Arg("n")
	bias := b.Arg("bias")
	var idx, runs asm.Reg
	if k.Op != runtime.PanelDense {
		idx, runs = b.Arg("idx"), b.Arg("runs")
	}
	acc := make([][]asm.Reg, mr)
	for i := range acc {
		acc[i] = b.Vecs(nv)
	}
	xv := b.Vecs(nv) // the column; with one row it stays in memory
	off := b.Int()
	rowAt := func(i int) asm.Reg { // address of output row i of the panel
		r, ld := b.Int(), b.Arg("ldy")
		b.LoadU(r, 4, asm.At(rows, 4*i))
		b.Mul(r, ld)
		b.Add(r, y)
		return r
	}

	b.Loop("panel", n, func() {
		load, ready := b.NewLabel("load"), b.NewLabel("ready")
		b.JumpZ(bias, load)
		for i := range mr {
			b.Bcast(acc[i][0], asm.At(bias, 4*i))
			for j := 1; j < nv; j++ {
				b.VMov(acc[i][j], acc[i][0])
			}
		}
		b.AddI(bias, 4*mr)
		b.Jump(ready)
		b.Label(load)
		for i := range mr {
			r := rowAt(i)
			for j := range nv {
				b.Load(acc[i][j], asm.At(r, j*vb))
			}
		}
		b.Label(ready)

		switch k.Op {
		case runtime.PanelDense:
			kb, xp := b.Arg("kb"), b.Int()
			b.Mov(xp, x)
			b.Loop("k", kb, func() {
				column(b, acc, xv, 1<<mr-1, asm.At(xp, 0), w)
				b.AddI(xp, int(k.T)*4)
				b.AddI(w, 4*mr)
			})
		case runtime.PanelBlock:
			runOf(b, acc, xv, 1<<mr-1, asm.At(runs, 0), x, w, idx, off, int(k.T))
			b.AddI(runs, 2)
		default:
			for s := 1; s < 1<<mr; s++ {
				runOf(b, acc, xv, s, asm.At(runs, 2*(s-1)), x, w, idx, off, int(k.T))
			}
			b.AddI(runs, 2*(1<<mr-1))
		}

		lo, hi := b.Vec(), b.Vec()
		b.BcastArg(lo, "lo")
		b.BcastArg(hi, "hi")
		for i := range mr {
			r := rowAt(i)
			for j := range nv {
				b.VMax(acc[i][j], lo, acc[i][j])
				b.VMin(acc[i][j], hi, acc[i][j])
				b.Store(asm.At(r, j*vb), acc[i][j])
			}
		}
		b.AddI(rows, 4*mr)
	})
	return nil
}

// runOf is the loop over the columns that are stored in exactly the rows of
// set s.
func runOf(b *asm.Builder, acc [][]asm.Reg, xv []asm.Reg, s int, count asm.Mem, x, w, idx, off asm.Reg, t int) {
	c := b.Int()
	b.Comment(fmt.Sprintf("columns in rows %0*b", len(acc), s))
	b.LoadU(c, 2, count)
	b.While(fmt.Sprintf("rows%0*b_", len(acc), s), c, func() {
		b.LoadU(off, 2, asm.At(idx, 0))
		b.MulI(off, off, t*4)
		column(b, acc, xv, s, asm.Mem{Base: x, Index: off, Scale: 1}, w)
		b.AddI(idx, 2)
		b.AddI(w, 4*bits.OnesCount(uint(s)))
	})
}

// column multiplies one column of the tile into the rows of set s. The weights
// of these rows lie at w, ascending.
func column(b *asm.Builder, acc [][]asm.Reg, xv []asm.Reg, s int, xm asm.Mem, w asm.Reg) {
	mc := b.Machine()
	vb := mc.Lanes * 4
	if bits.OnesCount(uint(s)) == 1 {
		i, wv := bits.TrailingZeros(uint(s)), xv[0]
		b.Bcast(wv, asm.At(w, 0))
		for j := range acc[i] {
			b.FMAMem(acc[i][j], wv, xm.Plus(j*vb))
		}
		return
	}
	for j := range xv {
		b.Load(xv[j], xm.Plus(j*vb))
	}
	q := 0
	for i := range acc {
		if s>>i&1 == 0 {
			continue
		}
		wm := asm.At(w, 4*q)
		q++
		if mc.BroadcastOperand && len(xv) < 3 {
			for j := range xv {
				b.FMABcast(acc[i][j], xv[j], wm)
			}
			continue
		}
		wv := b.Vec()
		b.Bcast(wv, wm)
		for j := range xv {
			b.FMA(acc[i][j], xv[j], wv)
		}
	}
}
