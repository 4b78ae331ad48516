package codegen

import (
	"math"
	"math/bits"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// maxKB is the longest K-block that a 16-bit index reaches and a 16-bit count
// holds.
const maxKB = math.MaxUint16

// packPanel packs panels of mr rows; rows that fill no panel become panels of
// one row.
func packPanel(o *operand, kind sgp.SegmentKind, mr, kb int) *sgp.Panel {
	p := &sgp.Panel{KB: min(kb, max(o.k, 1)), Cols: o.cols}
	whole := len(o.rows) / mr * mr
	if whole > 0 {
		p.Segments = append(p.Segments, packSegment(o, kind, mr, p.KB, 0, whole))
	}
	if whole < len(o.rows) {
		rest := kind
		if kind != sgp.Dense {
			rest = sgp.Grouped
		}
		p.Segments = append(p.Segments, packSegment(o, rest, 1, p.KB, whole, len(o.rows)))
	}
	return p
}

func packSegment(o *operand, kind sgp.SegmentKind, mr, kb, first, end int) sgp.Segment {
	s := sgp.Segment{Kind: kind, MR: mr, Rows: o.rows[first:end]}
	stored := (end - first) * o.k
	if kind != sgp.Dense {
		stored = o.stored(first, end)
		s.Idx = make([]uint16, 0, stored+sgp.IdxAhead) // Block stores less
	}
	s.W = make([]float32, 0, stored) // Block stores more
	for k0 := 0; k0 < o.k; k0 += kb {
		k1 := min(k0+kb, o.k)
		for r := first; r < end; r += mr {
			v, kept := o.block(r, mr)
			if kind == sgp.Dense {
				for k := k0; k < k1; k++ {
					for i := range mr {
						s.W = append(s.W, v[i][k])
					}
				}
				continue
			}
			if kind == sgp.Step {
				packSteps(&s, v, kept, k0, k1)
			} else {
				packColumns(&s, v, kept, k0, k1)
			}
		}
	}
	if kind != sgp.Dense {
		s.Idx = append(s.Idx, make([]uint16, sgp.IdxAhead)...)
	}
	return s
}

// packColumns appends one panel of one K-block: its columns in groups by the
// set of rows that keep them, or for Block in one group.
func packColumns(s *sgp.Segment, v [][]float32, kept [][]uint64, k0, k1 int) {
	mr := len(v)
	all := 1<<mr - 1
	if mr == 1 {
		before := len(s.Idx)
		for k := range eachBitIn(kept[0], k0, k1) {
			s.Idx = append(s.Idx, uint16(k-k0))
			s.W = append(s.W, v[0][k])
		}
		s.Runs = append(s.Runs, uint16(len(s.Idx)-before))
		return
	}
	sets := make([]uint16, k1-k0)
	for i := range kept {
		for k := range eachBitIn(kept[i], k0, k1) {
			sets[k-k0] |= 1 << i
		}
	}
	next := make([]int, all+1) // first a count by set, then where its next column goes
	for c, set := range sets {
		if s.Kind == sgp.Block && set != 0 {
			sets[c] = uint16(all)
		}
		next[sets[c]]++
	}
	from := 1
	if s.Kind == sgp.Block {
		from = all
	}
	idx, w := len(s.Idx), len(s.W)
	weights := make([]int, all+1)
	for set := from; set <= all; set++ {
		n := next[set]
		s.Runs = append(s.Runs, uint16(n))
		next[set], weights[set] = idx, w
		idx += n
		w += n * bits.OnesCount(uint(set))
	}
	s.Idx = append(s.Idx, make([]uint16, idx-len(s.Idx))...)
	s.W = append(s.W, make([]float32, w-len(s.W))...)
	for c, set := range sets {
		if set == 0 {
			continue
		}
		s.Idx[next[set]] = uint16(c)
		next[set]++
		for i := range v {
			if set>>i&1 != 0 {
				s.W[weights[set]] = v[i][k0+c]
				weights[set]++
			}
		}
	}
}

// packSteps appends one panel of one K-block: a column for each row as long as
// all rows have one, then what is left of each row.
func packSteps(s *sgp.Segment, v [][]float32, kept [][]uint64, k0, k1 int) {
	lists := make([][]int, len(v))
	steps := k1 - k0
	for i := range kept {
		for k := range eachBitIn(kept[i], k0, k1) {
			lists[i] = append(lists[i], k)
		}
		steps = min(steps, len(lists[i]))
	}
	put := func(i, k int) {
		s.Idx = append(s.Idx, uint16(k-k0))
		s.W = append(s.W, v[i][k])
	}
	s.Runs = append(s.Runs, uint16(steps))
	for n := range steps {
		for i := range lists {
			put(i, lists[i][n])
		}
	}
	for i, l := range lists {
		s.Runs = append(s.Runs, uint16(len(l)-steps))
		for _, k := range l[steps:] {
			put(i, k)
		}
	}
}
