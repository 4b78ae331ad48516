package tile

import (
	"fmt"

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

// put16 writes 16-bit elements, 16 tokens at a time by one stmatrix, or the 8 of a
// tile that has no more.
func (r *Writer) put16() func(buffer, col int, v [4]ptx.Reg) {
	k := r.c.K
	at := k.Add(offset16(k, r.w.Warp, r.w.Lane), r.sender.Base())
	matrices := min(4, r.n/4)
	shape := fmt.Sprintf(".sync.aligned.m8n8.x%d.trans.shared.b16", matrices)
	words := make([]ptx.Reg, matrices)
	old := k.Regs(ptx.B32, len(words))
	return func(buffer, col int, v [4]ptx.Reg) {
		// The first 8 tokens wait for the other half of the instruction.
		half := col / 8 % 2
		place := ptx.At(at, buffer+(col-8*half)*rowBytes)
		if r.e.Residual && half == 0 {
			k.Emit("ldmatrix"+shape, ptx.Vec(old...), place)
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
		if 2*half+2 == matrices {
			k.Emit("stmatrix"+shape, place, ptx.Vec(words...))
		}
	}
}

// offset16 is where a lane's row of the matrices of stmatrix.x4 lies in a buffer:
// lane l addresses token l%8 + 8·(l/16) of 16, and of its row the 16-byte chunk
// (l/8)%2 of the warp's two.
func offset16(k *ptx.Kernel, warp, lane ptx.Reg) ptx.Reg {
	within := k.And(lane, 7)
	token := k.Mad(k.Shr(lane, 4), 8, within)
	chunk := k.Mad(warp, 2, k.And(k.Shr(lane, 3), 1))
	return k.Mad(token, rowBytes, k.Mul(k.Xor(chunk, within), 16))
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
	var at [4]ptx.Reg
	for i := range at {
		at[i] = k.Add(offset32(k, r.w.Warp, r.w.Lane, i, cols), r.sender.Base())
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

// offset32 is where result i of a thread's four of 8 tokens lies in a buffer of
// two boxes of 32 features by cols tokens.
func offset32(k *ptx.Kernel, warp, lane ptx.Reg, i, cols int) ptx.Reg {
	token := k.Add(k.Mul(k.And(lane, 3), 2), i%2)
	chunk := k.Xor(k.Mad(k.And(warp, 1), 4, k.Shr(lane, 4)), i/2*2)
	within := k.Mul(k.And(k.Shr(lane, 2), 3), 4)
	at := k.Mad(token, rowBytes, k.Mad(k.Xor(chunk, token), 16, within))
	return k.Mad(k.Shr(warp, 1), rowBytes*cols, at)
}
