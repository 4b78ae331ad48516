package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudasim"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// simulated are the kernels of the PTX texts, which the simulator executes.
func simulated() map[string]cudatest.Kernel {
	x, y, word := gpu.Param{Kind: gpu.ArgPtr, Of: gpu.X}, gpu.Param{Kind: gpu.ArgPtr, Of: gpu.Y}, gpu.Param{Kind: gpu.ArgU32}
	kernels := map[string]cudatest.Kernel{}
	for _, k := range []gpu.Kernel{
		{Name: "axpy", PTX: smokePTX, Params: []gpu.Param{x, y, word, {Kind: gpu.ArgF32}}},
		{Name: "empty", PTX: smokePTX},
		{Name: "fault", PTX: smokePTX},
		{Name: "tma", PTX: hopperPTX, Params: []gpu.Param{{Kind: gpu.ArgMap, Map: gpu.MapSpec{DType: gpu.U32, Of: gpu.X}}, y}},
		{Name: "chain", PTX: hopperPTX, Params: []gpu.Param{y}},
		{Name: "cluster", PTX: hopperPTX, Params: []gpu.Param{y}},
	} {
		kernels[k.Name] = cudasim.Kernel(&k, cudasim.Options{})
	}
	return kernels
}

// TestSmoke runs the program on the fake driver and its kernels in the simulator.
func TestSmoke(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	spec := cudatest.H200
	spec.Memory = 1 << 24
	f := cudatest.New(spec)
	f.Kernels = simulated()
	var out strings.Builder
	load := func() (*cuda.System, error) { return cuda.New(f.Driver()) }
	require.NoError(t, run(&out, load, 0, 100, nil), out.String())
	require.Equal(t, 11, strings.Count(out.String(), "\nok    "), out.String())
	require.Zero(t, f.Live())
}

// TestOpenFails: a device that cannot be opened is an error, not a nil device that
// is closed.
func TestOpenFails(t *testing.T) {
	for _, symbol := range []string{"cuInit", "cuDevicePrimaryCtxRetain", "cuModuleLoadDataEx"} {
		for _, code := range []int{1, 700} {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			f := cudatest.New()
			f.Fail(symbol, code)
			var out strings.Builder
			require.Error(t, run(&out, func() (*cuda.System, error) { return cuda.New(f.Driver()) }, 0, 1, nil), symbol)
			require.Zero(t, f.Live())
		}
	}
}
