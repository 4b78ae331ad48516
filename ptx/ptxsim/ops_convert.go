package ptxsim

import (
	"fmt"
	"math"
	"strings"

	"github.com/sparsegen/sparsegen/internal/narrow"
)

const integers = "{u8,s8,u16,s16,u32,s32,u64,s64}"

var compareRows = []row{
	{"setp.{eq,ne,lt,le,gt,ge,lo,ls,hi,hs,equ,neu,ltu,leu,gtu,geu,num,nan}{.and,.or,.xor,}{.ftz,}.{b16,b32,b64,u16,s16,u32,s32,u64,s64,f16,bf16,f32,f64}", makeSetp},
	{"set.{eq,ne,lt,le,gt,ge}.{u32,f32}.{u32,s32,f32}", makeSet},
	{"selp.{b16,b32,b64,u16,s16,u32,s32,u64,s64,f32,f64}", makeSelp},
	{"slct.{b32,u32,s32,f32}.s32", func(p *program, i *instr) error {
		return map3(p, i, 4, func(a, b, c uint64) uint64 {
			if int32(c) >= 0 {
				return a
			}
			return b
		})
	}},
}

var convertRows = []row{
	{"cvt{.sat,}." + integers + "." + integers, makeConvertInteger},
	{"cvt.{rn,rz,rm,rp}.f32." + integers, makeConvertToFloat},
	{"cvt.{rn,rz,rm,rp}.f64.{u8,s8,u16,s16,u32,s32}", func(p *program, i *instr) error {
		from := i.picks[1]
		return map1(p, i, 8, func(a uint64) uint64 { return math.Float64bits(float64(signed(a, from))) })
	}},
	{"cvt.rn.f64.{u64,s64}", func(p *program, i *instr) error {
		from := i.picks[0]
		return map1(p, i, 8, func(a uint64) uint64 {
			if from == "u64" {
				return math.Float64bits(float64(a))
			}
			return math.Float64bits(float64(int64(a)))
		})
	}},
	{"cvt.{rni,rzi,rmi,rpi}{.ftz,}{.sat,}." + integers + ".{f32,f16,bf16}", makeConvertToInteger},
	{"cvt.{rni,rzi,rmi,rpi}{.ftz,}{.sat,}.f32.f32", func(p *program, i *instr) error {
		return map1(p, i, 4, func(a uint64) uint64 {
			v := f32(a)
			if i.has("ftz") {
				v = flush(v)
			}
			v = float32(whole(i.picks[0], float64(v)))
			if i.has("sat") {
				v = max(0, min(1, v))
			}
			if v != v {
				return canonicalNaN
			}
			return bits32(v)
		})
	}},
	{"cvt.rn.{f16,bf16}." + integers, func(p *program, i *instr) error {
		f, from := formats[i.picks[0]], i.picks[1]
		return map1(p, i, 2, func(a uint64) uint64 { return uint64(narrowed(f, wholeNumber(a, from))) })
	}},
	{"cvt{.ftz,}.f32.{f16,bf16}", func(p *program, i *instr) error {
		f := formats[i.picks[1]]
		return map1(p, i, 4, func(a uint64) uint64 {
			v := f.Decode(uint16(a))
			if v != v {
				return canonicalNaN
			}
			return bits32(v)
		})
	}},
	{"cvt.f64.f32", func(p *program, i *instr) error {
		return map1(p, i, 8, func(a uint64) uint64 { return math.Float64bits(float64(f32(a))) })
	}},
	{"cvt.{rn,rz}.f32.f64", func(p *program, i *instr) error {
		mode := i.picks[0]
		return map1(p, i, 4, func(a uint64) uint64 { return bits32(exact(math.Float64frombits(a)).round(mode)) })
	}},
	{"cvt.{rn,rz}{.ftz,}{.sat,}{.relu,}.{f16,bf16}.f32", makeNarrow},
	{"cvt.{rn,rz}{.relu,}.{f16x2,bf16x2}.f32", makeNarrow},
	{"cvt.rn.satfinite{.relu,}.{e4m3x2,e5m2x2}.{f32,f16x2}", makeNarrow},
	{"cvt.rn{.relu,}.f16x2.{e4m3x2,e5m2x2}", func(p *program, i *instr) error {
		f := formats[strings.TrimSuffix(i.picks[1], "x2")]
		one := func(v uint64) uint64 {
			x := f.Decode(uint16(v & 0xff))
			if i.has("relu") && v&0x80 != 0 && x == x {
				return 0
			}
			return uint64(narrow.F16.Encode(x))
		}
		return map1(p, i, 4, func(a uint64) uint64 { return one(a) | one(a>>8)<<16 })
	}},
	{"cvt.rna.tf32.f32", func(p *program, i *instr) error {
		return map1(p, i, 4, func(a uint64) uint64 {
			if v := f32(a); v != v {
				return canonicalNaN
			} else if math.IsInf(float64(v), 0) {
				return a
			}
			return (a + 0x1000) &^ 0x1fff
		})
	}},
	{"cvt.pack.sat.{s16,u16}.s32", func(p *program, i *instr) error {
		return map2(p, i, 4, func(a, b uint64) uint64 { return saturated(a, i.picks[0])<<16 | saturated(b, i.picks[0]) })
	}},
	{"cvt.pack.sat.{s8,u8}.s32.b32", func(p *program, i *instr) error {
		return map3(p, i, 4, func(a, b, c uint64) uint64 {
			return c<<16 | saturated(a, i.picks[0])<<8 | saturated(b, i.picks[0])
		})
	}},
}

// limits are the smallest and the largest of an integer type.
func limits(typ string) (lo, hi float64) {
	n := 8 * sizes[typ]
	if strings.HasPrefix(typ, "s") {
		return -math.Ldexp(1, n-1), math.Ldexp(1, n-1) - 1
	}
	return 0, math.Ldexp(1, n) - 1
}

// saturated is an s32 in a narrower type.
func saturated(a uint64, typ string) uint64 {
	lo, hi := limits(typ)
	return uint64(clamp(int64(int32(a)), int64(lo), int64(hi))) & mask(sizes[typ])
}

func makeConvertInteger(p *program, i *instr) error {
	from, to := i.picks[2], i.picks[1]
	width := max(sizes[to], i.args[0].bytes) // a wider register is sign-extended
	return map1(p, i, width, func(a uint64) uint64 {
		v := uint64(signed(a, from))
		if i.has("sat") {
			switch lo, hi := limits(to); {
			case from == "u64" && v > uint64(hi):
				v = uint64(hi)
			case from != "u64":
				v = uint64(max(int64(v), int64(lo)))
				if sizes[to] < 8 {
					v = uint64(min(int64(v), int64(hi)))
				}
			}
		}
		return uint64(signed(v, to))
	})
}

func makeConvertToFloat(p *program, i *instr) error {
	from, mode := i.typ(), i.picks[0]
	if from == "f32" {
		from = i.picks[1]
	}
	return map1(p, i, 4, func(a uint64) uint64 { return bits32(wholeNumber(a, from).round(mode)) })
}

// wholeNumber is an integer as a sum of two halves that float64 holds.
func wholeNumber(a uint64, typ string) sum {
	v := signed(a, typ)
	if typ == "u64" {
		return exactSum(float64(a>>32)*(1<<32), float64(a&mask(4)))
	}
	return exactSum(float64(v>>32)*(1<<32), float64(v&(1<<32-1)))
}

// whole rounds to a whole number.
func whole(mode string, v float64) float64 {
	switch mode {
	case "rni":
		return math.RoundToEven(v)
	case "rzi":
		return math.Trunc(v)
	case "rmi":
		return math.Floor(v)
	}
	return math.Ceil(v)
}

func makeConvertToInteger(p *program, i *instr) error {
	to, from := i.picks[len(i.picks)-2], i.picks[len(i.picks)-1]
	lo, hi := limits(to)
	size := max(sizes[to], i.args[0].bytes)
	return map1(p, i, size, func(a uint64) uint64 {
		var v float64
		if f, ok := formats[from]; ok {
			v = float64(f.Decode(uint16(a)))
		} else if v = float64(f32(a)); i.has("ftz") {
			v = float64(flush(f32(a)))
		}
		if v != v {
			return 0
		}
		switch v = whole(i.picks[0], v); {
		case v >= hi && to == "u64":
			return math.MaxUint64
		case v >= hi && to == "s64":
			return math.MaxInt64
		case to == "u64" && v > 0:
			return uint64(v)
		}
		return uint64(int64(max(lo, min(hi, v))))
	})
}

// makeNarrow makes conversions from f32 to one or two narrow numbers; of two, the
// first source is the upper half.
func makeNarrow(p *program, i *instr) error {
	from := i.parts[len(i.parts)-1]
	to, two := strings.CutSuffix(i.parts[len(i.parts)-2], "x2")
	f, ok := formats[to]
	if !ok {
		return fmt.Errorf("unknown format %s", to)
	}
	size := f.Size()
	one := func(v float32) uint64 {
		if i.has("ftz") {
			v = flush(v)
		}
		if i.has("rz") {
			v = towardsZero(f, v)
		}
		if i.has("sat") {
			if v = max(0, min(1, v)); v != v || v == 0 {
				v = 0
			}
		}
		code := uint64(f.Encode(v))
		if i.has("relu") && v == v && math.Signbit(float64(v)) {
			return 0
		}
		return code
	}
	if from == "f16x2" {
		return map1(p, i, 2, func(a uint64) uint64 {
			return one(narrow.F16.Decode(uint16(a))) | one(narrow.F16.Decode(uint16(a>>16)))<<8
		})
	}
	if two {
		return map2(p, i, 2*size, func(a, b uint64) uint64 { return one(f32(a))<<(8*size) | one(f32(b)) })
	}
	return map1(p, i, size, func(a uint64) uint64 { return one(f32(a)) })
}

// towardsZero is a number of the format that is not larger in magnitude.
func towardsZero(f narrow.Format, v float32) float32 {
	if v != v || math.IsInf(float64(v), 0) {
		return v
	}
	code := f.Encode(v)
	if math.Abs(float64(f.Decode(code))) > math.Abs(float64(v)) {
		code--
	}
	return f.Decode(code)
}

func makeSetp(p *program, i *instr) error {
	typ, cmp := i.picks[3], i.picks[0]
	if err := i.want(3, 4); err != nil {
		return err
	}
	d := i.args[0]
	var second func(w *warp, m, v uint32)
	var err error
	if d.kind == opPair {
		if second, err = p.truth(d.list[1]); err != nil {
			return err
		}
		d = d.list[0]
	}
	set, err := p.truth(d)
	if err != nil {
		return err
	}
	s, err := p.sources(i.args[1:3])
	if err != nil {
		return err
	}
	combine := func(_ *warp, _, v uint32) uint32 { return v }
	if op := i.picks[1]; op != "" {
		if len(i.args) != 4 {
			return fmt.Errorf("no predicate to combine with")
		}
		c, err := p.condition(i.args[3])
		if err != nil {
			return err
		}
		combine = func(w *warp, m, v uint32) uint32 {
			switch op {
			case ".and":
				return v & c(w, m)
			case ".or":
				return v | c(w, m)
			}
			return v ^ c(w, m)
		}
	}
	holds, err := comparison(typ, cmp, i.has("ftz"))
	if err != nil {
		return err
	}
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		a, b := s[0](w, m), s[1](w, m)
		var v uint32
		for l := range a {
			if m>>l&1 != 0 && holds(a[l], b[l]) {
				v |= 1 << l
			}
		}
		set(w, m, combine(w, m, v))
		if second != nil {
			second(w, m, combine(w, m, ^v))
		}
	}
	return nil
}

// comparison is what an operator says of two values of a type.
func comparison(typ, cmp string, ftz bool) (func(a, b uint64) bool, error) {
	if u, ok := map[string]string{"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}[cmp]; ok {
		cmp = u
	}
	unordered := len(cmp) == 3 && cmp[2] == 'u'
	order := func(lt, eq bool) bool {
		switch cmp[:2] {
		case "eq":
			return eq
		case "ne":
			return !eq
		case "lt":
			return lt
		case "le":
			return lt || eq
		case "gt":
			return !lt && !eq
		}
		return !lt
	}
	var decode func(uint64) float64
	switch typ {
	case "f32":
		decode = func(a uint64) float64 {
			if ftz {
				return float64(flush(f32(a)))
			}
			return float64(f32(a))
		}
	case "f64":
		decode = math.Float64frombits
	case "f16", "bf16":
		f := formats[typ]
		decode = func(a uint64) float64 { return float64(f.Decode(uint16(a))) }
	default:
		if cmp == "num" || cmp == "nan" || unordered {
			return nil, fmt.Errorf("%s of %s", cmp, typ)
		}
		m := mask(sizes[typ])
		return func(a, b uint64) bool { return order(less(typ, a, b), a&m == b&m) }, nil
	}
	return func(x, y uint64) bool {
		a, b := decode(x), decode(y)
		nan := a != a || b != b
		switch {
		case cmp == "nan":
			return nan
		case cmp == "num":
			return !nan
		case nan:
			return unordered
		}
		return order(a < b, a == b)
	}, nil
}

func makeSet(p *program, i *instr) error {
	holds, err := comparison(i.picks[2], i.picks[0], false)
	yes := uint64(fullMask)
	if i.picks[1] == "f32" {
		yes = bits32(1)
	}
	if err != nil {
		return err
	}
	return map2(p, i, 4, func(a, b uint64) uint64 {
		if holds(a, b) {
			return yes
		}
		return 0
	})
}

func makeSelp(p *program, i *instr) error {
	if err := i.want(4); err != nil {
		return err
	}
	c, err := p.condition(i.args[3])
	if err != nil {
		return err
	}
	d, err := p.result(i.args[0])
	if err != nil {
		return err
	}
	s, err := p.sources(i.args[1:3])
	if err != nil {
		return err
	}
	cut := mask(sizes[i.typ()])
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		take := c(w, m)
		a, b := s[0](w, m&take), s[1](w, m&^take)
		to := d(w, m)
		each(m, func(l int) {
			if take>>l&1 != 0 {
				to[l] = a[l] & cut
			} else {
				to[l] = b[l] & cut
			}
		})
	}
	return nil
}
