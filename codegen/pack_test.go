package codegen

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// twoLayers is a module of two layers, and what their weights are.
func twoLayers(t *testing.T) (*ir.Module, Weights) {
	m, err := ir.Load("two.sg", []byte(`sparsegen 1
weights "none"

layer a(x f32[t, 32]) (y f32[t, 16]) where t in 1..4 {
    y = linear(x, w"a" : dense) | clamp(-2, 5)
}

layer b(x f32[t, 32]) (y f32[t, 16]) where t in 1..4 {
    h = linear(x, w"b" : dense)
    y = gelu(h, approx=tanh)
}
`), ir.Options{})
	require.NoError(t, err)
	return m, func(tensor string) ([]float32, []int, error) {
		data := make([]float32, 16*32)
		for i := range data {
			data[i] = float32(i%13) - 5
		}
		return data, []int{16, 32}, nil
	}
}

// TestPackLayers: the layers that are asked for are packed, in the module's
// order, with the activation that follows a linear op.
func TestPackLayers(t *testing.T) {
	m, weights := twoLayers(t)
	names := func(layers []string) (names []string) {
		model, _, err := Pack(m, weights, PackOptions{Layers: layers})
		require.NoError(t, err)
		for _, l := range model.Layers {
			names = append(names, l.Name)
		}
		return names
	}
	require.Equal(t, []string{"a", "b"}, names(nil))
	require.Equal(t, []string{"a", "b"}, names([]string{"b", "a"}))
	require.Equal(t, []string{"a"}, names([]string{"a"}))
	require.Equal(t, []string{"b"}, names([]string{"b"}))
	model, _, err := Pack(m, weights, PackOptions{})
	require.NoError(t, err)
	for i, want := range []struct {
		act    sgp.OpKind
		lo, hi float32
	}{{sgp.Clamp, -2, 5}, {sgp.GeluTanh, 0, 0}} {
		ops := model.Layers[i].Ops
		require.Len(t, ops, 1, "the activation is part of the linear op")
		lin := ops[0].Linear
		require.Equal(t, want.act, lin.Act)
		require.Equal(t, []float32{want.lo, want.hi}, []float32{lin.Lo, lin.Hi})
	}
}

// TestTextHash: the hash is that of the machine code up to the level, and of
// nothing else.
func TestTextHash(t *testing.T) {
	key, other := runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 1}, runtime.KernelKey{Op: runtime.LanesMask, S: 32, NB: 1}
	hash := func(isa runtime.ISA, ks ...Kernel) string {
		h, err := TextHash(ks, isa)
		require.NoError(t, err)
		return h
	}
	avx2, avx512, neon := Kernel{Key: key, ISA: runtime.AVX2}, Kernel{Key: key, ISA: runtime.AVX512}, Kernel{Key: key, ISA: runtime.NEON}
	alone := hash(runtime.AVX2, avx2)
	require.Equal(t, alone, hash(runtime.AVX2, avx512, neon, Kernel{Key: key, ISA: runtime.Generic}, avx2))
	require.Equal(t, alone, hash(runtime.AVX512, avx2))
	require.NotEqual(t, alone, hash(runtime.AVX512, avx2, avx512))
	require.NotEqual(t, alone, hash(runtime.AVX2, avx2, Kernel{Key: other, ISA: runtime.AVX2}))
	require.Equal(t, hash(runtime.NEON, neon), hash(runtime.NEON, avx2, neon))
	require.NotEqual(t, alone, hash(runtime.NEON, neon))
}

// TestSoftmaxOverTheBatchIsRefused: rows of a size that only a call knows have
// no kernel.
func TestSoftmaxOverTheBatchIsRefused(t *testing.T) {
	for axis, why := range map[int]string{0: "softmax over the batch axis t has no kernel", 1: ""} {
		m, err := ir.Load("s.sg", fmt.Appendf(nil, "sparsegen 1\n\nlayer a(x f32[t, 32]) (y f32[t, 32]) where t in 1..4 {\n    y = softmax(x, axis=%d)\n}\n", axis), ir.Options{})
		require.NoError(t, err)
		model, _, err := Pack(m, nil, PackOptions{})
		if why != "" {
			require.ErrorContains(t, err, why)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 32, model.Layers[0].Ops[0].Group)
	}
}

// TestPanelsAndRest: rows that fill panels are one segment of these, those left
// are one of single rows, and neither is there without rows.
func TestPanelsAndRest(t *testing.T) {
	for _, c := range []struct {
		rows, mr int
		want     [][2]int // rows of a panel, rows, of each segment
	}{
		{1, 1, [][2]int{{1, 1}}}, {2, 1, [][2]int{{1, 2}}}, {1, 4, [][2]int{{1, 1}}}, {4, 4, [][2]int{{4, 4}}}, {5, 4, [][2]int{{4, 4}, {1, 1}}},
	} {
		for _, op := range []runtime.KernelOp{runtime.PanelDense, runtime.PanelGrouped, runtime.PanelBlock, runtime.PanelStep} {
			m := patterns.NewMatrix(c.rows, 24)
			for i := range m.Data {
				m.Data[i] = float32(i + 1)
			}
			v, err := Config{Op: op, MR: c.mr, KB: 16}.Pack(m, patterns.MaskOf(m))
			require.NoError(t, err)
			var got [][2]int
			weights := 0
			for _, s := range v.Panel.Segments {
				got = append(got, [2]int{s.MR, len(s.Rows)})
				weights += len(s.W)
			}
			require.Equal(t, c.want, got, "%v: %d rows, panels of %d", op, c.rows, c.mr)
			require.Equal(t, len(m.Data), weights, "%v: %d rows, panels of %d", op, c.rows, c.mr)
		}
	}
}
