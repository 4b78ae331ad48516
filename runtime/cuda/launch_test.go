package cuda_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const allPTX = `.version 8.0
.target sm_90a
.visible .entry all(
	.param .align 64 .b8 m0[128],
	.param .u32 u,
	.param .align 64 .b8 m1[128],
	.param .u64 p,
	.param .f32 f,
	.param .u64 q
)
{ ret; }
`

// TestArguments passes one argument of each kind, maps of all types, clusters and
// a dependent launch.
func TestArguments(t *testing.T) {
	f, d := open(t)
	var got *cudatest.Launch
	f.Kernels["all"] = func(l *cudatest.Launch) error { got = l; return nil }
	fn := load(t, d, allPTX, "all")
	x, w := alloc(t, d, 4096), alloc(t, d, 1<<14)
	half, err := w.Slice(1<<13, 1<<13)
	require.NoError(t, err)
	mx := gpu.TensorMap{DType: gpu.BF16, Of: gpu.X, Offset: 64, Dims: []uint64{40, 20}, Strides: []uint64{96}, Box: []uint32{32, 8}, Swizzle: gpu.Swizzle64, L2: gpu.L2Promotion128}
	mw := gpu.TensorMap{DType: gpu.E4M3, Of: gpu.Weights, Dims: []uint64{128, 2, 3, 2, 2}, Strides: []uint64{128, 256, 768, 1536}, Box: []uint32{128, 1, 3, 1, 2}, Swizzle: gpu.Swizzle128}
	l := gpu.Launch{
		Grid: [3]uint32{6, 2, 1}, Block: [3]uint32{64, 2, 1}, Cluster: [3]uint32{2, 1, 1}, Shared: 200_000, PDL: true,
		Args: []gpu.Arg{gpu.MapArg(mx), gpu.U32Arg(0xFEDCBA98), gpu.MapArg(mw), gpu.PtrArg(gpu.Weights, 48), gpu.F32Arg(-1.5), gpu.U64Arg(1<<63 + 5)},
	}
	require.NoError(t, d.Launch(nil, fn, l, cuda.Buffers{gpu.X: x, gpu.Weights: half}))
	require.Equal(t, l.Grid, got.Grid)
	require.Equal(t, l.Block, got.Block)
	require.Equal(t, l.Cluster, got.Cluster)
	require.Equal(t, l.Shared, got.Shared)
	require.True(t, got.PDL)
	require.Equal(t, cudatest.Map{Type: 9, Addr: x.Addr() + 64, Dims: mx.Dims, Strides: mx.Strides, Box: mx.Box, Swizzle: 2, L2: 2}, got.Map(0))
	require.Equal(t, cudatest.Map{Type: 0, Addr: half.Addr(), Dims: mw.Dims, Strides: mw.Strides, Box: mw.Box, Swizzle: 3}, got.Map(2))
	require.Equal(t, uint32(0xFEDCBA98), got.U32(1))
	require.Equal(t, w.Addr()+1<<13+48, got.U64(3))
	require.Equal(t, float32(-1.5), math.Float32frombits(got.U32(4)))
	require.Equal(t, uint64(1<<63+5), got.U64(5))

	l.PDL, l.Cluster = false, [3]uint32{}
	require.NoError(t, d.Launch(nil, fn, l, cuda.Buffers{gpu.X: x, gpu.Weights: half}))
	require.False(t, got.PDL)
	require.Zero(t, got.Cluster)

	n, err := fn.MaxClusters(gpu.Launch{Grid: [3]uint32{4, 1, 1}, Block: [3]uint32{32, 1, 1}, Cluster: [3]uint32{4, 1, 1}})
	require.NoError(t, err)
	require.Equal(t, 30, n)
	n, err = fn.BlocksPerSM(gpu.Launch{Block: [3]uint32{256, 1, 1}, Shared: 100_000})
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestMapTypes(t *testing.T) {
	f, d := open(t)
	var got cudatest.Map
	f.Kernels["tma"] = func(l *cudatest.Launch) error { got = l.Map(0); return nil }
	fn := load(t, d, axpyPTX, "tma")
	x := alloc(t, d, 1024)
	// The numbers are those of CUtensorMapDataType.
	for dt, want := range map[gpu.DType]uint32{
		gpu.U8: 0, gpu.S8: 0, gpu.E4M3: 0, gpu.E5M2: 0, gpu.U32: 2, gpu.S32: 3, gpu.F16: 6, gpu.F32: 7, gpu.BF16: 9,
	} {
		m := gpu.TensorMap{DType: dt, Of: gpu.X, Dims: []uint64{64}, Box: []uint32{16}}
		l := gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{1, 1, 1}, Args: []gpu.Arg{gpu.MapArg(m), gpu.PtrArg(gpu.Y, 0)}}
		require.NoError(t, d.Launch(nil, fn, l, cuda.Buffers{gpu.X: x, gpu.Y: x}))
		require.Equal(t, want, got.Type, dt)
	}
}

func TestPrepareErrors(t *testing.T) {
	f, d := open(t, cudatest.H200, cudatest.H200)
	d1 := openFake(t, f, 1)
	fn := load(t, d, axpyPTX, "axpy")
	tma := load(t, d, axpyPTX, "tma")
	x, gone, foreign := alloc(t, d, 4096), alloc(t, d, 16), alloc(t, d1, 16)
	require.NoError(t, gone.Free())
	odd, err := x.Slice(8, 1024)
	require.NoError(t, err)
	mapLaunch := axpyLaunch(1, 1)
	mapLaunch.Args = []gpu.Arg{gpu.MapArg(gpu.TensorMap{DType: gpu.F32, Of: gpu.X, Dims: []uint64{64, 16}, Strides: []uint64{256}, Box: []uint32{4, 1}}), gpu.PtrArg(gpu.Y, 0)}
	for _, c := range []struct {
		want    string
		target  error
		fn      *cuda.Function
		edit    func(*gpu.Launch)
		buffers cuda.Buffers
	}{
		{"kernel axpy: cuda: no buffer for y", nil, fn, nil, cuda.Buffers{gpu.X: x}},
		{"y: cuda: buffer of 16 bytes: use of freed", cuda.ErrFreed, fn, nil, cuda.Buffers{gpu.X: x, gpu.Y: gone}},
		{"used on device 0", cuda.ErrWrongDevice, fn, nil, cuda.Buffers{gpu.X: foreign, gpu.Y: x}},
		{"grid.x is 0", nil, fn, func(l *gpu.Launch) { l.Grid[0] = 0 }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"1024 threads in a block, the kernel's 64 registers allow 512", nil, fn, func(l *gpu.Launch) { l.Block[0] = 1024 }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"232448 bytes of dynamic shared memory, the kernel may have 231424", nil, fn, func(l *gpu.Launch) { l.Shared = 232448 }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"3 arguments, the kernel has 4", nil, fn, func(l *gpu.Launch) { l.Args = l.Args[:3] }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"argument 2 has 8 bytes, the kernel's parameter has 4", nil, fn, func(l *gpu.Launch) { l.Args[2] = gpu.U64Arg(1) }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"y has 4096 bytes, the launch reaches 4097", nil, fn, func(l *gpu.Launch) { l.Args[1].Offset = 4096 }, cuda.Buffers{gpu.X: x, gpu.Y: x}},
		{"x has 1024 bytes, the launch reaches 4096", nil, tma, func(l *gpu.Launch) { *l = mapLaunch }, cuda.Buffers{gpu.X: odd, gpu.Y: x}},
		{"is no multiple of 16", nil, tma, func(l *gpu.Launch) { *l = mapLaunch; l.Args[0].Map.Dims[1] = 4 }, cuda.Buffers{gpu.X: odd, gpu.Y: x}},
	} {
		l := axpyLaunch(4, 1)
		if c.edit != nil {
			c.edit(&l)
		}
		_, err := d.Prepare(c.fn, l, c.buffers)
		require.ErrorContains(t, err, c.want)
		if c.target != nil {
			require.ErrorIs(t, err, c.target)
		}
	}
	_, err = d1.Prepare(fn, axpyLaunch(4, 1), cuda.Buffers{gpu.X: foreign, gpu.Y: foreign})
	require.ErrorIs(t, err, cuda.ErrWrongDevice)
	p, err := d.Prepare(fn, axpyLaunch(4, 1), cuda.Buffers{gpu.X: x, gpu.Y: x})
	require.NoError(t, err)
	require.ErrorIs(t, p.Launch(d1.Stream()), cuda.ErrWrongDevice)
	f.Fail("cuLaunchKernelEx", 701)
	require.ErrorContains(t, p.Launch(nil), "launch kernel axpy: CUresult 701")
	f.Fail("cuTensorMapEncodeTiled", 1)
	mapLaunch.Args[0].Map.Dims[1] = 16
	_, err = d.Prepare(tma, mapLaunch, cuda.Buffers{gpu.X: x, gpu.Y: x})
	require.ErrorContains(t, err, "encode the tensor map of x, f32 [64 16] by [256] in boxes of [4 1]")
	require.NoError(t, x.Free())
	require.ErrorIs(t, p.Launch(nil), cuda.ErrFreed)
}

// TestOldDriverWithoutParamInfo is a driver before CUDA 12.4.
func TestOldDriverWithoutParamInfo(t *testing.T) {
	f := cudatest.New()
	table := f.Driver()
	table.FuncGetParamInfo = nil
	s, err := cuda.New(table)
	require.NoError(t, err)
	d, err := s.Open(0)
	require.NoError(t, err)
	defer d.Close()
	m, err := d.Load(axpyPTX, cuda.LoadOptions{NoCache: true})
	require.NoError(t, err)
	fn, err := m.Function("axpy")
	require.NoError(t, err)
	x := alloc(t, d, 16)
	require.NoError(t, d.Launch(nil, fn, axpyLaunch(4, 1), cuda.Buffers{gpu.X: x, gpu.Y: x}))
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	f, d := open(t)
	f.Record = false
	delete(f.Kernels, "axpy")
	fn := load(t, d, axpyPTX, "axpy")
	x := alloc(t, d, 64)
	p, err := d.Prepare(fn, axpyLaunch(4, 1), cuda.Buffers{gpu.X: x, gpu.Y: x})
	require.NoError(t, err)
	s := d.Stream()
	g, err := s.Capture(func() error { return p.Launch(s) })
	require.NoError(t, err)
	e, err := d.NewEvent()
	require.NoError(t, err)
	for name, run := range map[string]func() error{
		"launch":       func() error { return p.Launch(s) },
		"graph launch": func() error { return g.Launch(s) },
		"record":       func() error { return s.Record(e) },
		"wait":         func() error { return s.Wait(e) },
		"synchronize":  s.Synchronize,
	} {
		var failed error
		n := testing.AllocsPerRun(100, func() {
			if err := run(); err != nil {
				failed = err
			}
		})
		require.NoError(t, failed, name)
		require.Zero(t, n, name)
	}
}

// TestManyGoroutines launches one prepared kernel from many goroutines into
// streams of their own while others allocate and load.
func TestManyGoroutines(t *testing.T) {
	_, d := open(t)
	fn := load(t, d, axpyPTX, "axpy")
	const n, workers, steps = 8, 8, 50
	one := make([]float32, n)
	for i := range one {
		one[i] = 1
	}
	x, y := alloc(t, d, 4*n), alloc(t, d, 4*n)
	require.NoError(t, cuda.Upload(nil, x, one))
	require.NoError(t, cuda.Upload(nil, y, make([]float32, n)))
	p, err := d.Prepare(fn, axpyLaunch(n, 1), cuda.Buffers{gpu.X: x, gpu.Y: y})
	require.NoError(t, err)
	errs := make(chan error, workers*steps*4)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s, err := d.NewStream()
			errs <- err
			for range steps {
				errs <- p.Launch(s)
				b, err := d.Alloc(64)
				errs <- err
				errs <- b.Free()
			}
			m, err := d.Load(axpyPTX, cuda.LoadOptions{})
			errs <- err
			errs <- m.Close()
			errs <- s.Close()
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	got := make([]float32, n)
	require.NoError(t, cuda.Download(nil, got, y))
	for _, v := range got {
		require.EqualValues(t, workers*steps, v)
	}
}
