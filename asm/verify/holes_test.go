package verify_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/asm/verify"
)

// The contracts that the listings below are held against.
var (
	// 32 bytes of y are written; x has n of them, at least 8.
	vector = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "32", Write: true}},
		{Name: "x", Size: 8, Memory: &verify.Region{Len: "n"}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 8}},
	}}
	// y has three vectors, of which a caller's n says nothing.
	three = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "96", Write: true}},
		{Name: "x", Size: 8, Memory: &verify.Region{Len: "32", Align: 32}},
		{Name: "n", Size: 8, Integer: &verify.Integer{}},
	}}
	// y has one float32 or two, as n says.
	short = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4*n", Write: true}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 1}},
	}, Facts: []string{"2 - n"}}
	// The row of y that rows names is written, of those that there are.
	named = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Rows: "outs", Stride: "ld", Len: "32", Write: true, Cover: "1", By: "rows"}},
		{Name: "rows", Size: 8, Memory: &verify.Region{Len: "4", Elem: 4, Below: "outs"}},
		{Name: "ld", Size: 8, Integer: &verify.Integer{}},
	}, Symbols: []verify.Integer{{Name: "outs", Min: 1}}}
	// idx has n indices into x, and y one float32.
	indexed = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4", Write: true}},
		{Name: "x", Size: 8, Memory: &verify.Region{Len: "4*k"}},
		{Name: "idx", Size: 8, Memory: &verify.Region{Len: "8*n", Elem: 1, Below: "k"}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 1}},
	}, Symbols: []verify.Integer{{Name: "k", Min: 1}}}
	// cnt has n counts, whose sum is the bytes of w.
	counted = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4", Write: true}},
		{Name: "w", Size: 8, Memory: &verify.Region{Len: "4*entries"}},
		{Name: "cnt", Size: 8, Memory: &verify.Region{Len: "4*n", Elem: 4}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 2}},
	}, Sums: []verify.Sum{{Name: "entries", Of: "cnt", Rows: "n", Width: 4, Weights: []int64{1}}}}
	// Of each of n masks of 32 bits, w has a float32 for each bit set, and one more at the
	// end; cnt has their numbers. t has 29 bytes, u 256.
	masked = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4", Write: true}},
		{Name: "w", Size: 8, Memory: &verify.Region{Len: "4*stored + 4"}},
		{Name: "meta", Size: 8, Memory: &verify.Region{Len: "4*n"}},
		{Name: "cnt", Size: 8, Memory: &verify.Region{Len: "4*n", Elem: 4}},
		{Name: "t", Size: 8, Memory: &verify.Region{Len: "29"}},
		{Name: "u", Size: 8, Memory: &verify.Region{Len: "256"}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 2}},
	}, Sums: []verify.Sum{
		{Name: "stored", Of: "meta", Rows: "4*n", Bits: true},
		{Name: "values", Of: "cnt", Rows: "n", Width: 4, Weights: []int64{1}, Same: "stored", Each: "4"},
	}}
	// Steps of groups of eight are summed up in place 7 and stay below k, beginning
	// anew n times.
	walked = verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4", Write: true}},
		{Name: "x", Size: 8, Memory: &verify.Region{Len: "4*k"}},
		{Name: "steps", Size: 8, Memory: &verify.Region{Len: "8*groups", Elem: 1}},
		{Name: "cnt", Size: 8, Memory: &verify.Region{Len: "4*n", Elem: 4}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 1}},
	},
		Symbols: []verify.Integer{{Name: "k", Min: 1}},
		Sums:    []verify.Sum{{Name: "groups", Of: "cnt", Rows: "n", Width: 4, Weights: []int64{1}}},
		Walks:   []verify.Walk{{Of: "steps", Rows: "groups", Period: 8, One: true, Carry: 7, Below: "k"}}}
)

// ramp is eight lanes of ones and eight of zeros.
const ramp = "DATA ramp<>+0(SB)/8, $0xffffffffffffffff\nDATA ramp<>+8(SB)/8, $0xffffffffffffffff\n" +
	"DATA ramp<>+16(SB)/8, $0xffffffffffffffff\nDATA ramp<>+24(SB)/8, $0xffffffffffffffff\n" +
	"DATA ramp<>+32(SB)/8, $0\nDATA ramp<>+40(SB)/8, $0\nDATA ramp<>+48(SB)/8, $0\nDATA ramp<>+56(SB)/8, $0\nGLOBL ramp<>(SB), RODATA|NOPTR, $64\n"

// holes are listings that do what they must not, in ways that the analysis did
// not see at some time. Each is a listing that is proved, with the lines in
// place of <>: what is right, and then what is wrong and why.
var holes = []struct {
	name        string
	contract    verify.Contract
	frame       string
	text        string
	right       string
	wrong, want string
}{
	{"a store to a row that nothing names goes unnoticed", named, "24",
		"MOVQ y+0(FP), AX; MOVQ rows+8(FP), CX; MOVL (CX), CX; IMULQ ld+16(FP), CX; ADDQ AX, CX; VXORPS Y0, Y0, Y0; @; VMOVUPS Y0, (CX); VZEROUPPER",
		"NOP0", "VMOVUPS Y0, (AX)", "written"},
	{"a store under an unknown mask counts as whole", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; VMOVUPS @, Y1; VMASKMOVPS Y0, Y1, (AX); VZEROUPPER",
		"ramp<>+0(SB)", "(AX)", "written"},
	{"a mask of four lanes counts as one of eight", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; VMOVUPS ramp<>+0(SB), @; VMASKMOVPS Y0, Y1, (AX); VZEROUPPER",
		"Y1", "X1", "written"},
	{"a mask survives VZEROUPPER", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; VMOVUPS ramp<>+0(SB), Y1; @; VMASKMOVPS Y0, Y1, (AX); VZEROUPPER",
		"NOP0", "VZEROUPPER", "written"},
	{"a mask survives VZEROUPPER in a loop", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ n+16(FP), CX; VXORPS Y0, Y0, Y0; VMOVUPS ramp<>+0(SB), Y1; again:; @; DECQ CX; JNZ again; VMASKMOVPS Y0, Y1, (AX); VZEROUPPER",
		"NOP0", "VZEROUPPER", "written"},
	{"a mask that may be none counts as the rest", short, "16",
		"MOVQ y+0(FP), AX; MOVQ n+8(FP), CX; @; MOVQ $0, DX; CMPQ DX, CX; CMOVQGT DX, CX; MOVQ $-1, DX; BZHIQ CX, DX, DX; KMOVW DX, K1; VXORPS X0, X0, X0; VMOVUPS X0, K1, (AX)",
		"NOP0", "ADDQ CX, CX; ADDQ $-2, CX", "written|not proved"},
	{"twice here and never there is as good as once", three, "24",
		"MOVQ y+0(FP), AX; MOVQ n+16(FP), CX; VXORPS Y0, Y0, Y0; TESTQ CX, CX; JZ other; VMOVUPS Y0, (AX); VMOVUPS Y0, 64(AX); JMP both; other:; VMOVUPS Y0, (AX); VMOVUPS Y0, @(AX); both:; VMOVUPS Y0, 32(AX); VZEROUPPER",
		"64", "0", "written"},
	{"an increment of memory goes unnoticed", three, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VMOVUPS Y0, 32(AX); VMOVUPS Y0, 64(AX); @; VZEROUPPER",
		"NOP0", "INCQ (AX)", "written"},
	{"an increment of memory touches nothing", three, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VMOVUPS Y0, 32(AX); VMOVUPS Y0, 64(AX); @; VZEROUPPER",
		"NOP0", "NEGQ 96(AX)", `\[96, 104\) of y`},
	{"a mask from memory touches nothing", three, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; KMOVW @(CX), K1; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VMOVUPS Y0, 32(AX); VMOVUPS Y0, 64(AX); VZEROUPPER",
		"30", "31", `\[31, 33\) of x`},
	{"half a vector counts as whole", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; @; VZEROUPPER",
		"VMOVUPS Y0, (AX)", "VEXTRACTF128 $0x01, Y0, (AX)", "written"},
	{"a shift by nothing sets flags", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), CX; MOVQ $0, DX; TESTQ DX, DX; @; JZ none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"TESTQ CX, CX", "SHLQ $0, CX", "written"},
	{"a shift sets the sign", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), CX; SHLQ $2, CX; @ none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"JZ", "JLE", "written"},
	{"a product wraps around", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), CX; @; TESTQ CX, CX; JZ none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"SHLQ $2, CX", "SHLQ $24, CX; SHLQ $24, CX", "written"},
	{"a product of three sizes wraps around", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), CX; MOVQ CX, DX; IMULQ DX, CX; @; TESTQ CX, CX; JZ none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"NOP0", "IMULQ DX, CX", "written"},
	{"a product of three sizes is not negative", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), CX; MOVQ CX, DX; IMULQ DX, CX; @; TESTQ CX, CX; JLT none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"NOP0", "IMULQ DX, CX", "written"},
	{"a constant wraps around", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ @, CX; ADDQ $1, CX; JLT none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"$0x7fffffff", "$0x7fffffffffffffff", "written"},
	{"the low half of -1 is -1", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; @ $-1, DX; MOVBLZX 1(CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"MOVQ", "MOVL", "of which nothing is known"},
	{"the low byte of an argument is the argument", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; @ n+16(FP), CX; TESTQ CX, CX; JZ none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"MOVQ", "MOVBLZX", "written"},
	{"a byte beyond what BEXTRL sees is one of memory", indexed, "32",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ idx+16(FP), DX; MOVQ (DX), DX; MOVQ $@, BX; BEXTRL BX, DX, DX; VMOVSS (CX)(DX*4), X0; VMOVSS X0, (AX)",
		"0x818", "0x820", "of which nothing is known"},
	{"a byte that was shifted out is one of memory", indexed, "32",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ idx+16(FP), DX; MOVQ (DX), DX; SHRQ $0x20, DX; SHRQ $@, DX; MOVBLZX DX, DX; VMOVSS (CX)(DX*4), X0; VMOVSS X0, (AX)",
		"0x18", "0x20", "of which nothing is known"},
	{"an index is scaled beyond its elements", indexed, "32",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ idx+16(FP), DX; MOVBLZX (DX), DX; VMOVSS (CX)(DX*@), X0; VMOVSS X0, (AX)",
		"4", "8", "not proved to lie within"},
	{"an index of another width", indexed, "32",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ idx+16(FP), DX; @ (DX), DX; VMOVSS (CX)(DX*4), X0; VMOVSS X0, (AX)",
		"MOVBLZX", "MOVWLZX", "not proved to lie within"},
	{"an index that was read as a number is none", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ @, DX; MOVBLZX (CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"$7", "(CX)", "nothing is known"},
	{"a pointer is no index of another", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ @, DX; MOVBLZX (CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"$7", "AX", "nothing is known"},
	{"a pointer to what may be nothing is not nil", counted, "32",
		"MOVQ y+0(FP), AX; MOVQ @, CX; VXORPS X0, X0, X0; TESTQ CX, CX; JZ none; VMOVSS X0, (AX); none:",
		"n+24(FP)", "w+8(FP)", "written"},
	{"a move by a comparison that is past", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ n+16(FP), DX; ADDQ $-20, DX; MOVQ $7, BX; CMPQ BX, DX; @; CMOVQLT BX, DX; MOVQ $0, BX; CMPQ BX, DX; CMOVQGT BX, DX; MOVBLZX (CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"NOP0", "ADDQ $1, CX", "not proved|nothing is known"},
	{"a move by a comparison on one of two ways", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ n+16(FP), DX; MOVQ DX, SI; ADDQ $-20, DX; MOVQ $7, BX; CMPQ SI, $30; JLT one; CMPQ SI, DX; JMP both; one:; CMPQ BX, DX; both:; @; CMOVQLT BX, DX; MOVQ $0, BX; CMPQ BX, DX; CMOVQGT BX, DX; MOVBLZX (CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"CMPQ BX, DX", "", "nothing is known"},
	{"memory is aligned to nothing", three, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; VMOVAPS (CX), Y0; VMOVUPS Y0, (AX); VMOVUPS Y0, 32(AX); @ Y0, 64(AX); VZEROUPPER",
		"VMOVUPS", "VMOVAPS", "multiple of 32"},
	{"a table is aligned", vector, "24",
		"MOVQ y+0(FP), AX; @ ramp<>+0(SB), Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"VMOVUPS", "VMOVAPS", "multiple of 32"},
	{"an instruction hides behind a label", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; here: @; VMOVUPS Y0, (AX); VZEROUPPER",
		"", "MOVQ $0, AX", "behind a label"},
	{"the preprocessor hides an instruction", vector, "24",
		"MOVQ y+0(FP), AX; @; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		`#include "textflag.h"`, "#define AX CX", "no such instruction"},
	{"an argument's address is that of a table", vector, "24",
		"MOVQ y+0(FP), AX; @, CX; VMOVUPS (CX), Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"LEAQ ramp<>+0(SB)", "LEAQ ramp+8(FP)", "nothing is known"},
	{"what an output holds stays", indexed, "32",
		"MOVQ y+0(FP), AX; MOVQ n+24(FP), BX; MOVQ idx+16(FP), DI; MOVL (@), DX; MOVQ DX, SI; VXORPS X0, X0, X0; CMPQ SI, BX; JGE out; VMOVSS X0, (AX); MOVL (@), DX; MOVBLZX (DI)(DX*1), DX; JMP end; out:; VMOVSS X0, (AX); end:",
		"DI", "AX", "nothing is known"},
	{"a lane that a mask leaves out is of no register", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ n+16(FP), CX; KMOVW CX, K1; VXORPS Y0, Y0, Y0; VADDPS Y0, Y0, @; VMOVUPS Y1, (AX); VZEROUPPER",
		"Y1", "K1, Y1", "vector register 1"},
	{"a mask goes into a reserved register", vector, "24",
		"MOVQ y+0(FP), AX; KMOVW AX, K1; KMOVW K1, @; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"R14", "R15", "R15"},
	{"counts are summed up from a byte within one", counted, "32",
		"MOVQ y+0(FP), AX; MOVQ w+8(FP), CX; MOVQ cnt+16(FP), DX; MOVQ n+24(FP), BX; DECQ BX; VXORPS X0, X0, X0; slab:; MOVL @(DX), SI; ADDQ $4, DX; TESTQ SI, SI; JZ none; entry:; VADDSS (CX), X0, X0; ADDQ $4, CX; DECQ SI; JNZ entry; none:; DECQ BX; JNZ slab; VMOVSS X0, (AX)",
		"0", "2", "not proved to lie within"},
	{"a walk is carried in another place", walked, "40",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ steps+16(FP), DX; MOVQ cnt+24(FP), R8; MOVQ n+32(FP), R9; VXORPS X0, X0, X0; slab:; MOVL (R8), BX; ADDQ $4, R8; MOVQ $0, SI; TESTQ BX, BX; JZ none; group:; MOVBLZX (DX), DI; ADDQ SI, DI; VADDSS (CX)(DI*4), X0, X0; MOVBLZX @(DX), DI; ADDQ DI, SI; ADDQ $8, DX; DECQ BX; JNZ group; none:; DECQ R9; JNZ slab; VMOVSS X0, (AX)",
		"7", "6", "not proved to lie within"},
	{"the values of other masks than those before", masked, "56",
		"MOVQ y+0(FP), AX; MOVQ w+8(FP), CX; MOVQ meta+16(FP), DX; MOVQ cnt+24(FP), BX; MOVQ n+48(FP), SI; LEAQ (DX)(SI*4), DX; DECQ SI; MOVQ $0, DI; more:; MOVL (BX), R8; ADDQ R8, DI; ADDQ $4, BX; DECQ SI; JNZ more; LEAQ (CX)(DI*4), CX; MOVL -@(DX), R8; POPCNTQ R8, R8; VMOVSS (CX)(R8*4), X0; VMOVSS X0, (AX)",
		"4", "8", "not proved to lie within"},
	{"more bits than are counted", masked, "56",
		"MOVQ y+0(FP), AX; MOVQ meta+16(FP), DX; MOVQ t+32(FP), CX; MOVL (DX), DX; MOVQ $@, BX; BZHIL BX, DX, DX; POPCNTQ DX, DX; MOVBLZX (CX)(DX*1), DX; VXORPS X0, X0, X0; VMOVSS X0, (AX)",
		"28", "29", "not proved to lie within"},
	{"a rotation that leaves no byte in its place", masked, "56",
		"MOVQ y+0(FP), AX; MOVQ meta+16(FP), DX; MOVQ u+40(FP), CX; MOVL (DX), DX; RORXL $@, DX, DX; ANDL $0xff, DX; MOVBLZX (CX)(DX*1), DX; VXORPS X0, X0, X0; VMOVSS X0, (AX)",
		"0x18", "0x17", "nothing is known"},
	{"a byte that is scaled beyond its table", masked, "56",
		"MOVQ y+0(FP), AX; MOVQ meta+16(FP), DX; MOVQ u+40(FP), CX; MOVL (DX), DX; @, DX; MOVBLZX (CX)(DX*1), DX; VXORPS X0, X0, X0; VMOVSS X0, (AX)",
		"RORXL $0x08, DX, DX; ANDL $0xff", "RORXL $0x07, DX, DX; ANDL $0x1fe", "not proved to lie within"},
	{"a pointer to one thing less another's is a number", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ @, DX; ADDQ $7, DX; SUBQ CX, DX; MOVBLZX (CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"CX", "AX", "nothing is known"},
	{"a number less a pointer is a number", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ @, DX; SUBQ AX, DX; MOVBLZX 7(CX)(DX*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"AX", "$0", "nothing is known"},
	{"a pointer is less than a number", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ @, CX; ADDQ $8, CX; CMPQ AX, CX; JGE none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"AX", "n+16(FP)", "written"},
	{"a move whose condition may be false is made", vector, "24",
		"MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ n+16(FP), DX; MOVQ DX, SI; MOVQ $7, BX; CMPQ DX, $@; CMOVQGE BX, SI; MOVBLZX (CX)(SI*1), DX; VXORPS Y0, Y0, Y0; VMOVUPS Y0, (AX); VZEROUPPER",
		"8", "9", "nothing is known"},
	{"the lesser of two is more than both are", vector, "24",
		"MOVQ y+0(FP), AX; VXORPS Y0, Y0, Y0; MOVQ n+16(FP), DX; MOVQ $@, BX; CMPQ BX, DX; CMOVQLT BX, DX; CMPQ DX, $4; JLE none; VMOVUPS Y0, (AX); none:; VZEROUPPER",
		"16", "4", "written"},
}

// proved reads text, whose instructions are apart by semicolons, and proves it.
func proved(c verify.Contract, frame, text string) error {
	text = strings.ReplaceAll(text, "NOP0", "")
	lines := strings.Split(text, "; ")
	l, err := amd64.ParseListing([]byte(ramp + "TEXT ·f(SB), NOSPLIT, $0-" + frame + "\n\t" + strings.Join(lines, "\n\t") + "\n\tRET\n"))
	if err != nil {
		return err
	}
	_, err = verify.Check(l.Funcs[0], &c, l.Tables)
	return err
}

func TestHoles(t *testing.T) {
	for _, h := range holes {
		t.Run(strings.ReplaceAll(h.name, " ", "_"), func(t *testing.T) {
			require.NoError(t, proved(h.contract, h.frame, strings.ReplaceAll(h.text, "@", h.right)), "what is right")
			err := proved(h.contract, h.frame, strings.ReplaceAll(h.text, "@", h.wrong))
			require.Error(t, err)
			require.Regexp(t, h.want, err.Error())
		})
	}
}
