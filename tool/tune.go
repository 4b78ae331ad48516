package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// TuneOptions are the options of Tune.
type TuneOptions struct {
	Source
	Layers string        // a regular expression; "" is all of them
	ISA    string        // level to tune for; "" is this machine's best of the spec's
	Budget time.Duration // no race starts after it; 0 is no limit
	Again  bool          // measure what has a record already
	// Calibrate measures what the machine can do even if that was measured before.
	Calibrate bool
	GPU       OpenGPU // for layers that run on one
	// Workers is the folder of compiled candidates; "" is one in the user's cache.
	Workers string
}

// Tune measures which configuration computes each layer fastest on this machine and
// keeps what it found in the folder tuned beside the spec, where gen and pack find
// it.
func Tune(ctx context.Context, c Console, o TuneOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	only, err := o.only(m.Layers)
	if err != nil {
		return err
	}
	cpu, onGPU := runsOn(m.Module)
	if only != nil {
		others := func(l *ir.Layer) bool { return !only(l.Name) }
		cpu, onGPU = slices.DeleteFunc(cpu, others), slices.DeleteFunc(onGPU, others)
	}
	if len(onGPU) > 0 {
		if err := o.tuneGPU(ctx, c, m, onGPU); err != nil || len(cpu) == 0 {
			return err
		}
	}
	linears, options, p, err := o.prepare(c, m)
	if err != nil {
		return err
	}
	sum, err := autotune.Tune(ctx, linears, options)
	p.end()
	if sum != nil && sum.Calibration != nil && o.Calibrate {
		if err := printCalibration(c.Out, sum.Calibration, options.ISA); err != nil {
			return err
		}
	}
	if sum != nil && (err == nil || sum.Tuned > 0) {
		printTuning(c, sum, m.path)
	}
	return err
}

// TuneCheck measures the choices of the committed records again, and returns Findings
// where one is no longer the best.
func TuneCheck(ctx context.Context, c Console, o TuneOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	linears, options, p, err := o.prepare(c, m)
	if err != nil {
		return err
	}
	drifts, checked, err := autotune.Check(ctx, linears, options)
	p.end()
	if err != nil {
		return err
	}
	for _, d := range drifts {
		fmt.Fprintln(c.Out, d)
	}
	fmt.Fprintf(c.Out, "%d records measured again, %d hold no longer\n", checked, len(drifts))
	if len(drifts) > 0 {
		return &Findings{Summary: fmt.Sprintf("records of %s have drifted; run `sparsegen tune --again %s`", m.path, m.path)}
	}
	return nil
}

// TuneCompile only compiles the candidates that a tuning of the spec needs, for this
// machine or another one without Go, and prints where they are.
func TuneCompile(ctx context.Context, c Console, o TuneOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	linears, options, p, err := o.options(c, m)
	if err != nil {
		return err
	}
	binary, err := autotune.Compile(ctx, linears, options)
	p.end()
	if err == nil {
		fmt.Fprintln(c.Out, binary)
	}
	return err
}

// OracleOptions are the options of TuneOracle.
type OracleOptions struct {
	TuneOptions
	Repeat int // races of each problem
	// Between also judges, at batches between those that a plan compares, the choice
	// that serves them.
	Between bool
	From    []string // reports to be judged together; nothing is measured then
	JSON    bool
}

// TuneOracle judges the choices of the race, of the naive policy, of transfer and of
// the cost model by an exhaustive measurement, with the race repeated. As JSON it
// prints an autotune.OracleReport.
func TuneOracle(ctx context.Context, c Console, o OracleOptions) error {
	r, err := o.oracle(ctx, c)
	if err != nil {
		return err
	}
	if o.JSON {
		enc := json.NewEncoder(c.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	tw := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "layer\tbatch\tcandidates\tnoise\tbest µs\tmodel\trace\tnaive\ttransfer\trank\tbuilt-in\t")
	for _, r := range r.Problems {
		worst := r.Tuned[0].Regret
		for _, t := range r.Tuned {
			worst = max(worst, t.Regret)
		}
		builtin := r.Rank
		if r.Builtin != nil {
			builtin = r.RankBuiltin
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%.1f%%\t%.1f\t+%.1f%%\t+%.1f%%\t+%.1f%%\t+%.1f%%\t%.2f\t%.2f\t\n", r.Layer, r.Problem.Batch, r.Candidates, 100*r.Noise,
			r.OracleNS/1e3, 100*r.Default.Regret, 100*worst, 100*r.Naive.Regret, 100*r.Transfer.Regret, r.Rank, builtin)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.Out)
	fmt.Fprintln(tw, "policy\tchoices\tregret\tp95\tmost\tslower than the model\tmedian s\tp95 s\t")
	for _, s := range r.Policies {
		fmt.Fprintf(tw, "%s\t%d\t%.2f%%\t%.1f%%\t%.1f%%\t%d\t%.2f\t%.2f\t\n", s.Policy, s.Choices, 100*s.Geomean, 100*s.P95, 100*s.Max, s.Slower, s.Median, s.P95Took)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	switch used, builtin := r.Ranks(); {
	case builtin != 0:
		fmt.Fprintf(c.Out, "rank correlation of the model's estimates with the times, mean: %.3f by the calibrated figures, %.3f by the built-in ones\n", used, builtin)
	case used != 0:
		fmt.Fprintf(c.Out, "rank correlation of the model's estimates with the times, mean: %.3f by the built-in figures; `sparsegen tune --calibrate` measures others\n", used)
	}
	if r.Left > 0 {
		fmt.Fprintf(c.Out, "%d problems beyond the budget\n", r.Left)
	}
	return nil
}

// oracle measures, or reads what was measured.
func (o OracleOptions) oracle(ctx context.Context, c Console) (*autotune.OracleReport, error) {
	if len(o.From) > 0 {
		reports := make([]autotune.OracleReport, len(o.From))
		for i, name := range o.From {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(text, &reports[i]); err != nil {
				return nil, fmt.Errorf("%s: not a report of tune --oracle --json: %w", name, err)
			}
		}
		return autotune.MergeOracles(reports)
	}
	if o.Repeat < 1 {
		return nil, fmt.Errorf("--repeat %d: want at least 1", o.Repeat)
	}
	m, err := o.open(c)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	linears, options, p, err := o.prepare(c, m)
	if err != nil {
		return nil, err
	}
	options.Between = o.Between
	r, err := autotune.Oracle(ctx, linears, o.Repeat, options)
	p.end()
	return r, err
}

// TuneExplain prints the races behind a layer's records, and why their winners win.
func TuneExplain(c Console, o TuneOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	linears, isa, _, err := o.linears(m)
	if err != nil {
		return err
	}
	for _, line := range m.tuned.records.Notes {
		fmt.Fprintln(c.Log, line)
	}
	for i, l := range linears {
		if i > 0 {
			fmt.Fprintln(c.Out)
		}
		if err := autotune.Explain(c.Out, l, m.tuned.records, m.tuned.machine, m.tuned.core(isa)); err != nil {
			return err
		}
	}
	return nil
}

// prepare is what a tuning of a model needs.
func (o TuneOptions) prepare(c Console, m *model) (linears []autotune.Linear, a autotune.Options, p *progress, err error) {
	linears, a, p, err = o.options(c, m)
	if err == nil && !a.ISA.Available() {
		err = fmt.Errorf("--isa %v: this machine does not have it, and what is not there cannot be measured", a.ISA)
	}
	return linears, a, p, err
}

// options are a model's linear ops, whatever o.Layers says, with the options of a
// tuning that heeds it.
func (o TuneOptions) options(c Console, m *model) (linears []autotune.Linear, a autotune.Options, p *progress, err error) {
	p = newProgress(c, 0)
	a = autotune.Options{Dir: tunedFolder(m.path), Budget: o.Budget, Again: o.Again, Calibrate: o.Calibrate, Cache: o.Workers, Report: p.report, Note: p.note}
	cpu, _ := runsOn(m.Module)
	if a.Only, err = o.only(cpu); err != nil {
		return nil, a, p, err
	}
	o.Layers = ""
	linears, a.ISA, a.Levels, err = o.linears(m)
	if err == nil && a.Cache == "" {
		a.Cache, err = cacheFolder()
	}
	return linears, a, p, err
}

// only tells the layers that o.Layers names.
func (o TuneOptions) only(layers []*ir.Layer) (func(string) bool, error) {
	if o.Layers == "" {
		return nil, nil
	}
	name, err := regexp.Compile("^(?:" + o.Layers + ")$")
	if err != nil {
		return nil, fmt.Errorf("--layers %s: %w", o.Layers, err)
	}
	if !slices.ContainsFunc(layers, func(l *ir.Layer) bool { return name.MatchString(l.Name) }) {
		return nil, fmt.Errorf("--layers %s: no layer has such a name", o.Layers)
	}
	return name.MatchString, nil
}

// linears are the linear ops on the CPU of the layers that are asked for, with the
// level to tune for and those that kernels are generated for.
func (o TuneOptions) linears(m *model) (linears []autotune.Linear, isa runtime.ISA, isas []runtime.ISA, err error) {
	if err := supported(m.Module); err != nil {
		return nil, 0, nil, err
	}
	cpu, _ := runsOn(m.Module)
	only, err := o.only(cpu)
	if err != nil {
		return nil, 0, nil, err
	}
	if isa, err = planLevel(m.Module, o.ISA); err != nil {
		return nil, 0, nil, err
	}
	if isa == runtime.Generic {
		return nil, 0, nil, fmt.Errorf("no kernels in assembly to tune: the spec's targets and this machine have no instruction set level in common")
	}
	all, err := levels(m.Module)
	if err != nil {
		return nil, 0, nil, err
	}
	for _, i := range all {
		if i <= isa {
			isas = append(isas, i)
		}
	}
	for _, l := range cpu {
		if only != nil && !only(l.Name) {
			continue
		}
		some, err := linearsOf(l, m)
		if err != nil {
			return nil, 0, nil, err
		}
		linears = append(linears, some...)
	}
	if len(linears) == 0 {
		return nil, 0, nil, fmt.Errorf("no layer with weights on the CPU to tune")
	}
	return linears, isa, isas, nil
}

// linearsOf are the linear ops of a layer with their weights.
func linearsOf(l *ir.Layer, m *model) ([]autotune.Linear, error) {
	problems, err := codegen.Problems(l)
	if err != nil {
		return nil, err
	}
	total := codegen.ModelBytes(m.Module)
	var list []autotune.Linear
	for _, op := range l.Ops {
		if op.Weight == nil {
			continue
		}
		p := problems[len(list)]
		p.Model = total
		matrix, err := codegen.Matrix(op.Weight, m.tensor)
		if err != nil {
			return nil, err
		}
		mask, err := codegen.MaskFor(op.Weight, matrix, m.prune)
		if err != nil {
			return nil, err
		}
		list = append(list, autotune.Linear{
			Layer: l.Name, Tensor: op.Weight.Tensor, Problem: p, Matrix: matrix, Mask: mask,
		})
	}
	return list, nil
}

// tunedFolder is where the records of a spec are.
func tunedFolder(spec string) string { return filepath.Join(filepath.Dir(spec), autotune.Folder) }

func cacheFolder() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "sparsegen", "workers"), err
}

// report shows how far a tuning is.
func (p *progress) report(a autotune.Progress) {
	p.mu.Lock()
	p.done, p.total = a.Done, a.Total
	p.mu.Unlock()
	if p.c.Live {
		p.step("%s", a.What)
	}
}

// note prints a line that stays.
func (p *progress) note(line string) {
	p.end()
	fmt.Fprintln(p.c.Log, line)
}

// printCalibration prints what was measured beside the model's built-in figures.
func printCalibration(w io.Writer, cal *autotune.Calibration, isa runtime.ISA) error {
	fmt.Fprintf(w, "%v core of %s at %.2f GHz:\n", isa, cal.Machine.Microarch, cal.Clock)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  figure\tmeasured\tbuilt in\t")
	builtin := codegen.Builtin(isa).On(cal.Machine.Microarch).All()
	for i, r := range cal.All() {
		measured, note := "-", ""
		if r.Value != 0 {
			measured = fmt.Sprintf("%.2f", r.Value)
		}
		if r.Fitted {
			note = "; plans keep the built-in figure"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%.2f\t%s%s\n", r.Name, measured, builtin[i].Value, r.Unit, note)
	}
	return tw.Flush()
}

func printTuning(c Console, s *autotune.Summary, spec string) {
	fmt.Fprintf(c.Out, "%d problems on %s: %d had a record, %d tuned", s.Problems, s.Machine.Microarch, s.Known, s.Tuned)
	if s.Tuned > 0 {
		fmt.Fprintf(c.Out, "; %d changed, the tuned ones together %.2f× as fast as before", s.Changed, s.Gain)
	}
	fmt.Fprintln(c.Out)
	if s.Noisy > 0 {
		fmt.Fprintf(c.Out, "%d measured with noise above 2 %%\n", s.Noisy)
	}
	if s.Refused > 0 {
		fmt.Fprintf(c.Out, "%d too noisy to conclude anything; run `sparsegen tune %s` again when the machine is quiet\n", s.Refused, spec)
	}
	if s.Provisional > 0 {
		fmt.Fprintf(c.Out, "%d provisional, measured at one time only within the budget; run `sparsegen tune %s` again to confirm them\n", s.Provisional, spec)
	}
	if s.Left > 0 {
		fmt.Fprintf(c.Out, "%d beyond the budget; run `sparsegen tune %s` again to go on\n", s.Left, spec)
	}
}
