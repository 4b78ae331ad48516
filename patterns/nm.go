package patterns

import (
	"fmt"
	"math/bits"
)

// nm keeps at most n of each m consecutive columns of a row.
type nm struct{ n, m int }

// maxM bounds M: one group's mask fits into 32 bits.
const maxM = 32

func parseNM(c *call) Pattern {
	n := c.int("N", 1, maxM-1)
	return nm{n, c.int("M", n+1, maxM)}
}

func (p nm) String() string { return fmt.Sprintf("nm(%d,%d)", p.n, p.m) }

func (p nm) Validate(rows, cols int) error {
	if err := shape(rows, cols); err != nil {
		return err
	}
	if cols%p.m != 0 {
		return fmt.Errorf("%v: %d columns do not divide into groups of %d", p, cols, p.m)
	}
	return nil
}

func (p nm) Density(rows, cols int) float64 { return float64(p.n) / float64(p.m) }

func (p nm) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	k := NewMask(m.Rows, m.Cols)
	for r := range m.Rows {
		row, words := m.Row(r), k.row(r)
		for c := 0; c < m.Cols; c += p.m {
			g := uint64(p.largest(row[c : c+p.m]))
			words[c>>6] |= g << (c & 63)
			if c&63+p.m > 64 {
				words[c>>6+1] |= g >> (64 - c&63)
			}
		}
	}
	return k, nil
}

// largest is the mask of the n largest magnitudes of one group.
func (p nm) largest(group []float32) uint32 {
	var key [maxM]uint32
	for i, v := range group {
		key[i] = magnitude(v) + 1 // 0 marks what is taken
	}
	var kept uint32
	for range p.n {
		best := 0
		for i := 1; i < len(group); i++ {
			if key[i] > key[best] {
				best = i
			}
		}
		key[best] = 0
		kept |= 1 << best
	}
	return kept
}

func (p nm) Fits(mask *Mask) bool {
	if p.Validate(mask.Rows, mask.Cols) != nil {
		return false
	}
	for r := range mask.Rows {
		for c := 0; c < mask.Cols; c += p.m {
			if bits.OnesCount32(mask.field(r, c, p.m)) > p.n {
				return false
			}
		}
	}
	return true
}

func (p nm) Levels(rows, cols int) []Level {
	return []Level{
		denseLevel(RowAxis, rows),
		denseLevel(ColAxis, cols/p.m),
		{Kind: NofM, Axis: ColAxis, Size: p.n, Extent: p.m, N: p.n, M: p.m},
	}
}

// proposeNM looks for an N that nine tenths of the groups of M hold exactly. The
// smallest M stands for its multiples. Empty rows do not count as groups.
func proposeNM(p *profile) []Pattern {
	var out []Pattern
	seen := map[float64]bool{}
	for m := 2; m <= maxM; m++ {
		if p.m.Cols%m != 0 {
			continue
		}
		var count [maxM + 1]int
		groups := 0
		for r := range p.rows.RowCols(0) {
			for c := 0; c < p.m.Cols; c += m {
				count[bits.OnesCount32(p.mask.field(r, c, m))]++
			}
			groups += p.m.Cols / m
		}
		for n := 1; n < m; n++ {
			ratio := float64(n) / float64(m)
			if count[n] == 0 || float64(count[n]) < fullEnough*float64(groups) || seen[ratio] {
				continue
			}
			seen[ratio] = true
			if rows := p.rows.Count(); float64(rows) > denseAbove*float64(p.m.Rows) {
				out = append(out, nm{n, m})
			} else {
				out = append(out, intersect{[]Pattern{channel{axis: RowAxis}, nm{n, m}}})
			}
		}
	}
	return out
}
