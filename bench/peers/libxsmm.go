package peers

/*
#cgo LDFLAGS: -lxsmm -lxsmmnoblas -ldl -lpthread -lm -lrt
#include <libxsmm.h>

static const char *target(void) { return libxsmm_get_target_arch(); }
static const char *version(void) { return LIBXSMM_VERSION; }
static libxsmm_sfsspmdm *fcreate(int rows, int n, int in, const float *w) {
	return libxsmm_sfsspmdm_create(rows, n, in, in, n, n, 1.f, 0.f, 0, w);
}
// One call for all row blocks, so that crossing into C is paid once.
static void fexecute(libxsmm_sfsspmdm **h, int blocks, size_t stride, const float *x, float *y) {
	for (int i = 0; i < blocks; i++)
		libxsmm_sfsspmdm_execute(h[i], x, y + i * stride);
}
*/
import "C"

import (
	"fmt"
	"math"
	"unsafe"
)

const (
	// xsmmLevels keeps the number of distinct values below the 1280 at which
	// the code generator gives up.
	xsmmLevels = 63 // magnitudes; with signs and zero 127 levels
	// xsmmNonZeros a row block keeps the generated code below 128 KiB.
	xsmmNonZeros = 6000
	// xsmmColumns is the number of columns of one generated kernel.
	xsmmColumns = 16
)

// fsspmdm is libxsmm's generated code for a fixed sparse matrix. It takes few
// distinct values, so it computes with weights rounded to 127 levels, which is
// kinder to it than real weights are; and columns in multiples of 16, to which
// the activations are padded outside the timed part.
func fsspmdm() Peer {
	return Peer{
		Name:    "fsspmdm",
		Library: "libxsmm " + C.GoString(C.version()) + " (" + C.GoString(C.target()) + ")",
		Note:    "sfsspmdm, weights rounded to 127 levels, pixels padded to 16",
		Sparse:  true,
		Layout:  FeatureMajor,
		Prepare: prepareFsspmdm,
	}
}

func prepareFsspmdm(w []float32, p Problem) (Runner, error) {
	q, nonZeros := roundToLevels(w)
	rows := p.Out
	for rows > 1 && (p.Out%rows != 0 || nonZeros/p.Out*rows > xsmmNonZeros) {
		rows--
	}
	n := (p.Batch + xsmmColumns - 1) / xsmmColumns * xsmmColumns
	r := &fsspmdmRunner{p: p, w: q, n: n, rows: rows, bytes: 8 * int64(nonZeros)}
	for i := 0; i < p.Out; i += rows {
		h := C.fcreate(C.int(rows), C.int(n), C.int(p.In), cfloat(q[i*p.In:]))
		if h == nil {
			r.Close()
			return nil, ErrUnsupported
		}
		r.blocks = append(r.blocks, h)
	}
	var err error
	if r.x, err = NewBuffer(p.In * n); err == nil {
		r.y, err = NewBuffer(p.Out * n)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// roundToLevels rounds to multiples of max|w|/63 and counts what is not zero;
// what was not zero stays so.
func roundToLevels(w []float32) (q []float32, nonZeros int) {
	largest := 0.0
	for _, v := range w {
		largest = max(largest, math.Abs(float64(v)))
	}
	q = make([]float32, len(w))
	for i, v := range w {
		if v != 0 {
			nonZeros++
			level := max(1, math.Round(math.Abs(float64(v))/largest*xsmmLevels))
			q[i] = float32(math.Copysign(level/xsmmLevels, float64(v)))
		}
	}
	return q, nonZeros
}

type fsspmdmRunner struct {
	p       Problem
	w       []float32
	n, rows int // padded columns, rows a block
	blocks  []*C.libxsmm_sfsspmdm
	x, y    *Buffer
	bytes   int64
}

func (r *fsspmdmRunner) Load(x []float32) {
	for k := range r.p.In {
		copy(r.x.Data[k*r.n:], x[k*r.p.Batch:(k+1)*r.p.Batch])
	}
}

func (r *fsspmdmRunner) Execute() {
	C.fexecute((**C.libxsmm_sfsspmdm)(unsafe.Pointer(&r.blocks[0])), C.int(len(r.blocks)),
		C.size_t(r.rows*r.n), cfloat(r.x.Data), cfloat(r.y.Data))
}

func (r *fsspmdmRunner) Store(y []float32) {
	for o := range r.p.Out {
		copy(y[o*r.p.Batch:(o+1)*r.p.Batch], r.y.Data[o*r.n:])
	}
}

func (r *fsspmdmRunner) Run(x, y []float32) { r.Load(x); r.Execute(); r.Store(y) }

func (r *fsspmdmRunner) Weights() []float32 { return r.w }

func (r *fsspmdmRunner) Describe() string {
	return fmt.Sprintf("%d blocks of %d rows", len(r.blocks), r.rows)
}

func (r *fsspmdmRunner) Bytes() int64 { return r.bytes }

func (r *fsspmdmRunner) Close() {
	for _, h := range r.blocks {
		C.libxsmm_sfsspmdm_destroy(h)
	}
	for _, b := range []*Buffer{r.x, r.y} {
		if b != nil {
			b.Free()
		}
	}
}
