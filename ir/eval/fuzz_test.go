package eval_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
)

// draw turns fuzzed bytes into choices; all are 0 once the bytes are used up.
type draw []byte

func (d *draw) below(n int) int {
	if len(*d) == 0 {
		return 0
	}
	b := int((*d)[0])
	*d = (*d)[1:]
	return b % n
}

func pick[T any](d *draw, from ...T) T { return from[d.below(len(from))] }

// speller writes a spec that is mostly right: each statement works on the value
// of the one before it. A tensor's name says its shape: w12x8, b12.
type speller struct {
	*draw
	text  strings.Builder
	first bool   // the batch is the first axis
	batch string // t, or a number
	names int
}

// spell is the spec that d's choices make.
func spell(d *draw) string {
	s := &speller{draw: d, first: d.below(4) != 3, batch: pick(d, "t", "t", "t", "3")}
	s.text.WriteString("sparsegen 1\n" + pick(d, "", "weights \"a\"\n", "target amd64(avx2)\n"))
	for l := range 1 + d.below(2) {
		s.layer(l)
	}
	text := s.text.String()
	for range max(0, d.below(6)-2) {
		text = spoil(d, text)
	}
	return text
}

func (s *speller) width() int { return pick(s.draw, 8, 4, 12, 16, 1, 7, 32) }

func (s *speller) layer(l int) {
	dtype := pick(s.draw, "f32", "f32", "f32", "bf16", "f16", "i8")
	value := func(width int) string {
		if s.first {
			return fmt.Sprintf("%s[%s, %d]", dtype, s.batch, width)
		}
		return fmt.Sprintf("%s[%d, %s]", dtype, width, s.batch)
	}
	in, names, at := s.width(), "x", "x"
	if s.below(3) == 2 {
		names, at = "x, z", pick(s.draw, "(x + z)", "x * z", "add(x, z)", "mul(z, z) + x")
	}
	width := in
	var body strings.Builder
	for range s.below(4) {
		e, w := s.op(at, width)
		s.names++
		at, width = fmt.Sprintf("h%d", s.names), w
		fmt.Fprintf(&body, "    %s = %s%s", at, e, pick(s.draw, "\n", "\n", ";", " // c\n"))
	}
	e, out := s.op(at, width)
	fmt.Fprintf(&s.text, "layer l%d(%s %s) (y %s)", l, names, value(in), value(out))
	if s.batch == "t" {
		fmt.Fprintf(&s.text, " where t in %d..%d", 1+s.below(3), 3+s.below(40))
	}
	fmt.Fprintf(&s.text, " {\n%s    y = %s\n}\n", body.String(), e)
}

// op is an expression over x, a value of so many features, and its own width.
func (s *speller) op(x string, width int) (string, int) {
	axis := ""
	if !s.first {
		axis = ", axis=0"
	}
	switch s.below(12) {
	case 0, 1, 2:
		out := s.width()
		w := fmt.Sprintf(`w"w%dx%d"`, out, width)
		switch s.below(4) {
		case 1:
			w = fmt.Sprintf(`w"w%dx%d".T`, width, out)
		case 2:
			w = fmt.Sprintf(`w"v"[%d, %d]`, out, width)
		}
		if s.below(4) != 0 {
			w += " : " + s.pattern(2)
		}
		bias := ""
		if s.below(2) == 1 {
			bias = fmt.Sprintf(`, bias=w"b%d"`, out)
		}
		return fmt.Sprintf("linear(%s, %s%s%s)%s", x, w, bias, axis, pick(s.draw, "", " | relu", " | gelu(tanh)")), out
	case 3:
		return pick(s.draw, "relu(", "gelu(", "silu(", "sigmoid(", "tanh(") + x + ")", width
	case 4:
		return fmt.Sprintf("clamp(%s, %s, %s)", x, pick(s.draw, "0", "-1", "-6/2", "2", "1e30"), pick(s.draw, "6", "1", "1e-3", "-2*3")), width
	case 5:
		return fmt.Sprintf("softmax(%s%s)", x, axis), width
	case 6:
		return fmt.Sprintf(`layernorm(%s, gain=w"b%d"%s%s)`, x, width, pick(s.draw, "", ", eps=1e-3", ", eps=0"), axis), width
	case 7:
		return fmt.Sprintf("rmsnorm(%s%s)", x, axis), width
	case 8:
		return x + pick(s.draw, " + ", " * ") + x, width
	case 9:
		return fmt.Sprintf("%s | %s | %s", x, pick(s.draw, "relu", "gelu(erf)"), pick(s.draw, "silu", "clamp(0, 6)", "tanh")), width
	}
	return fmt.Sprintf("add(%s, relu(%s))", x, x), width
}

// pattern is one that covers most of the widths above.
func (s *speller) pattern(depth int) string {
	switch s.below(12) {
	case 0:
		return fmt.Sprintf("nm(%d,%d)", 1+s.below(3), pick(s.draw, 4, 2, 8))
	case 1:
		return fmt.Sprintf("block(%d,%d)", pick(s.draw, 4, 1, 2), pick(s.draw, 1, 4))
	case 2:
		return fmt.Sprintf("unstructured(sparsity=0.%d)", s.below(10))
	case 3:
		return pick(s.draw, "channel(rows)", "channel(cols,sparsity=0.5)", "channel(rows,sparsity=0.3)")
	case 4:
		return fmt.Sprintf("stripe(%d:%d)", s.below(4), 1+s.below(8))
	case 5:
		return fmt.Sprintf("diag(%d,width=%d)", s.below(9)-4, 1+s.below(5))
	case 6, 7:
		if depth > 0 {
			return s.pattern(depth-1) + pick(s.draw, " | ", " & ") + s.pattern(depth-1)
		}
	case 8:
		if depth > 0 {
			return fmt.Sprintf("perm(%s,%s,seed=%d)", s.pattern(depth-1), pick(s.draw, "rows", "cols"), s.below(256))
		}
	case 9:
		return "dense"
	}
	return "unstructured"
}

// spoil changes a piece of the text to something else of the language.
func spoil(d *draw, text string) string {
	i := (d.below(256) + 256*d.below(256)) % len(text)
	j := min(len(text), i+d.below(8))
	return text[:i] + pick(d, "", "(", ")", " x ", " t ", "0", "1e9", ".T", " | relu", " y ", "[", "]", ":", ",", "\n", "h1", "axis=1", "w\"q\"", "-", "..", "2147483647", "bf16", "}") + text[j:]
}

// tensors gives tensors of the shape that their names say.
func tensors(name string) ([]int, bool) {
	var a, b int
	if n, _ := fmt.Sscanf(name, "w%dx%d", &a, &b); n == 2 && a > 0 && b > 0 && a <= 64 && b <= 64 {
		return []int{a, b}, true
	}
	if n, _ := fmt.Sscanf(name, "b%d", &a); n == 1 && a > 0 && a <= 64 {
		return []int{a}, true
	}
	return nil, false
}

// FuzzSpec spells small specs, most of which have a meaning: what the checker
// accepts is evaluated, and its canonical print means the same.
func FuzzSpec(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		b := make([]byte, 8+rng.IntN(60))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		d := draw(choices)
		checkSpec(t, spell(&d))
	})
}

// TestSpelledSpecs counts how many of FuzzSpec's specs have a meaning, so that
// it cannot come to test errors alone.
func TestSpelledSpecs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	good, all := 0, 600
	for range all {
		d := make(draw, 80)
		for i := range d {
			d[i] = byte(rng.Uint32())
		}
		if checkSpec(t, spell(&d)) {
			good++
		}
	}
	require.Greater(t, good, all/6)
	require.Less(t, good, all*9/10)
}

// checkSpec reports whether the spec has a meaning and was evaluated.
func checkSpec(t *testing.T, text string) bool {
	options := ir.Options{Shapes: tensors}
	m, err := ir.Load("f.sg", []byte(text), options)
	if err != nil {
		var list ir.ErrorList
		require.True(t, errors.As(err, &list), "%v", err)
		for _, e := range list {
			require.Positive(t, e.Pos.Line, text)
		}
		return false
	}
	file, err := ir.Parse("f.sg", []byte(text))
	require.NoError(t, err, text)
	printed, err := ir.Load("f.sg", []byte(ir.Print(file)), options)
	require.NoError(t, err, text)
	require.Len(t, printed.Layers, len(m.Layers))
	ran := false
	for i, l := range m.Layers {
		want, ok := evaluate(t, l, text)
		got, _ := evaluate(t, printed.Layers[i], text)
		require.Equal(t, want, got, text)
		ran = ran || ok
	}
	return ran
}

// evaluate runs a layer at its smallest batch and gives the bits of its outputs;
// ok is false where it is too large to.
func evaluate(t *testing.T, l *ir.Layer, text string) (bits [][]uint64, ok bool) {
	const most = 1 << 14
	dims := map[string]int{}
	for _, d := range l.Dims {
		dims[d.Name] = d.Min
	}
	size := func(v *ir.Value) int {
		shape, err := v.Size(dims)
		require.NoError(t, err, text)
		n := 1
		for _, e := range shape {
			require.Positive(t, e, text)
			if n *= e; n > most {
				return most + 1
			}
		}
		return n
	}
	elements := map[string]int{}
	for _, op := range l.Ops {
		if size(op.Out) > most {
			return nil, false
		}
		for _, w := range []*ir.Weight{op.Weight, op.Bias, op.Gain} {
			if w == nil {
				continue
			}
			elements[w.Tensor] = w.Out * max(1, w.In)
			if w.Out > most || w.In > most || elements[w.Tensor] > most {
				return nil, false
			}
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	var in [][]float32
	for _, v := range l.Inputs {
		if size(v) > most {
			return nil, false
		}
		in = append(in, random(rng, size(v)))
	}
	data := map[string][]float32{}
	outs, err := eval.Layer(l, func(name string) ([]float32, []int, error) {
		if data[name] == nil {
			data[name] = random(rng, elements[name])
		}
		return data[name], nil, nil
	}, in, dims)
	require.NoError(t, err, text)
	require.Len(t, outs, len(l.Outputs), text)
	for i, o := range outs {
		require.Len(t, o.Data, size(l.Outputs[i]), text)
		require.Len(t, o.Bound, len(o.Data), text)
		var b []uint64
		for j, y := range o.Data {
			require.False(t, o.Bound[j] < 0, text)
			b = append(b, math.Float64bits(y), math.Float64bits(o.Bound[j]))
		}
		bits = append(bits, b)
	}
	return bits, true
}
