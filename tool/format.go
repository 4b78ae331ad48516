package tool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/diff"
	"github.com/sparsegen/sparsegen/ir"
)

// FormatOptions are the options of Format.
type FormatOptions struct {
	Specs []string // files or folders; none is the working folder's spec
	Check bool     // print what would change and change nothing
}

// Format rewrites specs in canonical form. Nothing is written unless every one
// of them parses. With Check it prints a unified diff and returns Findings
// where one is not canonical.
func Format(_ context.Context, c Console, o FormatOptions) error {
	if len(o.Specs) == 0 {
		o.Specs = []string{""}
	}
	type result struct {
		path     string
		old, new []byte
	}
	var results []result
	for _, arg := range o.Specs {
		path, err := findSpec(arg)
		if err != nil {
			return err
		}
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		formatted, err := ir.Format(path, old)
		if err != nil {
			return err
		}
		if !bytes.Equal(old, formatted) {
			results = append(results, result{path, old, formatted})
		}
	}
	for _, r := range results {
		name := filepath.ToSlash(r.path)
		if o.Check {
			fmt.Fprint(c.Out, diff.Unified(name, name+" (formatted)", r.old, r.new))
			continue
		}
		if err := atomicfile.WriteBytes(r.path, r.new); err != nil {
			return err
		}
		fmt.Fprintln(c.Out, "wrote", r.path)
	}
	if o.Check && len(results) > 0 {
		return &Findings{Summary: fmt.Sprintf("%d not formatted; run `sparsegen fmt`", len(results))}
	}
	return nil
}
