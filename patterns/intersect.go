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
	if x.Validate(mask.Rows, mask.Cols) != nil {
		return false
	}
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
		switch {
		case s.rowsOnly:
			row = channel{axis: RowAxis}.Levels(rows, cols)[:1]
		case len(s.col) == 1 && s.col[0].Kind == Dense: // limits nothing
		default:
			col = append(col, s.col)
		}
	}
	return append(row, composeCols(col, cols)...)
}
