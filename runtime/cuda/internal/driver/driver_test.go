//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

// buildStub compiles testdata/stub.c to a library and returns its path.
func buildStub(t testing.TB, flags ...string) string {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	lib := filepath.Join(t.TempDir(), "libcuda.so.1")
	args := append([]string{"-shared", "-fPIC", "-o", lib, filepath.Join("testdata", "stub.c")}, flags...)
	out, err := exec.Command(cc, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return lib
}

// cudaHeader returns the folder of cuda.h, of a toolkit or of Python's
// nvidia-cuda-runtime package.
func cudaHeader(t *testing.T) string {
	dirs := []string{os.Getenv("CUDA_HOME") + "/include", "/usr/local/cuda/include"}
	const where = "import importlib.util as u; s = u.find_spec('nvidia'); print('\\n'.join(s.submodule_search_locations if s else []))"
	if out, err := exec.Command("python3", "-c", where).Output(); err == nil {
		for _, root := range strings.Fields(string(out)) {
			found, _ := filepath.Glob(filepath.Join(root, "*", "include"))
			dirs = append(dirs, found...)
		}
	}
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "cuda.h")); err == nil {
			return d
		}
	}
	t.Skip("no cuda.h (set CUDA_HOME, or pip install nvidia-cuda-runtime)")
	return ""
}

// stubText calls a function of the stub that returns a string.
func stubText(t *testing.T, lib string) func() string {
	h, err := purego.Dlopen(lib, purego.RTLD_NOW)
	require.NoError(t, err)
	var log func() string
	purego.RegisterLibFunc(&log, h, "stub_log")
	return log
}

// TestABI calls every function of the table into C, where the arguments are
// printed by their C types, and looks at what comes back.
func TestABI(t *testing.T) {
	lib := buildStub(t)
	d, err := Open(lib)
	require.NoError(t, err)
	log := stubText(t, lib)
	var (
		i    int32
		u    uint64
		h    uintptr
		b    *byte
		p    unsafe.Pointer
		ms   float32
		buf  [4]byte
		tm   TensorMap
		data = []byte("*\x00")
		keys = []JITOption{JITErrorLog, JITLogVerbose}
		vals = []uintptr{0xABCDEF0123, 1}
		x, y = int32(-7), int32(8)
	)
	params := []unsafe.Pointer{unsafe.Pointer(&x), unsafe.Pointer(&y)}
	attrs := []LaunchAttr{{ID: AttrClusterDim, Value: [16]uint32{2, 3, 4}}, {ID: AttrPDL, Value: [16]uint32{1}}}
	config := LaunchConfig{Grid: [3]uint32{1, 2, 3}, Block: [3]uint32{4, 5, 6}, Shared: 7, Stream: 0x88, Attrs: &attrs[0], NumAttrs: 2}
	const configText = "1,2,3 4,5,6 7 88 4=2,3,4 6=1,0,0"
	dims, strides, box, steps := []uint64{1 << 31, 5}, []uint64{1<<40 - 16}, []uint32{64, 256}, []uint32{1, 1}
	const big = 0xF123456789ABCDEF
	calls := map[string]struct {
		call func() Result
		log  string
		back func() any // what the function returned through a pointer
		want any
	}{
		"Init":              {func() Result { return d.Init(9) }, "9", nil, nil},
		"DriverGetVersion":  {func() Result { return d.DriverGetVersion(&i) }, "", func() any { return i }, int32(-11)},
		"GetErrorName":      {func() Result { return d.GetErrorName(-3, &b) }, "-3", func() any { return String(b) }, "NAME"},
		"GetErrorString":    {func() Result { return d.GetErrorString(700, &b) }, "700", func() any { return String(b) }, "TEXT"},
		"DeviceGetCount":    {func() Result { return d.DeviceGetCount(&i) }, "", func() any { return i }, int32(-12)},
		"DeviceGet":         {func() Result { return d.DeviceGet(&i, 3) }, "3", func() any { return i }, int32(-13)},
		"DeviceGetName":     {func() Result { return d.DeviceGetName(&buf[0], 4, 5) }, "4 5", func() any { return String(&buf[0]) }, "N"},
		"DeviceGetAttr":     {func() Result { return d.DeviceGetAttr(&i, AttrSMs, 6) }, "16 6", func() any { return i }, int32(-14)},
		"DeviceTotalMem":    {func() Result { return d.DeviceTotalMem(&u, 7) }, "7", func() any { return int64(u) }, int64(-15)},
		"PrimaryRetain":     {func() Result { return d.PrimaryRetain(&h, 8) }, "8", func() any { return int(h) }, -16},
		"PrimaryRelease":    {func() Result { return d.PrimaryRelease(9) }, "9", nil, nil},
		"CtxSetCurrent":     {func() Result { return d.CtxSetCurrent(0xABC) }, "abc", nil, nil},
		"CtxGetDevice":      {func() Result { return d.CtxGetDevice(&i) }, "", func() any { return i }, int32(-17)},
		"CtxSynchronize":    {func() Result { return d.CtxSynchronize() }, "", nil, nil},
		"MemGetInfo":        {func() Result { return d.MemGetInfo(&u, &u) }, "", func() any { return int64(u) }, int64(-19)},
		"MemAlloc":          {func() Result { return d.MemAlloc(&u, big) }, "f123456789abcdef", func() any { return int64(u) }, int64(-20)},
		"MemFree":           {func() Result { return d.MemFree(big) }, "f123456789abcdef", nil, nil},
		"MemAllocHost":      {func() Result { return d.MemAllocHost(&p, 16) }, "10", func() any { return p != nil }, true},
		"MemFreeHost":       {func() Result { _ = d.MemAllocHost(&p, 1); log(); return d.MemFreeHost(p) }, "1", nil, nil},
		"MemcpyHtoD":        {func() Result { return d.MemcpyHtoD(big, unsafe.Pointer(&data[0]), 1<<33, 0x51) }, "f123456789abcdef 42 200000000 51", nil, nil},
		"MemcpyDtoH":        {func() Result { return d.MemcpyDtoH(unsafe.Pointer(&data[0]), big, 1<<33, 0x51) }, "42 f123456789abcdef 200000000 51", nil, nil},
		"MemcpyDtoD":        {func() Result { return d.MemcpyDtoD(1, big, 1<<33, 0x51) }, "1 f123456789abcdef 200000000 51", nil, nil},
		"MemsetD8":          {func() Result { return d.MemsetD8(big, 0xFE, 1<<33, 0x51) }, "f123456789abcdef fe 200000000 51", nil, nil},
		"MemsetD32":         {func() Result { return d.MemsetD32(big, 0xFEDCBA98, 1<<33, 0x51) }, "f123456789abcdef fedcba98 200000000 51", nil, nil},
		"ModuleLoadData":    {func() Result { return d.ModuleLoadData(&h, unsafe.Pointer(&data[0]), 2, &keys[0], &vals[0]) }, "* 2 5=abcdef0123 12=1", func() any { return int(h) }, -21},
		"ModuleUnload":      {func() Result { return d.ModuleUnload(0x77) }, "77", nil, nil},
		"ModuleGetFunction": {func() Result { return d.ModuleGetFunction(&h, 0x77, &data[0]) }, "77 *", func() any { return int(h) }, -22},
		"LinkCreate":        {func() Result { return d.LinkCreate(2, &keys[0], &vals[0], &h) }, " 2 5=abcdef0123 12=1", func() any { return int(h) }, -23},
		"LinkAddData": {func() Result {
			return d.LinkAddData(0x23, InputPTX, unsafe.Pointer(&data[0]), 2, &data[0], 2, &keys[0], &vals[0])
		}, "23 1 2 ** 2 5=abcdef0123 12=1", nil, nil},
		"LinkComplete":      {func() Result { return d.LinkComplete(0x23, &p, &u) }, "23", func() any { return int64(u) }, int64(-24)},
		"LinkDestroy":       {func() Result { return d.LinkDestroy(0x23) }, "23", nil, nil},
		"FuncGetAttr":       {func() Result { return d.FuncGetAttr(&i, FuncRegisters, 0xF) }, "4 f", func() any { return i }, int32(-25)},
		"FuncSetAttr":       {func() Result { return d.FuncSetAttr(0xF, FuncDynamicShared, 232448) }, "f 8 232448", nil, nil},
		"FuncGetParamInfo":  {func() Result { return d.FuncGetParamInfo(0xF, 3, &u, &u) }, "f 3", func() any { return int64(u) }, int64(-27)},
		"LaunchKernel":      {func() Result { return d.LaunchKernel(&config, 0xF, &params[0], nil) }, configText + " f -7 8 0", nil, nil},
		"OccupancyBlocks":   {func() Result { return d.OccupancyBlocks(&i, 0xF, 288, 1<<33) }, "f 288 200000000", func() any { return i }, int32(-28)},
		"OccupancyClusters": {func() Result { return d.OccupancyClusters(&i, 0xF, &config) }, configText + " f", func() any { return i }, int32(-29)},
		"TensorMapEncode": {func() Result {
			return d.TensorMapEncode(&tm, MapBF16, 2, big, &dims[0], &strides[0], &box[0], &steps[0], 0, 3, 2, 1)
		}, "9 2 f123456789abcdef 2147483648,5 1099511627760 64,256 1,1 0 3 2 1", func() any { return [2]byte{tm[0], tm[127]} }, [2]byte{0x5A, 0x5A}},
		"StreamCreate":       {func() Result { return d.StreamCreate(&h, StreamNonBlocking) }, "1", func() any { return int(h) }, -30},
		"StreamDestroy":      {func() Result { return d.StreamDestroy(0x51) }, "51", nil, nil},
		"StreamSynchronize":  {func() Result { return d.StreamSynchronize(0x51) }, "51", nil, nil},
		"StreamWaitEvent":    {func() Result { return d.StreamWaitEvent(0x51, 0xE, 0) }, "51 e 0", nil, nil},
		"StreamBeginCapture": {func() Result { return d.StreamBeginCapture(0x51, CaptureThreadLocal) }, "51 1", nil, nil},
		"StreamEndCapture":   {func() Result { return d.StreamEndCapture(0x51, &h) }, "51", func() any { return int(h) }, -31},
		"EventCreate":        {func() Result { return d.EventCreate(&h, EventBlockingSync) }, "1", func() any { return int(h) }, -32},
		"EventDestroy":       {func() Result { return d.EventDestroy(0xE) }, "e", nil, nil},
		"EventRecord":        {func() Result { return d.EventRecord(0xE, 0x51) }, "e 51", nil, nil},
		"EventSynchronize":   {func() Result { return d.EventSynchronize(0xE) }, "e", nil, nil},
		"EventElapsedTime":   {func() Result { return d.EventElapsedTime(&ms, 0xE, 0xF) }, "e f", func() any { return ms }, float32(1.5)},
		"GraphInstantiate":   {func() Result { return d.GraphInstantiate(&h, 0x6, 0) }, "6 0", func() any { return int(h) }, -33},
		"GraphUpload":        {func() Result { return d.GraphUpload(0x6, 0x51) }, "6 51", nil, nil},
		"GraphLaunch":        {func() Result { return d.GraphLaunch(0x6, 0x51) }, "6 51", nil, nil},
		"GraphExecDestroy":   {func() Result { return d.GraphExecDestroy(0x6) }, "6", nil, nil},
		"GraphDestroy":       {func() Result { return d.GraphDestroy(0x6) }, "6", nil, nil},
	}
	for k := range reflect.TypeFor[Driver]().NumField() {
		name := reflect.TypeFor[Driver]().Field(k).Name
		c, ok := calls[name]
		require.True(t, ok, name)
		require.Equal(t, Result(7), c.call(), name)
		require.Equal(t, c.log, log(), name)
		if c.back != nil {
			require.Equal(t, c.want, c.back(), name)
		}
	}
}

func TestMissing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "libcuda.so.1"))
	var lib *NoLibraryError
	require.ErrorAs(t, err, &lib)
	require.ErrorContains(t, err, "libcuda.so.1")

	d, err := Open(buildStub(t, "-DOLD"))
	require.NoError(t, err)
	require.Nil(t, d.FuncGetParamInfo)

	_, err = Open(buildStub(t, "-DcuLaunchKernelEx=other"))
	var sym *NoSymbolError
	require.ErrorAs(t, err, &sym)
	require.Equal(t, "cuLaunchKernelEx", sym.Symbol)
	require.ErrorContains(t, err, "no function cuLaunchKernelEx")
	require.Error(t, errors.Unwrap(err))
}

// TestHeader compares the numbers of types.go with cuda.h, against which it also
// compiles the stub's signatures.
func TestHeader(t *testing.T) {
	lib := buildStub(t, "-DWITH_CUDA_H", "-I"+cudaHeader(t))
	h, err := purego.Dlopen(lib, purego.RTLD_NOW)
	require.NoError(t, err)
	var constants func()
	purego.RegisterLibFunc(&constants, h, "stub_constants")
	constants()
	got := map[string]int{}
	for line := range strings.Lines(stubText(t, lib)()) {
		var name string
		i := strings.LastIndexByte(line, ' ')
		var v int
		name = line[:i]
		_, err := fmt.Sscan(line[i:], &v)
		require.NoError(t, err)
		got[name] = v
	}
	require.Equal(t, map[string]int{
		"CUDA_ERROR_INVALID_VALUE": int(ErrInvalidValue), "CUDA_ERROR_OUT_OF_MEMORY": int(ErrOutOfMemory),
		"CUDA_ERROR_STUB_LIBRARY": int(ErrStubLibrary), "CUDA_ERROR_NO_DEVICE": int(ErrNoDevice), "CUDA_ERROR_INVALID_DEVICE": int(ErrInvalidDevice),
		"CUDA_ERROR_INVALID_IMAGE": int(ErrInvalidImage), "CUDA_ERROR_INVALID_CONTEXT": int(ErrInvalidContext),
		"CUDA_ERROR_NO_BINARY_FOR_GPU": int(ErrNoBinaryForGPU), "CUDA_ERROR_ECC_UNCORRECTABLE": int(ErrECCUncorrectable),
		"CUDA_ERROR_INVALID_PTX": int(ErrInvalidPTX), "CUDA_ERROR_NVLINK_UNCORRECTABLE": int(ErrNVLinkUncorrectable),
		"CUDA_ERROR_UNSUPPORTED_PTX_VERSION": int(ErrUnsupportedPTXVersion), "CUDA_ERROR_CONTAINED": int(ErrContained),
		"CUDA_ERROR_INVALID_HANDLE": int(ErrInvalidHandle), "CUDA_ERROR_NOT_FOUND": int(ErrNotFound), "CUDA_ERROR_ILLEGAL_ADDRESS": int(ErrIllegalAddress),
		"CUDA_ERROR_LAUNCH_TIMEOUT": int(ErrLaunchTimeout), "CUDA_ERROR_CONTEXT_IS_DESTROYED": int(ErrContextIsDestroyed), "CUDA_ERROR_ASSERT": int(ErrAssert),
		"CUDA_ERROR_HARDWARE_STACK_ERROR": int(ErrHardwareStack), "CUDA_ERROR_ILLEGAL_INSTRUCTION": int(ErrIllegalInstruction),
		"CUDA_ERROR_MISALIGNED_ADDRESS": int(ErrMisalignedAddress), "CUDA_ERROR_INVALID_ADDRESS_SPACE": int(ErrInvalidAddressSpace),
		"CUDA_ERROR_INVALID_PC": int(ErrInvalidPC), "CUDA_ERROR_LAUNCH_FAILED": int(ErrLaunchFailed),
		"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": int(ErrStreamCaptureUnsupport), "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD": int(ErrStreamCaptureWrongThrd),
		"CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": int(AttrSMs), "CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE": int(AttrL2Bytes),
		"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": int(AttrCCMajor), "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": int(AttrCCMinor),
		"CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": int(AttrSharedOptin),
		"CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK":               int(FuncMaxThreads), "CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES": int(FuncStaticShared),
		"CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES": int(FuncLocalBytes), "CU_FUNC_ATTRIBUTE_NUM_REGS": int(FuncRegisters),
		"CU_FUNC_ATTRIBUTE_BINARY_VERSION": int(FuncBinaryVersion), "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES": int(FuncDynamicShared),
		"CU_JIT_MAX_REGISTERS": int(JITMaxRegisters), "CU_JIT_INFO_LOG_BUFFER": int(JITInfoLog), "CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES": int(JITInfoLogSize),
		"CU_JIT_ERROR_LOG_BUFFER": int(JITErrorLog), "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES": int(JITErrorLogSize), "CU_JIT_LOG_VERBOSE": int(JITLogVerbose),
		"CU_JIT_INPUT_PTX": int(InputPTX), "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL": int(CaptureThreadLocal),
		"CU_STREAM_NON_BLOCKING": int(StreamNonBlocking), "CU_EVENT_BLOCKING_SYNC": int(EventBlockingSync),
		"CU_TENSOR_MAP_DATA_TYPE_UINT8": int(MapU8), "CU_TENSOR_MAP_DATA_TYPE_UINT32": int(MapU32), "CU_TENSOR_MAP_DATA_TYPE_INT32": int(MapS32),
		"CU_TENSOR_MAP_DATA_TYPE_FLOAT16": int(MapF16), "CU_TENSOR_MAP_DATA_TYPE_FLOAT32": int(MapF32), "CU_TENSOR_MAP_DATA_TYPE_BFLOAT16": int(MapBF16),
		"CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION": int(AttrClusterDim), "CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION": int(AttrPDL),
		"sizeof(CUtensorMap)": int(unsafe.Sizeof(TensorMap{})), "sizeof(CUlaunchAttribute)": int(unsafe.Sizeof(LaunchAttr{})),
		"offsetof(CUlaunchAttribute, value)": int(unsafe.Offsetof(LaunchAttr{}.Value)), "sizeof(CUlaunchConfig)": int(unsafe.Sizeof(LaunchConfig{})),
		"offsetof(CUlaunchConfig, hStream)": int(unsafe.Offsetof(LaunchConfig{}.Stream)), "offsetof(CUlaunchConfig, attrs)": int(unsafe.Offsetof(LaunchConfig{}.Attrs)),
		"offsetof(CUlaunchConfig, numAttrs)": int(unsafe.Offsetof(LaunchConfig{}.NumAttrs)),
	}, got)
}
