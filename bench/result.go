package main

import (
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// Result is what was measured of one case. Times are of one run, in
// microseconds.
type Result struct {
	Name       string  `json:"name"`
	Family     string  `json:"family"`
	In         int     `json:"in"`
	Out        int     `json:"out"`
	Batch      int     `json:"batch"`
	Layout     string  `json:"layout"`
	Pattern    string  `json:"pattern"`
	Density    float64 `json:"density"`
	Cold       bool    `json:"cold"`
	Contenders []Entry `json:"contenders"`

	c Case
}

// Entry is one contender of a case.
type Entry struct {
	Name     string `json:"name"`
	Describe string `json:"kernel,omitempty"`
	Error    string `json:"error,omitempty"` // why there is no time
	// Micros is the thread CPU time of one run.
	Micros *Spread `json:"us,omitempty"`
	Rounds int     `json:"rounds,omitempty"`
	Reps   int     `json:"runs_per_sample,omitempty"`
	Copies int     `json:"weight_copies,omitempty"`
	Bytes  int64   `json:"weight_bytes,omitempty"`
	// GFlops counts 2·in·out·batch, zeros included.
	GFlops float64 `json:"effective_gflops,omitempty"`
	// ErrorShare is the largest error as a share of 2·γ_K·Σ|w||x|.
	ErrorShare float64 `json:"error_share"`
	// SkipsZeros is the share of the probed zeros that the kernel leaves alone.
	SkipsZeros *float64 `json:"skips_zeros,omitempty"`
	// VsOpenBLAS and VsOwnDense are how many times faster, paired by round.
	VsOpenBLAS *Spread `json:"vs_openblas,omitempty"`
	VsOwnDense *Spread `json:"vs_ours_dense,omitempty"`

	samples []float64
	failed  bool
}

// results sorts a group's contenders back to its cases.
func results(cases []Case, field []*contender, density []float64) []Result {
	var all []Result
	for i, c := range cases {
		p := c.Problem
		r := Result{
			Name: c.Name(), Family: c.Family, In: p.In, Out: p.Out, Batch: p.Batch, Layout: p.Layout.String(),
			Pattern: c.Pattern.Label, Density: density[i], Cold: c.Cold, c: c,
		}
		for _, f := range field {
			if f.pattern == "" || f.pattern == c.Pattern.Label {
				r.Contenders = append(r.Contenders, entryOf(f, p))
			}
		}
		for j := range r.Contenders {
			e := &r.Contenders[j]
			e.VsOpenBLAS = r.paired(e, "openblas")
			e.VsOwnDense = r.paired(e, oursDenseName)
		}
		all = append(all, r)
	}
	return all
}

func entryOf(f *contender, p peers.Problem) Entry {
	e := Entry{Name: f.name, Describe: f.describe, ErrorShare: f.errShare}
	if f.err != nil {
		e.Error, e.failed = f.err.Error(), !f.unsupported()
		return e
	}
	if !math.IsNaN(f.skips) {
		e.SkipsZeros = &f.skips
	}
	s := spreadOf(f.samples)
	e.Micros = &Spread{s.Median * 1e6, s.P10 * 1e6, s.P90 * 1e6}
	e.Rounds, e.Reps, e.Copies, e.Bytes, e.samples = len(f.samples), f.reps, len(f.runs), f.bytes, f.samples
	e.GFlops = 2 * float64(p.In) * float64(p.Out) * float64(p.Batch) / s.Median * 1e-9
	return e
}

// entry finds a contender that was timed.
func (r *Result) entry(name string) *Entry {
	for i := range r.Contenders {
		if e := &r.Contenders[i]; e.Name == name && e.Micros != nil {
			return e
		}
	}
	return nil
}

// entered says whether a contender of that name took part, timed or not.
func (r *Result) entered(name string) bool {
	return slices.ContainsFunc(r.Contenders, func(e Entry) bool { return e.Name == name })
}

// paired is e's speed-up over another contender of the same rounds.
func (r *Result) paired(e *Entry, over string) *Spread {
	ref := r.entry(over)
	if ref == nil || e.Micros == nil || ref == e {
		return nil
	}
	s := speedup(e.samples, ref.samples)
	return &s
}

// fastest is the one of names with the lowest median, nil if none was timed.
func (r *Result) fastest(names []string) *Entry {
	var best *Entry
	for _, n := range names {
		if e := r.entry(n); e != nil && (best == nil || e.Micros.Median < best.Micros.Median) {
			best = e
		}
	}
	return best
}
