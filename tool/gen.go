package tool

import (
	"context"
	"fmt"
	"go/token"
	"path/filepath"
	"time"

	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/codegen"
)

// GenOptions are the options of Gen.
type GenOptions struct {
	Spec    string // file or folder; "" is the working folder's spec
	Out     string // output folder; "" is the spec's
	Package string // "" is the name that the folder's Go files have
	// Fallback is the package name for a folder without Go files, where Package
	// is ""; "" is made from the folder's name.
	Fallback string
	Retarget
	Check   bool // print what would change and change nothing
	Verbose bool // say how many kernels were proved safe, and in what time
}

// Gen writes the kernels that a spec's layers need. The result depends on the
// spec, on the records beside it, on the weights' shapes where the spec leaves them
// open, on the package's name and on this version of sparsegen, and on nothing else.
// With Check it prints a unified diff and returns Findings where one is needed.
func Gen(_ context.Context, c Console, o GenOptions) error {
	spec, m, err := readSpec(o.Spec)
	if err != nil {
		return err
	}
	if err := o.apply(m); err != nil {
		return err
	}
	if o.Out == "" {
		o.Out = filepath.Dir(spec)
	}
	if o.Package == "" {
		if o.Package, err = packageName(o.Out, o.Fallback); err != nil {
			return err
		}
	} else if !token.IsIdentifier(o.Package) {
		return fmt.Errorf("--pkg %s: not a package name", o.Package)
	}
	e := codegen.EmitOptions{Package: o.Package, Spec: filepath.Base(spec)}
	if o.Verbose {
		e.Proved = func(proofs []*verify.Proof, took time.Duration) {
			fmt.Fprintf(c.Log, "proved %d kernels safe in %v\n", len(proofs), took.Round(time.Millisecond))
		}
	}
	t, err := loadTuned(spec, "")
	if err != nil {
		return err
	}
	for _, line := range t.records.Notes {
		fmt.Fprintln(c.Log, line)
	}
	files, err := kernelFiles(m, t, e)
	if err != nil {
		return err
	}
	plan, err := planFiles(o.Out, spec, files)
	if err != nil {
		return err
	}
	if o.Check {
		d := diffFiles(plan)
		fmt.Fprint(c.Out, d)
		if d != "" {
			return &Findings{Summary: fmt.Sprintf("generated files do not match %s; run `sparsegen gen`", spec)}
		}
		return nil
	}
	return apply(o.Out, plan, func(verb, path string) { fmt.Fprintln(c.Out, verb, path) })
}
