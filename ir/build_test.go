package ir_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ir"
)

func TestBuilderGivesTheModuleOfTheText(t *testing.T) {
	b := ir.Build("ffn.sg").Weights("model.safetensors").Target("amd64", "avx2").Target("arm64")
	l := b.Layer("ffn").Dim("t", 1, 128)
	x := l.Input("x", ir.F32, "t", 512)
	l.Output("y", ir.F32, "t", 512)
	up := ir.W("dense/kernel").T().Shape(512, 1536).Pattern("nm( 2,4 )")
	h := l.Let("h", l.Op("linear", x, up, ir.Named("bias", ir.W("dense/bias"))).Pipe("gelu", ir.Word("tanh")))
	y := l.Op("linear", h, ir.W("dense_1/kernel").Pattern("dense | diag(-1,width=2)"))
	l.Let("y", l.Op("add", x, y.Pipe("clamp", -0.5, 6)))

	const want = `sparsegen 1

weights "model.safetensors"
target amd64(avx2)
target arm64

layer ffn(x f32[t, 512]) (y f32[t, 512]) where t in 1..128 {
    h = linear(x, w"dense/kernel"[512, 1536].T : nm(2,4), bias=w"dense/bias") | gelu(tanh)
    y = add(x, linear(h, w"dense_1/kernel" : dense | diag(-1,width=2)) | clamp(-0.5, 6))
}
`
	src, err := b.Source()
	require.NoError(t, err)
	require.Equal(t, want, src)
	got, err := b.Module(ir.Options{})
	require.NoError(t, err)
	parsed, err := ir.Load("ffn.sg", []byte(want), ir.Options{})
	require.NoError(t, err)
	require.Equal(t, parsed, got)
}

// noPlaces removes positions, in which a hand-written text may differ.
func noPlaces(m *ir.Module) *ir.Module {
	for _, l := range m.Layers {
		l.Pos = ir.Pos{}
		for _, op := range l.Ops {
			op.Pos = ir.Pos{}
			for _, w := range []*ir.Weight{op.Weight, op.Bias, op.Gain} {
				if w != nil {
					w.Pos = ir.Pos{}
				}
			}
		}
	}
	return m
}

// TestBuilderEqualsText builds random layers twice: with the Builder, and as a
// text of its own, in no canonical form.
func TestBuilderEqualsText(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := ir.Build("random.sg")
		var text strings.Builder
		text.WriteString("sparsegen 1\n")
		for layer := range 1 + rng.IntN(3) {
			width := 8 * (1 + rng.IntN(4))
			name := fmt.Sprintf("l%d", layer)
			l := b.Layer(name).Dim("t", 1, 1+rng.IntN(64))
			module := l.Input("x0", ir.F32, "t", width)
			second := l.Input("z", ir.F32, "t", width)
			var body strings.Builder
			values := []*ir.Ref{module}
			n := 1 + rng.IntN(8)
			for i := 1; i <= n; i++ {
				x := values[len(values)-1]
				var y *ir.Ref
				var expr string
				prev := fmt.Sprintf("x%d", i-1)
				switch rng.IntN(7) {
				case 0:
					y, expr = l.Op("linear", x, ir.W("w").Shape(width, width).Pattern("nm(1,4)")), fmt.Sprintf("linear( %s,w\"w\" [%d,%d]:nm(1,4))", prev, width, width)
				case 1:
					y, expr = l.Op("linear", x, ir.W("w").T(), ir.Named("bias", ir.W("b"))).Pipe("relu"), prev+" | linear(w=w\"w\".T, bias=w\"b\")|relu"
					// A weight between values of known width has a known shape; the
					// result is known from the sum.
					y = l.Op("add", y, second)
					expr = "(" + expr + ") + z"
				case 2:
					lo := math.Round(rng.NormFloat64()*100) / 100
					y, expr = x.Pipe("clamp", lo, ir.Named("hi", lo+1)), fmt.Sprintf("clamp(%s, lo=%v, hi=%v)", prev, lo, lo+1)
				case 3:
					y, expr = x.Pipe("gelu", ir.Word("erf")), "gelu("+prev+")"
				case 4:
					y, expr = l.Op("mul", x, second), prev+"*z"
				case 5:
					y, expr = l.Op("layernorm", x, ir.Named("gain", ir.W("g")), ir.Named("eps", 1e-6)), prev+"\n  | layernorm(w\"g\",eps=0.000001)"
				case 6:
					y, expr = l.Op("softmax", x, ir.Named("axis", 0)), "softmax("+prev+", 1-1)"
				}
				values = append(values, l.Let(fmt.Sprintf("x%d", i), y))
				fmt.Fprintf(&body, "  x%d=%s // step %d\n", i, expr, i)
			}
			l.Output("y", ir.F32, "t", width)
			l.Let("y", l.Op("add", values[n], second))
			var hi int
			src, err := b.Source()
			require.NoError(t, err)
			_, rest, _ := strings.Cut(src, "layer "+name+"(")
			_, rest, _ = strings.Cut(rest, "t in 1..")
			_, err = fmt.Sscanf(rest, "%d", &hi)
			require.NoError(t, err)
			fmt.Fprintf(&text, "layer %s(x0, z f32[t,%d])(y f32[t, %d]) where t in 1..%d\n{\n%s  y=x%d+z }\n", name, width, width, hi, body.String(), n)
		}
		got, err := b.Module(ir.Options{})
		require.NoError(t, err)
		want, err := ir.Load("random.sg", []byte(text.String()), ir.Options{})
		require.NoError(t, err, text.String())
		require.Equal(t, noPlaces(want), noPlaces(got), text.String())

		src, err := b.Source()
		require.NoError(t, err)
		formatted, err := ir.Format("random.sg", []byte(src))
		require.NoError(t, err)
		require.Equal(t, src, string(formatted))
	}
}

func TestBuilderMistakesAreErrors(t *testing.T) {
	for want, build := range map[string]func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref){
		`"2x" cannot be a name`:    func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { b.Layer("2x") },
		`"layer" cannot be a name`: func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Let("layer", x) },
		`"a b" cannot be a name`:   func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Op("a b", x) },
		"a value is nil":           func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Op("relu", (*ir.Ref)(nil)) },
		"belongs to another Builder": func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) {
			ir.Build("o").Layer("l").Op("relu", x)
			l.Op("relu", ir.Build("o").Layer("l").Input("x", ir.F32, 1))
		},
		"is used twice; name it with Let":               func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { y := x.Pipe("relu"); l.Op("add", y, y) },
		"an argument of relu is a string":               func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Op("relu", "x") },
		"an argument of clamp is NaN":                   func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { x.Pipe("clamp", math.NaN(), 6) },
		"an extent of q is a float64":                   func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Input("q", ir.F32, 1.5) },
		"q has no shape":                                func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Input("q", ir.F32) },
		"dtype(77) of q is no element type":             func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Input("q", ir.DType(77), 4) },
		`the pattern of "w": pattern:1:3: error SG0007`: func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Op("linear", x, ir.W("w").Pattern("nm(")) },
		"the range -1..2 of n is negative":              func(b *ir.Builder, l *ir.LayerBuilder, x *ir.Ref) { l.Dim("n", -1, 2) },
	} {
		b := ir.Build("wrong.sg")
		l := b.Layer("l")
		x := l.Input("x", ir.F32, 4)
		l.Output("y", ir.F32, 4)
		l.Let("y", x.Pipe("relu"))
		build(b, l, x)
		_, err := b.Source()
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "build_test.go:")
		_, err = b.Module(ir.Options{})
		require.ErrorContains(t, err, want)
	}
	// What the builder cannot see, Check does.
	b := ir.Build("wrong.sg")
	l := b.Layer("l")
	x := l.Input("x", ir.F32, 4)
	l.Output("y", ir.F32, 5)
	l.Let("y", x.Pipe("relu"))
	_, err := b.Module(ir.Options{})
	require.ErrorContains(t, err, "SG0106")
}
