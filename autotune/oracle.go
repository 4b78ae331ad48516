package autotune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
)

// The oracle: all candidates of a race in so many interleaved rounds. Those slower
// than far times the fastest after some rounds are not it and run no further.
const (
	oracleRounds = 150
	oracleTrial  = 30
	oracleFar    = 1.5
)

// The naive policy: each candidate alone for a while, then timed for a while, and the
// smallest median wins.
const (
	naiveWarm  = 25 * time.Millisecond
	naiveTimed = 100 * time.Millisecond
	naiveBlock = time.Millisecond
)

// Oracle measures what tuning is worth: for each problem of the ops the race, repeated,
// and the naive policy choose among the same candidates, and then all of them run in
// interleaved rounds, by which the choices are judged. Records are
// neither used nor written.
func Oracle(ctx context.Context, linears []Linear, repeats int, o Options) (*OracleReport, error) {
	unlock, err := Lock(ctx, o.note)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := newTuner(o)
	t.elsewhere = true // a repeated race has nothing of the one before
	return t.oracle(ctx, linears, repeats)
}

func (t *tuner) oracle(ctx context.Context, linears []Linear, repeats int) (rep *OracleReport, err error) {
	t.load()
	t.records = newRecords("")
	t.lookup = NewLookup(t.records, t.env.Microarch)
	jobs := t.jobs(linears)
	if t.Between {
		for i, l := range linears {
			jobs[i] = t.between(l, jobs[i])
		}
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.start(ctx, linears); err != nil {
		return nil, err
	}
	rep = &OracleReport{Machine: t.env}
	for i, l := range linears {
		if len(jobs[i]) == 0 {
			continue
		}
		if t.overBudget() {
			rep.Left += len(jobs[i])
			continue
		}
		start := time.Now()
		f, err := t.enter(ctx, l, jobs[i])
		if err != nil {
			return nil, err
		}
		entering := time.Since(start).Seconds() / float64(len(jobs[i]))
		var builtin []codegen.Choice // the plan by the built-in figures, where others are used
		if t.calibrated {
			_, plan, err := codegen.Plan(l.Problem, l.Matrix, l.Mask, codegen.Builtin(t.ISA), nil)
			if err != nil {
				return nil, err
			}
			builtin = plan.Choices
		}
		var own []codegen.Config
		for _, c := range builtin {
			own = append(own, c.Config)
		}
		for _, c := range f.candidates {
			own = append(own, c.Config)
		}
		wide, err := newField(ctx, l, t.core, t.temp, judged, own)
		if err != nil {
			return nil, err
		}
		wide.files = 1 << 10 // beside those of f
		for k, j := range jobs[i] {
			if t.overBudget() {
				rep.Left += len(jobs[i]) - k
				break
			}
			t.report("oracle of %s at batch %d", l.Layer, j.batch)
			r, err := t.regret(ctx, f, wide, j, repeats, builtin)
			if err != nil {
				return nil, err
			}
			for k := range r.Tuned {
				r.Tuned[k].Took = round4(r.Tuned[k].Took + entering)
			}
			rep.Problems = append(rep.Problems, *r)
			t.done++
		}
		f.remove()
		wide.remove()
	}
	rep.judge()
	return rep, nil
}

// between adds a batch in the middle between each two neighbours.
func (t *tuner) between(l Linear, jobs []job) []job {
	var all []job
	for i, j := range jobs {
		if i > 0 && j.batch > jobs[i-1].batch+1 {
			m := (jobs[i-1].batch + j.batch) / 2
			all = append(all, job{batch: m, problem: problemOf(l.Problem, l.Mask.Density(), m, t.ISA), between: j.batch})
		}
		all = append(all, j)
	}
	return all
}

// regret judges the policies on one problem: those of f's candidates that race, by
// those of wide. builtin is the plan by the built-in figures, where others are used.
func (t *tuner) regret(ctx context.Context, f, wide *field, j job, repeats int, builtin []codegen.Choice) (*Regret, error) {
	entrants := f.at(j.batch, nil)
	reg := &Regret{Layer: f.linear.Layer, Problem: j.problem, Candidates: len(entrants), Between: j.between}
	for k := range repeats {
		start := time.Now()
		j := j
		j.problem.Op = fmt.Sprintf("linear %d", k) // another seed
		j.problem.Weights = reg.Problem.Weights
		r, lost, err := t.race(ctx, f, j, entrants)
		if err != nil {
			return nil, err
		}
		if lost != nil {
			return nil, fmt.Errorf("layer %s, batch %d: %v: %s", f.linear.Layer, j.batch, lost.candidate.Config, lost.why)
		}
		v := r.Verdict()
		took := time.Since(start).Seconds()
		v.Noise, v.Gain, v.P = round4(v.Noise), round4(v.Gain), round4(v.P)
		if k == 0 {
			reg.Race = f.timings(j.batch, entrants, r)
		}
		reg.Tuned = append(reg.Tuned, Choice{Config: entrants[v.Winner].Config.String(), Took: took, Verdict: &v})
	}
	files, err := f.filesOf(entrants)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	naive, err := t.naive(ctx, j, files[:len(entrants)])
	if err != nil {
		return nil, err
	}
	reg.Naive = Choice{Config: entrants[naive].Config.String(), Took: round4(time.Since(start).Seconds())}
	var own []codegen.Config
	if builtin != nil {
		c := choiceAt(builtin, j.batch)
		own, reg.Builtin = append(own, c), &Choice{Config: c.String()}
	}
	for _, c := range entrants {
		own = append(own, c.Config)
	}
	entrants = wide.at(j.batch, own)
	if files, err = wide.filesOf(entrants); err != nil {
		return nil, err
	}
	best, err := t.exhaust(ctx, j, files, entrants)
	if err != nil {
		return nil, err
	}
	for i, c := range entrants {
		e := Timed{Config: c.Config.String(), NS: round1(best[i]), Cycles: round1(c.Estimate(f.linear.Problem, j.batch, f.core))}
		if builtin != nil {
			e.Builtin = round1(c.Estimate(f.linear.Problem, j.batch, codegen.Builtin(t.ISA)))
		}
		for _, s := range c.same {
			e.Same = append(e.Same, s.String())
		}
		reg.Times = append(reg.Times, e)
	}
	reg.Noise = round4(math.Abs(best[len(entrants)]/best[0] - 1))
	reg.Default = Choice{Config: entrants[0].Config.String()}
	return reg, nil
}

// filesOf are the files of entrants and, last, of the first one once more.
func (f *field) filesOf(entrants []*candidate) (files []worker.File, err error) {
	for i, c := range entrants {
		path, err := f.write(c)
		if err != nil {
			return nil, err
		}
		files = append(files, worker.File{ID: i, Path: path})
	}
	first := entrants[0]
	if first.twin == "" {
		if first.twin, err = f.writeModel(first.Variant, f.linear.Problem); err != nil {
			return nil, err
		}
	}
	return append(files, worker.File{ID: len(entrants), Path: first.twin}), nil
}

// naive is the candidate that wins by the naive policy.
func (t *tuner) naive(ctx context.Context, j job, files []worker.File) (int, error) {
	if _, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(naiveBlock)}); err != nil {
		return 0, err
	}
	winner, least := 0, math.Inf(1)
	for i := range files {
		order := slices.Repeat([]int{i}, int((naiveWarm+naiveTimed)/naiveBlock))
		samples, err := t.bench.round(ctx, worker.Round{Order: order, Copies: 1})
		if err != nil {
			return 0, err
		}
		var ns []float64
		for _, s := range samples[int(naiveWarm/naiveBlock):] {
			ns = append(ns, s.NS)
		}
		if m := median(ns); m < least {
			winner, least = i, m
		}
	}
	return winner, nil
}

// exhaust is the time of each candidate in the oracle's rounds, and of the default
// once more: the default's fastest sample, times the middle of the rounds' ratios to
// the default.
func (t *tuner) exhaust(ctx context.Context, j job, files []worker.File, entrants []*candidate) ([]float64, error) {
	if _, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(blockTime)}); err != nil {
		return nil, err
	}
	ns, times := make([][]float64, len(files)), make([]float64, len(files))
	fastest := math.Inf(1)
	var alive []int
	bytes := 0
	for i := range files {
		alive = append(alive, i)
		bytes += entrants[min(i, len(entrants)-1)].Bytes()
	}
	rng := rand.New(rand.NewPCG(seedOf(j.problem), 150))
	for round := range oracleRounds {
		rng.Shuffle(len(alive), func(a, b int) { alive[a], alive[b] = alive[b], alive[a] })
		samples, err := t.round(ctx, j, alive, bytes, warmCopies(entrants[0]))
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			ns[s.Entrant] = append(ns[s.Entrant], s.NS)
		}
		fastest = min(fastest, ns[0][round])
		if round == oracleTrial {
			ratiosTo(ns, alive, times)
			least := math.Inf(1)
			for _, i := range alive {
				least = min(least, times[i])
			}
			alive = slices.DeleteFunc(alive, func(i int) bool { return i != 0 && i != len(entrants) && times[i] > oracleFar*least })
			bytes = 0
			for _, i := range alive {
				bytes += entrants[i%len(entrants)].Bytes()
			}
		}
	}
	slices.Sort(alive)
	ratiosTo(ns, alive, times) // those that left keep what they had then
	for i := range times {
		times[i] *= fastest
	}
	return times, nil
}

// ratiosTo sets, for each of some candidates that ran in all rounds, the middle of the ratios of
// its times to the first one's in the rounds that were undisturbed by all of their times.
func ratiosTo(ns [][]float64, some []int, ratios []float64) {
	var times [][]float64
	for _, i := range some {
		times = append(times, ns[i])
	}
	count := undisturbed(times)
	for _, i := range some {
		var xs []float64
		for _, r := range count {
			xs = append(xs, ns[i][r]/ns[0][r])
		}
		ratios[i] = median(xs)
	}
}
