package gpuplan

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Report is what became of one step.
type Report struct {
	Layer, Tensor string
	Pattern       string
	Plan          *StepPlan
	Density       float64 // share of the weights that the pattern keeps
	Kept          float64 // share of the magnitude that pruning kept; 1 without
}

// formats are the number formats of the layers' types.
var formats = map[gpu.DType]narrow.Format{gpu.BF16: narrow.BF16, gpu.F16: narrow.F16}

// Pack packs a layer's weights for the kernels of its plan.
func (p *LayerPlan) Pack(weights codegen.Weights, prune bool) (*sgp.Layer, []Report, error) {
	l := p.Layer
	out := &sgp.Layer{Name: l.Name, Target: p.Target.String(), Type: p.DType.String(), BatchMin: 1, BatchMax: 1}
	if len(l.Dims) == 1 {
		out.BatchMin, out.BatchMax = max(l.Dims[0].Min, 1), l.Dims[0].Max
	}
	index := map[*ir.Value]int{}
	number := func(v *ir.Value) int {
		i, ok := index[v]
		if !ok {
			i = len(out.Values)
			index[v] = i
			out.Values = append(out.Values, sgp.Value{Name: v.Name, Dims: []int{0, v.Shape[len(v.Shape)-1].N}})
		}
		return i
	}
	for _, v := range l.Inputs {
		out.Inputs = append(out.Inputs, number(v))
	}
	var reports []Report
	for i := range p.Steps {
		s := &p.Steps[i]
		linears, r, err := s.pack(p.DType, weights, prune)
		if err != nil {
			return nil, nil, err
		}
		r.Layer = l.Name
		reports = append(reports, r)
		x := number(s.X)
		for i, lin := range linears {
			op := sgp.Op{Kind: sgp.LinearOp, Args: []int{x}, Linear: lin}
			if i < len(linears)-1 {
				x = len(out.Values)
				out.Values = append(out.Values, sgp.Value{Dims: []int{0, lin.Out}})
				op.Out = x
				out.Ops = append(out.Ops, op)
				continue
			}
			if s.Residual != nil {
				op.Args = append(op.Args, number(s.Residual))
			}
			op.Out = number(s.Step.Out)
			out.Ops = append(out.Ops, op)
		}
	}
	for _, v := range l.Outputs {
		out.Outputs = append(out.Outputs, number(v))
	}
	return out, reports, nil
}

// pack returns the step as packed ops, each of which reads what the one before it
// wrote; the last adds the residual.
func (s *StepPlan) pack(t gpu.DType, weights codegen.Weights, prune bool) ([]*sgp.Linear, Report, error) {
	w := s.Linear.Weight
	r := Report{Tensor: w.Tensor, Pattern: w.Pattern.String(), Plan: s, Kept: 1}
	lin := &sgp.Linear{Out: w.Out, In: w.In}
	if s.Act != nil {
		a, _ := activationOf(s.Act)
		lin.Act = a.packed
	}
	m, err := codegen.Matrix(w, weights)
	if err != nil {
		return nil, r, err
	}
	mask, err := codegen.MaskFor(w, m, prune)
	if err != nil {
		return nil, r, err
	}
	r.Density = mask.Density()
	if prune {
		r.Kept = codegen.KeptMagnitude(m, mask)
	}
	if lin.Bias, err = codegen.Vector(s.Linear.Bias, weights); err != nil {
		return nil, r, err
	}
	codes, err := encode(m, mask, t)
	if err != nil {
		return nil, r, fmt.Errorf("%s: %q: %w", w.Pos, w.Tensor, err)
	}
	chosen := *s
	r.Plan = &chosen
	lists, err := chosen.decide(codes, mask)
	if err != nil {
		return nil, r, fmt.Errorf("%s: %q: %w", w.Pos, w.Tensor, err)
	}
	kept, err := chosen.compact(mask)
	if err != nil {
		return nil, r, fmt.Errorf("%s: %q: %w", w.Pos, w.Tensor, err)
	}
	ops := []*sgp.Linear{lin}
	if kept != nil {
		codes, mask = kept.of(codes, mask)
		lin.Out, lin.In = len(kept.rows), len(kept.cols)
		if c := chosen.Compact; c.Before != nil {
			ops = slices.Insert(ops, 0, chosen.before(kept))
		}
		if c := chosen.Compact; c.After != nil {
			ops = append(ops, chosen.after(kept, lin.Bias))
			if bias := lin.Bias; bias != nil {
				lin.Bias = make([]float32, len(kept.rows))
				for i, row := range kept.rows {
					lin.Bias[i] = bias[row]
				}
			}
		}
	}
	packed := map[layout.Format][]byte{}
	for _, c := range chosen.Choices {
		v := sgp.Variant{BatchMin: c.TokensMin, BatchMax: c.TokensMax, GPU: &sgp.GPU{Kernel: c.Config.Name()}}
		if lists != nil {
			v.GPU.Weights, v.GPU.Lists = lists.Packed, lists.Lists()
			lin.Variants = append(lin.Variants, v)
			continue
		}
		f := c.Config.Format()
		if packed[f] == nil {
			if packed[f], err = f.Pack(codes, mask); err != nil {
				return nil, r, fmt.Errorf("%s: %q: %w", w.Pos, w.Tensor, err)
			}
		}
		v.GPU.Weights = packed[f]
		lin.Variants = append(lin.Variants, v)
	}
	return ops, r, nil
}

// encode rounds a matrix to a narrow type. A finite weight that the type cannot
// hold is an error.
func encode(m patterns.Matrix, mask *patterns.Mask, t gpu.DType) (layout.Matrix, error) {
	f := formats[t]
	codes := layout.Matrix{Rows: m.Rows, Cols: m.Cols, Size: t.Size()}
	codes.Data = make([]byte, 0, m.Rows*m.Cols*t.Size())
	for r := range m.Rows {
		row := m.Row(r)
		for c, v := range row {
			if a := math.Abs(float64(v)); a > float64(f.Max()) && !math.IsInf(a, 0) && mask.At(r, c) && math.IsInf(float64(f.Round(v)), 0) {
				return codes, fmt.Errorf("the weight [%d, %d] = %g is beyond %v, whose largest number is %g", r, c, v, f, f.Max())
			}
		}
		codes.Data = f.Append(codes.Data, row)
	}
	return codes, nil
}

// Fingerprint identifies the packers of this version, as codegen.Fingerprint does
// for the CPU's: a hash over what they make of fixed pseudo-random matrices.
func Fingerprint() uint64 {
	const rows, cols = 150, 300
	h := fnv.New64a()
	rng := rand.New(rand.NewPCG(2026, 12))
	for _, size := range []int{1, 2} {
		m := layout.NewMatrix(rows, cols, size)
		for i := range m.Data {
			m.Data[i] = byte(1 + rng.IntN(120)) // no zero, so that its place shows
		}
		mask := patterns.NewMask(rows, cols)
		for r := range rows {
			for g := 0; g < cols; g += 4 {
				for _, c := range rng.Perm(4)[:rng.IntN(3)] {
					mask.Set(r, g+c)
				}
			}
		}
		for _, f := range []layout.Format{
			{TileRows: 128, RowBytes: 128, StageBlocks: 1}, {TileRows: 64, RowBytes: 128, StageBlocks: 2},
			{TileRows: 128, RowBytes: 64, StageBlocks: 1, Sparse: true}, {TileRows: 64, RowBytes: 64, StageBlocks: 2, Sparse: true},
			{TileRows: 64, RowBytes: 64, StageBlocks: 1, Sparse: true, Order: layout.FragmentMajor},
		} {
			f.Size, f.Cluster = size, 1
			packed, err := f.Pack(m, mask)
			if err == nil && f.StageBlocks == 1 {
				var b *layout.Blocks
				if b, err = f.PackBlocks(m, mask); err == nil {
					packed = slices.Concat(packed, b.Packed, b.ListBytes())
				}
			}
			if err != nil {
				// The input is fixed and legal for every format.
				panic("gpuplan: fingerprint: " + err.Error())
			}
			_, _ = h.Write(packed) // a hash takes every write
		}
	}
	return h.Sum64()
}
