package inspect

import "github.com/sparsegen/sparsegen/patterns"

// trial is a pattern whose loss the report states for every matrix that it can
// cover, whether the matrix follows it or not.
type trial struct {
	pattern string
	label   string // the head of its column
}

func trials() []trial {
	return []trial{
		{"nm(2,4)", "2:4"},
		{"nm(1,4)", "1:4"},
		{"block(4,1,sparsity=0.5)", "block 4×1 50%"},
		{"block(4,4,sparsity=0.5)", "block 4×4 50%"},
		{"channel(rows,sparsity=0.5)", "rows 50%"},
		{"channel(cols,sparsity=0.5)", "cols 50%"},
		{"unstructured(sparsity=0.5)", "any 50%"},
		{"unstructured(sparsity=0.8)", "any 80%"},
		{"unstructured(sparsity=0.9)", "any 90%"},
	}
}

// fit fills in Fits and, where asked, Trials.
func (m *Matrix) fit(values []float32, withTrials bool) error {
	w := patterns.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: values}
	found, err := patterns.Detect(w)
	if err != nil {
		return err
	}
	m.Fits = []Fit{}
	for _, f := range found {
		m.Fits = append(m.Fits, newFit(f))
	}
	if !withTrials {
		return nil
	}
	for _, t := range trials() {
		p := patterns.MustParse(t.pattern)
		if p.Validate(m.Rows, m.Cols) != nil {
			continue // the shape does not divide
		}
		f, err := patterns.Measure(p, w)
		if err != nil {
			return err
		}
		m.Trials = append(m.Trials, newFit(f))
	}
	return nil
}

func newFit(f patterns.Fit) Fit {
	return Fit{Pattern: f.Pattern.String(), Exact: f.Exact, Density: f.Density, Loss: f.LostMagnitude}
}
