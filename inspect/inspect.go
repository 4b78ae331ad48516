// Package inspect reports what sparsity a model's weights have: for each tensor
// its shape, dtype, size and density, and for each weight matrix the patterns
// that fit it exactly or nearly. The report prints as a table, as JSON, or as one
// self-contained HTML page with a picture of each matrix.
//
// This package must not import any stage behind patterns (ir, codegen, asm, ptx,
// runtime, autotune).
package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"sync"

	"github.com/sparsegen/sparsegen/internal/weights"
)

// Options says what to look at.
type Options struct {
	// Tensors chooses by name; nil chooses all.
	Tensors *regexp.Regexp
	// Orientation says which axis is the output; Auto asks each file.
	Orientation weights.Orientation
	// Trials also prunes each matrix to a list of common patterns, to state the
	// loss of each.
	Trials bool
	// Pictures draws each matrix for WriteHTML; it brings Trials with it.
	Pictures bool
	// Progress, where set, is called after each tensor, from one goroutine at a
	// time.
	Progress func(done, total int)
}

// Schema names the layout of the JSON report. Fields are only ever added to it.
const Schema = "sparsegen.inspect/1"

// Report is what Files found. Its JSON form is stable: fields in the order below,
// files as given, tensors in file order.
type Report struct {
	Schema string `json:"schema"` // the constant Schema
	Files  []File `json:"files"`
}

// File is one weights file.
type File struct {
	Path   string `json:"path"`
	Format string `json:"format"` // safetensors, npy, tfjs or smtx
	// Orientation is how stored matrices are read: "out-in" is [out, in, ...],
	// "in-out" is [..., in, out].
	Orientation string   `json:"orientation"`
	Bytes       int64    `json:"bytes"` // of the tensors looked at
	Tensors     []Tensor `json:"tensors"`
}

// Tensor is one stored tensor.
type Tensor struct {
	Name  string `json:"name"`
	DType string `json:"dtype"` // as stored, in safetensors' names
	Shape []int  `json:"shape"` // as stored
	Bytes int64  `json:"bytes"` // as stored; 0 for a bare topology
	// Quantisation maps stored integers q to scale*q + min; null where absent.
	Quantisation *Quantisation `json:"quantisation"`
	// TopologyOnly says that the file holds positions and no values.
	TopologyOnly bool `json:"topology_only"`
	// Values is null where the dtype has no values to speak of (strings).
	Values *Values `json:"values"`
	// Matrix is null for scalars, vectors and single rows or columns.
	Matrix *Matrix `json:"matrix"`
}

// Quantisation is an affine map.
type Quantisation struct {
	Scale float64 `json:"scale"`
	Min   float64 `json:"min"`
}

// Values summarises the elements.
type Values struct {
	Elements  int     `json:"elements"`
	NonZero   int     `json:"non_zero"`
	Density   float64 `json:"density"`    // NonZero/Elements; 0 for no elements
	NonFinite int     `json:"non_finite"` // NaN and infinities
	// Magnitude is null for a bare topology and where nothing finite is non-zero.
	Magnitude *Magnitude `json:"magnitude"`

	histogram *histogram
}

// Magnitude holds exact quantiles of the finite non-zero elements' absolute
// values, each the smallest value that at least the named share does not exceed.
type Magnitude struct {
	Min    float32 `json:"min"`
	Median float32 `json:"median"`
	P75    float32 `json:"p75"`
	P90    float32 `json:"p90"`
	P999   float32 `json:"p999"`
	Max    float32 `json:"max"`
}

// Matrix reads the tensor as a matrix of output features (rows) by input
// features (columns).
type Matrix struct {
	Rows int `json:"rows"`
	Cols int `json:"cols"`
	// Transposed says that the tensor is stored as [Cols, Rows].
	Transposed bool `json:"transposed"`
	EmptyRows  int  `json:"empty_rows"` // rows without a non-zero
	EmptyCols  int  `json:"empty_cols"`
	// Fits lists the patterns that the matrix follows exactly or nearly, as
	// patterns.Detect ranks them; dense alone says that there is no structure.
	Fits []Fit `json:"fits"`
	// Trials states what pruning to common patterns would lose; absent where it
	// was not asked for.
	Trials []Fit `json:"trials,omitempty"`

	picture *picture
}

// Fit is a pattern and how well it covers a matrix.
type Fit struct {
	Pattern string `json:"pattern"` // in the language's syntax
	Exact   bool   `json:"exact"`   // every non-zero is allowed
	// Density is the share of elements that the pattern stores, in [0,1].
	Density float64 `json:"density"`
	// Loss is the share of the sum of magnitudes that pruning to the pattern
	// drops, in [0,1] (of the non-zeros, for a bare topology).
	Loss float64 `json:"loss"`
}

// Files inspects weights files or folders that hold a model. A tensor filter
// that matches nothing at all is an error.
func Files(paths []string, opts Options) (*Report, error) {
	if len(paths) == 0 {
		return nil, errors.New("inspect: no file given")
	}
	r := &Report{Schema: Schema, Files: make([]File, len(paths))}
	open := make([]*weights.File, len(paths))
	defer func() {
		for _, f := range open {
			if f != nil {
				f.Close() // read-only: nothing can be lost
			}
		}
	}()
	var jobs []job
	for i, path := range paths {
		f, err := weights.Open(path)
		if err != nil {
			return nil, err
		}
		open[i] = f
		r.Files[i], err = describe(f, opts)
		if err != nil {
			return nil, err
		}
		for j := range r.Files[i].Tensors {
			jobs = append(jobs, job{f, &r.Files[i].Tensors[j]})
		}
	}
	if len(jobs) == 0 && opts.Tensors != nil {
		return nil, fmt.Errorf("inspect: no tensor's name matches %q", opts.Tensors)
	}
	return r, run(jobs, opts)
}

// describe lists the chosen tensors without their values.
func describe(f *weights.File, opts Options) (File, error) {
	o := opts.Orientation
	if o == weights.Auto {
		o = f.Orientation()
	}
	out := File{Path: f.Path, Format: string(f.Format), Orientation: o.String(), Tensors: []Tensor{}}
	for _, name := range f.Names() {
		if opts.Tensors != nil && !opts.Tensors.MatchString(name) {
			continue
		}
		info, err := f.Tensor(name)
		if err != nil {
			return File{}, err
		}
		t := Tensor{Name: name, DType: info.DType.String(), Shape: info.Shape, Bytes: info.Bytes, TopologyOnly: info.TopologyOnly}
		if t.Shape == nil {
			t.Shape = []int{}
		}
		if q := info.Quantisation; q != nil {
			t.Quantisation = &Quantisation{Scale: q.Scale, Min: q.Min}
		}
		out.Bytes += info.Bytes
		out.Tensors = append(out.Tensors, t)
	}
	return out, nil
}

// job is one tensor to be measured.
type job struct {
	file   *weights.File
	tensor *Tensor
}

// run measures the tensors, one a processor at a time.
func run(jobs []job, opts Options) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		done int
		next = make(chan job)
	)
	for range min(len(jobs), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for j := range next {
				err := j.measure(opts)
				mu.Lock()
				errs = append(errs, err)
				if done++; opts.Progress != nil {
					opts.Progress(done, len(jobs))
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// measure fills in what depends on the tensor's values.
func (j job) measure(opts Options) error {
	t := j.tensor
	info, err := j.file.Tensor(t.Name)
	if err != nil {
		return err
	}
	var values []float32
	switch {
	case info.TopologyOnly:
		values, err = j.file.Ones(t.Name)
	case info.DType.Convertible():
		values, err = j.file.Float32(t.Name)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	t.Values = summarise(values, !info.TopologyOnly)
	v, err := j.file.View(t.Name, opts.Orientation)
	if err != nil || v.Rows < 2 || v.Cols < 2 {
		return nil // a scalar, a vector, a single row or column: no matrix
	}
	t.Matrix = &Matrix{Rows: v.Rows, Cols: v.Cols, Transposed: v.Transposed}
	return t.Matrix.measure(v.Apply(values), t.Values, opts)
}

// WriteJSON prints the report, indented, with a newline at the end.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
