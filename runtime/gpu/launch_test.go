package gpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

var hopper = Device{Name: "H", CC: [2]int{9, 0}, SMs: 132, SharedMax: 232448, MaxClusters2: 66}

func goodMap() TensorMap {
	return TensorMap{
		DType: BF16, Of: X, Offset: 32, Dims: []uint64{100, 7}, Strides: []uint64{208},
		Box: []uint32{64, 128}, Swizzle: Swizzle128, L2: L2Promotion256,
	}
}

func goodLaunch() Launch {
	return Launch{
		Grid: [3]uint32{132, 1, 1}, Block: [3]uint32{288, 1, 1}, Cluster: [3]uint32{2, 1, 1}, Shared: 232448, PDL: true,
		Args: []Arg{MapArg(goodMap()), PtrArg(Weights, 64), U32Arg(7), U64Arg(9), F32Arg(0.5)},
	}
}

func TestNamesAndSizes(t *testing.T) {
	for dt, want := range map[DType]struct {
		name string
		size int
	}{
		F32: {"f32", 4}, BF16: {"bf16", 2}, F16: {"f16", 2}, E4M3: {"e4m3", 1}, E5M2: {"e5m2", 1},
		S8: {"s8", 1}, S32: {"s32", 4}, U32: {"u32", 4}, U8: {"u8", 1}, 0: {"DType(0)", 0}, U8 + 1: {"DType(10)", 0},
	} {
		require.Equal(t, want.name, dt.String())
		require.Equal(t, want.size, dt.Size(), want.name)
	}
	for b := Buffer(1); int(b) < NumBuffers; b++ {
		require.NotEmpty(t, b.String())
		require.NotContains(t, b.String(), "Buffer(")
	}
	require.Equal(t, "Buffer(0)", Buffer(0).String())
	for s, span := range map[Swizzle]int{SwizzleNone: 0, Swizzle32: 32, Swizzle64: 64, Swizzle128: 128} {
		require.Equal(t, span, s.Span())
	}
}

func TestTensorMapValidate(t *testing.T) {
	m := goodMap()
	require.NoError(t, m.Validate())
	for _, c := range []struct {
		want string
		edit func(*TensorMap)
	}{
		{"is no type", func(m *TensorMap) { m.DType = 0 }},
		{"is no buffer", func(m *TensorMap) { m.Of = 0 }},
		{"is no buffer", func(m *TensorMap) { m.Of = buffers }},
		{"offset 8 is no multiple of 16", func(m *TensorMap) { m.Offset = 8 }},
		{"0 dimensions", func(m *TensorMap) { m.Dims = nil }},
		{"6 dimensions", func(m *TensorMap) { m.Dims = make([]uint64, 6) }},
		{"2 strides for 2 dimensions", func(m *TensorMap) { m.Strides = []uint64{208, 208} }},
		{"a box of 1 sides", func(m *TensorMap) { m.Box = []uint32{64} }},
		{"dimension 1 has 0 elements", func(m *TensorMap) { m.Dims[1] = 0 }},
		{"dimension 0 has 2147483649 elements", func(m *TensorMap) { m.Dims[0] = 1<<31 + 1 }},
		{"stride of dimension 1 is 200", func(m *TensorMap) { m.Strides[0] = 200 }},
		{"below 2^40", func(m *TensorMap) { m.Strides[0] = 1 << 40 }},
		{"side 1 of the box has 257", func(m *TensorMap) { m.Box[1] = 257 }},
		{"side 0 of the box has 0", func(m *TensorMap) { m.Box[0] = 0 }},
		{"the box is 6 bytes wide", func(m *TensorMap) { m.Box[0] = 3 }},
		{"the box is 160 bytes wide, its swizzle spans 128", func(m *TensorMap) { m.Box[0] = 80 }},
		{"unknown swizzle", func(m *TensorMap) { m.Swizzle = 4 }},
		{"unknown L2", func(m *TensorMap) { m.L2 = 4 }},
		{"beyond 2^64", func(m *TensorMap) { m.Offset = math.MaxUint64 - 15 }},
	} {
		m := goodMap()
		c.edit(&m)
		require.ErrorContains(t, m.Validate(), c.want)
	}
}

func TestExtent(t *testing.T) {
	m := goodMap()
	n, err := m.Extent()
	require.NoError(t, err)
	require.EqualValues(t, 32+6*208+100*2, n)
	m = TensorMap{DType: F32, Of: Y, Dims: []uint64{12}, Box: []uint32{4}}
	n, err = m.Extent()
	require.NoError(t, err)
	require.EqualValues(t, 48, n)
}

func TestLaunchValidate(t *testing.T) {
	l := goodLaunch()
	require.NoError(t, l.Validate(hopper))
	ampere := Device{Name: "A", CC: [2]int{8, 0}, SharedMax: 166912}
	for _, c := range []struct {
		want string
		dev  Device
		edit func(*Launch)
	}{
		{"grid.x is 0", hopper, func(l *Launch) { l.Grid[0] = 0 }},
		{"grid.y is 65536", hopper, func(l *Launch) { l.Grid[1] = 65536 }},
		{"block.z is 65", hopper, func(l *Launch) { l.Block = [3]uint32{1, 1, 65} }},
		{"2048 threads in a block", hopper, func(l *Launch) { l.Block = [3]uint32{1024, 2, 1} }},
		{"no multiple of the cluster's 5", hopper, func(l *Launch) { l.Cluster[0] = 5 }},
		{"no multiple of the cluster's 0", hopper, func(l *Launch) { l.Cluster[1] = 0 }},
		{"more than 8 blocks", hopper, func(l *Launch) { l.Cluster[0] = 12 }},
		{"232449 bytes of shared memory", hopper, func(l *Launch) { l.Shared++ }},
		{"clusters and programmatic", ampere, func(l *Launch) { l.Shared = 0 }},
		{"tensor maps need compute capability 9.0", ampere, func(l *Launch) { l.Shared, l.PDL, l.Cluster = 0, false, [3]uint32{} }},
		{"argument 1: unknown kind 0", hopper, func(l *Launch) { l.Args[1].Kind = 0 }},
		{"argument 1: Buffer(0) is no buffer", hopper, func(l *Launch) { l.Args[1].Of = 0 }},
		{"argument 0: tensor map: DType(0)", hopper, func(l *Launch) { l.Args[0].Map.DType = 0 }},
		{"bytes of parameters", hopper, func(l *Launch) {
			for range 32 {
				l.Args = append(l.Args, MapArg(goodMap()))
			}
		}},
	} {
		l := goodLaunch()
		c.edit(&l)
		require.ErrorContains(t, l.Validate(c.dev), c.want)
	}
}

func TestNeeds(t *testing.T) {
	l := goodLaunch()
	far := goodMap()
	far.Offset = 4096
	l.Args = append(l.Args, MapArg(far), MapArg(goodMap()))
	need, err := l.Needs()
	require.NoError(t, err)
	require.EqualValues(t, 65, need[Weights])
	l.Args[1].Bytes = 1000
	need, err = l.Needs()
	require.NoError(t, err)
	require.EqualValues(t, 1064, need[Weights])
	require.EqualValues(t, 4096+6*208+200, need[X])
	require.Zero(t, need[Y])
	l.Args[1].Offset = math.MaxUint64
	_, err = l.Needs()
	require.ErrorContains(t, err, "argument 1: weights ends beyond 2^64")
	l.Args[1].Of = buffers
	_, err = l.Needs()
	require.ErrorContains(t, err, "is no buffer")
}
