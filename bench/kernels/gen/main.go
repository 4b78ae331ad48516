// Command gen writes the kernels of package bench/kernels.
//
// It must not import anything of sparsegen but codegen and patterns.
package main

import (
	"log"
	"os"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/patterns"
)

// patternsRaced are the structures that the grid has.
var patternsRaced = []string{"dense", "nm(2,4)", "nm(1,4)", "block(4,1)", "unstructured", "channel(cols)"}

func main() {
	log.SetFlags(0)
	var ks []codegen.Kernel
	for _, text := range patternsRaced {
		p, err := patterns.Parse(text)
		if err != nil {
			log.Fatal(err)
		}
		for _, tokenMajor := range []bool{false, true} {
			problem := codegen.Problem{
				Out: 64, In: 64, BatchMin: 1, BatchMax: 1 << 12, TokenMajor: tokenMajor, Levels: p.Levels(64, 64),
			}
			ks = append(ks, problem.Kernels()...)
			for _, c := range codegen.Space(problem) { // what a tuning may choose
				ks = append(ks, c.Kernels(tokenMajor)...)
			}
		}
	}
	files, err := codegen.Emit(ks, codegen.EmitOptions{Package: "kernels", Spec: "the benchmarks' grid"})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(f.Name, f.Data, 0o666); err != nil {
			log.Fatal(err)
		}
	}
}
