package peers

/*
#cgo LDFLAGS: -lopenblas
#include <cblas.h>

static const char *corename(void) { return openblas_get_corename(); }
static const char *config(void) { return openblas_get_config(); }

// x is token-major: y[batch,out] = x[batch,in] · wᵀ, or gemv at batch 1.
static void tokens(const float *w, const float *x, float *y, int out, int in, int batch) {
	if (batch == 1)
		cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, w, in, x, 1, 0, y, 1);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, batch, out, in, 1, x, in, w, in, 0, y, out);
}

// x is feature-major: y[out,batch] = w · x[in,batch].
static void features(const float *w, const float *x, float *y, int out, int in, int batch) {
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, out, batch, in, 1, w, in, x, batch, 0, y, batch);
}
*/
import "C"

import "strings"

func pinOpenBLAS() { C.openblas_set_num_threads(1) }

// openBLAS is cblas_sgemm (sgemv at batch 1) on the weights as they are: its
// interface has no packed weights, so packing is part of every call.
func openBLAS(l Layout) Peer {
	version := "OpenBLAS"
	if f := strings.Fields(C.GoString(C.config())); len(f) > 1 {
		version += " " + f[1]
	}
	return Peer{
		Name:    "openblas",
		Library: version + " (" + C.GoString(C.corename()) + ")",
		Note:    "cblas_sgemm, sgemv at batch 1; packs its operands in every call",
		Layout:  l,
		Prepare: func(w []float32, p Problem) (Runner, error) {
			b, err := bufferOf(w)
			if err != nil {
				return nil, err
			}
			return &blasRunner{b, p}, nil
		},
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
