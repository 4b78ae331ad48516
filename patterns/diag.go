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
	if err := shape(rows, cols); err != nil {
		return err
	}
	for _, o := range p.offsets {
		if o+p.width <= 1-rows || o >= cols {
			return fmt.Errorf("diag: offset %d leaves a matrix [%d, %d]", o, rows, cols)
		}
	}
	return nil
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

// proposeDiag looks for full diagonals.
func proposeDiag(p *profile) []Pattern {
	rows, cols := p.m.Rows, p.m.Cols
	if min(rows, cols) < leastDiagonal {
		return nil
	}
	counts := make([]int, rows+cols-1)
	for r := range rows {
		for c := range p.mask.RowCols(r) {
			counts[c-r+rows-1]++
		}
	}
	s := share{total: rows * cols}
	full := NewMask(1, len(counts))
	for i, n := range counts {
		if size := diagonalLen(i-rows+1, rows, cols); 2*n >= size {
			full.Set(0, i)
			s.stored += size
			s.inside += n
		}
	}
	s.room = s.stored
	if _, ok := p.candidate(s); !ok {
		return nil
	}
	return []Pattern{newDiag(runs(full.RowCols(0)), 1-rows)}
}

// leastDiagonal is the smaller extent from which on diagonals are looked for: in
// a matrix of few rows any element is most of its diagonal.
const leastDiagonal = 8

// newDiag is the diagonals of ranges, each base higher, as offsets of the
// greatest common width.
func newDiag(ranges [][2]int, base int) diag {
	p := diag{}
	for _, r := range ranges {
		p.width = gcd(p.width, r[1]-r[0])
	}
	for _, r := range ranges {
		for o := r[0]; o < r[1]; o += p.width {
			p.offsets = append(p.offsets, base+o)
		}
	}
	return p
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
