package codegen

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// EveryConfig is each configuration that the planner can choose, for whatever
// pattern and batch, and each row of the tables that say which kernels there are.
// It is what tests of all kernels go through.
func EveryConfig() ([]Config, error) {
	set := map[Config]bool{}
	for op, rows := range tileWidths {
		for mr := range rows {
			set[Config{Op: op, MR: mr, KB: 256}] = true
		}
	}
	texts := []string{
		"dense", "block(4,1)", "block(8,1)", "block(16,1)", "unstructured(sparsity=0.9)",
		"channel(rows,sparsity=0.5)", "channel(cols,sparsity=0.5)", "stripe(0:20)", "diag(-3,0,5,width=2)",
	}
	for m := 2; m <= 32; m++ {
		for n := 1; n < m; n++ {
			texts = append(texts, fmt.Sprintf("nm(%d,%d)", n, m))
		}
	}
	for _, text := range texts {
		p, err := patterns.Parse(text)
		if err != nil {
			return nil, err
		}
		for _, tokenMajor := range []bool{true, false} {
			for _, batch := range [][2]int{{1, 1}, {1, 256}, {32, 256}} {
				for _, c := range Candidates(Problem{
					Out: 128, In: 1440, BatchMin: batch[0], BatchMax: batch[1],
					TokenMajor: tokenMajor, Levels: p.Levels(128, 1440),
				}) {
					c.Compact = false // no matter to kernels
					set[c] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b Config) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.MR, b.MR), cmp.Compare(a.KB, b.KB),
			cmp.Compare(a.S, b.S), cmp.Compare(a.M, b.M), cmp.Compare(a.N, b.N))
	}), nil
}

// EveryKernel is the kernels of every configuration, for both layouts, and of
// every activation, on every machine.
func EveryKernel() ([]Kernel, error) {
	cs, err := EveryConfig()
	if err != nil {
		return nil, err
	}
	return kernelsOf(cs), nil
}

// kernelsOf are the kernels of cs and of every activation.
func kernelsOf(cs []Config) []Kernel {
	var ks []Kernel
	for _, c := range cs {
		ks = append(ks, c.Kernels(true)...)
		ks = append(ks, c.Kernels(false)...)
	}
	for op := range families {
		if strings.HasPrefix(op.String(), "map") {
			for _, isa := range ISAs() {
				ks = append(ks, Kernel{runtime.KernelKey{Op: op}, isa})
			}
		}
	}
	return Sort(ks)
}
