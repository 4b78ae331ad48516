package gpuplan

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Tuned names the configuration that was measured to be the fastest for a problem;
// "" where nothing was measured, and the model decides.
type Tuned func(l kernels.Linear, p gpu.Problem) string

// PlanTuned is Plan with measurements, which decide where there are any whose
// configuration is still a candidate.
func PlanTuned(l *ir.Layer, t ptx.Target, tuned Tuned) (*LayerPlan, error) {
	return plan(l, t, tuned)
}

// measured is the candidate that measurements name for a problem.
func (t Tuned) measured(l kernels.Linear, p gpu.Problem, cs []kernels.Candidate) (kernels.Candidate, bool) {
	if t == nil || p.Blocks > 0 {
		return kernels.Candidate{}, false
	}
	name := t(l, p)
	i := slices.IndexFunc(cs, func(c kernels.Candidate) bool { return c.Name() == name })
	if i < 0 {
		return kernels.Candidate{}, false
	}
	return cs[i], true
}

// Trial is a step of a plan with weights that are stored whole, at one number of
// tokens: what a tuner measures. Candidates come in the order of the model.
type Trial struct {
	Linear     kernels.Linear
	Problem    gpu.Problem
	Candidates []kernels.Candidate
	Default    kernels.Config // the plan's choice

	plan *LayerPlan
	step int
}

// Trials are what of the plan can be tuned, and the tensors of the steps that
// cannot: whether they store lists of blocks, or fewer rows and columns, is decided
// by the weights.
func (p *LayerPlan) Trials() (trials []Trial, left []string, err error) {
	for i := range p.Steps {
		s := &p.Steps[i]
		if len(s.Listed) > 0 || s.Compact != nil {
			left = append(left, s.Linear.Weight.Tensor)
			continue
		}
		for _, tokens := range tokenSteps(s.TokensMin, s.TokensMax) {
			t := Trial{Linear: s.linear, Problem: s.problem(tokens, 0), plan: p, step: i}
			if t.Candidates, err = s.linear.Candidates(t.Problem, kernels.Reference(s.target)); err != nil {
				return nil, nil, err
			}
			c := slices.IndexFunc(s.Choices, func(c Choice) bool { return tokens <= c.TokensMax })
			t.Default = s.Choices[c].Config
			trials = append(trials, t)
		}
	}
	return trials, left, nil
}

// Name is the layer and the tensor.
func (t *Trial) Name() string {
	return fmt.Sprintf("%s, %s", t.plan.Layer.Name, t.plan.Steps[t.step].Linear.Weight.Tensor)
}

// Format is the number format of the step's values.
func (t *Trial) Format() narrow.Format { return formats[t.plan.DType] }

// Weight is the step's weight and Bias its bias, or nil.
func (t *Trial) Weight() (weight, bias *ir.Weight) {
	op := t.plan.Steps[t.step].Linear
	return op.Weight, op.Bias
}

// ResidualIsInput reports whether the step adds its own input.
func (t *Trial) ResidualIsInput() bool {
	s := t.plan.Steps[t.step]
	return s.Residual == s.X
}

// Of is what the step makes of a sum, with the bias in it, and an element of the
// residual.
func (t *Trial) Of(sum, residual float64) float64 {
	if op := t.plan.Steps[t.step].Act; op != nil {
		a, _ := activationOf(op)
		sum = a.of(sum)
	}
	return sum + residual
}

// Layer is the step as a layer of its own, with a given kernel.
func (t *Trial) Layer(c kernels.Config) *LayerPlan {
	s := t.plan.Steps[t.step]
	l := &ir.Layer{Name: "trial", Dims: t.plan.Layer.Dims, Inputs: []*ir.Value{s.X}, Outputs: []*ir.Value{s.Step.Out}}
	if s.Residual != nil && s.Residual != s.X {
		l.Inputs = append(l.Inputs, s.Residual)
	}
	s.Choices = []Choice{{TokensMin: s.TokensMin, TokensMax: s.TokensMax, Config: c}}
	return &LayerPlan{Layer: l, Target: t.plan.Target, DType: t.plan.DType, Steps: []StepPlan{s}}
}
