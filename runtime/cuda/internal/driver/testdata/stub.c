// A libcuda.so.1 for tests: each function writes its name and its arguments to a
// log, and gives numbers back through pointers. With cuda.h at hand the compiler
// checks the signatures against NVIDIA's.
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifdef WITH_CUDA_H
#include <cuda.h>
#else
typedef int CUresult, CUdevice, CUdevice_attribute, CUfunction_attribute, CUjit_option, CUjitInputType;
typedef int CUtensorMapDataType, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill, CUstreamCaptureMode;
typedef unsigned int cuuint32_t;
typedef unsigned long cuuint64_t;
typedef unsigned long long CUdeviceptr;
typedef struct context *CUcontext;
typedef struct module *CUmodule;
typedef struct function *CUfunction;
typedef struct stream *CUstream;
typedef struct event *CUevent;
typedef struct graph *CUgraph;
typedef struct graphExec *CUgraphExec;
typedef struct link *CUlinkState;
typedef struct { _Alignas(64) unsigned long opaque[16]; } CUtensorMap;
typedef struct {
	int id;
	char pad[4];
	union { unsigned int clusterDim[3]; int pdl; char all[64]; } value;
} CUlaunchAttribute;
typedef struct {
	unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
	CUstream hStream;
	CUlaunchAttribute *attrs;
	unsigned int numAttrs;
} CUlaunchConfig;
#endif

static char text[1 << 16];
static size_t used;

static CUresult say(const char *format, ...) {
#ifdef QUIET
	return (CUresult)7;
#endif
	va_list args;
	va_start(args, format);
	used += vsnprintf(text + used, sizeof text - used, format, args);
	va_end(args);
	return (CUresult)7;
}

// The log so far, which starts anew.
const char *stub_log(void) {
	static char copy[sizeof text];
	memcpy(copy, text, used + 1);
	used = 0;
	text[0] = 0;
	return copy;
}

#define P(x) ((unsigned long)(x))

CUresult cuInit(unsigned int f) { return say("%u", f); }
CUresult cuDriverGetVersion(int *v) { *v = -11; return say(""); }
CUresult cuGetErrorName(CUresult r, const char **s) { *s = "NAME"; return say("%d", r); }
CUresult cuGetErrorString(CUresult r, const char **s) { *s = "TEXT"; return say("%d", r); }
CUresult cuDeviceGetCount(int *n) { *n = -12; return say(""); }
CUresult cuDeviceGet(CUdevice *d, int i) { *d = -13; return say("%d", i); }
CUresult cuDeviceGetName(char *s, int n, CUdevice d) { strcpy(s, "N"); return say("%d %d", n, d); }
CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) { *v = -14; return say("%d %d", a, d); }
CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d) { *n = -15; return say("%d", d); }
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { *c = (CUcontext)-16; return say("%d", d); }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) { return say("%d", d); }
CUresult cuCtxSetCurrent(CUcontext c) { return say("%lx", P(c)); }
CUresult cuCtxGetDevice(CUdevice *d) { *d = -17; return say(""); }
CUresult cuCtxSynchronize(void) { return say(""); }
CUresult cuMemGetInfo_v2(size_t *f, size_t *t) { *f = -18; *t = -19; return say(""); }
CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) { *p = -20; return say("%zx", n); }
CUresult cuMemFree_v2(CUdeviceptr p) { return say("%llx", p); }
CUresult cuMemAllocHost_v2(void **p, size_t n) { *p = text; return say("%zx", n); }
CUresult cuMemFreeHost(void *p) { return say("%d", p == text); }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, CUstream q) { return say("%llx %d %zx %lx", d, *(char *)s, n, P(q)); }
CUresult cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, CUstream q) { return say("%d %llx %zx %lx", *(char *)d, s, n, P(q)); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream q) { return say("%llx %llx %zx %lx", d, s, n, P(q)); }
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream q) { return say("%llx %x %zx %lx", d, v, n, P(q)); }
CUresult cuMemsetD32Async(CUdeviceptr d, unsigned int v, size_t n, CUstream q) { return say("%llx %x %zx %lx", d, v, n, P(q)); }

static CUresult options(const char *head, unsigned int n, CUjit_option *k, void **v) {
	say("%s %u", head, n);
	for (unsigned int i = 0; i < n; i++) say(" %d=%lx", k[i], P(v[i]));
	return say("");
}
CUresult cuModuleLoadDataEx(CUmodule *m, const void *s, unsigned int n, CUjit_option *k, void **v) { *m = (CUmodule)-21; return options(s, n, k, v); }
CUresult cuModuleUnload(CUmodule m) { return say("%lx", P(m)); }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *s) { *f = (CUfunction)-22; return say("%lx %s", P(m), s); }
CUresult cuLinkCreate_v2(unsigned int n, CUjit_option *k, void **v, CUlinkState *s) { *s = (CUlinkState)-23; return options("", n, k, v); }
CUresult cuLinkAddData_v2(CUlinkState s, CUjitInputType t, void *d, size_t z, const char *name, unsigned int n, CUjit_option *k, void **v) {
	say("%lx %d %zx %s", P(s), t, z, name);
	return options(d, n, k, v);
}
CUresult cuLinkComplete(CUlinkState s, void **p, size_t *n) { *p = text; *n = -24; return say("%lx", P(s)); }
CUresult cuLinkDestroy(CUlinkState s) { return say("%lx", P(s)); }
CUresult cuFuncGetAttribute(int *v, CUfunction_attribute a, CUfunction f) { *v = -25; return say("%d %lx", a, P(f)); }
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) { return say("%lx %d %d", P(f), a, v); }
#ifndef OLD
CUresult cuFuncGetParamInfo(CUfunction f, size_t i, size_t *o, size_t *n) { *o = -26; *n = -27; return say("%lx %zx", P(f), i); }
#endif

static CUresult config(const CUlaunchConfig *c) {
	say("%u,%u,%u %u,%u,%u %u %lx", c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ, c->sharedMemBytes, P(c->hStream));
	for (unsigned int i = 0; i < c->numAttrs; i++) {
		const unsigned int *v = (const unsigned int *)&c->attrs[i].value;
		say(" %d=%u,%u,%u", c->attrs[i].id, v[0], v[1], v[2]);
	}
	return say("");
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **p, void **x) { config(c); return say(" %lx %d %d %lx", P(f), *(int *)p[0], *(int *)p[1], P(x)); }
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int b, size_t s) { *n = -28; return say("%lx %d %zx", P(f), b, s); }
CUresult cuOccupancyMaxActiveClusters(int *n, CUfunction f, const CUlaunchConfig *c) { *n = -29; config(c); return say(" %lx", P(f)); }
CUresult cuTensorMapEncodeTiled(CUtensorMap *m, CUtensorMapDataType t, cuuint32_t rank, void *p, const cuuint64_t *dims, const cuuint64_t *strides,
                                const cuuint32_t *box, const cuuint32_t *steps, CUtensorMapInterleave il, CUtensorMapSwizzle sw, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill oob) {
	memset(m, 0x5A, sizeof *m);
	return say("%d %u %lx %lu,%lu %lu %u,%u %u,%u %d %d %d %d", t, rank, P(p), (unsigned long)dims[0], (unsigned long)dims[1], (unsigned long)strides[0],
	           box[0], box[1], steps[0], steps[1], il, sw, l2, oob);
}

CUresult cuStreamCreate(CUstream *s, unsigned int f) { *s = (CUstream)-30; return say("%u", f); }
CUresult cuStreamDestroy_v2(CUstream s) { return say("%lx", P(s)); }
CUresult cuStreamSynchronize(CUstream s) { return say("%lx", P(s)); }
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned int f) { return say("%lx %lx %u", P(s), P(e), f); }
CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode m) { return say("%lx %d", P(s), m); }
CUresult cuStreamEndCapture(CUstream s, CUgraph *g) { *g = (CUgraph)-31; return say("%lx", P(s)); }
CUresult cuEventCreate(CUevent *e, unsigned int f) { *e = (CUevent)-32; return say("%u", f); }
CUresult cuEventDestroy_v2(CUevent e) { return say("%lx", P(e)); }
CUresult cuEventRecord(CUevent e, CUstream s) { return say("%lx %lx", P(e), P(s)); }
CUresult cuEventSynchronize(CUevent e) { return say("%lx", P(e)); }
#if defined(WITH_CUDA_H) && CUDA_VERSION >= 13000
#undef cuEventElapsedTime
#endif
CUresult cuEventElapsedTime(float *ms, CUevent a, CUevent b) { *ms = 1.5f; return say("%lx %lx", P(a), P(b)); }
CUresult cuGraphInstantiateWithFlags(CUgraphExec *x, CUgraph g, unsigned long long f) { *x = (CUgraphExec)-33; return say("%lx %llx", P(g), f); }
CUresult cuGraphUpload(CUgraphExec x, CUstream s) { return say("%lx %lx", P(x), P(s)); }
CUresult cuGraphLaunch(CUgraphExec x, CUstream s) { return say("%lx %lx", P(x), P(s)); }
CUresult cuGraphExecDestroy(CUgraphExec x) { return say("%lx", P(x)); }
CUresult cuGraphDestroy(CUgraph g) { return say("%lx", P(g)); }

#ifdef WITH_CUDA_H
// The numbers and layouts that types.go repeats, one a line.
#define N(x) say("%s %ld\n", #x, (long)(x))
void stub_constants(void) {
	N(CUDA_ERROR_INVALID_VALUE); N(CUDA_ERROR_OUT_OF_MEMORY); N(CUDA_ERROR_STUB_LIBRARY); N(CUDA_ERROR_NO_DEVICE);
	N(CUDA_ERROR_INVALID_DEVICE); N(CUDA_ERROR_INVALID_IMAGE); N(CUDA_ERROR_INVALID_CONTEXT); N(CUDA_ERROR_NO_BINARY_FOR_GPU); N(CUDA_ERROR_ECC_UNCORRECTABLE);
	N(CUDA_ERROR_INVALID_PTX); N(CUDA_ERROR_NVLINK_UNCORRECTABLE); N(CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
	N(CUDA_ERROR_CONTAINED); N(CUDA_ERROR_INVALID_HANDLE); N(CUDA_ERROR_NOT_FOUND); N(CUDA_ERROR_ILLEGAL_ADDRESS);
	N(CUDA_ERROR_LAUNCH_TIMEOUT); N(CUDA_ERROR_CONTEXT_IS_DESTROYED); N(CUDA_ERROR_ASSERT); N(CUDA_ERROR_HARDWARE_STACK_ERROR);
	N(CUDA_ERROR_ILLEGAL_INSTRUCTION); N(CUDA_ERROR_MISALIGNED_ADDRESS); N(CUDA_ERROR_INVALID_ADDRESS_SPACE); N(CUDA_ERROR_INVALID_PC); N(CUDA_ERROR_LAUNCH_FAILED);
	N(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); N(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
	N(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT); N(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE); N(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
	N(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR); N(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
	N(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK); N(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES); N(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES); N(CU_FUNC_ATTRIBUTE_NUM_REGS);
	N(CU_FUNC_ATTRIBUTE_BINARY_VERSION); N(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
	N(CU_JIT_MAX_REGISTERS); N(CU_JIT_INFO_LOG_BUFFER); N(CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES); N(CU_JIT_ERROR_LOG_BUFFER); N(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
	N(CU_JIT_LOG_VERBOSE); N(CU_JIT_INPUT_PTX); N(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); N(CU_STREAM_NON_BLOCKING); N(CU_EVENT_BLOCKING_SYNC);
	N(CU_TENSOR_MAP_DATA_TYPE_UINT8); N(CU_TENSOR_MAP_DATA_TYPE_UINT32); N(CU_TENSOR_MAP_DATA_TYPE_INT32); N(CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
	N(CU_TENSOR_MAP_DATA_TYPE_FLOAT32); N(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16); N(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
	N(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
	N(sizeof(CUtensorMap)); N(sizeof(CUlaunchAttribute)); N(offsetof(CUlaunchAttribute, value)); N(sizeof(CUlaunchConfig)); N(offsetof(CUlaunchConfig, hStream));
	N(offsetof(CUlaunchConfig, attrs)); N(offsetof(CUlaunchConfig, numAttrs));
}
#endif
