package runtime

import (
	"errors"
	"math"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// shareFMA is the number of multiply-adds below which work is not worth waking a
// helper for: about 100 µs of one core.
const shareFMA = 2_000_000

// linear is what all forms of a linear op have in common.
type linear struct {
	in, out      int
	k            int      // kept columns
	cols         []uint32 // input column of each k, or nil: all
	featureMajor bool
	bias         []float32 // by output row, or nil
	lo, hi       float32   // the clamp that kernels apply
	act          MapFunc   // and what follows, or nil
	// Output rows that no weight reaches, and their value.
	constRows         []uint32
	constants         []float32
	threads, maxBatch int
}

func noClamp() (lo, hi float32) { return float32(math.Inf(-1)), float32(math.Inf(1)) }

// bindLinear binds each variant; the batch of a run chooses among them.
func bindLinear(l *sgp.Layer, op *sgp.Op, k kernels, size sizes) (operation, error) {
	lin := op.Linear
	base := linear{
		in: lin.In, out: lin.Out, bias: lin.Bias,
		featureMajor: l.Values[op.Out].FeatureMajor(),
		threads:      size.threads, maxBatch: size.batch,
	}
	base.lo, base.hi = noClamp()
	switch lin.Act {
	case sgp.None:
	case sgp.Relu:
		base.lo = 0
	case sgp.Clamp:
		base.lo, base.hi = lin.Lo, lin.Hi
	default:
		var err error
		if base.act, err = bindMap(l, lin.Act, k); err != nil {
			return nil, err
		}
	}
	var bound variants
	for i := range lin.Variants {
		v := &lin.Variants[i]
		if v.BatchMin > size.batch && !size.all {
			break
		}
		size := sizes{threads: size.threads, batch: min(size.batch, v.BatchMax)}
		op, err := bindForm(l, base, v, k, size)
		if err != nil {
			return nil, err
		}
		bound = append(bound, variant{v.BatchMax, op})
	}
	return bound, nil
}

func bindForm(l *sgp.Layer, base linear, v *sgp.Variant, k kernels, size sizes) (operation, error) {
	if v.Short && k.short != nil {
		long := *v
		long.Short = false
		op, err := bindForm(l, base, &long, *k.short, size)
		if missing := new(MissingKernelError); !errors.As(err, &missing) {
			return op, err
		}
	}
	switch {
	case v.Panel != nil && len(v.Panel.Segments) == 0:
		base.setConstant(make([]bool, base.out))
		return &constantLinear{base}, nil
	case v.Panel != nil:
		return bindPanel(l, base, v.Panel, k, size)
	case v.Lanes.Kind == sgp.DeltaTile:
		return bindDeltaTile(l, base, v.Lanes, k, size)
	default:
		return bindLanes(l, base, v.Lanes, k, size)
	}
}

// variants is a linear op; ascending by batchMax.
type variants []variant

type variant struct {
	batchMax int
	op       operation
}

func (vs variants) scratch() int {
	n := 0
	for _, v := range vs {
		n = max(n, v.op.scratch())
	}
	return n
}

func (vs variants) prepare(batch int) runner {
	for i := range vs {
		if batch <= vs[i].batchMax {
			return vs[i].op.prepare(batch)
		}
	}
	panic("batch beyond the last variant") // setBatch has refused it
}

// constantLinear is a linear op without weights.
type constantLinear struct{ linear }

func (d *constantLinear) prepare(int) runner { return d }

func (*constantLinear) scratch() int { return 0 }

func (d *constantLinear) run(_ *control, _, _, out []float32, batch int) error {
	d.fillConstant(out, batch, 0, batch)
	return nil
}

func (d *linear) keep(cols []uint32) {
	d.k, d.cols = d.in, cols
	if cols != nil {
		d.k = len(cols)
	}
}

func (d *linear) biasOf(row int) float32 {
	if d.bias == nil {
		return 0
	}
	return d.bias[row]
}

// zeros is what kernels read where a layer has no bias: the same lines for all layers, so that
// caches have them when a layer's turn comes. Nobody writes it.
var zeros [1 << 14]float32

// slabBias is the bias in the order of a lanes form's lanes, and which output
// rows it covers. Where it can be it is not a copy.
func (d *linear) slabBias(f *sgp.Lanes, slabs int) (bias []float32, covered []bool) {
	covered = make([]bool, d.out)
	n, copied := slabs*f.S, false
	switch {
	case d.bias == nil && n <= len(zeros):
		bias = zeros[:n]
	case d.bias != nil && f.Rows == nil && n == d.out:
		bias = d.bias
	default:
		bias, copied = make([]float32, n), true
	}
	for i := range bias {
		row := i
		if f.Rows != nil && i < len(f.Rows) {
			row = int(f.Rows[i])
		} else if f.Rows != nil || i >= d.out {
			break
		}
		covered[row] = true
		if copied {
			bias[i] = d.biasOf(row)
		}
	}
	return bias, covered
}

// setConstant computes the rows that are not covered.
func (d *linear) setConstant(covered []bool) {
	for r, c := range covered {
		if c {
			continue
		}
		v := [1]float32{clamp(d.biasOf(r), d.lo, d.hi)}
		if d.act != nil {
			d.act(&v[0], 1)
		}
		d.constRows = append(d.constRows, uint32(r))
		d.constants = append(d.constants, v[0])
	}
}

// strides are the distances in y of two rows (output features) and of two
// batch columns.
func (d *linear) strides(batch int) (row, column int) {
	if d.featureMajor {
		return batch, 1
	}
	return 1, d.out
}

// fillConstant writes the constant rows of batch columns first..first+n.
func (d *linear) fillConstant(y []float32, batch, first, n int) {
	row, column := d.strides(batch)
	if row == 1 { // token by token: a column's outputs share lines
		for t := range n {
			out := y[(first+t)*column:]
			for i, r := range d.constRows {
				out[r] = d.constants[i]
			}
		}
		return
	}
	for i, r := range d.constRows {
		at := int(r)*row + first*column
		for range n {
			y[at] = d.constants[i]
			at += column
		}
	}
}

func clamp(a, lo, hi float32) float32 {
	if lo > a {
		a = lo
	}
	if a > hi {
		a = hi
	}
	return a
}
