package ptx

import "fmt"

// Warpgroup matrix instructions (PTX ISA, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions"): D[64,N] += A[64,K]·B[K,N]; B by descriptor, A by
// descriptor or from four registers, dense or 2:4 sparse with a metadata
// register and selector after B.

type wgmmaType struct {
	d, a, b string
	k       int    // of the dense form; twice that if sparse
	sel     string // sparsity selectors
	trans   bool   // transposition immediates: the 16-bit types
	scale   bool   // negation immediates: not the integers
	isa     ISA    // 0: the least that wgmma needs
}

func wgmmaTypes() []wgmmaType {
	ts := []wgmmaType{
		{"f32", "bf16", "bf16", 16, "#0,1", true, true, 0},
		{"f32", "f16", "f16", 16, "#0,1", true, true, 0},
		{"f16", "f16", "f16", 16, "#0,1", true, true, 0},
		{"f32", "tf32", "tf32", 8, "#0,1", false, true, 0},
	}
	for _, a := range []string{"e4m3", "e5m2"} {
		for _, b := range []string{"e4m3", "e5m2"} {
			ts = append(ts,
				wgmmaType{"f32", a, b, 32, "#0", false, true, 0},
				wgmmaType{"f16", a, b, 32, "#0", false, true, 0})
		}
	}
	for _, a := range []string{"s8", "u8"} {
		for _, b := range []string{"s8", "u8"} {
			t := wgmmaType{"s32", a, b, 32, "#0", false, false, 0}
			if a != b {
				t.isa = 84
			}
			ts = append(ts, t)
		}
	}
	return ts
}

// WGMMANs lists the column counts N that wgmma takes: a multiple of 8 up to
// 256; for integer types 8, 24 and the multiples of 16.
func WGMMANs(integer bool) []int {
	var ns []int
	for n := 8; n <= 256; n += 8 {
		if integer && n%16 != 0 && n != 8 && n != 24 {
			continue
		}
		ns = append(ns, n)
	}
	return ns
}

func wgmmaFamilies() []family {
	fs := []family{
		{"wgmma.fence.sync.aligned", "", hopperA},
		{"wgmma.commit_group.sync.aligned", "", hopperA},
		{"wgmma.wait_group.sync.aligned", "#0..7", hopperA},
	}
	for _, t := range wgmmaTypes() {
		for _, n := range WGMMANs(t.d == "s32") {
			acc := fmt.Sprintf("~%s*%d", t.d, n/2)
			if t.d == "f16" {
				acc = fmt.Sprintf("~b32*%d", n/4)
			}
			ss, rs := "pred@", "pred@"
			if t.scale {
				ss, rs = ss+" #-1,1 #-1,1", rs+" #-1,1 #-1,1"
			}
			if t.trans {
				ss, rs = ss+" #0,1 #0,1", rs+" #0,1"
			}
			dense := need{max(80, t.isa), SM90a()}
			sparse := need{max(82, t.isa), SM90a()}
			types := fmt.Sprintf("%s.%s.%s", t.d, t.a, t.b)
			fs = append(fs,
				family{fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk%d.%s", n, t.k, types),
					acc + " b64! b64! " + ss + " / " + acc + " &b32*4 b64! " + rs, dense},
				family{fmt.Sprintf("wgmma.mma_async.sp.sync.aligned.m64n%dk%d.%s", n, 2*t.k, types),
					acc + " b64! b64! &b32! " + t.sel + " " + ss + " / " + acc + " &b32*4 b64! &b32! " + t.sel + " " + rs, sparse})
		}
	}
	return fs
}
