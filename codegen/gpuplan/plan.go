package gpuplan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Targets are the GPU targets that kernels are written for, the newest first.
// Kernels of a plain target run on every later GPU too, those of a target with an
// "a" on that architecture alone.
func Targets() []ptx.Target { return []ptx.Target{ptx.SM90a(), ptx.SM80()} }

// LayerPlan is how a layer runs on a GPU.
type LayerPlan struct {
	Layer  *ir.Layer
	Target ptx.Target
	DType  gpu.DType
	Steps  []StepPlan

	tuned Tuned
}

// StepPlan is how a step runs.
type StepPlan struct {
	Step
	Out, In              int
	TokensMin, TokensMax int
	Form                 gpu.Form
	Note                 string // why Form is what it is, "" where the pattern says so
	Choices              []Choice
	// Listed are the choices for weights of which only blocks with something in
	// them are stored, where the pattern may leave enough of them empty. Pack
	// decides between the two by the weights.
	Listed []Choice
	Blocks float64 // share of the blocks that are stored: expected, or of Pack the real one where Choices are listed; 0 for all

	// Compact is the step without the rows and columns in which the weights have
	// nothing, where the pattern may leave such. Pack decides by the weights, and
	// leaves nil where they are stored whole.
	Compact *Compaction

	linear kernels.Linear
	target ptx.Target
	tuned  Tuned
}

// Builder is a configuration of a kernel.
type Builder interface {
	Name() string
	Build() (*gpu.Kernel, error)
}

// Builders are the kernels that the step may need, whichever weights it has; those
// that multiply are each a kernels.Config.
func (s *StepPlan) Builders() []Builder {
	var list []Builder
	choices := slices.Concat(s.Choices, s.Listed)
	if c := s.Compact; c != nil {
		choices = append(choices, c.Choices...)
		for _, g := range []*kernels.Gather{c.Before, c.After} {
			if g != nil {
				list = append(list, *g)
			}
		}
	}
	for _, c := range choices {
		list = append(list, c.Config)
	}
	return list
}

// Choice is the kernel of a range of tokens.
type Choice struct {
	TokensMin, TokensMax int
	Config               kernels.Config
	Measured             bool    // by a tuner; otherwise the model chose
	Cycles               float64 // expected at TokensMax on kernels.Reference
	Bytes                int64   // of the packed weights
	Considered           []kernels.Candidate
}

// Plan chooses the kernels of a layer for a target, from the spec alone. The layer
// has no part that Check reports.
func Plan(l *ir.Layer, t ptx.Target) (*LayerPlan, error) { return plan(l, t, nil) }

func plan(l *ir.Layer, t ptx.Target, tuned Tuned) (*LayerPlan, error) {
	plan := &LayerPlan{Layer: l, Target: t, DType: types[l.Inputs[0].DType], tuned: tuned}
	steps, bad := Steps(l)
	if len(bad) > 0 {
		return nil, fmt.Errorf("%s: %s", bad[0].Pos, bad[0].Msg)
	}
	problems, err := codegen.Problems(l)
	if err != nil {
		return nil, err
	}
	linear := map[*ir.Op]codegen.Problem{}
	for _, op := range l.Ops {
		if op.Weight != nil {
			linear[op], problems = problems[0], problems[1:]
		}
	}
	for _, s := range steps {
		p, err := planStep(s, linear[s.Linear], plan)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Linear.Pos, err)
		}
		plan.Steps = append(plan.Steps, p)
	}
	return plan, nil
}

// Check lists what of a layer no kernel of the target computes.
func Check(l *ir.Layer, t ptx.Target) []Unsupported {
	steps, bad := Steps(l)
	if len(bad) > 0 || len(steps) == 0 || len(l.Dims) > 1 {
		return bad
	}
	if _, err := Plan(l, t); err != nil {
		var none *NoKernelError
		hint := ""
		if errors.As(err, &none) {
			err, hint = none, none.Hint
		}
		return []Unsupported{{l.Pos, fmt.Sprintf("layer %s: %v", l.Name, err), hint}}
	}
	return nil
}

// NoKernelError is the error of a step that no kernel of a target computes.
type NoKernelError struct {
	Err  error
	Hint string
}

func (e *NoKernelError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *NoKernelError) Unwrap() error { return e.Err }

func planStep(s Step, p codegen.Problem, plan *LayerPlan) (StepPlan, error) {
	sp := StepPlan{Step: s, Out: p.Out, In: p.In, TokensMin: p.BatchMin, TokensMax: p.BatchMax}
	sp.Form, sp.Note = formOf(p.Levels, p.In)
	l := kernels.Linear{
		Target: plan.Target, DType: plan.DType, Form: sp.Form, Y: plan.DType,
		Activation: s.activation(), Residual: s.Add != nil,
	}
	if s.Linear.Bias != nil {
		l.Bias = gpu.F32
	}
	sp.linear, sp.target, sp.tuned = l, plan.Target, plan.tuned
	var err error
	if sp.Choices, err = sp.choose(l, 0); err != nil {
		return sp, err
	}
	l.Listed = true
	if f, err := sp.blocks(l); err == nil { // else no kernel takes lists of such blocks
		share := storedShare(p.Levels, s.Linear.Weight.Pattern.Density(p.Out, p.In), p.Out, p.In, f)
		if share <= mostStored {
			sp.Blocks = share
			sp.Note = fmt.Sprintf("blocks of %d by %d in which the weights have nothing may be left out", f.TileRows, f.KBlock())
			all := f.Tiles(p.Out) * f.Blocks(p.In)
			sp.Listed, err = sp.choose(l, max(f.Tiles(p.Out), int(share*float64(all))))
			return sp, err
		}
	}
	if sp.Compact = sp.compaction(p.Levels); sp.Compact != nil {
		sp.Note = "rows or columns in which the weights have nothing may be left out"
	}
	return sp, nil
}

// choose picks a kernel for each range of tokens; blocks is how many are stored of
// a layer that lists them.
func (s *StepPlan) choose(l kernels.Linear, blocks int) ([]Choice, error) {
	var segments []Choice
	low := s.TokensMin
	for _, tokens := range tokenSteps(s.TokensMin, s.TokensMax) {
		cs, err := l.Candidates(s.problem(tokens, blocks), kernels.Reference(s.target))
		if err != nil {
			return nil, &NoKernelError{err, "the targets of GPU kernels are " + targetNames()}
		}
		c, measured := s.tuned.measured(l, s.problem(tokens, blocks), cs)
		if !measured {
			c = cs[0]
		}
		segments = append(segments, Choice{TokensMin: low, TokensMax: tokens, Config: c.Config, Measured: measured, Cycles: c.Cycles, Considered: cs})
		low = tokens + 1
	}
	return settle(segments, s.Out, s.In, blocks)
}

func (s *StepPlan) problem(tokens, blocks int) gpu.Problem {
	return gpu.Problem{Out: s.Out, In: s.In, Tokens: tokens, Blocks: blocks}
}

// cycles is what the choice for a number of tokens is expected to take when that
// many blocks are stored.
func (s *StepPlan) cycles(l kernels.Linear, choices []Choice, tokens, blocks int) (float64, error) {
	i := slices.IndexFunc(choices, func(c Choice) bool { return tokens <= c.TokensMax })
	cs, err := l.Candidates(s.problem(tokens, blocks), kernels.Reference(s.target))
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for _, c := range cs {
		if c.Config == choices[i].Config {
			return c.Cycles, nil
		}
		worst = max(worst, c.Cycles)
	}
	return worst, nil // no candidate any more at these blocks: as bad as any
}

func targetNames() string {
	text := ""
	for i, t := range Targets() {
		if i > 0 {
			text += " and "
		}
		text += "ptx(" + t.String() + ")"
	}
	return text
}

// tokenSteps are the numbers of tokens at which candidates are compared: powers of
// two, with one step between above 64, and the range's ends. A choice serves what
// lies between a step and the one before.
func tokenSteps(lo, hi int) []int {
	var steps []int
	for n := 8; n < hi; n *= 2 {
		if n >= lo {
			steps = append(steps, n)
		}
		if mid := n + n/2; n >= 64 && mid >= lo && mid < hi {
			steps = append(steps, mid)
		}
	}
	return append(steps, hi)
}

// worthPacking is how much slower a kernel may be that shares its packed weights,
// or itself, with another range of tokens: a further copy of the weights costs
// memory, a further kernel compile time.
const worthPacking = 1.05

// settle joins ranges whose kernel may be the same, and gives each a size.
func settle(segments []Choice, outs, in, blocks int) ([]Choice, error) {
	var out []Choice
	for _, s := range segments {
		best := s.Cycles
		rank := 0 // 2: the kernel of the range before, 1: weights that are there already
		for _, c := range s.Considered {
			if s.Measured && c.Config != s.Config {
				continue
			}
			if c.Cycles > best*worthPacking {
				break
			}
			r := 0
			if n := len(out); n > 0 && out[n-1].Config == c.Config {
				r = 2
			} else if slices.ContainsFunc(out, func(o Choice) bool { return o.Config.Format() == c.Format() }) {
				r = 1
			}
			if r > rank {
				rank, s.Config, s.Cycles = r, c.Config, c.Cycles
			}
		}
		if rank == 2 {
			last := &out[len(out)-1]
			last.TokensMax, last.Cycles, last.Considered = s.TokensMax, s.Cycles, s.Considered
			last.Measured = last.Measured && s.Measured
			continue
		}
		var err error
		if s.Bytes, err = s.Config.Format().Bytes(outs, in); err != nil {
			return nil, err
		}
		if blocks > 0 {
			s.Bytes = int64(blocks) * int64(s.Config.Format().BlockBytes())
		}
		out = append(out, s)
	}
	return out, nil
}

// formOf is the form of weights whose pattern has these levels: 2:4 where no mask
// of the pattern keeps more than two of four neighbours, else dense.
func formOf(levels []patterns.Level, in int) (form gpu.Form, note string) {
	sparse := false
	for i, l := range levels {
		sparse = sparse || l.Kind != patterns.Dense
		if l.Kind == patterns.NofM && l.Axis == patterns.ColAxis {
			inner := slices.ContainsFunc(levels[i+1:], func(l patterns.Level) bool { return l.Axis == patterns.ColAxis })
			if inner || l.Perm != nil {
				continue
			}
			if most := mostOfFour(l.N, l.M); most > 2 {
				note = fmt.Sprintf("%d:%d may keep %d of four neighbours, the tensor cores skip two of four: stored whole", l.N, l.M, most)
				continue
			}
			if in%4 != 0 {
				return gpu.Dense, fmt.Sprintf("%d inputs are no multiple of 4, as 2:4 weights need: stored whole", in)
			}
			if l.N != 2 || l.M != 4 {
				note = fmt.Sprintf("%d:%d is a special case of 2:4", l.N, l.M)
			} else {
				note = ""
			}
			return gpu.NM24, note
		}
	}
	if sparse && note == "" {
		note = "the pattern has no form of its own on a GPU: stored whole, zeros are multiplied"
	}
	return gpu.Dense, note
}

// mostOfFour is how many of four neighbours, the first at a multiple of 4, an N:M
// pattern may keep.
func mostOfFour(n, m int) int {
	most := 0
	for first := 0; first < 4*m; first += 4 {
		kept, at := 0, first
		for at < first+4 {
			end := min((at/m+1)*m, first+4) // of the group of M that holds at
			kept += min(n, end-at)
			at = end
		}
		most = max(most, kept)
	}
	return most
}

// Kernels builds the kernels that the layers may need on the targets, each once,
// in the order of targets and names. With measurements they are those of PlanTuned
// and of Plan: what was packed before still runs.
func Kernels(layers []*ir.Layer, targets []ptx.Target, tuned Tuned) ([]gpu.Kernel, error) {
	built := map[string]gpu.Kernel{}
	var names []string
	for _, l := range layers {
		for _, t := range targets {
			plan, err := Plan(l, t)
			if err != nil {
				return nil, err
			}
			steps := plan.Steps
			if tuned != nil {
				measured, err := PlanTuned(l, t, tuned)
				if err != nil {
					return nil, err
				}
				steps = append(steps, measured.Steps...)
			}
			for _, s := range steps {
				for _, c := range s.Builders() {
					name := t.String() + "_" + c.Name()
					if _, ok := built[name]; ok {
						continue
					}
					k, err := c.Build()
					if err != nil {
						return nil, fmt.Errorf("%s: %w", s.Linear.Pos, err)
					}
					built[name] = *k
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	list := make([]gpu.Kernel, len(names))
	for i, name := range names {
		list[i] = built[name]
	}
	return list, nil
}
