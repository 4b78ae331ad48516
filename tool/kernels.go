package tool

import (
	"context"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// levels are the instruction set levels of amd64 that a module's targets name,
// ascending; a module without a target line means all.
func levels(m *ir.Module) ([]runtime.ISA, error) {
	if len(m.Targets) == 0 {
		return codegen.ISAs(), nil
	}
	var isas []runtime.ISA
	for _, t := range m.Targets {
		switch t.Arch {
		case "amd64":
			for _, isa := range codegen.ISAs() {
				if slices.Contains(t.ISAs, isa.String()) {
					isas = append(isas, isa)
				}
			}
		case "arm64": // the pure-Go kernels, which are always there
		default:
			return nil, fmt.Errorf("target %s: this version of sparsegen writes kernels for amd64, and pure Go for everything else", t.Arch)
		}
	}
	return isas, nil
}

// kernelsOf are the kernels that a module's layers need on its targets. A level
// without a kernel of some op uses the one of the level below.
func kernelsOf(m *ir.Module) ([]codegen.Kernel, error) {
	if err := supported(m); err != nil {
		return nil, err
	}
	isas, err := levels(m)
	if err != nil {
		return nil, err
	}
	all, err := codegen.Kernels(m)
	if err != nil {
		return nil, err
	}
	served := map[runtime.KernelOp]bool{}
	for _, k := range all {
		served[k.Key.Op] = served[k.Key.Op] || slices.Contains(isas, k.ISA)
	}
	var ks []codegen.Kernel
	for _, k := range all {
		below := len(isas) > 0 && k.ISA < isas[0] && !served[k.Key.Op]
		switch {
		case len(isas) == 0:
			k.ISA = runtime.Generic
			fallthrough
		case k.ISA == runtime.Generic, below, slices.Contains(isas, k.ISA):
			ks = append(ks, k)
		}
	}
	return codegen.Sort(ks), nil
}

// kernelFiles are the generated files of a module's package.
func kernelFiles(m *ir.Module, pkg, spec string) ([]File, error) {
	ks, err := kernelsOf(m)
	if err != nil {
		return nil, err
	}
	generated, err := codegen.Emit(ks, codegen.EmitOptions{Package: pkg, Spec: spec})
	if err != nil {
		return nil, err
	}
	files := make([]File, len(generated))
	for i, f := range generated {
		files[i] = File{f.Name, f.Data}
	}
	return files, nil
}

// planLevel is the level that a model is planned for: the one that is asked for,
// or this machine's best of the module's.
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

// packModel plans and packs a model, one step of p a layer.
func packModel(ctx context.Context, p *progress, m *model, o codegen.PackOptions) (*sgp.Model, []codegen.LayerReport, error) {
	if err := supported(m.Module); err != nil {
		return nil, nil, err
	}
	packed := &sgp.Model{Fingerprint: codegen.Fingerprint()}
	var reports []codegen.LayerReport
	for _, l := range m.Layers {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		p.step("pack %s", l.Name)
		o.Layers = []string{l.Name}
		one, r, err := codegen.Pack(m.Module, m.tensor, o)
		if err != nil {
			return nil, nil, err
		}
		packed.Layers = append(packed.Layers, one.Layers...)
		reports = append(reports, r...)
	}
	return packed, reports, nil
}

// onlyDense limits the planner to the forms that store every element.
func onlyDense(c codegen.Config) bool {
	return (c.Op == runtime.LanesDense || c.Op == runtime.PanelDense) && !c.Compact
}
