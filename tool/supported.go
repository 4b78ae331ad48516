package tool

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
)

// codeKernel is the code of a layer that the language allows and that no kernel
// computes.
const codeKernel ir.Code = "SG0202"

// supported reports the layers of a checked module that this version has no
// kernels for.
func supported(m *ir.Module) error {
	var list ir.ErrorList
	report := func(pos ir.Pos, hint, format string, args ...any) {
		list = append(list, &ir.Error{Pos: pos, Code: codeKernel, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	targets, err := gpuTargets(m)
	if err != nil {
		return err
	}
	_, onGPU := runsOn(m)
	noCPU := len(m.Targets) > 0 && !slices.ContainsFunc(m.Targets, func(t ir.Target) bool { return t.Arch != "ptx" })
	for _, l := range m.Layers {
		if !slices.Contains(onGPU, l) {
			if noCPU {
				report(l.Pos, "kernels for GPUs compute in bf16 and f16: write that for its values, or give --dtype bf16", "layer %s has no kernels for ptx, the spec's only target", l.Name)
			}
			for _, v := range append(append([]*ir.Value{}, l.Inputs...), l.Outputs...) {
				if v.DType != ir.F32 && !noCPU {
					report(l.Pos, "kernels for the CPU compute in f32, those for `target ptx(sm_90a)` in bf16 and f16", "layer %s: %v has no kernels", l.Name, v)
				}
			}
		}
		if len(l.Dims) > 1 {
			report(l.Pos, "leave one symbolic extent, the batch", "layer %s has %d symbolic extents; kernels take one", l.Name, len(l.Dims))
		}
		if slices.Contains(onGPU, l) {
			seen := map[gpuplan.Unsupported]bool{}
			for _, t := range targets {
				for _, u := range gpuplan.Check(l, t) {
					if !seen[u] {
						seen[u] = true
						report(u.Pos, u.Hint, "%s", u.Msg)
					}
				}
			}
		}
		for _, op := range l.Ops {
			switch {
			case op.Weight != nil && len(l.Dims) == 0 && len(op.Args[0].Shape) == 2:
				batch := op.Args[0].Shape[0].N
				if op.Attrs.Get("axis") == 0 {
					batch = op.Args[0].Shape[1].N
				}
				report(op.Pos, fmt.Sprintf("write t for it, and where t in %d..%d", batch, batch), "the batch of %s has no name", op.Kind)
			case slices.Contains(onGPU, l):
			case op.Kind == "softmax" || op.Kind == "layernorm" || op.Kind == "rmsnorm":
				if e := op.Args[0].Shape[int(op.Attrs.Get("axis"))]; e.Sym != "" {
					report(op.Pos, "", "%s over the batch axis %s has no kernel", op.Kind, e.Sym)
				}
			}
		}
	}
	if len(list) > 0 {
		quoteLines(list, m.Path)
		return list
	}
	return nil
}
