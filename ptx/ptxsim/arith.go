package ptxsim

import (
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/sparsegen/sparsegen/internal/narrow"
)

// integerOps are the operations on whole numbers, computed on 64 bits and cut to
// the type's size.
var integerOps = map[string]func(typ string, a []uint64) uint64{
	"add": func(_ string, a []uint64) uint64 { return a[0] + a[1] },
	"sub": func(_ string, a []uint64) uint64 { return a[0] - a[1] },
	"mul": func(_ string, a []uint64) uint64 { return a[0] * a[1] },
	"mad": func(_ string, a []uint64) uint64 { return a[0]*a[1] + a[2] },
	"div": func(typ string, a []uint64) uint64 { return divide(typ, a, false) },
	"rem": func(typ string, a []uint64) uint64 { return divide(typ, a, true) },
	"min": func(typ string, a []uint64) uint64 { return pick(typ, a, less(typ, a[0], a[1])) },
	"max": func(typ string, a []uint64) uint64 { return pick(typ, a, !less(typ, a[0], a[1])) },
	"and": func(_ string, a []uint64) uint64 { return a[0] & a[1] },
	"or":  func(_ string, a []uint64) uint64 { return a[0] | a[1] },
	"xor": func(_ string, a []uint64) uint64 { return a[0] ^ a[1] },
	"not": func(_ string, a []uint64) uint64 { return ^a[0] },
	"neg": func(_ string, a []uint64) uint64 { return -a[0] },
	"shl": func(typ string, a []uint64) uint64 { return a[0] << min(a[1]&mask(4), 64) },
	"shr": func(typ string, a []uint64) uint64 {
		n := min(a[1]&mask(4), 63)
		if strings.HasPrefix(typ, "s") {
			return uint64(signed(a[0], typ) >> n)
		}
		return a[0] & mask(sizes[typ]) >> n
	},
	"popc": func(_ string, a []uint64) uint64 { return uint64(bits.OnesCount32(uint32(a[0]))) },
}

func less(typ string, a, b uint64) bool {
	if typ == "u64" {
		return a < b
	}
	return signed(a, typ) < signed(b, typ)
}

func pick(_ string, a []uint64, first bool) uint64 {
	if first {
		return a[0]
	}
	return a[1]
}

func divide(typ string, a []uint64, rest bool) uint64 {
	if a[1]&mask(sizes[typ]) == 0 {
		fail("division by zero")
	}
	x, y := signed(a[0], typ), signed(a[1], typ)
	if typ == "u64" {
		if rest {
			return a[0] % a[1]
		}
		return a[0] / a[1]
	}
	if rest {
		return uint64(x % y)
	}
	return uint64(x / y)
}

// floatOps are the operations on f32.
var floatOps = map[string]func(i *instr, a []float32) float32{
	"add": func(_ *instr, a []float32) float32 { return a[0] + a[1] },
	"sub": func(_ *instr, a []float32) float32 { return a[0] - a[1] },
	"mul": func(_ *instr, a []float32) float32 { return a[0] * a[1] },
	"neg": func(_ *instr, a []float32) float32 { return -a[0] },
	"abs": func(_ *instr, a []float32) float32 { return float32(math.Abs(float64(a[0]))) },
	"fma": func(_ *instr, a []float32) float32 {
		return float32(math.FMA(float64(a[0]), float64(a[1]), float64(a[2])))
	},
	"min": func(i *instr, a []float32) float32 { return extreme(i, a, a[0] < a[1]) },
	"max": func(i *instr, a []float32) float32 { return extreme(i, a, a[0] > a[1]) },
	"ex2": func(_ *instr, a []float32) float32 { return float32(math.Exp2(float64(a[0]))) },
	"rcp": func(_ *instr, a []float32) float32 { return 1 / a[0] },
	"div": func(_ *instr, a []float32) float32 { return a[0] / a[1] },
}

// extreme is the one of two numbers that a comparison chose; a NaN gives way to a
// number, unless the instruction says NaN.
func extreme(i *instr, a []float32, first bool) float32 {
	na, nb := a[0] != a[0], a[1] != a[1]
	switch {
	case (na || nb) && i.has("NaN"):
		return float32(math.NaN())
	case nb, first && !na:
		return a[0]
	}
	return a[1]
}

func makeArith(p *program, i *instr) error {
	name, typ := i.op[0], i.typ()
	get, set := p.getters(i.args[1:]), setter(i.args[0])
	if typ == "f32" {
		f := floatOps[name]
		if f == nil {
			return fmt.Errorf("no %s of f32", name)
		}
		a := make([]float32, len(get))
		i.run = func(t *thread) {
			for n, g := range get {
				a[n] = f32(g(t))
			}
			set(t, bits32(f(i, a)))
		}
		return nil
	}
	f, size := integerOps[name], sizes[typ]
	if f == nil || size == 0 || strings.Contains(typ, "f") {
		return fmt.Errorf("no %s of %q", name, typ)
	}
	a := make([]uint64, len(get))
	if i.has("wide") {
		// The factors are narrow, the sum and the result twice as wide.
		i.run = func(t *thread) {
			for n, g := range get {
				if a[n] = g(t); n < 2 {
					a[n] = uint64(signed(a[n], typ))
				}
			}
			set(t, f(typ, a)&mask(2*size))
		}
		return nil
	}
	if i.has("hi") {
		return fmt.Errorf("no high half of a product")
	}
	i.run = func(t *thread) {
		for n, g := range get {
			a[n] = g(t)
		}
		set(t, f(typ, a)&mask(size))
	}
	return nil
}

func makeSetp(p *program, i *instr) error {
	typ, cmp := i.typ(), i.op[1]
	a, b, set := p.getter(i.args[1]), p.getter(i.args[2]), setter(i.args[0])
	if len(i.args) != 3 {
		return fmt.Errorf("no setp with a third source")
	}
	unordered := len(cmp) == 3 && cmp[2] == 'u' // equ, ltu, ...
	holds := map[string]func(lt, eq bool) bool{
		"eq": func(_, eq bool) bool { return eq }, "ne": func(_, eq bool) bool { return !eq },
		"lt": func(lt, _ bool) bool { return lt }, "ge": func(lt, _ bool) bool { return !lt },
		"le": func(lt, eq bool) bool { return lt || eq }, "gt": func(lt, eq bool) bool { return !lt && !eq },
	}[cmp[:2]]
	if holds == nil {
		return fmt.Errorf("unknown comparison")
	}
	size := sizes[typ]
	i.run = func(t *thread) {
		x, y := a(t), b(t)
		var lt, eq bool
		if typ == "f32" {
			u, v := f32(x), f32(y)
			if u != u || v != v {
				set(t, truth(unordered))
				return
			}
			lt, eq = u < v, u == v
		} else {
			m := mask(size)
			lt, eq = less(typ, x, y), x&m == y&m
		}
		set(t, truth(holds(lt, eq)))
	}
	return nil
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func makeSelp(p *program, i *instr) error {
	a, b, c, set := p.getter(i.args[1]), p.getter(i.args[2]), p.getter(i.args[3]), setter(i.args[0])
	m := mask(sizes[i.typ()])
	i.run = func(t *thread) {
		if c(t)&1 != 0 {
			set(t, a(t)&m)
		} else {
			set(t, b(t)&m)
		}
	}
	return nil
}

var formats = map[string]narrow.Format{"f16": narrow.F16, "bf16": narrow.BF16, "e4m3": narrow.E4M3, "e5m2": narrow.E5M2}

func makeCvt(p *program, i *instr) error {
	from := i.typ()
	to := i.op[len(i.op)-2]
	get, set := p.getters(i.args[1:]), setter(i.args[0])
	narrowTo, isNarrow := formats[strings.TrimSuffix(to, "x2")]
	wideFrom, fromNarrow := formats[from]
	switch {
	case from == "f32" && isNarrow && len(get) == 2:
		// The first source is the upper half.
		i.run = func(t *thread) {
			set(t, uint64(narrowTo.Encode(f32(get[0](t))))<<16|uint64(narrowTo.Encode(f32(get[1](t)))))
		}
	case from == "f32" && isNarrow:
		i.run = func(t *thread) { set(t, uint64(narrowTo.Encode(f32(get[0](t))))) }
	case fromNarrow && to == "f32":
		i.run = func(t *thread) { set(t, bits32(wideFrom.Decode(uint16(get[0](t))))) }
	case to == "f32" && from != "f32" && !strings.Contains(from, "f"):
		i.run = func(t *thread) { set(t, bits32(float32(signed(get[0](t), from)))) }
	case !strings.Contains(from+to, "f"):
		i.run = func(t *thread) { set(t, uint64(signed(get[0](t), from))&mask(sizes[to])) }
	default:
		return fmt.Errorf("no conversion from %s to %s", from, to)
	}
	return nil
}
