package autotune

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
)

// apart is the least time between two sittings of a race. Where a tuning has several
// problems, their races fill it. On the machine of sampleTime the findings of sittings this far apart are not correlated.
const apart = 400 * time.Millisecond

// contest is the race of a problem, with what it takes to go on with it at another time.
type contest struct {
	linear Linear
	job    job
	names  []string           // configurations of the entrants: first what stays unless another is faster
	plan   int                // the default among them
	cycles map[string]float64 // the model's estimates of them, as far as they are known
	race   *Race
	load   Conditions
	took   time.Duration // all sittings
	ended  time.Time     // the last one
}

// newContest is a race of configurations as far as it went: what stays unless another is faster is the first of
// them, and as entrant len(names) takes part once more; the default is the one at plan.
func newContest(l Linear, j job, names []string, plan int, behind [][]Sample) *contest {
	n := len(names)
	c := &contest{linear: l, job: j, names: names, plan: plan, cycles: map[string]float64{}, race: NewRace(n+1, 0, n, seedOf(j.problem), plan)}
	c.race.finer = j.finer()
	for _, samples := range behind {
		if c.race.Next() == nil {
			if !c.race.Again() {
				break // a journal of another version
			}
			c.race.Sit()
		}
		c.race.Add(samples)
	}
	return c
}

// cold reports whether a problem's weights come from memory.
func (j job) cold() bool { return j.problem.Weights == "cold" }

// coldFiner is how many rounds there are of a problem whose weights come from memory, for one of others: a
// sample of it scatters by 10 % however long it is, and so it is short.
const coldFiner = 3

func (j job) finer() int {
	if j.cold() {
		return coldFiner
	}
	return 1
}

// loss is a candidate that a race cannot go on with.
type loss struct {
	candidate *candidate
	why       string
}

// of is the loss as an error.
func (l *loss) of(op Linear, j job) error {
	return fmt.Errorf("layer %s, batch %d: %v: %s", op.Layer, j.batch, l.candidate.Config, l.why)
}

// race holds the first sitting of a race among entrants, the plan without records among them. The first
// one stays unless another is faster.
func (t *tuner) race(ctx context.Context, f *field, j job, entrants []*candidate) (*contest, *loss, error) {
	start := time.Now()
	names := make([]string, len(entrants))
	for i, c := range entrants {
		names[i] = c.Config.String()
	}
	var behind [][]Sample
	if t.journal != nil {
		behind = t.journal.behind(j.problem, t.worker, names)
	}
	plan := slices.IndexFunc(entrants, func(c *candidate) bool { return c.Config == f.planned(j.batch) })
	if plan < 0 {
		return nil, nil, fmt.Errorf("layer %s: the planner's own choice, %v, does not run on this machine", f.linear.Layer, f.planned(j.batch))
	}
	c := newContest(f.linear, j, names, plan, behind)
	for i, e := range entrants {
		c.cycles[names[i]] = e.Estimate(f.linear.Problem, j.batch, f.core)
	}
	lost, err := t.sit(ctx, c, f, entrants, t.elsewhere)
	c.took = time.Since(start)
	return c, lost, err
}

// sitAgain holds another sitting of a race, with those that are left of it, packed anew where they are no longer on the shelf.
func (t *tuner) sitAgain(ctx context.Context, c *contest) (*loss, error) {
	if c.race.Next() == nil {
		if !c.race.Again() {
			return nil, nil
		}
		c.race.Sit()
	}
	select {
	case <-time.After(time.Until(c.ended.Add(t.apart))):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	start := time.Now()
	defer func() { c.took += time.Since(start) }()
	f := t.unshelve(c.linear)
	defer func() { t.shelve(f) }()
	entrants, err := f.entrants(ctx, c)
	if err != nil {
		return nil, err
	}
	return t.sit(ctx, c, f, entrants, true)
}

// sit races to the end of the present sitting. Entrants that left may be nil. What the race
// before left of the candidates' weights in memory is used, unless they are to lie elsewhere.
func (t *tuner) sit(ctx context.Context, c *contest, f *field, entrants []*candidate, elsewhere bool) (*loss, error) {
	defer func() { c.ended = time.Now() }()
	race, j, alias := c.race, c.job, len(entrants)
	if t.journal != nil {
		if err := t.journal.begin(j.problem, t.worker, c.names); err != nil {
			return nil, err
		}
	}
	if race.Next() == nil {
		return nil, nil
	}
	meter := startMeter()
	files, err := f.filesOf(entrants) // the alias is in memory of its own
	if err != nil {
		return nil, err
	}
	candidateOf := func(id int) *candidate {
		if id == alias {
			return entrants[0]
		}
		return entrants[id]
	}
	lost := func(err error) (*loss, error) {
		var c *crash
		if errors.As(err, &c) && c.ID >= 0 && c.ID <= alias {
			return &loss{candidateOf(c.ID), c.Msg}, nil
		}
		return nil, err
	}
	results, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(blockTime), Elsewhere: elsewhere})
	if err != nil {
		return lost(err)
	}
	if l := t.compareOutputs(results, candidateOf); l != nil {
		return l, nil
	}
	for order := race.Next(); order != nil; order = race.Next() {
		bytes := 0
		for _, e := range order[:race.Alive()] {
			bytes += candidateOf(e).Bytes()
		}
		stage := race.stage()
		samples, err := t.timed(ctx, j, order, bytes, min(warmCopies(entrants[0]), stage.copies), stage.long)
		if err != nil {
			return lost(err)
		}
		if t.journal != nil {
			if err := t.journal.round(samples); err != nil {
				return nil, err
			}
		}
		race.Add(samples)
		if done := race.Rounds(); done%8 == 0 {
			t.report("race %s at batch %d: round %d, %d candidates left", f.linear.Layer, j.batch, done, race.Alive())
		}
	}
	c.load = c.load.worse(meter.conditions())
	return nil, nil
}

// round times a round of entrants, whose weights have so many bytes together, with
// so many copies where they stay in the caches.
func (t *tuner) round(ctx context.Context, j job, order []int, bytes, copies int) ([]Sample, error) {
	return t.timed(ctx, j, order, bytes, copies, sampleTime)
}

// timed is round with samples of another length.
func (t *tuner) timed(ctx context.Context, j job, order []int, bytes, copies int, long time.Duration) ([]Sample, error) {
	r := worker.Round{Order: order, Copies: copies, Long: int64(long)}
	if j.cold() { // so many that they push each other out of the last cache
		r.Cold, r.Cache = true, t.llc
		r.Copies = 1 + int(math.Ceil(rotation*float64(t.llc)/float64(max(bytes, 1))))
	}
	measured, err := t.bench.round(ctx, r)
	samples := make([]Sample, len(measured))
	for i, s := range measured {
		samples[i] = Sample{s.ID, s.NS, s.Runs}
	}
	return samples, err
}

// compareOutputs finds a candidate that failed, or whose output on the whole problem
// differs from that of the first one of its order of summation.
func (t *tuner) compareOutputs(results []worker.Result, of func(int) *candidate) *loss {
	first := map[string]worker.Result{}
	for _, r := range results {
		c := of(r.ID)
		if r.Err != "" {
			return &loss{c, r.Err}
		}
		order := c.Config.Order()
		if a, ok := first[order]; ok && a.Hash != r.Hash {
			return &loss{c, fmt.Sprintf("its output differs from that of %v", of(a.ID).Config)}
		} else if !ok {
			first[order] = r
		}
	}
	return nil
}

// seedOf is a race's seed: the same problem races in the same order.
func seedOf(p Problem) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, p)
	return h.Sum64()
}
