package weights

import (
	"fmt"
	"regexp"
	"slices"
)

// Orientation says which axis of a stored matrix is the output.
type Orientation uint8

const (
	// Auto is what File.Orientation says.
	Auto Orientation = iota
	OutIn
	InOut
)

var orientationNames = [...]string{"auto", "out-in", "in-out"}

// String is the orientation as the command line writes it.
func (o Orientation) String() string { return orientationNames[o] }

// ParseOrientation reads "auto", "out-in" or "in-out".
func ParseOrientation(s string) (Orientation, error) {
	for o, name := range orientationNames {
		if s == name {
			return Orientation(o), nil
		}
	}
	return Auto, fmt.Errorf("orientation %q is none of auto, out-in, in-out", s)
}

// OrientationKey is the safetensors metadata key under which a file converted
// from another format notes the orientation of its matrices.
const OrientationKey = "sparsegen.orientation"

// Orientation is the file's own: what its metadata says under OrientationKey,
// else in-out for the TensorFlow formats, whose kernels are [..., in, out], and
// out-in, that is [out, in, ...], for all others.
func (f *File) Orientation() Orientation {
	if o, err := ParseOrientation(f.Metadata[OrientationKey]); err == nil && o != Auto {
		return o
	}
	if f.Format == TFJS {
		return InOut
	}
	return OutIn
}

// View reads a tensor of rank 2 or more as a weight matrix of Rows output
// features by Cols input features. Further axes (a convolution's window) belong
// to the input side: [out, in, kh, kw] has in*kh*kw columns and
// [kh, kw, in, out] has kh*kw*in.
type View struct {
	Rows, Cols int
	// Transposed says that the tensor is stored as [Cols, Rows].
	Transposed bool
}

// Index is the place of element (r, c) in the stored row-major order.
func (v View) Index(r, c int) int {
	if v.Transposed {
		return c*v.Rows + r
	}
	return r*v.Cols + c
}

// Apply returns stored values in the view's row-major order: values itself where
// nothing moves, else a copy.
func (v View) Apply(values []float32) []float32 {
	if !v.Transposed {
		return values
	}
	out := make([]float32, len(values))
	const tile = 32 // both sides stay in the cache
	for r0 := 0; r0 < v.Rows; r0 += tile {
		for c0 := 0; c0 < v.Cols; c0 += tile {
			for r := r0; r < min(r0+tile, v.Rows); r++ {
				for c := c0; c < min(c0+tile, v.Cols); c++ {
					out[r*v.Cols+c] = values[c*v.Rows+r]
				}
			}
		}
	}
	return out
}

// View says how the named tensor reads as a matrix.
func (f *File) View(name string, o Orientation) (View, error) {
	t, err := f.lookup(name)
	if err != nil {
		return View{}, err
	}
	n := len(t.Shape)
	if n < 2 {
		return View{}, fmt.Errorf("%s: tensor %q of shape %v is not a matrix", f.Path, name, t.Shape)
	}
	if o == Auto {
		o = f.Orientation()
	}
	if o == InOut {
		return View{Rows: t.Shape[n-1], Cols: product(t.Shape[:n-1]), Transposed: true}, nil
	}
	return View{Rows: t.Shape[0], Cols: product(t.Shape[1:])}, nil
}

// NotLinear is the reason why a tensor is no weight matrix of a linear layer or
// of a 1×1 convolution, judged by its shape and, for embedding tables, by its
// name; or "".
func (f *File) NotLinear(name string, o Orientation) string {
	v, err := f.View(name, o)
	if err != nil {
		return "not a matrix"
	}
	shape := f.tensors[f.index[name]].Shape
	window := shape[2:]
	if v.Transposed {
		window = shape[:len(shape)-2]
	}
	switch {
	case v.Rows < 1 || v.Cols < 1:
		return "no elements"
	case slices.ContainsFunc(window, func(d int) bool { return d != 1 }):
		return "a convolution with a window"
	case embedding.MatchString(name):
		return "an embedding table, by its name"
	}
	return ""
}

// embedding matches the names of embedding tables by their last part or the one
// before it: model.embed_tokens.weight, module/Embeddings_en, and GPT-2's wte and
// wpe.
var embedding = regexp.MustCompile(`(?i)(embed[^./]*|(^|[./_])w[tp]e)([./][^./]*)?$`)

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Matrix returns the named tensor as a row-major [Rows, Cols] matrix of output
// by input features.
func (f *File) Matrix(name string, o Orientation) (View, []float32, error) {
	v, err := f.View(name, o)
	if err != nil {
		return View{}, nil, err
	}
	values, err := f.Float32(name)
	if err != nil {
		return View{}, nil, err
	}
	return v, v.Apply(values), nil
}
