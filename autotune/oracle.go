package autotune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

// Choice is what a policy chose for a problem, and what that costs.
type Choice struct {
	Config string  `json:"config"`
	NS     float64 `json:"ns"`     // its fastest sample in the oracle's rounds
	Regret float64 `json:"regret"` // NS over the oracle's, less 1
	Took   float64 `json:"took_s"` // to choose, in seconds; 0 for what measures nothing
}

// Regret is how far each policy's choice is from the best candidate of one problem.
type Regret struct {
	Layer      string   `json:"layer"`
	Problem    Problem  `json:"problem"`
	Candidates int      `json:"candidates"`
	Noise      float64  `json:"noise"` // gap between the default and itself in the oracle's rounds
	Oracle     string   `json:"oracle"`
	OracleNS   float64  `json:"oracle_ns"`
	Default    Choice   `json:"default"`  // the plan without records
	Tuned      []Choice `json:"tuned"`    // the race, as often as it was repeated
	Naive      Choice   `json:"naive"`    // each candidate alone, median
	Transfer   Choice   `json:"transfer"` // the record of the nearest other problem, or the default
	Rank       float64  `json:"rank"`     // rank correlation of the model's estimates with the times
}

// OracleReport is the regrets of all problems, with their summary.
type OracleReport struct {
	Machine  Environment   `json:"machine"`
	Problems []Regret      `json:"problems"`
	Policies []PolicyShare `json:"policies"`
	Left     int           `json:"left"` // problems beyond the budget
}

// PolicyShare sums a policy up over all problems.
type PolicyShare struct {
	Policy  string  `json:"policy"`
	Geomean float64 `json:"geomean"` // of the ratios to the oracle's time, less 1
	P95     float64 `json:"p95"`     // of the regrets
	Max     float64 `json:"max"`
	Slower  int     `json:"slower"`   // choices more than 1 % slower than the default
	Median  float64 `json:"median_s"` // time to choose
	P95Took float64 `json:"p95_s"`
	Choices int     `json:"choices"`
}

// Oracle measures what tuning is worth: for each problem of the ops the race, repeated,
// and the naive policy choose among the same candidates, and then all of them run in
// interleaved rounds, by whose fastest samples the choices are judged. Records are
// neither used nor written.
func Oracle(ctx context.Context, linears []Linear, repeats int, o Options) (*OracleReport, error) {
	unlock, err := lockDevice(ctx, o.note)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return newTuner(o).oracle(ctx, linears, repeats)
}

func (t *tuner) oracle(ctx context.Context, linears []Linear, repeats int) (rep *OracleReport, err error) {
	t.load()
	t.records = &Records{byMA: map[string][]Record{}}
	t.lookup = NewLookup(t.records, t.env.Microarch)
	jobs := t.jobs(linears)
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.start(ctx, linears, jobs); err != nil {
		return nil, err
	}
	rep = &OracleReport{Machine: t.env}
	times := map[Problem]map[string]expected{} // of the oracle's rounds
	for i, l := range linears {
		if len(jobs[i]) == 0 {
			continue
		}
		if t.overBudget() {
			rep.Left += len(jobs[i])
			continue
		}
		f, err := newField(ctx, l, t.ISA, t.temp)
		if err != nil {
			return nil, err
		}
		for k, j := range jobs[i] {
			if t.overBudget() {
				rep.Left += len(jobs[i]) - k
				break
			}
			t.report("oracle of %s at batch %d", l.Layer, j.batch)
			r, at, err := t.regret(ctx, f, j, repeats)
			if err != nil {
				return nil, err
			}
			rep.Problems, times[j.problem] = append(rep.Problems, *r), at
			t.done++
		}
		f.remove()
	}
	rep.transfer(times)
	rep.sumUp()
	return rep, nil
}

// regret judges the policies on one problem.
func (t *tuner) regret(ctx context.Context, f *field, j job, repeats int) (*Regret, map[string]expected, error) {
	entrants := f.at(j.batch, nil)
	reg := &Regret{Layer: f.linear.Layer, Problem: j.problem, Candidates: len(entrants)}
	for k := range repeats {
		start := time.Now()
		j := j
		j.problem.Op = fmt.Sprintf("linear %d", k) // another seed
		j.problem.Weights = reg.Problem.Weights
		r, lost, err := t.race(ctx, f, j, entrants)
		if err != nil {
			return nil, nil, err
		}
		if lost != nil {
			return nil, nil, fmt.Errorf("layer %s, batch %d: %v: %s", f.linear.Layer, j.batch, lost.candidate.Config, lost.why)
		}
		reg.Tuned = append(reg.Tuned, Choice{Config: entrants[r.Verdict().Winner].Config.String(), Took: time.Since(start).Seconds()})
	}
	var files []worker.File
	for i, c := range append(slices.Clone(entrants), entrants[0]) {
		path, err := f.write(c)
		if err == nil && i == len(entrants) {
			path, err = f.writeModel(c.Variant, f.linear.Problem) // the default once more
			if err == nil {
				defer os.Remove(path)
			}
		}
		if err != nil {
			return nil, nil, err
		}
		files = append(files, worker.File{ID: i, Path: path})
	}
	start := time.Now()
	naive, err := t.naive(ctx, j, files[:len(entrants)])
	if err != nil {
		return nil, nil, err
	}
	reg.Naive = Choice{Config: entrants[naive].Config.String(), Took: time.Since(start).Seconds()}
	best, err := t.exhaust(ctx, j, files, entrants)
	if err != nil {
		return nil, nil, err
	}
	at := map[string]expected{}
	var ns, cycles []float64
	for i, c := range entrants {
		e := expected{best[i], c.Estimate(f.linear.Problem, j.batch, f.isa)}
		at[c.Config.String()] = e
		ns, cycles = append(ns, e.ns), append(cycles, e.cycles)
	}
	reg.Rank = round4(rankCorrelation(ns, cycles))
	fastest := slices.Index(ns, slices.Min(ns))
	reg.Oracle, reg.OracleNS = entrants[fastest].Config.String(), round1(ns[fastest])
	reg.Noise = round4(math.Abs(best[len(entrants)]/best[0] - 1))
	reg.Default = reg.judge(Choice{Config: entrants[0].Config.String()}, at)
	reg.Naive = reg.judge(reg.Naive, at)
	for k := range reg.Tuned {
		reg.Tuned[k] = reg.judge(reg.Tuned[k], at)
	}
	return reg, at, nil
}

// expected is a candidate's time, and the model's estimate of it.
type expected struct{ ns, cycles float64 }

// judge completes a choice.
func (r *Regret) judge(c Choice, at map[string]expected) Choice {
	c.NS = round1(at[c.Config].ns)
	c.Regret = round4(c.NS/r.OracleNS - 1)
	return c
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

// exhaust is the fastest sample of each candidate in the oracle's rounds, and of the
// default once more.
func (t *tuner) exhaust(ctx context.Context, j job, files []worker.File, entrants []*candidate) ([]float64, error) {
	if _, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(blockTime)}); err != nil {
		return nil, err
	}
	best := slices.Repeat([]float64{math.Inf(1)}, len(files))
	var alive []int
	bytes := 0
	for i := range files {
		alive = append(alive, i)
		bytes += entrants[min(i, len(entrants)-1)].Bytes()
	}
	rng := rand.New(rand.NewPCG(seedOf(j.problem), 150))
	for round := range oracleRounds {
		rng.Shuffle(len(alive), func(a, b int) { alive[a], alive[b] = alive[b], alive[a] })
		samples, err := t.round(ctx, j, alive, bytes)
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			best[s.Entrant] = min(best[s.Entrant], s.NS)
		}
		if round == oracleTrial {
			least := slices.Min(best)
			alive = slices.DeleteFunc(alive, func(i int) bool { return i != 0 && i != len(entrants) && best[i] > oracleFar*least })
			bytes = 0
			for _, i := range alive {
				bytes += entrants[i%len(entrants)].Bytes()
			}
		}
	}
	return best, nil
}

// transfer judges, for each problem, what the record of the nearest other one would
// have chosen, where the model does not object.
func (rep *OracleReport) transfer(times map[Problem]map[string]expected) {
	for i := range rep.Problems {
		r := &rep.Problems[i]
		r.Transfer = r.Default
		at := math.Inf(1)
		for k, other := range rep.Problems {
			d := r.Problem.distance(other.Problem)
			if k == i || d > nearest || d >= at {
				continue
			}
			config := other.Tuned[0].Config
			own := times[r.Problem][r.Default.Config].cycles
			if e, ran := times[r.Problem][config]; ran && e.cycles <= codegen.Objection*own {
				r.Transfer, at = r.judge(Choice{Config: config}, times[r.Problem]), d
			}
		}
	}
}

// sumUp fills in the policies.
func (rep *OracleReport) sumUp() {
	for _, p := range []struct {
		name string
		of   func(r Regret) []Choice
	}{
		{"race", func(r Regret) []Choice { return r.Tuned }},
		{"naive", func(r Regret) []Choice { return []Choice{r.Naive} }},
		{"transfer", func(r Regret) []Choice { return []Choice{r.Transfer} }},
		{"model", func(r Regret) []Choice { return []Choice{r.Default} }},
	} {
		s := PolicyShare{Policy: p.name}
		var ratios, regrets, took []float64
		for _, r := range rep.Problems {
			for _, c := range p.of(r) {
				ratios, regrets, took = append(ratios, 1+c.Regret), append(regrets, c.Regret), append(took, c.Took)
				if c.NS > 1.01*r.Default.NS {
					s.Slower++
				}
			}
		}
		if s.Choices = len(ratios); s.Choices > 0 {
			slices.Sort(regrets)
			slices.Sort(took)
			at := func(xs []float64, q float64) float64 { return round4(xs[int(q*float64(len(xs)-1)+0.5)]) }
			s.Geomean, s.P95, s.Max = round4(geomean(ratios)-1), at(regrets, 0.95), at(regrets, 1)
			s.Median, s.P95Took = at(took, 0.5), at(took, 0.95)
		}
		rep.Policies = append(rep.Policies, s)
	}
}

// rankCorrelation is Spearman's, without a correction for ties; 0 where there are
// fewer than three.
func rankCorrelation(a, b []float64) float64 {
	n := len(a)
	if n < 3 {
		return 0
	}
	ranks := func(xs []float64) []int {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(xs[i], xs[j]) })
		r := make([]int, n)
		for rank, i := range order {
			r[i] = rank
		}
		return r
	}
	ra, rb, sum := ranks(a), ranks(b), 0.0
	for i := range n {
		d := float64(ra[i] - rb[i])
		sum += d * d
	}
	return 1 - 6*sum/(float64(n)*(float64(n)*float64(n)-1))
}
