package autotune

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/codegen"
)

// outcome is what became of a problem.
type outcome struct {
	problem        Problem
	gain           float64 // the time of what stays where nothing is faster over that of the choice
	changed, noisy bool
}

// provisional takes from jobs those whose records are of a first sitting, as long as the
// journal has its rounds: what is missing is another sitting.
func (t *tuner) provisional(linears []Linear, jobs map[int][]job) (list []*contest) {
	for i, l := range linears {
		jobs[i] = slices.DeleteFunc(jobs[i], func(j job) bool {
			rec, ok := t.records.exact(t.env.Microarch, j.problem)
			old := t.journal.races[j.problem]
			if !ok || !rec.Provisional || old == nil || old.worker != t.worker {
				return false
			}
			if _, err := t.lookup.validate(rec, l.Problem, t.ISA); err != nil {
				return false
			}
			plan := slices.Index(old.entrants, rec.Default)
			if plan < 0 {
				return false
			}
			c := newContest(l, j, old.entrants, plan, old.rounds)
			for _, e := range rec.Timings {
				c.cycles[e.Config] = e.Cycles
			}
			list = append(list, c)
			return true
		})
	}
	return list
}

// confirm holds another sitting of each race that wants one.
func (t *tuner) confirm(ctx context.Context) error {
	for _, f := range t.shelf {
		t.tidy(f)
	}
	all := t.unsettled
	t.unsettled = nil
	for i, c := range all {
		if t.overBudget() {
			t.sum.Provisional += len(all) - i
			return nil
		}
		t.report("race %s at batch %d again", c.linear.Layer, c.job.batch)
		lost, err := t.sitAgain(ctx, c)
		if err != nil {
			return err
		}
		if lost != nil { // the race starts anew, without it
			t.bug(c.linear, lost.candidate, lost.why)
			if err := t.journal.forget(c.job.problem); err != nil {
				return err
			}
			if err := t.tuneLinear(ctx, c.linear, []job{c.job}); err != nil {
				return err
			}
			continue
		}
		if err := t.conclude(c); err != nil {
			return err
		}
	}
	return nil
}

// conclude keeps the record of a race: a provisional one where it wants another sitting.
func (t *tuner) conclude(c *contest) error {
	j, v := c.job, c.race.Verdict()
	if v.Refused && c.race.Again() { // with the weights elsewhere in memory
		t.unsettled = append(t.unsettled, c)
		return nil
	}
	if v.Refused {
		t.sum.Refused++
		t.note("%v: two runs of the same kernels differ by %.1f %%, which is too much for a record; try again when the machine is quiet", j.problem, 100*v.Noise)
		if t.journal == nil {
			return nil
		}
		return t.journal.forget(j.problem)
	}
	winner, err := codegen.ParseConfig(c.names[v.Winner])
	if err != nil {
		return err
	}
	hash, err := t.lookup.kernelHash(winner, c.linear.Problem.TokenMajor, t.ISA)
	if err != nil {
		return err
	}
	rec := Record{
		Problem: j.problem, Config: c.names[v.Winner], Default: c.names[c.plan], P: 1, Noise: round4(v.Noise), Quality: "ok",
		Sittings: c.race.Sittings(), Provisional: c.race.Again(), Timings: c.timings(),
		Raced: len(c.names), Kernels: hash, Generator: generator(), Date: t.now().UTC().Format(time.DateOnly), Machine: t.env, Load: c.load,
	}
	if p, ok := t.bench.(*process); ok {
		rec.Machine.Clock = p.clock
	}
	o := outcome{j.problem, 1, v.Winner != 0, v.Noisy}
	if v.Noisy {
		rec.Quality = "noisy"
	}
	if c.plan != 0 {
		rec.Before = c.names[0]
	}
	if v.Winner != 0 {
		o.gain = 1 / (1 - v.Gain)
	}
	if v.Winner != c.plan {
		gain, p := c.race.Gain(v.Winner, c.plan)
		rec.Gain, rec.P = round4(gain), round4(p)
	}
	t.outcomes = append(slices.DeleteFunc(t.outcomes, func(o outcome) bool { return o.problem == j.problem }), o)
	if rec.Provisional {
		t.unsettled = append(t.unsettled, c)
	} else {
		t.sum.Races = append(t.sum.Races, c.took)
		t.done++
	}
	return t.records.Save(rec)
}

// sumUp fills in what the summary says of the records that this tuning wrote.
func (t *tuner) sumUp() {
	var gains []float64
	for _, o := range t.outcomes {
		gains = append(gains, o.gain)
		t.sum.Tuned++
		t.sum.Changed += btoi(o.changed)
		t.sum.Noisy += btoi(o.noisy)
	}
	if len(gains) > 0 {
		t.sum.Gain = geomean(gains)
	}
}

// timings are the lines of a race.
func (c *contest) timings() (list []Entry) {
	ranking := c.race.Ranking()
	for _, e := range ranking[:min(mostKept, len(ranking))] {
		at := c.race.Timing(e)
		list = append(list, Entry{c.names[e], round1(at.Min), round1(at.Median), at.Samples, round1(c.cycles[c.names[e]])})
	}
	return list
}

// mostKept is how many of a race's entrants its record names.
const mostKept = 12

func round1(x float64) float64 { return math.Round(x*10) / 10 }

// round4 keeps four digits behind the point, and something of what is smaller.
func round4(x float64) float64 {
	if r := math.Round(x*1e4) / 1e4; r != 0 {
		return r
	}
	return twoDigits(x)
}
