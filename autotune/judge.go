package autotune

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
)

// Choice is what a policy chose for a problem, and what that costs.
type Choice struct {
	Config string  `json:"config"`
	NS     float64 `json:"ns"`     // in the oracle's rounds
	Regret float64 `json:"regret"` // NS over the oracle's, less 1
	Took   float64 `json:"took_s"` // to choose, in seconds; 0 for what measures nothing

	Sittings int `json:"sittings,omitempty"` // of a race
	*Verdict
}

// Regret is how far each policy's choice is from the best candidate of one problem.
type Regret struct {
	Layer      string  `json:"layer"`
	Problem    Problem `json:"problem"`
	Candidates int     `json:"candidates"`
	Noise      float64 `json:"noise"` // gap between the default and itself in the oracle's rounds
	Oracle     string  `json:"oracle"`
	OracleNS   float64 `json:"oracle_ns"`
	Default    Choice  `json:"default"` // the plan without records
	// Builtin is the plan by the model's built-in figures, and RankBuiltin the rank
	// correlation of their estimates; nil and 0 where there is no calibration beside
	// which they would count.
	Builtin     *Choice  `json:"builtin,omitempty"`
	RankBuiltin float64  `json:"rank_builtin,omitempty"`
	Tuned       []Choice `json:"tuned"`    // the race, as often as it was repeated
	Race        []Entry  `json:"race"`     // of the first: what a record of it holds
	Naive       Choice   `json:"naive"`    // each candidate alone, median
	Transfer    Choice   `json:"transfer"` // the record of the nearest other problem, or the default
	Rank        float64  `json:"rank"`     // rank correlation of the model's estimates with the times
	// Between is, of a batch that the planner does not compare, the next larger one
	// that it does, whose choice serves it: Bucket.
	Between int     `json:"between,omitempty"`
	Bucket  *Choice `json:"bucket,omitempty"`
	Times   []Timed `json:"times"` // all candidates
}

// Timed is a candidate in the oracle's rounds.
type Timed struct {
	Config string   `json:"config"`
	Same   []string `json:"same,omitempty"` // configurations of the same kernels on the same bytes
	NS     float64  `json:"ns"`             // in units of the default's of the same rounds, times that one's fastest sample
	Cycles float64  `json:"cycles"`         // the model's estimate
	// Builtin is the estimate by the built-in figures, where Cycles is by others.
	Builtin float64 `json:"builtin,omitempty"`
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

// MergeOracles is the report of measurements that were made apart, of different
// problems on one kind of machine; of a problem in several the last one counts.
func MergeOracles(reports []OracleReport) (*OracleReport, error) {
	all := &OracleReport{}
	for i, r := range reports {
		if i == 0 {
			all.Machine = r.Machine
		}
		if r.Machine.Microarch != all.Machine.Microarch {
			return nil, fmt.Errorf("measured on %s and on %s", all.Machine.Microarch, r.Machine.Microarch)
		}
		for _, p := range r.Problems {
			choices := append(slices.Clone(p.Tuned), p.Default, p.Naive)
			if p.Builtin != nil {
				choices = append(choices, *p.Builtin)
			}
			for _, c := range choices {
				if t, ok := p.timed(c.Config); !ok || !(t.NS > 0) {
					return nil, fmt.Errorf("%v: no time of %q", p.Problem, c.Config)
				}
			}
			if len(p.Tuned) == 0 {
				return nil, fmt.Errorf("%v: no race", p.Problem)
			}
			if k := slices.IndexFunc(all.Problems, func(o Regret) bool { return o.Problem == p.Problem }); k >= 0 {
				all.Problems[k] = p
			} else {
				all.Problems = append(all.Problems, p)
			}
		}
	}
	all.judge()
	return all, nil
}

// judge fills in what follows from the candidates' times.
func (rep *OracleReport) judge() {
	for i := range rep.Problems {
		r := &rep.Problems[i]
		best := slices.MinFunc(r.Times, func(a, b Timed) int { return cmp.Compare(a.NS, b.NS) })
		r.Oracle, r.OracleNS = best.Config, best.NS
		var ns, cycles, builtin []float64
		for _, t := range r.Times {
			ns, cycles, builtin = append(ns, t.NS), append(cycles, t.Cycles), append(builtin, t.Builtin)
		}
		r.Rank = round4(rankCorrelation(ns, cycles))
		if r.Builtin != nil {
			r.RankBuiltin = round4(rankCorrelation(ns, builtin))
			c := r.cost(*r.Builtin)
			r.Builtin = &c
		}
		r.Default, r.Naive = r.cost(r.Default), r.cost(r.Naive)
		for k := range r.Tuned {
			r.Tuned[k] = r.cost(r.Tuned[k])
		}
	}
	rep.transfer()
	rep.buckets()
	rep.sumUp()
}

// buckets judges, at batches between two compared ones, the choice of the larger.
func (rep *OracleReport) buckets() {
	for i := range rep.Problems {
		r := &rep.Problems[i]
		r.Bucket = nil
		for _, other := range rep.Problems {
			q := r.Problem
			q.Batch, q.Weights = r.Between, other.Problem.Weights
			if q != other.Problem {
				continue
			}
			if t, ran := r.timed(other.Tuned[0].Config); ran {
				c := r.cost(Choice{Config: t.Config})
				r.Bucket = &c
			}
		}
	}
}

// timed is a configuration's line.
func (r *Regret) timed(config string) (Timed, bool) {
	for _, t := range r.Times {
		if t.Config == config || slices.Contains(t.Same, config) {
			return t, true
		}
	}
	return Timed{}, false
}

// cost completes a choice, which ran.
func (r *Regret) cost(c Choice) Choice {
	t, _ := r.timed(c.Config)
	c.NS, c.Regret = t.NS, round4(t.NS/r.OracleNS-1)
	return c
}

// transfer judges, for each problem, what the plan would be by the record of the nearest
// other one.
func (rep *OracleReport) transfer() {
	for i := range rep.Problems {
		r := &rep.Problems[i]
		r.Transfer = r.Default
		own, err := codegen.ParseConfig(r.Default.Config)
		if err != nil {
			continue
		}
		at := math.Inf(1)
		var near []codegen.Measured
		for k, other := range rep.Problems {
			d := r.Problem.distance(other.Problem)
			if k == i || d > nearest || d >= at {
				continue
			}
			if ms := corrections(other.Tuned[0].Config, other.Race, d); len(ms) > 0 {
				near, at = ms, d
			}
		}
		r.Transfer = r.cost(Choice{Config: codegen.Transfer(own, near, func(c codegen.Config) (float64, bool) {
			t, ran := r.timed(c.String())
			return t.Cycles, ran
		}).String()})
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
		{"built-in model", func(r Regret) []Choice { return some(r.Builtin) }},
		{"bucket", func(r Regret) []Choice { return some(r.Bucket) }},
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
		if s.Choices > 0 {
			rep.Policies = append(rep.Policies, s)
		}
	}
}

// some is a choice that there may be.
func some(c *Choice) []Choice {
	if c == nil {
		return nil
	}
	return []Choice{*c}
}

// Ranks are the means over all problems with three candidates or more of the rank
// correlations of the model's estimates with the times: by the figures that plans are
// made with, and where those are calibrated by the built-in ones, else 0.
func (rep *OracleReport) Ranks() (used, builtin float64) {
	n := 0.0
	for _, r := range rep.Problems {
		if len(r.Times) >= 3 {
			used, builtin, n = used+r.Rank, builtin+r.RankBuiltin, n+1
		}
	}
	if n == 0 {
		return 0, 0
	}
	return used / n, builtin / n
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
