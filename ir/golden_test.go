package ir

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shapesOf reads the section "shapes": a tensor and its extents on each line.
func shapesOf(t *testing.T, data string) Options {
	shapes := map[string][]int{}
	for line := range strings.Lines(data) {
		f := strings.Fields(line)
		for _, e := range f[1:] {
			n, err := strconv.Atoi(e)
			require.NoError(t, err)
			shapes[f[0]] = append(shapes[f[0]], n)
		}
	}
	return Options{
		Shapes: func(name string) ([]int, bool) { s, ok := shapes[name]; return s, ok },
		Tensors: func() []string {
			var names []string
			for n := range shapes {
				names = append(names, n)
			}
			slices.Sort(names)
			return names
		},
	}
}

// describe lists a module's ops.
func describe(m *Module) string {
	var b strings.Builder
	for _, l := range m.Layers {
		fmt.Fprintf(&b, "layer %s %v\n", l.Name, l.Dims)
		for _, op := range l.Ops {
			fmt.Fprintf(&b, "    %s = %s", op.Out, op.Kind)
			for _, a := range op.Args {
				fmt.Fprintf(&b, " (%s)", a)
			}
			for role, w := range map[string]*Weight{"w": op.Weight} {
				if w != nil {
					fmt.Fprintf(&b, " %s=%q [%d, %d] transposed=%v : %s", role, w.Tensor, w.Out, w.In, w.Transposed, w.Pattern)
				}
			}
			if op.Bias != nil {
				fmt.Fprintf(&b, " bias=%q [%d]", op.Bias.Tensor, op.Bias.Out)
			}
			fmt.Fprintf(&b, " %v\n", attrs(op))
		}
	}
	return b.String()
}

func attrs(op *Op) map[string]float64 {
	m := map[string]float64{}
	for _, a := range op.Attrs {
		m[a.Name] = a.Value
	}
	return m
}

func goldenFiles(t testing.TB) []string {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// TestGolden checks the sections errors, json, github, fmt and module of each
// archive against its section in.sg.
func TestGolden(t *testing.T) {
	for _, file := range goldenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			require.NoError(t, err)
			section := func(name string) string {
				for _, f := range ar.Files {
					if f.Name == name {
						return string(f.Data)
					}
				}
				return ""
			}
			src := []byte(section("in.sg"))
			var opt Options
			if s := section("shapes"); s != "" {
				opt = shapesOf(t, s)
			}
			m, err := Load("in.sg", src, opt)
			var list ErrorList
			if err != nil {
				require.True(t, errors.As(err, &list))
			}
			for i, f := range ar.Files {
				var got bytes.Buffer
				switch f.Name {
				case "errors":
					require.NoError(t, list.WriteText(&got))
				case "json":
					require.NoError(t, list.WriteJSON(&got))
				case "github":
					require.NoError(t, list.WriteGitHub(&got))
				case "fmt":
					out, err := Format("in.sg", src)
					require.NoError(t, err)
					got.Write(out)
					again, err := Format("in.sg", out)
					require.NoError(t, err)
					require.Equal(t, string(out), string(again))
				case "module":
					require.NoError(t, err)
					got.WriteString(describe(m))
				default:
					continue
				}
				if *update {
					ar.Files[i].Data = got.Bytes()
				} else {
					require.Equal(t, string(f.Data), got.String(), "section %s; run with -update if the change is right", f.Name)
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(file, txtar.Format(ar), 0o644))
			}
		})
	}
}

// TestTenMistakesGiveTenErrors reads the golden file that promises it.
func TestTenMistakesGiveTenErrors(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/ten-mistakes.txtar")
	require.NoError(t, err)
	for _, f := range ar.Files {
		if f.Name == "errors" {
			codes := map[string]bool{}
			for _, line := range strings.Split(string(f.Data), "\n") {
				if strings.HasPrefix(line, "in.sg:") {
					codes[strings.Fields(line)[2]] = true
				}
			}
			require.Equal(t, 10, strings.Count(string(f.Data), ": error SG"))
			require.Len(t, codes, 10)
		}
	}
}
