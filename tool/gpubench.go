package tool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// benchGPU times layers on a GPU against the same layers with weights stored
// whole.
func benchGPU(ctx context.Context, p *progress, m *model, timings []timing, o BenchOptions) (list []Measurement, err error) {
	g, err := onGPU(ctx, p, m, o.GPU)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	whole, err := g.dense(ctx, p)
	if err != nil {
		return nil, err
	}
	density := map[string]float64{}
	weights := map[string]float64{}
	for _, r := range g.reports {
		n := float64(r.GPU.Out) * float64(r.GPU.In)
		density[r.Layer] += n * r.Density
		weights[r.Layer] += n
	}
	for _, t := range timings {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.step("time %s at batch %d", t.Layer, t.Batch)
		r, err := g.race(ctx, t, whole, o.Time)
		if err != nil {
			return nil, err
		}
		r.ISA = "ptx:" + g.reports[0].Target.String()
		r.Density = density[t.Layer] / weights[t.Layer]
		list = append(list, r)
	}
	return list, nil
}

// dense packs the model again with every weight stored whole.
func (g *gpuProgram) dense(ctx context.Context, p *progress) (*runtime.Model, error) {
	everything, err := patterns.Parse("dense")
	if err != nil {
		return nil, err
	}
	m := *g.model
	m.Module = only(m.Module, nil)
	for _, l := range g.Layers {
		copied := *l
		copied.Ops = nil
		for _, op := range l.Ops {
			if op.Weight != nil {
				w, changed := *op.Weight, *op
				w.Pattern = everything
				changed.Weight = &w
				op = &changed
			}
			copied.Ops = append(copied.Ops, op)
		}
		m.Module.Layers = append(m.Module.Layers, &copied)
	}
	// Without pruning: what the planned model drops of the weights takes part.
	var packed *sgp.Model
	if packed, _, err = packModel(ctx, p, &m, codegen.PackOptions{}); err != nil {
		return nil, err
	}
	return g.open("dense.sgp", m.Module, packed)
}

// deviceSide is one of the two that race on a GPU: a graph of runs launches.
type deviceSide struct {
	graph *cuda.Graph
	runs  int
	times []float64 // nanoseconds a run
	close []func() error
}

const (
	gpuBlock  = 2 * time.Millisecond // of launches that are timed as one
	gpuLaunch = 200                  // launches in a graph at most
)

// newDeviceSide binds a layer to random inputs and captures its launches.
func (g *gpuProgram) newDeviceSide(ctx context.Context, opened *runtime.Model, t timing, stream *cuda.Stream) (_ *deviceSide, err error) {
	d := &deviceSide{runs: 1}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.end())
		}
	}()
	s, err := cuda.NewSession(opened, t.Layer, g.dev, runtime.MaxBatch(t.Batch))
	if err != nil {
		return nil, err
	}
	d.close = append(d.close, s.Close)
	alloc := func(ms []cuda.Matrix, fill bool) ([]*cuda.Buffer, error) {
		rng := rand.New(rand.NewPCG(1, uint64(t.Batch)))
		var bs []*cuda.Buffer
		for _, m := range ms {
			b, err := g.dev.Alloc(m.Bytes(t.Batch))
			if err != nil {
				return nil, err
			}
			d.close = append(d.close, b.Free)
			bs = append(bs, b)
			if !fill {
				continue
			}
			x := make([]float32, t.Batch*m.Pitch)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			if err := cuda.Upload(stream, b, roundings[g.typeOf(t.Layer)].format.Append(nil, x)); err != nil {
				return nil, err
			}
		}
		return bs, nil
	}
	in, err := alloc(s.Inputs(), true)
	if err != nil {
		return nil, err
	}
	out, err := alloc(s.Outputs(), false)
	if err != nil {
		return nil, err
	}
	bound, err := s.Bind(t.Batch, in, out)
	if err != nil {
		return nil, err
	}
	// A first graph of one run tells how many make a block.
	for {
		if d.graph, err = stream.Capture(func() error {
			for range d.runs {
				if err := bound.Launch(stream); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
		d.close = append(d.close, d.graph.Close)
		if d.runs > 1 {
			return d, ctx.Err()
		}
		for range 2 { // the first warms up
			if err := g.block(d, stream); err != nil {
				return nil, err
			}
		}
		once := d.times[len(d.times)-1]
		d.times = nil
		d.runs = min(gpuLaunch, max(2, int(float64(gpuBlock)/max(once, 1))))
	}
}

// typeOf is the element type of a layer.
func (g *gpuProgram) typeOf(layer string) ir.DType { return g.Layer(layer).Inputs[0].DType }

func (d *deviceSide) end() error {
	var errs []error
	for _, f := range slices.Backward(d.close) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// block times one launch of the graph.
func (g *gpuProgram) block(d *deviceSide, stream *cuda.Stream) (err error) {
	start, err := g.dev.NewEvent()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, start.Close()) }()
	stop, err := g.dev.NewEvent()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop.Close()) }()
	for _, f := range []func() error{
		func() error { return stream.Record(start) },
		func() error { return d.graph.Launch(stream) },
		func() error { return stream.Record(stop) },
		stop.Synchronize,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	took, err := stop.Since(start)
	d.times = append(d.times, float64(took)/float64(d.runs))
	return err
}

// race alternates blocks of both sides, each side first in turn.
func (g *gpuProgram) race(ctx context.Context, t timing, whole *runtime.Model, budget time.Duration) (r Measurement, err error) {
	stream, err := g.dev.NewStream()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	var sides [2]*deviceSide
	for i, m := range []*runtime.Model{g.planned, whole} {
		if sides[i], err = g.newDeviceSide(ctx, m, t, stream); err != nil {
			return r, fmt.Errorf("layer %s at batch %d: %w", t.Layer, t.Batch, err)
		}
		defer func() { err = errors.Join(err, sides[i].end()) }()
	}
	const least = 7
	for begin, n := time.Now(), 0; n < least || time.Since(begin) < budget; n++ {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		for k := range sides {
			if err := g.block(sides[(k+n)%2], stream); err != nil {
				return r, err
			}
		}
	}
	r = Measurement{Layer: t.Layer, Batch: t.Batch, Clock: "GPU events", Blocks: len(sides[0].times)}
	r.Sparse, r.SparseSpread = quartiles(sides[0].times)
	r.Dense, r.DenseSpread = quartiles(sides[1].times)
	r.Speedup = r.Dense / r.Sparse
	return r, nil
}

// quartiles are the median, and the distance of the quartiles over it.
func quartiles(times []float64) (median, spread float64) {
	slices.Sort(times)
	at := func(q float64) float64 { return times[int(q*float64(len(times)-1)+0.5)] }
	return at(0.5), (at(0.75) - at(0.25)) / at(0.5)
}
