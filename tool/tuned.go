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
	dir     string

	used  map[autotune.Source]int // problems, by where their choice is from
	stale []string
}

// loadTuned reads the records beside a spec. They are those of the kind of machine
// that is named; where none is, of this one, or if there are none of it, of the
// first by name: packing on a machine without records gives the same file as on
// any other. Where there are none at all, the cost model decides, for this kind of machine.
func loadTuned(spec, machine string) (*tuned, error) {
	t := &tuned{records: autotune.Load(tunedFolder(spec)), gpu: gputune.Load(tunedFolder(spec)), machine: machine, dir: tunedFolder(spec), used: map[autotune.Source]int{}}
	names, calibrated := t.records.Machines(), autotune.Calibrated(t.dir)
	switch {
	case machine != "":
		if !slices.Contains(names, machine) && !slices.Contains(calibrated, machine) {
			return nil, fmt.Errorf("--machine %s: %s has no records of it", machine, t.dir)
		}
	case slices.Contains(names, autotune.Machine().Microarch) || len(names) == 0 && slices.Contains(calibrated, autotune.Machine().Microarch):
		t.machine = autotune.Machine().Microarch
	case len(names) > 0:
		t.machine = names[0]
	case len(calibrated) > 0:
		t.machine = calibrated[0]
	default:
		t.machine = autotune.Machine().Microarch
	}
	t.lookup = autotune.NewLookup(t.records, t.machine)
	return t, nil
}

// calibration is what was measured of the kind of machine at an instruction set
// level, nil where nothing was.
func (t *tuned) calibration(isa runtime.ISA) *autotune.Calibration {
	c, err := autotune.LoadCalibration(t.dir, t.machine, codegen.Builtin(isa).ISA())
	if err != nil && !slices.Contains(t.stale, err.Error()) {
		t.stale = append(t.stale, err.Error())
	}
	return c
}

// core is what plans for an instruction set level are made for: the calibrated
// core, else the built-in one.
func (t *tuned) core(isa runtime.ISA) codegen.Core { return t.calibration(isa).Core(isa, t.machine) }

// figures says in words which ones core has.
func (t *tuned) figures(isa runtime.ISA) string {
	if c := t.calibration(isa); c != nil {
		return fmt.Sprintf("the figures measured on %s", c.Machine.Microarch)
	}
	return fmt.Sprintf("the built-in figures of %v", codegen.Builtin(isa).On(t.machine))
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
	t.passedOver(c)
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

// passedOver prints a line on each record and calibration that does not count.
func (t *tuned) passedOver(c Console) {
	for _, line := range slices.Concat(t.records.Notes, t.gpu.Notes, t.stale) {
		fmt.Fprintln(c.Log, line)
	}
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
