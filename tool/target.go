package tool

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
)

// Retarget says for which processors a spec is compiled, in place of what it says
// itself.
type Retarget struct {
	// Targets are as the language writes them, "amd64(avx2), ptx(sm_90a)", or with
	// a colon, "amd64:avx2,ptx:sm_90a"; "" leaves the spec's.
	Targets string
	// DType is the element type, bf16 or f16, of layers that the spec has in f32;
	// "" leaves them.
	DType string
}

// apply changes a checked module.
func (r Retarget) apply(m *ir.Module) (err error) {
	if r.Targets != "" {
		if m.Targets, err = parseTargets(r.Targets); err != nil {
			return err
		}
	}
	if r.DType == "" {
		return nil
	}
	t, ok := map[string]ir.DType{"bf16": ir.BF16, "f16": ir.F16}[r.DType]
	if !ok {
		return fmt.Errorf("--dtype %s: want bf16 or f16", r.DType)
	}
	for _, l := range m.Layers {
		retype(l, t)
	}
	return nil
}

// simulators are the names, in place of a GPU target's, for kernels of that target
// that package cudasim executes.
var simulators = map[string]string{"sim": "sm_90a", "sim_80": "sm_80"}

// simulated replaces a simulator's name, ptx:sim or ptx(sim_80), by that of the
// target and reports whether there was one.
func (r Retarget) simulated() (Retarget, bool) {
	for name, target := range simulators {
		for _, form := range []string{"ptx:%s", "ptx(%s)"} {
			if strings.TrimSpace(r.Targets) == fmt.Sprintf(form, name) {
				r.Targets = fmt.Sprintf(form, target)
				return r, true
			}
		}
	}
	return r, false
}

// retype gives the f32 values of a layer another type.
func retype(l *ir.Layer, t ir.DType) {
	change := func(vs ...*ir.Value) {
		for _, v := range vs {
			if v.DType == ir.F32 {
				v.DType = t
			}
		}
	}
	change(l.Inputs...)
	for _, op := range l.Ops {
		change(op.Args...)
		change(op.Out)
	}
	change(l.Outputs...)
}

// parseTargets reads the --target flag with the language's own parser.
func parseTargets(text string) ([]ir.Target, error) {
	const layer = "\nlayer l(x f32[t, 1]) (y f32[t, 1]) where t in 1..1 { y = relu(x) }\n"
	m, err := ir.Load("--target", []byte("sparsegen 1\ntarget "+colons(text)+layer), ir.Options{})
	var errs ir.ErrorList
	if errors.As(err, &errs) {
		msg := errs[0].Msg
		if errs[0].Hint != "" {
			msg += "; " + errs[0].Hint
		}
		return nil, fmt.Errorf("--target %s: %s", text, msg)
	}
	if err != nil {
		return nil, err
	}
	return m.Targets, nil
}

// colons writes "amd64:avx2,ptx:sm_90a,ptx:sm_80" as the language does:
// "amd64(avx2), ptx(sm_90a, sm_80)". Other text stays.
func colons(text string) string {
	if !strings.Contains(text, ":") || strings.ContainsAny(text, "()\n") {
		return text
	}
	var archs []string
	isas := map[string][]string{}
	for part := range strings.SplitSeq(text, ",") {
		arch, isa, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !slices.Contains(archs, arch) {
			archs = append(archs, arch)
		}
		if ok {
			isas[arch] = append(isas[arch], isa)
		}
	}
	for i, arch := range archs {
		if len(isas[arch]) > 0 {
			archs[i] += "(" + strings.Join(isas[arch], ", ") + ")"
		}
	}
	return strings.Join(archs, ", ")
}

// gpuTargets are the GPU targets that a module names.
func gpuTargets(m *ir.Module) ([]ptx.Target, error) {
	var ts []ptx.Target
	for _, t := range m.Targets {
		if t.Arch != "ptx" {
			continue
		}
		for _, name := range t.ISAs {
			i := slices.IndexFunc(gpuplan.Targets(), func(t ptx.Target) bool { return t.String() == name })
			if i < 0 {
				return nil, fmt.Errorf("target ptx(%s): kernels are written for sm_90a and for sm_80, which every later GPU runs too", name)
			}
			ts = append(ts, gpuplan.Targets()[i])
		}
	}
	return ts, nil
}

// gpuTarget is the one GPU target that weights are packed for.
func gpuTarget(m *ir.Module) (ptx.Target, error) {
	ts, err := gpuTargets(m)
	if err != nil {
		return ptx.Target{}, err
	}
	if len(ts) != 1 {
		var names []string
		for _, t := range ts {
			names = append(names, "ptx:"+t.String())
		}
		return ptx.Target{}, fmt.Errorf("weights are packed for one GPU target; choose with --target: %s", strings.Join(names, " or "))
	}
	return ts[0], nil
}

// runsOn says where the layers of a module run: those in a type that GPU kernels
// compute in run there, if the module has a GPU target, all others on the CPU.
func runsOn(m *ir.Module) (cpu, gpu []*ir.Layer) {
	has := slices.ContainsFunc(m.Targets, func(t ir.Target) bool { return t.Arch == "ptx" })
	for _, l := range m.Layers {
		if has && gpuplan.Takes(l) {
			gpu = append(gpu, l)
		} else {
			cpu = append(cpu, l)
		}
	}
	return cpu, gpu
}

// only is the module with some of its layers.
func only(m *ir.Module, layers []*ir.Layer) *ir.Module {
	part := *m
	part.Layers = layers
	return &part
}
