package ptxsim

import (
	"math/bits"
	"strings"
)

var integerRows = []row{
	{"{add,sub,mul.lo}.{u16,s16,u32,s32,u64,s64}", integer2(func(op, _ string, a, b uint64) uint64 {
		switch op {
		case "add":
			return a + b
		case "sub":
			return a - b
		}
		return a * b
	})},
	{"{add,sub}.sat.s32", integer2(func(op, _ string, a, b uint64) uint64 {
		x, y := signed(a, "s32"), signed(b, "s32")
		if op == "sub" {
			y = -y
		}
		return uint64(clamp(x+y, -1<<31, 1<<31-1))
	})},
	{"{add,sub}.cc.{u32,s32,u64,s64}", makeCarry},
	{"{addc,subc}{.cc,}.{u32,s32,u64,s64}", makeCarry},
	{"mul.hi.{u16,s16,u32,s32,u64,s64}", integer2(func(_, typ string, a, b uint64) uint64 { return high(typ, a, b) })},
	{"mul.wide.{u16,s16,u32,s32}", makeWide},
	{"mad.wide.{u16,s16,u32,s32}", makeWide},
	{"mad.lo.{u16,s16,u32,s32,u64,s64}", integer3(func(_ string, a, b, c uint64) uint64 { return a*b + c })},
	{"mad.hi.{u16,s16,u32,s32,u64,s64}", integer3(func(typ string, a, b, c uint64) uint64 { return high(typ, a, b) + c })},
	{"mul24.lo.{u32,s32}", integer2(func(_, typ string, a, b uint64) uint64 { return low24(typ, a) * low24(typ, b) })},
	{"mad24.lo.{u32,s32}", integer3(func(typ string, a, b, c uint64) uint64 { return low24(typ, a)*low24(typ, b) + c })},
	{"{div,rem}.{u16,s16,u32,s32,u64,s64}", integer2(divide)},
	{"{min,max}.{u16,s16,u32,s32,u64,s64}", integer2(func(op, typ string, a, b uint64) uint64 {
		if less(typ, a, b) == (op == "min") {
			return a
		}
		return b
	})},
	{"{abs,neg}.{s16,s32,s64}", integer1(func(op, typ string, a uint64) uint64 {
		if op == "neg" || signed(a, typ) < 0 {
			return -a
		}
		return a
	})},
	{"sad.{u16,s16,u32,s32,u64,s64}", integer3(func(typ string, a, b, c uint64) uint64 {
		if less(typ, a, b) {
			return c + b - a
		}
		return c + a - b
	})},
	{"dp4a.{u32,s32}.{u32,s32}", makeDot},
	{"dp2a.{lo,hi}.{u32,s32}.{u32,s32}", makeDot},

	{"{and,or,xor}.{b16,b32,b64}", integer2(func(op, _ string, a, b uint64) uint64 {
		switch op {
		case "and":
			return a & b
		case "or":
			return a | b
		}
		return a ^ b
	})},
	{"{and,or,xor}.pred", makePredicates},
	{"not.pred", makePredicates},
	{"{not,cnot}.{b16,b32,b64}", integer1(func(op, typ string, a uint64) uint64 {
		if op == "not" {
			return ^a
		}
		return flag(a&mask(sizes[typ]) == 0)
	})},
	{"{shl,shr}.{b16,b32,b64,u16,s16,u32,s32,u64,s64}", integer2(shift)},
	{"shf.{l,r}.{wrap,clamp}.b32", makeFunnel},
	{"bfe.{u32,s32,u64,s64}", integer3(extract)},
	{"bfi.{b32,b64}", makeInsert},
	{"bmsk.{clamp,wrap}.b32", makeBitMask},
	{"szext.{clamp,wrap}.{u32,s32}", makeSignExtend},
	{"{popc,clz}.{b32,b64}", integer1(func(op, typ string, a uint64) uint64 {
		a &= mask(sizes[typ])
		if op == "popc" {
			return uint64(bits.OnesCount64(a))
		}
		return uint64(bits.LeadingZeros64(a) - 64 + 8*sizes[typ])
	})},
	{"brev.{b32,b64}", integer1(func(_, typ string, a uint64) uint64 { return bits.Reverse64(a) >> (64 - 8*sizes[typ]) })},
	{"bfind{.shiftamt,}.{u32,s32,u64,s64}", makeFind},
	{"lop3.b32", makeLogic3},
	{"prmt.b32{.f4e,.b4e,.rc8,.ecl,.ecr,.rc16,}", makePermute},
}

func integer1(f func(op, typ string, a uint64) uint64) func(*program, *instr) error {
	return func(p *program, i *instr) error {
		op, typ := i.parts[0], i.typ()
		return map1(p, i, sizes[typ], func(a uint64) uint64 { return f(op, typ, a) })
	}
}

func integer2(f func(op, typ string, a, b uint64) uint64) func(*program, *instr) error {
	return func(p *program, i *instr) error {
		op, typ := i.parts[0], i.typ()
		return map2(p, i, sizes[typ], func(a, b uint64) uint64 { return f(op, typ, a, b) })
	}
}

func integer3(f func(typ string, a, b, c uint64) uint64) func(*program, *instr) error {
	return func(p *program, i *instr) error {
		typ := i.typ()
		return map3(p, i, sizes[typ], func(a, b, c uint64) uint64 { return f(typ, a, b, c) })
	}
}

func clamp(v, lo, hi int64) int64 { return max(lo, min(hi, v)) }

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func less(typ string, a, b uint64) bool {
	if typ == "u64" {
		return a < b
	}
	return signed(a, typ) < signed(b, typ)
}

// high is the upper half of a product.
func high(typ string, a, b uint64) uint64 {
	if sizes[typ] < 8 {
		return uint64(signed(a, typ) * signed(b, typ) >> (8 * sizes[typ]))
	}
	hi, _ := bits.Mul64(a, b)
	if typ == "s64" {
		hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
	}
	return hi
}

func low24(typ string, a uint64) uint64 {
	if typ == "s32" {
		return uint64(int64(a<<40) >> 40)
	}
	return a & 0xffffff
}

func divide(op, typ string, a, b uint64) uint64 {
	if b&mask(sizes[typ]) == 0 {
		fail(Operands, "division by zero")
	}
	if typ == "u64" {
		if op == "rem" {
			return a % b
		}
		return a / b
	}
	x, y := signed(a, typ), signed(b, typ)
	if op == "rem" {
		return uint64(x % y)
	}
	return uint64(x / y)
}

func shift(op, typ string, a, b uint64) uint64 {
	n := min(b&mask(4), 64)
	if op == "shl" {
		return a << n
	}
	if strings.HasPrefix(typ, "s") {
		return uint64(signed(a, typ) >> min(n, 63))
	}
	return a & mask(sizes[typ]) >> n
}

func extract(typ string, a, b, c uint64) uint64 {
	size := uint64(8 * sizes[typ])
	pos, n := b&0xff, c&0xff
	v := a & mask(sizes[typ])
	var sign uint64
	if strings.HasPrefix(typ, "s") && n > 0 {
		sign = v >> min(pos+n-1, size-1) & 1
	}
	if pos > size {
		pos = size
	}
	v >>= pos
	if pos+n < size {
		if v &= 1<<n - 1; sign != 0 {
			v |= ^uint64(0) << n
		}
	} else if sign != 0 && pos > 0 {
		v |= ^uint64(0) << (size - pos)
	}
	return v
}

// makeWide makes products twice as wide as their factors.
func makeWide(p *program, i *instr) error {
	typ := i.typ()
	size := 2 * sizes[typ]
	if i.parts[0] == "mul" {
		return map2(p, i, size, func(a, b uint64) uint64 { return uint64(signed(a, typ) * signed(b, typ)) })
	}
	return map3(p, i, size, func(a, b, c uint64) uint64 { return uint64(signed(a, typ)*signed(b, typ)) + c })
}

func makeCarry(p *program, i *instr) error {
	d, s, err := p.operands(i, 2)
	if err != nil {
		return err
	}
	size := sizes[i.typ()]
	i.pure = true
	in, out, sub := strings.HasSuffix(i.parts[0], "c"), i.has("cc"), strings.HasPrefix(i.parts[0], "sub")
	i.exec = func(w *warp, m uint32) {
		a, b := s[0](w, m), s[1](w, m)
		to := d(w, m)
		each(m, func(l int) {
			var c, sum uint64
			if in {
				c = uint64(w.carry >> l & 1)
			}
			if sub {
				sum, c = bits.Sub64(a[l]&mask(size), b[l]&mask(size), c)
			} else {
				sum, c = bits.Add64(a[l]&mask(size), b[l]&mask(size), c)
				if size == 4 {
					c = sum >> 32
				}
			}
			to[l] = sum & mask(size)
			if out {
				w.carry = w.carry&^(1<<l) | uint32(c)<<l
			}
		})
	}
	return nil
}

func makeDot(p *program, i *instr) error {
	wide := i.parts[0] == "dp2a"
	ta, tb := i.picks[len(i.picks)-2], i.picks[len(i.picks)-1]
	byteOf := func(typ string, v uint64, n int) int64 { return signed(v>>(8*n)&0xff, typ[:1]+"8") }
	return map3(p, i, 4, func(a, b, c uint64) uint64 {
		sum := int64(c)
		if wide {
			for n := range 2 {
				at := n
				if i.picks[0] == "hi" {
					at += 2
				}
				sum += signed(a>>(16*n)&0xffff, ta[:1]+"16") * byteOf(tb, b, at)
			}
			return uint64(sum)
		}
		for n := range 4 {
			sum += byteOf(ta, a, n) * byteOf(tb, b, n)
		}
		return uint64(sum)
	})
}

func makePredicates(p *program, i *instr) error {
	set, err := p.truth(i.args[0])
	if err != nil {
		return err
	}
	a, err := p.condition(i.args[1])
	if err != nil {
		return err
	}
	b := a
	if len(i.args) > 2 {
		if b, err = p.condition(i.args[2]); err != nil {
			return err
		}
	}
	op := map[string]func(a, b uint32) uint32{
		"and": func(a, b uint32) uint32 { return a & b }, "or": func(a, b uint32) uint32 { return a | b },
		"xor": func(a, b uint32) uint32 { return a ^ b }, "not": func(a, _ uint32) uint32 { return ^a },
	}[i.parts[0]]
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		x := a(w, m)
		ux := w.undef
		w.undef = 0
		y := b(w, m)
		if uy := w.undef; i.parts[0] == "and" { // false, whatever the other is
			w.undef = ux&(y|uy) | uy&(x|ux)
		} else {
			w.undef |= ux
		}
		set(w, m, op(x, y))
	}
	return nil
}

func makeFunnel(p *program, i *instr) error {
	left, wrap := i.picks[0] == "l", i.picks[1] == "wrap"
	return map3(p, i, 4, func(a, b, c uint64) uint64 {
		n := c & mask(4)
		if wrap {
			n &= 31
		}
		n = min(n, 32)
		v := b<<32 | a&mask(4)
		if left {
			return v << n >> 32
		}
		return v >> n
	})
}

func makeInsert(p *program, i *instr) error {
	d, s, err := p.operands(i, 4)
	if err != nil {
		return err
	}
	size := sizes[i.typ()]
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		a, b, pos, n := s[0](w, m), s[1](w, m), s[2](w, m), s[3](w, m)
		to := d(w, m)
		each(m, func(l int) {
			field := (uint64(1)<<min(n[l]&0xff, 64) - 1) << min(pos[l]&0xff, 64)
			to[l] = (b[l]&^field | a[l]<<min(pos[l]&0xff, 64)&field) & mask(size)
		})
	}
	return nil
}

func makeBitMask(p *program, i *instr) error {
	wrap := i.picks[0] == "wrap"
	return map2(p, i, 4, func(a, b uint64) uint64 {
		a, b = a&mask(4), b&mask(4)
		if wrap {
			a, b = a&31, b&31
		}
		return (uint64(1)<<min(b, 32) - 1) << min(a, 32)
	})
}

func makeSignExtend(p *program, i *instr) error {
	wrap, typ := i.picks[0] == "wrap", i.picks[1]
	return map2(p, i, 4, func(a, n uint64) uint64 {
		if n &= mask(4); wrap {
			n &= 31
		}
		if n >= 32 {
			return a
		}
		if v := a & (1<<n - 1); typ == "u32" || n == 0 || v>>(n-1)&1 == 0 {
			return v
		}
		return a | ^uint64(0)<<n
	})
}

func makeFind(p *program, i *instr) error {
	typ := i.typ()
	amount := i.has("shiftamt")
	return map1(p, i, 4, func(a uint64) uint64 {
		size := 8 * sizes[typ]
		v := uint64(signed(a, typ))
		if strings.HasPrefix(typ, "s") && int64(v) < 0 {
			v = ^v
		}
		at := bits.Len64(v&mask(sizes[typ])) - 1
		if amount && at >= 0 {
			at = size - 1 - at
		}
		return uint64(at)
	})
}

func makeLogic3(p *program, i *instr) error {
	if err := i.want(5); err != nil {
		return err
	}
	table := i.args[4].imm
	i.args = i.args[:4]
	return map3(p, i, 4, func(a, b, c uint64) (v uint64) {
		for n := range 8 {
			if table>>n&1 == 0 {
				continue
			}
			pick := func(x uint64, bit int) uint64 {
				if n>>bit&1 != 0 {
					return x
				}
				return ^x
			}
			v |= pick(a, 2) & pick(b, 1) & pick(c, 0)
		}
		return v
	})
}

func makePermute(p *program, i *instr) error {
	mode := i.picks[0]
	return map3(p, i, 4, func(a, b, c uint64) (v uint64) {
		from := b<<32 | a&mask(4)
		for n := range uint64(4) {
			at, sign := c>>(4*n)&7, c>>(4*n+3)&1
			switch s := c & 3; mode {
			case ".f4e":
				at, sign = s+n, 0
			case ".b4e":
				at, sign = (s-n)&7, 0
			case ".rc8":
				at, sign = s, 0
			case ".ecl":
				at, sign = max(n, s), 0
			case ".ecr":
				at, sign = min(n, s), 0
			case ".rc16":
				at, sign = 2*(c&1)+n&1, 0
			}
			x := from >> (8 * at) & 0xff
			if sign != 0 {
				x = -(x >> 7) & 0xff
			}
			v |= x << (8 * n)
		}
		return v
	})
}
