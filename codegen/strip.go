package codegen

import "github.com/sparsegen/sparsegen/asm"

// span is a run of lanes that lie side by side in memory, as a kernel holds it: in
// n registers, of which the last may have the lanes of a mask only, or be half a one.
type span struct {
	*asm.Builder
	n    int
	last asm.Reg // none: all lanes
	half bool
}

// vecs makes registers for the span.
func (s span) vecs() []asm.Reg {
	if !s.half {
		return s.Vecs(s.n)
	}
	return append(s.Vecs(s.n-1), s.Half())
}

// load loads vector j of the span that begins at m into d.
func (s span) load(d asm.Reg, m asm.Mem, j int) {
	if m = m.PlusVectors(j); s.masked(j) {
		s.LoadMask(d, m, s.last)
	} else {
		s.Load(d, m)
	}
}

// store stores a as vector j of the span that begins at m.
func (s span) store(m asm.Mem, j int, a asm.Reg) {
	if m = m.PlusVectors(j); s.masked(j) {
		s.StoreMask(m, a, s.last)
	} else {
		s.Store(m, a)
	}
}

// fma multiplies x by vector j of the span that begins at m and adds it to d.
func (s span) fma(d, x asm.Reg, m asm.Mem, j int) {
	if m = m.PlusVectors(j); s.masked(j) {
		s.FMAMemMask(d, x, m, s.last)
	} else {
		s.FMAMem(d, x, m)
	}
}

// weights gives the n weights at p, each in all lanes, for the vectors of the span.
// Multiply-adds with an operand in memory wait for loads; where copies of lanes cost less
// than that, a load has four weights.
func (s span) weights(p asm.Reg, n int) func(i int) asm.Reg {
	several, enough := min(n, 4), s.Machine().LaneCopies
	if enough == 0 || s.n < enough || several == 1 || n%several != 0 {
		return func(i int) asm.Reg {
			w := s.Vec()
			s.Bcast(w, asm.At(p, 4*i))
			return w
		}
	}
	var loaded asm.Reg
	return func(i int) asm.Reg {
		if i%several == 0 {
			loaded = s.Vec()
			s.BcastN(loaded, several, asm.At(p, 4*i))
		}
		w := s.Vec()
		s.LaneOf4(w, loaded, i%several)
		return w
	}
}

func (s span) masked(j int) bool { return j == s.n-1 && !s.last.IsZero() }

// The lanes that a vector of any machine has, least and most.
const (
	leastLanes = 4
	mostLanes  = 64
)

// strips writes a kernel for rows of width lanes by its body, which holds a span of
// each row, offset bytes from the row's beginning on (none is 0). Where vectors have
// a known length, that is the whole row, and may end with half a vector. On a machine that is Scalable there is a
// body for each number of vectors that a row may be, of which each is half the one
// before it, because lanes are a power of two; a row of more vectors than most goes
// through the first body in strips of equally many.
func strips(b *asm.Builder, width, most int, body func(s span, offset asm.Reg)) {
	mc := b.Machine()
	if !mc.Scalable {
		half := mc.Halves && width%mc.Lanes == mc.Lanes/2
		n := width / mc.Lanes
		if half {
			n++
		}
		body(span{Builder: b, n: n, half: half}, asm.Reg{})
		return
	}
	n, rounds := width/leastLanes, 1
	for n > most && n%2 == 0 {
		n, rounds = n/2, 2*rounds
	}
	end := b.NewLabel("end")
	for {
		next, fewest := b.NewLabel("next"), n <= (width+mostLanes-1)/mostLanes
		s, last := span{Builder: b, n: n, last: b.Mask()}, b.Int()
		b.MovI(last, width)
		if n > 1 {
			b.AddLanes(last, 1-n) // the lanes of the last vector
		}
		if !fewest {
			b.JumpLE(last, 0, next)
		}
		if rounds == 1 {
			b.MaskFirst(s.last, last)
			body(s, asm.Reg{})
		} else {
			offset, strip := b.Int(), b.NewLabel("strip")
			b.MovI(offset, 0)
			b.Label(strip)
			b.MaskFirst(s.last, last)
			body(s, offset)
			b.AddVectors(offset, n)
			b.AddLanes(last, -n)
			b.JumpLE(last, 0, end)
			b.Jump(strip)
		}
		if fewest {
			break
		}
		if rounds == 1 {
			b.Jump(end)
		}
		b.Label(next)
		n, rounds = (n+1)/2, 1
	}
	b.Label(end)
}

// fewer jumps to a label if left is less than the lanes of n vectors.
func fewer(b *asm.Builder, left asm.Reg, n int, label string) {
	if mc := b.Machine(); !mc.Scalable {
		b.JumpLE(left, n*mc.Lanes-1, label)
		return
	}
	over := b.Int()
	b.Mov(over, left)
	b.AddLanes(over, -n)
	b.JumpLE(over, -1, label)
}
