package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/gputune"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/codegen/gpuplan/plantest"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
)

// starterOnGPU writes the starter and returns the ways to its source and to a fake
// GPU that computes its kernels.
func starterOnGPU(t *testing.T) (Source, OpenGPU, *cudatest.Fake) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	require.NoError(t, Init(t.Context(), Console{Out: &bytes.Buffer{}, Log: &bytes.Buffer{}}, InitOptions{Dir: dir}))
	src := Source{Spec: filepath.Join(dir, "model.sg"), Retarget: Retarget{Targets: "ptx:sm_90a", DType: "bf16"}}
	_, m, err := readSpec(src.Spec)
	require.NoError(t, err)
	require.NoError(t, src.apply(m))
	f, err := plantest.Driver(64<<20, m.Layers, ptx.SM90a(), plantest.Fast)
	require.NoError(t, err)
	return src, func() (*cuda.Device, error) {
		sys, err := cuda.New(f.Driver())
		if err != nil {
			return nil, err
		}
		return sys.Open(0)
	}, f
}

func TestRunOnSimulator(t *testing.T) {
	for target, bound := range map[string]string{"ptx:sim": "0.006", "ptx(sim_80)": "0.006"} {
		src, _, _ := starterOnGPU(t)
		src.Targets = target
		var out bytes.Buffer
		require.NoError(t, Run(t.Context(), Console{Out: &out, Log: &bytes.Buffer{}}, RunOptions{Source: src, Random: 5, Check: true}))
		require.Contains(t, out.String(), "the bound is "+bound)
	}
}

func TestExplainTrace(t *testing.T) {
	src, _, _ := starterOnGPU(t)
	var out bytes.Buffer
	require.NoError(t, Explain(t.Context(), Console{Out: &out, Log: &bytes.Buffer{}}, ExplainOptions{Source: src, Print: "trace"}))
	for _, want := range []string{
		`launch decode_nm24_bf16\S+: grid \d+ x 1 x 1, blocks of 160 threads, \d+ bytes of shared memory`,
		`block 0 warp 4 +\d+: cp.async.bulk.shared::cluster.global`, `block 0 +\d+ bytes of line \d+ are there`,
		`block 0 +phase 0 of the mbarrier at byte \d+ of block 0's shared memory is complete`,
		`line +times +sectors +ideal +passes +conflicts +instruction`,
	} {
		require.Regexp(t, want, out.String())
	}
	src.Targets = "amd64"
	require.ErrorContains(t, Explain(t.Context(), Console{Out: &out, Log: &bytes.Buffer{}}, ExplainOptions{Source: src, Print: "trace"}), "no layer runs on a GPU")
}

func TestRunOnGPU(t *testing.T) {
	src, gpu, f := starterOnGPU(t)
	var out bytes.Buffer
	y := filepath.Join(t.TempDir(), "y.npy")
	o := RunOptions{Source: src, Random: 19, Out: []string{y}, Check: true, GPU: gpu}
	require.NoError(t, Run(context.Background(), Console{Out: &out, Log: &out}, o))
	require.Regexp(t, `relative error [0-9.e-]+ over 2432 elements against the float64 reference of the rounded operands; the bound is 0.006`, out.String())
	require.FileExists(t, y)
	require.Zero(t, f.Live(), "all that was made on the device is gone")

	// A kernel that computes something else is found.
	right := f.Kernels
	f.Kernels = map[string]cudatest.Kernel{}
	for name := range right {
		f.Kernels[name] = func(*cudatest.Launch) error { return nil }
	}
	err := Run(context.Background(), Console{Out: &out, Log: &out}, o)
	var found *Findings
	require.ErrorAs(t, err, &found)
	require.ErrorContains(t, err, "leaves its error bound")

	// One that faults is an error.
	for name := range right {
		f.Kernels[name] = func(*cudatest.Launch) error { return cudatest.ErrFault }
	}
	err = Run(context.Background(), Console{Out: &out, Log: &out}, o)
	require.ErrorIs(t, err, cuda.ErrDeviceLost)
}

func TestRunOnWrongGPU(t *testing.T) {
	src, _, _ := starterOnGPU(t)
	a100 := cudatest.Spec{Name: "Fake A100", CC: [2]int{8, 0}, SMs: 108, SharedMax: 166912, Memory: 64 << 20}
	f := cudatest.New(a100)
	gpu := func() (*cuda.Device, error) {
		sys, err := cuda.New(f.Driver())
		if err != nil {
			return nil, err
		}
		return sys.Open(0)
	}
	var out bytes.Buffer
	err := Run(context.Background(), Console{Out: &out, Log: &out}, RunOptions{Source: src, Random: 4, Check: true, GPU: gpu})
	require.ErrorContains(t, err, "made for compute capability 9.0 alone, Fake A100 has 8.0")
	require.Zero(t, f.Live())
}

func TestBenchOnGPU(t *testing.T) {
	src, gpu, f := starterOnGPU(t)
	f.Kernels = map[string]cudatest.Kernel{} // the time is the driver's invention, nothing need be computed
	var out, log bytes.Buffer
	o := BenchOptions{Source: src, Batches: []int{1, 64}, Time: time.Millisecond, JSON: true, GPU: gpu}
	require.NoError(t, Bench(context.Background(), Console{Out: &out, Log: &log}, o), log.String())
	var list []Measurement
	require.NoError(t, json.Unmarshal(out.Bytes(), &list))
	require.Len(t, list, 2)
	for i, r := range list {
		require.Equal(t, []int{1, 64}[i], r.Batch)
		require.Equal(t, "ptx:sm_90a", r.ISA)
		require.Equal(t, "GPU events", r.Clock)
		require.Positive(t, r.Sparse)
		require.Positive(t, r.Dense)
		require.InDelta(t, 0.3, r.Density, 0.01)
	}
	require.Zero(t, f.Live())
	out.Reset()
	o.JSON = false
	require.NoError(t, Bench(context.Background(), Console{Out: &out, Log: &log}, o))
	require.Contains(t, out.String(), "medians of GPU events in graphs")
}

func TestDevice(t *testing.T) {
	f := cudatest.New(cudatest.H200, cudatest.Spec{Name: "Fake T4", CC: [2]int{7, 5}, SMs: 40, SharedMax: 65536, Memory: 16 << 30})
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	o := DeviceOptions{Load: func() (*cuda.System, error) { return cuda.New(f.Driver()) }}
	var out bytes.Buffer
	require.NoError(t, Device(context.Background(), Console{Out: &out}, o))
	require.Equal(t, fmt.Sprintf(`device 0                 Fake H200
  compute capability     9.0
  target                 ptx:sm_90a
  multiprocessors        132
  memory                 1049 kB, 1049 kB free
  shared memory a block  232 kB
  L2 cache               52 MB
  clusters               66 of two blocks, 30 of four
  driver                 CUDA 12.8
  compiled kernels       %[1]s
device 1                 Fake T4
  compute capability     7.5
  target                 none, kernels need compute capability 8.0
  multiprocessors        40
  memory                 17 GB, 17 GB free
  shared memory a block  66 kB
  L2 cache               52 MB
  clusters               none
  driver                 CUDA 12.8
  compiled kernels       %[1]s
`, filepath.Join(cache, "sparsegen", "cubin")), out.String())
	require.Zero(t, f.Live())
	out.Reset()
	o.JSON = true
	require.NoError(t, Device(context.Background(), Console{Out: &out}, o))
	var list []DeviceInfo
	require.NoError(t, json.Unmarshal(out.Bytes(), &list))
	require.Len(t, list, 2)
	require.Equal(t, "sm_90a", list[0].Target)
	require.Equal(t, 66, list[0].Clusters2)

	o.Load = func() (*cuda.System, error) { return nil, cuda.ErrNoDriver }
	require.ErrorIs(t, Device(context.Background(), Console{Out: &out}, o), cuda.ErrNoDriver)
}

func TestColons(t *testing.T) {
	for in, want := range map[string]string{
		"ptx:sm_90a": "ptx(sm_90a)", "amd64:avx2, ptx:sm_90a,ptx:sm_80": "amd64(avx2), ptx(sm_90a, sm_80)",
		"amd64(avx2)": "amd64(avx2)", "arm64": "arm64", "arm64,ptx:sm_80": "arm64, ptx(sm_80)", "ptx:": "ptx()",
	} {
		require.Equal(t, want, colons(in), in)
	}
	for _, bad := range []string{"ptx:sm_91", "gpu:x", ":", "ptx:sm_80,ptx:sm_80", "ptx:a b", "ptx:\"", "ptx(:)"} {
		_, err := parseTargets(bad)
		require.ErrorContains(t, err, "--target "+bad, bad)
	}
}

// TestTuneOnGPU: a tuning leaves a record for each step and number of tokens, finds
// them again, leaves out a kernel that computes nothing, and what pack then plans
// runs and is right.
func TestTuneOnGPU(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	values := make([]float32, 64*64)
	for i := range values {
		if i%4 < 2 {
			values[i] = float32(i%37-18) / 8
		}
	}
	require.NoError(t, weights.WriteSafetensors(filepath.Join(dir, "m.safetensors"), []weights.Entry{weights.Float32Entry("w", []int{64, 64}, values)}, nil))
	spec := filepath.Join(dir, "m.sg")
	require.NoError(t, os.WriteFile(spec, []byte(`sparsegen 1
weights "m.safetensors"
layer one(x bf16[t, 64]) (y bf16[t, 64]) where t in 1..8 { y = x + (linear(x, w"w" : nm(2,4)) | relu) }
target ptx(sm_90a)
`), 0o666))
	_, m, err := readSpec(spec)
	require.NoError(t, err)
	kind := cudatest.H200
	kind.Memory, kind.L2 = 64<<20, 64<<10
	f := cudatest.New(kind)
	plan, err := gpuplan.Plan(m.Layers[0], ptx.SM90a())
	require.NoError(t, err)
	trials, left, err := plan.Trials()
	require.NoError(t, err)
	require.Empty(t, left)
	require.Len(t, trials, 1)
	broken := ""
	for _, c := range trials[0].Candidates {
		k, err := c.Build()
		require.NoError(t, err)
		if c.Config != trials[0].Default && broken == "" {
			broken = c.Name()
			continue // computes nothing
		}
		f.Kernels[k.Name] = plantest.Fast(k, c.Config)
	}
	gpu := func() (*cuda.Device, error) {
		sys, err := cuda.New(f.Driver())
		if err != nil {
			return nil, err
		}
		return sys.Open(0)
	}
	o := TuneOptions{Source: Source{Spec: spec}, GPU: gpu}
	var out, log bytes.Buffer
	require.NoError(t, Tune(t.Context(), Console{Out: &out, Log: &log}, o))
	require.Equal(t, "1 problems on fake-h200: 0 had a record, 1 tuned; 0 changed, the tuned ones together 1.00× as fast as before\n", out.String())
	require.Contains(t, log.String(), "a bug in sparsegen: linear [64, 64] nm24, bf16, 8 tokens, relu, residual, sm_90a, "+broken)
	require.Zero(t, f.Live(), "all that was made on the device is gone")

	out.Reset()
	require.NoError(t, Tune(t.Context(), Console{Out: &out, Log: &log}, o))
	require.Equal(t, "1 problems on fake-h200: 1 had a record, 0 tuned\n", out.String())

	// A record decides: gen has the kernel, pack plans it, and it runs.
	path := filepath.Join(dir, "tuned", "fake-h200", gputune.File)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var rec gputune.Record
	require.NoError(t, json.Unmarshal(text, &rec))
	require.Equal(t, trials[0].Default.Name(), rec.Config)
	require.Len(t, rec.Timings, rec.Raced)
	other := rec.Timings[len(rec.Timings)-1].Config
	require.NotEqual(t, rec.Config, other)
	for _, c := range trials[0].Candidates {
		if c.Name() == other {
			k, err := c.Build()
			require.NoError(t, err)
			h := fnv.New64a()
			fmt.Fprint(h, k.PTX)
			rec.Config, rec.Kernel = other, fmt.Sprintf("%016x", h.Sum64())
		}
	}
	text, err = json.Marshal(rec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o666))
	ran := ""
	for name, k := range f.Kernels {
		f.Kernels[name] = func(l *cudatest.Launch) error {
			ran = name
			return k(l)
		}
	}
	out.Reset()
	require.NoError(t, Run(t.Context(), Console{Out: &out, Log: &log}, RunOptions{Source: o.Source, Random: 5, Check: true, GPU: gpu}))
	require.Equal(t, other, ran)
	require.Contains(t, out.String(), "relative error")

	// A record of another text, or a line that is none, decides nothing.
	rec.Kernel = "0123456789abcdef"
	text, err = json.Marshal(rec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, "\n{\n"...), 0o666))
	log.Reset()
	require.NoError(t, Run(t.Context(), Console{Out: &out, Log: &log}, RunOptions{Source: o.Source, Random: 5, Check: true, GPU: gpu}))
	require.Equal(t, trials[0].Default.Name(), ran)
	require.Len(t, gputune.Load(filepath.Join(dir, "tuned")).Notes, 1)
}
