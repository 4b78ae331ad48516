package tile

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// A thread of a warpgroup holds of every 8 tokens the sums of two features,
// r and r+8 with r = 16·warp + lane/4, at two tokens, 2·(lane%4) and the next:
// (r, 0) (r, 1) (r+8, 0) (r+8, 1), as layout.Accumulator tells.

// factors are what a thread multiplies and adds by feature, for its two rows; the
// zero Reg where there is none.
type factors struct {
	scale, bias [2]ptx.Reg
	tokens      ptx.Reg // address of the token scales of the thread's first token
}

func (r *Writer) factors() (f factors) {
	k := r.c.K
	row := k.Mad(r.w.Warp, 16, k.Shr(r.w.Lane, 2))
	load := func(v *vector) (x [2]ptx.Reg) {
		at := k.Mad(k.Mad(r.w.Index, v.n, row), v.size, r.c.Addr(v.at, 0))
		for h := range x {
			if x[h] = k.Reg(ptx.F32); v.size == 4 {
				k.Emit("ld.shared.f32", x[h], ptx.At(at, 8*h*v.size))
				continue
			}
			half := k.Reg(ptx.B16)
			k.Emit("ld.shared.b16", half, ptx.At(at, 8*h*v.size))
			k.Emit("mov.b32", x[h], k.Pack(k.Const(ptx.B16, 0), half))
		}
		return x
	}
	if r.byOut != nil {
		f.scale = load(r.byOut)
	}
	if r.e.TensorScale {
		for h, s := range f.scale {
			if f.scale[h] = r.scale; !s.IsZero() {
				f.scale[h] = k.Mul(s, r.scale)
			}
		}
	}
	if r.bias != nil {
		f.bias = load(r.bias)
	}
	if v := r.byToken; v != nil {
		f.tokens = k.Mad(k.Mad(r.w.Index, v.n, k.Mul(k.And(r.w.Lane, 3), 2)), 4, r.c.Addr(v.at, 0))
	}
	return f
}

// values returns the results of the thread's four sums of 8 tokens, from token at
// of the tile on, without the residual: float32, or the sums themselves.
func (r *Writer) values(f factors, sums []ptx.Reg, at int) [4]ptx.Reg {
	k := r.c.K
	if r.e.exact() {
		return [4]ptx.Reg(sums)
	}
	var byToken []ptx.Reg
	if r.byToken != nil {
		byToken = k.Regs(ptx.F32, 2)
		k.Emit("ld.shared.v2.f32", ptx.Vec(byToken...), ptx.At(f.tokens, 4*at))
	}
	var out [4]ptx.Reg
	for i, x := range sums {
		h, t := i/2, i%2
		if x.Type() == ptx.S32 {
			x = k.Cvt(ptx.F32, x)
		}
		// The last multiplication takes the bias along.
		by := []ptx.Reg{}
		if s := f.scale[h]; !s.IsZero() {
			by = append(by, s)
		}
		if byToken != nil {
			by = append(by, byToken[t])
		}
		bias := f.bias[h]
		for n, s := range by {
			if n == len(by)-1 && !bias.IsZero() {
				x, bias = k.Mad(x, s, bias), ptx.Reg{}
			} else {
				x = k.Mul(x, s)
			}
		}
		if !bias.IsZero() {
			x = k.Add(x, bias)
		}
		if r.e.Act != nil {
			x = r.e.Act(k, x)
		}
		out[i] = x
	}
	return out
}

// put returns what writes the results of 8 tokens, from token col of the buffer on.
func (r *Writer) put() func(buffer, col int, v [4]ptx.Reg) {
	if r.e.Y.Size() == 2 {
		return r.put16()
	}
	return r.put32()
}

// put16 writes 16-bit elements, 16 tokens at a time by one stmatrix.
func (r *Writer) put16() func(buffer, col int, v [4]ptx.Reg) {
	k := r.c.K
	// Lane l addresses token l%8 + 8·(l/16) of 16, and of its row the 16-byte chunk
	// (l/8)%2 of the warp's two.
	token := k.Mad(k.Shr(r.w.Lane, 4), 8, k.And(r.w.Lane, 7))
	chunk := k.Mad(r.w.Warp, 2, k.And(k.Shr(r.w.Lane, 3), 1))
	at := k.Mad(token, rowBytes, k.Mad(k.Xor(chunk, k.And(r.w.Lane, 7)), 16, r.sender.Base()))
	words := make([]ptx.Reg, 4)
	old := k.Regs(ptx.B32, len(words))
	return func(buffer, col int, v [4]ptx.Reg) {
		// The first 8 tokens wait for the other half of the instruction.
		half := col / 8 % 2
		place := ptx.At(at, buffer+(col-8*half)*rowBytes)
		if r.e.Residual && half == 0 {
			k.Emit("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", ptx.Vec(old...), place)
		}
		for h := range 2 {
			lo, hi := v[2*h], v[2*h+1]
			i := 2*half + h
			if r.e.Residual {
				x, y := unpack(k, r.e.Y, old[i])
				lo, hi = k.Add(lo, x), k.Add(hi, y)
			}
			words[i] = k.Reg(ptx.B32)
			k.Emit("cvt.rn."+r.e.Y.String()+"x2.f32", words[i], hi, lo)
		}
		if half == 1 {
			k.Emit("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16", place, ptx.Vec(words...))
		}
	}
}

// unpack returns the two 16-bit floats of a word as float32, the lower first.
func unpack(k *ptx.Kernel, t gpu.DType, w ptx.Reg) (lo, hi ptx.Reg) {
	if t == gpu.F16 {
		h := k.Unpack(ptx.F16, w)
		return k.Cvt(ptx.F32, h[0]), k.Cvt(ptx.F32, h[1])
	}
	lo, hi = k.Reg(ptx.F32), k.Reg(ptx.F32)
	k.Emit("mov.b32", lo, k.Shl(w, 16))
	k.Emit("mov.b32", hi, k.And(w, 0xffff0000))
	return lo, hi
}

// put32 writes 32-bit elements. The 64 features of the warpgroup are two boxes;
// the swizzle spreads the 32 stores of a warp over all banks.
func (r *Writer) put32() func(buffer, col int, v [4]ptx.Reg) {
	k := r.c.K
	cols := min(r.n, r.e.columns())
	token := k.Mul(k.And(r.w.Lane, 3), 2)
	chunk := k.Mad(k.And(r.w.Warp, 1), 4, k.Shr(r.w.Lane, 4))
	base := k.Mad(k.Shr(r.w.Warp, 1), rowBytes*cols, r.sender.Base())
	in := k.Mad(k.And(k.Shr(r.w.Lane, 2), 3), 4, base)
	var at [4]ptx.Reg
	for i := range at {
		h, t := i/2, i%2
		row := k.Add(token, t)
		at[i] = k.Mad(row, rowBytes, k.Mad(k.Xor(k.Xor(chunk, 2*h), row), 16, in))
	}
	return func(buffer, col int, v [4]ptx.Reg) {
		for i, x := range v {
			place := ptx.At(at[i], buffer+col*rowBytes)
			if r.e.Residual {
				old := k.Reg(ptx.F32)
				k.Emit("ld.shared.f32", old, place)
				x = k.Add(x, old)
			}
			k.Emit("st.shared."+x.Type().String(), place, x)
		}
	}
}
