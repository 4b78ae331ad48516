package peers

/*
#cgo LDFLAGS: -lXNNPACK -lpthreadpool
#include <math.h>
#include <stdlib.h>
#include <xnnpack.h>

static int conv1x1(const float *w, size_t in, size_t out, xnn_operator_t *op) {
	return xnn_create_convolution2d_nchw_f32(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1,
		in, out, in, out, w, NULL, -INFINITY, INFINITY, 0, op);
}
static int conv1x1_setup(xnn_operator_t op, size_t pixels, const float *x, float *y) {
	return xnn_setup_convolution2d_nchw_f32(op, 1, 1, pixels, x, y, NULL);
}
static int fc(const float *w, size_t in, size_t out, xnn_operator_t *op) {
	return xnn_create_fully_connected_nc_f32(in, out, in, out, w, NULL, -INFINITY, INFINITY, 0, op);
}
static int fc_setup(xnn_operator_t op, size_t batch, const float *x, float *y) {
	return xnn_setup_fully_connected_nc_f32(op, batch, x, y, NULL);
}
*/
import "C"

import "fmt"

const xnnLibrary = "XNNPACK 2022-02-16 (Debian)"

// xnnpackSpMM is the NCHW 1×1 convolution. In the version that Debian ships
// its only kernel is the sparse one (SSE, 4 lanes), whatever the density; the
// harness checks that it leaves zeros alone.
func xnnpackSpMM() Peer {
	return Peer{
		Name:    "xnnpack-spmm",
		Library: xnnLibrary,
		Note:    "convolution2d_nchw_f32, 1×1: f32-spmm, SSE",
		Sparse:  true,
		Layout:  FeatureMajor,
		Prepare: func(w []float32, p Problem) (Runner, error) {
			r := &xnnRunner{p: p, sparse: true}
			for _, v := range w {
				if v != 0 {
					r.bytes += 4
				}
			}
			r.bytes += r.bytes + int64(p.Out)*8 // a 4-byte step a non-zero; bias and count a row
			return r, r.create(w)
		},
	}
}

// xnnpackFC is the dense fully connected operator with packed weights.
func xnnpackFC() Peer {
	return Peer{
		Name:    "xnnpack-fc",
		Library: xnnLibrary,
		Note:    "fully_connected_nc_f32, weights packed at creation",
		Layout:  TokenMajor,
		Prepare: func(w []float32, p Problem) (Runner, error) {
			r := &xnnRunner{p: p, bytes: 4 * int64(len(w))}
			return r, r.create(w)
		},
	}
}

type xnnRunner struct {
	p      Problem
	sparse bool
	op     C.xnn_operator_t
	x, y   *C.float // what op is set up for
	bytes  int64
}

func (r *xnnRunner) create(w []float32) error {
	if s := C.xnn_initialize(nil); s != 0 {
		return fmt.Errorf("xnn_initialize: status %d: %w", s, ErrUnsupported)
	}
	create := func() C.int { return C.fc(cfloat(w), C.size_t(r.p.In), C.size_t(r.p.Out), &r.op) }
	if r.sparse {
		create = func() C.int { return C.conv1x1(cfloat(w), C.size_t(r.p.In), C.size_t(r.p.Out), &r.op) }
	}
	switch s := create(); s {
	case C.xnn_status_success:
		return nil
	case C.xnn_status_unsupported_hardware, C.xnn_status_unsupported_parameter:
		return ErrUnsupported
	default:
		return fmt.Errorf("XNNPACK: status %d", s)
	}
}

func (r *xnnRunner) Run(x, y []float32) {
	// An operator holds the addresses of its operands; setting them up again
	// costs time only when they change.
	if xp, yp := cfloat(x), cfloat(y); xp != r.x || yp != r.y {
		r.x, r.y = xp, yp
		var s C.int
		if r.sparse {
			s = C.conv1x1_setup(r.op, C.size_t(r.p.Batch), xp, yp)
		} else {
			s = C.fc_setup(r.op, C.size_t(r.p.Batch), xp, yp)
		}
		if s != 0 {
			panic(fmt.Sprintf("XNNPACK setup: status %d", s))
		}
	}
	if s := C.xnn_run_operator(r.op, nil); s != 0 {
		panic(fmt.Sprintf("XNNPACK run: status %d", s))
	}
}

func (r *xnnRunner) Describe() string {
	if r.sparse {
		return "nchw spmm"
	}
	return "fully connected"
}

func (r *xnnRunner) Bytes() int64 { return r.bytes }
func (r *xnnRunner) Close()       { C.xnn_delete_operator(r.op) }
