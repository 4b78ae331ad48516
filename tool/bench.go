package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
)

// BenchOptions are the options of Bench.
type BenchOptions struct {
	Source
	Layer   string        // "" is all of them
	Batches []int         // nil is 1, 8, 32 and 128 as far as the spec allows
	Time    time.Duration // for each layer and batch
	ISA     string        // cap on the instruction set; "" is this machine's best
	JSON    bool
	GPU     OpenGPU // for layers that run on one
}

// Measurement is the time of one layer at one batch, as planned for its
// patterns and on dense kernels of sparsegen's own. Times are nanoseconds a run;
// a spread is the distance of the quartiles over the median.
type Measurement struct {
	Layer   string  `json:"layer"`
	Batch   int     `json:"batch"`
	ISA     string  `json:"isa"`
	Clock   string  `json:"clock"`
	Density float64 `json:"density"` // stored weights over all, of the whole layer

	Dense        float64 `json:"dense_ns"`
	DenseSpread  float64 `json:"dense_spread"`
	Sparse       float64 `json:"sparse_ns"`
	SparseSpread float64 `json:"sparse_spread"`
	Speedup      float64 `json:"speedup"`
	Blocks       int     `json:"blocks"`
}

// Bench times a spec's layers against the same layers on dense kernels, in one
// process, alternating: those on the CPU on one thread, those on a GPU in graphs.
func Bench(ctx context.Context, c Console, o BenchOptions) error {
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Module.Layers, err = layers(m.Module, o.Layer); err != nil {
		return err
	}
	if _, _, err := plannedFor(m.Module, o.ISA); err != nil {
		return err
	}
	var list []Measurement
	cpu, gpu := runsOn(m.Module)
	for _, part := range []struct {
		layers []*ir.Layer
		bench  func(context.Context, *progress, *model, []timing, BenchOptions) ([]Measurement, error)
	}{{cpu, benchCPU}, {gpu, benchGPU}} {
		if len(part.layers) == 0 {
			continue
		}
		some := *m
		some.Module = only(m.Module, part.layers)
		timings, err := timingsOf(some.Module, o.Batches)
		if err != nil {
			return err
		}
		p := newProgress(c, 2*len(part.layers)+1+len(timings))
		measured, err := part.bench(ctx, p, &some, timings, o)
		p.end()
		if err != nil {
			return err
		}
		list = append(list, measured...)
	}
	if o.JSON {
		enc := json.NewEncoder(c.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	return printMeasurements(c.Out, list)
}

// benchCPU compiles layers and times them.
func benchCPU(ctx context.Context, p *progress, m *model, timings []timing, o BenchOptions) ([]Measurement, error) {
	prog, err := compile(ctx, p, m, o.ISA)
	if err != nil {
		return nil, err
	}
	defer prog.close()
	return prog.measure(ctx, p, timings, o)
}

// timingsOf is which layers to time at which batches.
func timingsOf(m *ir.Module, batches []int) ([]timing, error) {
	var list []timing
	for _, l := range m.Layers {
		bs, err := batchesOf(l, batches)
		if err != nil {
			return nil, err
		}
		for _, b := range bs {
			list = append(list, timing{l.Name, b})
		}
	}
	return list, nil
}

// measure packs the model dense too and races both.
func (prog *program) measure(ctx context.Context, p *progress, timings []timing, o BenchOptions) ([]Measurement, error) {
	dense, _, err := packModel(ctx, p, prog.model, codegen.PackOptions{Core: prog.tuned.core(prog.isa), Prune: prog.prune, Only: onlyDense})
	if err != nil {
		return nil, err
	}
	j := job{Model: prog.packed, ISA: o.ISA, Timings: timings, Time: o.Time}
	if j.Dense, err = prog.write("dense.sgp", dense); err != nil {
		return nil, err
	}
	density := layerDensity(prog.reports)
	var list []Measurement
	next := func() {
		if n := len(list); n < len(timings) {
			p.step("time %s at batch %d", timings[n].Layer, timings[n].Batch)
		}
	}
	next()
	err = prog.do(ctx, j, func(line []byte) error {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		list = append(list, Measurement{
			Layer: r.Layer, Batch: r.Batch, ISA: prog.isa.String(), Clock: r.Clock, Density: density[r.Layer],
			Dense: r.Dense, DenseSpread: r.DenseIQR, Sparse: r.Sparse, SparseSpread: r.SparseIQR,
			Speedup: r.Dense / r.Sparse, Blocks: r.Blocks,
		})
		next()
		return nil
	})
	return list, err
}

// layerDensity is the share of a layer's weights that are stored, over all of its
// matrices.
func layerDensity(reports []packReport) map[string]float64 {
	kept, all := map[string]float64{}, map[string]float64{}
	for _, r := range reports {
		n := float64(r.Plan.Problem.Out) * float64(r.Plan.Problem.In)
		kept[r.Layer] += n * r.Plan.Density
		all[r.Layer] += n
	}
	for name, n := range all {
		kept[name] /= n
	}
	return kept
}

// batchesOf is which batches of a layer to time.
func batchesOf(l *ir.Layer, asked []int) ([]int, error) {
	if len(l.Dims) != 1 {
		return nil, fmt.Errorf("layer %s has %d symbolic extents; bench times layers with one", l.Name, len(l.Dims))
	}
	d := l.Dims[0]
	if len(asked) > 0 {
		for _, b := range asked {
			if b < d.Min || b > d.Max {
				return nil, fmt.Errorf("--batch %d: layer %s takes %s in %d..%d", b, l.Name, d.Name, d.Min, d.Max)
			}
		}
		return asked, nil
	}
	var list []int
	for _, b := range []int{1, 8, 32, 128} {
		if d.Min <= b && b <= d.Max {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		list = []int{d.Max}
	}
	return list, nil
}

func printMeasurements(w io.Writer, list []Measurement) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "layer\tdensity\tbatch\tdense µs\t±\tsparse µs\t±\tspeed-up\t")
	for _, r := range list {
		fmt.Fprintf(tw, "%s\t%.1f%%\t%d\t%.2f\t%.1f%%\t%.2f\t%.1f%%\t%.2f×\t\n", r.Layer, 100*r.Density, r.Batch,
			r.Dense/1e3, 100*r.DenseSpread, r.Sparse/1e3, 100*r.SparseSpread, r.Speedup)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	how := map[string]string{} // by clock
	for _, r := range list {
		if how[r.Clock] != "" {
			continue
		}
		how[r.Clock] = "on one thread, warm weights"
		if strings.HasPrefix(r.ISA, "ptx") {
			how[r.Clock] = "in graphs, one run behind the other, with whatever of the weights the L2 cache keeps"
		}
		if _, err := fmt.Fprintf(w, "medians of %s %s; ± is the middle half of the blocks\n", r.Clock, how[r.Clock]); err != nil {
			return err
		}
	}
	return nil
}
