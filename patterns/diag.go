package patterns

import (
	"fmt"
	"slices"
	"strings"
)

// diag keeps the diagonals column-row = o..o+width-1 for each offset o. The
// offsets ascend; diagonals may overlap.
type diag struct {
	offsets []int
	width   int
}

func parseDiag(c *call) Pattern {
	p := diag{width: 1}
	for ok := true; ok; ok = c.more() {
		p.offsets = append(p.offsets, c.int("an offset", -maxExtent, maxExtent))
	}
	if a, ok := c.option("width"); ok {
		p.width = c.toInt(a, "width", 1, maxExtent)
	}
	slices.Sort(p.offsets)
	p.offsets = slices.Compact(p.offsets)
	return p
}

func (p diag) String() string {
	var s []string
	for _, o := range p.offsets {
		s = append(s, fmt.Sprint(o))
	}
	if p.width > 1 {
		s = append(s, fmt.Sprintf("width=%d", p.width))
	}
	return "diag(" + strings.Join(s, ",") + ")"
}

func (p diag) Validate(rows, cols int) error {
	for _, o := range p.offsets {
		if o+p.width <= -rows || o >= cols {
			return fmt.Errorf("diag: offset %d leaves a matrix [%d, %d]", o, rows, cols)
		}
	}
	return shape(rows, cols)
}

// diagonals is every diagonal that is kept and meets the matrix, ascending.
func (p diag) diagonals(rows, cols int) []int32 {
	var d []int32
	next := -rows + 1
	for _, o := range p.offsets {
		for next = max(next, o); next < min(o+p.width, cols); next++ {
			d = append(d, int32(next))
		}
	}
	return d
}

func (p diag) Density(rows, cols int) float64 {
	n := 0
	for _, d := range p.diagonals(rows, cols) {
		n += diagonalLen(int(d), rows, cols)
	}
	return float64(n) / float64(rows) / float64(cols)
}

// diagonalLen is the number of elements with column-row = d.
func diagonalLen(d, rows, cols int) int { return min(rows, cols-d) - max(0, -d) }

func (p diag) Prune(m Matrix) (*Mask, error) { return pruneConstant(p, m) }

func (p diag) Fits(mask *Mask) bool { return fitsConstant(p, mask) }

func (p diag) fixed(rows, cols int) *Mask {
	m := NewMask(rows, cols)
	for r := range rows {
		for _, o := range p.offsets {
			m.SetRange(r, max(0, r+o), min(cols, r+o+p.width))
		}
	}
	return m
}

func (p diag) Levels(rows, cols int) []Level {
	return []Level{
		denseLevel(RowAxis, rows),
		{Kind: Offset, Axis: ColAxis, Extent: cols, Const: true, Coords: p.diagonals(rows, cols)},
	}
}
