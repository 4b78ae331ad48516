package patterns

import "iter"

// constant is a pattern whose mask may follow from its parameters alone.
type constant interface {
	Pattern
	// fixed is the one mask that keeps all the pattern allows, or nil where the
	// data has a say.
	fixed(rows, cols int) *Mask
}

// fixedMask is p's only largest mask, or nil where the data has a say.
func fixedMask(p Pattern, rows, cols int) *Mask {
	if c, ok := p.(constant); ok {
		return c.fixed(rows, cols)
	}
	return nil
}

// isConstant reports whether the data has no say in p's mask.
func isConstant(p Pattern) bool {
	switch p := p.(type) {
	case interface{ parts() []Pattern }:
		for _, q := range p.parts() {
			if !isConstant(q) {
				return false
			}
		}
		return true
	case constant:
		return true
	}
	return false
}

// pruneConstant is Prune of a constant pattern.
func pruneConstant(p constant, m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	return p.fixed(m.Rows, m.Cols), nil
}

// checkPrune reports why p cannot prune m.
func checkPrune(p Pattern, m Matrix) error {
	if err := m.check(); err != nil {
		return err
	}
	return p.Validate(m.Rows, m.Cols)
}

// fitsConstant is Fits of a constant pattern.
func fitsConstant(p constant, mask *Mask) bool {
	return p.Validate(mask.Rows, mask.Cols) == nil && mask.Within(p.fixed(mask.Rows, mask.Cols))
}

// constantLevels is the levels of a constant mask whose rows are all equal, or
// nil for any other mask.
func constantLevels(fixed *Mask) []Level {
	if fixed == nil {
		return nil
	}
	first := fixed.row(0)
	for r := 1; r < fixed.Rows; r++ {
		for i, w := range fixed.row(r) {
			if w != first[i] {
				return nil
			}
		}
	}
	switch fixed.RowCount(0) {
	case 0:
		return nil
	case fixed.Cols:
		return dense{}.Levels(fixed.Rows, fixed.Cols)
	}
	return stripe{runs(fixed.RowCols(0))}.Levels(fixed.Rows, fixed.Cols)
}

// runs joins ascending numbers into half-open ranges.
func runs(ascending iter.Seq[int]) [][2]int {
	var out [][2]int
	for c := range ascending {
		if n := len(out); n > 0 && out[n-1][1] == c {
			out[n-1][1]++
		} else {
			out = append(out, [2]int{c, c + 1})
		}
	}
	return out
}
