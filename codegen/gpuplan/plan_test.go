package gpuplan_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func load(t testing.TB, layers string) *ir.Module {
	m, err := ir.Load("spec.sg", []byte("sparsegen 1\n"+layers), ir.Options{})
	require.NoError(t, err)
	return m
}

// describe is a layer's steps in short: x -> y, with what is in between.
func describe(l *ir.Layer) string {
	steps, bad := gpuplan.Steps(l)
	var parts []string
	for _, s := range steps {
		p := s.Linear.Weight.Tensor
		if s.Act != nil {
			p += " " + s.Act.Kind
		}
		if s.Residual != nil {
			p += " +" + s.Residual.Name
		}
		parts = append(parts, p)
	}
	for _, b := range bad {
		parts = append(parts, fmt.Sprintf("! %d %s", b.Pos.Line, b.Msg))
	}
	return strings.Join(parts, "; ")
}

func TestSteps(t *testing.T) {
	const head = "layer l(x, z bf16[t, 64]) (y bf16[t, 64]) where t in 1..8 {\n"
	for _, c := range []struct{ body, want string }{
		{"y = z + (linear(x, w\"a\") | gelu)", "a gelu +z"},
		{"y = linear(x, w\"a\") + z", "a +z"},
		{"h = linear(x, w\"a\") | relu\ny = z + linear(h, w\"b\")", "a relu; b +z"},
		// The later of two products takes the addition, the other is there by then.
		{"y = linear(x, w\"a\") + linear(z, w\"b\")", "a; b +"},
		{"a = linear(x, w\"a\")\nb = linear(a, w\"b\")\ny = a + b + linear(z, w\"c\")", "a; b +a; c +"},
		{"y = relu(x) + linear(z, w\"a\")", "a +; ! 3 relu has no kernel of its own on a GPU"},
		{"h = linear(x, w\"a\")\ny = relu(h) + h + z", "a; ! 4 relu has no kernel of its own on a GPU; ! 4 add has no kernel of its own on a GPU; ! 4 add has no kernel of its own on a GPU"},
		{"h = linear(x + z, w\"a\")\ny = h + h", "a; ! 3 add has no kernel of its own on a GPU; ! 4 add has no kernel of its own on a GPU"},
		{"y = linear(x + z, w\"a\") | relu | silu", "a relu; ! 3 add has no kernel of its own on a GPU; ! 3 silu has no kernel of its own on a GPU"},
		{"h = linear(x, w\"a\") * linear(z, w\"b\")\ny = softmax(h)", "a; b; ! 3 mul has no kernel on a GPU; ! 4 softmax has no kernel on a GPU"},
		{"y = (linear(x, w\"a\") | clamp(0, 6)) + z", "a; ! 3 clamp has no kernel on a GPU; ! 3 add has no kernel of its own on a GPU"},
	} {
		m := load(t, head+regexp.MustCompile(`w"\w+"`).ReplaceAllString(c.body, "$0[64, 64]")+"\n}\n")
		require.Equal(t, c.want, describe(m.Layers[0]), c.body)
	}
	m := load(t, "layer l(x f16[64, t]) (y f16[64, t]) where t in 1..8 { y = linear(x, w\"a\", axis=0) }\n")
	require.Equal(t, "a; ! 2 linear over the first axis has no kernel on a GPU", describe(m.Layers[0]))
}

func TestTakes(t *testing.T) {
	m := load(t, `
layer a(x bf16[t, 8]) (y bf16[t, 8]) where t in 1..8 { y = linear(x, w"a") }
layer b(x f16[t, 8]) (y f16[t, 8]) where t in 1..8 { y = linear(x, w"a") }
layer c(x f32[t, 8]) (y f32[t, 8]) where t in 1..8 { y = linear(x, w"a") }
`)
	require.True(t, gpuplan.Takes(m.Layers[0]))
	require.True(t, gpuplan.Takes(m.Layers[1]))
	require.False(t, gpuplan.Takes(m.Layers[2]))
}

// TestForms: the levels of the pattern decide.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		pattern string
		in      int
		form    gpu.Form
		note    string
	}{
		{"dense", 64, gpu.Dense, ""},
		{"nm(2,4)", 64, gpu.NM24, ""},
		{"nm(1,4)", 64, gpu.NM24, "1:4 is a special case of 2:4"},
		{"nm(1,2)", 64, gpu.NM24, "1:2 is a special case"},
		{"nm(2,8)", 64, gpu.NM24, "2:8 is a special case"},
		{"nm(1,3)", 96, gpu.NM24, "1:3 is a special case"},
		{"nm(4,8)", 64, gpu.Dense, "4:8 may keep 4 of four neighbours"},
		{"nm(2,3)", 96, gpu.Dense, "2:3 may keep 4 of four neighbours"},
		{"nm(1,3)", 66, gpu.Dense, "66 inputs are no multiple of 4"},
		{"unstructured", 64, gpu.Dense, "no form of its own on a GPU"},
		{"block(4,4)", 64, gpu.Dense, "no form of its own on a GPU"},
		{"block(48,64)", 64, gpu.Dense, "blocks of 128 by 64 in which the weights have nothing may be left out"},
		{"channel(cols)", 64, gpu.Dense, "rows or columns in which the weights have nothing may be left out"},
		{"channel(cols) & nm(2,4)", 64, gpu.Dense, "no form of its own on a GPU"},
		{"channel(rows) & nm(2,4)", 64, gpu.NM24, "rows or columns"},
		{"perm(nm(2,4),cols,seed=1)", 64, gpu.Dense, "no form of its own on a GPU"},
	} {
		m := load(t, fmt.Sprintf("layer l(x bf16[t, %d]) (y bf16[t, 48]) where t in 1..8 { y = linear(x, w\"a\" : %s) }\n", c.in, c.pattern))
		plan, err := gpuplan.Plan(m.Layers[0], ptx.SM90a())
		require.NoError(t, err, c.pattern)
		s := plan.Steps[0]
		require.Equal(t, c.form, s.Form, c.pattern)
		if c.note == "" {
			require.Empty(t, s.Note, c.pattern)
		}
		require.Contains(t, s.Note, c.note, c.pattern)
	}
}

// TestChoicesCoverTheTokens: ranges without a gap, each with a kernel that
// computes both of its ends on the reference device.
func TestChoicesCoverTheTokens(t *testing.T) {
	for _, c := range []struct{ where, out, in string }{
		{"1..1", "64", "64"}, {"1..131072", "4096", "4096"}, {"3..200", "1000", "520"}, {"5000..5000", "14336", "4096"}, {"17..64", "8", "8"},
	} {
		for _, dtype := range []string{"bf16", "f16"} {
			for _, pattern := range []string{"dense", "nm(2,4)"} {
				m := load(t, fmt.Sprintf("layer l(x %[1]s[t, %[2]s]) (y %[1]s[t, %[3]s]) where t in %[4]s { y = linear(x, w\"a\" : %[5]s, bias=w\"b\") | silu }\n",
					dtype, c.in, c.out, c.where, pattern))
				for _, target := range gpuplan.Targets() {
					plan, err := gpuplan.Plan(m.Layers[0], target)
					require.NoError(t, err)
					s := plan.Steps[0]
					next := s.TokensMin
					for i, ch := range s.Choices {
						require.Equal(t, next, ch.TokensMin)
						require.GreaterOrEqual(t, ch.TokensMax, ch.TokensMin)
						next = ch.TokensMax + 1
						require.Positive(t, ch.Bytes)
						require.Positive(t, ch.Cycles)
						if i > 0 {
							require.NotEqual(t, s.Choices[i-1].Config, ch.Config, "neighbours that could be one range")
						}
					}
					require.Equal(t, s.TokensMax, next-1)
				}
			}
		}
	}
}

func TestCheck(t *testing.T) {
	m := load(t, `
layer ok(x bf16[t, 8]) (y bf16[t, 8]) where t in 1..8 { y = linear(x, w"a") | tanh }
layer no(x bf16[t, 8]) (y bf16[t, 8]) where t in 1..8 { y = rmsnorm(linear(x, w"a")) }
`)
	require.Empty(t, gpuplan.Check(m.Layers[0], ptx.SM80()))
	bad := gpuplan.Check(m.Layers[1], ptx.SM90a())
	require.Len(t, bad, 1)
	require.Equal(t, "rmsnorm has no kernel on a GPU", bad[0].Msg)
	require.Equal(t, 4, bad[0].Pos.Line)
}
