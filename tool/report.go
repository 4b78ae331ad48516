package tool

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/report"
)

// ReportOptions are the options of Report.
type ReportOptions struct {
	TuneOptions        // Layers, ISA and the source count
	Out         string // "" is the spec's name with .html
}

// Report writes a page on a spec's linear layers on the CPU: their patterns, plans,
// races and rooflines.
func Report(ctx context.Context, c Console, o ReportOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	linears, isa, _, err := o.linears(m)
	if err != nil {
		return err
	}
	if o.Out == "" {
		o.Out = strings.TrimSuffix(m.path, filepath.Ext(m.path)) + ".html"
	}
	p := newProgress(c, len(m.Layers))
	_, reports, err := packModel(ctx, p, m, codegen.PackOptions{Core: m.tuned.core(isa), Prune: o.Prune})
	p.end()
	if err != nil {
		return err
	}
	r := &report.Report{Spec: filepath.Base(m.path), ISA: isa, Machine: m.tuned.machine}
	if cal := m.tuned.calibration(isa); cal != nil {
		roofs := cal.Roofs(isa)
		r.Roofs = &roofs
	}
	for _, l := range linears {
		for _, plan := range reports {
			if plan.Plan != nil && plan.Layer == l.Layer && plan.Tensor == l.Tensor {
				r.Add(l, plan.Pattern, plan.Plan, m.tuned.lookup)
				break
			}
		}
	}
	m.tuned.say(c, m.path)
	if err := atomicfile.Write(o.Out, func(w io.Writer) error { return r.WriteHTML(w) }); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "wrote", o.Out)
	return nil
}
