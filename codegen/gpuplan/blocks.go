package gpuplan

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
)

const (
	// mostStored is the share of a matrix's blocks up to which lists of them are
	// worth kernels of their own.
	mostStored = 0.75
	// mostParts is how many parts of a pattern, each kept or dropped as a whole, a
	// block may have: of more some is nearly always kept.
	mostParts = 8
	// unknownShare is what a pattern is expected to keep that does not say.
	unknownShare = 0.25
	// worthLists is what lists must save, by the families' models.
	worthLists = 0.97
)

// blocks is the format of the blocks that the kernels of a layer list, the same
// for all of them.
func (s *StepPlan) blocks(l kernels.Linear) (layout.Format, error) {
	cs, err := l.Candidates(s.problem(s.TokensMax, 1), kernels.Reference(s.target))
	if err != nil {
		return layout.Format{}, err
	}
	return cs[0].Config.Format(), nil
}

// storedShare is the share of blocks in which a pattern of these levels is
// expected to keep something; density is the share of elements that it keeps.
func storedShare(levels []patterns.Level, density float64, out, in int, f layout.Format) float64 {
	rows, cols := f.TileRows, f.KBlock()
	for i, l := range levels {
		switch {
		case l.Axis != patterns.ColAxis || l.Perm != nil:
		case l.Kind == patterns.Run && l.Shared && l.Const:
			return stripes(l.Coords, in, cols)
		case l.Kind == patterns.Offset && l.Const:
			return diagonals(l.Coords, out, in, rows, cols)
		case l.Kind == patterns.List:
			r, c := 1, 1 // of a part of the pattern
			if l.Shared {
				r = out
			}
			for _, inner := range levels[i+1:] {
				switch {
				case inner.Kind != patterns.Dense || inner.Perm != nil:
				case inner.Axis == patterns.RowAxis:
					r = inner.Size
				default:
					c = inner.Size
				}
			}
			parts := ((rows + r - 1) / r) * ((cols + c - 1) / c)
			if parts > mostParts {
				return 1
			}
			if density == 1 {
				density = unknownShare
			}
			return 1 - math.Pow(1-density, float64(parts))
		}
	}
	return 1
}

// stripes is the share of columns of blocks that runs, each a start and a length,
// touch.
func stripes(runs []int32, in, cols int) float64 {
	touched := map[int32]bool{}
	for i := 0; i < len(runs); i += 2 {
		for c := runs[i] / int32(cols); c*int32(cols) < runs[i]+runs[i+1]; c++ {
			touched[c] = true
		}
	}
	return float64(len(touched)) / float64((in+cols-1)/cols)
}

// diagonals is the share of blocks that one of the offsets, column less row,
// crosses.
func diagonals(offsets []int32, out, in, rows, cols int) float64 {
	touched, all := 0, 0
	for r := 0; r < out; r += rows {
		last := min(r+rows, out) - 1
		for c := 0; c < in; c += cols {
			all++
			lo, hi := int32(c-last), int32(min(c+cols, in)-1-r)
			if i, _ := slices.BinarySearch(offsets, lo); i < len(offsets) && offsets[i] <= hi {
				touched++
			}
		}
	}
	return float64(touched) / float64(all)
}

// decide stores only the blocks in which the mask keeps something where that is
// expected to save time over all numbers of tokens. It then makes Listed the
// choices and returns the blocks, else nil.
func (s *StepPlan) decide(codes layout.Matrix, mask *patterns.Mask) (*layout.Blocks, error) {
	if s.Listed == nil {
		s.Blocks = 0
		return nil, nil
	}
	b, err := s.Listed[0].Config.Format().PackBlocks(codes, mask)
	if err != nil {
		return nil, err
	}
	listed := s.linear
	listed.Listed = true
	saved, steps := 0.0, tokenSteps(s.TokensMin, s.TokensMax)
	for _, tokens := range steps {
		whole, err := s.cycles(s.linear, s.Choices, tokens, 0)
		if err != nil {
			return nil, err
		}
		part, err := s.cycles(listed, s.Listed, tokens, len(b.Columns))
		if err != nil {
			return nil, err
		}
		saved += math.Log(whole / part)
	}
	f := b.Format
	share := float64(len(b.Columns)) / float64(f.Tiles(s.Out)*f.Blocks(s.In))
	about := fmt.Sprintf("%.0f%% of the blocks of %d by %d have something in them", 100*share, f.TileRows, f.KBlock())
	if saved < -math.Log(worthLists)*float64(len(steps)) {
		s.Note, s.Blocks = about+": all are stored", 0
		return nil, nil
	}
	s.Note, s.Blocks = about+": only they are stored", share
	s.Choices = slices.Clone(s.Listed)
	for i := range s.Choices {
		s.Choices[i].Bytes = int64(len(b.Packed))
	}
	return b, nil
}
