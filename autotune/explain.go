package autotune

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/sparsegen/sparsegen/codegen"
)

// Explain prints, for each record of an op on a kind of machine, the race as a table
// and why its winner wins: what bounds it, and what its rivals do more of.
func Explain(w io.Writer, l Linear, r *Records, microarch string, core codegen.Core) error {
	lookup := NewLookup(r, microarch)
	density, isa := l.Mask.Density(), core.ISA()
	fmt.Fprintf(w, "layer %s, %s: [%d, %d] %s, %.1f%% stored, %v on %s\n",
		l.Layer, l.Tensor, l.Problem.Out, l.Problem.In, l.Problem.Structure(), 100*density, isa, microarch)
	for _, b := range l.Problem.Batches() {
		found := lookup.Find(l.Problem, density, b, isa)
		fmt.Fprintf(w, "\nbatch %d: ", b)
		switch found.Source {
		case Model:
			fmt.Fprintln(w, "no record; the cost model decides")
			continue
		case Nearby, OtherCPU:
			fmt.Fprintf(w, "%s, by %s: %v on %s\n", found.Record.Config, found.Source, found.Record.Problem, found.Record.Machine.Microarch)
			continue
		}
		if err := explainRecord(w, l, found.Record, b, core); err != nil {
			return err
		}
	}
	return nil
}

// inSittings says in how many sittings a race was, where that is known.
func (rec Record) inSittings() string {
	switch {
	case rec.Provisional:
		return fmt.Sprintf(" in %d of %d sittings (provisional)", rec.Sittings, rec.Sittings+1)
	case rec.Sittings > 1:
		return fmt.Sprintf(" in %d sittings", rec.Sittings)
	}
	return ""
}

func explainRecord(w io.Writer, l Linear, rec Record, batch int, core codegen.Core) error {
	fmt.Fprintf(w, "%s, %s weights, measured %s%s, noise %.1f %%\n", rec.Config, rec.Weights, rec.Date, rec.inSittings(), 100*rec.Noise)
	switch rec.Config {
	case rec.Before:
		fmt.Fprintf(w, "  the choice of before stays: of %d candidates none was faster beyond doubt; it takes %s time than the plan without records, %s (sign test p = %.1g)\n",
			rec.Raced, rec.Saves(), rec.Default, rec.P)
	case rec.Default:
		if rec.Before == "" {
			fmt.Fprintf(w, "  the plan without records stays: of %d candidates none was faster beyond doubt\n", rec.Raced)
			break
		}
		fmt.Fprintf(w, "  of %d candidates the plan without records is the fastest\n", rec.Raced)
	default:
		fmt.Fprintf(w, "  of %d candidates it takes %s time than the plan without records, %s (sign test p = %.1g)\n",
			rec.Raced, rec.Saves(), rec.Default, rec.P)
	}
	if rec.Before != "" && rec.Before != rec.Config {
		fmt.Fprintf(w, "  it took the place of the choice of before, %s\n", rec.Before)
	}
	best := rec.chosen().Min
	packed := map[string]codegen.Packed{}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  candidate\tfastest\tmedian\tto the choice\tsamples\tpacked\tbound by")
	for _, t := range rec.Timings {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%.2f×\t%d\t", t.Config, micros(t.Min), micros(t.Median), t.Min/best, t.Samples)
		p, err := pack(l, t.Config)
		if err != nil {
			fmt.Fprintf(tw, "-\t%v\n", err)
			continue
		}
		packed[t.Config] = p
		bound := p.Bounds(l.Problem, batch, core)[0]
		fmt.Fprintf(tw, "%.0f kB\t%s, %.0f cycles\n", float64(p.Bytes())/1e3, bound.Name, bound.Cycles)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if win, ok := packed[rec.Config]; ok {
		fmt.Fprintf(w, "  why: %s\n", reasons(l, rec, packed, win, batch, core))
	}
	return nil
}

// Saves is what the choice saves of the default's time, as "2.0 % less", or takes beyond it, as "0.3 % more".
func (rec Record) Saves() string {
	if rec.Gain < 0 {
		return fmt.Sprintf("%.1f %% more", -100*rec.Gain)
	}
	return fmt.Sprintf("%.1f %% less", 100*rec.Gain)
}

// reasons says in words what bounds the winner and what its first rival does more
// of.
func reasons(l Linear, rec Record, packed map[string]codegen.Packed, win codegen.Packed, batch int, core codegen.Core) string {
	bounds := win.Bounds(l.Problem, batch, core)
	estimate := win.Estimate(l.Problem, batch, core)
	parts := []string{fmt.Sprintf("%v is bound by %s, at least %.0f of the %.0f cycles that the model expects",
		win.Config, bounds[0].Name, bounds[0].Cycles, estimate)}
	for _, t := range rec.Timings {
		rival, ok := packed[t.Config]
		if !ok || t.Config == rec.Config {
			continue
		}
		text := fmt.Sprintf("%s takes %.2f× its time", t.Config, t.Min/rec.chosen().Min)
		var more []string
		for _, b := range rival.Bounds(l.Problem, batch, core) {
			for _, o := range bounds {
				if o.Name == b.Name && o.Cycles > 0 && b.Cycles > 1.02*o.Cycles {
					more = append(more, fmt.Sprintf("%.2f× the cycles of %s", b.Cycles/o.Cycles, b.Name))
				}
			}
		}
		if ratio := float64(rival.Bytes()) / float64(max(win.Bytes(), 1)); ratio > 1.02 {
			more = append(more, fmt.Sprintf("%.2f× the bytes of weights", ratio))
		}
		if len(more) > 0 {
			text += ": it has " + strings.Join(more, " and ")
		} else {
			text += fmt.Sprintf(" for no more work or bytes: what differs is in the order of the loops, of which the model expects %.2f×",
				rival.Estimate(l.Problem, batch, core)/estimate)
		}
		parts = append(parts, text)
		break
	}
	return strings.Join(parts, "; ")
}

func pack(l Linear, config string) (codegen.Packed, error) {
	c, err := codegen.ParseConfig(config)
	if err != nil {
		return codegen.Packed{}, err
	}
	v, err := c.Pack(l.Matrix, l.Mask)
	return codegen.Packed{Config: c, Variant: v}, err
}

// micros is a time of so many nanoseconds.
func micros(ns float64) string { return fmt.Sprintf("%.2f µs", ns/1e3) }
