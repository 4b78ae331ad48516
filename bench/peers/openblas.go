package peers

/*
#cgo LDFLAGS: -lopenblas
#include <cblas.h>

static const char *corename(void) { return openblas_get_corename(); }
static const char *config(void) { return openblas_get_config(); }

// x is token-major: y[batch,out] = x[batch,in] · w[in,out], or gemv at batch 1.
static void tokens(const float *w, const float *x, float *y, int out, int in, int batch) {
	if (batch == 1)
		cblas_sgemv(CblasRowMajor, CblasTrans, in, out, 1, w, out, x, 1, 0, y, 1);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, batch, out, in, 1, x, in, w, out, 0, y, out);
}

// x is feature-major: y[out,batch] = w[out,in] · x[in,batch].
static void features(const float *w, const float *x, float *y, int out, int in, int batch) {
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, out, batch, in, 1, w, in, x, batch, 0, y, batch);
}
*/
import "C"

import "strings"

func pinOpenBLAS() { C.openblas_set_num_threads(1) }

// openBLAS is cblas_sgemm (sgemv at batch 1). Its interface has no packed
// weights, so packing is part of every call; but it may choose how they are
// stored, and for token-major activations [in, out] is up to twice as fast as
// [out, in].
func openBLAS(l Layout) Peer {
	note := "cblas_sgemm, sgemv at batch 1; weights stored [in, out], packed in every call"
	if l == FeatureMajor {
		note = "cblas_sgemm; weights packed in every call"
	}
	version := "OpenBLAS"
	if f := strings.Fields(C.GoString(C.config())); len(f) > 1 {
		version += " " + f[1]
	}
	return Peer{
		Name:    "openblas",
		Library: version + " (" + C.GoString(C.corename()) + ")",
		Note:    note,
		Layout:  l,
		Prepare: func(w []float32, p Problem) (Runner, error) {
			b, err := NewBuffer(len(w))
			if err != nil {
				return nil, err
			}
			if p.Layout == FeatureMajor {
				copy(b.Data, w)
			} else {
				transpose(b.Data, w, p.Out, p.In)
			}
			return &blasRunner{b, p}, nil
		},
	}
}

// transpose stores w [rows, cols] in t as [cols, rows], in squares that fit a
// cache.
func transpose(t, w []float32, rows, cols int) {
	const side = 32
	for r0 := 0; r0 < rows; r0 += side {
		for c0 := 0; c0 < cols; c0 += side {
			for r := r0; r < min(r0+side, rows); r++ {
				for c := c0; c < min(c0+side, cols); c++ {
					t[c*rows+r] = w[r*cols+c]
				}
			}
		}
	}
}

type blasRunner struct {
	w *Buffer
	p Problem
}

func (r *blasRunner) Run(x, y []float32) {
	w, xp, yp := cfloat(r.w.Data), cfloat(x), cfloat(y)
	out, in, batch := C.int(r.p.Out), C.int(r.p.In), C.int(r.p.Batch)
	if r.p.Layout == FeatureMajor {
		C.features(w, xp, yp, out, in, batch)
	} else {
		C.tokens(w, xp, yp, out, in, batch)
	}
}

func (r *blasRunner) Describe() string {
	if r.p.Batch == 1 && r.p.Layout == TokenMajor {
		return "sgemv"
	}
	return "sgemm"
}

func (r *blasRunner) Bytes() int64 { return 4 * int64(len(r.w.Data)) }
func (r *blasRunner) Close()       { r.w.Free() }
