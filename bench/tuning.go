package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/bench/peers"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// Tune is what `sparsegen tune` does, for the cases' products. Weights are drawn anew,
// once for each shape and pattern: a record is about where non-zeros may be.
func (g *generated) Tune(cases []Case, seed uint64, folder string, log io.Writer) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	type matrix struct {
		out, in int
		pattern string
	}
	drawn := map[matrix]autotune.Linear{}
	var ops []autotune.Linear
	for _, c := range cases {
		p := c.Problem
		for _, pattern := range []Pattern{dense, c.Pattern} { // dense is the baseline of each shape
			key := matrix{p.Out, p.In, pattern.Label}
			l, ok := drawn[key]
			if !ok {
				w, err := drawWeights(rngFor(fmt.Sprint("tune", key), seed), pattern, p.Out, p.In)
				if err != nil {
					return fmt.Errorf("%s: %w", c.Name(), err)
				}
				if l, err = linearOf(w, p.Out, p.In, pattern.Spec, p.Layout, p.Batch); err != nil {
					return fmt.Errorf("%s: %w", c.Name(), err)
				}
				drawn[key] = l
			}
			l.Problem.BatchMin, l.Problem.BatchMax, l.Problem.TokenMajor = p.Batch, p.Batch, p.Layout == peers.TokenMajor
			ops = append(ops, l)
		}
	}
	var levels []runtime.ISA // those of bench/kernels that run here
	for _, isa := range []runtime.ISA{runtime.AVX2, runtime.AVX512} {
		if isa <= g.isa {
			levels = append(levels, isa)
		}
	}
	done := -1
	sum, err := autotune.Tune(context.Background(), ops, autotune.Options{
		Dir: folder, ISA: g.isa, Levels: levels, Cache: filepath.Join(cache, "sparsegen"),
		Report: func(p autotune.Progress) {
			if p.Done != done {
				done = p.Done
				fmt.Fprintf(log, "tuning %d/%d\r", p.Done, p.Total)
			}
		},
		Note: func(line string) { fmt.Fprintln(log, line) },
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "tuned on %s: %d problems, %d had a record, %d changed, %d too noisy\n", sum.Machine.Microarch, sum.Problems, sum.Known, sum.Changed, sum.Refused)
	return nil
}

// UseRecords plans as `sparsegen pack` does beside these records.
func (g *generated) UseRecords(folder string) error {
	records, machine := autotune.Load(folder), autotune.Machine().Microarch
	if len(records.All(machine)) == 0 {
		return fmt.Errorf("%s has no records of %s", folder, machine)
	}
	calibration, err := autotune.LoadCalibration(folder, machine, g.isa)
	if err != nil {
		return err
	}
	if calibration != nil {
		g.rates = calibration.Rates
	}
	lookup := autotune.NewLookup(records, machine)
	g.tuned = func(p codegen.Problem, density float64, batch int, isa runtime.ISA) []codegen.Measured {
		return lookup.Find(p, density, batch, isa).Measured
	}
	return nil
}

func (g *generated) Untuned() Ours {
	if g.tuned == nil {
		return nil
	}
	return &generated{isa: g.isa, chosen: map[planKey]*codegen.LayerPlan{}}
}
