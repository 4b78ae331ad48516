package codegen

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// The lanes family: lanes are output rows, for few tokens (decode) or for
// formats whose column differs from lane to lane.

var lanesArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"},
	{Name: "x", Type: "*float32"}, {Name: "ldx", Type: "uintptr"},
	{Name: "w", Type: "*float32"}, {Name: "meta", Type: "*byte"}, {Name: "cnt", Type: "*uint32"},
	{Name: "k", Type: "int"}, {Name: "bias", Type: "*float32"},
	{Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"}, {Name: "n", Type: "int"},
}

var deltaTileArgs = []asm.Arg{
	{Name: "y", Type: "*float32"}, {Name: "ldy", Type: "uintptr"},
	{Name: "x", Type: "*float32"}, {Name: "w", Type: "*float32"},
	{Name: "meta", Type: "*byte"}, {Name: "cnt", Type: "*uint32"}, {Name: "bias", Type: "*float32"},
	{Name: "lo", Type: "float32"}, {Name: "hi", Type: "float32"}, {Name: "n", Type: "int"},
}

// slab is the state of a lanes kernel while it is being built.
type slab struct {
	*asm.Builder
	key      runtime.KernelKey
	nb, sv   int // tokens; vectors a slab
	vb       int // bytes a vector
	x, w     asm.Reg
	meta     asm.Reg
	acc      [][]asm.Reg     // [nb][sv]
	multiple map[int]asm.Reg // odd multiples of ldx
}

// token is the address of token t's element at xp + disp.
func (s *slab) token(xp asm.Reg, t, disp int) asm.Mem {
	if t == 0 {
		return asm.At(xp, disp)
	}
	shift := bits.TrailingZeros(uint(t))
	return asm.Mem{Base: xp, Index: s.multiple[t>>shift], Scale: 1 << shift, Disp: disp}
}

// lanes builds LanesDense, LanesList, LanesNM and LanesMask.
func lanes(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	s := &slab{Builder: b, key: k, nb: int(k.NB), sv: int(k.S) / mc.Lanes, vb: mc.Lanes * 4}
	if s.sv*mc.Lanes != int(k.S) || s.nb > 15 {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	y, bias, n := b.Arg("y"), b.Arg("bias"), b.Arg("n")
	s.x, s.w = b.Arg("x"), b.Arg("w")
	if k.Op != runtime.LanesDense {
		s.meta = b.Arg("meta")
	}
	s.multiple = map[int]asm.Reg{}
	for t := 1; t < s.nb; t += 2 {
		s.multiple[t] = b.Arg("ldx")
		if t > 1 {
			b.MulI(s.multiple[t], s.multiple[t], t)
		}
	}
	var cnt asm.Reg
	if k.Op == runtime.LanesList {
		cnt = b.Arg("cnt")
	}
	for range s.nb {
		s.acc = append(s.acc, b.Vecs(s.sv))
	}
	var body func()
	switch k.Op {
	case runtime.LanesDense:
		body = s.dense
	case runtime.LanesList:
		body = func() { s.list(cnt) }
	case runtime.LanesMask:
		body = s.mask
	case runtime.LanesNM:
		body = s.nm
	}

	b.Loop("slab", n, func() {
		for v := range s.sv {
			b.Load(s.acc[0][v], asm.At(bias, v*s.vb))
			for t := 1; t < s.nb; t++ {
				b.VMov(s.acc[t][v], s.acc[0][v])
			}
		}
		b.AddI(bias, int(k.S)*4)
		body()
		lo, hi := b.Vec(), b.Vec()
		b.BcastArg(lo, "lo")
		b.BcastArg(hi, "hi")
		out := y
		if s.nb > 1 {
			out = b.Int()
			b.Mov(out, y)
		}
		for t := range s.nb {
			for v := range s.sv {
				b.VMax(s.acc[t][v], lo, s.acc[t][v])
				b.VMin(s.acc[t][v], hi, s.acc[t][v])
				b.Store(asm.At(out, v*s.vb), s.acc[t][v])
			}
			if t+1 < s.nb {
				ld := b.Arg("ldy")
				b.Add(out, ld)
			}
		}
		b.AddI(y, int(k.S)*4)
	})
	return nil
}

// ahead is how far before its use a weight is asked for where decoding fills the
// core's window, so that it does not run ahead to the memory by itself: bytes.
// Streams that need no decoding lose by it.
const ahead = 2048

// column multiplies one column: the slab's weights are in wv, token t's
// activation is at s.token(xp, t, 0).
func (s *slab) column(wv []asm.Reg, xp asm.Reg) {
	for t := range s.nb {
		m := s.token(xp, t, 0)
		if s.sv == 1 {
			s.FMABcast(s.acc[t][0], wv[0], m)
			continue
		}
		xb := s.Vec()
		s.Bcast(xb, m)
		for v := range s.sv {
			s.FMA(s.acc[t][v], wv[v], xb)
		}
	}
}

// storedColumn is column with the weights in memory at w, which it passes.
func (s *slab) storedColumn(xp asm.Reg) {
	if s.nb == 1 {
		xb := s.Vec()
		s.Bcast(xb, asm.At(xp, 0))
		for v := range s.sv {
			s.FMAMem(s.acc[0][v], xb, asm.At(s.w, v*s.vb))
		}
	} else {
		wv := s.Vecs(s.sv)
		for v := range s.sv {
			s.Load(wv[v], asm.At(s.w, v*s.vb))
		}
		s.column(wv, xp)
	}
	s.AddI(s.w, int(s.key.S)*4)
}

func (s *slab) dense() {
	xp, k := s.Int(), s.Arg("k")
	s.Mov(xp, s.x)
	s.While("k", k, func() {
		s.storedColumn(xp)
		s.AddI(xp, 4)
	})
}

func (s *slab) list(cnt asm.Reg) {
	xp, off, c := s.Int(), s.Int(), s.Int()
	s.LoadU(c, 4, asm.At(cnt, 0))
	s.AddI(cnt, 4)
	s.While("column", c, func() {
		s.LoadU(off, 2, asm.At(s.meta, 0))
		s.AddI(s.meta, 2)
		s.Lea(xp, asm.Mem{Base: s.x, Index: off, Scale: 4})
		s.storedColumn(xp)
	})
}

func (s *slab) mask() {
	xp, k := s.Int(), s.Arg("k")
	lanes := s.Machine().Lanes
	ex := s.ExpandInit()
	s.Mov(xp, s.x)
	s.While("k", k, func() {
		s.Prefetch(asm.At(s.w, ahead))
		wv := s.Vecs(s.sv)
		for v := range s.sv {
			m, n := s.Int(), s.Int()
			s.LoadU(m, lanes/8, asm.At(s.meta, v*lanes/8))
			s.Expand(ex, wv[v], asm.At(s.w, 0), m)
			s.Popcnt(n, m)
			s.Lea(s.w, asm.Mem{Base: s.w, Index: n, Scale: 4})
		}
		s.column(wv, xp)
		s.AddI(s.meta, int(s.key.S)/8)
		s.AddI(xp, 4)
	})
}

// nm walks the groups; the indices of up to 32/B stored elements of a lane lie
// in one word, lowest first, and are shifted down as they are used.
func (s *slab) nm() {
	n, m := int(s.key.N), int(s.key.M)
	bit := max(1, bits.TrailingZeros(uint(m)))
	word := 32 / bit
	xp, groups := s.Int(), s.Arg("k")
	s.Mov(xp, s.x)
	s.ShrI(groups, bits.TrailingZeros(uint(m)))
	idx := s.Vecs(s.sv)
	loadWords := func() {
		for v := range s.sv {
			s.Load(idx[v], asm.At(s.meta, v*s.vb))
		}
		s.AddI(s.meta, int(s.key.S)*4)
	}
	shift := func() {
		for v := range s.sv {
			s.VShrI(idx[v], idx[v], bit)
		}
	}

	if n > word { // several words a group
		s.While("group", groups, func() {
			for q := range n {
				if q%word == 0 {
					loadWords()
				}
				s.stored(idx, xp, 0, q)
				shift()
			}
			s.AddI(xp, 4*m)
			s.AddI(s.w, n*int(s.key.S)*4)
		})
		return
	}
	per := word / n // groups a word
	main, rest, end := s.NewLabel("word"), s.NewLabel("rest"), s.NewLabel("end")
	s.Label(main)
	s.JumpLE(groups, per-1, rest)
	loadWords()
	for e := range per {
		for q := range n {
			s.stored(idx, xp, e*4*m, e*n+q)
			if e*n+q+1 < per*n {
				shift()
			}
		}
	}
	s.AddI(xp, per*4*m)
	s.AddI(s.w, per*n*int(s.key.S)*4)
	s.AddI(groups, -per)
	s.Jump(main)
	s.Label(rest)
	if per == 1 { // whole words leave no rest
		return
	}
	s.JumpZ(groups, end)
	loadWords()
	s.Loop("group", groups, func() {
		for q := range n {
			s.stored(idx, xp, 0, q)
			shift()
		}
		s.AddI(xp, 4*m)
		s.AddI(s.w, n*int(s.key.S)*4)
	})
	s.Label(end)
}

// stored multiplies the j-th stored element from w in every lane; idx holds its
// place in the group that begins at xp + disp.
func (s *slab) stored(idx []asm.Reg, xp asm.Reg, disp, j int) {
	m, lanes := int(s.key.M), s.Machine().Lanes
	at := func(v int) asm.Mem { return asm.At(s.w, j*int(s.key.S)*4+v*s.vb) }
	var wv []asm.Reg
	if s.nb > 1 && m <= lanes {
		wv = s.Vecs(s.sv)
		for v := range s.sv {
			s.Load(wv[v], at(v))
		}
	}
	for t := range s.nb {
		table := s.Vecs(max(1, m/lanes))
		for h := range table {
			s.BcastN(table[h], min(m, lanes), s.token(xp, t, disp+h*s.vb))
		}
		for v := range s.sv {
			sel := s.Vec()
			s.Select(sel, idx[v], table, m)
			if wv != nil {
				s.FMA(s.acc[t][v], sel, wv[v])
			} else {
				s.FMAMem(s.acc[t][v], sel, at(v))
			}
		}
	}
}

// delta builds LanesDelta and DeltaTile: eight rows in step, each with its own
// column, found by adding up byte deltas. Eight column counters fill the
// integer registers, so what changes once a slab lives in the argument slots.
func delta(b *asm.Builder, k runtime.KernelKey) error {
	const s = 8
	mc := b.Machine()
	tile := k.Op == runtime.DeltaTile
	if k.S != s || !tile && mc.Lanes != s || tile && int(k.T) != mc.Lanes {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	x, w, meta := b.Arg("x"), b.Arg("w"), b.Arg("meta")
	acc := b.Vecs(s)
	slab := b.NewLabel("slab")
	b.Label(slab)
	bias := b.Arg("bias")
	for l := range s {
		if tile {
			b.Bcast(acc[l], asm.At(bias, 4*l))
		} else {
			b.LoadLow(acc[l], asm.At(bias, 4*l))
		}
	}
	b.AddI(bias, 4*s)
	b.SetArg("bias", bias)
	cnt, c := b.Arg("cnt"), b.Int()
	b.LoadU(c, 4, asm.At(cnt, 0))
	b.AddI(cnt, 4)
	b.SetArg("cnt", cnt)
	var off [s]asm.Reg
	for l := range off {
		off[l] = b.Int()
		b.MovI(off[l], 0)
	}
	b.While("step", c, func() {
		d := b.Int()
		b.Prefetch(asm.At(w, ahead))
		for l := range off {
			b.LoadU(d, 1, asm.At(meta, l))
			if !tile {
				b.Add(off[l], d)
				xv := b.Vec()
				b.LoadLow(xv, asm.Mem{Base: x, Index: off[l], Scale: 4})
				b.FMALow(acc[l], xv, asm.At(w, 4*l))
				continue
			}
			// off counts in units of 8 bytes, a row of the tile is T/2 of them.
			b.Lea(off[l], asm.Mem{Base: off[l], Index: d, Scale: int(k.T) / 2})
			wv := b.Vec()
			b.Bcast(wv, asm.At(w, 4*l))
			b.FMAMem(acc[l], wv, asm.Mem{Base: x, Index: off[l], Scale: 8})
		}
		b.AddI(meta, s)
		b.AddI(w, 4*s)
	})
	lo, hi := b.Vec(), b.Vec()
	b.BcastArg(lo, "lo")
	b.BcastArg(hi, "hi")
	y, ldy := b.Arg("y"), b.Arg("ldy")
	for l := range acc {
		b.VMax(acc[l], lo, acc[l])
		b.VMin(acc[l], hi, acc[l])
		if tile {
			b.Store(asm.At(y, 0), acc[l])
			b.Add(y, ldy)
		} else {
			b.StoreLow(asm.At(y, 4*l), acc[l])
		}
	}
	if !tile {
		b.AddI(y, 4*s)
	}
	b.SetArg("y", y)
	n := b.Arg("n")
	b.AddI(n, -1)
	b.SetArg("n", n)
	end := b.NewLabel("end")
	b.JumpZ(n, end)
	b.Jump(slab)
	b.Label(end)
	return nil
}
