package kerneltest

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/runtime"
)

// generator draws the arguments of one call.
type generator struct {
	*rand.Rand
	strict  bool
	special bool // values include infinities, NaN, zeros of both signs and subnormals
}

// size draws a count from 1, or from 0 in strict calls, to most.
func (g generator) size(most int) int {
	if g.strict && g.IntN(16) == 0 {
		return 0
	}
	return 1 + g.IntN(most)
}

// often is small, and in one draw of eight large: kernels may unroll their loops.
func (g generator) often(small, large int) int {
	if g.IntN(8) == 0 {
		return large
	}
	return small
}

func (g generator) bounds() (lo, hi float32) {
	inf := float32(math.Inf(1))
	switch g.IntN(4) {
	case 0:
		return 0, inf
	case 1:
		return -0.75, 1.5
	default:
		return -inf, inf
	}
}

func (g generator) float() float32 {
	if g.special && g.IntN(24) == 0 {
		return g.specialFloat()
	}
	return float32(g.NormFloat64() * math.Exp2(float64(g.IntN(7)-3)))
}

func (g generator) specialFloat() float32 {
	inf := float32(math.Inf(1))
	specials := [...]float32{inf, -inf, float32(math.NaN()), 0, float32(math.Copysign(0, -1)), 0x1p-149, -0x1.8p-130, math.MaxFloat32, 1}
	return specials[g.IntN(len(specials))]
}

func (g generator) floats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = g.float()
	}
	return v
}

// output makes the memory for rows output rows of width elements, with gaps
// between rows and, often, bands before and after.
func (g generator) output(c *Call, rows, width int) {
	c.ldout = width + g.IntN(9)
	c.at = g.IntN(20)
	size := c.at + g.IntN(3)*g.IntN(20)
	if rows > 0 {
		size += (rows-1)*c.ldout + width
	}
	c.out = g.floats(size)
}

// input makes x, rows of width elements with gaps between.
func (g generator) input(c *Call, rows, width int) {
	c.ldx = width + g.IntN(9)
	if rows > 0 {
		c.x = g.floats((rows-1)*c.ldx + width)
	}
}

func (g generator) panel(c *Call) {
	mr, t := int(c.key.MR), int(c.key.T)
	c.n, c.k = g.size(3), g.size(g.often(20, 90))
	spare := g.IntN(4)
	for _, r := range g.Perm(c.n*mr + spare)[:c.n*mr] {
		c.rows = append(c.rows, uint32(r))
	}
	g.output(c, c.n*mr+spare, t)
	if rows := c.n*mr + spare; rows > 0 && g.IntN(2) == 0 {
		c.lds = t + g.IntN(9)
		c.sums = g.floats((rows-1)*c.lds + t)
	}
	g.input(c, c.k, t)
	if g.IntN(2) == 0 {
		c.bias = g.floats(c.n * mr)
	}
	values := c.n * c.k * mr
	if c.key.Op != runtime.PanelDense {
		values = g.runs(c)
	}
	c.w = g.floats(values)
}

// runs draws the entries of a sparse panel and returns how many values of w they
// take.
func (g generator) runs(c *Call) (values int) {
	mr := int(c.key.MR)
	type run struct{ columns, values int } // of each entry
	var kinds []run                        // of a panel, in order
	switch c.key.Op {
	case runtime.PanelBlock:
		kinds = []run{{1, mr}}
	case runtime.PanelStep:
		kinds = []run{{mr, mr}}
		for range mr {
			kinds = append(kinds, run{1, 1})
		}
	default:
		for s := uint(1); s < 1<<mr; s++ {
			kinds = append(kinds, run{1, bits.OnesCount(s)})
		}
	}
	for range c.n {
		sparse := g.IntN(3) // some panels have few entries, some none
		for _, r := range kinds {
			entries := 0
			if c.k > 0 && g.IntN(len(kinds)/8+1) < sparse {
				entries = g.IntN(g.often(7, 40))
			}
			c.runs = append(c.runs, uint16(entries))
			values += entries * r.values
			for range entries * r.columns {
				c.idx = append(c.idx, uint16(g.IntN(c.k)))
			}
		}
	}
	for range 4 { // may be read, not used
		c.idx = append(c.idx, uint16(g.Uint32()))
	}
	return values
}

func (g generator) lanes(c *Call) {
	s, nb := int(c.key.S), max(1, int(c.key.NB))
	// Kernels walk several slabs at once, and then the rest.
	c.n, c.k = g.size([]int{3, 9}[g.IntN(2)]), g.size(g.often(20, 90))
	switch c.key.Op {
	case runtime.LanesDense:
		c.w = g.floats(c.n * c.k * s)
	case runtime.LanesList:
		for range c.n {
			count := 0
			if c.k > 0 {
				count = g.IntN(g.often(9, 50))
			}
			c.cnt = append(c.cnt, uint32(count))
			for range count {
				c.meta = binary.NativeEndian.AppendUint16(c.meta, uint16(g.IntN(c.k)))
			}
			c.w = append(c.w, g.floats(count*s)...)
		}
	case runtime.LanesNM:
		n, m := int(c.key.N), int(c.key.M)
		perWord := 32 / (bits.Len8(c.key.M) - 1)
		// Up to a few full words of indices, and a rest.
		groups := g.size(max(3, 40/m, 3*(perWord/n)))
		c.k = groups * m
		words := (n + perWord - 1) / perWord * groups
		if n <= perWord {
			words = (groups + perWord/n - 1) / (perWord / n)
		}
		for range c.n * words * s {
			c.meta = binary.NativeEndian.AppendUint32(c.meta, g.Uint32())
		}
		c.w = g.floats(c.n * groups * n * s)
	case runtime.LanesMask:
		values, dense := 0, g.IntN(3)
		c.cnt = make([]uint32, c.n)
		for i := range c.n * c.k * s / 8 {
			mask := uint8(g.Uint32())
			switch dense {
			case 0:
				mask &= uint8(g.Uint32())
				mask &= uint8(g.Uint32())
			case 1:
				mask |= uint8(g.Uint32())
			}
			c.meta = append(c.meta, mask)
			values += bits.OnesCount8(mask)
			c.cnt[i/(c.k*s/8)] += uint32(bits.OnesCount8(mask))
		}
		values += 4
		if !g.strict {
			values += 32 // the packer's padding
		}
		c.w = g.floats(values)
	case runtime.LanesRow:
		c.k = 1 + g.IntN(700)
		g.groups(c)
	case runtime.LanesWindow:
		c.k = 15 + g.IntN(700)
		g.windows(c)
	}
	c.bias = g.floats(c.n * s)
	g.input(c, nb, c.k)
	g.output(c, nb, c.n*s)
}

func (g generator) deltaTile(c *Call) {
	c.n, c.k = g.size(3), 1+g.IntN(400)
	g.deltas(c)
	c.bias = g.floats(c.n * int(c.key.S))
	c.x = g.floats(c.k * int(c.key.T))
	g.output(c, c.n*int(c.key.S), int(c.key.T))
}

// groups draws the groups of LanesRow, whose indices stay below c.k.
func (g generator) groups(c *Call) {
	for range c.n * int(c.key.S) {
		count := g.IntN(g.often(6, 30))
		c.cnt = append(c.cnt, uint32(count))
		left := c.k - 1
		for range count {
			last := 0
			for range 8 {
				last = g.IntN(min(left, 255) + 1)
				c.meta = append(c.meta, byte(last))
			}
			left -= last
		}
		c.w = append(c.w, g.floats(count*8)...)
	}
}

// windows draws the groups of LanesWindow, whose windows end at c.k or before.
func (g generator) windows(c *Call) {
	for range c.n * int(c.key.S) / 8 {
		count := g.IntN(g.often(4, 20))
		c.cnt = append(c.cnt, uint32(count))
		left := c.k - 15
		for range count {
			for range 8 {
				c.meta = binary.LittleEndian.AppendUint32(c.meta, g.Uint32())
			}
			last := 0
			for range 8 {
				last = g.IntN(min(left, 255) + 1)
				c.meta = append(c.meta, byte(last))
			}
			left -= last
		}
		c.w = append(c.w, g.floats(count*64)...)
	}
}

// deltas draws entries of DeltaTile whose indices stay below c.k.
func (g generator) deltas(c *Call) {
	s := int(c.key.S)
	for range c.n {
		count := g.IntN(g.often(9, 50))
		c.cnt = append(c.cnt, uint32(count))
		left := make([]int, s)
		for l := range left {
			left[l] = c.k - 1
		}
		for range count {
			for l := range left {
				d := g.IntN(min(left[l], 255) + 1)
				left[l] -= d
				c.meta = append(c.meta, byte(d))
			}
		}
		c.w = append(c.w, g.floats(count*s)...)
	}
}

func (g generator) tile(c *Call) {
	t := 8 * (1 + g.IntN(16))
	c.t = t
	c.n, c.k = g.size(40), 1+g.IntN(t)
	switch c.key.Op {
	case runtime.CopyTile:
		if g.strict && g.IntN(16) == 0 {
			c.k = 0
		}
		g.input(c, c.n, c.k)
		g.tileOutput(c, c.n)
	case runtime.TransTile:
		g.input(c, c.k, c.n)
		rows := g.tileRows(c.n)
		g.tileOutput(c, rows)
		c.open = (rows - c.n) * t
	case runtime.UntransTile:
		c.x = g.floats(g.tileRows(c.n) * t)
		g.output(c, c.k, c.n)
	}
}

// tileRows is the tile rows that a transposing move of n rows may touch.
func (g generator) tileRows(n int) int {
	if g.strict {
		return n
	}
	return (n + 15) &^ 15
}

// tileOutput makes an output tile, which is contiguous and nothing but itself.
func (g generator) tileOutput(c *Call, rows int) {
	c.ldout = c.t
	c.out = g.floats(rows * c.ldout)
}

// activation draws what an activation replaces: in half of the calls any float32
// there is, special ones, and values of the range in which it bends; near the
// end more of those where it is flat, because few vectors are the last.
func (g generator) activation(c *Call) {
	c.n = g.size(g.often(70, 4000))
	g.output(c, 1, c.n)
	if g.IntN(2) == 0 {
		return
	}
	for i := range c.n {
		v := &c.out[c.at+i]
		switch g.IntN(6) {
		case 0:
			*v = math.Float32frombits(g.Uint32())
		case 1:
			*v = g.specialFloat()
		default:
			*v = (2*g.Float32() - 1) * 10
		}
		if i >= c.n-8 && g.IntN(3) == 0 {
			*v = float32(1-2*g.IntN(2)) * (7 + 6*g.Float32())
		}
	}
}
