// Package hwfma is the processor's own fused multiply-add of float32, which
// tests compare runtime.FMA32 with.
//
// It must not import anything else of sparsegen.
package hwfma

// FMA sets y[i] to a[i]*b[i] + c[i], rounded once, by one scalar instruction
// each. All slices have the length of y. It needs Available.
func FMA(y, a, b, c []float32) {
	n := len(y)
	if len(a) != n || len(b) != n || len(c) != n {
		panic("hwfma: slices of different lengths")
	}
	if n > 0 {
		fma(&y[0], &a[0], &b[0], &c[0], n)
	}
}
