package autotune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
)

// Drift is a committed choice that is no longer the best, or cannot be judged.
type Drift struct {
	Layer   string
	Problem Problem
	Config  string // committed
	Better  string // what is faster now, or ""
	Gain    float64
	Why     string // where nothing could be measured
}

// String is the drift in a line.
func (d Drift) String() string {
	if d.Better == "" {
		return fmt.Sprintf("layer %s, batch %d: %s", d.Layer, d.Problem.Batch, d.Why)
	}
	return fmt.Sprintf("layer %s, batch %d: %s is now %.1f %% faster than the committed %s", d.Layer, d.Problem.Batch, d.Better, 100*d.Gain, d.Config)
}

// Check races the committed choices against the other finalists and the plan
// without records, and reports where the choice does not hold: by the same guard by
// which it replaced the default. Checked is the number of records that were.
func Check(ctx context.Context, linears []Linear, o Options) (drifts []Drift, checked int, err error) {
	unlock, err := Lock(ctx, o.note)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	t := newTuner(o)
	return t.check(ctx, linears)
}

func (t *tuner) check(ctx context.Context, linears []Linear) (drifts []Drift, checked int, err error) {
	t.load()
	jobs, seen := map[int][]job{}, map[Problem]bool{}
	for i, l := range linears {
		if t.Only != nil && !t.Only(l.Layer) {
			continue
		}
		for _, b := range l.Problem.Batches() {
			q := problemOf(l.Problem, l.Mask.Density(), b, t.ISA)
			rec, ok := t.records.exact(t.env.Microarch, q)
			if !ok || seen[q] {
				continue
			}
			seen[q] = true
			t.sum.Problems++
			if _, err := t.lookup.validate(rec, l.Problem, t.ISA); err != nil {
				drifts = append(drifts, Drift{Layer: l.Layer, Problem: q, Config: rec.Config, Why: err.Error()})
				continue
			}
			jobs[i] = append(jobs[i], job{batch: b, problem: q})
		}
	}
	if len(jobs) == 0 {
		return drifts, 0, nil
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.start(ctx, linears); err != nil {
		return nil, 0, err
	}
	var unsettled []*contest
	for i, l := range linears {
		if len(jobs[i]) == 0 {
			continue
		}
		var committed []codegen.Config
		for _, j := range jobs[i] {
			rec, _ := t.records.exact(t.env.Microarch, j.problem)
			committed = append(committed, configsOf(rec.planned())...)
		}
		f, err := newField(ctx, l, t.core, t.temp, raced, committed)
		if err != nil {
			return nil, checked, err
		}
		for _, j := range jobs[i] {
			t.report("check %s at batch %d", l.Layer, j.batch)
			c, d, err := t.checkJob(ctx, f, j)
			if err != nil {
				return nil, checked, err
			}
			if c != nil {
				unsettled = append(unsettled, c)
			}
			if d != nil {
				drifts = append(drifts, *d)
			}
			checked++
			t.done++
		}
		f.remove()
	}
	for _, c := range unsettled {
		d, err := t.checkAgain(ctx, c)
		if err != nil {
			return nil, checked, err
		}
		if d != nil {
			drifts = append(drifts, *d)
		}
	}
	return drifts, checked, nil
}

// checkJob races one record's choice, in the place of the default, against its
// rivals. Where one of these is faster, the race that it gives has to go on.
func (t *tuner) checkJob(ctx context.Context, f *field, j job) (*contest, *Drift, error) {
	rec, _ := t.records.exact(t.env.Microarch, j.problem)
	names := append(rec.planned(), rec.Default)
	var entrants []*candidate
	for _, c := range f.at(j.batch, configsOf(names)) {
		if c.is(rec.Config) {
			entrants = slices.Insert(entrants, 0, c)
		} else if slices.ContainsFunc(names, c.is) || c.Config == f.planned(j.batch) {
			entrants = append(entrants, c)
		}
	}
	if len(entrants) == 0 || !entrants[0].is(rec.Config) {
		return nil, t.unjudged(f.linear, j, fmt.Sprintf("the weights no longer have the form of the committed %s", rec.Config)), nil
	}
	c, lost, err := t.race(ctx, f, j, entrants)
	switch {
	case err != nil:
		return nil, nil, err
	case lost != nil:
		t.bug(f.linear, lost.candidate, lost.why)
		return nil, t.unjudged(f.linear, j, fmt.Sprintf("%v: %s", lost.candidate.Config, lost.why)), nil
	}
	v := c.race.Verdict()
	if v.Refused {
		t.note("%v: two runs of the same kernels differ by %.1f %%, which is too much to judge", j.problem, 100*v.Noise)
	}
	if v.Fastest == 0 || v.Gain <= leastGain {
		return nil, nil, nil
	}
	return c, nil, nil
}

// checkAgain is the drift that a race comes to in further sittings, if it has a winner there.
func (t *tuner) checkAgain(ctx context.Context, c *contest) (*Drift, error) {
	t.report("check %s at batch %d again", c.linear.Layer, c.job.batch)
	for c.race.Again() {
		lost, err := t.sitAgain(ctx, c)
		if err != nil {
			return nil, err
		}
		if lost != nil {
			t.bug(c.linear, lost.candidate, lost.why)
			return t.unjudged(c.linear, c.job, fmt.Sprintf("%v: %s", lost.candidate.Config, lost.why)), nil
		}
	}
	v := c.race.Verdict()
	if v.Winner == 0 {
		return nil, nil
	}
	rec, _ := t.records.exact(t.env.Microarch, c.job.problem)
	return &Drift{Layer: c.linear.Layer, Problem: c.job.problem, Config: rec.Config, Better: c.names[v.Winner], Gain: v.Gain}, nil
}

// unjudged is the drift of a record that cannot be judged.
func (t *tuner) unjudged(l Linear, j job, why string) *Drift {
	rec, _ := t.records.exact(t.env.Microarch, j.problem)
	return &Drift{Layer: l.Layer, Problem: j.problem, Config: rec.Config, Why: why}
}

// configsOf reads configurations, leaving out what cannot be read.
func configsOf(names []string) []codegen.Config {
	var cs []codegen.Config
	for _, name := range names {
		if c, err := codegen.ParseConfig(name); err == nil {
			cs = append(cs, c)
		}
	}
	return cs
}
