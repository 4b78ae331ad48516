package patterns

// unstructured keeps any elements, up to a share of all.
type unstructured struct{ sparsity float64 }

func parseUnstructured(c *call) Pattern { return unstructured{c.sparsity()} }

func (p unstructured) String() string {
	if p.sparsity == 0 {
		return "unstructured"
	}
	return "unstructured(" + formatSparsity("", p.sparsity) + ")"
}

func (p unstructured) Validate(rows, cols int) error { return shape(rows, cols) }

func (p unstructured) Density(rows, cols int) float64 {
	return float64(budget(rows*cols, p.sparsity)) / float64(rows*cols)
}

func (p unstructured) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	if p.sparsity == 0 {
		return MaskOf(m), nil
	}
	k := NewMask(m.Rows, m.Cols)
	keepLargest(m.Rows, m.Cols, budget(m.Rows*m.Cols, p.sparsity), 32,
		func(r, c int) uint64 { return uint64(magnitude(m.Data[r*m.Stride+c])) << 32 },
		k.Set)
	return k, nil
}

func (p unstructured) Fits(mask *Mask) bool {
	return shape(mask.Rows, mask.Cols) == nil && mask.Count() <= budget(mask.Rows*mask.Cols, p.sparsity)
}

func (p unstructured) Levels(rows, cols int) []Level {
	return []Level{
		denseLevel(RowAxis, rows),
		{Kind: List, Axis: ColAxis, Extent: cols},
	}
}

// proposeUnstructured needs nothing but zeros.
func proposeUnstructured(p *profile) []Pattern {
	if p.exact != nil {
		return []Pattern{unstructured{sparsityFor(p.nnz, p.m.Rows*p.m.Cols)}}
	}
	return []Pattern{unstructured{}}
}
