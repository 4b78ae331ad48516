package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// ExplainOptions are the options of Explain.
type ExplainOptions struct {
	Source
	Layer string // "" is all of them
	Print string // ir, plan, asm, bytes, proof, ptx or trace
	ISA   string // plan: level to plan for; asm, bytes, proof: only this level's kernels
}

// Explain shows what becomes of a layer: its canonical spec, the plan with what
// was weighed, or the kernels as assembly, as machine code, as PTX, or what was
// proved of them, or what they do on a simulated GPU.
func Explain(ctx context.Context, c Console, o ExplainOptions) error {
	switch o.Print {
	case "ir":
		return explainIR(c.Out, o)
	case "plan":
		return explainPlan(ctx, c, o)
	case "asm", "bytes", "proof":
		return explainCode(ctx, c, o)
	case "ptx":
		return explainPTX(c.Out, o)
	case "trace":
		return explainTrace(ctx, c, o)
	}
	return fmt.Errorf("--print %s: want ir, plan, asm, bytes, proof, ptx or trace", o.Print)
}

// explainIR prints the spec canonically, of a single layer where one is asked
// for.
func explainIR(w io.Writer, o ExplainOptions) error {
	path, src, err := specText(o.Spec)
	if err != nil {
		return err
	}
	f, err := ir.Parse(path, src)
	if err != nil {
		return err
	}
	if o.Layer != "" {
		_, m, err := readSpec(o.Spec)
		if err != nil {
			return err
		}
		if _, err := layers(m, o.Layer); err != nil {
			return err
		}
		var kept []ir.Decl
		for _, d := range f.Decls {
			if l, ok := d.(*ir.LayerDecl); !ok || l.Name == o.Layer {
				kept = append(kept, d)
			}
		}
		f.Decls = kept
	}
	_, err = io.WriteString(w, ir.Print(f))
	return err
}

// explainPlan says for each linear op which kernels run at which batch, and what
// the cost model thought of the alternatives.
func explainPlan(ctx context.Context, c Console, o ExplainOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Module.Layers, err = layers(m.Module, o.Layer); err != nil {
		return err
	}
	isa, _, err := plannedFor(m.Module, o.ISA)
	if err != nil {
		return err
	}
	p := newProgress(c, len(m.Layers))
	_, reports, err := packModel(ctx, p, m, codegen.PackOptions{Core: m.tuned.core(isa), Prune: o.Prune})
	p.end()
	if err != nil {
		return err
	}
	m.tuned.passedOver(c)
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(c.Out)
		}
		if r.GPU != nil {
			err = printGPUPlan(c.Out, r)
		} else {
			err = printPlan(c.Out, r.LayerReport, isa, m.tuned.figures(isa))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printPlan(w io.Writer, r codegen.LayerReport, isa runtime.ISA, figures string) error {
	plan := r.Plan
	layout := "feature-major"
	if plan.Problem.TokenMajor {
		layout = "token-major"
	}
	fmt.Fprintf(w, "layer %s, %s: [%d, %d] %s, %.1f%% stored, %s, planned for %v\n",
		r.Layer, r.Tensor, plan.Problem.Out, plan.Problem.In, r.Pattern, 100*plan.Density, layout, isa)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  batch\tkernels\tpacked\tcycles at most\tagainst dense")
	for _, ch := range plan.Choices {
		gain := "-"
		if ch.DenseCycles > 0 {
			gain = fmt.Sprintf("%.2f×", ch.DenseCycles/ch.Cycles)
		}
		config := ch.Config.String()
		if ch.Measured {
			config += ", measured"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%.0f\t%s\n", span(ch.BatchMin, ch.BatchMax), config, size(ch.Bytes), ch.Cycles, gain)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "  the cost model's estimates by %s, in cycles:\n", figures)
	fmt.Fprint(tw, "  candidate\tpacked")
	for _, k := range plan.Considered {
		if k.Err == "" {
			for _, b := range k.Batch {
				fmt.Fprintf(tw, "\tbatch %d", b)
			}
			break
		}
	}
	fmt.Fprintln(tw)
	for _, k := range plan.Considered {
		if k.Err != "" {
			fmt.Fprintf(tw, "  %v\t%s\n", k.Config, k.Err)
			continue
		}
		fmt.Fprintf(tw, "  %v\t%s", k.Config, size(k.Bytes))
		for _, t := range k.Cycles {
			fmt.Fprintf(tw, "\t%.0f", t)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// size is a number of bytes for people.
func size(n int) string {
	switch {
	case float64(n) >= 10e9:
		return fmt.Sprintf("%.0f GB", float64(n)/1e9)
	case n >= 10e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 10e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// module is the spec with the layers that are asked for.
func (o ExplainOptions) module() (path string, m *ir.Module, err error) {
	if path, m, err = readSpec(o.Spec); err != nil {
		return "", nil, err
	}
	if err := o.apply(m); err != nil {
		return "", nil, err
	}
	m.Layers, err = layers(m, o.Layer)
	return path, m, err
}

// explainCode prints the kernels that a layer may use.
func explainCode(ctx context.Context, c Console, o ExplainOptions) error {
	path, m, err := o.module()
	if err != nil {
		return err
	}
	t, err := loadTuned(path, "")
	if err != nil {
		return err
	}
	ks, err := kernelsOf(m, t)
	if err != nil {
		return err
	}
	if o.ISA != "" {
		isa, err := levelOf(o.ISA)
		if err != nil {
			return fmt.Errorf("--isa: %w", err)
		}
		var kept []codegen.Kernel
		for _, k := range ks {
			if k.ISA == isa {
				kept = append(kept, k)
			}
		}
		ks = kept
	}
	if cpu, gpu := runsOn(m); len(cpu) == 0 && len(gpu) > 0 {
		return errors.New("the layers run on a GPU; `sparsegen explain --print ptx` shows their kernels")
	}
	if len(ks) == 0 {
		return errors.New("no kernel to show; `sparsegen explain --print plan` says what runs")
	}
	var proofs []*verify.Proof
	files, err := codegen.Emit(ks, codegen.EmitOptions{
		Package: "kernels", Spec: filepath.Base(path),
		Proved: func(ps []*verify.Proof, _ time.Duration) { proofs = ps },
	})
	if err != nil {
		return err
	}
	if o.Print == "proof" {
		for _, p := range proofs {
			fmt.Fprintln(c.Out, p)
		}
		return nil
	}
	pure := true
	for _, f := range files {
		if !strings.HasSuffix(f.Name, ".s") {
			continue
		}
		pure = false
		if o.Print == "asm" {
			if _, err := c.Out.Write(f.Data); err != nil {
				return err
			}
		} else if err := printBytes(ctx, c.Out, f); err != nil {
			return err
		}
	}
	if pure {
		return errors.New("the spec's targets have no assembly; its kernels are pure Go")
	}
	return nil
}

// printBytes assembles a file, of which the name says for what, and prints each instruction beside its bytes.
func printBytes(ctx context.Context, w io.Writer, f codegen.File) error {
	dir, err := os.MkdirTemp("", "sparsegen-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, f.Name)
	if err := os.WriteFile(file, f.Data, 0o600); err != nil {
		return err
	}
	listing, err := assemble(ctx, file, filepath.Join(dir, "out.o"))
	if err != nil {
		return err
	}
	return writeListing(w, listing)
}
