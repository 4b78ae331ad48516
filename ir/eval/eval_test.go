package eval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/patterns"
)

// weights is a weight file of random numbers.
type weights struct {
	rng    *rand.Rand
	shapes map[string][]int
	data   map[string][]float32
}

func newWeights(seed uint64, shapes map[string][]int) *weights {
	return &weights{rand.New(rand.NewPCG(seed, 1)), shapes, map[string][]float32{}}
}

func (w *weights) shape(name string) ([]int, bool) { s, ok := w.shapes[name]; return s, ok }

func (w *weights) lookup(name string) ([]float32, []int, error) {
	s, ok := w.shapes[name]
	if !ok {
		return nil, nil, fmt.Errorf("no tensor %q", name)
	}
	if w.data[name] == nil {
		n := 1
		for _, e := range s {
			n *= e
		}
		w.data[name] = random(w.rng, n)
	}
	return w.data[name], s, nil
}

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func load(t *testing.T, w *weights, spec string) *ir.Layer {
	t.Helper()
	m, err := ir.Load("test.sg", []byte("sparsegen 1\n"+spec), ir.Options{Shapes: w.shape})
	require.NoError(t, err)
	return m.Layers[0]
}

func TestLinearIsTheMaskedDenseProduct(t *testing.T) {
	const out, in, batch = 24, 64, 5
	for _, pattern := range []string{"dense", "nm(2,4)", "block(4,1)", "unstructured", "nm(1,8) & nm(2,4)"} {
		for _, transposed := range []bool{false, true} {
			for axis := range 2 {
				t.Run(fmt.Sprintf("%s transposed=%v axis=%d", pattern, transposed, axis), func(t *testing.T) {
					wShape, suffix := []int{out, in}, ""
					if transposed {
						wShape, suffix = []int{in, out}, ".T"
					}
					w := newWeights(7, map[string][]int{"w": wShape, "b": {out}})
					xT, yT := "f32[t, 64]", "f32[t, 24]"
					if axis == 0 {
						xT, yT = "f32[64, t]", "f32[24, t]"
					}
					l := load(t, w, fmt.Sprintf(
						`layer l(x %s) (y %s) where t in 1..8 { y = linear(x, w"w"%s : %s, bias=w"b", axis=%d) }`, xT, yT, suffix, pattern, axis))
					rng := rand.New(rand.NewPCG(3, 4))
					x := random(rng, in*batch)
					got, err := eval.Layer(l, w.lookup, [][]float32{x}, map[string]int{"t": batch})
					require.NoError(t, err)

					data, _, _ := w.lookup("w")
					bias, _, _ := w.lookup("b")
					m := patterns.NewMatrix(out, in)
					for o := range out {
						for i := range in {
							if transposed {
								m.Data[o*in+i] = data[i*out+o]
							} else {
								m.Data[o*in+i] = data[o*in+i]
							}
						}
					}
					p, err := patterns.Parse(pattern)
					require.NoError(t, err)
					mask, err := p.Prune(m)
					require.NoError(t, err)
					for o := range out {
						for b := range batch {
							want, mag, terms := float64(bias[o]), math.Abs(float64(bias[o])), 1.0
							for i := range in {
								if !mask.At(o, i) {
									continue
								}
								xi := x[b*in+i]
								if axis == 0 {
									xi = x[i*batch+b]
								}
								want += float64(float64(m.Data[o*in+i]) * float64(xi))
								mag += math.Abs(float64(m.Data[o*in+i]) * float64(xi))
								terms++
							}
							at := b*out + o
							if axis == 0 {
								at = o*batch + b
							}
							require.Equal(t, want, got[0].Data[at])
							gamma := terms * 0x1p-24 / (1 - terms*0x1p-24)
							require.InEpsilon(t, 2*gamma*mag, got[0].Bound[at], 1e-9)
						}
					}
				})
			}
		}
	}
}

// f32 runs a layer of the test's ops in float32, in the simplest order, with
// functions rounded from float64: what a kernel may give.
func f32(op *ir.Op, args [][]float32, w *weights, cols int) []float32 {
	x := args[0]
	y := make([]float32, len(x))
	attr := func(s string) float32 { return float32(op.Attrs.Get(s)) }
	get := func(v *ir.Weight, n int, fill float32) []float32 {
		if v != nil {
			d, _, _ := w.lookup(v.Tensor)
			return d
		}
		d := make([]float32, n)
		for i := range d {
			d[i] = fill
		}
		return d
	}
	fn := func(f func(float64) float64) []float32 {
		for i := range x {
			y[i] = float32(f(float64(x[i])))
		}
		return y
	}
	switch op.Kind {
	case "linear":
		m, _ := eval.Matrix(op.Weight, w.lookup)
		mask, _ := op.Weight.Pattern.Prune(m)
		bias := get(op.Bias, m.Rows, 0)
		y = make([]float32, len(x)/m.Cols*m.Rows)
		for r := range len(x) / m.Cols {
			for o := range m.Rows {
				s := bias[o]
				for c := range m.Cols {
					if mask.At(o, c) {
						s += m.Row(o)[c] * x[r*m.Cols+c]
					}
				}
				y[r*m.Rows+o] = s
			}
		}
	case "relu":
		return fn(func(v float64) float64 { return max(v, 0) })
	case "clamp":
		for i := range x {
			y[i] = min(max(x[i], attr("lo")), attr("hi"))
		}
	case "add":
		for i := range x {
			y[i] = x[i] + args[1][i]
		}
	case "mul":
		for i := range x {
			y[i] = x[i] * args[1][i]
		}
	case "sigmoid":
		return fn(func(v float64) float64 { return 1 / (1 + math.Exp(-v)) })
	case "silu":
		return fn(func(v float64) float64 { return v / (1 + math.Exp(-v)) })
	case "tanh":
		return fn(math.Tanh)
	case "gelu":
		if op.Attrs.Get("approx") == ir.GeluTanh {
			return fn(func(v float64) float64 {
				return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
			})
		}
		return fn(func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) })
	case "softmax":
		for r := 0; r < len(x); r += cols {
			m, s := x[r], float32(0)
			for _, v := range x[r : r+cols] {
				m = max(m, v)
			}
			for i := range cols {
				y[r+i] = float32(math.Exp(float64(x[r+i] - m)))
				s += y[r+i]
			}
			for i := range cols {
				y[r+i] /= s
			}
		}
	case "layernorm", "rmsnorm":
		gain, bias := get(op.Gain, cols, 1), get(op.Bias, cols, 0)
		for r := 0; r < len(x); r += cols {
			var mean, sq float32
			if op.Kind == "layernorm" {
				for _, v := range x[r : r+cols] {
					mean += v
				}
				mean /= float32(cols)
			}
			for _, v := range x[r : r+cols] {
				sq += (v - mean) * (v - mean)
			}
			s := float32(math.Sqrt(float64(sq/float32(cols) + attr("eps"))))
			for i := range cols {
				y[r+i] = (x[r+i]-mean)/s*gain[i] + bias[i]
			}
		}
	}
	return y
}

// TestFloat32StaysWithinTheBounds runs every op twice in a row in float32, so
// that the second sees an operand with a bound, on inputs of several sizes.
func TestFloat32StaysWithinTheBounds(t *testing.T) {
	const cols = 32
	stages := map[string]string{
		"linear": `linear(%s, w"w"[32, 32] : nm(2,4), bias=w"b")`, "relu": "relu(%s)", "clamp": "clamp(%s, -0.7, 0.9)",
		"add": "add(%s, z)", "mul": "mul(%s, z)", "sigmoid": "sigmoid(%s)", "silu": "silu(%s)", "tanh": "tanh(%s)",
		"gelu": "gelu(%s)", "gelutanh": "gelu(%s, tanh)", "softmax": "softmax(%s)",
		"layernorm": `layernorm(%s, gain=w"g", bias=w"b")`, "rmsnorm": `rmsnorm(%s, gain=w"g")`,
	}
	w := newWeights(5, map[string][]int{"w": {cols, cols}, "b": {cols}, "g": {cols}})
	seen := map[string]bool{}
	for name1, s1 := range stages {
		for name2, s2 := range stages {
			zs := "(x, z f32[t, 32])"
			if !strings.Contains(s1+s2, "z)") {
				zs = "(x f32[t, 32])"
			}
			l := load(t, w, fmt.Sprintf("layer l%s (y f32[t, 32]) where t in 1..64 {\nh = %s\ny = %s\n}", zs, fmt.Sprintf(s1, "x"), fmt.Sprintf(s2, "h")))
			for _, scale := range []float32{1e-3, 1, 30} {
				rng := rand.New(rand.NewPCG(11, uint64(scale*1e3)))
				inputs := [][]float32{random(rng, 8*cols), random(rng, 8*cols)}[:len(l.Inputs)]
				for i := range inputs[0] {
					inputs[0][i] *= scale
				}
				want, err := eval.Layer(l, w.lookup, inputs, map[string]int{"t": 8})
				require.NoError(t, err)
				vals := map[*ir.Value][]float32{}
				for i, v := range l.Inputs {
					vals[v] = inputs[i]
				}
				for _, op := range l.Ops {
					seen[op.Kind] = true
					var args [][]float32
					for _, a := range op.Args {
						args = append(args, vals[a])
					}
					vals[op.Out] = f32(op, args, w, cols)
				}
				for i, got := range vals[l.Outputs[0]] {
					diff := math.Abs(float64(got) - want[0].Data[i])
					require.LessOrEqual(t, diff, want[0].Bound[i], "%s then %s, scale %g, element %d: %g, want %g", name1, name2, scale, i, got, want[0].Data[i])
				}
			}
		}
	}
	for _, def := range ir.Ops() {
		require.True(t, seen[def.Name], "op %s has no test", def.Name)
	}
}

// TestBoundsOfAnFFNAreUseful: a bound that held anything would prove nothing.
func TestBoundsOfAnFFNAreUseful(t *testing.T) {
	w := newWeights(9, map[string][]int{"up": {256, 64}, "down": {64, 256}, "g": {64}, "b": {64}})
	l := load(t, w, `layer ffn(x f32[t, 64]) (y f32[t, 64]) where t in 1..4 {
    n = layernorm(x, gain=w"g", bias=w"b")
    h = linear(n, w"up" : nm(2,4)) | gelu
    y = x + linear(h, w"down" : nm(1,4))
}`)
	x := random(rand.New(rand.NewPCG(1, 2)), 4*64)
	got, err := eval.Layer(l, w.lookup, [][]float32{x}, map[string]int{"t": 4})
	require.NoError(t, err)
	worst, size := 0.0, 0.0
	for i := range got[0].Data {
		worst = max(worst, got[0].Bound[i])
		size = max(size, math.Abs(got[0].Data[i]))
	}
	require.Less(t, worst, 1e-2*size)

	// Without one kept weight of the first row the result leaves the bounds.
	data, _, _ := w.lookup("down")
	largest := 0
	for i, v := range data[:256] {
		if math.Abs(float64(v)) > math.Abs(float64(data[largest])) {
			largest = i
		}
	}
	data[largest] = 0
	less, err := eval.Layer(l, w.lookup, [][]float32{x}, map[string]int{"t": 4})
	require.NoError(t, err)
	outside := false
	for r := range 4 {
		outside = outside || math.Abs(less[0].Data[r*64]-got[0].Data[r*64]) > got[0].Bound[r*64]
	}
	require.True(t, outside)
}

func TestRank1AndWrongInput(t *testing.T) {
	w := newWeights(2, map[string][]int{"w": {3, 4}})
	l := load(t, w, `layer l(x f32[4]) (y f32[3]) { y = linear(x, w"w") | softmax }`)
	got, err := eval.Layer(l, w.lookup, [][]float32{{1, -2, 3, 0.5}}, nil)
	require.NoError(t, err)
	require.Equal(t, []int{3}, got[0].Shape)
	require.InDelta(t, 1, got[0].Data[0]+got[0].Data[1]+got[0].Data[2], 1e-12)

	_, err = eval.Layer(l, w.lookup, [][]float32{{1}}, nil)
	require.ErrorContains(t, err, "needs 4 elements, got 1")
	_, err = eval.Layer(l, w.lookup, nil, nil)
	require.ErrorContains(t, err, "has 1 inputs, got 0")
	delete(w.shapes, "w")
	_, err = eval.Layer(l, w.lookup, [][]float32{{1, -2, 3, 0.5}}, nil)
	require.ErrorContains(t, err, `no tensor "w"`)

	l = load(t, newWeights(2, nil), `layer l(x f32[t]) (y f32[t]) where t in 2..3 { y = x | relu }`)
	_, err = eval.Layer(l, w.lookup, [][]float32{{1}}, map[string]int{"t": 1})
	require.ErrorContains(t, err, "the extent t is 1, outside 2..3")
}
