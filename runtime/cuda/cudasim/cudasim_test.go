package cudasim_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudasim"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// launch runs a kernel on zeros on a simulated device.
func launch(t *testing.T, k *gpu.Kernel) (*cudasim.Device, error) {
	d, err := cudasim.Open([]gpu.Kernel{*k}, cudasim.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	info, err := d.Info()
	require.NoError(t, err)
	l, err := k.Plan(gpu.Problem{Out: 64, In: 256, Tokens: 8}, info)
	require.NoError(t, err)
	need, err := l.Needs()
	require.NoError(t, err)
	var buffers cuda.Buffers
	for role, n := range need {
		if n > 0 {
			buffers[role], err = d.Alloc(int64(n))
			require.NoError(t, err)
			require.NoError(t, d.Stream().Memset(buffers[role], 0))
		}
	}
	m, err := d.Load(k.PTX, cuda.LoadOptions{NoCache: true})
	require.NoError(t, err)
	f, err := m.Function(k.Name)
	require.NoError(t, err)
	require.NoError(t, d.Launch(nil, f, l, buffers))
	return d, d.Synchronize()
}

func TestMistakesHaveTheirNames(t *testing.T) {
	k, err := kernels.Decode{DType: gpu.BF16, Form: gpu.Dense, TileM: 64, TileN: 8, Y: gpu.BF16}.Build()
	require.NoError(t, err)
	d, err := launch(t, k)
	require.NoError(t, err)
	require.NoError(t, d.Err())

	k.PTX = strings.ReplaceAll(k.PTX, "fence.proxy.async.shared::cta;", "")
	d, err = launch(t, k)
	require.ErrorContains(t, err, "CUDA_ERROR_LAUNCH_FAILED")
	var f *ptxsim.Fault
	require.ErrorAs(t, d.Err(), &f)
	require.Equal(t, ptxsim.MissingProxyFence, f.Kind)
	require.ErrorContains(t, d.Err(), "kernel "+k.Name+": line ")
}
