package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sparsegen/sparsegen/inspect"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/prune"
)

// DemoOptions are the options of Demo.
type DemoOptions struct {
	Small bool   // the net that comes with sparsegen, without a download
	Keep  string // leave what the demo makes in this folder; "" removes it
}

// demoPatterns are what the demo prunes to.
var demoPatterns = []struct{ name, pattern string }{
	{"half", "unstructured(sparsity=0.5)"},
	{"two of four", "nm(2,4)"},
}

// Demo takes a real model from its weights to timed kernels in a program:
// inspect, prune, generate, build, check against the float64 reference, time
// against dense kernels, and, for the sentence encoder, compare sentences.
func Demo(ctx context.Context, c Console, o DemoOptions) (err error) {
	begin := time.Now()
	dir := o.Keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sparsegen-demo-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	net, fetched, err := chooseNet(ctx, c, o.Small, dir)
	if err != nil {
		return err
	}
	d := demo{c: c, dir: dir, net: net}
	begin = begin.Add(fetched) // a download does not count
	if err := d.inspect(); err != nil {
		return err
	}
	tables := make([][]Measurement, len(demoPatterns))
	for i, p := range demoPatterns {
		if tables[i], err = d.pattern(ctx, p.name, p.pattern); err != nil {
			return err
		}
	}
	d.heading("speed-up over sparsegen's own dense kernels, one thread")
	if err := speedups(c.Out, tables); err != nil {
		return err
	}
	if net.sentences != "" {
		if err := d.sentences(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.Out, "\n%.0f seconds", time.Since(begin).Seconds())
	if fetched > time.Second {
		fmt.Fprintf(c.Out, " after a download of %.0f", fetched.Seconds())
	}
	if o.Keep != "" {
		fmt.Fprintf(c.Out, "; specs, weights and packed models are in %s", o.Keep)
	}
	fmt.Fprintln(c.Out)
	return nil
}

// demo is one run of Demo.
type demo struct {
	c   Console
	dir string
	net *demoNet
}

// quiet is the console of a step: its results go nowhere, and its progress shows
// on a terminal alone, since the demo tells its own story.
func (d *demo) quiet() Console {
	c := Console{Out: io.Discard, Log: io.Discard, Live: d.c.Live}
	if c.Live {
		c.Log = d.c.Log
	}
	return c
}

func (d *demo) heading(format string, args ...any) {
	fmt.Fprintf(d.c.Out, "\n== "+format+"\n\n", args...)
}

// command shows what a user would type for the step.
func (d *demo) command(format string, args ...any) {
	fmt.Fprintf(d.c.Out, "$ sparsegen "+format+"\n", args...)
}

func (d *demo) tensors() string { return "^(" + strings.Join(d.net.quoted(), "|") + ")$" }

func (d *demo) inspect() error {
	d.heading("%s", d.net.title)
	d.command("inspect %s --tensors RE --trials", filepath.Base(d.net.weights))
	r, err := inspect.Files([]string{d.net.weights}, inspect.Options{
		Tensors: regexp.MustCompile(d.tensors()), Trials: true, Progress: d.c.Progress("inspect"),
	})
	if err != nil {
		return err
	}
	return r.WriteText(d.c.Out, false)
}

// pattern prunes the model to a pattern, and generates, builds, checks and times
// its kernels.
func (d *demo) pattern(ctx context.Context, name, pattern string) ([]Measurement, error) {
	d.heading("%s: %s", name, pattern)
	p, err := patterns.Parse(pattern)
	if err != nil {
		return nil, err
	}
	stem := strings.ReplaceAll(name, " ", "-")
	pruned := filepath.Join(d.dir, stem+".safetensors")
	d.command("prune %s %s --pattern '%s' --tensors RE", filepath.Base(d.net.weights), filepath.Base(pruned), pattern)
	r, err := prune.File(d.net.weights, pruned, prune.Options{
		Pattern: p, Tensors: regexp.MustCompile(d.tensors()), Progress: d.c.Progress("prune"),
	})
	if err != nil {
		return nil, err
	}
	least := 1.0
	for _, t := range r.Tensors {
		if t.Pruned {
			least = min(least, t.MagnitudeKept)
		}
	}
	fmt.Fprintf(d.c.Out, "%d matrices keep at least %.1f%% of their magnitude\n", len(d.net.quoted()), 100*least)
	spec := filepath.Join(d.dir, stem+".sg")
	if err := atomicfile.WriteBytes(spec, []byte(d.net.spec(filepath.Base(pruned), pattern))); err != nil {
		return nil, err
	}
	d.command("gen %s --out %s", filepath.Base(spec), stem)
	if err := Gen(ctx, d.quiet(), GenOptions{Spec: spec, Out: filepath.Join(d.dir, stem)}); err != nil {
		return nil, err
	}
	m, err := Source{Spec: spec}.open(d.quiet())
	if err != nil {
		return nil, err
	}
	defer m.Close()
	timings, err := timingsOf(m.Module, d.net.batches)
	if err != nil {
		return nil, err
	}
	progress := newProgress(d.quiet(), 2*len(m.Layers)+1+len(timings))
	defer progress.end()
	d.command("pack %s && sparsegen run %s --random %d --check", filepath.Base(spec), filepath.Base(spec), checkedRows)
	prog, err := compile(ctx, progress, m, "")
	if err != nil {
		return nil, err
	}
	defer prog.close()
	progress.end()
	if err := d.check(ctx, prog); err != nil {
		return nil, err
	}
	d.command("bench %s", filepath.Base(spec))
	list, err := prog.measure(ctx, progress, timings, BenchOptions{Time: 200 * time.Millisecond})
	progress.end()
	if err != nil {
		return nil, err
	}
	return list, printMeasurements(d.c.Out, list)
}

// checkedRows is how many rows check runs; they fill no tile.
const checkedRows = 11

// check runs every layer on random input and compares with the reference.
func (d *demo) check(ctx context.Context, prog *program) error {
	rng := rand.New(rand.NewPCG(11, 11))
	for _, l := range prog.Layers {
		dims := map[string]int{}
		for _, dim := range l.Dims {
			dims[dim.Name] = min(checkedRows, dim.Max)
		}
		inputs, err := randomInputs(rng, l, dims)
		if err != nil {
			return err
		}
		outputs, err := prog.once(ctx, l, inputs, "")
		if err != nil {
			return err
		}
		dev, err := compare(prog.model, l, inputs, outputs, dims)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.c.Out, "%s against float64: %v\n", l.Name, dev)
		if dev.outside > 0 {
			return &Findings{Summary: fmt.Sprintf("layer %s leaves its error bound", l.Name)}
		}
	}
	return nil
}

func randomInputs(rng *rand.Rand, l *ir.Layer, dims map[string]int) ([][]float32, error) {
	var inputs [][]float32
	for _, v := range l.Inputs {
		shape, err := v.Size(dims)
		if err != nil {
			return nil, err
		}
		n := 1
		for _, e := range shape {
			n *= e
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		inputs = append(inputs, x)
	}
	return inputs, nil
}

// speedups prints one row a layer and batch, one column a pattern.
func speedups(w io.Writer, tables [][]Measurement) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "layer\tbatch\tdense µs\t")
	for _, p := range demoPatterns {
		fmt.Fprintf(tw, "%s\t", p.name)
	}
	fmt.Fprintln(tw)
	for i, first := range tables[0] {
		fmt.Fprintf(tw, "%s\t%d\t%.1f\t", first.Layer, first.Batch, first.Dense/1e3)
		for _, t := range tables {
			fmt.Fprintf(tw, "%.2f×\t", t[i].Speedup)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// sentences runs the example program on the dense model and on the pruned ones.
func (d *demo) sentences(ctx context.Context) error {
	d.heading("sentences, embedded on generated kernels: cosines")
	packed := filepath.Join(d.dir, "use.sgp")
	pack := PackOptions{Out: packed, Source: Source{
		Spec: filepath.Join(d.net.sentences, "sentences", "use.sg"), Weights: []string{d.net.weights}, Prune: true,
	}}
	if err := Pack(ctx, d.quiet(), pack); err != nil {
		return err
	}
	binary := filepath.Join(d.dir, "sentences")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./sentences")
	build.Dir = d.net.sentences
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./sentences: %w\n%s", err, out)
	}
	args := []string{"dense"}
	for _, p := range demoPatterns {
		args = append(args, p.pattern)
	}
	for i, pattern := range args {
		if i > 0 {
			fmt.Fprintln(d.c.Out)
		}
		run := exec.CommandContext(ctx, binary, "-model", filepath.Dir(d.net.weights), "-packed", packed, "-pattern", pattern)
		run.Stdout, run.Stderr = d.c.Out, d.c.Log
		if err := run.Run(); err != nil {
			return fmt.Errorf("sentences -pattern %s: %w", pattern, err)
		}
	}
	return nil
}
