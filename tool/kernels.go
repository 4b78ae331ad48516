package tool

import (
	"context"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// levels are the instruction set levels that a module's targets name, ascending; a
// module without a target line means those of amd64.
func levels(m *ir.Module) ([]runtime.ISA, error) {
	var isas []runtime.ISA
	if len(m.Targets) == 0 {
		for _, isa := range codegen.ISAs() {
			if isa.Arch() == "amd64" {
				isas = append(isas, isa)
			}
		}
		return isas, nil
	}
	for _, t := range m.Targets {
		switch t.Arch {
		case "amd64", "arm64":
			for _, isa := range codegen.ISAs() {
				if isa.Arch() == t.Arch && slices.Contains(t.ISAs, isa.String()) {
					isas = append(isas, isa)
				}
			}
		case "ptx": // see gpuTargets
		default:
			return nil, fmt.Errorf("target %s: this version of sparsegen writes kernels for amd64 and arm64, and pure Go for everything else", t.Arch)
		}
	}
	slices.Sort(isas)
	return isas, nil
}

// kernelsOf are the CPU kernels that a module's layers need on its targets: those of
// the planner's candidates and those of the records.
func kernelsOf(m *ir.Module, t *tuned) ([]codegen.Kernel, error) {
	if err := supported(m); err != nil {
		return nil, err
	}
	cpu, _ := runsOn(m)
	m = only(m, cpu)
	isas, err := levels(m)
	if err != nil {
		return nil, err
	}
	all, err := codegen.Kernels(m)
	if err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		problems, err := codegen.Problems(l)
		if err != nil {
			return nil, err
		}
		all = append(all, t.recordedKernels(problems, isas)...)
	}
	return codegen.Serving(all, isas), nil
}

// kernelFiles are the generated files of a module's package.
func kernelFiles(m *ir.Module, t *tuned, o codegen.EmitOptions) ([]File, error) {
	ks, err := kernelsOf(m, t)
	if err != nil {
		return nil, err
	}
	texts, err := gpuKernels(m, t.gpu.Choice)
	if err != nil {
		return nil, err
	}
	if len(texts) > 0 {
		o.GPUPacking = gpuplan.Fingerprint()
	}
	generated, err := codegen.Emit(ks, o)
	if err != nil {
		return nil, err
	}
	if len(texts) > 0 {
		printed, err := gpuplan.Emit(texts, o)
		if err != nil {
			return nil, err
		}
		generated = append(generated, printed...)
	}
	files := make([]File, len(generated))
	for i, f := range generated {
		files[i] = File{f.Name, f.Data}
	}
	return files, nil
}

// gpuKernels are the kernels that a module's layers need on its GPU targets, without
// measurements and with them.
func gpuKernels(m *ir.Module, tuned gpuplan.Tuned) ([]gpu.Kernel, error) {
	targets, err := gpuTargets(m)
	if err != nil {
		return nil, err
	}
	_, layers := runsOn(m)
	return gpuplan.Kernels(layers, targets, tuned)
}

// levelOf is the level of a name, on whichever architecture.
func levelOf(name string) (runtime.ISA, error) {
	for _, isa := range codegen.ISAs() {
		if isa.String() == name {
			return isa, nil
		}
	}
	return runtime.ParseISA(name)
}

// fileLevel is planLevel for a file, which another machine may open: the level that
// is asked for may be of any architecture, and where this machine has none of the
// module's, it is the lowest of them.
func fileLevel(m *ir.Module, asked string) (runtime.ISA, error) {
	if asked != "" {
		return levelOf(asked)
	}
	best, err := planLevel(m, "")
	if err != nil || best != runtime.Generic {
		return best, err
	}
	isas, err := levels(m)
	if err != nil || len(isas) == 0 {
		return best, err
	}
	return isas[0], nil
}

// planLevel is the level that a model is planned for to run here: the one that is
// asked for, or this machine's best of the module's.
func planLevel(m *ir.Module, asked string) (runtime.ISA, error) {
	if asked != "" {
		return runtime.ParseISA(asked)
	}
	isas, err := levels(m)
	if err != nil {
		return 0, err
	}
	best := runtime.Generic
	for _, isa := range isas {
		if isa.Available() {
			best = isa
		}
	}
	return best, nil
}

// packReport is what was decided for one linear op, for either processor.
type packReport struct {
	codegen.LayerReport
	GPU     *gpuplan.StepPlan // in place of Plan
	Target  ptx.Target        // of GPU
	Density float64           // of GPU: the share of weights that the pattern keeps
}

// packModel plans and packs a model, one step of p a layer.
func packModel(ctx context.Context, p *progress, m *model, o codegen.PackOptions) (*sgp.Model, []packReport, error) {
	if err := supported(m.Module); err != nil {
		return nil, nil, err
	}
	isas, err := levels(m.Module)
	if err != nil {
		return nil, nil, err
	}
	o.Core = o.Core.Among(isas)
	packed := &sgp.Model{Fingerprint: codegen.Fingerprint()}
	_, onGPU := runsOn(m.Module)
	var target ptx.Target
	if len(onGPU) > 0 {
		packed.GPUFingerprint = gpuplan.Fingerprint()
		if target, err = gpuTarget(m.Module); err != nil {
			return nil, nil, err
		}
	}
	if o.Only == nil {
		o.Tuned = m.tuned.choose()
	}
	var reports []packReport
	for _, l := range m.Layers {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		p.step("pack %s", l.Name)
		if slices.Contains(onGPU, l) {
			one, r, err := packGPU(m, l, target, o.Prune)
			if err != nil {
				return nil, nil, err
			}
			packed.Layers, reports = append(packed.Layers, *one), append(reports, r...)
			continue
		}
		o.Layers = []string{l.Name}
		one, r, err := codegen.Pack(m.Module, m.tensor, o)
		if err != nil {
			return nil, nil, err
		}
		packed.Layers = append(packed.Layers, one.Layers...)
		for _, r := range r {
			m.tuned.objected(r.Plan)
			reports = append(reports, packReport{LayerReport: r})
		}
	}
	return packed, reports, nil
}

// packGPU plans and packs one layer for a GPU.
func packGPU(m *model, l *ir.Layer, target ptx.Target, prune bool) (*sgp.Layer, []packReport, error) {
	plan, err := gpuplan.PlanTuned(l, target, m.tuned.gpu.Choice)
	if err != nil {
		return nil, nil, err
	}
	packed, steps, err := plan.Pack(m.tensor, prune)
	var reports []packReport
	for _, r := range steps {
		reports = append(reports, packReport{
			LayerReport: codegen.LayerReport{Layer: r.Layer, Tensor: r.Tensor, Pattern: r.Pattern, Kept: r.Kept},
			GPU:         r.Plan, Target: target, Density: r.Density,
		})
	}
	return packed, reports, err
}

// onlyDense limits the planner to the forms that store every element.
func onlyDense(c codegen.Config) bool {
	return (c.Op == runtime.LanesDense || c.Op == runtime.PanelDense) && !c.Compact
}
