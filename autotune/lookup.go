package autotune

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// nearest is how far a problem may be from one that was measured to use its record:
// twice as large or half as large in each extent.
const nearest = 1

// Source is where a choice comes from.
type Source string

// The sources, in the order in which Lookup tries them.
const (
	Exact    Source = "its record"
	Nearby   Source = "the record of a similar shape"
	OtherCPU Source = "a record of another kind of machine"
	Model    Source = "the cost model"
	// Objected is where the model was asked after all.
	Objected Source = "the cost model, which objects to the record of a similar shape"
)

// Found is what a lookup gives.
type Found struct {
	Source Source
	Record Record
	// Measured is the record's choice and its rivals, as the planner takes them;
	// empty where the model decides.
	Measured []codegen.Measured
	// Why is a line on what was passed over: a record that holds no longer.
	Why string
}

// Lookup finds records for problems.
type Lookup struct {
	records   *Records
	microarch string
	hashes    map[string]string // of kernels, by configuration, layout and level
}

// NewLookup looks among records for what was measured on a kind of machine.
func NewLookup(r *Records, microarch string) *Lookup {
	return &Lookup{r, microarch, map[string]string{}}
}

// Find is the best that is known of a problem at a batch.
func (l *Lookup) Find(p codegen.Problem, density float64, batch int, isa runtime.ISA) Found {
	q := problemOf(p, density, batch, isa)
	var why string
	if rec, ok := l.records.exact(l.microarch, q); ok {
		ms, err := l.validate(rec, p, isa)
		if err == nil {
			return Found{Exact, rec, ms, ""}
		}
		why = fmt.Sprintf("%v: %v", q, err)
	}
	others := slices.DeleteFunc(l.records.Machines(), func(name string) bool { return name == l.microarch })
	for _, step := range []struct {
		source   Source
		machines []string
	}{{Nearby, []string{l.microarch}}, {OtherCPU, others}} {
		best, at := Found{}, 0.0
		for _, name := range step.machines {
			for _, rec := range l.records.All(name) {
				d := q.distance(rec.Problem)
				if d == 0 && name == l.microarch || !(d <= nearest) || len(best.Measured) > 0 && d >= at {
					continue
				}
				if _, err := l.validate(rec, p, isa); err != nil {
					continue
				}
				ms := slices.DeleteFunc(corrections(rec.Config, rec.Timings, d), func(m codegen.Measured) bool { return m.Config.Legal(p, isa) != nil })
				for i := range ms {
					ms[i].From = string(step.source)
				}
				if len(ms) > 0 {
					best, at = Found{step.source, rec, ms, why}, d
				}
			}
		}
		if len(best.Measured) > 0 {
			return best
		}
	}
	return Found{Source: Model, Why: why}
}

// validate checks a record against this version and a problem: its choice has to be
// legal and its kernels those that were measured.
func (l *Lookup) validate(rec Record, p codegen.Problem, isa runtime.ISA) ([]codegen.Measured, error) {
	c, err := codegen.ParseConfig(rec.Config)
	if err != nil {
		return nil, err
	}
	if err := c.Legal(p, isa); err != nil {
		return nil, fmt.Errorf("the record's choice is no longer legal: %w", err)
	}
	hash, err := l.kernelHash(c, p.TokenMajor, isa)
	if err != nil {
		return nil, err
	}
	if hash != rec.Kernels {
		return nil, fmt.Errorf("the record is stale: %v was measured with other kernels than this version writes", c)
	}
	ms := []codegen.Measured{{Config: c, Ratio: 1}}
	for _, f := range rec.finalists() {
		o, err := codegen.ParseConfig(f.Config)
		if err == nil && o != c && o.Legal(p, isa) == nil {
			ms = append(ms, codegen.Measured{Config: o, Ratio: max(1, f.Median/rec.chosen().Median)})
		}
	}
	return ms, nil
}

// generator identifies the packers of this version.
func generator() string { return fmt.Sprintf("%016x", codegen.Fingerprint()) }

// kernelHash identifies a configuration's kernels, by their text, and its packer, by
// what it makes of a fixed matrix.
func (l *Lookup) kernelHash(c codegen.Config, tokenMajor bool, isa runtime.ISA) (string, error) {
	key := fmt.Sprint(c, tokenMajor, isa)
	if h, ok := l.hashes[key]; ok {
		return h, nil
	}
	h, err := codegen.TextHash(c.Kernels(tokenMajor), isa)
	if err != nil {
		return "", err
	}
	h += fmt.Sprintf("-%016x", c.PackingHash())
	l.hashes[key] = h
	return h, nil
}

// Configs are the choices of all records, of all machines, that are legal for a
// problem on one of the levels: what gen emits kernels for, besides the planner's
// candidates.
func (r *Records) Configs(p codegen.Problem, isas []runtime.ISA) []codegen.Config {
	var cs []codegen.Config
	for _, name := range r.Machines() {
		for _, rec := range r.All(name) {
			for _, text := range rec.planned() {
				c, err := codegen.ParseConfig(text)
				if err != nil || slices.Contains(cs, c) {
					continue
				}
				if slices.ContainsFunc(isas, func(i runtime.ISA) bool { return c.Legal(p, i) == nil }) {
					cs = append(cs, c)
				}
			}
		}
	}
	slices.SortFunc(cs, codegen.Config.Compare)
	return cs
}
