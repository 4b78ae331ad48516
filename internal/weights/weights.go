// Package weights reads the tensors of a trained model: safetensors, npy, the
// TensorFlow.js formats (model.json and face-api's bare manifest) and smtx
// topologies; it writes safetensors and npy.
//
// Files are untrusted. Every size is checked against the bytes that are really
// there before anything is allocated, and every fault is a *FormatError that
// says where in the file it lies. A reader checks the whole structure when it
// opens a file, so that Float32 fails only on a dtype without a value or on an
// unknown name.
//
// This package must not import any other package of this module but
// internal/atomicfile.
package weights

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Format is the kind of file that Open found.
type Format string

const (
	Safetensors Format = "safetensors"
	NPY         Format = "npy"
	TFJS        Format = "tfjs"
	SMTX        Format = "smtx"
)

// Info describes one stored tensor.
type Info struct {
	Name  string
	DType DType
	// Shape is the shape as stored, row-major in meaning; empty for a scalar.
	Shape []int
	// Quantisation is set where the stored integers stand for real values.
	Quantisation *Affine
	// Bytes is the size of the tensor's data in the file (0 for a topology).
	Bytes int64
	// TopologyOnly says that the file holds positions but no values.
	TopologyOnly bool
}

// Elements is the product of Shape; Open has checked that it does not overflow.
func (i Info) Elements() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Affine maps a stored integer q to q*Scale + Min, computed in float64 and
// rounded once (TensorFlow.js weight quantisation). Where Integer is set the
// tensor is an integer tensor and the value is rounded to a whole number first,
// halves upwards.
type Affine struct {
	Scale, Min float64
	Integer    bool
}

// tensor is a described tensor and the bytes it lies in.
type tensor struct {
	Info
	data      blob
	off       int64
	bigEndian bool
	fortran   bool // column-major: the first axis varies fastest
	topology  *CSR
}

// File is an open weights file. It is immutable and safe for concurrent use
// until Close.
type File struct {
	Path     string
	Format   Format
	Metadata map[string]string // safetensors' __metadata__; nil elsewhere

	tensors []tensor
	index   map[string]int
	maps    []*mapping
}

// ErrNoValues is what Float32 returns for a file that holds positions only.
var ErrNoValues = errors.New("the file holds positions of non-zeros but no values; ask for pseudo-random values instead")

// Open opens a weights file and checks its structure. The format follows from
// the file's extension (.safetensors, .npy, .smtx, .json) or else from its
// first bytes. For a directory, its model.json or else its model.safetensors is
// opened. Where the platform allows, the file is mapped; one that becomes shorter
// while it is open is an error of what reads it.
func Open(path string) (*File, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.IsDir() {
		inside, err := modelIn(path)
		if err != nil {
			return nil, err
		}
		path = inside
	}
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, maps: []*mapping{m}}
	if err := f.read(m.data); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func modelIn(dir string) (string, error) {
	for _, name := range []string{"model.json", "model.safetensors"} {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: the directory holds neither model.json nor model.safetensors", dir)
}

// read parses the mapped file and builds the index of names.
func (f *File) read(b []byte) (err error) {
	defer f.guard(&err)()
	f.Format = formatOf(f.Path, b)
	switch f.Format {
	case Safetensors:
		err = f.readSafetensors(b)
	case NPY:
		err = f.readNPY(b)
	case TFJS:
		err = f.readTFJS(b)
	case SMTX:
		err = f.readSMTX(b)
	default:
		return fault(f.Path, 0, "not a weights file: none of safetensors, npy, tf.js model.json or smtx")
	}
	if err != nil {
		return err
	}
	f.index = make(map[string]int, len(f.tensors))
	for i, t := range f.tensors {
		if j, dup := f.index[t.Name]; dup {
			return faultAt(f.Path, fmt.Sprintf("tensors %d and %d", j, i), "the same name %q", t.Name)
		}
		f.index[t.Name] = i
	}
	return nil
}

// Close releases the mappings. What Float32, Raw and Matrix returned stays valid.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, m.close())
	}
	f.maps, f.tensors, f.index = nil, nil, nil
	return errors.Join(errs...)
}

// Names lists the tensors in file order.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor describes the named tensor.
func (f *File) Tensor(name string) (Info, error) {
	t, err := f.lookup(name)
	if err != nil {
		return Info{}, err
	}
	info := t.Info
	info.Shape = slices.Clone(t.Shape)
	return info, nil
}

func (f *File) lookup(name string) (*tensor, error) {
	i, ok := f.index[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q%s", f.Path, name, f.suggest(name))
	}
	return &f.tensors[i], nil
}

// Float32 returns the tensor's values in row-major order. F16, BF16, F8, small
// integers and booleans convert exactly; F64 and wide integers round to the
// nearest float32, ties to even; affine-quantised values are decoded as Affine
// says. The caller owns the slice.
func (f *File) Float32(name string) (_ []float32, err error) {
	defer f.guard(&err)()
	t, err := f.lookup(name)
	if err != nil {
		return nil, err
	}
	if t.topology != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path, name, ErrNoValues)
	}
	decode := dtypes[t.DType].decode
	if decode == nil {
		return nil, fmt.Errorf("%s: tensor %q: dtype %v has no float32 value", f.Path, name, t.DType)
	}
	out := make([]float32, t.Elements())
	raw := t.raw()
	if q := t.Quantisation; q != nil {
		decodeAffine(out, raw, t.DType, *q)
	} else {
		decode(out, raw)
	}
	return out, nil
}

// Raw returns the tensor's stored bytes, converted to little-endian row-major
// order. The caller owns the slice.
func (f *File) Raw(name string) (_ []byte, err error) {
	defer f.guard(&err)()
	t, err := f.lookup(name)
	if err != nil {
		return nil, err
	}
	if t.topology != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path, name, ErrNoValues)
	}
	return slices.Clone(t.raw()), nil
}

// raw is the tensor's bytes in little-endian row-major order; it may alias the
// mapping.
func (t *tensor) raw() []byte {
	b := t.data.slice(t.off, t.Bytes)
	size := dtypes[t.DType].bits / 8
	if t.bigEndian && size > 1 {
		b = slices.Clone(b)
		for i := 0; i+size <= len(b); i += size {
			slices.Reverse(b[i : i+size])
		}
	}
	if t.fortran && len(t.Shape) > 1 {
		b = rowMajor(b, t.Shape, size)
	}
	return b
}

// rowMajor reorders elements of the given byte size from column-major.
func rowMajor(b []byte, shape []int, size int) []byte {
	out := make([]byte, 0, len(b))
	strides := make([]int, len(shape)) // in elements of b
	s := 1
	for i, d := range shape {
		strides[i] = s
		s *= d
	}
	idx := make([]int, len(shape))
	for at := 0; len(out) < len(b); {
		out = append(out, b[at*size:(at+1)*size]...)
		for axis := len(shape) - 1; axis >= 0; axis-- {
			idx[axis]++
			at += strides[axis]
			if idx[axis] < shape[axis] {
				break
			}
			at -= idx[axis] * strides[axis]
			idx[axis] = 0
		}
	}
	return out
}

// FormatError is a fault in a file.
type FormatError struct {
	Path   string
	Offset int64  // byte offset, or -1 where At says the place
	At     string // place inside a JSON document, such as weightsManifest[0].weights[3]
	Msg    string
}

func (e *FormatError) Error() string {
	if e.At != "" {
		return fmt.Sprintf("%s: %s: %s", e.Path, e.At, e.Msg)
	}
	return fmt.Sprintf("%s: byte %d: %s", e.Path, e.Offset, e.Msg)
}

func fault(path string, offset int64, format string, args ...any) error {
	return &FormatError{Path: path, Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

func faultAt(path, at, format string, args ...any) error {
	return &FormatError{Path: path, Offset: -1, At: at, Msg: fmt.Sprintf(format, args...)}
}

// sizeOf is the number of bytes of a tensor, refused where the product of its
// dimensions overflows. A zero dimension counts as one there, so that every
// partial product of an accepted shape fits an int too.
func sizeOf(dt DType, shape []int) (int64, error) {
	const limit, maxRank = math.MaxInt64 / 64, 64
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions are above the limit of %d", len(shape), maxRank)
	}
	n, zero := int64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension %d", d)
		}
		if d == 0 {
			zero = true
			continue
		}
		if int64(d) > limit/n {
			return 0, fmt.Errorf("shape %v overflows", shape)
		}
		n *= int64(d)
	}
	if n > math.MaxInt/64 {
		return 0, fmt.Errorf("shape %v is too large for this machine", shape)
	}
	if zero {
		return 0, nil
	}
	bits := n * int64(dtypes[dt].bits)
	if bits%8 != 0 {
		return 0, fmt.Errorf("shape %v of %v does not fill whole bytes", shape, dt)
	}
	return bits / 8, nil
}
