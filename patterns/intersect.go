package patterns

import "fmt"

// intersect allows the masks that every part allows.
type intersect struct{ written []Pattern }

func parseIntersect(c *call) Pattern {
	var x intersect
	for c.more() {
		p := c.pattern()
		if inner, ok := p.(intersect); ok {
			x.written = append(x.written, inner.written...)
		} else {
			x.written = append(x.written, p)
		}
	}
	return x
}

func (x intersect) parts() []Pattern { return x.written }

func (x intersect) String() string { return joinParts(x.written, " & ") }

func (x intersect) Validate(rows, cols int) error {
	if err := validateParts(x.written, rows, cols); err != nil {
		return err
	}
	if f := x.fixed(rows, cols); f != nil && f.Count() == 0 {
		return fmt.Errorf("%v: keeps nothing of a matrix [%d, %d]", x, rows, cols)
	}
	return nil
}

// Density is an upper bound: the smallest of the parts', or the product where
// one limits rows only and another columns only.
func (x intersect) Density(rows, cols int) float64 {
	byRows, byCols, other := 1.0, 1.0, 1.0
	for _, p := range x.written {
		d := p.Density(rows, cols)
		switch s := split(p, rows, cols); {
		case s.rowsOnly:
			byRows = min(byRows, d)
		case s.colsOnly:
			byCols = min(byCols, d)
		default:
			other = min(other, d)
		}
	}
	return min(byRows*byCols, other)
}

func (x intersect) fixed(rows, cols int) *Mask {
	k := dense{}.fixed(rows, cols)
	for _, p := range x.written {
		f := fixedMask(p, rows, cols)
		if f == nil {
			return nil
		}
		k.And(f)
	}
	return k
}

// Prune applies the constant parts and then the others as written, each to what
// the ones before it kept. Where several parts choose by the data, zeros are not
// kept, since a later part may have dropped what an earlier one had chosen.
func (x intersect) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(x, m); err != nil {
		return nil, err
	}
	k := dense{}.fixed(m.Rows, m.Cols)
	var choosing []Pattern
	for _, p := range x.written {
		if f := fixedMask(p, m.Rows, m.Cols); f != nil {
			k.And(f)
		} else {
			choosing = append(choosing, p)
		}
	}
	for _, p := range choosing {
		mask, err := p.Prune(m.only(k))
		if err != nil {
			return nil, err
		}
		k.And(mask)
	}
	if len(choosing) > 1 {
		k.And(MaskOf(m))
	}
	return k, nil
}

func (x intersect) Fits(mask *Mask) bool {
	for _, p := range x.written {
		if !p.Fits(mask) {
			return false
		}
	}
	return true
}

// Levels composes the parts where each limits rows only or columns only; what
// cannot be composed so is a list of columns a row.
func (x intersect) Levels(rows, cols int) []Level {
	if l := constantLevels(x.fixed(rows, cols)); l != nil {
		return l
	}
	row := []Level{denseLevel(RowAxis, rows)}
	var col [][]Level
	for _, p := range x.written {
		s := split(p, rows, cols)
		if s.rowsOnly {
			row = channel{axis: RowAxis}.Levels(rows, cols)[:1]
		} else {
			col = append(col, s.col)
		}
	}
	return append(row, composeCols(col, cols)...)
}

// composeCols is the column levels of parts that all hold. A nil among them is a
// part that cannot be split off its rows.
func composeCols(parts [][]Level, cols int) []Level {
	switch len(parts) {
	case 0:
		return []Level{denseLevel(ColAxis, cols)}
	case 1:
		if parts[0] != nil {
			return parts[0]
		}
	}
	list := Level{Kind: List, Axis: ColAxis, Extent: cols, Shared: true}
	for _, p := range parts {
		list.Shared = list.Shared && len(p) == 1 && p[0].Shared
	}
	return []Level{list}
}

// axes is a pattern's levels taken apart by axis.
type axes struct {
	rowsOnly, colsOnly bool    // limits only rows, only columns
	col                []Level // the column levels, where the row level is dense
}

// split takes apart p's levels; what it cannot is left zero.
func split(p Pattern, rows, cols int) axes {
	l := p.Levels(rows, cols)
	if len(l) == 2 && l[0].Kind == List && l[0].Shared && l[1].Kind == Dense {
		return axes{rowsOnly: true}
	}
	if l[0].Axis != RowAxis || l[0].Kind != Dense || l[0].Size != rows || l[0].Perm != nil {
		return axes{}
	}
	for _, c := range l[1:] {
		if c.Axis != ColAxis {
			return axes{}
		}
	}
	return axes{col: l[1:], colsOnly: len(l) == 2 && l[1].Shared && l[1].Perm == nil}
}
