package ir

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// strip removes what two trees of one meaning may differ in: places, paths and
// the source.
func strip(f *File) *File {
	f.Path, f.src, f.errs = "", nil, nil
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *WeightsDecl:
			d.At = 0
		case *TargetDecl:
			d.At = 0
			for _, t := range d.Targets {
				t.Arch.At = 0
				stripIdents(t.ISAs)
			}
		case *LayerDecl:
			d.At = 0
			for _, g := range append(append([]*Param(nil), d.Inputs...), d.Outputs...) {
				stripIdents(g.Names)
				g.Type.DType.At = 0
				stripExprs(g.Type.Shape...)
			}
			for _, r := range d.Where {
				r.Dim.At, r.Min.At, r.Max.At = 0, 0, 0
			}
			stripBlock(&d.Body)
		}
	}
	return f
}

func stripIdents(ids []Ident) {
	for i := range ids {
		ids[i].At = 0
	}
}

func stripBlock(b *Block) {
	for _, s := range b.Stmts {
		s.At = 0
		stripIdents(s.Names)
		stripExprs(s.Value)
		if s.Body != nil {
			stripBlock(s.Body)
		}
	}
}

func stripExprs(es ...Expr) {
	for _, e := range es {
		if e == nil {
			continue
		}
		walk(e, func(e Expr) {
			switch e := e.(type) {
			case *Name:
				e.At = 0
			case *Number:
				e.At = 0
			case *String:
				e.At = 0
			case *WeightRef:
				e.At = 0
			case *ListRef:
				e.At = 0
			case *Call:
				e.At = 0
				for _, a := range e.Args {
					a.Name.At, a.patAt, a.patEnd = 0, 0, 0
					stripExprs(a.Pattern)
				}
			case *Index:
				e.At = 0
			case *Slice:
				e.At = 0
			case *Field:
				e.At = 0
			case *Unary:
				e.At = 0
			case *Binary:
				e.At = 0
			case *Seq:
				e.At = 0
			}
		})
	}
}

// checkRoundTrip holds the properties of parser, printer and checker for any
// source.
func checkRoundTrip(t *testing.T, src []byte) {
	f, err := Parse("f.sg", src)
	if err != nil {
		var list ErrorList
		require.True(t, errors.As(err, &list))
		for _, e := range list {
			require.GreaterOrEqual(t, e.Pos.Line, 1)
			require.GreaterOrEqual(t, e.Pos.Col, 1)
			require.NotContains(t, e.Msg, "\n")
			require.LessOrEqual(t, strings.Count(e.Text(), "\n"), 4)
		}
	} else {
		text := Print(f)
		g, err := Parse("f.sg", []byte(text))
		require.NoError(t, err, "printed as:\n%s", text)
		require.Equal(t, text, Print(g), "printing is not idempotent")
		require.Equal(t, strip(f), strip(g), "printed as:\n%s", text)
	}
	m, err := Load("f.sg", src, Options{Shapes: func(name string) ([]int, bool) {
		return []int{len(name), 4, 1}[:len(name)%4], len(name)%5 != 0
	}})
	if err == nil {
		require.NotEmpty(t, m.Layers)
		for _, l := range m.Layers {
			for _, op := range l.Ops {
				require.NotNil(t, op.Out)
				require.NotEmpty(t, op.Out.Shape)
				if op.Weight != nil {
					require.NotNil(t, op.Weight.Pattern)
					require.NoError(t, op.Weight.Pattern.Validate(op.Weight.Out, op.Weight.In))
				}
			}
		}
	}
}

func seeds(t testing.TB) [][]byte {
	out := [][]byte{[]byte(ffnSpec), manyLayers(1), nil, []byte("sparsegen 1"), []byte("\ufeffsparsegen 1\r\nlayer a(x f32[1]) (y f32[1]) {\r\n y = x // c\r\n | relu\r\n}\r\n")}
	for _, file := range goldenFiles(t) {
		ar, err := txtar.ParseFile(file)
		require.NoError(t, err)
		for _, f := range ar.Files {
			if f.Name == "in.sg" || f.Name == "fmt" {
				out = append(out, f.Data)
			}
		}
	}
	return out
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src []byte) { checkRoundTrip(t, src) })
}

// TestDamagedSpecs deletes, doubles and swaps pieces of good specs: whatever
// comes of it is read or reported, and never panics.
func TestDamagedSpecs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := seeds(t)
	for range 1000 {
		src := append([]byte(nil), all[rng.IntN(len(all))]...)
		for range 1 + rng.IntN(3) {
			if len(src) < 2 {
				break
			}
			i := rng.IntN(len(src))
			j := min(len(src), i+1+rng.IntN(6))
			switch rng.IntN(4) {
			case 0:
				src = append(src[:i:i], src[j:]...)
			case 1:
				src = append(src[:j:j], src[i:]...)
			case 2:
				src[i] = "(){}[],;:=|&+*-.\"w@/\n #\x00\xff5e"[rng.IntN(27)]
			case 3:
				other := all[rng.IntN(len(all))]
				if len(other) > 0 {
					k := rng.IntN(len(other))
					src = append(src[:i:i], append(append([]byte(nil), other[k:min(len(other), k+20)]...), src[i:]...)...)
				}
			}
		}
		checkRoundTrip(t, src)
	}
}

func TestDeepAndLongInputIsRefused(t *testing.T) {
	const head = "sparsegen 1\nlayer a(x f32[4]) (y f32[4]) {\n    y = "
	for name, body := range map[string]string{
		"parentheses": strings.Repeat("(", 1e5),
		"calls":       strings.Repeat("relu(", 1e5),
		"minus":       strings.Repeat("-", 1e5),
		"lists":       strings.Repeat("[", 1e5),
		"pipes":       "x" + strings.Repeat(" | relu", 1e5),
		"indices":     "x" + strings.Repeat("[1]", 1e5),
		"fields":      "x" + strings.Repeat(".a", 1e5),
		"blocks":      strings.Repeat("x {\n", 1e5),
		"patterns":    "linear(x, w\"w\" : " + strings.Repeat("perm(", 1e5),
	} {
		_, err := Load("deep.sg", []byte(head+body), Options{})
		require.ErrorContains(t, err, string(codeLimit), name)
	}
	_, err := Load("long.sg", []byte("sparsegen 1\n"+strings.Repeat(" ", maxSource)), Options{})
	require.ErrorContains(t, err, string(codeLimit))
}
