package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// finish turns the sums into results. A fragment has two features of two tokens,
// while results are contiguous by feature: the sums go through shared memory,
// [token][feature], where a thread then takes 16 bytes of results of a token.
func (a *ampere) finish() {
	k := a.k
	k.Comment("results")
	a.stageSums()
	k.Emit("bar.sync", ptx.Int(0))
	fromShared := func(token, feature ptx.Reg, n int) []ptx.Reg {
		v := make([]ptx.Reg, 0, n)
		at := k.Mul(k.Mad(token, a.rowFloats(), feature), 4)
		for i := 0; i < n; i += 4 {
			r := k.Regs(a.sums, 4)
			k.Emit("ld.shared.v4."+a.sums.String(), ptx.Vec(r...), ptx.At(k.Add(at, a.base), 4*i))
			v = append(v, r...)
		}
		return v
	}
	if a.Split == 1 {
		a.eachResult(a.perChunk(), func(token, feature ptx.Reg) {
			a.result(token, feature, fromShared(token, feature, a.perChunk()))
		})
		return
	}
	a.eachResult(4, func(token, feature ptx.Reg) {
		a.partials.store(a.slice, k.Mad(token, a.TileM, feature), fromShared(token, feature, 4))
	})
	a.partials.arrive(func() {
		a.eachResult(a.perChunk(), func(token, feature ptx.Reg) {
			var sum []ptx.Reg
			for i := 0; i < a.perChunk(); i += 4 {
				at := k.Mad(token, a.TileM, k.Add(feature, i))
				v := a.partials.load(k.Const(ptx.U32, 0), at, a.sums, 4)
				for slice := 1; slice < a.Split; slice++ {
					for j, part := range a.partials.load(k.Const(ptx.U32, slice), at, a.sums, 4) {
						v[j] = k.Add(v[j], part)
					}
				}
				sum = append(sum, v...)
			}
			a.result(token, feature, sum)
		})
	})
}

// perChunk is how many results are 16 bytes.
func (a *ampere) perChunk() int { return 16 / a.Y.Size() }

// stageSums writes the fragments to shared memory.
func (a *ampere) stageSums() {
	k := a.k
	features, tokens := len(a.acc), len(a.acc[0])
	// Register r of a fragment is feature lane/4 + 8·(r/2), token 2·(lane%4) + r%2.
	feature := k.Mad(a.warpM, features*mmaRows, k.Shr(a.lane, 2))
	token := k.Mad(a.warpN, tokens*mmaColumns, k.Mul(k.And(a.lane, 3), 2))
	at := k.Mad(k.Mad(token, a.rowFloats(), feature), 4, a.base)
	for i := range a.acc {
		for j, acc := range a.acc[i] {
			for r, v := range acc {
				off := (j*mmaColumns+r%2)*a.rowFloats() + i*mmaRows + r/2*8
				k.Emit("st.shared."+a.sums.String(), ptx.At(at, 4*off), v)
			}
		}
	}
}

// eachResult deals the tile out to the threads, n neighbouring features of a token
// at a time, and leaves out tokens beyond the last.
func (a *ampere) eachResult(n int, body func(token, feature ptx.Reg)) {
	k := a.k
	across := a.TileM / n
	total := across * a.TileN
	k.For(k.TidX(), total, a.threads(), func(i ptx.Reg) {
		token := k.Div(i, across)
		k.If(k.SetP("lt", k.Add(a.token, token), a.tokens), func() {
			body(token, k.Mul(k.Rem(i, across), n))
		})
	})
}

// result stores 16 bytes of results of a token, from a feature of the tile on, or
// what of them lies before the end of the row.
func (a *ampere) result(token, feature ptx.Reg, sums []ptx.Reg) {
	k := a.k
	o := k.Add(a.row, feature)
	row := k.MadWide(k.Add(a.token, token), k.Mul(a.yPitch, a.Y.Size()), k.Const(ptx.U64, 0))
	at := k.MadWide(o, a.Y.Size(), row)
	whole := k.SetP("le", k.Add(o, len(sums)), a.out)
	k.IfElse(whole, func() { a.store(a.values(token, o, sums, at, true), at, o, true) }, func() {
		k.If(k.SetP("lt", o, a.out), func() { a.store(a.values(token, o, sums, at, false), at, o, false) })
	})
}

// read returns n elements of an array from element i on as f32; if they are not
// whole, zero beyond element a.out.
func (a *ampere) read(array ptx.Reg, t gpu.DType, i ptx.Reg, n int, whole bool, at ptx.Reg) []ptx.Reg {
	k := a.k
	var fs []ptx.Reg
	if whole {
		for off := 0; off < n*t.Size(); off += 16 {
			words := k.Regs(ptx.B32, min(4, (n*t.Size()-off)/4))
			k.Emit("ld.global.nc"+vector(len(words))+".b32", one(words), ptx.At(at, off))
			for _, w := range words {
				fs = append(fs, widenWord(k, t, w)...)
			}
		}
		return fs
	}
	for e := range n {
		v := k.Var(bits(t), 0)
		k.EmitIf(k.SetP("lt", k.Add(i, e), a.out), "ld.global.nc."+memory(t), v, ptx.At(at, e*t.Size()))
		fs = append(fs, widen(k, t, v))
	}
	return fs
}

// values applies scales, bias, activation and residual to neighbouring sums of a
// token, from output feature o on; place is their offset in the result, in bytes.
func (a *ampere) values(token, o ptx.Reg, sums []ptx.Reg, place ptx.Reg, whole bool) []ptx.Reg {
	k := a.k
	if a.Y == gpu.S32 {
		return sums
	}
	vector := func(array ptx.Reg, t gpu.DType) []ptx.Reg {
		return a.read(array, t, o, len(sums), whole, k.MadWide(o, t.Size(), array))
	}
	var byOut, bias, residual []ptx.Reg
	if a.OutScale {
		byOut = vector(a.outScale, gpu.F32)
	}
	if a.Bias != 0 {
		bias = vector(a.bias, a.Bias)
	}
	if a.Residual {
		residual = a.read(a.residual, a.Y, o, len(sums), whole, k.Add(a.residual, place))
	}
	scale := a.scale
	if a.TokenScale {
		s := k.Reg(ptx.F32)
		k.Emit("ld.global.nc.f32", s, ptx.At(k.MadWide(k.Add(a.token, token), 4, a.tokenScale), 0))
		if scale = s; a.TensorScale {
			scale = k.Mul(s, a.scale)
		}
	}
	out := make([]ptx.Reg, len(sums))
	for i, v := range sums {
		if a.sums == ptx.S32 {
			v = k.Cvt(ptx.F32, v)
		}
		if byOut != nil {
			v = k.Mul(v, byOut[i])
		}
		if !scale.IsZero() {
			v = k.Mul(v, scale)
		}
		if bias != nil {
			v = k.Add(v, bias[i])
		}
		v = a.Activation.apply(k, v)
		if residual != nil {
			v = k.Add(v, residual[i])
		}
		out[i] = v
	}
	return out
}

// store rounds results and stores them at an offset of the result, in bytes.
func (a *ampere) store(vs []ptx.Reg, place, o ptx.Reg, whole bool) {
	k := a.k
	at := k.Add(a.y, place)
	elements := make([]ptx.Reg, len(vs))
	for i, v := range vs {
		elements[i] = narrow(k, a.Y, v)
	}
	if !whole {
		for i, e := range elements {
			k.EmitIf(k.SetP("lt", k.Add(o, i), a.out), "st.global."+memory(a.Y), ptx.At(at, i*a.Y.Size()), e)
		}
		return
	}
	words := elements
	if a.Y.Size() == 2 {
		words = nil
		for i := 0; i < len(elements); i += 2 {
			words = append(words, packed(k, elements[i], elements[i+1]))
		}
	}
	k.Emit("st.global.v4.b32", ptx.At(at, 0), ptx.Vec(words...))
}
