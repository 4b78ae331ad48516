package autotune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
)

// A calibration goes through all probes again and again, so that what disturbs it for
// a second or two does not decide, but for those of which so many passes agree.
const (
	agreeing          = 3
	agreement         = 1.05 // the slowest of them over the fastest
	mostPasses        = 10
	calibrationRounds = 4              // a pass
	calibrationCopies = 8              // of the weights, in other places of memory
	calibrationBlock  = 10 * blockTime // the clock's own share has to be small
)

// calibrate measures the core and keeps what it found beside the records.
func (t *tuner) calibrate(ctx context.Context) (*Calibration, error) {
	l2 := bytesOf(t.env.L2)
	if l2 == 0 {
		l2 = 512 << 10
	}
	probes := codegen.Probes(t.ISA, l2, t.llc)
	f := &field{dir: t.temp}
	files := make([][]string, len(probes))
	for i, p := range probes {
		for _, form := range p.Forms {
			path, err := f.writeModel(form.Variant, form.Problem)
			if err != nil {
				return nil, err
			}
			defer os.Remove(path)
			files[i] = append(files[i], path)
		}
	}
	passes := make([][]pass, len(probes))
	clock := 0.0
	for n, open := 1, true; open && n <= mostPasses; n++ {
		open = false
		for i, p := range probes {
			if n > agreeing && len(agreed(passes[i])) >= agreeing {
				continue
			}
			t.report("measure what the core can do: pass %d, %s", n, p.Rate)
			ns, cycle, err := t.probe(ctx, p, files[i])
			if err != nil {
				return nil, fmt.Errorf("calibration of %s: %w", p.Rate, err)
			}
			clock = max(clock, 1/cycle)
			one := pass{cycles: ns}
			for k := range ns {
				ns[k] /= cycle
				one.sum += ns[k]
			}
			passes[i] = append(passes[i], one)
			open = open || len(agreed(passes[i])) < agreeing
		}
	}
	c := &Calibration{ISA: t.ISA.String(), Clock: digits(clock, 3), Date: t.now().UTC().Format(time.DateOnly), Machine: t.env}
	if p, ok := t.bench.(*process); ok {
		c.Machine.Clock = p.clock
	}
	var unsure []string
	for i, p := range probes {
		good := agreed(passes[i])
		if len(good) < agreeing {
			unsure = append(unsure, p.Rate)
			continue
		}
		cycles := make([]float64, len(p.Forms))
		for k := range cycles {
			var xs []float64
			for _, g := range good {
				xs = append(xs, g.cycles[k])
			}
			cycles[k] = median(xs)
		}
		c.Rates = p.Solve(cycles, c.Rates)
	}
	if len(unsure) > 0 {
		t.note("calibration: of %d passes no %d agree on %s, and the built-in figures stay; run `sparsegen tune --calibrate` when the machine is quiet", mostPasses, agreeing, strings.Join(unsure, ", "))
	}
	return c, c.save(t.Dir, t.ISA)
}

// pass is the cycles of a probe's forms, measured within a moment: their differences
// mean something only where all are disturbed as little.
type pass struct {
	cycles []float64
	sum    float64
}

// agreed is the fastest pass and those that are nearly as fast.
func agreed(all []pass) []pass {
	least := slices.MinFunc(all, func(a, b pass) int { return cmp.Compare(a.sum, b.sum) }).sum
	return slices.DeleteFunc(slices.Clone(all), func(p pass) bool { return p.sum > agreement*least })
}

// probe is the fastest sample of each form of a probe, which lies in a file, in a pass, and of
// a cycle, in nanoseconds.
func (t *tuner) probe(ctx context.Context, p codegen.Probe, paths []string) (ns []float64, cycle float64, err error) {
	j := job{batch: p.Batch, problem: Problem{Weights: "warm"}}
	var files []worker.File
	var order []int
	bytes := 0
	for i, form := range p.Forms {
		files, order, bytes = append(files, worker.File{ID: i, Path: paths[i]}), append(order, i), bytes+codegen.Packed{Variant: form.Variant}.Bytes()
		if form.Cold {
			j.problem.Weights = "cold"
		}
	}
	results, err := t.bench.open(ctx, worker.Open{Files: files, Batch: p.Batch, ISA: t.ISA.String(), Block: int64(calibrationBlock), Elsewhere: true})
	if err != nil {
		return nil, 0, err
	}
	for _, r := range results {
		if r.Err != "" {
			return nil, 0, errors.New(r.Err)
		}
	}
	ns, cycle = slices.Repeat([]float64{math.Inf(1)}, len(files)), math.Inf(1)
	for range calibrationRounds {
		samples, err := t.round(ctx, j, order, bytes, calibrationCopies)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range samples {
			ns[s.Entrant] = min(ns[s.Entrant], s.NS)
		}
		once, err := t.bench.cycle(ctx)
		if err != nil {
			return nil, 0, err
		}
		cycle = min(cycle, once)
		slices.Reverse(order)
	}
	return ns, cycle, nil
}
