package ptx

import "fmt"

// Warp-level matrix instructions: ldmatrix, stmatrix, mma.sync, mma.sp.

// frag is the shape and types of one mma: registers of A, B and C/D.
type frag struct {
	shape      string
	d, a, b, c string // types in the form
	acc        string // register type of C and D, and its count
	accN       int
	aN, bN     int
	need       need
}

func matrixFamilies() []family {
	fs := []family{
		{"ldmatrix.sync.aligned.m8n8.x1{,.trans}.shared{,::cta}.b16", "=b32*1 [s]", isa(78, 80)},
		{"ldmatrix.sync.aligned.m8n8.x2{,.trans}.shared{,::cta}.b16", "=b32*2 [s]", isa(78, 80)},
		{"ldmatrix.sync.aligned.m8n8.x4{,.trans}.shared{,::cta}.b16", "=b32*4 [s]", isa(78, 80)},
		{"stmatrix.sync.aligned.m8n8.x1{,.trans}.shared{,::cta}.b16", "[s] b32*1", need{78, SM90()}},
		{"stmatrix.sync.aligned.m8n8.x2{,.trans}.shared{,::cta}.b16", "[s] b32*2", need{78, SM90()}},
		{"stmatrix.sync.aligned.m8n8.x4{,.trans}.shared{,::cta}.b16", "[s] b32*4", need{78, SM90()}},
		{"movmatrix.sync.aligned.m8n8.trans.b16", "=b32 b32!", isa(78, 80)},
	}
	dense := []frag{
		{"m16n8k8", "f32", "bf16", "bf16", "f32", "f32", 4, 2, 1, any80},
		{"m16n8k16", "f32", "bf16", "bf16", "f32", "f32", 4, 4, 2, any80},
		{"m16n8k8", "f32", "f16", "f16", "f32", "f32", 4, 2, 1, any80},
		{"m16n8k16", "f32", "f16", "f16", "f32", "f32", 4, 4, 2, any80},
		{"m16n8k8", "f16", "f16", "f16", "f16", "b32", 2, 2, 1, any80},
		{"m16n8k16", "f16", "f16", "f16", "f16", "b32", 2, 4, 2, any80},
		{"m16n8k4", "f32", "tf32", "tf32", "f32", "f32", 4, 2, 1, any80},
		{"m16n8k8", "f32", "tf32", "tf32", "f32", "f32", 4, 4, 2, any80},
	}
	for _, a := range []string{"s8", "u8"} {
		for _, b := range []string{"s8", "u8"} {
			dense = append(dense,
				frag{"m16n8k16", "s32", a, b, "s32", "s32", 4, 2, 1, any80},
				frag{"m16n8k32", "s32", a, b, "s32", "s32", 4, 4, 2, any80})
		}
	}
	for _, a := range []string{"e4m3", "e5m2"} {
		for _, b := range []string{"e4m3", "e5m2"} {
			dense = append(dense, frag{"m16n8k32", "f32", a, b, "f32", "f32", 4, 4, 2, isa(84, 89)})
		}
	}
	for _, f := range dense {
		sat := ""
		if f.d == "s32" {
			sat = "{,.satfinite}"
		}
		fs = append(fs, family{
			fmt.Sprintf("mma.sync.aligned.%s.row.col%s.%s.%s.%s.%s", f.shape, sat, f.d, f.a, f.b, f.c),
			fmt.Sprintf("=%s*%d b32*%d b32*%d %s*%d", f.acc, f.accN, f.aN, f.bN, f.acc, f.accN),
			f.need,
		})
	}
	return append(fs, sparseMMA()...)
}

// sparseMMA is mma.sp: A holds the kept values; the metadata word and the
// selector of the lanes that hold it follow C. From ISA 8.5 the form with
// ::ordered_metadata is the fast one.
func sparseMMA() []family {
	type sp struct {
		frag
		sel string
	}
	sparse := []sp{
		{frag{"m16n8k16", "f32", "tf32", "tf32", "f32", "f32", 4, 4, 4, isa(71, 80)}, "#0,1"},
		{frag{"m16n8k8", "f32", "tf32", "tf32", "f32", "f32", 4, 2, 2, isa(71, 80)}, "#0..3"},
	}
	for _, t := range []string{"bf16", "f16"} {
		sparse = append(sparse,
			sp{frag{"m16n8k16", "f32", t, t, "f32", "f32", 4, 2, 2, isa(71, 80)}, "#0..3"},
			sp{frag{"m16n8k32", "f32", t, t, "f32", "f32", 4, 4, 4, isa(71, 80)}, "#0,1"})
	}
	sparse = append(sparse,
		sp{frag{"m16n8k16", "f16", "f16", "f16", "f16", "b32", 2, 2, 2, isa(71, 80)}, "#0..3"},
		sp{frag{"m16n8k32", "f16", "f16", "f16", "f16", "b32", 2, 4, 4, isa(71, 80)}, "#0,1"})
	for _, a := range []string{"s8", "u8"} {
		for _, b := range []string{"s8", "u8"} {
			sparse = append(sparse,
				sp{frag{"m16n8k32", "s32", a, b, "s32", "s32", 4, 2, 2, isa(71, 80)}, "#0,1"},
				sp{frag{"m16n8k64", "s32", a, b, "s32", "s32", 4, 4, 4, isa(71, 80)}, "#0"})
		}
	}
	for _, a := range []string{"e4m3", "e5m2"} {
		for _, b := range []string{"e4m3", "e5m2"} {
			sparse = append(sparse, sp{frag{"m16n8k64", "f32", a, b, "f32", "f32", 4, 4, 4, isa(84, 89)}, "#0"})
		}
	}
	var fs []family
	for _, f := range sparse {
		sat := ""
		if f.d == "s32" {
			sat = "{,.satfinite}"
		}
		sig := fmt.Sprintf("=%s*%d b32*%d b32*%d %s*%d b32! %s", f.acc, f.accN, f.aN, f.bN, f.acc, f.accN, f.sel)
		tail := fmt.Sprintf(".sync.aligned.%s.row.col%s.%s.%s.%s.%s", f.shape, sat, f.d, f.a, f.b, f.c)
		ordered := f.need
		ordered.isa = max(ordered.isa, 85)
		fs = append(fs, family{"mma.sp" + tail, sig, f.need}, family{"mma.sp::ordered_metadata" + tail, sig, ordered})
	}
	return fs
}
