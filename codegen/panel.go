package codegen

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// The panel family: lanes are batch columns, MR output rows share each loaded
// column of the activation tile (row sharing after Sparse Register Tiling,
// Wilkinson et al., PLDI 2023).

var panelArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"}, {Name: "sums", Type: "*float32"}, {Name: "lds", Type: "uintptr"},
	{Name: "rows", Type: "*uint32"},
	{Name: "x", Type: "*float32"}, {Name: "ldx", Type: "uintptr"}, {Name: "w", Type: "*float32"},
	{Name: "idx", Type: "*uint16"}, {Name: "runs", Type: "*uint16"},
	{Name: "bias", Type: "*float32"}, {Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"},
	{Name: "n", Type: "int"}, {Name: "ahead", Type: "*float32"}, {Name: "lda", Type: "uintptr"},
}

var panelDenseArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"}, {Name: "sums", Type: "*float32"}, {Name: "lds", Type: "uintptr"},
	{Name: "rows", Type: "*uint32"},
	{Name: "x", Type: "*float32"}, {Name: "ldx", Type: "uintptr"}, {Name: "w", Type: "*float32"},
	{Name: "bias", Type: "*float32"}, {Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"},
	{Name: "n", Type: "int"}, {Name: "kb", Type: "int"}, {Name: "ahead", Type: "*float32"}, {Name: "lda", Type: "uintptr"},
}

// panel builds the ops PanelGrouped, PanelBlock, PanelStep and PanelDense.
func panel(b *asm.Builder, k runtime.KernelKey) error {
	mc, mr := b.Machine(), int(k.MR)
	step := mc.Lanes
	if mc.Halves {
		step /= 2
	}
	if int(k.T)%max(8, step) != 0 {
		return fmt.Errorf("codegen: %s: no such tile on %s", k.Name(), mc.Name)
	}
	// A vector of each row, of the column where rows share it, and two of weights.
	held := mr
	if mr > 1 && k.Op != runtime.PanelStep {
		held++
	}
	strips(b, int(k.T), (mc.Regs-2)/held, func(s span, offset asm.Reg) { panelSpan(s, k, offset) })
	return nil
}

// panelSpan computes the lanes of s in all panels.
func panelSpan(s span, k runtime.KernelKey, offset asm.Reg) {
	b, mr := s.Builder, int(k.MR)
	strip := func(name string) asm.Reg { // of a matrix
		of := b.Arg(name)
		if !offset.IsZero() {
			b.Add(of, offset)
		}
		return of
	}
	x, w, rows := strip("x"), b.Arg("w"), b.Arg("rows")
	var idx, runs asm.Reg
	if k.Op != runtime.PanelDense {
		idx, runs = b.Arg("idx"), b.Arg("runs")
	}
	acc := make([][]asm.Reg, mr)
	for i := range acc {
		acc[i] = s.vecs()
	}
	xv := s.vecs() // the column; with one row it stays in memory
	at := columns{span: s, x: x, ldx: b.Arg("ldx"), w: w, idx: idx}
	var triple asm.Reg // ldx, three times
	if k.Op == runtime.PanelDense && !b.Machine().Scalable {
		triple = b.Int()
		b.MulI(triple, at.ldx, 3)
	}
	if k.Op == runtime.PanelStep || k.Op == runtime.PanelGrouped && mr == 1 {
		at.loadAhead(mr)
	}
	rowAt := func(i int, of asm.Reg, stride string) asm.Reg { // address of row i of the panel
		r, ld := b.Int(), b.Arg(stride)
		b.LoadU(r, 4, asm.At(rows, 4*i))
		b.Mul(r, ld)
		b.Add(r, of)
		return r
	}

	// What a panel needs but once stays among the arguments: an amd64 has not the
	// registers for all. Strips begin with the same arguments again.
	loop, biasAt := b.LoopArg, func() asm.Reg { return b.Arg("bias") }
	if !offset.IsZero() {
		n, bias := b.Arg("n"), b.Arg("bias")
		loop = func(stem, _ string, body func()) { b.Loop(stem, n, body) }
		biasAt = func() asm.Reg { return bias }
	}
	loop("panel", "n", func() {
		if k.Op == runtime.PanelDense || k.Op == runtime.PanelGrouped && mr == 1 {
			fetchAhead(b, mr, int(k.T)*4)
		}
		bias, load, ready := biasAt(), b.NewLabel("load"), b.NewLabel("ready")
		b.JumpZ(bias, load)
		for i := range mr {
			b.Bcast(acc[i][0], asm.At(bias, 4*i))
			for j := 1; j < s.n; j++ {
				b.VMov(acc[i][j], acc[i][0])
			}
		}
		b.AddI(bias, 4*mr)
		if offset.IsZero() {
			b.SetArg("bias", bias)
		}
		b.Jump(ready)
		b.Label(load)
		sums := strip("sums")
		for i := range mr {
			r := rowAt(i, sums, "lds")
			for j := range s.n {
				s.load(acc[i][j], asm.At(r, 0), j)
			}
		}
		b.Label(ready)

		switch k.Op {
		case runtime.PanelDense:
			xp := b.Int()
			b.Mov(xp, x)
			column := func(n int) asm.Mem { // n columns on, as far as a round goes
				switch n {
				case 0:
					return asm.At(xp, 0)
				case 3:
					return asm.Mem{Base: xp, Index: triple, Scale: 1}
				}
				return asm.Mem{Base: xp, Index: at.ldx, Scale: n}
			}
			rounds(b, "k", b.Arg("kb"), denseRound, func(n int) {
				if n == denseRound {
					fetchWeights(b, w, n*4*mr)
				}
				for i := range n {
					multiply(s, acc, xv, 1<<mr-1, column(i), asm.At(w, i*4*mr))
				}
				b.Lea(xp, column(n))
				b.AddI(w, n*4*mr)
			})
		case runtime.PanelBlock:
			at.shared(acc, xv, 1<<mr-1, asm.At(runs, 0))
			b.AddI(runs, 2)
		case runtime.PanelStep:
			at.list(acc, asm.At(runs, 0))
			for i := range mr {
				at.list(acc[i:i+1], asm.At(runs, 2*(1+i)))
			}
			b.AddI(runs, 2*(1+mr))
		default:
			if mr == 1 {
				at.list(acc, asm.At(runs, 0))
			} else {
				for set := 1; set < 1<<mr; set++ {
					at.shared(acc, xv, set, asm.At(runs, 2*(set-1)))
				}
			}
			b.AddI(runs, 2*(1<<mr-1))
		}

		lo, hi := b.Vec(), b.Vec()
		b.BcastArg(lo, "lo")
		b.BcastArg(hi, "hi")
		y := strip("y")
		for i := range mr {
			r := rowAt(i, y, "ldy")
			for j := range s.n {
				b.VMax(acc[i][j], lo, acc[i][j])
				b.VMin(acc[i][j], hi, acc[i][j])
				s.store(asm.At(r, 0), j, acc[i][j])
			}
		}
		b.AddI(rows, 4*mr)
	})
}

// denseRound is the columns in a round of a dense kernel's loop: where another thread
// has half of the core's issue slots, what the loop itself takes is time, and a
// shorter count of rounds is foreseen to its end.
const denseRound = 4

// rounds is a loop over n >= 0 things, several in each round as long as there are as
// many, then half of them, and so on; body passes count of them. Where
// the length of vectors is not known all go one by one: no address is so many bytes and
// so many vectors away.
func rounds(b *asm.Builder, stem string, n asm.Reg, several int, body func(count int)) {
	if several > 1 && !b.Machine().Scalable {
		round, rest := b.NewLabel("round"), b.NewLabel("rest")
		b.Label(round)
		b.JumpLE(n, several-1, rest)
		body(several)
		b.AddI(n, -several)
		b.Jump(round)
		b.Label(rest)
		for half := several / 2; half > 1; half /= 2 {
			fewer := b.NewLabel("fewer")
			b.JumpLE(n, half-1, fewer)
			body(half)
			b.AddI(n, -half)
			b.Label(fewer)
		}
	}
	b.While(stem, n, func() { body(1) })
}

// fetchAhead hints at some rows of what comes next, width bytes at ahead and then lda
// bytes further. The line in which a row begins may be missed where another follows: it
// has come with the columns before.
func fetchAhead(b *asm.Builder, rows, width int) {
	hinted, ld := b.NewLabel("hinted"), b.Arg("lda")
	b.JumpZ(ld, hinted)
	at := b.Arg("ahead")
	for range rows {
		for line := (width - 8) % 64; line < width; line += 64 {
			b.Prefetch(asm.At(at, line))
		}
		b.Add(at, ld)
	}
	b.SetArg("ahead", at)
	b.Label(hinted)
}

// fetchWeights hints at the weights that come weightsAhead behind the next bytes of
// the stream at w.
func fetchWeights(b *asm.Builder, w asm.Reg, bytes int) {
	for line := 0; line < bytes; line += 64 {
		b.Prefetch(asm.At(w, weightsAhead+line))
	}
}

// weightsAhead is how far, in bytes, weights are fetched ahead of their use: hardware by
// itself does not keep up with those that come from beyond the second-level cache, each used
// for a few vectors only.
const weightsAhead = 2048

// columns is where a kernel stands in the streams of a segment.
type columns struct {
	span
	x, ldx, w, idx asm.Reg
	off            []asm.Reg // of the next columns from x, in bytes; none where they are not loaded ahead
}

// loadAhead loads the offsets of the first columns. Where multiply-adds have the tile
// as their operand, offsets are loaded that many columns ahead, across the ends of
// runs and panels: they would fill the core's queues while they wait for an address.
// Shared columns are loaded first and do not gain by it. Where columns go one by one,
// further ahead would only move offsets from register to register.
func (c *columns) loadAhead(mr int) {
	n := sgp.IdxAhead
	if c.Machine().Scalable {
		n = mr
	}
	c.off = make([]asm.Reg, n)
	for j := range c.off {
		c.off[j] = c.Int()
		c.loadOffset(c.off[j], j)
	}
}

// loadOffset loads the offset of the column that lies n columns on.
func (c *columns) loadOffset(off asm.Reg, n int) {
	c.LoadU(off, 2, asm.At(c.idx, 2*n))
	c.Mul(off, c.ldx)
}

func (c *columns) at(off asm.Reg) asm.Mem { return asm.Mem{Base: c.x, Index: off, Scale: 1} }

// shared is the loop over the columns that are stored in exactly the rows of set s.
func (c *columns) shared(acc [][]asm.Reg, xv []asm.Reg, s int, count asm.Mem) {
	n, off := c.Int(), c.Int()
	c.Comment(fmt.Sprintf("columns in rows %0*b", len(acc), s))
	c.LoadU(n, 2, count)
	c.While(fmt.Sprintf("rows%0*b_", len(acc), s), n, func() {
		c.loadOffset(off, 0)
		multiply(c.span, acc, xv, s, c.at(off), asm.At(c.w, 0))
		c.AddI(c.idx, 2)
		c.AddI(c.w, 4*bits.OnesCount(uint(s)))
	})
}

// list is the loop over a column for each row of acc at a time. Several rows have
// more independent chains than one has in a narrow tile.
func (c *columns) list(acc [][]asm.Reg, count asm.Mem) {
	n := c.Int()
	c.Comment(fmt.Sprintf("a column for each of %d rows", len(acc)))
	c.LoadU(n, 2, count)
	rounds(c.Builder, "list", n, len(c.off)/len(acc), func(n int) { c.take(acc, n*len(acc)) })
}

// take multiplies the next n columns into the rows of acc, which take turns.
func (c *columns) take(acc [][]asm.Reg, n int) {
	weight := c.weights(c.w, n)
	for j := range n {
		row, w := acc[j%len(acc)], weight(j)
		for v := range row {
			c.fma(row[v], w, c.at(c.off[j]), v)
		}
		if n == len(c.off) {
			c.loadOffset(c.off[j], n+j)
		}
	}
	if n < len(c.off) {
		for j, off := range c.off {
			if j+n < len(c.off) {
				c.Mov(off, c.off[j+n])
			} else {
				c.loadOffset(off, n+j)
			}
		}
	}
	c.AddI(c.idx, 2*n)
	c.AddI(c.w, 4*n)
}

// multiply multiplies one column of the tile, at xm, into the rows of a set. The weights
// of these rows lie at w, ascending.
func multiply(s span, acc [][]asm.Reg, xv []asm.Reg, set int, xm, w asm.Mem) {
	if bits.OnesCount(uint(set)) == 1 {
		i, wv := bits.TrailingZeros(uint(set)), xv[0]
		s.Bcast(wv, w)
		for j := range acc[i] {
			s.fma(acc[i][j], wv, xm, j)
		}
		return
	}
	for j := range xv {
		s.load(xv[j], xm, j)
	}
	q := 0
	for i := range acc {
		if set>>i&1 == 0 {
			continue
		}
		wm := w.Plus(4 * q)
		q++
		if s.Machine().BroadcastOperand && len(xv) < 3 {
			for j := range xv {
				s.FMABcast(acc[i][j], xv[j], wm)
			}
			continue
		}
		wv := s.Vec()
		s.Bcast(wv, wm)
		for j := range xv {
			s.FMA(acc[i][j], xv[j], wv)
		}
	}
}
