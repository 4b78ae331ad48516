package tool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
)

// store is the tensors of a spec's weight files. Where two files hold the same
// name, the first one counts.
type store struct{ files []*weights.File }

func openStore(paths []string) (*store, error) {
	s := &store{}
	for _, p := range paths {
		f, err := weights.Open(p)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w; the spec names it, or give --weights FILE", err)
			}
			return nil, errors.Join(err, s.Close())
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// Close releases the files.
func (s *store) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (s *store) names() []string {
	var names []string
	for _, f := range s.files {
		names = append(names, f.Names()...)
	}
	return names
}

func (s *store) find(name string) (*weights.File, weights.Info, bool) {
	for _, f := range s.files {
		if info, err := f.Tensor(name); err == nil {
			return f, info, true
		}
	}
	return nil, weights.Info{}, false
}

func (s *store) shape(name string) ([]int, bool) {
	_, info, ok := s.find(name)
	return info.Shape, ok
}

// tensor is a tensor's values in stored row-major order, with its shape.
func (s *store) tensor(name string) (values []float32, shape []int, err error) {
	f, info, ok := s.find(name)
	if !ok {
		return nil, nil, fmt.Errorf("no weight file has a tensor %q", name)
	}
	values, err = f.Float32(name)
	return values, info.Shape, err
}

// matrix is a weight as the patterns see it: [out, in].
func (s *store) matrix(w *ir.Weight) (patterns.Matrix, error) {
	values, _, err := s.tensor(w.Tensor)
	if err != nil {
		return patterns.Matrix{}, err
	}
	v := weights.View{Rows: w.Out, Cols: w.In, Transposed: w.Transposed}
	return patterns.Matrix{Rows: w.Out, Cols: w.In, Stride: w.In, Data: v.Apply(values)}, nil
}
