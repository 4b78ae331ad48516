package tool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
)

// specFromWeights writes a spec for the folder dir with one layer for each weight
// matrix of a file, embedding tables aside, with the pattern that its zeros have
// now.
func specFromWeights(c Console, dir, file string, o weights.Orientation) ([]byte, error) {
	f, err := weights.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ref, err := relativeTo(dir, file)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sparsegen 1\n\nweights %q\n", ref)
	names := f.Names()
	p := newProgress(c, len(names))
	used := map[string]bool{}
	skipped := 0
	for _, name := range names {
		info, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		if len(info.Shape) < 2 {
			continue // a bias or the like
		}
		if c.Live {
			p.step("%s", name)
		}
		if f.NotLinear(name, o) != "" {
			skipped++
			continue
		}
		view, values, err := f.Matrix(name, o)
		if errors.Is(err, weights.ErrNoValues) {
			return nil, err
		}
		if err != nil {
			skipped++
			continue
		}
		m := patterns.Matrix{Rows: view.Rows, Cols: view.Cols, Stride: view.Cols, Data: values}
		pattern, err := patternOf(m)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", file, name, err)
		}
		transposed, bias := "", ""
		if view.Transposed {
			transposed = ".T"
		}
		if v := biasOf(f, name, view.Rows); v != "" {
			bias = fmt.Sprintf(", bias=w%q", v)
		}
		fmt.Fprintf(&b, "\nlayer %s(x f32[t, %d]) (y f32[t, %d]) where t in 1..128 {\n\ty = linear(x, w%q%s : %s%s)\n}\n",
			layerName(name, used), view.Cols, view.Rows, name, transposed, pattern, bias)
	}
	p.end()
	if len(used) == 0 {
		return nil, fmt.Errorf("%s: no tensor of two axes with values, so there is no layer to write", file)
	}
	b.WriteString("\ntarget amd64(avx2, avx512)\n")
	fmt.Fprintf(c.Out, "%s: %d matrices became layers", file, len(used))
	if skipped > 0 {
		fmt.Fprintf(c.Out, "; %d other tensors of two or more axes did not", skipped)
	}
	fmt.Fprintln(c.Out)
	return ir.Format(starterSpec, []byte(b.String()))
}

// relativeTo is a file's name as a spec in dir writes it.
func relativeTo(dir, file string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(from, to)
	if err != nil {
		rel = to // another volume
	}
	return filepath.ToSlash(rel), nil
}

// patternOf is the most structured pattern that a matrix's zeros have, dense
// where hardly anything is zero.
func patternOf(m patterns.Matrix) (string, error) {
	if patterns.MaskOf(m).Density() > 0.95 {
		return "dense", nil
	}
	fits, err := patterns.Detect(m)
	if err != nil {
		return "", err
	}
	for _, fit := range fits {
		if p := fit.Pattern.String(); fit.Exact && p != "dense" {
			return p, nil
		}
	}
	return "unstructured", nil
}

// biasOf is the tensor that holds a matrix's bias by the usual names, or "".
func biasOf(f *weights.File, name string, out int) string {
	for _, suffix := range [][2]string{{"weight", "bias"}, {"kernel", "bias"}, {"weights", "biases"}, {"weights", "bias"}, {"filters", "bias"}} {
		stem, ok := strings.CutSuffix(name, suffix[0])
		if !ok {
			continue
		}
		info, err := f.Tensor(stem + suffix[1])
		if err == nil && len(info.Shape) == 1 && info.Shape[0] == out {
			return info.Name
		}
	}
	return ""
}

// layerName makes a name of the language out of a tensor's, once each.
func layerName(tensor string, used map[string]bool) string {
	for _, suffix := range []string{"weight", "kernel", "weights", "filters"} {
		if stem, ok := strings.CutSuffix(tensor, suffix); ok && strings.Trim(stem, "./_:") != "" {
			tensor = strings.TrimRight(stem, "./_:")
			break
		}
	}
	id := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return r
		}
		return '_'
	}, tensor)
	switch {
	case id == "" || id[0] <= '9':
		id = "layer" + id
	case slices.Contains([]string{"sparsegen", "weights", "layer", "target", "where", "in"}, id):
		id += "_" // the language keeps these words
	}
	name := id
	for n := 2; used[name]; n++ {
		name = fmt.Sprintf("%s_%d", id, n)
	}
	used[name] = true
	return name
}
