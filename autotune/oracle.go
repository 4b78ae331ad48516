package autotune

import (
	"cmp"
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

// The oracle: all candidates of a race in so many interleaved rounds, in so many sittings, between those of the races
// that it judges. Those slower than far times the fastest
// after some rounds are not it and run no further. Of the others all that a policy chose, and a few near
// the fastest, are measured as often again, alone: whoever is the fastest of many, or beaten
// by few percent, may only have been so in rounds that many others shared.
const (
	oracleRounds   = 154
	oracleSittings = 7
	oracleTrial    = 16
	oracleFar      = 1.5
	oracleNear     = 1.02
	oracleFinal    = 6 // near the fastest
)

// The trial ends within the first sitting; this does not compile where it would not.
const _ = uint(oracleRounds/oracleSittings - oracleTrial - 1)

// All further sittings of a race find their place between those of the oracle.
const _ = -uint((mostSittings - 1) % oracleSittings)

// The naive policy: each candidate alone for a while, then timed for a while, and the
// smallest median wins.
const (
	naiveWarm  = 25 * time.Millisecond
	naiveTimed = 100 * time.Millisecond
	naiveBlock = time.Millisecond
)

// Oracle measures what tuning is worth: for each problem of the ops the race, repeated,
// and the naive policy choose among the same candidates, and all of them run in
// interleaved rounds, by which the choices are judged. Sittings of a race lie apart, behind those of
// its other repetitions. Records are neither used nor written.
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
			_, plan, err := codegen.Plan(l.Problem, l.Matrix, l.Mask, t.coreOf(nil), nil)
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
	entered := f.at(j.batch, nil)
	reg := &Regret{Layer: f.linear.Layer, Problem: j.problem, Candidates: len(entered), Between: j.between}
	var own []codegen.Config
	if builtin != nil {
		c := choiceAt(builtin, j.batch)
		own, reg.Builtin = append(own, c), &Choice{Config: c.String()}
	}
	for _, c := range entered {
		own = append(own, c.Config)
	}
	entrants := wide.at(j.batch, own)
	files, err := wide.filesOf(entrants)
	if err != nil {
		return nil, err
	}
	x := newExhaustion(files, entrants, seedOf(j.problem))
	races := make([]*contest, repeats)
	for k := range races {
		j := j
		j.problem.Op = fmt.Sprintf("linear %d", k) // another seed
		r, lost, err := t.race(ctx, f, j, entered)
		if err == nil && lost != nil {
			err = lost.of(f.linear, j)
		}
		if err != nil {
			return nil, err
		}
		races[k] = r
	}
	for range oracleSittings {
		if err := x.sit(ctx, t, j); err != nil {
			return nil, err
		}
		// The first sittings are over. Each pass is one further sitting of each race.
		for range (mostSittings - 1) / oracleSittings {
			for _, r := range races {
				lost, err := t.sitAgain(ctx, r)
				if err == nil && lost != nil {
					err = lost.of(f.linear, j)
				}
				if err != nil {
					return nil, err
				}
			}
		}
	}
	for k, r := range races {
		v := r.race.Verdict()
		v.Noise, v.Gain, v.P = round4(v.Noise), round4(v.Gain), round4(v.P)
		if k == 0 {
			reg.Race = r.timings()
		}
		reg.Tuned = append(reg.Tuned, Choice{Config: r.names[v.Winner], Took: r.took.Seconds(), Sittings: r.race.Sittings(), Verdict: &v})
	}
	if files, err = f.filesOf(entered); err != nil {
		return nil, err
	}
	start := time.Now()
	naive, err := t.naive(ctx, j, files[:len(entered)])
	if err != nil {
		return nil, err
	}
	reg.Naive = Choice{Config: entered[naive].Config.String(), Took: round4(time.Since(start).Seconds())}
	chosen := []string{reg.Naive.Config}
	if reg.Builtin != nil {
		chosen = append(chosen, reg.Builtin.Config)
	}
	for _, c := range reg.Tuned {
		chosen = append(chosen, c.Config)
	}
	x.narrow(func(c *candidate) bool { return slices.ContainsFunc(chosen, c.is) })
	for range oracleSittings {
		if err := x.sit(ctx, t, j); err != nil {
			return nil, err
		}
	}
	best := x.times()
	for i, c := range entrants {
		e := Timed{Config: c.Config.String(), NS: round1(best[i]), Cycles: round1(c.Estimate(f.linear.Problem, j.batch, f.core))}
		if builtin != nil {
			e.Builtin = round1(c.Estimate(f.linear.Problem, j.batch, t.coreOf(nil)))
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

// filesOf are the files of entrants, of which all but the first may be nil, and, last, of the first
// one once more.
func (f *field) filesOf(entrants []*candidate) (files []worker.File, err error) {
	for i, c := range entrants {
		if c == nil {
			continue
		}
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

// exhaustion is the oracle's rounds.
type exhaustion struct {
	files    []worker.File
	entrants []*candidate
	rng      *rand.Rand
	alive    []int
	fastest  float64     // sample of the default
	ratios   [][]float64 // to the default, of each candidate and of the default once more, by sitting
}

func newExhaustion(files []worker.File, entrants []*candidate, seed uint64) *exhaustion {
	x := &exhaustion{files: files, entrants: entrants, rng: rand.New(rand.NewPCG(seed, oracleRounds)), fastest: math.Inf(1)}
	for i := range files {
		x.alive = append(x.alive, i)
	}
	x.ratios = make([][]float64, len(files))
	return x
}

// sit runs a sitting's share of the rounds, with the weights elsewhere in memory than before.
func (x *exhaustion) sit(ctx context.Context, t *tuner, j job) error {
	var files []worker.File
	for _, i := range x.alive {
		files = append(files, x.files[i])
	}
	if _, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(blockTime), Elsewhere: true}); err != nil {
		return err
	}
	first := len(x.ratios[0]) == 0
	ns, ratios := make([][]float64, len(x.files)), make([]float64, len(x.files))
	for round := range oracleRounds / oracleSittings * j.finer() {
		x.rng.Shuffle(len(x.alive), func(a, b int) { x.alive[a], x.alive[b] = x.alive[b], x.alive[a] })
		bytes := 0
		for _, i := range x.alive {
			bytes += x.entrants[i%len(x.entrants)].Bytes()
		}
		samples, err := t.round(ctx, j, x.alive, bytes, warmCopies(x.entrants[0]))
		if err != nil {
			return err
		}
		for _, s := range samples {
			ns[s.Entrant] = append(ns[s.Entrant], s.NS)
		}
		x.fastest = min(x.fastest, ns[0][round])
		if first && round == oracleTrial {
			ratiosTo(ns, x.alive, ratios)
			least := math.Inf(1)
			for _, i := range x.alive {
				least = min(least, ratios[i])
			}
			x.alive = slices.DeleteFunc(x.alive, func(i int) bool {
				gone := i != 0 && i != len(x.entrants) && ratios[i] > oracleFar*least
				if gone {
					x.ratios[i] = []float64{ratios[i]} // it keeps what it had
				}
				return gone
			})
		}
	}
	slices.Sort(x.alive)
	ratiosTo(ns, x.alive, ratios)
	for _, i := range x.alive {
		x.ratios[i] = append(x.ratios[i], ratios[i])
	}
	return nil
}

// narrow leaves the default, those that were chosen, and some near the fastest.
func (x *exhaustion) narrow(chosen func(*candidate) bool) {
	times, n := x.times(), len(x.entrants)
	order := slices.Clone(x.alive)
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(times[a], times[b]) })
	near := map[int]bool{}
	for _, i := range order[:min(oracleFinal, len(order))] {
		near[i] = times[i] <= oracleNear*times[order[0]]
	}
	x.alive = slices.DeleteFunc(x.alive, func(i int) bool {
		return i != 0 && i != n && !near[i] && !chosen(x.entrants[i])
	})
}

// times are those of the candidates, and of the default once more: the default's fastest sample,
// times the middle over the sittings of the middle of the rounds' ratios to the default.
func (x *exhaustion) times() []float64 {
	times := make([]float64, len(x.ratios))
	for i, rs := range x.ratios {
		times[i] = x.fastest * median(rs)
	}
	return times
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
