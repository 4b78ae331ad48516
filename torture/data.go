package torture

import (
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
)

// structure says where, of what its pattern allows, a weight has non-zeros.
type structure string

// The structures. Those that are not random are where loops over rows, counts and
// tails go wrong.
const (
	randomly     structure = "random"
	emptyRows    structure = "empty rows"
	emptyColumns structure = "empty columns"
	allFirst     structure = "all-first"
	allLast      structure = "all-last"
	denseRow     structure = "one dense row"
	lastRow      structure = "last row alone"
	single       structure = "one element"
	nothing      structure = "no element"
)

var structures = []structure{
	randomly, randomly, randomly, randomly, randomly, randomly, randomly, randomly,
	emptyRows, emptyRows, emptyColumns, emptyColumns, allFirst, allLast, denseRow, denseRow, lastRow, single, nothing,
}

// valueKind says which values weights and inputs have.
type valueKind string

// The kinds of values. All but ordinary ones are strewn among those.
const (
	ordinary  valueKind = "ordinary"
	tied      valueKind = "tied" // few magnitudes, exact sums
	zeros     valueKind = "±0"
	denormal  valueKind = "denormal"
	nonfinite valueKind = "infinite and NaN"
	huge      valueKind = "largest"
	mixed     valueKind = "mixed"
)

func drawValues(r source) valueKind {
	return pick(r, []valueKind{
		ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary,
		tied, zeros, zeros, denormal, denormal, nonfinite, nonfinite, huge, mixed,
	})
}

// float draws a value.
func (v valueKind) float(r source) float32 {
	normal := float32(r.NormFloat64())
	switch v {
	case tied:
		return pick(r, []float32{-1, 1, 0.5, -0.5, 2})
	case denormal:
		if r.chance(1, 3) {
			return normal * 0x1p-128
		}
	}
	if v != ordinary && r.chance(1, 12) {
		return v.special(r)
	}
	return normal
}

func (v valueKind) special(r source) float32 {
	inf := float32(math.Inf(1))
	switch v {
	case zeros:
		return pick(r, []float32{0, float32(math.Copysign(0, -1))})
	case denormal:
		return pick(r, []float32{0x1p-149, -0x1p-149, 0x1.8p-130, 0x1.fffffep-127})
	case nonfinite:
		return pick(r, []float32{inf, -inf, float32(math.NaN())})
	case huge:
		return pick(r, []float32{math.MaxFloat32, -math.MaxFloat32, 0x1p100})
	}
	return pick(r, []valueKind{zeros, denormal, nonfinite, huge}).special(r)
}

// risk says what a token's inputs, or the weights, may make of its results.
type risk uint8

// The risks, ascending.
const (
	tame     risk = iota // results are finite: judged by their bounds
	infinite             // some may be infinite or NaN: what is finite is judged
	overflow             // some sum may overflow on its way, nobody knows which: not judged
)

func riskOf(v float32) risk {
	switch a := math.Abs(float64(v)); {
	case math.IsInf(a, 0) || a != a:
		return infinite
	case a > 0x1p30:
		return overflow
	}
	return tame
}

// tensors are the weights of a case by name.
type tensors map[string]tensor

type tensor struct {
	data  []float32
	shape []int
}

// lookup is a codegen.Weights and an eval.Lookup.
func (t tensors) lookup(name string) (data []float32, shape []int, err error) {
	w, ok := t[name]
	if !ok {
		return nil, nil, fmt.Errorf("no tensor %q", name)
	}
	return w.data, w.shape, nil
}

// risk is the highest of the weights.
func (t tensors) risk() risk {
	most := tame
	for _, w := range t {
		for _, v := range w.data {
			most = max(most, riskOf(v))
		}
	}
	return most
}

// weights draws the weights of the case's layer.
func (c *Case) weights(l *ir.Layer) (tensors, error) {
	r := newSource(c.data, 1)
	values := c.values
	if (values == nonfinite || values == huge || values == mixed) && !r.chance(1, 8) {
		values = ordinary // in the inputs of some tokens only
	}
	t := tensors{}
	vector := func(w *ir.Weight) {
		if w == nil {
			return
		}
		v := make([]float32, w.Out)
		for i := range v {
			v[i] = values.float(r)
		}
		t[w.Tensor] = tensor{v, []int{w.Out}}
	}
	for _, op := range l.Ops {
		vector(op.Bias)
		vector(op.Gain)
		if op.Weight == nil {
			continue
		}
		m, err := c.matrix(r, op.Weight, values)
		if err != nil {
			return nil, err
		}
		data, shape := m.Data, []int{m.Rows, m.Cols}
		if op.Weight.Transposed {
			data, shape = transposed(m), []int{m.Cols, m.Rows}
		}
		t[op.Weight.Tensor] = tensor{data, shape}
	}
	return t, nil
}

// matrix draws a weight and makes it fit its pattern, unless packing does that.
func (c *Case) matrix(r source, w *ir.Weight, values valueKind) (patterns.Matrix, error) {
	m := patterns.NewMatrix(w.Out, w.In)
	stored := c.stored(r, w.Out, w.In)
	for i := range m.Rows {
		row := m.Row(i)
		for k := range row {
			if v := values.float(r); stored(i, k) {
				row[k] = v
			}
		}
	}
	if c.prune {
		return m, nil
	}
	mask, err := w.Pattern.Prune(m)
	if err == nil {
		mask.Apply(m)
	}
	return m, err
}

// stored draws where the structure has non-zeros, the pattern aside.
func (c *Case) stored(r source, rows, cols int) func(i, k int) bool {
	random := func(int, int) bool { return r.Float64() < c.density }
	switch c.structure {
	case emptyRows, emptyColumns:
		n := rows
		if c.structure == emptyColumns {
			n = cols
		}
		empty := make([]bool, n)
		for i := range empty {
			empty[i] = r.chance(1, 2)
		}
		return func(i, k int) bool {
			at := i
			if c.structure == emptyColumns {
				at = k
			}
			return random(i, k) && !empty[at]
		}
	case allFirst, allLast:
		// Of the whole row, or of each group.
		period := pick(r, []int{cols, 4, 8, 16, 32})
		n := max(1, int(c.density*float64(period)))
		return func(_, k int) bool {
			if c.structure == allLast {
				k = cols - 1 - k
			}
			return k%period < n
		}
	case denseRow:
		dense := r.IntN(rows)
		return func(i, _ int) bool { return i == dense || r.chance(1, 20) }
	case lastRow:
		return func(i, k int) bool { return i == rows-1 && random(i, k) }
	case single:
		row, col := r.IntN(rows), r.IntN(cols)
		return func(i, k int) bool { return i == row && k == col }
	case nothing:
		return func(int, int) bool { return false }
	}
	return random
}

func transposed(m patterns.Matrix) []float32 {
	t := make([]float32, 0, len(m.Data))
	for k := range m.Cols {
		for i := range m.Rows {
			t = append(t, m.Data[i*m.Stride+k])
		}
	}
	return t
}

// inputs draws the case's inputs at a batch, and says what each token risks.
func (c *Case) inputs(l *ir.Layer, batch int, weights tensors) (in [][]float32, risks []risk) {
	r := newSource(c.data, 2+uint64(batch))
	risks = make([]risk, batch)
	kinds := make([]valueKind, batch)
	all := weights.risk()
	for t := range kinds {
		kinds[t] = c.values
		if c.values != ordinary && r.chance(1, 2) {
			kinds[t] = ordinary
		}
		risks[t] = all
	}
	for _, v := range l.Inputs {
		features := c.in
		if v.Name == "z" {
			features = c.out()
		}
		x := make([]float32, features*batch)
		for t := range batch {
			for f := range features {
				value := kinds[t].float(r)
				risks[t] = max(risks[t], riskOf(value))
				x[c.at(t, f, features, batch)] = value
			}
		}
		in = append(in, x)
	}
	return in, risks
}

// at is where feature f of token t lies in a value.
func (l *layer) at(t, f, features, batch int) int {
	if l.featureMajor {
		return f*batch + t
	}
	return t*features + f
}

// only is the planner's choice among candidates.
func (c *Case) only() func(codegen.Config) bool {
	if c.keep%3 == 0 {
		return nil
	}
	return func(f codegen.Config) bool {
		if !sparse(f) {
			return true // so that there always is one
		}
		h := newSource(c.keep, uint64(f.Op)<<32|uint64(f.MR)<<16|uint64(f.KB))
		return h.chance(1, 3)
	}
}
