package gputune

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// Options steer Tune.
type Options struct {
	Dir     string // the folder of the records
	Weights codegen.Weights
	Prune   bool          // weights that do not fit their pattern are pruned
	Budget  time.Duration // no race starts after it; 0: none
	Again   bool          // measure what has a record already, whose choice stays unless another is faster
	// Report is told how far the tuning is, and Note what went wrong on the way, a
	// line each; either may be nil.
	Report func(autotune.Progress)
	Note   func(string)
}

// Summary is what a tuning did.
type Summary struct {
	GPU      string
	Problems int
	Known    int // had a record
	Tuned    int
	Changed  int // of these, where the default, or an earlier choice, was replaced
	Noisy    int
	Refused  int
	Left     int      // beyond the budget
	Whole    []string // tensors whose form the weights decide: not tuned
	Bugs     []string
	Gain     float64 // geometric mean over the tuned ones of the time before over the time after
}

// Of a race at most so many take part, none that the model expects to take longer
// than the best by more than a factor.
const (
	mostRaced  = 12
	hopelessly = 2
)

// Tune races the candidates of each step of the plans at each number of tokens that
// a plan compares, and keeps records of the choices.
func Tune(ctx context.Context, dev *cuda.Device, plans []*gpuplan.LayerPlan, o Options) (sum *Summary, err error) {
	note := func(format string, args ...any) {
		if o.Note != nil {
			o.Note(fmt.Sprintf(format, args...))
		}
	}
	unlock, err := autotune.Lock(ctx, note)
	if err != nil {
		return nil, err
	}
	defer unlock()
	info, err := dev.Info()
	if err != nil {
		return nil, err
	}
	sum = &Summary{GPU: kindOf(info.Name), Gain: 1}
	records := Load(o.Dir)
	for _, n := range records.Notes {
		note("%s", n)
	}
	var trials []gpuplan.Trial
	var committed []string // of each
	seen := map[Problem]bool{}
	for _, p := range plans {
		all, left, err := p.Trials()
		if err != nil {
			return nil, err
		}
		sum.Whole = append(sum.Whole, left...)
		for _, t := range all {
			q := problemOf(t.Linear, t.Problem)
			if seen[q] {
				continue
			}
			seen[q] = true
			sum.Problems++
			rec, known := records.exact(sum.GPU, t.Linear, t.Problem)
			if known && !o.Again {
				sum.Known++
				continue
			}
			trials, committed = append(trials, t), append(committed, rec.Config)
		}
	}
	b, err := newBench(dev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	dir, err := os.MkdirTemp("", autotune.Scratch)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &packing{weights: o.Weights, prune: o.Prune}
	gains, begin := 0.0, time.Now()
	for i := range trials {
		if o.Budget > 0 && time.Since(begin) > o.Budget {
			sum.Left = len(trials) - i
			break
		}
		t := &trials[i]
		if o.Report != nil {
			o.Report(autotune.Progress{Done: sum.Known + i, Total: sum.Problems, What: fmt.Sprintf("race %s at %d tokens", t.Name(), t.Problem.Tokens)})
		}
		before := clocks(ctx)
		race, entrants, err := b.race(ctx, t, committed[i], p, dir, func(c kernels.Config, why error) {
			text := fmt.Sprintf("a bug in sparsegen: %v, %s on %s: %v; it is left out, please report this line", problemOf(t.Linear, t.Problem), c.Name(), info.Name, why)
			sum.Bugs = append(sum.Bugs, text)
			note("%s", text)
		})
		if err != nil {
			return sum, err
		}
		v := race.Verdict()
		if v.Refused {
			sum.Refused++
			note("%v: two runs of the same kernel differ by %.1f %%, which is too much for a record", problemOf(t.Linear, t.Problem), 100*v.Noise)
			continue
		}
		rec := record(t, race, v, entrants)
		rec.GPU = GPU{Name: info.Name, SMs: info.SMs, Driver: info.Driver, Clocks: strings.Trim(before+" | "+clocks(ctx), "| ")}
		if v.Winner != 0 {
			sum.Changed++
			gains -= math.Log(1 - v.Gain)
		}
		if v.Noisy {
			sum.Noisy++
		}
		sum.Tuned++
		if err := records.save(rec); err != nil {
			return sum, err
		}
	}
	if sum.Tuned > 0 {
		sum.Gain = math.Exp(gains / float64(sum.Tuned))
	}
	return sum, nil
}

// clocks are what nvidia-smi says of the clocks, temperature and power of the first
// GPU, or "".
func clocks(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw", "--format=csv,noheader", "--id=0").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// entrantsOf are the candidates of a race: what is committed, if anything is, the default, and then the model's best.
func entrantsOf(t *gpuplan.Trial, committed string) []kernels.Config {
	list := []kernels.Config{t.Default}
	for _, c := range t.Candidates {
		if len(list) < mostRaced && c.Config != t.Default && c.Name() != committed && c.Cycles <= hopelessly*t.Candidates[0].Cycles {
			list = append(list, c.Config)
		}
	}
	if i := slices.IndexFunc(t.Candidates, func(c kernels.Candidate) bool { return c.Name() == committed }); i >= 0 && t.Candidates[i].Config != t.Default {
		list = slices.Insert(list, 0, t.Candidates[i].Config)
	}
	return list
}

// race runs the race of a trial, in which the choice of an earlier one stays unless another is
// faster; committed is "" without. Entrant len(entrants) is the first one once more, with buffers of its own.
func (b *bench) race(ctx context.Context, t *gpuplan.Trial, committed string, p *packing, dir string, bug func(kernels.Config, error)) (_ *autotune.Race, _ []*entrant, err error) {
	x, err := operandsOf(t, p)
	if err != nil {
		return nil, nil, err
	}
	var all []*entrant
	defer func() {
		for _, e := range all {
			err = errors.Join(err, e.close())
		}
	}()
	enter := func(c kernels.Config) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := b.enter(t, c, p, x, dir)
		if err == nil {
			all = append(all, e)
		}
		return err
	}
	plan := 0
	for _, c := range entrantsOf(t, committed) {
		if c == t.Default {
			plan = len(all)
		}
		var wrong *wrongError
		if err := enter(c); errors.As(err, &wrong) && c != t.Default {
			bug(c, err)
		} else if err != nil {
			return nil, nil, fmt.Errorf("%s at %d tokens, %s: %w", t.Name(), t.Problem.Tokens, c.Name(), err)
		}
	}
	if err := enter(all[0].config); err != nil {
		return nil, nil, fmt.Errorf("%s at %d tokens, %s: %w", t.Name(), t.Problem.Tokens, all[0].config.Name(), err)
	}
	alias := len(all) - 1
	h := fnv.New64a()
	fmt.Fprint(h, problemOf(t.Linear, t.Problem))
	race := autotune.NewRace(len(all), 0, alias, h.Sum64(), plan)
	for {
		order := race.Next()
		if order == nil {
			if !race.Again() {
				break
			}
			race.Sit() // at once: a GPU is shared with nobody
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		samples := make([]autotune.Sample, len(order))
		for i, id := range order {
			ns, err := b.sample(all[id].graph)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", all[id].config.Name(), err)
			}
			samples[i] = autotune.Sample{Entrant: id, NS: ns, Runs: 1}
		}
		race.Add(samples)
	}
	return race, all[:alias], nil
}

// record is what a race found.
func record(t *gpuplan.Trial, race *autotune.Race, v autotune.Verdict, entrants []*entrant) Record {
	rec := Record{
		Problem: problemOf(t.Linear, t.Problem), Config: entrants[v.Winner].config.Name(), Default: t.Default.Name(), P: 1,
		Noise: round4(v.Noise), Quality: "ok", Raced: len(entrants), Kernel: hashOf(entrants[v.Winner].kernel), Date: time.Now().UTC().Format(time.DateOnly),
	}
	if v.Noisy {
		rec.Quality = "noisy"
	}
	plan := slices.IndexFunc(entrants, func(e *entrant) bool { return e.config == t.Default })
	if plan != 0 {
		rec.Before = entrants[0].config.Name()
	}
	if v.Winner != plan {
		gain, p := race.Gain(v.Winner, plan)
		rec.Gain, rec.P = round4(gain), p
	}
	ranking := race.Ranking()
	for _, e := range slices.Clip(ranking) {
		at := race.Timing(e)
		rec.Timings = append(rec.Timings, autotune.Entry{Config: entrants[e].config.Name(), Min: math.Round(at.Min), Median: math.Round(at.Median), Samples: at.Samples})
	}
	return rec
}

func round4(x float64) float64 { return math.Round(x*1e4) / 1e4 }
