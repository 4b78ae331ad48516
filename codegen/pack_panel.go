package codegen

import (
	"math"
	"math/bits"
	"slices"

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
	p := &panelPacker{Segment: sgp.Segment{Kind: kind, MR: mr, Rows: o.rows[first:end]}}
	stored := (end - first) * o.k
	if kind != sgp.Dense {
		stored = o.stored(first, end)
		p.Idx = make([]uint16, 0, stored+sgp.IdxAhead) // Block stores less
	}
	p.W = make([]float32, 0, stored) // Block stores more
	v, kept := o.block(first, end-first)
	for k0 := 0; k0 < o.k; k0 += kb {
		k1 := min(k0+kb, o.k)
		for r := 0; r < len(v); r += mr {
			switch kind {
			case sgp.Dense:
				p.dense(v[r:r+mr], k0, k1)
			case sgp.Step:
				p.steps(v[r:r+mr], kept[r:r+mr], k0, k1)
			default:
				p.columns(v[r:r+mr], kept[r:r+mr], k0, k1)
			}
		}
	}
	if kind != sgp.Dense {
		p.Idx = append(p.Idx, make([]uint16, sgp.IdxAhead)...)
	}
	return p.Segment
}

// panelPacker appends panels to a segment, one of one K-block at a time. v are the panel's rows
// and kept what they store.
type panelPacker struct {
	sgp.Segment
	lists         [][]uint16 // scratch
	sets          []uint16
	next, weights []int
}

// zeros is a scratch of n zeros.
func zeros[T uint16 | int](scratch *[]T, n int) []T {
	if cap(*scratch) < n {
		*scratch = make([]T, n)
	}
	clear((*scratch)[:n])
	return (*scratch)[:n]
}

// dense appends a panel column by column.
func (p *panelPacker) dense(v [][]float32, k0, k1 int) {
	at, mr := len(p.W), len(v)
	p.W = slices.Grow(p.W, mr*(k1-k0))[:at+mr*(k1-k0)]
	for i, row := range v {
		w := p.W[at+i:]
		for k, x := range row[k0:k1] {
			w[k*mr] = x
		}
	}
}

// columns appends a panel's columns in groups by the set of rows that keep them, or for Block in
// one group.
func (p *panelPacker) columns(v [][]float32, kept [][]uint64, k0, k1 int) {
	mr := len(v)
	all := 1<<mr - 1
	if mr == 1 {
		before := len(p.Idx)
		for k := range eachBitIn(kept[0], k0, k1) {
			p.Idx = append(p.Idx, uint16(k-k0))
			p.W = append(p.W, v[0][k])
		}
		p.Runs = append(p.Runs, uint16(len(p.Idx)-before))
		return
	}
	sets := zeros(&p.sets, k1-k0)
	for i := range kept {
		for k := range eachBitIn(kept[i], k0, k1) {
			sets[k-k0] |= 1 << i
		}
	}
	next := zeros(&p.next, all+1) // first a count by set, then where its next column goes
	for c, set := range sets {
		if p.Kind == sgp.Block && set != 0 {
			sets[c] = uint16(all)
		}
		next[sets[c]]++
	}
	from := 1
	if p.Kind == sgp.Block {
		from = all
	}
	idx, w := len(p.Idx), len(p.W)
	weights := zeros(&p.weights, all+1)
	for set := from; set <= all; set++ {
		n := next[set]
		p.Runs = append(p.Runs, uint16(n))
		next[set], weights[set] = idx, w
		idx += n
		w += n * bits.OnesCount(uint(set))
	}
	p.Idx = slices.Grow(p.Idx, idx-len(p.Idx))[:idx]
	p.W = slices.Grow(p.W, w-len(p.W))[:w]
	for c, set := range sets {
		if set == 0 {
			continue
		}
		p.Idx[next[set]] = uint16(c)
		next[set]++
		for i := range v {
			if set>>i&1 != 0 {
				p.W[weights[set]] = v[i][k0+c]
				weights[set]++
			}
		}
	}
}

// steps appends a column for each row of a panel as long as all rows have one, then what is left
// of each row.
func (p *panelPacker) steps(v [][]float32, kept [][]uint64, k0, k1 int) {
	steps := k1 - k0
	for i := range kept {
		if len(p.lists) == i {
			p.lists = append(p.lists, nil)
		}
		list := p.lists[i][:0]
		for k := range eachBitIn(kept[i], k0, k1) {
			list = append(list, uint16(k-k0))
		}
		p.lists[i], steps = list, min(steps, len(list))
	}
	put := func(i int, k uint16) {
		p.Idx = append(p.Idx, k)
		p.W = append(p.W, v[i][k0+int(k)])
	}
	lists := p.lists[:len(v)]
	p.Runs = append(p.Runs, uint16(steps))
	for n := range steps {
		for i := range lists {
			put(i, lists[i][n])
		}
	}
	for i, l := range lists {
		p.Runs = append(p.Runs, uint16(len(l)-steps))
		for _, k := range l[steps:] {
			put(i, k)
		}
	}
}
