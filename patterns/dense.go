package patterns

// dense keeps every element.
type dense struct{}

func parseDense(*call) Pattern { return dense{} }

func (dense) String() string                { return "dense" }
func (dense) Validate(rows, cols int) error { return shape(rows, cols) }
func (dense) Density(rows, cols int) float64 {
	return 1
}

func (d dense) Prune(m Matrix) (*Mask, error) { return pruneConstant(d, m) }

func (d dense) Fits(mask *Mask) bool { return shape(mask.Rows, mask.Cols) == nil }

func (dense) Levels(rows, cols int) []Level {
	return []Level{denseLevel(RowAxis, rows), denseLevel(ColAxis, cols)}
}

func (dense) fixed(rows, cols int) *Mask {
	m := NewMask(rows, cols)
	for r := range rows {
		m.SetRange(r, 0, cols)
	}
	return m
}
