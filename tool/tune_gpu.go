package tool

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sparsegen/sparsegen/autotune/gputune"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
)

// tuneGPU tunes the layers that run on a GPU, on the first one of this machine.
func (o TuneOptions) tuneGPU(ctx context.Context, c Console, m *model, layers []*ir.Layer) (err error) {
	if err := supported(m.Module); err != nil {
		return err
	}
	target, err := gpuTarget(m.Module)
	if err != nil {
		return err
	}
	var plans []*gpuplan.LayerPlan
	for _, l := range layers {
		plan, err := gpuplan.Plan(l, target)
		if err != nil {
			return err
		}
		plans = append(plans, plan)
	}
	dev, err := o.GPU.device()
	if err != nil {
		return fmt.Errorf("layer %s runs on a GPU: %w", layers[0].Name, err)
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	p := newProgress(c, 0)
	sum, err := gputune.Tune(ctx, dev, plans, gputune.Options{
		Dir: tunedFolder(m.path), Weights: m.tensor, Prune: m.prune, Budget: o.Budget, Again: o.Again, Report: p.report, Note: p.note,
	})
	p.end()
	if sum == nil || err != nil && sum.Tuned == 0 {
		return err
	}
	fmt.Fprintf(c.Out, "%d problems on %s: %d had a record, %d tuned", sum.Problems, sum.GPU, sum.Known, sum.Tuned)
	if sum.Tuned > 0 {
		fmt.Fprintf(c.Out, "; %d changed, the tuned ones together %.2f× as fast as before", sum.Changed, sum.Gain)
	}
	fmt.Fprintln(c.Out)
	if sum.Noisy > 0 {
		fmt.Fprintf(c.Out, "%d measured with noise above 2 %%\n", sum.Noisy)
	}
	if sum.Refused > 0 {
		fmt.Fprintf(c.Out, "%d too noisy to conclude anything; run `sparsegen tune %s` again when the GPU is idle\n", sum.Refused, m.path)
	}
	if sum.Left > 0 {
		fmt.Fprintf(c.Out, "%d beyond the budget; run `sparsegen tune %s` again to go on\n", sum.Left, m.path)
	}
	if len(sum.Whole) > 0 {
		fmt.Fprintf(c.Out, "not tuned, since the weights decide what of them is stored: %s\n", strings.Join(sum.Whole, ", "))
	}
	return err
}
