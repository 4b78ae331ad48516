package tool

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/sparsegen/sparsegen/autotune/gputune"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ptx/kernels"
)

var errNoGPULayer = errors.New("no layer runs on a GPU; write bf16 or f16 for its values and `target ptx(sm_90a)`, or give --target ptx:sm_90a --dtype bf16")

// explainPTX prints the GPU kernels that the layers may use.
func explainPTX(w io.Writer, o ExplainOptions) error {
	path, m, err := o.module()
	if err != nil {
		return err
	}
	if o.ISA != "" {
		return fmt.Errorf("--isa %s: PTX is chosen by --target, such as ptx:sm_90a", o.ISA)
	}
	if err := supported(m); err != nil {
		return err
	}
	ks, err := gpuKernels(m, gputune.Load(tunedFolder(path)).Choice)
	if err != nil {
		return err
	}
	if len(ks) == 0 {
		return errNoGPULayer
	}
	for i := range ks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := io.WriteString(w, gpuplan.Heading(&ks[i])+ks[i].PTX); err != nil {
			return err
		}
	}
	return nil
}

// alternatives is how many of the candidates that were not chosen are shown.
const alternatives = 2

// printGPUPlan says which kernel runs at how many tokens.
func printGPUPlan(w io.Writer, r packReport) error {
	s := r.GPU
	fmt.Fprintf(w, "layer %s, %s: [%d, %d] %s, stored as %v, planned for ptx:%v\n", r.Layer, r.Tensor, s.Out, s.In, r.Pattern, s.Form, r.Target)
	if s.Note != "" {
		fmt.Fprintln(w, "  "+s.Note)
	}
	if fused := fusedOps(s); fused != "" {
		fmt.Fprintln(w, "  in the same launch: "+fused)
	}
	if c := s.Compact; c != nil {
		var gathers []string
		if c.Before != nil {
			gathers = append(gathers, c.Before.Name()+" before it")
		}
		if c.After != nil {
			gathers = append(gathers, c.After.Name()+" behind it")
		}
		fmt.Fprintf(w, "  a product of [%d, %d] with %s: %.0f cycles more at most\n", c.Out, c.In, strings.Join(gathers, " and "), c.Cycles)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  tokens\tkernel\tpacked\tcycles at most")
	shared := map[any]bool{}
	for _, c := range s.Choices {
		packed := size(int(c.Bytes))
		if f := c.Config.Format(); shared[f] {
			packed = "the same"
		} else {
			shared[f] = true
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%.0f\n", span(c.TokensMin, c.TokensMax), c.Config.Name(), packed, c.Cycles)
		shown := 0
		for _, k := range c.Considered {
			if k.Config != c.Config && shown < alternatives {
				shown++
				fmt.Fprintf(tw, "  \t  not %s\t\t%.0f\n", k.Name(), k.Cycles)
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  cycles are the families' models of an %s\n", kernels.Reference(r.Target).Name)
	return err
}

// span is a range as a plan shows it.
func span(lo, hi int) string {
	if lo == hi {
		return fmt.Sprint(lo)
	}
	return fmt.Sprintf("%d..%d", lo, hi)
}

// fusedOps names what a launch does beside the product.
func fusedOps(s *gpuplan.StepPlan) string {
	text := ""
	add := func(what string) {
		if text != "" {
			text += ", "
		}
		text += what
	}
	if s.Linear.Bias != nil {
		add("bias")
	}
	if s.Act != nil {
		add(s.Act.Kind)
	}
	if s.Add != nil {
		name := s.Residual.Name
		if name == "" {
			name = "a value"
		}
		add("add " + name)
	}
	return text
}
