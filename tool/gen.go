package tool

import (
	"context"
	"errors"
	"fmt"
	"go/token"
	"path/filepath"

	"github.com/sparsegen/sparsegen/ir"
)

// GenOptions are the options of Gen.
type GenOptions struct {
	Spec    string // file or folder; "" is the working folder's spec
	Out     string // output folder; "" is the spec's
	Package string // "" is the name that the folder's Go files have
	// Fallback is the package name for a folder without Go files, where Package
	// is ""; "" is made from the folder's name.
	Fallback string
	Targets  string // in place of the spec's, as the language writes them
	Check    bool   // print what would change and change nothing
}

// Gen writes the kernels that a spec's layers need. The result depends on the
// spec, on the weights' shapes where the spec leaves them open, on the package's
// name and on this version of sparsegen, and on nothing else.
// With Check it prints a unified diff and returns Findings where one is needed.
func Gen(_ context.Context, c Console, o GenOptions) error {
	spec, m, err := readSpec(o.Spec)
	if err != nil {
		return err
	}
	if o.Targets != "" {
		if m.Targets, err = parseTargets(o.Targets); err != nil {
			return err
		}
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
	files, err := kernelFiles(m, o.Package, filepath.Base(spec))
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

// parseTargets reads the --target flag with the language's own parser.
func parseTargets(list string) ([]ir.Target, error) {
	const layer = "\nlayer l(x f32[t, 1]) (y f32[t, 1]) where t in 1..1 { y = relu(x) }\n"
	m, err := ir.Load("--target", []byte("sparsegen 1\ntarget "+list+layer), ir.Options{})
	var errs ir.ErrorList
	if errors.As(err, &errs) {
		msg := errs[0].Msg
		if errs[0].Hint != "" {
			msg += "; " + errs[0].Hint
		}
		return nil, fmt.Errorf("--target %s: %s", list, msg)
	}
	if err != nil {
		return nil, err
	}
	return m.Targets, nil
}
