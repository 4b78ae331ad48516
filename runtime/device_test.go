package runtime

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// stub is a device that notes what it is given.
type stub struct {
	layer    gpu.Layer
	maxBatch int
	fail     error

	batch  int
	run    error
	closed int
}

func (d *stub) NewRunner(l gpu.Layer, maxBatch int) (Runner, error) {
	d.layer, d.maxBatch = l, maxBatch
	return d, d.fail
}

func (d *stub) Run(_ context.Context, batch int, _, out [][]float32) error {
	d.batch = batch
	for i := range out[0] {
		out[0][i] = 1
	}
	return d.run
}

func (d *stub) Close() error { d.closed++; return nil }

// mixed is a model with a layer for the CPU and one for a GPU, and its kernels.
func mixed(t *testing.T) (*Model, *gpu.Kernel) {
	k := gpu.Kernel{
		Name: "k", Target: "sm_80", DType: gpu.F16, Form: gpu.Dense, Y: gpu.F16,
		Tile: gpu.Tile{Out: 8, Tokens: 16, In: 16, Bytes: 256, Split: 1}, Threads: 32, Cluster: 1,
		Params: []gpu.Param{
			{Name: "weights", Kind: gpu.ArgPtr, Of: gpu.Weights}, {Name: "residual", Kind: gpu.ArgPtr, Of: gpu.Residual, DType: gpu.F16},
			{Name: "x", Kind: gpu.ArgPtr, Of: gpu.X, DType: gpu.F16}, {Name: "y", Kind: gpu.ArgPtr, Of: gpu.Y, DType: gpu.F16},
		},
	}
	d := randomDense(rand.New(rand.NewPCG(3, 4)), 8, 16, 1)
	v := func(name string, n int) sgp.Value { return sgp.Value{Name: name, Dims: []int{0, n}} }
	m := &sgp.Model{GPUFingerprint: 9, Layers: []sgp.Layer{
		{
			Name: "cpu", BatchMin: 1, BatchMax: 8, Values: []sgp.Value{v("x", 16), v("y", 8)}, Inputs: []int{0}, Outputs: []int{1},
			Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{
				{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)},
			}}}},
		},
		{
			Name: "gpu", Target: "sm_80", Type: sgp.F16, BatchMin: 2, BatchMax: 64,
			Values: []sgp.Value{v("x", 16), v("z", 8), v("y", 8)}, Inputs: []int{0, 1}, Outputs: []int{2},
			Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0, 1}, Out: 2, Linear: &sgp.Linear{Out: 8, In: 16, Act: sgp.Relu, Variants: []sgp.Variant{
				{BatchMin: 2, BatchMax: 64, GPU: &sgp.GPU{Kernel: "k", Weights: make([]byte, 256)}},
			}}}},
		},
	}}
	path := filepath.Join(t.TempDir(), "m.sgp")
	require.NoError(t, sgp.WriteFile(path, m))
	opened, err := Open(path, genericSet(KernelKey{Op: LanesDense, S: 8, NB: 1}), Set{GPUPacking: 9, GPU: []gpu.Kernel{k}})
	require.NoError(t, err)
	return opened, &k
}

func TestDeviceSession(t *testing.T) {
	m, k := mixed(t)
	layers := m.Layers()
	require.Equal(t, [2]string{"", "sm_80"}, [2]string{layers[0].Target, layers[1].Target})
	d := &stub{}
	s, err := m.NewSession("gpu", On(d), MaxBatch(32))
	require.NoError(t, err)
	require.Equal(t, 32, d.maxBatch)
	require.Equal(t, gpu.F16, d.layer.DType)
	step := d.layer.Steps[0]
	require.Equal(t, [3]int{0, 2, 1}, [3]int{step.X, step.Y, step.Residual})
	require.Equal(t, *k, *step.Packings[0].Kernel)

	ctx := context.Background()
	x, z, y := make([]float32, 5*16), make([]float32, 5*8), make([]float32, 5*8)
	require.NoError(t, s.Run(ctx, [][]float32{x, z}, [][]float32{y}))
	require.Equal(t, 5, d.batch)
	require.EqualValues(t, 1, y[39])
	require.ErrorIs(t, s.Run(ctx, [][]float32{x[:16], z[:8]}, [][]float32{y[:8]}), ErrBatch)
	require.ErrorIs(t, s.Run(ctx, [][]float32{x, z[1:]}, [][]float32{y}), ErrLength)
	require.ErrorIs(t, s.Run(ctx, [][]float32{x, z}, [][]float32{z}), ErrOverlap)
	d.run = errors.New("burnt out")
	require.ErrorIs(t, s.Run(ctx, [][]float32{x, z}, [][]float32{y}), d.run)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Equal(t, 1, d.closed)
	require.ErrorIs(t, s.Run(ctx, [][]float32{x, z}, [][]float32{y}), ErrClosed)

	// Closing the model closes what is open.
	_, err = m.NewSession("gpu", On(d))
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.Equal(t, 2, d.closed)
}

// TestProcessors: each kind of layer says where it can run, and the other kind of
// session what to do.
func TestProcessors(t *testing.T) {
	m, _ := mixed(t)
	_, err := m.NewSession("gpu")
	require.ErrorIs(t, err, ErrProcessor)
	require.ErrorContains(t, err, "packed for ptx:sm_80; give NewSession a device, cuda.On(dev)")
	_, err = m.NewSession("cpu", On(&stub{}))
	require.ErrorIs(t, err, ErrProcessor)
	require.ErrorContains(t, err, "go tool sparsegen pack --target ptx:sm_90a")
	broken := errors.New("no such luck")
	_, err = m.NewSession("gpu", On(&stub{fail: broken}))
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, `session of layer "gpu" for batch 64`)
	s, err := m.NewSession("cpu")
	require.NoError(t, err)
	require.NoError(t, s.Run(context.Background(), [][]float32{make([]float32, 16)}, [][]float32{make([]float32, 8)}))
	require.NoError(t, m.Close())
}
