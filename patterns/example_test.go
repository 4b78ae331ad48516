package patterns_test

import (
	"fmt"

	"github.com/sparsegen/sparsegen/patterns"
)

// The whole syntax: a pattern is read, and printed in its canonical form.
func ExampleParse() {
	for _, s := range []string{
		"dense",
		"nm(2, 4)",
		"block(4, 1, sparsity=0.90)",
		"unstructured(sparsity=0.8)",
		"channel(cols, sparsity=0.5)",
		"stripe(192:256, 0:64, 128)",
		"diag(1, -8, width=2)",
		"perm(nm(2,4), cols, 2, 0, 1, 3)",
		"perm(block(16,1), rows, seed=7)",
		"stripe(0:8) | (nm(2,4) & channel(rows))",
		"nm(2,5",
	} {
		p, err := patterns.Parse(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(p)
	}
	// Output:
	// dense
	// nm(2,4)
	// block(4,1,sparsity=0.9)
	// unstructured(sparsity=0.8)
	// channel(cols,sparsity=0.5)
	// stripe(0:64,128,192:256)
	// diag(-8,1,width=2)
	// perm(nm(2,4),cols,2,0,1,3)
	// perm(block(16,1),rows,seed=7)
	// stripe(0:8) | nm(2,4) & channel(rows)
	// pattern, offset 6: expected ')' after the arguments of nm, found the end
}

// Kernels look at levels, never at a pattern's name.
func ExamplePattern_levels() {
	for _, s := range []string{"nm(2,4)", "block(4,1)", "channel(rows) & stripe(0:8)"} {
		fmt.Print(s, ":")
		for _, l := range patterns.MustParse(s).Levels(16, 32) {
			fmt.Printf(" %v %v/%d", l.Axis, l.Kind, l.Extent)
		}
		fmt.Println()
	}
	// Output:
	// nm(2,4): rows dense/16 cols dense/8 cols n-of-m/4
	// block(4,1): rows dense/4 cols list/32 rows dense/4 cols dense/1
	// channel(rows) & stripe(0:8): rows list/16 cols run/32
}

func ExamplePack() {
	m := patterns.Matrix{Rows: 2, Cols: 4, Stride: 4, Data: []float32{
		1, -7, 3, 2,
		5, 0, 0, 4,
	}}
	p := patterns.MustParse("nm(2,4)")
	mask, err := p.Prune(m)
	if err != nil {
		panic(err)
	}
	packed, err := patterns.Pack(p, m, mask)
	if err != nil {
		panic(err)
	}
	for i, s := range packed.Iterate() {
		fmt.Println(i, s.Row, s.Col, s.Value)
	}
	fmt.Println(packed.Bytes(), "bytes, of them", packed.IndexBytes(), "index")
	// Output:
	// 0 0 1 -7
	// 1 0 2 3
	// 2 1 0 5
	// 3 1 3 4
	// 17 bytes, of them 1 index
}

func ExampleDetect() {
	m := patterns.NewMatrix(64, 64)
	for i := range m.Data {
		m.Data[i] = float32(i*7919%1009 + 1)
	}
	mask, err := patterns.MustParse("block(4,1,sparsity=0.75)").Prune(m)
	if err != nil {
		panic(err)
	}
	mask.Apply(m)
	fits, err := patterns.Detect(m)
	if err != nil {
		panic(err)
	}
	for _, f := range fits {
		fmt.Printf("%v exact=%v density %.2f\n", f.Pattern, f.Exact, f.Density)
	}
	// Output:
	// block(4,1) exact=true density 0.25
	// unstructured exact=true density 0.25
	// dense exact=true density 1.00
}
