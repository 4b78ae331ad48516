package runtime

import (
	"math"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// normOp is softmax, layernorm or rmsnorm over groups of consecutive features.
//
// All sums run over the group's elements in order, so that a group's result
// depends on nothing but its elements. With n elements x and float64(·) exact:
//
//	softmax:   m = max x; e = Exp(x - m); y = e / sum(e)
//	layernorm: µ = float32(sum float64(x) / n); d = x - µ
//	           v = sum float64(d)² / n; y = FMA32(d*r, gain, bias)
//	rmsnorm:   v = sum float64(x)² / n;  y = x*r * gain
//	           r = float32(1 / sqrt(v + eps))
//
// Sums are float64: each square of a float32 is exact there. A group with NaN
// gives NaN throughout; softmax of a group with +Inf gives NaN.
type normOp struct {
	kind       sgp.OpKind
	group      int
	features   int
	major      bool // feature-major
	eps        float64
	gain, bias []float32
}

func bindNorm(l *sgp.Layer, op *sgp.Op, _ sizes) *normOp {
	v := l.Values[op.Out]
	return &normOp{op.Kind, op.Group, v.Features(), v.FeatureMajor(), float64(op.Eps), op.Gain, op.Bias}
}

// A feature-major group is gathered first: its elements are batch apart.
func (o *normOp) scratch() int {
	if o.major {
		return o.group
	}
	return 0
}

func (o *normOp) prepare(int) runner { return o }

func (o *normOp) run(c *control, x, _, out []float32, batch int) error {
	for b := range batch {
		if c.stopped() {
			return errStopped
		}
		for g := 0; g < o.features; g += o.group {
			if !o.major {
				at := b*o.features + g
				o.apply(x[at:][:o.group], out[at:][:o.group])
				continue
			}
			s := c.scratch[:o.group]
			for i := range s {
				s[i] = x[(g+i)*batch+b]
			}
			o.apply(s, s)
			for i, v := range s {
				out[(g+i)*batch+b] = v
			}
		}
	}
	return nil
}

// apply computes one group; out may be x.
func (o *normOp) apply(x, out []float32) {
	switch o.kind {
	case sgp.Softmax:
		softmax(x, out)
	case sgp.LayerNorm:
		layerNorm(x, out, o.eps, o.gain, o.bias)
	default:
		rmsNorm(x, out, o.eps, o.gain)
	}
}

func softmax(x, out []float32) {
	m := x[0]
	for _, v := range x {
		if v > m || v != v {
			m = v
		}
	}
	sum := float64(0)
	for i, v := range x {
		e := exp32(v - m)
		out[i] = e
		sum += float64(e)
	}
	s := float32(sum)
	for i, e := range out {
		out[i] = e / s
	}
}

func layerNorm(x, out []float32, eps float64, gain, bias []float32) {
	sum := float64(0)
	for _, v := range x {
		sum += float64(v)
	}
	mean := float32(sum / float64(len(x)))
	sum = 0
	for i, v := range x {
		d := v - mean
		out[i] = d
		sum += float64(float64(d) * float64(d))
	}
	r := float32(1 / math.Sqrt(sum/float64(len(x))+eps))
	for i, d := range out {
		y := float32(d * r)
		g, b := float32(1), float32(0)
		if gain != nil {
			g = gain[i]
		}
		if bias != nil {
			b = bias[i]
		}
		out[i] = FMA32(y, g, b)
	}
}

func rmsNorm(x, out []float32, eps float64, gain []float32) {
	sum := float64(0)
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	r := float32(1 / math.Sqrt(sum/float64(len(x))+eps))
	for i, v := range x {
		y := float32(v * r)
		if gain != nil {
			y = float32(y * gain[i])
		}
		out[i] = y
	}
}
