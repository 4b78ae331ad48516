package codegen

import (
	"math"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
)

// operand is a masked weight matrix: the rows and columns that take part, in
// the order in which a packed form holds them.
type operand struct {
	m    patterns.Matrix
	mask *patterns.Mask
	rows []uint32 // output rows
	cols []uint32 // input columns in the order of k; nil: all
}

// k is the length of the contracted axis after compaction.
func (o *operand) k() int {
	if o.cols != nil {
		return len(o.cols)
	}
	return o.m.Cols
}

func (o *operand) col(k int) int {
	if o.cols != nil {
		return int(o.cols[k])
	}
	return k
}

// kept reports whether packed element (r, k) is stored.
func (o *operand) kept(r, k int) bool { return o.mask.At(int(o.rows[r]), o.col(k)) }

// at is packed element (r, k), +0 where the mask drops it.
func (o *operand) at(r, k int) float32 {
	row, col := int(o.rows[r]), o.col(k)
	if !o.mask.At(row, col) {
		return 0
	}
	return o.m.Data[row*o.m.Stride+col]
}

// liveRows are the rows in which the mask keeps anything: the others are
// act(bias) and cost nothing.
func liveRows(mask *patterns.Mask) []uint32 {
	var rows []uint32
	for r := range mask.Rows {
		for _, w := range mask.Row(r) {
			if w != 0 {
				rows = append(rows, uint32(r))
				break
			}
		}
	}
	return rows
}

// liveCols are the columns in which the mask keeps anything.
func liveCols(mask *patterns.Mask) []uint32 {
	if mask.Rows == 0 {
		return nil
	}
	any := make([]uint64, len(mask.Row(0)))
	for r := range mask.Rows {
		for i, w := range mask.Row(r) {
			any[i] |= w
		}
	}
	var cols []uint32
	for c := range mask.Cols {
		if any[c>>6]>>(c&63)&1 != 0 {
			cols = append(cols, uint32(c))
		}
	}
	return cols
}

// packPanel packs panels of mr rows; rows that fill no panel become panels of
// one row.
func packPanel(o operand, kind sgp.SegmentKind, mr, kb int) *sgp.Panel {
	p := &sgp.Panel{KB: min(kb, max(o.k(), 1)), Cols: o.cols}
	whole := len(o.rows) / mr * mr
	if whole > 0 {
		p.Segments = append(p.Segments, packSegment(o, kind, mr, p.KB, 0, whole))
	}
	if whole < len(o.rows) {
		rest := kind
		if kind == sgp.Block {
			rest = sgp.Grouped
		}
		p.Segments = append(p.Segments, packSegment(o, rest, 1, p.KB, whole, len(o.rows)))
	}
	return p
}

func packSegment(o operand, kind sgp.SegmentKind, mr, kb, first, end int) sgp.Segment {
	s := sgp.Segment{Kind: kind, MR: mr, Rows: o.rows[first:end], W: []float32{}}
	if kind != sgp.Dense {
		s.Idx, s.Runs = []uint16{}, []uint16{}
	}
	k := o.k()
	set := make([]uint16, kb) // rows of the panel that keep each column of the block
	for k0 := 0; k0 < k; k0 += kb {
		n := min(kb, k-k0)
		for r := first; r < end; r += mr {
			if kind == sgp.Dense {
				for c := range n {
					for i := range mr {
						s.W = append(s.W, o.at(r+i, k0+c))
					}
				}
				continue
			}
			count := make([]int, 1<<mr)
			for c := range n {
				set[c] = 0
				for i := range mr {
					if o.kept(r+i, k0+c) {
						set[c] |= 1 << i
					}
				}
				if kind == sgp.Block && set[c] != 0 {
					set[c] = 1<<mr - 1
				}
				count[set[c]]++
			}
			from := uint16(1)
			if kind == sgp.Block {
				from = 1<<mr - 1
			}
			for v := from; v < 1<<mr; v++ {
				s.Runs = append(s.Runs, uint16(count[v]))
				if count[v] == 0 {
					continue
				}
				for c := range n {
					if set[c] != v {
						continue
					}
					s.Idx = append(s.Idx, uint16(c))
					for i := range mr {
						if v>>i&1 != 0 {
							s.W = append(s.W, o.at(r+i, k0+c))
						}
					}
				}
			}
		}
	}
	return s
}

// maxKB is the longest K-block that a 16-bit index reaches and a 16-bit count
// holds.
const maxKB = math.MaxUint16
