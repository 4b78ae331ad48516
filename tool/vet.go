package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strings"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
)

// VetOptions are the options of Vet.
type VetOptions struct {
	Spec   string // file or folder; "" is the working folder's spec
	Format string // of what is found: text (or ""), json or github
}

// Vet checks a spec, and its weights where the files that it names are there:
// that each tensor has the shape and the pattern that the spec says. What it
// finds is printed, and the error is Findings.
func Vet(_ context.Context, c Console, o VetOptions) error {
	print := map[string]func(ir.ErrorList) error{
		"":       func(l ir.ErrorList) error { return l.WriteText(c.Log) },
		"text":   func(l ir.ErrorList) error { return l.WriteText(c.Log) },
		"json":   func(l ir.ErrorList) error { return l.WriteJSON(c.Out) },
		"github": func(l ir.ErrorList) error { return l.WriteGitHub(c.Out) },
	}[o.Format]
	if print == nil {
		return fmt.Errorf("--format %s: want text, json or github", o.Format)
	}
	found := func(l ir.ErrorList) error {
		if err := print(l); err != nil {
			return err
		}
		return &Findings{}
	}

	path, m, s, err := readModel(o.Spec, nil)
	switch list := (ir.ErrorList)(nil); {
	case errors.As(err, &list):
		return found(list)
	case errors.Is(err, fs.ErrNotExist) && path != "" || errors.Is(err, errNoWeights):
		why := err
		if path, m, err = readSpec(o.Spec); errors.As(err, &list) {
			return found(list)
		} else if err != nil {
			return err
		}
		fmt.Fprintf(c.Log, "%s: %d layers, spec alone: %v\n", path, len(m.Layers), why)
		return nil
	case err != nil:
		return err
	}
	defer s.Close()
	list, err := misfits(c, m, s)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return found(list)
	}
	fmt.Fprintf(c.Log, "%s: %d layers and their weights fit\n", path, len(m.Layers))
	return nil
}

// codeFit is the code of a weight whose values do not fit its pattern.
const codeFit ir.Code = "SG0201"

// misfits checks the values of every weight that has a pattern.
func misfits(c Console, m *ir.Module, s *store) (ir.ErrorList, error) {
	p := newProgress(Console{Log: c.Log, Live: c.Live}, len(m.Layers))
	defer p.end()
	var list ir.ErrorList
	for _, l := range m.Layers {
		if c.Live {
			p.step("check the weights of %s", l.Name)
		}
		for _, op := range l.Ops {
			if op.Weight == nil || op.Weight.Pattern == nil {
				continue
			}
			e, err := misfit(op.Weight, s)
			if err != nil {
				return nil, err
			}
			if e != nil {
				list = append(list, e)
			}
		}
	}
	quoteLines(list, m.Path)
	return list, nil
}

// quoteLines gives each error its line of the spec, as far as it can be read
// again.
func quoteLines(list ir.ErrorList, path string) {
	src, err := os.ReadFile(path)
	if err != nil {
		return
	}
	lines := strings.Split(string(src), "\n")
	for _, e := range list {
		if n := e.Pos.Line - 1; n < len(lines) {
			e.Line = strings.TrimSuffix(lines[n], "\r")
		}
	}
}

// misfit says where a weight leaves its pattern, or nil where it fits. The
// element that it names is the first one that pruning would drop.
func misfit(w *ir.Weight, s *store) (*ir.Error, error) {
	m, err := s.matrix(w)
	if err != nil {
		return nil, err
	}
	mask := patterns.MaskOf(m)
	if w.Pattern.Fits(mask) {
		return nil, nil
	}
	kept, err := w.Pattern.Prune(m)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", w.Pos, w.Tensor, err)
	}
	first, n := "", 0
	var lost, all float64
	for r := range m.Rows {
		for col := range m.Cols {
			v := math.Abs(float64(m.Data[r*m.Stride+col]))
			all += v
			if !mask.At(r, col) || kept.At(r, col) {
				continue
			}
			if n++; n == 1 {
				first = fmt.Sprintf("[%d, %d] = %g", r, col, m.Data[r*m.Stride+col])
			}
			lost += v
		}
	}
	orientation := ""
	if f, _, ok := s.find(w.Tensor); ok && w.Transposed != (f.Orientation() == weights.InOut) {
		orientation = " --orientation " + map[bool]weights.Orientation{false: weights.OutIn, true: weights.InOut}[w.Transposed].String()
	}
	return &ir.Error{
		Pos:  w.Pos,
		Code: codeFit,
		Msg: fmt.Sprintf("tensor %q is not %s: %d of its %d non-zeros are outside, the first at %s",
			w.Tensor, w.Pattern, n, mask.Count(), first),
		Hint: fmt.Sprintf("`sparsegen prune IN OUT --pattern '%s' --tensors '^%s$'%s` makes it fit and drops %.2g %% of its magnitude",
			w.Pattern, regexp.QuoteMeta(w.Tensor), orientation, 100*lost/all),
	}, nil
}
