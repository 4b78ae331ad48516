package probe

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// style is what random operands of an instruction look like.
type style uint8

const (
	floats  style = iota // f32 of all kinds, many that round to a tie
	angles               // f32 in [-3, 3]
	normals              // f32 of moderate size
	halves               // two f16
	brains               // two bf16
	bytes8               // bytes, e4m3 or e5m2
	ints                 // whole numbers, many small or at a limit
)

// operation is an instruction on the 32-bit words %a, %b and %c that gives %d; %h
// and %p are scratch registers of 16 bits and predicates, %w of 64 bits.
type operation struct {
	code  string
	style style
	near  *Near
}

func relative(bits int) *Near {
	return &Near{DType: gpu.F32, Relative: math.Ldexp(1, -bits), Absolute: math.Ldexp(1, -126)}
}

func absolute(bits int) *Near {
	return &Near{DType: gpu.F32, Relative: math.Ldexp(1, -bits), Absolute: math.Ldexp(1, -bits)}
}

var operations = []operation{
	{"{add,sub,mul}.{rn,rz,rm,rp}.f32 %d, %a, %b;", floats, nil},
	{"{add,mul}.rn{.ftz,.sat,.ftz.sat}.f32 %d, %a, %b;", floats, nil},
	{"fma.{rn,rz,rm,rp}.f32 %d, %a, %b, %c;", floats, nil},
	{"fma.rn{.ftz,.sat}.f32 %d, %a, %b, %c;", floats, nil},
	{"{min,max}{.NaN,}.f32 %d, %a, %b;", floats, nil},
	{"{abs,neg}{.ftz,}.f32 %d, %a;", floats, nil},
	{"copysign.f32 %d, %a, %b;", floats, nil},
	{"div.rn{.ftz,}.f32 %d, %a, %b;", floats, nil},
	{"{sqrt,rcp}.rn.f32 %d, %a;", floats, nil},
	{"setp.{ltu,geu,neu,num,nan}.f32 %p0, %a, %b; selp.b32 %d, 1, 2, %p0;", floats, nil},
	{"testp.{normal,subnormal,infinite}.f32 %p0, %a; selp.b32 %d, 1, 2, %p0;", floats, nil},
	{"set.gt.u32.f32 %d, %a, %b;", floats, nil},
	{"set.le.f32.f32 %d, %a, %b;", floats, nil},
	{"ex2.approx.ftz.f32 %d, %a;", floats, relative(21)},
	{"rcp.approx{.ftz,}.f32 %d, %a;", floats, relative(22)},
	{"{sqrt,rsqrt}.approx.ftz.f32 %d, %a;", floats, relative(21)},
	{"lg2.approx.ftz.f32 %d, %a;", normals, absolute(21)},
	{"{sin,cos}.approx.f32 %d, %a;", angles, absolute(20)},
	{"tanh.approx.f32 %d, %a;", floats, relative(10)},
	{"div.{full,approx}.f32 %d, %a, %b;", normals, relative(21)},

	{"cvt.{rn,rz}{.relu,}.{bf16x2,f16x2}.f32 %d, %a, %b;", floats, nil},
	{"cvt.{rn,rz}.{bf16,f16}.f32 %h0, %a; cvt.u32.u16 %d, %h0;", floats, nil},
	{"cvt.rn.sat.f16.f32 %h0, %a; cvt.u32.u16 %d, %h0;", floats, nil},
	{"cvt.rna.tf32.f32 %d, %a;", floats, nil},
	{"cvt.rn.satfinite{.relu,}.{e4m3x2,e5m2x2}.f32 %h0, %a, %b; cvt.u32.u16 %d, %h0;", floats, nil},
	{"cvt.rn.satfinite.{e4m3x2,e5m2x2}.f16x2 %h0, %a; cvt.u32.u16 %d, %h0;", halves, nil},
	{"cvt.u16.u32 %h0, %a; cvt.rn{.relu,}.f16x2.{e4m3x2,e5m2x2} %d, %h0;", bytes8, nil},
	{"cvt.u16.u32 %h0, %a; cvt.f32.{f16,bf16} %d, %h0;", halves, nil},
	{"cvt.{rni,rzi,rmi,rpi}.s32.f32 %d, %a;", floats, nil},
	{"cvt.{rni,rzi}.u32.f32 %d, %a;", floats, nil},
	{"cvt.rni.sat.s8.f32 %d, %a; and.b32 %d, %d, 255;", normals, nil},
	{"cvt.{rni,rzi,rmi,rpi}.f32.f32 %d, %a;", normals, nil},
	{"cvt.{rn,rz,rm,rp}.f32.{s32,u32} %d, %a;", ints, nil},
	{"cvt.u16.u32 %h0, %a; cvt.rn.f16.s16 %h1, %h0; cvt.u32.u16 %d, %h1;", ints, nil},
	{"cvt.s32.s8 %d, %a;", ints, nil},
	{"cvt.sat.s8.s32 %d, %a; and.b32 %d, %d, 255;", ints, nil},
	{"cvt.pack.sat.{s16,u16}.s32 %d, %a, %b;", ints, nil},
	{"cvt.pack.sat.{s8,u8}.s32.b32 %d, %a, %b, %c;", ints, nil},

	{"{add,sub,mul}.rn.{f16x2,bf16x2} %d, %a, %b;", halves, nil},
	{"fma.rn.{f16x2,bf16x2} %d, %a, %b, %c;", brains, nil},
	{"fma.rn.relu.bf16x2 %d, %a, %b, %c;", brains, nil},
	{"{min,max}{.NaN,}.{f16x2,bf16x2} %d, %a, %b;", halves, nil},
	{"{abs,neg}.{f16x2,bf16x2} %d, %a;", halves, nil},

	{"{add,sub}.sat.s32 %d, %a, %b;", ints, nil},
	{"{min,max}.{s32,u32} %d, %a, %b;", ints, nil},
	{"or.b32 %e, %b, 1; {div,rem}.{s32,u32} %d, %a, %e;", ints, nil},
	{"mul.hi.{s32,u32} %d, %a, %b;", ints, nil},
	{"mad.{lo,hi}.s32 %d, %a, %b, %c;", ints, nil},
	{"mul24.lo.s32 %d, %a, %b;", ints, nil},
	{"mad24.lo.s32 %d, %a, %b, %c;", ints, nil},
	{"mul.wide.s32 %w0, %a, %b; mov.b64 {%e, %d}, %w0;", ints, nil},
	{"add.cc.u32 %e, %a, %b; addc.u32 %d, %c, 0;", ints, nil},
	{"sub.cc.u32 %e, %a, %b; subc.u32 %d, %c, 0;", ints, nil},
	{"sad.s32 %d, %a, %b, %c;", ints, nil},
	{"dp4a.{s32,u32}.{s32,u32} %d, %a, %b, %c;", ints, nil},
	{"dp2a.lo.s32.s32 %d, %a, %b, %c;", ints, nil},
	{"{shl.b32,shr.u32,shr.s32} %d, %a, %c;", ints, nil},
	{"shf.{l,r}.{wrap,clamp}.b32 %d, %a, %b, %c;", ints, nil},
	{"bfe.{u32,s32} %d, %a, %e, %c;", ints, nil},
	{"bfi.b32 %d, %a, %b, %e, %c;", ints, nil},
	{"bmsk.{clamp,wrap}.b32 %d, %a, %c;", ints, nil},
	{"szext.{clamp,wrap}.{u32,s32} %d, %a, %c;", ints, nil},
	{"{popc,clz,brev,not,cnot}.b32 %d, %a;", ints, nil},
	{"bfind{.shiftamt,}.{u32,s32} %d, %a;", ints, nil},
	{"lop3.b32 %d, %a, %b, %c, {232,150,42};", ints, nil},
	{"prmt.b32{.f4e,.b4e,.rc8,.ecl,.ecr,.rc16,} %d, %a, %b, %c;", ints, nil},
	{"setp.{lo,hs}.u32 %p0, %a, %b; selp.b32 %d, 1, 2, %p0;", ints, nil},
	{"slct.u32.s32 %d, %a, %b, %c;", ints, nil},
}

// expand replaces braces by each of their alternatives; "{a,}" has an empty one.
func expand(s string) []string {
	from := strings.Index(s, "{")
	if from < 0 || strings.HasPrefix(s[from:], "{%") {
		return []string{s}
	}
	to := from + strings.Index(s[from:], "}")
	var out []string
	for _, alt := range strings.Split(s[from+1:to], ",") {
		out = append(out, expand(s[:from]+alt+s[to+1:])...)
	}
	return out
}

const (
	header = `.version 8.4
.target sm_90a
.address_size 64
`
	elementThreads = 56
)

func arithmetic() []Program {
	var ps []Program
	for _, o := range operations {
		for _, code := range expand(o.code) {
			name := strings.NewReplacer("%", "", ";", "", ",", "", "{", "", "}", "").Replace(code)
			style := o.style
			if strings.Contains(code, "bf16x2") && style == halves {
				style = brains
			}
			p := elementwise(strings.TrimSpace(name), code, style)
			p.Near = o.near
			ps = append(ps, p)
		}
	}
	return ps
}

// elementwise is a program in which every thread computes a word of three.
func elementwise(name, code string, s style) Program {
	r := random(name)
	var in []byte
	for range elementThreads {
		for range 3 {
			in = binary.LittleEndian.AppendUint32(in, s.draw(r))
		}
	}
	code = strings.NewReplacer("%a", "%r0", "%b", "%r1", "%c", "%r2", "%d", "%r3", "%e", "%r4").Replace(code)
	return Program{
		Name: name, Entry: "k", Family: "element",
		PTX: header + fmt.Sprintf(`.visible .entry k(
	.param .u64 x,
	.param .u64 y
)
.reqntid %d, 1, 1
{
	.reg .pred %%p<4>;
	.reg .b16 %%h<4>;
	.reg .b32 %%r<8>;
	.reg .b64 %%w<2>;
	.reg .b64 %%rd<4>;
	ld.param.u64 %%rd0, [x];
	ld.param.u64 %%rd1, [y];
	mov.u32 %%r5, %%tid.x;
	mad.wide.u32 %%rd0, %%r5, 12, %%rd0;
	mad.wide.u32 %%rd1, %%r5, 4, %%rd1;
	ld.global.b32 %%r0, [%%rd0];
	ld.global.b32 %%r1, [%%rd0+4];
	ld.global.b32 %%r2, [%%rd0+8];
	shr.u32 %%r4, %%r1, 3;
	%s
	st.global.b32 [%%rd1], %%r3;
	ret;
}
`, elementThreads, strings.ReplaceAll(code, "; ", ";\n\t")),
		Launch: launch(1, elementThreads, 0, len(in), 4*elementThreads),
		In:     map[gpu.Buffer][]byte{gpu.X: in},
	}
}

// launch is one of blocks of threads with the addresses of x and y.
func launch(blocks, threads, shared, x, y int) gpu.Launch {
	ax, ay := gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0)
	ax.Bytes, ay.Bytes = uint64(x), uint64(y)
	return gpu.Launch{Grid: [3]uint32{uint32(blocks), 1, 1}, Block: [3]uint32{uint32(threads), 1, 1}, Shared: uint32(shared), Args: []gpu.Arg{ax, ay}}
}

// draw is a random operand.
func (s style) draw(r *rand.Rand) uint32 {
	switch s {
	case angles:
		return math.Float32bits(float32(r.Float64()*6 - 3))
	case normals:
		return math.Float32bits(float32(r.NormFloat64() * math.Exp2(float64(r.IntN(12)))))
	case halves:
		return half(r, 5, 10) | half(r, 5, 10)<<16
	case brains:
		return half(r, 8, 7) | half(r, 8, 7)<<16
	case bytes8:
		return r.Uint32()
	case ints:
		switch r.IntN(4) {
		case 0:
			return uint32(r.IntN(80)) // shift amounts
		case 1:
			return []uint32{1, 0xffffffff, 0x80000000, 0x7fffffff, 0x8000, 0x7fff, 0xff80, 255, 3}[r.IntN(9)]
		case 2:
			return uint32(int32(r.IntN(2000)-1000)) | 1
		}
		return r.Uint32() | 1
	}
	return float(r)
}

// half is a float of 16 bits: one in eight is special.
func half(r *rand.Rand, exponent, mantissa int) uint32 {
	if r.IntN(8) == 0 {
		return r.Uint32() & 0xffff
	}
	e := 1<<(exponent-1) - 1 + r.IntN(12) - 6
	return uint32(r.IntN(2))<<15 | uint32(e)<<mantissa | r.Uint32()&(1<<mantissa-1)
}

// float is an f32 of any kind: random bits, moderate numbers, ties of the narrow
// formats, subnormals and the special values.
func float(r *rand.Rand) uint32 {
	sign := uint32(r.IntN(2)) << 31
	switch r.IntN(10) {
	case 0:
		return []uint32{0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f800000, 0x7f7fffff, 1, 0x477fe000, 0x477ff000, 0x43e00000, 0x43e80000, 0x47600000}[r.IntN(13)]
	case 1:
		return sign | r.Uint32()&0x7fffff // subnormal
	case 2:
		return r.Uint32()
	case 3, 4, 5: // few bits below the mantissa of a narrow format
		e := uint32(127 + r.IntN(40) - 24)
		drop := []uint32{13, 16, 20, 21}[r.IntN(4)]
		m := r.Uint32() & 0x7fffff &^ (1<<drop - 1)
		return sign | e<<23 | m | []uint32{0, 1 << (drop - 1), 1<<(drop-1) + 1, 1<<(drop-1) - 1}[r.IntN(4)]
	}
	return sign | uint32(127+r.IntN(30)-15)<<23 | r.Uint32()&0x7fffff
}
