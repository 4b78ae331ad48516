package tool

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/patterns"
)

// InitOptions are the options of Init.
type InitOptions struct {
	Dir     string // "" is the working folder; made if it is missing
	Weights string // weight file to start from; "" makes a small random one
	// Orientation says which axis of a matrix of Weights is the output: auto (or
	// ""), out-in or in-out.
	Orientation string
	Package     string // "" is the name that the folder's Go files have, or the folder's
}

// The names of what Init writes.
const (
	starterSpec    = "model.sg"
	starterWeights = "model.safetensors"
	starterDoc     = "doc.go"
	starterTest    = "model_test.go"
)

//go:embed starter/model.sg
var starterModel []byte

//go:embed starter/doc.go.tmpl
var starterDocText string

//go:embed starter/model_test.go.tmpl
var starterTestText string

// Init writes a starter: a spec, a Go file with the go:generate lines, and a
// test that runs the spec's layers; without weights to start from also a small
// random weight file. It overwrites nothing: where the spec exists it fails, and
// the other files are left as they are.
func Init(_ context.Context, c Console, o InitOptions) error {
	dir := o.Dir
	if dir == "" {
		dir = "."
	}
	spec := filepath.Join(dir, starterSpec)
	if _, err := os.Lstat(spec); err == nil {
		return fmt.Errorf("%s exists; nothing was written", spec)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	pkg := o.Package
	if pkg == "" {
		var err error
		if pkg, err = packageName(dir, ""); err != nil {
			return err
		}
	}
	text := starterModel
	if o.Weights != "" {
		axes, err := weights.ParseOrientation(cmp.Or(o.Orientation, "auto"))
		if err != nil {
			return err
		}
		if text, err = specFromWeights(c, dir, o.Weights, axes); err != nil {
			return err
		}
	} else if err := unlessThere(c, filepath.Join(dir, starterWeights), writeStarterWeights); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{starterDoc, starterDocText}, {starterTest, starterTestText}} {
		t, err := template.New(f.name).Parse(f.text)
		if err != nil {
			return err
		}
		err = unlessThere(c, filepath.Join(dir, f.name), func(path string) error {
			var b strings.Builder
			if err := t.Execute(&b, struct{ Package string }{pkg}); err != nil {
				return err
			}
			return atomicfile.WriteBytes(path, []byte(b.String()))
		})
		if err != nil {
			return err
		}
	}
	// The spec comes last: where it is, the starter is complete.
	if err := atomicfile.WriteBytes(spec, text); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "wrote", spec)
	return nextSteps(c, dir)
}

// unlessThere writes a file, or says that it exists and stays.
func unlessThere(c Console, path string, write func(path string) error) error {
	if _, err := os.Lstat(path); err == nil {
		fmt.Fprintln(c.Out, "exists", path)
		return nil
	}
	if err := write(path); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "wrote", path)
	return nil
}

// nextSteps says what to do next in this folder.
func nextSteps(c Console, dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	mod, err := enclosingModule(abs)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "\nNext:")
	line := func(cmd, why string) { fmt.Fprintf(c.Out, "  %-60s # %s\n", cmd, why) }
	if dir != "." {
		line("cd "+dir, "here is everything that was written")
	}
	if mod == "" {
		line("go mod init example.com/"+filepath.Base(abs), "there is no go.mod yet")
	}
	if !strings.Contains(mod, "github.com/sparsegen/sparsegen/cmd/sparsegen") {
		line("go get -tool github.com/sparsegen/sparsegen/cmd/sparsegen", "once a module")
	}
	line("go generate", "writes the kernels, packs the weights")
	line("go test", "runs the layers")
	line("$EDITOR "+starterSpec, "make it yours")
	return nil
}

// enclosingModule is the text of the go.mod that governs a folder, or "".
func enclosingModule(dir string) (string, error) {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			return string(text), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", nil
		}
		dir = up
	}
}

// writeStarterWeights makes the weights of the starter spec: random, scaled as
// layers are before training, and pruned to the spec's patterns.
func writeStarterWeights(path string) error {
	rng := rand.New(rand.NewPCG(2, 4))
	random := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		return v
	}
	var entries []weights.Entry
	for _, l := range []struct {
		name    string
		out, in int
		pattern string
	}{
		{"up", 512, 128, "nm(2,4)"},
		{"down", 128, 512, "unstructured(sparsity=0.9)"},
	} {
		m := patterns.Matrix{Rows: l.out, Cols: l.in, Stride: l.in, Data: random(l.out*l.in, 1/math.Sqrt(float64(l.in)))}
		p, err := patterns.Parse(l.pattern)
		if err != nil {
			return err
		}
		mask, err := p.Prune(m)
		if err != nil {
			return err
		}
		for r := range m.Rows {
			for col := range m.Cols {
				if !mask.At(r, col) {
					m.Data[r*m.Stride+col] = 0
				}
			}
		}
		entries = append(entries,
			weights.Float32Entry(l.name+".weight", []int{l.out, l.in}, m.Data),
			weights.Float32Entry(l.name+".bias", []int{l.out}, random(l.out, 0.1)))
	}
	return weights.WriteSafetensors(path, entries, nil)
}
