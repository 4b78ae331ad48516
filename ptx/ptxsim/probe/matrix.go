package probe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/sparsegen/sparsegen/internal/narrow"
)

// element is a type of a matrix operand.
type element struct {
	name string
	bits int
}

var elements = map[string]element{
	"bf16": {"bf16", 16}, "f16": {"f16", 16}, "tf32": {"tf32", 32}, "e4m3": {"e4m3", 8}, "e5m2": {"e5m2", 8}, "s8": {"s8", 8}, "u8": {"u8", 8},
}

// code is a random element: a whole number so small that sums of products are
// exact in any order and any format.
func (e element) code(r *rand.Rand) uint32 {
	v := r.IntN(9) - 4
	switch e.name {
	case "s8":
		return uint32(r.IntN(256))
	case "u8":
		return uint32(r.IntN(256))
	case "tf32":
		return f32bits(float32(v))
	}
	format, err := narrow.Parse(e.name)
	if err != nil {
		panic(err)
	}
	return uint32(format.Encode(float32(v)))
}

// word is a register of elements.
func (e element) word(r *rand.Rand) uint32 {
	var w uint32
	for at := 0; at < 32; at += e.bits {
		w |= e.code(r) << at
	}
	return w
}

// metadata is a word of eight codes of ordered pairs of four; of tf32, one of two
// codes of one of two.
func metadata(r *rand.Rand, e element) uint32 {
	codes := []uint32{0x4, 0x8, 0x9, 0xc, 0xd, 0xe}
	if e.bits == 32 {
		codes = []uint32{0x4, 0xe}
	}
	var w uint32
	for i := range 8 {
		w |= codes[r.IntN(len(codes))] << (4 * i)
	}
	return w
}

func list(reg string, from, n int) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf("%%%s%d", reg, from+i))
	}
	return "{" + strings.Join(s, ", ") + "}"
}

// matrixPrograms ask mma.sync and mma.sp where the elements of registers lie.
func matrixPrograms() []Program {
	var ps []Program
	type shape struct {
		k       int
		d, a, b string
		sparse  bool
		sel     int
	}
	var shapes []shape
	for _, t := range []string{"bf16", "f16"} {
		shapes = append(shapes, shape{8, "f32", t, t, false, 0}, shape{16, "f32", t, t, false, 0}, shape{16, "f32", t, t, true, 0}, shape{16, "f32", t, t, true, 2}, shape{32, "f32", t, t, true, 0}, shape{32, "f32", t, t, true, 1})
	}
	shapes = append(shapes,
		shape{16, "f16", "f16", "f16", false, 0}, shape{4, "f32", "tf32", "tf32", false, 0}, shape{8, "f32", "tf32", "tf32", false, 0},
		shape{8, "f32", "tf32", "tf32", true, 0}, shape{16, "f32", "tf32", "tf32", true, 1},
		shape{32, "f32", "e4m3", "e4m3", false, 0}, shape{32, "f32", "e5m2", "e4m3", false, 0}, shape{64, "f32", "e4m3", "e5m2", true, 0},
	)
	for _, a := range []string{"s8", "u8"} {
		for _, b := range []string{"s8", "u8"} {
			shapes = append(shapes, shape{16, "s32", a, b, false, 0}, shape{32, "s32", a, b, false, 0}, shape{32, "s32", a, b, true, 1}, shape{64, "s32", a, b, true, 0})
		}
	}
	for _, s := range shapes {
		ea, eb := elements[s.a], elements[s.b]
		stored := s.k
		kind := ""
		if s.sparse {
			stored, kind = s.k/2, ".sp"
		}
		na, nb, nd := 16*stored*ea.bits/32/32, 8*s.k*eb.bits/32/32, 4
		if s.d == "f16" {
			nd = 2
		}
		name := fmt.Sprintf("mma%s.sync.aligned.m16n8k%d.row.col.%s.%s.%s.%s", kind, s.k, s.d, s.a, s.b, s.d)
		r := random(name)
		words := func(i int) uint32 {
			switch {
			case i < na:
				return ea.word(r)
			case i < na+nb:
				return eb.word(r)
			case i < na+nb+nd:
				v := r.IntN(100) - 50
				switch s.d {
				case "s32":
					return uint32(int32(v))
				case "f16":
					return uint32(narrow.F16.Encode(float32(v))) | uint32(narrow.F16.Encode(float32(v+1)))<<16
				}
				return f32bits(float32(v))
			}
			return metadata(r, ea)
		}
		op := fmt.Sprintf("%s %s, %s, %s, %s", name, list("r", 32, nd), list("r", 0, na), list("r", na, nb), list("r", na+nb, nd))
		if s.sparse {
			op += fmt.Sprintf(", %%r%d, %d", na+nb+nd, s.sel)
			name += fmt.Sprintf(" selector %d", s.sel)
		}
		p := template{name: name, threads: 32, in: na + nb + nd + 1, out: nd, regs: 40, family: "mma", words: words,
			code: load("r", 0, na+nb+nd+1) + op + ";" + store(32, nd)}.program()
		ps = append(ps, p)
	}
	return ps
}

// variant is a wgmma and how its operands lie in shared memory.
type variant struct {
	n             int
	swizzle       int // span of the rows of A and B in bytes
	sparse, regs  bool
	sel           int
	transA, trans bool
	step          int // bytes along K from the start of a row
	scaleD, neg   bool
	d, a, b       string
}

// warpgroupPrograms ask wgmma the same, and how it reads shared memory.
func warpgroupPrograms() []Program {
	var ps []Program
	var vs []variant
	for _, swizzle := range []int{16, 32, 64, 128} {
		for step := 0; step < max(swizzle, 32); step += 32 {
			vs = append(vs, variant{n: 16, swizzle: swizzle, step: step, scaleD: true, d: "f32", a: "bf16", b: "bf16"})
		}
		vs = append(vs,
			variant{n: 8, swizzle: swizzle, scaleD: true, d: "s32", a: "s8", b: "s8"},
			variant{n: 16, swizzle: swizzle, scaleD: true, sparse: true, sel: 0, d: "f32", a: "f16", b: "f16"},
			variant{n: 16, swizzle: swizzle, scaleD: true, sparse: true, sel: 1, d: "f32", a: "bf16", b: "bf16"},
			variant{n: 8, swizzle: swizzle, scaleD: true, sparse: true, d: "s32", a: "u8", b: "s8"},
			variant{n: 8, swizzle: swizzle, scaleD: true, sparse: true, d: "f32", a: "e4m3", b: "e5m2"})
		if swizzle > 16 {
			vs = append(vs,
				variant{n: 16 + swizzle/2, swizzle: swizzle, scaleD: true, transA: true, trans: true, d: "f32", a: "f16", b: "f16"},
				variant{n: 16, swizzle: swizzle, scaleD: true, transA: true, d: "f32", a: "bf16", b: "bf16"})
		}
	}
	vs = append(vs,
		variant{n: 16, swizzle: 32, scaleD: true, trans: true, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 16, swizzle: 16, scaleD: true, transA: true, trans: true, d: "f32", a: "f16", b: "f16"},
		variant{n: 16, swizzle: 128, regs: true, scaleD: true, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 8, swizzle: 64, regs: true, scaleD: true, d: "f32", a: "e4m3", b: "e4m3"},
		variant{n: 8, swizzle: 64, regs: true, scaleD: true, d: "s32", a: "s8", b: "u8"},
		variant{n: 8, swizzle: 128, regs: true, sparse: true, sel: 1, scaleD: true, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 8, swizzle: 128, regs: true, sparse: true, scaleD: true, d: "s32", a: "s8", b: "s8"},
		variant{n: 8, swizzle: 128, regs: true, scaleD: true, trans: true, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 16, swizzle: 128, scaleD: false, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 16, swizzle: 128, scaleD: true, neg: true, d: "f32", a: "bf16", b: "bf16"},
		variant{n: 16, swizzle: 128, scaleD: true, d: "f16", a: "f16", b: "f16"},
		variant{n: 8, swizzle: 64, scaleD: true, d: "f16", a: "e4m3", b: "e5m2"},
		variant{n: 24, swizzle: 128, scaleD: true, d: "f32", a: "tf32", b: "tf32"},
		variant{n: 8, swizzle: 128, scaleD: true, sparse: true, sel: 0, d: "f32", a: "tf32", b: "tf32"},
		variant{n: 8, swizzle: 128, scaleD: true, sparse: true, sel: 1, d: "f32", a: "tf32", b: "tf32"},
		variant{n: 40, swizzle: 128, scaleD: true, d: "f32", a: "bf16", b: "bf16"},
	)
	for _, v := range vs {
		ps = append(ps, func() Program {
			ea, eb := elements[v.a], elements[v.b]
			k := 256 / ea.bits // dense
			kind := ""
			if v.sparse {
				k, kind = 2*k, ".sp"
			}
			op := fmt.Sprintf("wgmma.mma_async%s.sync.aligned.m64n%dk%d.%s.%s.%s", kind, v.n, k, v.d, v.a, v.b)
			name := fmt.Sprintf("%s swizzle %d step %d", op, v.swizzle, v.step)
			if v.regs {
				name += " A in registers"
			}
			if v.sparse {
				name += fmt.Sprintf(" selector %d", v.sel)
			}
			name += fmt.Sprintf(" transposed %v %v scale %v negated %v", v.transA, v.trans, v.scaleD, v.neg)
			nd := v.n / 2
			if v.d == "f16" {
				nd /= 2
			}
			r := random(name)
			const spaceA = 16384
			words := func(i int) uint32 {
				switch {
				case i < nd:
					c := r.IntN(100) - 50
					switch v.d {
					case "s32":
						return uint32(int32(c))
					case "f16":
						return uint32(narrow.F16.Encode(float32(c))) | uint32(narrow.F16.Encode(float32(c-1)))<<16
					}
					return f32bits(float32(c))
				case i < nd+4:
					return ea.word(r)
				}
				return metadata(r, ea)
			}
			var b strings.Builder
			b.WriteString(load("r", 0, nd+5))
			sa, sb := v.descriptor(ea, 64, v.transA), v.descriptor(eb, v.n, v.trans)
			fmt.Fprintf(&b, "add.u32 %%u6, %%s, %d; and.b32 %%u6, %%u6, 0x3ffff; shr.u32 %%u6, %%u6, 4; cvt.u64.u32 %%d4, %%u6; or.b64 %%d4, %%d4, %#x;", v.step, sa)
			fmt.Fprintf(&b, "add.u32 %%u6, %%s, %d; and.b32 %%u6, %%u6, 0x3ffff; shr.u32 %%u6, %%u6, 4; cvt.u64.u32 %%d5, %%u6; or.b64 %%d5, %%d5, %#x;", spaceA+v.step, sb)
			a := "%d4"
			if v.regs {
				a = list("r", nd, 4)
			}
			tail := ""
			if v.sparse {
				tail += fmt.Sprintf(", %%r%d, %d", nd+4, v.sel)
			}
			tail += map[bool]string{true: ", 1", false: ", 0"}[v.scaleD]
			if v.d != "s32" {
				tail += map[bool]string{true: ", -1, 1", false: ", 1, 1"}[v.neg]
			}
			if ea.bits == 16 {
				if !v.regs {
					tail += bit(v.transA)
				}
				tail += bit(v.trans)
			}
			fmt.Fprintf(&b, "wgmma.fence.sync.aligned; %s %s, %s, %%d5%s; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;", op, list("r", 0, nd), a, tail)
			b.WriteString(store(0, nd))
			at, pixel := 0, uint32(0)
			pixels := func() byte { // elements of A, then of B
				e := ea
				if at >= spaceA {
					e = eb
				}
				size := e.bits / 8
				if at%size == 0 {
					pixel = e.code(r)
				}
				p := byte(pixel >> (8 * (at % size)))
				at++
				return p
			}
			return template{name: name, threads: 128, image: spaceA + max(8192, v.n*v.swizzle*2), in: nd + 5, out: nd, regs: nd + 8, words: words, pixels: pixels, code: b.String(), family: "wgmma"}.program()
		}())
	}
	return ps
}

// descriptor is the matrix descriptor of an operand of mn rows without its address.
func (v variant) descriptor(e element, mn int, trans bool) uint64 {
	lbo, sbo := 16, 8*v.swizzle
	switch k := 256 / e.bits; {
	case trans: // rows are of K, in groups of 8; a span holds some of MN
		if v.sparse {
			k *= 2
		}
		lbo = k * v.swizzle
	case v.swizzle == 16: // groups of 8 rows, then chunks of K
		lbo = mn * 16
	}
	code := map[int]uint64{16: 0, 32: 3, 64: 2, 128: 1}[v.swizzle]
	return uint64(lbo>>4)<<16 | uint64(sbo>>4)<<32 | code<<62
}

func bit(b bool) string {
	if b {
		return ", 1"
	}
	return ", 0"
}

func f32bits(v float32) uint32 { return math.Float32bits(v) }
