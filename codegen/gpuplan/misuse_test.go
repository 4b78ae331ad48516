package gpuplan_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/codegen/gpuplan/plantest"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
)

// opened is the mlp in bf16 for sm_90a, open on a fake device.
func opened(t *testing.T) (*runtime.Model, *cuda.Device) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	d := fake(t, m, ptx.SM90a(), plantest.Fast)
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, model.Close()) })
	return model, d
}

func buffers(t *testing.T, d *cuda.Device, bytes ...int64) []*cuda.Buffer {
	var bs []*cuda.Buffer
	for _, n := range bytes {
		b, err := d.Alloc(n)
		require.NoError(t, err)
		bs = append(bs, b)
	}
	return bs
}

func TestWrongProcessor(t *testing.T) {
	model, _ := opened(t)
	_, err := model.NewSession("mlp")
	require.ErrorIs(t, err, runtime.ErrProcessor)
	require.ErrorContains(t, err, "packed for ptx:sm_90a; give NewSession a device, cuda.On(dev)")
}

// A device of an architecture that the kernels were not made for.
func TestWrongDevice(t *testing.T) {
	model, _ := opened(t)
	f := cudatest.New(cudatest.Spec{Name: "Fake A100", CC: [2]int{8, 0}, SMs: 108, SharedMax: 166912, Memory: 64 << 20})
	sys, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := sys.Open(0)
	require.NoError(t, err)
	_, err = model.NewSession("mlp", cuda.On(d))
	require.ErrorContains(t, err, "made for compute capability 9.0 alone, Fake A100 has 8.0")
	require.NoError(t, d.Close())
	require.Zero(t, f.Live())
}

func TestOptionsOfTheCPU(t *testing.T) {
	model, d := opened(t)
	for _, o := range []runtime.Option{runtime.Threads(2), runtime.WithISA(runtime.Generic)} {
		_, err := model.NewSession("mlp", o, cuda.On(d))
		require.ErrorContains(t, err, "choices for the CPU")
	}
	_, err := model.NewSession("mlp", runtime.On(nil))
	require.ErrorContains(t, err, "no device")
	_, err = model.NewSession("mlp", cuda.On(d), runtime.MaxBatch(601))
	require.ErrorIs(t, err, runtime.ErrBatch)
}

// TestOpenChecksKernels: a file that names kernels which the program lacks, or
// whose weights are not what they read, does not open.
func TestOpenChecksKernels(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	_, err := runtime.Open(path)
	var missing *runtime.MissingGPUKernelError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, "run: go tool sparsegen gen --target ptx:sm_90a")
	other := set
	other.GPUPacking = 3
	_, err = runtime.Open(path, other)
	require.ErrorContains(t, err, "packed by another version of the packer (0000000000000002)")

	for want, lie := range map[string]func(l *sgp.Layer){
		"bytes of weights for [136, 100], it reads":    func(l *sgp.Layer) { v := l.Ops[0].Linear.Variants; v[0].GPU.Weights = v[0].GPU.Weights[16:] },
		"a bias belongs to one of kernel and step":     func(l *sgp.Layer) { l.Ops[0].Linear.Bias = nil },
		"a residual belongs to one of kernel and step": func(l *sgp.Layer) { l.Ops[1].Args = l.Ops[1].Args[:1] },
		"computes bf16 from bf16 and bf16":             func(l *sgp.Layer) { l.Type = sgp.F16 },
		"has no kernel":                                func(l *sgp.Layer) { l.Target = "sm_80" },
		"has no kernel gemm":                           func(l *sgp.Layer) { l.Ops[1].Linear.Variants[0].GPU.Kernel = "gemm" },
	} {
		file, err := sgp.Open(path)
		require.NoError(t, err)
		lie(&file.Model.Layers[0])
		bad := path + ".bad"
		require.NoError(t, sgp.WriteFile(bad, file.Model))
		require.NoError(t, file.Close())
		_, err = runtime.Open(bad, set)
		require.ErrorContains(t, err, want)
	}
}

func TestDeviceMisuse(t *testing.T) {
	model, d := opened(t)
	s, err := cuda.NewSession(model, "mlp", d, runtime.MaxBatch(16))
	require.NoError(t, err)
	in, out := s.Inputs()[0], s.Outputs()[0]
	require.EqualValues(t, 16*208, in.Bytes(16))
	x, y := buffers(t, d, in.Bytes(16)), buffers(t, d, out.Bytes(16))
	small := buffers(t, d, in.Bytes(15))
	for _, c := range []struct {
		want    error
		text    string
		tokens  int
		in, out []*cuda.Buffer
	}{
		{runtime.ErrBatch, "0 where the session takes 1..16", 0, x, y},
		{runtime.ErrBatch, "17 where the session takes 1..16", 17, x, y},
		{runtime.ErrLength, "2 inputs and 1 outputs", 16, append(x, x...), y},
		{runtime.ErrLength, `input 0 ("x") is nil`, 16, []*cuda.Buffer{nil}, y},
		{runtime.ErrLength, `input 0 ("x") has 3120 bytes, 16 tokens need 3328`, 16, small, y},
		{runtime.ErrLength, `output 0 ("y") has 3120 bytes`, 16, x, small},
		{runtime.ErrOverlap, `output 0 ("y"), input 0 ("x")`, 16, x, x},
	} {
		_, err := s.Bind(c.tokens, c.in, c.out)
		require.ErrorIs(t, err, c.want)
		require.ErrorContains(t, err, c.text)
		require.ErrorIs(t, s.RunDevice(nil, c.tokens, c.in, c.out), c.want)
	}
	require.NoError(t, s.RunDevice(nil, 15, small, y), "fewer tokens fit")
	b, err := s.Bind(16, x, y)
	require.NoError(t, err)
	require.NoError(t, b.Launch(nil))
	require.NoError(t, s.Close())
	require.ErrorIs(t, b.Launch(nil), cuda.ErrClosed)
	require.ErrorIs(t, s.RunDevice(nil, 16, x, y), cuda.ErrClosed)
	require.ErrorIs(t, s.Run(context.Background(), [][]float32{make([]float32, 100)}, [][]float32{make([]float32, 100)}), runtime.ErrClosed)
	require.NoError(t, s.Close())
}

// TestFreedBuffer: a binding whose buffer is gone is an error when it is made.
func TestFreedBuffer(t *testing.T) {
	model, d := opened(t)
	s, err := cuda.NewSession(model, "mlp", d, runtime.MaxBatch(4))
	require.NoError(t, err)
	x, y := buffers(t, d, s.Inputs()[0].Bytes(4)), buffers(t, d, s.Outputs()[0].Bytes(4))
	require.NoError(t, x[0].Free())
	require.ErrorIs(t, s.RunDevice(nil, 4, x, y), cuda.ErrFreed)
	require.NoError(t, s.Close())
}

func TestOutOfMemory(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	for _, memory := range []uint64{1 << 10, 64 << 10, 100 << 10} {
		f, err := plantest.Driver(memory, m.Layers, ptx.SM90a(), plantest.Fast)
		require.NoError(t, err)
		sys, err := cuda.New(f.Driver())
		require.NoError(t, err)
		d, err := sys.Open(0)
		require.NoError(t, err)
		s, err := model.NewSession("mlp", cuda.On(d))
		if err == nil { // what Run needs beside the weights is too much
			err = s.Run(context.Background(), [][]float32{make([]float32, 60000)}, [][]float32{make([]float32, 60000)})
			require.ErrorIs(t, err, cuda.ErrOutOfMemory)
			require.NoError(t, s.Close())
		}
		require.ErrorIs(t, err, cuda.ErrOutOfMemory)
		require.NoError(t, d.Close())
		require.Zero(t, f.Live())
	}
	require.NoError(t, model.Close())
}

// TestNoAllocation: a run on device memory, and one from host memory, allocate
// nothing once they have run.
func TestNoAllocation(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	spec := cudatest.H200
	spec.Memory = 64 << 20
	f := cudatest.New(spec) // kernels that do nothing, since emulated ones allocate
	f.Record = false
	sys, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := sys.Open(0)
	require.NoError(t, err)
	s, err := cuda.NewSession(model, "mlp", d, runtime.MaxBatch(8))
	require.NoError(t, err)
	x, y := buffers(t, d, s.Inputs()[0].Bytes(8)), buffers(t, d, s.Outputs()[0].Bytes(8))
	require.NoError(t, s.RunDevice(nil, 8, x, y))
	require.Zero(t, testing.AllocsPerRun(20, func() { _ = s.RunDevice(nil, 8, x, y) }))
	in, out := [][]float32{make([]float32, 800)}, [][]float32{make([]float32, 800)}
	ctx := context.Background()
	require.NoError(t, s.Run(ctx, in, out))
	const ofTheFake = 2 // its closures, one for each copy
	require.LessOrEqual(t, testing.AllocsPerRun(20, func() { _ = s.Run(ctx, in, out) }), float64(ofTheFake))
	require.NoError(t, s.Close())
	require.NoError(t, model.Close())
	require.NoError(t, d.Close())
}

// TestSessionsShareWeights: a second session copies nothing, and the last one to
// close frees the weights.
func TestSessionsShareWeights(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	f, err := plantest.Driver(64<<20, m.Layers, ptx.SM90a(), plantest.Fast)
	require.NoError(t, err)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	sys, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := sys.Open(0)
	require.NoError(t, err)
	idle := f.Live()
	uploads := func() int { return strings.Count(strings.Join(f.Calls(), " "), "cuMemcpyHtoDAsync_v2") }
	first, err := model.NewSession("mlp", cuda.On(d))
	require.NoError(t, err)
	require.Positive(t, uploads())
	second, err := model.NewSession("mlp", cuda.On(d), runtime.MaxBatch(3))
	require.NoError(t, err)
	require.Zero(t, uploads())
	require.NoError(t, first.Close())
	x, y := [][]float32{random(rand.New(rand.NewPCG(1, 1)), 300)}, [][]float32{make([]float32, 300)}
	require.NoError(t, second.Run(context.Background(), x, y))
	require.NoError(t, second.Close())
	require.Equal(t, idle, f.Live())

	// Many at once.
	var wg sync.WaitGroup
	results := make([][]float32, 8)
	for i := range results {
		wg.Go(func() {
			s, err := model.NewSession("mlp", cuda.On(d), runtime.MaxBatch(3))
			if err != nil {
				return
			}
			r := make([]float32, 300)
			for range 5 {
				if err := s.Run(context.Background(), x, [][]float32{r}); err != nil {
					return
				}
			}
			if s.Close() == nil {
				results[i] = r
			}
		})
	}
	wg.Wait()
	for _, r := range results {
		require.Equal(t, y[0], r)
	}
	require.NoError(t, model.Close())
	require.NoError(t, d.Close())
	require.Zero(t, f.Live())
}

// TestTruncatedFile: a file that becomes shorter while its weights are copied to
// the device is an error, and nothing stays on the device.
func TestTruncatedFile(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "bf16"))
	path, set := packed(t, m, ptx.SM90a(), weightsOf(t, m))
	model, err := runtime.Open(path, set)
	require.NoError(t, err)
	f, err := plantest.Driver(64<<20, m.Layers, ptx.SM90a(), plantest.Fast)
	require.NoError(t, err)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	sys, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := sys.Open(0)
	require.NoError(t, err)
	idle := f.Live()
	require.NoError(t, os.Truncate(path, 4096))
	_, err = model.NewSession("mlp", cuda.On(d))
	require.ErrorContains(t, err, "was the file made shorter while it is mapped?")
	require.Equal(t, idle, f.Live())
	require.NoError(t, model.Close())
	require.NoError(t, d.Close())
}

// TestCancelled: a context that has ended is noticed before anything runs.
func TestCancelled(t *testing.T) {
	model, d := opened(t)
	s, err := model.NewSession("mlp", cuda.On(d), runtime.MaxBatch(1))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	y := []float32{0: 7, 99: 0}
	require.ErrorIs(t, s.Run(ctx, [][]float32{make([]float32, 100)}, [][]float32{y}), context.Canceled)
	require.EqualValues(t, 7, y[0])
	require.NoError(t, s.Close())
}

// TestWeightBeyondF16: a weight that the type cannot hold is refused with its place.
func TestWeightBeyondF16(t *testing.T) {
	m := load(t, fmt.Sprintf(mlp, "f16"))
	weights := weightsOf(t, m)
	w, _, err := weights("down")
	require.NoError(t, err)
	for v, want := range map[float32]string{70000: "the weight [1, 3] = 70000 is beyond f16, whose largest number is 65504", 65519: "", float32(math.Inf(-1)): ""} {
		w[136+3] = v
		plan, err := gpuplan.Plan(m.Layers[0], ptx.SM90a())
		require.NoError(t, err)
		_, _, err = plan.Pack(weights, false)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, `spec.sg:5:20: "down"`)
	}
}
