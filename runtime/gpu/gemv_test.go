package gpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func gemv(split int, cluster uint32) Kernel {
	k := Kernel{
		Name: "gemv", Target: "sm_90a", Family: "gemv", DType: BF16, X: F32, Form: ByInput, Order: OneTile, Y: BF16,
		Tile:    Tile{Out: 256, Tokens: 2, Split: split},
		Threads: 256, Cluster: cluster, Shared: 20000, PDL: true,
		Params: []Param{
			{Name: "weights", Kind: ArgPtr, Of: Weights},
			{Name: "x", Kind: ArgPtr, Of: X, DType: F32, Len: QIn},
			{Name: "y", Kind: ArgPtr, Of: Y, DType: BF16, Len: QOut},
			{Name: "threshold", Kind: ArgF32, Value: QThreshold},
			{Name: "slice", Kind: ArgU32, Value: QSlice},
			{Name: "w_pitch", Kind: ArgU32, Value: QWeightPitch},
			{Name: "x_pitch", Kind: ArgU32, Value: QXPitch},
			{Name: "y_pitch", Kind: ArgU32, Value: QYPitch},
		},
	}
	if cluster == 1 && split > 1 {
		k.Params = append(k.Params, Param{Name: "workspace", Kind: ArgPtr, Of: Workspace})
	}
	return k
}

func TestPlanByInput(t *testing.T) {
	k := gemv(8, 8)
	p := Problem{Out: 1001, In: 517, Tokens: 2, Threshold: 0.25, XPitch: 600}
	l, err := k.Plan(p, hopper)
	require.NoError(t, err)
	require.Equal(t, [3]uint32{4 * 8, 1, 1}, l.Grid)
	require.Equal(t, [3]uint32{8, 1, 1}, l.Cluster)
	require.EqualValues(t, 517*2016, k.WeightBytes(p)) // 1001·2 bytes rounded up to 16
	require.EqualValues(t, 517*2016, l.Args[0].Bytes)
	require.EqualValues(t, (600+517)*4, l.Args[1].Bytes)
	require.EqualValues(t, (1001+1001)*2, l.Args[2].Bytes)
	require.EqualValues(t, 0.25, l.Args[3].F32)
	require.EqualValues(t, 65, l.Args[4].U32)
	require.EqualValues(t, 2016, l.Args[5].U32)
	require.EqualValues(t, 600, l.Args[6].U32)
	require.EqualValues(t, 1001, l.Args[7].U32)
}

func TestPlanWorkspace(t *testing.T) {
	k := gemv(5, 1)
	l, err := k.Plan(Problem{Out: 1280, In: 517, Tokens: 2}, hopper)
	require.NoError(t, err)
	require.Equal(t, [3]uint32{5 * 5, 1, 1}, l.Grid)
	require.Zero(t, l.Cluster)
	require.EqualValues(t, 32+4*5*5*256*2, l.Args[8].Bytes) // 5 counters, 16-byte aligned, and the sums
}

func TestPlanByInputErrors(t *testing.T) {
	for _, c := range []struct {
		want string
		p    Problem
	}{
		{"3 tokens, it was made for 2", Problem{Out: 8, In: 8, Tokens: 3}},
		{"bytes in a row of weights", Problem{Out: 1 << 30, In: 8, Tokens: 2}},
		{"activations, at most 2^31", Problem{Out: 8, In: 1 << 30, Tokens: 2}},
		{"results, at most 2^31", Problem{Out: 8, In: 8, Tokens: 2, YPitch: 1 << 30}},
		{"the threshold is NaN", Problem{Out: 8, In: 8, Tokens: 2, Threshold: float32(math.NaN())}},
	} {
		k := gemv(8, 8)
		_, err := k.Plan(c.p, hopper)
		require.ErrorContains(t, err, c.want)
	}
	k := gemm()
	_, err := k.Plan(Problem{Out: 8, In: 8, Tokens: 1, Threshold: 1}, hopper)
	require.ErrorContains(t, err, "it does not compare with one")
}

func TestPlanOneTile(t *testing.T) {
	k := gemm()
	k.Order, k.Cluster, k.Tile.Split = OneTile, 2, 2
	l, err := k.Plan(Problem{Out: 384, In: 64, Tokens: 257}, hopper)
	require.NoError(t, err)
	require.Equal(t, [3]uint32{3 * 2, 2, 1}, l.Grid)
	require.Equal(t, [3]uint32{2, 1, 1}, l.Cluster)
}
