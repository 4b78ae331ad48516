package tool

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/autotune/gputune"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// tuned is the records beside a spec, and what planning took from them.
type tuned struct {
	records *autotune.Records
	lookup  *autotune.Lookup
	gpu     *gputune.Records
	machine string // the kind of machine whose records count first

	used  map[autotune.Source]int // problems, by where their choice is from
	stale []string
}

// loadTuned reads the records beside a spec. They are those of the kind of machine
// that is named; where none is, of this one, or if there are none of it, of the
// first by name: packing on a machine without records gives the same file as on
// any other.
func loadTuned(spec, machine string) (*tuned, error) {
	t := &tuned{records: autotune.Load(tunedFolder(spec)), gpu: gputune.Load(tunedFolder(spec)), machine: machine, used: map[autotune.Source]int{}}
	names := t.records.Machines()
	switch {
	case machine != "":
		if !slices.Contains(names, machine) {
			return nil, fmt.Errorf("--machine %s: %s has no records of it", machine, tunedFolder(spec))
		}
	case slices.Contains(names, autotune.Machine().Microarch):
		t.machine = autotune.Machine().Microarch
	case len(names) > 0:
		t.machine = names[0]
	}
	t.lookup = autotune.NewLookup(t.records, t.machine)
	return t, nil
}

// choose is the planner's question. It is nil without records.
func (t *tuned) choose() codegen.Tuned {
	if len(t.records.Machines()) == 0 {
		return nil
	}
	return func(p codegen.Problem, density float64, batch int, isa runtime.ISA) []codegen.Measured {
		f := t.lookup.Find(p, density, batch, isa)
		t.used[f.Source]++
		if f.Why != "" {
			t.stale = append(t.stale, f.Why)
		}
		return f.Measured
	}
}

// objected counts the choices of a plan that the model took back.
func (t *tuned) objected(plan *codegen.LayerPlan) {
	for _, m := range plan.Objected {
		t.used[autotune.Source(m.From)]--
		t.used[autotune.Objected]++
	}
}

// say prints a line on where the choices came from, one on each record that was
// passed over, and the command that would improve them.
func (t *tuned) say(c Console, spec string) {
	for _, line := range slices.Concat(t.records.Notes, t.gpu.Notes, t.stale) {
		fmt.Fprintln(c.Log, line)
	}
	if len(t.used) == 0 {
		return
	}
	text, better := "", false
	for _, s := range []autotune.Source{autotune.Exact, autotune.Nearby, autotune.OtherCPU, autotune.Model, autotune.Objected} {
		if n := t.used[s]; n > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d by %s", n, s)
			better = better || s != autotune.Exact
		}
	}
	fmt.Fprintf(c.Log, "choices for %s: %s", t.machine, text)
	if better {
		fmt.Fprintf(c.Log, "; `sparsegen tune %s` would measure the rest", spec)
	}
	fmt.Fprintln(c.Log)
}

// recordedKernels are the kernels of the records' choices for layers: gen writes them
// besides those of the planner's candidates.
func (t *tuned) recordedKernels(problems []codegen.Problem, isas []runtime.ISA) []codegen.Kernel {
	var ks []codegen.Kernel
	for _, p := range problems {
		for _, c := range t.records.Configs(p, isas) {
			ks = append(ks, c.Kernels(p.TokenMajor)...)
		}
	}
	return ks
}
