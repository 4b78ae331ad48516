package torture

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what a run of cases found.
type Report struct {
	Seed     uint64        `json:"seed"`
	Cases    int           `json:"cases"`
	Seconds  float64       `json:"seconds"`
	Levels   []string      `json:"levels"` // that the cases ran at
	Families []FamilyCount `json:"families"`
	// Of the configurations and kernels that there are, those which cases were
	// forced to: a family's case packs for one configuration, a kernel case calls
	// one kernel.
	Configs    int       `json:"configs"`
	AllConfigs int       `json:"all_configs"`
	Kernels    int       `json:"kernels"`
	AllKernels int       `json:"all_kernels"`
	Failures   []Failure `json:"failures"`
	Stopped    bool      `json:"stopped"` // after too many failures
}

// FamilyCount is the verdicts of a family's cases by level.
type FamilyCount struct {
	Family string           `json:"family"`
	Levels map[string]Count `json:"levels"`
}

// Count is how many cases had each verdict.
type Count struct {
	Passed     int `json:"passed"`
	Mistrusted int `json:"mistrusted"`
	Failed     int `json:"failed"`
}

func (c *Count) add(v Verdict) {
	switch v {
	case Passed:
		c.Passed++
	case Mistrusted:
		c.Mistrusted++
	default:
		c.Failed++
	}
}

// tally counts outcomes.
type tally struct {
	families         map[string]map[string]*Count
	configs, kernels map[string]bool
	cases            int
	failures         []Failure
}

func newTally() *tally {
	return &tally{families: map[string]map[string]*Count{}, configs: map[string]bool{}, kernels: map[string]bool{}}
}

func (t *tally) add(o outcome) {
	t.cases++
	levels := t.families[o.Family]
	if levels == nil {
		levels = map[string]*Count{}
		t.families[o.Family] = levels
	}
	for isa, v := range o.Verdicts {
		if levels[isa] == nil {
			levels[isa] = &Count{}
		}
		levels[isa].add(v)
	}
	for _, c := range o.Covers {
		t.configs[c] = true
	}
	if o.Kernel != "" {
		t.kernels[o.Kernel] = true
	}
	t.failures = append(t.failures, o.Failures...)
}

// report is the tally so far.
func (t *tally) report(s *space) *Report {
	r := &Report{
		Cases: t.cases, Kernels: len(t.kernels), AllKernels: len(s.keys), AllConfigs: len(s.configs),
		Failures: slices.SortedStableFunc(slices.Values(t.failures), func(a, b Failure) int { return int(a.Case) - int(b.Case) }),
	}
	for c := range t.configs {
		if s.configs[c] {
			r.Configs++
		}
	}
	for _, f := range s.names() {
		if t.families[f] == nil {
			continue
		}
		row := FamilyCount{f, map[string]Count{}}
		for isa, n := range t.families[f] {
			row.Levels[isa] = *n
		}
		r.Families = append(r.Families, row)
	}
	return r
}

// write prints the report.
func (r *Report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "passed / mistrusted / failed\t%s\n", strings.Join(r.Levels, "\t"))
	for _, f := range r.Families {
		fmt.Fprint(t, f.Family)
		for _, isa := range r.Levels {
			if n, ok := f.Levels[isa]; ok {
				fmt.Fprintf(t, "\t%d / %d / %d", n.Passed, n.Mistrusted, n.Failed)
			} else {
				fmt.Fprint(t, "\t-")
			}
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "\nFAILED: %s\n%s: %s\n%s", f.Repro, f.ISA, f.What, f.Explain)
		if f.Smaller != "" {
			fmt.Fprintf(w, "smaller, and still wrong: %s", f.Smaller)
		}
	}
	if r.Stopped {
		fmt.Fprintf(w, "\nstopped after %d failures\n", len(r.Failures))
	}
	_, err := fmt.Fprintf(w, "\nseed %d: %d cases in %.0f s (%.0f a second), %d failed; %d of %d configurations, %d of %d kernels by themselves\n",
		r.Seed, r.Cases, r.Seconds, float64(r.Cases)/max(r.Seconds, 1e-9), len(r.Failures), r.Configs, r.AllConfigs, r.Kernels, r.AllKernels)
	return err
}
