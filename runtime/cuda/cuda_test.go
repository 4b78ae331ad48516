package cuda_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const axpyPTX = `.version 8.0
.target sm_90a
.address_size 64
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .u32 n, .param .f32 a)
{ ret; }
.visible .entry tma(.param .align 64 .b8 map[128], .param .u64 y)
{ ret; }
.visible .entry nop()
{ ret; }
`

// axpy is y += a·x in float32, as the kernel of that name would do it.
func axpy(l *cudatest.Launch) error {
	n := uint64(l.U32(2))
	x, y := l.Mem(l.U64(0), 4*n), l.Mem(l.U64(1), 4*n)
	if x == nil || y == nil {
		return cudatest.ErrFault
	}
	a := math.Float32frombits(l.U32(3))
	for i := uint64(0); i < 4*n; i += 4 {
		v := f32(y[i:]) + a*f32(x[i:])
		binary.LittleEndian.PutUint32(y[i:], math.Float32bits(v))
	}
	return nil
}

func f32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func axpyLaunch(n uint32, a float32) gpu.Launch {
	return gpu.Launch{
		Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{128, 1, 1},
		Args: []gpu.Arg{gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0), gpu.U32Arg(n), gpu.F32Arg(a)},
	}
}

// open returns a device of a fake driver, with a cache folder of the test's own.
func open(t testing.TB, specs ...cudatest.Spec) (*cudatest.Fake, *cuda.Device) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := cudatest.New(specs...)
	f.Kernels["axpy"] = axpy
	return f, openFake(t, f, 0)
}

func openFake(t testing.TB, f *cudatest.Fake, ordinal int) *cuda.Device {
	s, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := s.Open(ordinal)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := d.Close(); !errors.Is(err, cuda.ErrClosed) && !t.Failed() {
			require.NoError(t, err)
		}
	})
	return d
}

func load(t testing.TB, d *cuda.Device, ptx, name string) *cuda.Function {
	m, err := d.Load(ptx, cuda.LoadOptions{})
	require.NoError(t, err)
	require.NoError(t, m.CacheErr)
	fn, err := m.Function(name)
	require.NoError(t, err)
	return fn
}

func alloc(t testing.TB, d *cuda.Device, bytes int64) *cuda.Buffer {
	b, err := d.Alloc(bytes)
	require.NoError(t, err)
	return b
}

func random(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rand.NormFloat64())
	}
	return v
}

func TestRunKernel(t *testing.T) {
	_, d := open(t)
	fn := load(t, d, axpyPTX, "axpy")
	require.Equal(t, 64, fn.Registers)
	require.Equal(t, 512, fn.MaxThreads)
	require.Equal(t, cudatest.H200.SharedMax-fn.SharedBytes, fn.SharedMax)
	const n = 100
	x, y := random(n), random(n)
	bx, by := alloc(t, d, 4*n), alloc(t, d, 4*n)
	require.NoError(t, cuda.Upload(nil, bx, x))
	require.NoError(t, cuda.Upload(d.Stream(), by, y))
	require.NoError(t, d.Launch(nil, fn, axpyLaunch(n, 0.5), cuda.Buffers{gpu.X: bx, gpu.Y: by}))
	got := make([]float32, n)
	require.NoError(t, cuda.Download(d.Stream(), got, by))
	for i := range got {
		require.Equal(t, y[i]+0.5*x[i], got[i])
	}
}

func TestCloseDestroysAll(t *testing.T) {
	f, d := open(t)
	load(t, d, axpyPTX, "axpy")
	alloc(t, d, 100)
	h, err := d.AllocHost(64)
	require.NoError(t, err)
	require.Len(t, h.Bytes(), 64)
	_, err = d.NewStream()
	require.NoError(t, err)
	e, err := d.NewEvent()
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.ErrorIs(t, e.Close(), cuda.ErrClosed)
	require.Greater(t, f.Live(), 4)
	require.NoError(t, d.Close())
	require.Zero(t, f.Live())
	require.ErrorIs(t, d.Close(), cuda.ErrClosed)
	_, err = d.Alloc(1)
	require.ErrorIs(t, err, cuda.ErrClosed)
	require.ErrorIs(t, d.Stream().Synchronize(), cuda.ErrClosed)
}

func TestInfo(t *testing.T) {
	_, d := open(t)
	info, err := d.Info()
	require.NoError(t, err)
	require.Equal(t, gpu.Device{
		Name: "Fake H200", CC: [2]int{9, 0}, SMs: 132, SharedMax: 232448, L2Bytes: 50 << 20, MemoryBytes: 1 << 20,
		MaxClusters2: 66, MaxClusters4: 30, Driver: 12080,
	}, info)
	free, total, err := d.MemInfo()
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, free)
	require.EqualValues(t, 1<<20, total)
}

func TestSystemInfo(t *testing.T) {
	s, err := cuda.New(cudatest.New(cudatest.H200, cudatest.H200).Driver())
	require.NoError(t, err)
	require.Equal(t, 2, s.Count())
	require.Equal(t, 12080, s.Driver())
	info, err := s.Info(1)
	require.NoError(t, err)
	require.Equal(t, "Fake H200", info.Name)
	require.Zero(t, info.MaxClusters2)
	_, err = s.Info(-1)
	require.ErrorIs(t, err, cuda.ErrNoDevice)
}

func TestInfoWithoutClusters(t *testing.T) {
	f, d := open(t, cudatest.Spec{Name: "A100", CC: [2]int{8, 0}, SMs: 108, SharedMax: 166912, Memory: 1 << 16})
	info, err := d.Info()
	require.NoError(t, err)
	require.Zero(t, info.MaxClusters2)
	require.NotContains(t, f.Calls(), "cuModuleLoadDataEx")
}

func TestLoadErrors(t *testing.T) {
	f := cudatest.New()
	f.Fail("cuInit", 100)
	_, err := cuda.New(f.Driver())
	require.ErrorIs(t, err, cuda.ErrNoDevice)
	require.ErrorContains(t, err, "CUDA_ERROR_NO_DEVICE")
	f.Fail("cuInit", 34)
	_, err = cuda.New(f.Driver())
	require.ErrorIs(t, err, cuda.ErrNoDriver)
	f.Version = 11080
	_, err = cuda.New(f.Driver())
	require.ErrorIs(t, err, cuda.ErrOldDriver)
	require.ErrorContains(t, err, "it supports CUDA 11.8, at least 12.0 is needed")
	f.Version = 12020
	s, err := cuda.New(f.Driver())
	require.NoError(t, err)
	require.Equal(t, 1, s.Count())
	_, err = s.Open(1)
	require.ErrorIs(t, err, cuda.ErrNoDevice)
	require.ErrorContains(t, err, "number 1 of 1")
	f.Fail("cuDevicePrimaryCtxRetain", 2)
	_, err = s.Open(0)
	require.ErrorIs(t, err, cuda.ErrOutOfMemory)
}

// TestNoDriver runs on the machine as it is: with a driver Load works.
func TestNoDriver(t *testing.T) {
	s, err := cuda.Load()
	if err == nil {
		require.Positive(t, s.Count())
		return
	}
	if !errors.Is(err, cuda.ErrNoDevice) {
		require.ErrorIs(t, err, cuda.ErrNoDriver)
		require.ErrorContains(t, err, "libcuda.so.1")
	}
}

func TestOutOfMemory(t *testing.T) {
	_, d := open(t)
	_, err := d.Alloc(1<<20 + 1)
	require.ErrorIs(t, err, cuda.ErrOutOfMemory)
	require.EqualError(t, err, "cuda: allocate 1048577 bytes: CUDA_ERROR_OUT_OF_MEMORY (2): fake error 2")
	var e *cuda.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 2, e.Code)
	alloc(t, d, 1<<20)
	for _, n := range []int64{0, -1} {
		_, err = d.Alloc(n)
		require.ErrorContains(t, err, "must be positive")
	}
}

// TestFault: a fault ends CUDA for the process, as seen on an H100 where a context
// that was released, reset and retained again still faulted.
func TestFault(t *testing.T) {
	f, before := open(t, cudatest.H200, cudatest.H200)
	s, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := s.Open(1)
	require.NoError(t, err)
	fn := load(t, d, axpyPTX, "axpy")
	x := alloc(t, d, 64)
	h, err := d.AllocHost(64)
	require.NoError(t, err)
	// The launch reaches beyond X, which a pointer argument does not tell.
	require.NoError(t, d.Launch(nil, fn, axpyLaunch(17, 1), cuda.Buffers{gpu.X: x, gpu.Y: x}))
	err = d.Stream().Synchronize()
	require.ErrorIs(t, err, cuda.ErrDeviceLost)
	const lost = "cuda: device %d (Fake H200): a fault has ended CUDA for this process%s; " +
		"only a new process can use it again: cuda: %s: CUDA_ERROR_ILLEGAL_ADDRESS (700): fake error 700"
	require.EqualError(t, err, fmt.Sprintf(lost, 1, " (the last kernel launched was axpy)", "wait for a stream"))
	_, again := d.Alloc(64)
	require.Equal(t, err, again)
	require.ErrorIs(t, d.Launch(nil, fn, axpyLaunch(1, 1), cuda.Buffers{gpu.X: x, gpu.Y: x}), cuda.ErrDeviceLost)
	_, again = s.Open(0)
	require.Equal(t, err, again)

	// Close is quiet, and asks the driver for nothing that it would refuse.
	f.Calls()
	require.NoError(t, d.Close())
	require.Equal(t, []string{"cuDevicePrimaryCtxRelease_v2"}, f.Calls())
	_, err = d.Alloc(64)
	require.ErrorIs(t, err, cuda.ErrClosed)
	require.ErrorIs(t, h.Free(), cuda.ErrClosed)

	// What did not see the fault learns of it from the driver.
	require.EqualError(t, before.Synchronize(), fmt.Sprintf(lost, 0, "", "wait for the device"))
	require.NoError(t, before.Close())
	s, err = cuda.New(f.Driver())
	require.NoError(t, err)
	_, err = s.Open(0)
	require.ErrorIs(t, err, cuda.ErrDeviceLost)
	require.EqualError(t, err, fmt.Sprintf(lost, 0, "", "open device 0 (Fake H200)"))
}

// TestContextDestroyed: an owner that destroys its context has not lost CUDA.
func TestContextDestroyed(t *testing.T) {
	f, d := open(t)
	f.Fail("cuMemAlloc_v2", 709)
	_, err := d.Alloc(64)
	require.ErrorIs(t, err, cuda.ErrClosed)
	require.NotErrorIs(t, err, cuda.ErrDeviceLost)
	alloc(t, d, 64)
}

// TestFaultSeenByClose: an error that no call has returned yet comes from Close.
func TestFaultSeenByClose(t *testing.T) {
	_, d := open(t)
	fn := load(t, d, axpyPTX, "axpy")
	x := alloc(t, d, 64)
	require.NoError(t, d.Launch(nil, fn, axpyLaunch(17, 1), cuda.Buffers{gpu.X: x, gpu.Y: x}))
	require.ErrorIs(t, d.Close(), cuda.ErrDeviceLost)
	require.NoError(t, d.Close())
}
