package ptxsim

import (
	"fmt"
	"math"
	"strings"

	"github.com/sparsegen/sparsegen/internal/narrow"
)

var floatRows = []row{
	{"{add,sub,mul}{.rn,.rz,.rm,.rp,}{.ftz,}{.sat,}.f32", makeFloat(2, func(i *instr, a, b, _ float32) sum {
		switch i.parts[0] {
		case "add":
			return exactSum(float64(a), float64(b))
		case "sub":
			return exactSum(float64(a), -float64(b))
		}
		return sum{float64(a) * float64(b), 0}
	})},
	{"fma.{rn,rz,rm,rp}{.ftz,}{.sat,}.f32", makeFloat(3, func(_ *instr, a, b, c float32) sum {
		return exactSum(float64(a)*float64(b), float64(c))
	})},
	{"{min,max}{.ftz,}{.NaN,}.f32", makeFloat(2, func(i *instr, a, b, _ float32) sum {
		return exact(extreme(float64(a), float64(b), i.parts[0] == "min", i.has("NaN")))
	})},
	{"{abs,neg}{.ftz,}.f32", func(p *program, i *instr) error {
		abs, ftz := i.parts[0] == "abs", i.has("ftz")
		return map1(p, i, 4, func(a uint64) uint64 {
			if ftz {
				a = bits32(flush(f32(a)))
			}
			if v := f32(a); v != v {
				return canonicalNaN
			}
			if abs {
				return a &^ (1 << 31)
			}
			return a ^ 1<<31
		})
	}},
	{"copysign.f32", func(p *program, i *instr) error {
		return map2(p, i, 4, func(a, b uint64) uint64 { return a&(1<<31) | b&^(1<<31) })
	}},
	{"div.{rn,full,approx}{.ftz,}.f32", makeFloat(2, func(_ *instr, a, b, _ float32) sum {
		return inexact(float64(a)/float64(b), func(q float64) float64 { return math.FMA(q, float64(b), -float64(a)) * -sign(b) })
	})},
	{"{rcp,sqrt}.rn{.ftz,}.f32", makeFloat(1, special)},
	{"{ex2,rcp,sqrt,rsqrt,lg2,sin,cos}.approx{.ftz,}.f32", makeFloat(1, special)},
	{"tanh.approx.f32", makeFloat(1, special)},
	{"testp.{finite,infinite,number,notanumber,normal,subnormal}.f32", makeTest},
	{"{add,sub,mul}{.rn,}.f64", makeDouble},
	{"{fma,div}.rn.f64", makeDouble},
	{"{min,max,abs,neg}.f64", makeDouble},
}

// halfRows are arithmetic on one or two numbers of 16 bits.
var halfRows = []row{
	{"{add,sub,mul}{.rn,}{.ftz,}{.sat,}.{f16,f16x2,bf16,bf16x2}", makeHalf(2)},
	{"fma.rn{.ftz,}{.sat,.relu,}.{f16,f16x2,bf16,bf16x2}", makeHalf(3)},
	{"{min,max}{.ftz,}{.NaN,}.{f16,f16x2,bf16,bf16x2}", makeHalf(2)},
	{"{abs,neg}{.ftz,}.{f16,f16x2,bf16,bf16x2}", makeHalf(1)},
	{"{ex2,tanh}.approx{.ftz,}.{f16,f16x2,bf16,bf16x2}", makeHalf(1)},
}

const canonicalNaN = 0x7fffffff

// sum is a number as what float64 holds of it and a rest, whose sign counts.
type sum struct{ v, rest float64 }

func exact(v float64) sum { return sum{v, 0} }

// exactSum is a + b without an error.
func exactSum(a, b float64) sum {
	s := a + b
	if math.IsInf(s, 0) || math.IsNaN(s) {
		return sum{s, 0}
	}
	bb := s - a
	return sum{s, (a - (s - bb)) + (b - bb)}
}

// inexact is a number that float64 rounded; rest tells on which side it lies.
func inexact(v float64, rest func(float64) float64) sum {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return sum{v, 0}
	}
	return sum{v, rest(v)}
}

func sign(b float32) float64 {
	if math.Signbit(float64(b)) {
		return -1
	}
	return 1
}

// round gives the float32 of a number: rn, rz, rm or rp.
func (s sum) round(mode string) float32 {
	v := s.v
	if s.rest != 0 && !math.IsInf(v, 0) {
		// To odd: the last bit says that there is more, so that one rounding is left.
		if b := math.Float64bits(v); b&1 == 0 {
			if (s.rest > 0) == (v > 0) {
				v = math.Float64frombits(b + 1)
			} else {
				v = math.Float64frombits(b - 1)
			}
		}
	}
	f := float32(v)
	if mode == "rn" || float64(f) == v || v != v {
		return f
	}
	up := mode == "rp" || mode == "rz" && v < 0
	switch {
	case up && float64(f) < v:
		return math.Nextafter32(f, float32(math.Inf(1)))
	case !up && float64(f) > v:
		return math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func flush(f float32) float32 {
	if b := math.Float32bits(f); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return f
}

// makeFloat makes instructions on n numbers of f32.
func makeFloat(n int, f func(i *instr, a, b, c float32) sum) func(*program, *instr) error {
	return func(p *program, i *instr) error {
		ftz, sat, mode := i.has("ftz"), i.has("sat"), "rn"
		for _, r := range []string{"rz", "rm", "rp"} {
			if i.has(r) {
				mode = r
			}
		}
		zero := mode == "rm" && (i.parts[0] == "add" || i.parts[0] == "sub" || i.parts[0] == "fma")
		return mapN(p, i, n, 4, func(x, y, z uint64) uint64 {
			a, b, c := f32(x), f32(y), f32(z)
			if ftz {
				a, b, c = flush(a), flush(b), flush(c)
			}
			s := f(i, a, b, c)
			v := s.round(mode)
			if zero && s.v == 0 && s.rest == 0 { // x - x is -0 where one rounds down
				v = downZero(i, a, b, c, v)
			}
			if ftz {
				v = flush(v)
			}
			if sat {
				v = max(0, min(1, v))
				if v != v || v == 0 {
					v = 0
				}
			}
			if v != v {
				return canonicalNaN
			}
			return bits32(v)
		})
	}
}

// downZero is the sign of a sum that is zero, rounded down: -0 unless both are +0.
func downZero(i *instr, a, b, c, v float32) float32 {
	x, y := a, b
	switch i.parts[0] {
	case "sub":
		y = -b
	case "fma":
		x, y = float32(float64(a)*float64(b)), c
		if float64(a)*float64(b) != 0 && x == 0 {
			return v
		}
	}
	if math.Float32bits(x) == 0 && math.Float32bits(y) == 0 {
		return 0
	}
	return float32(math.Copysign(0, -1))
}

// extreme is the smaller or larger of two numbers; a NaN gives way to a number
// unless it is to win. -0 is below +0.
func extreme(a, b float64, smaller, nan bool) float64 {
	switch {
	case a != a && b != b, nan && (a != a || b != b):
		return math.NaN()
	case a != a:
		return b
	case b != b:
		return a
	case smaller:
		return min(a, b)
	}
	return max(a, b)
}

// special computes the functions that a GPU approximates, rounded to nearest.
func special(i *instr, x, _, _ float32) sum {
	a := float64(x)
	switch i.parts[0] {
	case "ex2":
		return exact(math.Exp2(a))
	case "rcp":
		return inexact(1/a, func(q float64) float64 { return math.FMA(q, a, -1) * -sign(x) })
	case "sqrt":
		return inexact(math.Sqrt(a), func(q float64) float64 { return -math.FMA(q, q, -a) })
	case "rsqrt":
		return exact(1 / math.Sqrt(a))
	case "lg2":
		return exact(math.Log2(a))
	case "sin":
		return exact(math.Sin(a))
	case "cos":
		return exact(math.Cos(a))
	}
	return exact(math.Tanh(a))
}

func makeTest(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	set, err := p.truth(i.args[0])
	if err != nil {
		return err
	}
	a, err := p.source(i.args[1])
	if err != nil {
		return err
	}
	holds := map[string]func(e, frac uint64) bool{
		"finite": func(e, _ uint64) bool { return e != 255 }, "infinite": func(e, f uint64) bool { return e == 255 && f == 0 },
		"number": func(e, f uint64) bool { return e != 255 || f == 0 }, "notanumber": func(e, f uint64) bool { return e == 255 && f != 0 },
		"normal": func(e, f uint64) bool { return e != 255 && (e != 0 || f == 0) }, "subnormal": func(e, f uint64) bool { return e == 0 && f != 0 },
	}[i.picks[0]]
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		var v uint32
		for l, x := range a(w, m) {
			v |= uint32(flag(holds(x>>23&255, x&0x7fffff))) << l
		}
		set(w, m, v)
	}
	return nil
}

func makeDouble(p *program, i *instr) error {
	op := i.parts[0]
	n := map[string]int{"fma": 3, "abs": 1, "neg": 1}[op]
	if n == 0 {
		n = 2
	}
	return mapN(p, i, n, 8, func(x, y, z uint64) uint64 {
		a, b, c := math.Float64frombits(x), math.Float64frombits(y), math.Float64frombits(z)
		switch op {
		case "add":
			a += b
		case "sub":
			a -= b
		case "mul":
			a *= b
		case "div":
			a /= b
		case "fma":
			a = math.FMA(a, b, c)
		case "min", "max":
			a = extreme(a, b, op == "min", false)
		case "abs":
			a = math.Abs(a)
		default:
			a = -a
		}
		return math.Float64bits(a)
	})
}

var formats = map[string]narrow.Format{"f16": narrow.F16, "bf16": narrow.BF16, "e4m3": narrow.E4M3, "e5m2": narrow.E5M2}

// makeHalf makes instructions on n operands of one or two numbers of 16 bits.
func makeHalf(n int) func(*program, *instr) error {
	return func(p *program, i *instr) error {
		typ := i.typ()
		two := strings.HasSuffix(typ, "x2")
		name := strings.TrimSuffix(typ, "x2")
		format := formats[name]
		if name == "bf16" && (i.has("ftz") && i.parts[0] != "ex2" || i.has("sat")) {
			return fmt.Errorf("unknown instruction")
		}
		one := func(a, b, c uint16) uint16 { return half(i, format, a, b, c) }
		return mapN(p, i, n, sizes[typ], func(a, b, c uint64) uint64 {
			v := uint64(one(uint16(a), uint16(b), uint16(c)))
			if two {
				v |= uint64(one(uint16(a>>16), uint16(b>>16), uint16(c>>16))) << 16
			}
			return v
		})
	}
}

// half is one number's part of an instruction. Sums and products are exact in
// float64 but for those that bf16 rounds so far away that the rest counts.
func half(i *instr, f narrow.Format, a, b, c uint16) uint16 {
	in := func(v uint16) float64 {
		if i.has("ftz") && f == narrow.F16 && v&0x7c00 == 0 {
			v &= 0x8000
		}
		return float64(f.Decode(v))
	}
	x, y, z := in(a), in(b), in(c)
	var s sum
	switch i.parts[0] {
	case "abs":
		return a &^ 0x8000
	case "neg":
		return a ^ 0x8000
	case "min", "max":
		s = exact(extreme(x, y, i.parts[0] == "min", i.has("NaN")))
	case "add":
		s = exactSum(x, y)
	case "sub":
		s = exactSum(x, -y)
	case "mul":
		s = exact(x * y)
	case "fma":
		s = exactSum(x*y, z)
	case "ex2":
		s = exact(math.Exp2(x))
	default:
		s = exact(math.Tanh(x))
	}
	code := narrowed(f, s)
	nan := f.Decode(code) != f.Decode(code)
	switch {
	case nan && i.has("sat"):
		return 0
	case i.has("relu") && !nan && code&0x8000 != 0:
		return 0
	case i.has("sat"):
		return f.Encode(max(0, min(1, f.Decode(code))))
	case i.has("ftz") && f == narrow.F16 && code&0x7c00 == 0:
		return code & 0x8000
	}
	return code
}

// narrowed rounds a number once to a narrow format: to odd in float32, then on.
func narrowed(f narrow.Format, s sum) uint16 {
	near := s.round("rn")
	if float64(near) == s.v && s.rest == 0 || near != near || math.IsInf(float64(near), 0) {
		return f.Encode(near)
	}
	low := s.round("rz")
	if math.Float32bits(low)&1 == 0 {
		low = math.Float32frombits(math.Float32bits(low) | 1)
	}
	return f.Encode(low)
}
