package codegen

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// packLanes packs slabs of s rows. n and m are the structure of LanesNM.
func packLanes(o operand, kind sgp.LanesKind, s, n, m int) (*sgp.Lanes, error) {
	l := &sgp.Lanes{Kind: kind, S: s, Cols: o.cols, W: []float32{}}
	if len(o.rows) != o.m.Rows {
		l.Rows = o.rows
	}
	slabs := (len(o.rows) + s - 1) / s
	switch kind {
	case sgp.LanesDense:
		packDense(l, o, slabs)
	case sgp.LanesList:
		packList(l, o, slabs)
	case sgp.LanesMask:
		packMask(l, o, slabs)
	case sgp.LanesDelta, sgp.DeltaTile:
		packDelta(l, o, slabs)
	case sgp.LanesNM:
		l.N, l.M = n, m
		if err := packNM(l, o, slabs); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("codegen: no packing for lanes kind %d", kind)
	}
	return l, nil
}

// lane is the packed row of slab j, lane i, or -1 for padding.
func lane(o operand, j, i, s int) int {
	if r := j*s + i; r < len(o.rows) {
		return r
	}
	return -1
}

func valueAt(o operand, r, k int) float32 {
	if r < 0 {
		return 0
	}
	return o.at(r, k)
}

func packDense(l *sgp.Lanes, o operand, slabs int) {
	for j := range slabs {
		for k := range o.k() {
			for i := range l.S {
				l.W = append(l.W, valueAt(o, lane(o, j, i, l.S), k))
			}
		}
	}
}

func packList(l *sgp.Lanes, o operand, slabs int) {
	for j := range slabs {
		count := uint32(0)
		for k := range o.k() {
			any := false
			for i := range l.S {
				r := lane(o, j, i, l.S)
				any = any || r >= 0 && o.kept(r, k)
			}
			if !any {
				continue
			}
			count++
			l.Meta = binary.LittleEndian.AppendUint16(l.Meta, uint16(k))
			for i := range l.S {
				l.W = append(l.W, valueAt(o, lane(o, j, i, l.S), k))
			}
		}
		l.Cnt = append(l.Cnt, count)
	}
}

func packMask(l *sgp.Lanes, o operand, slabs int) {
	for j := range slabs {
		for k := range o.k() {
			at := len(l.Meta)
			l.Meta = append(l.Meta, make([]byte, l.S/8)...)
			for i := range l.S {
				if r := lane(o, j, i, l.S); r >= 0 && o.kept(r, k) {
					l.Meta[at+i/8] |= 1 << (i % 8)
					l.W = append(l.W, o.at(r, k))
				}
			}
		}
	}
	l.W = append(l.W, make([]float32, 16)...) // a vector read at the last value stays inside
}

func packNM(l *sgp.Lanes, o operand, slabs int) error {
	bit := max(1, bits.TrailingZeros(uint(l.M)))
	if l.M&(l.M-1) != 0 || o.k()%l.M != 0 {
		return fmt.Errorf("codegen: %d:%d over %d columns has no packed form", l.N, l.M, o.k())
	}
	per := 32 / bit
	words := sgp.NMWords(o.k(), l.N, l.M)
	perWord := max(1, per/l.N)          // groups a word
	perGroup := max(1, (l.N+per-1)/per) // words a group
	idx := make([]uint32, words*l.S)
	for j := range slabs {
		clear(idx)
		w := len(l.W)
		l.W = append(l.W, make([]float32, o.k()/l.M*l.N*l.S)...)
		for i := range l.S {
			r := lane(o, j, i, l.S)
			if r < 0 {
				continue
			}
			for g := range o.k() / l.M {
				q := 0
				for c := range l.M {
					if !o.kept(r, g*l.M+c) {
						continue
					}
					if q == l.N {
						return fmt.Errorf("codegen: row %d keeps more than %d of the %d columns from %d on", o.rows[r], l.N, l.M, o.col(g*l.M))
					}
					l.W[w+((g*l.N+q)*l.S+i)] = o.at(r, g*l.M+c)
					word, shift := g/perWord, (g%perWord*l.N+q)*bit
					if l.N > per {
						word, shift = g*perGroup+q/per, q%per*bit
					}
					idx[word*l.S+i] |= uint32(c) << shift
					q++
				}
			}
		}
		for _, v := range idx {
			l.Meta = binary.LittleEndian.AppendUint32(l.Meta, v)
		}
	}
	return nil
}

// packDelta steps eight rows at once; a row that ends early, and a gap above
// 255 columns, take steps whose weight is -0: acc + (-0)*x keeps acc.
func packDelta(l *sgp.Lanes, o operand, slabs int) {
	type step struct {
		delta byte
		w     float32
	}
	rows := make([][]step, l.S)
	for j := range slabs {
		longest := 0
		for i := range rows {
			rows[i] = rows[i][:0]
			r := lane(o, j, i, l.S)
			if r < 0 {
				continue
			}
			last := 0
			for k := range o.k() {
				if !o.kept(r, k) {
					continue
				}
				for ; k-last > 255; last += 255 {
					rows[i] = append(rows[i], step{255, negZero})
				}
				rows[i] = append(rows[i], step{byte(k - last), o.at(r, k)})
				last = k
			}
			longest = max(longest, len(rows[i]))
		}
		l.Cnt = append(l.Cnt, uint32(longest))
		for s := range longest {
			for i := range rows {
				d := step{0, negZero}
				if s < len(rows[i]) {
					d = rows[i][s]
				}
				l.Meta = append(l.Meta, d.delta)
				l.W = append(l.W, d.w)
			}
		}
	}
}

// negZero is -0, the weight that changes no sum.
var negZero = float32(math.Copysign(0, -1))
