package hopper

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// TensorMap is a tensor map in both its lives: the parameter that the host fills
// by Spec, and the tile that a copy of one box leaves in shared memory.
type TensorMap struct {
	Spec gpu.MapSpec
	name string
	addr ptx.Reg
}

// TensorMap declares a tensor map of a matrix, passed to the kernel by value.
func (c *CTA) TensorMap(name string, s gpu.MapSpec) *TensorMap {
	c.declaring("tensor map " + name)
	// The sizes of the problem do not matter to the box; some that fit stand in.
	size := uint64(s.DType.Size())
	m := gpu.TensorMap{
		DType: s.DType, Of: s.Of, Dims: []uint64{256, 256}, Strides: []uint64{256 * size},
		Box: s.Box[:], Swizzle: s.Swizzle, L2: s.L2,
	}
	if err := m.Validate(); err != nil {
		c.K.Errorf("%s: %v", name, err)
	} else if span := s.Swizzle.Span(); span != 0 && int(s.Box[0])*int(size) != span {
		c.K.Errorf("%s: a box %d bytes wide with a swizzle of %d leaves gaps in the tile", name, int(s.Box[0])*int(size), span)
	}
	c.params = append(c.params, gpu.Param{Name: name, Kind: gpu.ArgMap, Map: s})
	t := &TensorMap{Spec: s, name: name, addr: c.K.ParamAddr(c.K.ParamTensorMap(name))}
	c.maps = append(c.maps, t)
	return t
}

// BoxBytes is what a copy of one box moves, also where the box reaches beyond
// the tensor.
func (m *TensorMap) BoxBytes() int {
	return int(m.Spec.Box[0]) * int(m.Spec.Box[1]) * m.Spec.DType.Size()
}

// Swizzle is the tile's swizzle.
func (m *TensorMap) Swizzle() layout.Swizzle { return layout.Swizzle(m.Spec.Swizzle) }

// Operand is the tile of that many boxes below each other as an operand of
// wgmma, its rows along M or N.
func (m *TensorMap) Operand(boxes int) layout.Operand {
	return layout.Operand{
		Major: layout.KMajor, Swizzle: m.Swizzle(),
		Rows: boxes * int(m.Spec.Box[1]), K: int(m.Spec.Box[0]), Size: m.Spec.DType.Size(),
	}
}
