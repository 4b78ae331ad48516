package tool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// Source says which spec a command works on and where its weights come from.
type Source struct {
	Spec    string   // file or folder; "" is the working folder's spec
	Weights []string // weight files in place of those that the spec names
	// Prune drops what a weight holds outside its pattern, by magnitude. Without
	// it such a weight is an error.
	Prune bool
	// Machine is the kind of machine whose records decide, a folder of those beside
	// the spec; "" is this one, or the first where there is none of this one.
	Machine string
	Retarget
}

// model is a checked spec with weights that fit it.
type model struct {
	path string
	*ir.Module
	*store
	prune bool
	tuned *tuned
}

// open reads a spec and its weights and checks that the weights fit.
func (o Source) open(c Console) (*model, error) {
	path, m, s, err := readModel(o.Spec, o.Weights)
	if err != nil {
		return nil, err
	}
	if err := o.apply(m); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if !o.Prune {
		list, err := misfits(c, m, s)
		if err == nil && len(list) > 0 {
			err = list
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	t, err := loadTuned(path, o.Machine)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &model{path, m, s, o.Prune, t}, nil
}

// PackOptions are the options of Pack.
type PackOptions struct {
	Source
	Out string // "" is the spec's name with .sgp
	ISA string // level to plan for; "" is this machine's best of the spec's
}

// Pack writes the packed model that the runtime opens. The result depends on the
// spec, the weights, the records beside the spec, the level and the kind of machine
// that are planned for, and this version of sparsegen, and on nothing else.
func Pack(ctx context.Context, c Console, o PackOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.Out == "" {
		o.Out = strings.TrimSuffix(m.path, filepath.Ext(m.path)) + ".sgp"
	}
	isa, planned, err := plannedFor(m.Module, o.ISA)
	if err != nil {
		return err
	}
	p := newProgress(c, len(m.Layers))
	packed, reports, err := packModel(ctx, p, m, codegen.PackOptions{Core: m.tuned.core(isa), Prune: o.Prune})
	p.end()
	if err != nil {
		return err
	}
	if err := sgp.WriteFile(o.Out, packed); err != nil {
		return err
	}
	if o.Prune {
		for _, r := range reports {
			if r.Kept == 1 {
				continue // dense, or it fitted before
			}
			fmt.Fprintf(c.Out, "layer %s: %s keeps %.1f%% of the magnitude of %s\n", r.Layer, r.Pattern, 100*r.Kept, r.Tensor)
		}
	}
	m.tuned.say(c, m.path)
	fmt.Fprintf(c.Out, "wrote %s, planned for %s\n", o.Out, planned)
	return nil
}

// plannedFor is the CPU's level to plan for, and the names of all processors that
// are planned for.
func plannedFor(m *ir.Module, asked string) (isa runtime.ISA, names string, err error) {
	cpu, onGPU := runsOn(m)
	switch {
	case len(cpu) > 0:
		if isa, err = fileLevel(m, asked); err != nil {
			return 0, "", err
		}
		names = isa.String()
	case asked != "":
		return 0, "", fmt.Errorf("--isa %s: an instruction set of the CPU, and no layer runs there", asked)
	}
	if len(onGPU) > 0 {
		t, err := gpuTarget(m)
		if err != nil {
			return 0, "", err
		}
		if names != "" {
			names += " and "
		}
		names += "ptx:" + t.String()
	}
	return isa, names, nil
}
