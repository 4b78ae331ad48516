package patterns

import (
	"fmt"
	"math"
)

// channel keeps whole rows (output features) or columns (input features).
type channel struct {
	axis     Axis
	sparsity float64
}

func parseChannel(c *call) Pattern { return channel{c.axis(), c.sparsity()} }

func (p channel) String() string {
	return fmt.Sprintf("channel(%v%s)", p.axis, formatSparsity(",", p.sparsity))
}

func (p channel) Validate(rows, cols int) error { return shape(rows, cols) }

// total is the number of channels there are.
func (p channel) total(rows, cols int) int {
	if p.axis == RowAxis {
		return rows
	}
	return cols
}

func (p channel) Density(rows, cols int) float64 {
	n := p.total(rows, cols)
	return float64(budget(n, p.sparsity)) / float64(n)
}

func (p channel) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	sums := make([]float64, p.total(m.Rows, m.Cols))
	for r := range m.Rows {
		if p.axis == RowAxis {
			sums[r] = sumOf(m.Row(r))
			continue
		}
		for c, v := range m.Row(r) {
			sums[c] += math.Abs(float64(v))
		}
	}
	kept := NewMask(1, len(sums))
	keepLargest(1, len(sums), budget(len(sums), p.sparsity), 64,
		func(_, i int) uint64 { return sumKey(sums[i]) },
		kept.Set)
	k := NewMask(m.Rows, m.Cols)
	for r := range m.Rows {
		if p.axis == ColAxis {
			copy(k.row(r), kept.bits)
		} else if kept.At(0, r) {
			k.SetRange(r, 0, m.Cols)
		}
	}
	return k, nil
}

func (p channel) Fits(mask *Mask) bool {
	if shape(mask.Rows, mask.Cols) != nil {
		return false
	}
	rows, cols := live(mask)
	used := rows.Count()
	if p.axis == ColAxis {
		used = cols.Count()
	}
	return used <= budget(p.total(mask.Rows, mask.Cols), p.sparsity)
}

func (p channel) Levels(rows, cols int) []Level {
	list := Level{Kind: List, Axis: p.axis, Extent: p.total(rows, cols), Shared: true}
	if p.axis == RowAxis {
		return []Level{list, denseLevel(ColAxis, cols)}
	}
	return []Level{denseLevel(RowAxis, rows), list}
}

// live is the rows and the columns that hold a kept element, [1, Rows] and
// [1, Cols].
func live(mask *Mask) (rows, cols *Mask) {
	rows, cols = NewMask(1, mask.Rows), NewMask(1, mask.Cols)
	for r := range mask.Rows {
		any := uint64(0)
		for i, w := range mask.row(r) {
			cols.bits[i] |= w
			any |= w
		}
		if any != 0 {
			rows.Set(0, r)
		}
	}
	return rows, cols
}

// proposeChannel looks for rows, columns or both that are empty while the rest
// is full.
func proposeChannel(p *profile) []Pattern {
	var out []Pattern
	for _, axis := range []Axis{RowAxis, ColAxis} {
		_, s := fullChannels(p.mask, axis)
		if sparsity, ok := p.candidate(s); ok {
			out = append(out, channel{axis, sparsity})
		}
	}
	rows, cols := p.rows.Count(), p.cols.Count()
	if s := (share{rows * cols, p.m.Rows * p.m.Cols, p.nnz, rows * cols}); len(out) == 0 && p.exact == nil && rows < p.m.Rows && cols < p.m.Cols {
		if _, ok := p.candidate(s); ok {
			out = append(out, intersect{[]Pattern{channel{axis: RowAxis}, channel{axis: ColAxis}}})
		}
	}
	return out
}

// fullChannels is the rows or columns of which at least half is kept.
func fullChannels(mask *Mask, axis Axis) (full *Mask, s share) {
	count, size := mask.ColCounts, mask.Rows
	if axis == RowAxis {
		count, size = mask.RowCounts, mask.Cols
	}
	counts := count()
	full = NewMask(1, len(counts))
	s.total = len(counts)
	for i, n := range counts {
		if 2*n >= size {
			full.Set(0, i)
			s.stored++
			s.inside += n
		}
	}
	s.room = s.stored * size
	return full, s
}
