package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// bits is the type of a register that holds one element of type t as it is in
// memory.
func bits(t gpu.DType) ptx.Type {
	if t.Size() == 2 {
		return ptx.B16
	}
	return ptx.B32
}

// memory is the element's type in the name of a load or store.
func memory(t gpu.DType) string { return bits(t).String() }

// widen returns an element as f32. sm_80 has no conversion from bf16, whose bits
// are the upper half of the result.
func widen(k *ptx.Kernel, t gpu.DType, v ptx.Reg) ptx.Reg {
	f := k.Reg(ptx.F32)
	switch t {
	case gpu.F16:
		k.Emit("cvt.f32.f16", f, v)
	case gpu.BF16:
		k.Emit("mov.b32", f, packed(k, k.Const(ptx.B16, 0), v))
	default:
		k.Emit("mov.b32", f, v)
	}
	return f
}

// packed joins two 16-bit registers.
func packed(k *ptx.Kernel, lo, hi ptx.Reg) ptx.Reg {
	w := k.Reg(ptx.B32)
	k.Emit("mov.b32", w, ptx.Vec(lo, hi))
	return w
}

// widenWord returns the elements of a 32-bit word as f32, in the order in which
// they are in memory.
func widenWord(k *ptx.Kernel, t gpu.DType, w ptx.Reg) []ptx.Reg {
	switch t {
	case gpu.F16:
		h := k.Regs(ptx.B16, 2)
		k.Emit("mov.b32", ptx.Vec(h...), w)
		return []ptx.Reg{widen(k, t, h[0]), widen(k, t, h[1])}
	case gpu.BF16:
		f := k.Regs(ptx.F32, 2)
		k.Emit("mov.b32", f[0], k.Shl(w, 16))
		k.Emit("mov.b32", f[1], k.And(w, 0xffff0000))
		return f
	}
	return []ptx.Reg{widen(k, t, w)}
}

// narrow returns an f32 rounded to nearest even as an element of type t.
func narrow(k *ptx.Kernel, t gpu.DType, f ptx.Reg) ptx.Reg {
	v := k.Reg(bits(t))
	switch t {
	case gpu.F16, gpu.BF16:
		k.Emit("cvt.rn."+t.String()+".f32", v, f)
	default:
		k.Emit("mov.b32", v, f)
	}
	return v
}
