package tool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparsegen/sparsegen/ir"
)

// findSpec is the spec that an argument names: a file, or the one spec of a
// folder; "" is the working folder.
func findSpec(arg string) (string, error) {
	dir := arg
	if dir == "" {
		dir = "."
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return arg, nil
	}
	specs, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.sg"))
	if err != nil {
		return "", err
	}
	switch len(specs) {
	case 1:
		return specs[0], nil
	case 0:
		where := "this folder"
		if arg != "" {
			where = arg
		}
		return "", fmt.Errorf("no spec (*.sg) in %s; `sparsegen init` writes a starter", where)
	}
	return "", fmt.Errorf("several specs: %s; name one", strings.Join(specs, ", "))
}

// escapeGlob makes every byte of a folder's name stand for itself.
func escapeGlob(dir string) string {
	if filepath.Separator == '\\' {
		return dir // no escapes there, and no metacharacters but [
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// readSpec finds, parses and checks a spec by its text alone, or, where it leaves
// shapes open, with the shapes that its weight files hold.
func readSpec(arg string) (path string, m *ir.Module, err error) {
	path, src, err := specText(arg)
	if err != nil {
		return path, nil, err
	}
	m, err = ir.Load(path, src, ir.Options{})
	if err == nil {
		return path, m, nil
	}
	if _, filled, s, e := readModel(path, nil); e == nil {
		return path, filled, s.Close()
	}
	return path, nil, err
}

func specText(arg string) (path string, src []byte, err error) {
	if path, err = findSpec(arg); err != nil {
		return "", nil, err
	}
	src, err = os.ReadFile(path)
	return path, src, err
}

var errNoWeights = errors.New("the spec names no weight file; add a line `weights \"model.safetensors\"` or give --weights")

// readModel finds, parses and checks a spec against its weight files, or
// against others in their place. The caller closes the store.
func readModel(arg string, files []string) (path string, m *ir.Module, s *store, err error) {
	path, src, err := specText(arg)
	if err != nil {
		return path, nil, nil, err
	}
	f, err := ir.Parse(path, src)
	if err != nil {
		return path, nil, nil, err
	}
	if len(files) == 0 {
		for _, d := range f.Decls {
			if w, ok := d.(*ir.WeightsDecl); ok && w.File != "" {
				files = append(files, beside(path, w.File))
			}
		}
	}
	if len(files) == 0 {
		return path, nil, nil, fmt.Errorf("%s: %w", path, errNoWeights)
	}
	s, err = openStore(files)
	if err != nil {
		return path, nil, nil, err
	}
	m, err = ir.Check(f, ir.Options{Shapes: s.shape, Tensors: s.names})
	if err != nil {
		return path, nil, nil, errors.Join(err, s.Close())
	}
	return path, m, s, nil
}

// beside is a file name of a spec, which is relative to the spec's folder.
func beside(spec, file string) string {
	file = filepath.FromSlash(file)
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(filepath.Dir(spec), file)
}

// layers are the named layer, or all of them for "".
func layers(m *ir.Module, name string) ([]*ir.Layer, error) {
	if name == "" {
		return m.Layers, nil
	}
	var names []string
	for _, l := range m.Layers {
		if l.Name == name {
			return []*ir.Layer{l}, nil
		}
		names = append(names, l.Name)
	}
	return nil, fmt.Errorf("%s: no layer %q; there are %s", m.Path, name, strings.Join(names, ", "))
}

// LayerNames are the layers of a spec, for completion; none where it cannot be
// read.
func LayerNames(spec string) []string {
	_, m, err := readSpec(spec)
	if err != nil {
		return nil
	}
	var names []string
	for _, l := range m.Layers {
		names = append(names, l.Name)
	}
	return names
}
