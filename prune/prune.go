// Package prune makes a model's matrices sparse by magnitude: of each matrix it
// keeps the largest elements that a pattern allows (Han et al. 2015) and writes
// the model as safetensors. No training follows, so accuracy drops; it is for
// trying out patterns and for measuring kernels on real weights.
//
// This package must not import any stage behind patterns (ir, codegen, asm, ptx,
// runtime, autotune).
package prune

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/patterns"
)

// Options says what to prune and how.
type Options struct {
	// Pattern is what every chosen matrix must fit afterwards.
	Pattern patterns.Pattern
	// Tensors chooses by name; nil chooses every weight matrix of a linear layer
	// or a 1×1 convolution that the pattern can cover. A name is the only way to
	// choose an embedding table or a convolution with a window.
	Tensors *regexp.Regexp
	// Orientation says which axis is the output; Auto asks the file.
	Orientation weights.Orientation
	// Progress, where set, is called after each tensor written.
	Progress func(done, total int)
}

// Report says what became of each tensor, in file order.
type Report struct {
	Pattern string   `json:"pattern"`
	Tensors []Tensor `json:"tensors"`
}

// Tensor is one tensor's share of a report.
type Tensor struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"` // as stored
	// Pruned says that the tensor was pruned; otherwise Reason says why not.
	Pruned bool   `json:"pruned"`
	Reason string `json:"reason,omitempty"`
	// Rows and Cols are output and input features; 0 where not pruned.
	Rows int `json:"rows,omitempty"`
	Cols int `json:"cols,omitempty"`
	// DensityBefore and DensityAfter are shares of non-zero elements.
	DensityBefore float64 `json:"density_before,omitempty"`
	DensityAfter  float64 `json:"density_after,omitempty"`
	// MagnitudeKept is the kept share of the sum of magnitudes, in [0,1].
	MagnitudeKept float64 `json:"magnitude_kept,omitempty"`
}

// File reads the weights file in (any format that the readers know), prunes the
// chosen tensors and writes all tensors to out, which must end in .safetensors.
// Tensors keep their dtype, except that quantised ones become F32; shapes stay
// as stored, and the metadata notes the orientation. The file out appears whole
// or, after an error, stays as it was; in and out may be the same file.
//
// It is an error if a tensor that Tensors names cannot be pruned, or if none is.
func File(in, out string, opts Options) (*Report, error) {
	if opts.Pattern == nil {
		return nil, errors.New("prune: no pattern given")
	}
	if ext := filepath.Ext(out); !strings.EqualFold(ext, ".safetensors") {
		return nil, fmt.Errorf("prune: %s: the output is a safetensors file and must be named *.safetensors", out)
	}
	f, err := weights.Open(in)
	if err != nil {
		return nil, err
	}
	defer f.Close()

	report := &Report{Pattern: opts.Pattern.String()}
	names := f.Names()
	report.Tensors = make([]Tensor, len(names))
	var entries []weights.Entry
	pruned, done := 0, 0
	for i, name := range names {
		job, err := plan(f, name, opts, &report.Tensors[i])
		if err != nil {
			return nil, err
		}
		if report.Tensors[i].Pruned {
			pruned++
		}
		if job == nil {
			continue
		}
		data := job.Data
		job.Data = func() ([]byte, error) {
			b, err := data()
			if done++; opts.Progress != nil && err == nil {
				opts.Progress(done, len(entries))
			}
			return b, err
		}
		entries = append(entries, *job)
	}
	if pruned == 0 {
		return nil, fmt.Errorf("%s: no tensor was chosen for pruning to %v%s", in, opts.Pattern, firstReason(report))
	}
	meta := maps.Clone(f.Metadata)
	if o := resolve(f, opts.Orientation); o == weights.InOut {
		if meta == nil {
			meta = map[string]string{}
		}
		meta[weights.OrientationKey] = o.String()
	}
	if err := weights.WriteSafetensors(out, entries, meta); err != nil {
		return nil, err
	}
	return report, nil
}

func resolve(f *weights.File, o weights.Orientation) weights.Orientation {
	if o == weights.Auto {
		return f.Orientation()
	}
	return o
}

func firstReason(r *Report) string {
	for _, t := range r.Tensors {
		if t.Reason != "" && t.Reason != notNamed {
			return fmt.Sprintf(" (%q: %s)", t.Name, t.Reason)
		}
	}
	return ""
}

const notNamed = "not named"

// plan decides about one tensor: it fills in t and returns what to write, or nil
// where safetensors cannot hold the tensor.
func plan(f *weights.File, name string, opts Options, t *Tensor) (*weights.Entry, error) {
	info, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	t.Name, t.Shape = name, info.Shape
	if info.TopologyOnly {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path, name, weights.ErrNoValues)
	}
	e := &weights.Entry{Name: name, DType: info.DType, Shape: info.Shape}
	e.Data = func() ([]byte, error) { return f.Raw(name) }
	if info.Quantisation != nil {
		e.DType = weights.F32
		e.Data = func() ([]byte, error) {
			values, err := f.Float32(name)
			return weights.Float32Bytes(values), err
		}
	}
	if opts.Tensors != nil && !opts.Tensors.MatchString(name) {
		t.Reason = notNamed
	} else if t.Reason = whyNot(f, info, opts); t.Reason != "" && opts.Tensors != nil {
		return nil, fmt.Errorf("%s: tensor %q cannot be pruned to %v: %s", f.Path, name, opts.Pattern, t.Reason)
	}
	if info.DType == weights.String {
		t.Reason = "strings; left out of the output"
		return nil, nil
	}
	if t.Reason == "" {
		t.Pruned = true
		whole := e.Data
		e.Data = func() ([]byte, error) {
			b, err := whole()
			if err != nil {
				return nil, err
			}
			return b, apply(f, b, e.DType.Size(), opts, t)
		}
	}
	return e, nil
}

// whyNot is the reason why the tensor is no weight matrix that the pattern
// covers, or "".
func whyNot(f *weights.File, info weights.Info, opts Options) string {
	switch isWeight := info.DType.IsFloat() || info.DType == weights.I8; {
	case !isWeight && info.Quantisation == nil:
		return info.DType.String() + " elements are no weights"
	case len(info.Shape) < 2:
		return "not a matrix"
	case opts.Tensors == nil:
		if reason := f.NotLinear(info.Name, opts.Orientation); reason != "" {
			return reason
		}
	}
	v, err := f.View(info.Name, opts.Orientation)
	if err != nil {
		return err.Error()
	}
	if v.Rows < 2 || v.Cols < 2 {
		return fmt.Sprintf("a single row or column (%d×%d)", v.Rows, v.Cols)
	}
	if err := opts.Pattern.Validate(v.Rows, v.Cols); err != nil {
		return err.Error()
	}
	return ""
}

// apply prunes the stored bytes b of tensor t, elements of the given size, and
// completes t. All bits zero is +0 in every dtype that whyNot lets pass.
func apply(f *weights.File, b []byte, size int, opts Options, t *Tensor) error {
	v, values, err := f.Matrix(t.Name, opts.Orientation)
	if err != nil {
		return err
	}
	t.Rows, t.Cols = v.Rows, v.Cols
	mask, err := opts.Pattern.Prune(patterns.Matrix{Rows: v.Rows, Cols: v.Cols, Stride: v.Cols, Data: values})
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	var before, after int
	var total, kept float64
	for r := range v.Rows {
		for c := range v.Cols {
			x := math.Abs(float64(values[r*v.Cols+c]))
			keep := mask.At(r, c)
			if x != 0 {
				before++
				if keep {
					after++
				}
			}
			if !math.IsInf(x, 0) && !math.IsNaN(x) {
				total += x
				if keep {
					kept += x
				}
			}
			if !keep {
				i := v.Index(r, c)
				clear(b[i*size : (i+1)*size])
			}
		}
	}
	n := float64(v.Rows) * float64(v.Cols)
	t.DensityBefore, t.DensityAfter, t.MagnitudeKept = float64(before)/n, float64(after)/n, 1
	if total > 0 {
		t.MagnitudeKept = kept / total
	}
	return nil
}

// WriteText prints the pruned tensors as a table, and the others under the
// reasons why they were left.
func (r *Report) WriteText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "out×in\tdensity\tmagnitude kept\ttensor\n")
	rest := 0
	var reasons []string // as they occur
	left := map[string][]string{}
	for _, t := range r.Tensors {
		if !t.Pruned {
			rest++
			if left[t.Reason] == nil {
				reasons = append(reasons, t.Reason)
			}
			left[t.Reason] = append(left[t.Reason], t.Name)
			continue
		}
		fmt.Fprintf(tw, "%d×%d\t%.1f%% → %.1f%%\t%.1f%%\t%s\n", t.Rows, t.Cols, 100*t.DensityBefore, 100*t.DensityAfter, 100*t.MagnitudeKept, t.Name)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	end := "\n"
	if rest > 0 {
		end = "; left as they were:\n"
	}
	_, err := fmt.Fprintf(w, "%d of %d tensors pruned to %s%s", len(r.Tensors)-rest, len(r.Tensors), r.Pattern, end)
	for _, reason := range reasons {
		names, more := left[reason], ""
		if n := len(names) - maxNames; n > 0 {
			names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
		}
		if err == nil {
			_, err = fmt.Fprintf(w, "  %s: %s%s\n", reason, strings.Join(names, ", "), more)
		}
	}
	return err
}

// maxNames is how many tensors WriteText names for one reason.
const maxNames = 3
