package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/bench/kernels"
	"github.com/sparsegen/sparsegen/bench/peers"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// generated is Ours through the whole way that a user takes: plan, packed file,
// Open, Session.Run, on one thread.
type generated struct {
	isa runtime.ISA
	// tuned gives the tuner's measurements to the planner; nil: there are none.
	tuned codegen.Tuned
	rates codegen.Rates // measured ones of the core
	// chosen remembers the planner's choice: cold cases pack one matrix many
	// times.
	chosen map[planKey]*codegen.LayerPlan
}

// planKey is what Prepare's choice depends on, the matrix by its sum of bits:
// matrices of one shape differ in where their zeros are.
type planKey struct {
	out, in, batch int
	pattern        string
	layout         peers.Layout
	weights        uint64
}

func newGenerated() (*generated, error) {
	isa := runtime.Generic
	for _, level := range codegen.ISAs() {
		if level.Available() {
			isa = level
		}
	}
	if name := os.Getenv("SPARSEGEN_ISA"); name != "" {
		limit, err := runtime.ParseISA(name)
		if err != nil {
			return nil, err
		}
		isa = min(isa, limit)
	}
	return &generated{isa: isa, chosen: map[planKey]*codegen.LayerPlan{}}, nil
}

func (g *generated) Library() string { return "sparsegen, " + g.isa.String() }

func (g *generated) Prepare(w []float32, out, in int, pattern string, layout peers.Layout, batch int) (OursRunner, error) {
	key := planKey{out, in, batch, pattern, layout, sumOfBits(w)}
	only := func(codegen.Config) bool { return true }
	plan := g.chosen[key]
	if plan != nil {
		only = func(c codegen.Config) bool { return c == plan.Choices[0].Config }
	}
	r, err := g.prepare(w, out, in, pattern, layout, batch, only)
	if err != nil {
		return nil, err
	}
	if plan == nil {
		plan = r.plan
		g.chosen[key] = plan
	}
	r.plan = plan
	return r, nil
}

// sumOfBits is a hash of w that depends on the order of its elements.
func sumOfBits(w []float32) (sum uint64) {
	for _, v := range w {
		sum = sum*31 + uint64(math.Float32bits(v))
	}
	return sum
}

// linearOf is the op that a case measures: a pruned weight is 0 in w.
func linearOf(w []float32, out, in int, pattern string, layout peers.Layout, batch int) (autotune.Linear, error) {
	p, err := patterns.Parse(pattern)
	if err != nil {
		return autotune.Linear{}, err
	}
	m := patterns.Matrix{Rows: out, Cols: in, Stride: in, Data: w}
	mask := patterns.MaskOf(m)
	if pattern == dense.Spec {
		if mask, err = p.Prune(m); err != nil {
			return autotune.Linear{}, err
		}
	}
	return autotune.Linear{Layer: pattern, Tensor: "w", Matrix: m, Mask: mask, Problem: codegen.Problem{
		Out: out, In: in, BatchMin: batch, BatchMax: batch,
		TokenMajor: layout == peers.TokenMajor, Levels: p.Levels(out, in),
	}}, nil
}

func (g *generated) prepare(w []float32, out, in int, pattern string, layout peers.Layout, batch int, only func(codegen.Config) bool) (*generatedRunner, error) {
	op, err := linearOf(w, out, in, pattern, layout, batch)
	if err != nil {
		return nil, err
	}
	variants, plan, err := codegen.PlanTuned(op.Problem, op.Matrix, op.Mask, codegen.Builtin(g.isa).On(autotune.Machine().Microarch).With(g.rates), only, g.tuned)
	if err != nil {
		return nil, err
	}
	x, y := []int{0, in}, []int{0, out}
	if layout == peers.FeatureMajor {
		x, y = []int{in, 0}, []int{out, 0}
	}
	model := &sgp.Model{Fingerprint: codegen.Fingerprint(), Layers: []sgp.Layer{{
		Name: "l", BatchMin: batch, BatchMax: batch,
		Values: []sgp.Value{{Name: "x", Dims: x}, {Name: "y", Dims: y}}, Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: &sgp.Linear{Out: out, In: in, Variants: variants}}},
	}}}
	dir, err := os.MkdirTemp("", "sparsegen-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the mapping keeps the file's pages
	file := filepath.Join(dir, "l.sgp")
	if err := sgp.WriteFile(file, model); err != nil {
		return nil, err
	}
	r := &generatedRunner{bytes: int64(plan.Choices[0].Bytes), plan: plan}
	if r.model, err = runtime.Open(file, kernels.Kernels()); err != nil {
		return nil, err
	}
	if r.session, err = r.model.NewSession("l", runtime.WithISA(g.isa)); err != nil {
		return nil, err
	}
	r.variant = func(c codegen.Config) (peers.Runner, error) {
		return g.prepare(w, out, in, pattern, layout, batch, func(o codegen.Config) bool { return o == c })
	}
	return r, nil
}

type generatedRunner struct {
	model   *runtime.Model
	session *runtime.Session
	bytes   int64
	plan    *codegen.LayerPlan
	variant func(codegen.Config) (peers.Runner, error)
	in, out [1][]float32
}

func (r *generatedRunner) Run(x, y []float32) {
	r.in[0], r.out[0] = x, y
	if err := r.session.Run(context.Background(), r.in[:], r.out[:]); err != nil {
		panic(err) // sizes are the grid's own
	}
}

func (r *generatedRunner) Describe() string {
	c := r.plan.Choices[0]
	return fmt.Sprintf("%s (model: %.0f cycles, dense %.0f)", c.Config, c.Cycles, c.DenseCycles)
}

func (r *generatedRunner) Bytes() int64 { return r.bytes }

func (r *generatedRunner) Close() { _ = r.model.Close() }

// Variants are the configurations that the planner weighed and did not choose.
func (r *generatedRunner) Variants() []Variant {
	var vs []Variant
	for _, c := range r.plan.Considered {
		if c.Err != "" || c.Config == r.plan.Choices[0].Config {
			continue
		}
		if v, err := r.variant(c.Config); err == nil {
			vs = append(vs, Variant{fmt.Sprintf("%s (model: %.0f)", c.Config, c.Cycles[0]), v})
		}
	}
	return vs
}
