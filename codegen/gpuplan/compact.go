package gpuplan

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Compaction is a product over the inputs and outputs alone in which the weights
// have something.
type Compaction struct {
	// Before packs the kept inputs, After spreads the kept outputs; nil where the
	// pattern drops none of them whole. A step's addition is that of After.
	Before, After *kernels.Gather
	Choices       []Choice // kernels of the product between
	Out, In       int      // its size: expected, or of Pack the real one
	Cycles        float64  // of the gathers, expected at the most tokens

	linear kernels.Linear
}

// compaction plans a compacted product where whole rows or columns may be empty by
// the pattern's levels; nil where none may, or no kernel computes it.
func (s *StepPlan) compaction(levels []patterns.Level) *Compaction {
	dropped := func(a patterns.Axis) bool {
		return slices.ContainsFunc(levels, func(l patterns.Level) bool { return l.Axis == a && l.Shared && l.Kind != patterns.Dense })
	}
	// Without some of its columns, 2:4 would be no 2:4.
	rows, cols := dropped(patterns.RowAxis), dropped(patterns.ColAxis) && s.Form == gpu.Dense
	share := s.Linear.Weight.Pattern.Density(s.Out, s.In)
	switch {
	case !rows && !cols:
		return nil
	case share == 1:
		share = unknownShare
	case s.Form == gpu.NM24:
		share = min(1, 2*share)
	}
	if rows && cols {
		share = math.Sqrt(share)
	}
	c := &Compaction{Out: s.Out, In: s.In, linear: s.linear}
	g := kernels.Gather{Target: s.target, DType: s.linear.DType, PDL: s.target.Has(ptx.SM90())}
	if cols {
		before := g
		c.Before, c.In = &before, max(1, int(share*float64(s.In)))
	}
	if rows {
		after := g
		after.Residual, c.linear.Residual = c.linear.Residual, false
		c.After, c.Out = &after, max(1, int(share*float64(s.Out)))
	}
	var err error
	if c.Choices, err = c.between(s).choose(c.linear, 0); err != nil {
		return nil
	}
	return c
}

// between is the step of the compacted product.
func (c *Compaction) between(s *StepPlan) *StepPlan {
	inner := *s
	inner.Out, inner.In = c.Out, c.In
	return &inner
}

// gathers is what the gathers are expected to take.
func (c *Compaction) gathers(s *StepPlan, tokens int) float64 {
	cycles, d := 0.0, kernels.Reference(s.target)
	if c.Before != nil {
		cycles += c.Before.Cycles(gpu.Problem{Out: c.In, In: s.In, Tokens: tokens}, d)
	}
	if c.After != nil {
		cycles += c.After.Cycles(gpu.Problem{Out: s.Out, In: c.Out, Tokens: tokens}, d)
	}
	return cycles
}

// kept are the rows and columns of weights that a compacted product has.
type kept struct{ rows, cols []int }

// compact leaves the rows and columns out in which the mask keeps nothing, where
// that is expected to save time over all numbers of tokens. It then makes the
// compacted product's kernels the choices and returns what it has, else nil.
func (s *StepPlan) compact(mask *patterns.Mask) (*kept, error) {
	if s.Compact == nil {
		return nil, nil
	}
	c := *s.Compact
	k := kept{all(s.Out), all(s.In)}
	if c.After != nil {
		k.rows = slices.DeleteFunc(k.rows, func(r int) bool { return mask.RowCount(r) == 0 })
	}
	if c.Before != nil {
		counts := mask.ColCounts()
		k.cols = slices.DeleteFunc(k.cols, func(i int) bool { return counts[i] == 0 })
	}
	c.Out, c.In = len(k.rows), len(k.cols)
	about := fmt.Sprintf("the weights have something in %d of %d rows and %d of %d columns", c.Out, s.Out, c.In, s.In)
	whole := func() (*kept, error) {
		s.Note, s.Compact = about+": all are stored", nil
		return nil, nil
	}
	if c.Out == 0 || c.In == 0 {
		return whole()
	}
	saved, steps := 0.0, tokenSteps(s.TokensMin, s.TokensMax)
	for _, tokens := range steps {
		dense, err := s.cycles(s.linear, s.Choices, tokens, 0)
		if err != nil {
			return nil, err
		}
		between, err := c.between(s).cycles(c.linear, c.Choices, tokens, 0)
		if err != nil {
			return whole()
		}
		c.Cycles = c.gathers(s, tokens)
		saved += math.Log(dense / (between + c.Cycles))
	}
	if saved < -math.Log(worthLists)*float64(len(steps)) {
		return whole()
	}
	s.Note = about + ": only they are multiplied"
	c.Choices = slices.Clone(c.Choices)
	for i := range c.Choices {
		ch := &c.Choices[i]
		var err error
		if ch.Bytes, err = ch.Config.Format().Bytes(c.Out, c.In); err != nil {
			return nil, err
		}
		if ch.Cycles, err = c.between(s).cycles(c.linear, c.Choices, ch.TokensMax, 0); err != nil {
			return nil, err
		}
		ch.Considered = nil // for another size
	}
	s.Compact, s.Choices = &c, c.Choices
	return &k, nil
}

// all are the numbers below n.
func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// of is the part of weights and mask that is kept.
func (k *kept) of(codes layout.Matrix, mask *patterns.Mask) (layout.Matrix, *patterns.Mask) {
	m, part := layout.NewMatrix(len(k.rows), len(k.cols), codes.Size), patterns.NewMask(len(k.rows), len(k.cols))
	for r, from := range k.rows {
		to, row := m.Row(r), codes.Row(from)
		for c, at := range k.cols {
			copy(to[c*codes.Size:][:codes.Size], row[at*codes.Size:])
			if mask.At(from, at) {
				part.Set(r, c)
			}
		}
	}
	return m, part
}

// pick is a gather as a packed op: output i is input index[i], or the constant.
func (s *StepPlan) pick(g *kernels.Gather, index []uint32, in int, constant func(i int) float64) *sgp.Linear {
	fill := make([]byte, 0, g.DType.Size()*len(index))
	for i := range index {
		fill = binary.LittleEndian.AppendUint16(fill, formats[g.DType].Encode(float32(constant(i))))
	}
	return &sgp.Linear{Out: len(index), In: in, Variants: []sgp.Variant{{
		BatchMin: s.TokensMin, BatchMax: s.TokensMax, GPU: &sgp.GPU{Kernel: g.Name(), Weights: fill, Lists: index},
	}}}
}

// before is the op that packs the kept inputs.
func (s *StepPlan) before(k *kept) *sgp.Linear {
	index := make([]uint32, len(k.cols))
	for i, c := range k.cols {
		index[i] = uint32(c)
	}
	return s.pick(s.Compact.Before, index, s.In, func(int) float64 { return 0 })
}

// after is the op that spreads the kept outputs; a dropped one is the activation
// of its bias.
func (s *StepPlan) after(k *kept, bias []float32) *sgp.Linear {
	index := slices.Repeat([]uint32{gpu.NoInput}, s.Out)
	for i, r := range k.rows {
		index[r] = uint32(i)
	}
	return s.pick(s.Compact.After, index, len(k.rows), func(i int) float64 {
		if index[i] != gpu.NoInput || bias == nil && s.Act == nil {
			return 0
		}
		v := 0.0
		if bias != nil {
			v = float64(bias[i])
		}
		if s.Act != nil {
			a, _ := activationOf(s.Act)
			v = a.of(v)
		}
		return v
	})
}
