package peers

/*
#cgo LDFLAGS: -ldnnl
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dnnl.h>
#if DNNL_VERSION_MAJOR != 2
#error "written for oneDNN 2, as Debian 12 ships it"
#endif

enum { TOKENS, FEATURES, CONV };

// One product. w is packed once; x and y are the caller's memory, or for CONV
// the primitive's own, filled and emptied by the reorders load and store.
typedef struct {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_primitive_t prim, load, store;
	dnnl_memory_t w, x, y, plain_x, plain_y;
	int w_arg, x_arg;
	dnnl_memory_desc_t w_desc, plain_w;
	size_t w_bytes;
	char impl[96];
} product;

static dnnl_status_t reorder(product *p, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dnnl_primitive_t *r) {
	dnnl_primitive_desc_t pd;
	dnnl_status_t s = dnnl_reorder_primitive_desc_create(&pd, from, p->engine, to, p->engine, NULL);
	if (s) return s;
	s = dnnl_primitive_create(r, pd);
	dnnl_primitive_desc_destroy(pd);
	return s;
}

static dnnl_status_t run2(product *p, dnnl_primitive_t r, dnnl_memory_t from, dnnl_memory_t to) {
	dnnl_exec_arg_t a[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
	dnnl_status_t s = dnnl_primitive_execute(r, p->stream, 2, a);
	return s ? s : dnnl_stream_wait(p->stream);
}

static void product_free(product *p) {
	if (p->prim) dnnl_primitive_destroy(p->prim);
	if (p->load) dnnl_primitive_destroy(p->load);
	if (p->store) dnnl_primitive_destroy(p->store);
	dnnl_memory_t m[] = {p->w, p->x, p->y, p->plain_x, p->plain_y};
	for (int i = 0; i < 5; i++) if (m[i]) dnnl_memory_destroy(m[i]);
	if (p->stream) dnnl_stream_destroy(p->stream);
	if (p->engine) dnnl_engine_destroy(p->engine);
	free(p);
}

#define TRY(e) do { s = (e); if (s) goto fail; } while (0)

static dnnl_status_t product_new(int kind, dnnl_dim_t out, dnnl_dim_t in, dnnl_dim_t batch, dnnl_dim_t height, product **result) {
	product *p = calloc(1, sizeof *p);
	if (!p) return dnnl_out_of_memory;
	dnnl_status_t s;
	dnnl_primitive_desc_t pd = NULL;
	dnnl_memory_desc_t x, y, any_w, any_x, any_y;
	const dnnl_data_type_t f = dnnl_f32;
	TRY(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
	TRY(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
	p->w_arg = DNNL_ARG_WEIGHTS;
	p->x_arg = DNNL_ARG_SRC;
	if (kind == CONV) {
		dnnl_dims_t xd = {1, in, height, batch / height}, wd = {out, in, 1, 1}, yd = {1, out, height, batch / height};
		dnnl_dims_t stride = {1, 1}, pad = {0, 0};
		dnnl_convolution_desc_t d;
		TRY(dnnl_memory_desc_init_by_tag(&x, 4, xd, f, dnnl_nchw));
		TRY(dnnl_memory_desc_init_by_tag(&y, 4, yd, f, dnnl_nchw));
		TRY(dnnl_memory_desc_init_by_tag(&p->plain_w, 4, wd, f, dnnl_oihw));
		TRY(dnnl_memory_desc_init_by_tag(&any_x, 4, xd, f, dnnl_format_tag_any));
		TRY(dnnl_memory_desc_init_by_tag(&any_y, 4, yd, f, dnnl_format_tag_any));
		TRY(dnnl_memory_desc_init_by_tag(&any_w, 4, wd, f, dnnl_format_tag_any));
		TRY(dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct, &any_x, &any_w, NULL, &any_y, stride, pad, pad));
		TRY(dnnl_primitive_desc_create(&pd, &d, NULL, p->engine, NULL));
	} else if (kind == TOKENS) {
		dnnl_dims_t xd = {batch, in}, wd = {out, in}, yd = {batch, out};
		dnnl_inner_product_desc_t d;
		TRY(dnnl_memory_desc_init_by_tag(&x, 2, xd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&y, 2, yd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&p->plain_w, 2, wd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&any_w, 2, wd, f, dnnl_format_tag_any));
		TRY(dnnl_inner_product_forward_desc_init(&d, dnnl_forward_inference, &x, &any_w, NULL, &y));
		TRY(dnnl_primitive_desc_create(&pd, &d, NULL, p->engine, NULL));
	} else { // y[out,batch] = w · x: the constant operand is matmul's source
		dnnl_dims_t xd = {in, batch}, wd = {out, in}, yd = {out, batch};
		dnnl_matmul_desc_t d;
		p->w_arg = DNNL_ARG_SRC;
		p->x_arg = DNNL_ARG_WEIGHTS;
		TRY(dnnl_memory_desc_init_by_tag(&x, 2, xd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&y, 2, yd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&p->plain_w, 2, wd, f, dnnl_ab));
		TRY(dnnl_memory_desc_init_by_tag(&any_w, 2, wd, f, dnnl_format_tag_any));
		TRY(dnnl_matmul_desc_init(&d, &any_w, &x, NULL, &y));
		TRY(dnnl_primitive_desc_create(&pd, &d, NULL, p->engine, NULL));
	}
	p->w_desc = *dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, p->w_arg);
	p->w_bytes = dnnl_memory_desc_get_size(&p->w_desc);
	const char *info = NULL;
	TRY(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &info));
	snprintf(p->impl, sizeof p->impl, "%s", info ? info : "");
	if (kind == CONV) {
		const dnnl_memory_desc_t *own_x = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_SRC);
		const dnnl_memory_desc_t *own_y = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DST);
		TRY(reorder(p, &x, own_x, &p->load));
		TRY(reorder(p, own_y, &y, &p->store));
		TRY(dnnl_memory_create(&p->x, own_x, p->engine, DNNL_MEMORY_ALLOCATE));
		TRY(dnnl_memory_create(&p->y, own_y, p->engine, DNNL_MEMORY_ALLOCATE));
		TRY(dnnl_memory_create(&p->plain_x, &x, p->engine, DNNL_MEMORY_NONE));
		TRY(dnnl_memory_create(&p->plain_y, &y, p->engine, DNNL_MEMORY_NONE));
	} else {
		TRY(dnnl_memory_create(&p->x, &x, p->engine, DNNL_MEMORY_NONE));
		TRY(dnnl_memory_create(&p->y, &y, p->engine, DNNL_MEMORY_NONE));
	}
	TRY(dnnl_primitive_create(&p->prim, pd));
	dnnl_primitive_desc_destroy(pd);
	*result = p;
	return dnnl_success;
fail:
	if (pd) dnnl_primitive_desc_destroy(pd);
	product_free(p);
	return s;
}

// product_pack reorders w, [out, in] row-major, into packed, w_bytes long.
static dnnl_status_t product_pack(product *p, const float *w, float *packed) {
	dnnl_memory_t plain = NULL;
	dnnl_primitive_t r = NULL;
	dnnl_status_t s;
	TRY(dnnl_memory_create(&p->w, &p->w_desc, p->engine, packed));
	TRY(dnnl_memory_create(&plain, &p->plain_w, p->engine, (void *)w));
	TRY(reorder(p, &p->plain_w, &p->w_desc, &r));
	s = run2(p, r, plain, p->w);
fail:
	if (plain) dnnl_memory_destroy(plain);
	if (r) dnnl_primitive_destroy(r);
	return s;
}

static dnnl_status_t product_execute(product *p) {
	dnnl_exec_arg_t a[3] = {{p->x_arg, p->x}, {p->w_arg, p->w}, {DNNL_ARG_DST, p->y}};
	dnnl_status_t s = dnnl_primitive_execute(p->prim, p->stream, 3, a);
	return s ? s : dnnl_stream_wait(p->stream);
}

static dnnl_status_t product_run(product *p, const float *x, float *y) {
	dnnl_status_t s = dnnl_memory_set_data_handle(p->x, (void *)x);
	if (!s) s = dnnl_memory_set_data_handle(p->y, y);
	return s ? s : product_execute(p);
}

static dnnl_status_t product_load(product *p, const float *x) {
	dnnl_status_t s = dnnl_memory_set_data_handle(p->plain_x, (void *)x);
	return s ? s : run2(p, p->load, p->plain_x, p->x);
}

static dnnl_status_t product_store(product *p, float *y) {
	dnnl_status_t s = dnnl_memory_set_data_handle(p->plain_y, y);
	return s ? s : run2(p, p->store, p->y, p->plain_y);
}
*/
import "C"

import "fmt"

func dnnlLibrary() string {
	v := C.dnnl_version()
	return fmt.Sprintf("oneDNN %d.%d.%d", int(v.major), int(v.minor), int(v.patch))
}

// oneDNN is inner product (token-major) or matmul (feature-major) on plain
// activations, with the weights in the format that the library prefers.
func oneDNN(l Layout) Peer {
	kind, note := C.TOKENS, "inner product, weights packed at creation"
	if l == FeatureMajor {
		kind, note = C.FEATURES, "matmul with the weights as source, packed at creation"
	}
	return Peer{
		Name: "onednn", Library: dnnlLibrary(), Note: note, Layout: l,
		Prepare: func(w []float32, p Problem) (Runner, error) { return prepareDNNL(kind, w, p) },
	}
}

// oneDNNConv is the 1×1 convolution with activations in the library's own
// blocked layout, brought there and back outside the timed part.
func oneDNNConv() Peer {
	return Peer{
		Name: "onednn-conv", Library: dnnlLibrary(), Layout: FeatureMajor,
		Note: "1×1 convolution, activations already in the library's blocked layout",
		Prepare: func(w []float32, p Problem) (Runner, error) {
			r, err := prepareDNNL(C.CONV, w, p)
			if err != nil {
				return nil, err
			}
			return blockedRunner{r}, nil
		},
	}
}

func prepareDNNL(kind int, w []float32, p Problem) (*dnnlRunner, error) {
	r := &dnnlRunner{}
	s := C.product_new(C.int(kind), C.dnnl_dim_t(p.Out), C.dnnl_dim_t(p.In), C.dnnl_dim_t(p.Batch), C.dnnl_dim_t(height(p.Batch)), &r.p)
	if s == C.dnnl_unimplemented {
		return nil, ErrUnsupported
	}
	if s != C.dnnl_success {
		return nil, fmt.Errorf("oneDNN: status %d", s)
	}
	var err error
	if r.w, err = NewBuffer(int(r.p.w_bytes+3) / 4); err != nil {
		r.Close()
		return nil, err
	}
	if s := C.product_pack(r.p, cfloat(w), cfloat(r.w.Data)); s != C.dnnl_success {
		r.Close()
		return nil, fmt.Errorf("oneDNN: packing: status %d", s)
	}
	return r, nil
}

// height is the largest divisor of pixels that is at most its square root: the
// image that is nearest to a square.
func height(pixels int) int {
	h := 1
	for d := 1; d*d <= pixels; d++ {
		if pixels%d == 0 {
			h = d
		}
	}
	return h
}

type dnnlRunner struct {
	p *C.product
	w *Buffer
}

func must(s C.dnnl_status_t) {
	if s != C.dnnl_success {
		panic(fmt.Sprintf("oneDNN: status %d", s))
	}
}

func (r *dnnlRunner) Run(x, y []float32) { must(C.product_run(r.p, cfloat(x), cfloat(y))) }
func (r *dnnlRunner) Describe() string   { return C.GoString(&r.p.impl[0]) }
func (r *dnnlRunner) Bytes() int64       { return int64(r.p.w_bytes) }

func (r *dnnlRunner) Close() {
	C.product_free(r.p)
	if r.w != nil {
		r.w.Free()
	}
}

// blockedRunner adds the stages; a dnnlRunner of kind CONV has its own x and y.
type blockedRunner struct{ *dnnlRunner }

func (r blockedRunner) Load(x []float32)   { must(C.product_load(r.p, cfloat(x))) }
func (r blockedRunner) Execute()           { must(C.product_execute(r.p)) }
func (r blockedRunner) Store(y []float32)  { must(C.product_store(r.p, cfloat(y))) }
func (r blockedRunner) Run(x, y []float32) { r.Load(x); r.Execute(); r.Store(y) }
