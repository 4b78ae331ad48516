package runtime

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// dense is a masked [out, in] matrix: zero where nothing is kept.
type dense struct {
	out, in int
	w       []float32
}

func (d dense) at(r, c int) float32 { return d.w[r*d.in+c] }

// randomDense keeps elements at random.
func randomDense(rng *rand.Rand, out, in int, density float64) dense {
	d := dense{out, in, make([]float32, out*in)}
	for i := range d.w {
		if rng.Float64() < density {
			d.w[i] = float32(rng.NormFloat64()) + 3 // never 0
		}
	}
	return d
}

// randomNM keeps n of each m columns.
func randomNM(rng *rand.Rand, out, in, n, m int) dense {
	d := dense{out, in, make([]float32, out*in)}
	for g := 0; g < out*in; g += m {
		for _, i := range rng.Perm(m)[:n] {
			d.w[g+i] = float32(rng.NormFloat64()) + 3
		}
	}
	return d
}

// keptRows and keptCols are those with an element.
func (d dense) kept() (rows, cols []uint32) {
	for r := range d.out {
		for c := range d.in {
			if d.at(r, c) != 0 {
				rows = append(rows, uint32(r))
				break
			}
		}
	}
	for c := range d.in {
		for r := range d.out {
			if d.at(r, c) != 0 {
				cols = append(cols, uint32(c))
				break
			}
		}
	}
	return rows, cols
}

func allColumns(n int) []uint32 {
	var c []uint32
	for i := range n {
		c = append(c, uint32(i))
	}
	return c
}

// packPanel packs rows in the given order into panels of mr, the rest into
// panels of one row.
func packPanel(d dense, kind sgp.SegmentKind, mr, kb int, rows, cols []uint32) *sgp.Panel {
	p := &sgp.Panel{KB: kb, Cols: cols}
	if cols == nil {
		cols = allColumns(d.in)
	}
	full := len(rows) / mr * mr
	if full > 0 {
		p.Segments = append(p.Segments, packSegment(d, kind, mr, kb, rows[:full], cols))
	}
	if full < len(rows) {
		p.Segments = append(p.Segments, packSegment(d, kind, 1, kb, rows[full:], cols))
	}
	return p
}

func packSegment(d dense, kind sgp.SegmentKind, mr, kb int, rows, cols []uint32) sgp.Segment {
	s := sgp.Segment{Kind: kind, MR: mr, Rows: rows}
	for b := 0; b < len(cols); b += kb {
		block := cols[b:min(b+kb, len(cols))]
		for p := 0; p < len(rows); p += mr {
			panel := rows[p : p+mr]
			set := func(c uint32) (bits int) {
				for i, r := range panel {
					if d.at(int(r), int(c)) != 0 {
						bits |= 1 << i
					}
				}
				return bits
			}
			switch kind {
			case sgp.Dense:
				for _, c := range block {
					for _, r := range panel {
						s.W = append(s.W, d.at(int(r), int(c)))
					}
				}
			case sgp.Step:
				var lists [][]int
				steps := len(block)
				for i := range mr {
					var list []int
					for k, c := range block {
						if set(c)>>i&1 != 0 {
							list = append(list, k)
						}
					}
					lists = append(lists, list)
					steps = min(steps, len(list))
				}
				put := func(i, k int) {
					s.Idx = append(s.Idx, uint16(k))
					s.W = append(s.W, d.at(int(panel[i]), int(block[k])))
				}
				s.Runs = append(s.Runs, uint16(steps))
				for n := range steps {
					for i := range mr {
						put(i, lists[i][n])
					}
				}
				for i, list := range lists {
					s.Runs = append(s.Runs, uint16(len(list)-steps))
					for _, k := range list[steps:] {
						put(i, k)
					}
				}
			case sgp.Block:
				n := 0
				for k, c := range block {
					if set(c) == 0 {
						continue
					}
					n++
					s.Idx = append(s.Idx, uint16(k))
					for _, r := range panel {
						s.W = append(s.W, d.at(int(r), int(c)))
					}
				}
				s.Runs = append(s.Runs, uint16(n))
			case sgp.Grouped:
				for want := 1; want < 1<<mr; want++ {
					n := 0
					for k, c := range block {
						if set(c) != want {
							continue
						}
						n++
						s.Idx = append(s.Idx, uint16(k))
						for i, r := range panel {
							if want>>i&1 != 0 {
								s.W = append(s.W, d.at(int(r), int(c)))
							}
						}
					}
					s.Runs = append(s.Runs, uint16(n))
				}
			}
		}
	}
	if kind != sgp.Dense {
		s.Idx = append(s.Idx, make([]uint16, sgp.IdxAhead)...)
	}
	return s
}

func packLanes(d dense, kind sgp.LanesKind, s, n, m int, rows, cols []uint32) *sgp.Lanes {
	f := &sgp.Lanes{Kind: kind, S: s, N: n, M: m, Rows: rows, Cols: cols}
	if cols == nil {
		cols = allColumns(d.in)
	}
	if rows == nil {
		rows = allColumns(d.out)
	}
	if kind == sgp.LanesMask {
		f.W = make([]float32, sgp.MaskHead)
	}
	for j := 0; j < len(rows); j += s {
		get := func(l, k int) float32 {
			if j+l >= len(rows) {
				return 0
			}
			return d.at(int(rows[j+l]), int(cols[k]))
		}
		packSlab(f, get, len(cols))
	}
	if kind == sgp.LanesMask {
		f.W = append(f.W, make([]float32, sgp.MaskTail)...)
	}
	return f
}

func packSlab(f *sgp.Lanes, get func(l, k int) float32, k int) {
	switch f.Kind {
	case sgp.LanesDense:
		for kk := range k {
			for l := range f.S {
				f.W = append(f.W, get(l, kk))
			}
		}
	case sgp.LanesList:
		n := 0
		for kk := range k {
			any := false
			for l := range f.S {
				any = any || get(l, kk) != 0
			}
			if !any {
				continue
			}
			n++
			f.Meta = binary.LittleEndian.AppendUint16(f.Meta, uint16(kk))
			for l := range f.S {
				f.W = append(f.W, get(l, kk))
			}
		}
		f.Cnt = append(f.Cnt, uint32(n))
	case sgp.LanesMask:
		before := len(f.W)
		for kk := range k {
			mask := make([]byte, f.S/8)
			for l := range f.S {
				if v := get(l, kk); v != 0 {
					mask[l/8] |= 1 << (l % 8)
					f.W = append(f.W, v)
				}
			}
			f.Meta = append(f.Meta, mask...)
		}
		f.Cnt = append(f.Cnt, uint32(len(f.W)-before))
	case sgp.LanesNM:
		_, _, words := nmPlace(0, 0, k, f.N, f.M)
		meta := make([]uint32, words*f.S)
		for g := range k / f.M {
			for q := range f.N {
				for l := range f.S {
					// The q-th element of the group in this lane; padding lanes
					// and short groups take index q with weight 0.
					i, v, left := q, float32(0), q
					for c := range f.M {
						if e := get(l, g*f.M+c); e != 0 {
							if left == 0 {
								i, v = c, e
							}
							left--
						}
					}
					word, shift, _ := nmPlace(g, q, k, f.N, f.M)
					meta[word*f.S+l] |= uint32(i) << shift
					f.W = append(f.W, v)
				}
			}
		}
		for _, m := range meta {
			f.Meta = binary.LittleEndian.AppendUint32(f.Meta, m)
		}
	case sgp.LanesRow:
		for l := range f.S {
			at, last, n := 0, 0, 0
			fill := func(index int) {
				for ; n%8 != 0; n++ {
					f.Meta, f.W = append(f.Meta, byte(index)), append(f.W, 0)
				}
				at += index
			}
			for kk := range k {
				v := get(l, kk)
				if v == 0 {
					continue
				}
				for ; kk-at > 255; fill(255) {
					f.Meta, f.W, n = append(f.Meta, 255), append(f.W, 0), n+1
				}
				last = kk - at
				f.Meta, f.W, n = append(f.Meta, byte(last)), append(f.W, v), n+1
				if n%8 == 0 {
					fill(last)
				}
			}
			fill(last)
			f.Cnt = append(f.Cnt, uint32(n/8))
		}
	case sgp.LanesWindow: // a column takes a step of its own
		for u := range f.S / 8 {
			var columns []int
			for kk := range k {
				for l := range 8 {
					if get(8*u+l, kk) != 0 {
						columns = append(columns, kk)
						break
					}
				}
			}
			begin, groups := 0, 0
			for ; len(columns) > 0; groups++ {
				places, steps := make([]uint32, 8), make([]byte, 8)
				base := begin
				for q := range steps {
					c := k
					if len(columns) > 0 {
						begin = min(columns[0], k-15, base+255)
						if columns[0] < begin+15 {
							c, columns = columns[0], columns[1:]
						}
					}
					steps[q] = byte(begin - base)
					for l := range places {
						p, v := 8, float32(0)
						if c < k && get(8*u+l, c) != 0 {
							if p, v = c-begin, get(8*u+l, c); p >= 8 {
								p++
							}
						}
						places[l] |= uint32(p) << (4 * q)
						f.W = append(f.W, v)
					}
				}
				for _, p := range places {
					f.Meta = binary.LittleEndian.AppendUint32(f.Meta, p)
				}
				f.Meta = append(f.Meta, steps...)
			}
			f.Cnt = append(f.Cnt, uint32(groups))
		}
	case sgp.DeltaTile:
		steps := make([][]byte, f.S)
		values := make([][]float32, f.S)
		n := 0
		for l := range f.S {
			at := 0
			for kk := range k {
				v := get(l, kk)
				if v == 0 {
					continue
				}
				for ; kk-at > 255; at += 255 { // a gap too long for a byte: a step with weight 0
					steps[l], values[l] = append(steps[l], 255), append(values[l], 0)
				}
				steps[l], values[l] = append(steps[l], byte(kk-at)), append(values[l], v)
				at = kk
			}
			n = max(n, len(steps[l]))
		}
		for i := range n {
			for l := range f.S {
				step, v := byte(0), float32(0)
				if i < len(steps[l]) {
					step, v = steps[l][i], values[l][i]
				}
				f.Meta, f.W = append(f.Meta, step), append(f.W, v)
			}
		}
		f.Cnt = append(f.Cnt, uint32(n))
	}
}
