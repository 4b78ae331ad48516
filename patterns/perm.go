package patterns

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// perm is a pattern of the matrix with its rows or columns reordered. Ties in
// Prune go to the lowest index of the reordered matrix.
type perm struct {
	p     Pattern
	axis  Axis
	order []int32 // explicit order, or nil
	seed  uint64  // where order is nil
}

func parsePerm(c *call) Pattern {
	p := perm{p: c.pattern(), axis: c.axis()}
	if a, ok := c.option("seed"); ok {
		seed, err := strconv.ParseUint(a.lo, 10, 64)
		if a.node != nil || a.hi != "" || err != nil {
			fail(a.pos, "perm: seed must be a whole number in 0..2^64-1")
		}
		p.seed = seed
		return p
	}
	at := map[int32]bool{}
	for ok := true; ok; ok = c.more() {
		a := c.take("its order")
		i := int32(c.toInt(a, "an index", 0, maxExtent))
		if at[i] {
			fail(a.pos, "perm: index %d appears twice", i)
		}
		at[i] = true
		p.order = append(p.order, i)
	}
	for i := range p.order {
		if !at[int32(i)] {
			fail(c.pos, "perm: index %d of 0..%d is missing", i, len(p.order)-1)
		}
	}
	return p
}

func (p perm) parts() []Pattern { return []Pattern{p.p} }

func (p perm) String() string {
	var order strings.Builder
	if p.order == nil {
		fmt.Fprintf(&order, ",seed=%d", p.seed)
	}
	for _, i := range p.order {
		fmt.Fprintf(&order, ",%d", i)
	}
	return fmt.Sprintf("perm(%v,%v%s)", p.p, p.axis, &order)
}

func (p perm) Validate(rows, cols int) error {
	if err := shape(rows, cols); err != nil {
		return err
	}
	if n := (channel{axis: p.axis}).total(rows, cols); p.order != nil && len(p.order) != n {
		return fmt.Errorf("perm: an order of %d %v does not cover %d", len(p.order), p.axis, n)
	}
	return p.p.Validate(rows, cols)
}

func (p perm) Density(rows, cols int) float64 { return p.p.Density(rows, cols) }

// index maps positions 0..n-1 of the reordered axis to the matrix's own.
func (p perm) index(rows, cols int) []int32 {
	if p.order != nil {
		return p.order
	}
	return shuffled(channel{axis: p.axis}.total(rows, cols), p.seed)
}

// place maps an element of the reordered matrix to the matrix's own.
func (p perm) place(index []int32, r, c int) (int, int) {
	if p.axis == RowAxis {
		return int(index[r]), c
	}
	return r, int(index[c])
}

func (p perm) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	index := p.index(m.Rows, m.Cols)
	n := NewMatrix(m.Rows, m.Cols)
	for r := range m.Rows {
		row := n.Row(r)
		for c := range row {
			i, j := p.place(index, r, c)
			row[c] = m.Data[i*m.Stride+j]
		}
	}
	k, err := p.p.Prune(n)
	if err != nil {
		return nil, err
	}
	return p.restore(k, index), nil
}

// restore takes a mask of the reordered matrix back to the matrix's own order.
func (p perm) restore(k *Mask, index []int32) *Mask {
	out := NewMask(k.Rows, k.Cols)
	for r, c := range k.All() {
		out.Set(p.place(index, r, c))
	}
	return out
}

func (p perm) fixed(rows, cols int) *Mask {
	if k := fixedMask(p.p, rows, cols); k != nil {
		return p.restore(k, p.index(rows, cols))
	}
	return nil
}

func (p perm) Fits(mask *Mask) bool {
	if p.Validate(mask.Rows, mask.Cols) != nil {
		return false
	}
	index := p.index(mask.Rows, mask.Cols)
	inverse := make([]int32, len(index))
	for i, x := range index {
		inverse[x] = int32(i)
	}
	return p.p.Fits(p.restore(mask, inverse))
}

func (p perm) Levels(rows, cols int) []Level {
	levels := slices.Clone(p.p.Levels(rows, cols))
	for i := len(levels) - 1; i >= 0; i-- {
		if l := &levels[i]; l.Axis == p.axis {
			index := p.index(rows, cols)
			order := slices.Clone(index)
			for k, x := range l.Perm {
				order[k] = index[x]
			}
			l.Perm = order
			break
		}
	}
	return levels
}
