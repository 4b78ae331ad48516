package codegen

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// packLanes packs slabs of s rows. n and m are the structure of LanesNM.
func packLanes(o *operand, kind sgp.LanesKind, s, n, m int) (*sgp.Lanes, error) {
	l := &sgp.Lanes{Kind: kind, S: s, Cols: o.cols}
	if len(o.rows) != o.out {
		l.Rows = o.rows
	}
	var pack func(l *sgp.Lanes, v [][]float32, kept [][]uint64) error
	switch kind {
	case sgp.LanesDense:
		pack = packDense
	case sgp.LanesList:
		pack = packList
	case sgp.LanesMask:
		pack = packMask
	case sgp.LanesRow:
		pack = packRow
	case sgp.LanesWindow:
		pack = packWindow
	case sgp.DeltaTile:
		pack = packDelta
	case sgp.LanesNM:
		l.N, l.M = n, m
		if m&(m-1) != 0 || o.k%m != 0 {
			return nil, fmt.Errorf("codegen: %d:%d over %d columns has no packed form", n, m, o.k)
		}
		pack = packNM
	default:
		return nil, fmt.Errorf("codegen: no packing for lanes kind %d", kind)
	}
	if kind == sgp.LanesMask {
		grow(&l.W, sgp.MaskHead)
	}
	for r := 0; r < len(o.rows); r += s {
		v, kept := o.block(r, s)
		if err := pack(l, v, kept); err != nil {
			return nil, fmt.Errorf("codegen: rows from %d on: %w", o.rows[r], err)
		}
	}
	if kind == sgp.LanesMask {
		grow(&l.W, sgp.MaskTail)
	}
	return l, nil
}

// grow appends n zeros and returns them.
func grow(w *[]float32, n int) []float32 {
	at := len(*w)
	*w = append(*w, make([]float32, n)...)
	return (*w)[at:]
}

func packDense(l *sgp.Lanes, v [][]float32, _ [][]uint64) error {
	w := grow(&l.W, len(v[0])*l.S)
	for i, row := range v {
		for k, x := range row {
			w[k*l.S+i] = x
		}
	}
	return nil
}

func packList(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	any := make([]uint64, len(kept[0]))
	for _, row := range kept {
		for i, w := range row {
			any[i] |= w
		}
	}
	count := uint32(0)
	for k := range eachBit(any) {
		if k > math.MaxUint16 {
			return fmt.Errorf("column %d is beyond a 16-bit index", k)
		}
		count++
		l.Meta = binary.LittleEndian.AppendUint16(l.Meta, uint16(k))
		for _, row := range v {
			l.W = append(l.W, row[k])
		}
	}
	l.Cnt = append(l.Cnt, count)
	return nil
}

func packMask(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	before := len(l.W)
	for k := range v[0] {
		at := len(l.Meta)
		for range l.S / 8 {
			l.Meta = append(l.Meta, 0)
		}
		for i := range v {
			if isSet(kept[i], k) {
				l.Meta[at+i/8] |= 1 << (i % 8)
				l.W = append(l.W, v[i][k])
			}
		}
	}
	l.Cnt = append(l.Cnt, uint32(len(l.W)-before))
	return nil
}

func packNM(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	k := len(v[0])
	bit := max(1, bits.TrailingZeros(uint(l.M)))
	per := 32 / bit
	perWord := max(1, per/l.N)          // groups a word
	perGroup := max(1, (l.N+per-1)/per) // words a group
	idx := make([]uint32, sgp.NMWords(k, l.N, l.M)*l.S)
	w := grow(&l.W, k/l.M*l.N*l.S)
	for i := range v {
		group, q := -1, 0
		for c := range eachBit(kept[i]) {
			if c/l.M != group {
				group, q = c/l.M, 0
			}
			if q == l.N {
				return fmt.Errorf("row %d keeps more than %d of the %d columns from %d on", i, l.N, l.M, group*l.M)
			}
			w[(group*l.N+q)*l.S+i] = v[i][c]
			word, shift := group/perWord, (group%perWord*l.N+q)*bit
			if l.N > per {
				word, shift = group*perGroup+q/per, q%per*bit
			}
			idx[word*l.S+i] |= uint32(c%l.M) << shift
			q++
		}
	}
	for _, x := range idx {
		l.Meta = binary.LittleEndian.AppendUint32(l.Meta, x)
	}
	return nil
}

// packRow stores each row by itself in groups of eight elements. Their indices
// count from the last one of the group before; a gap above 255 columns takes a
// step to within it. What fills up a group has the weight -0 and a column of
// the row's own: with a finite activation part + (-0)*x is part, but for the sign
// of a zero.
func packRow(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	for i := range v {
		at, groups, last := 0, uint32(0), byte(0)
		group := len(l.Meta)
		fill := func(index byte) {
			for len(l.Meta) < group+8 {
				l.Meta, l.W = append(l.Meta, index), append(l.W, negZero)
			}
			at += int(index)
			groups++
			group += 8
		}
		for k := range eachBit(kept[i]) {
			for k-at > 255 {
				fill(255)
			}
			last = byte(k - at)
			l.Meta, l.W = append(l.Meta, last), append(l.W, v[i][k])
			if len(l.Meta) == group+8 {
				fill(last)
			}
		}
		if len(l.Meta) > group {
			fill(last)
		}
		l.Cnt = append(l.Cnt, groups)
	}
	return nil
}

// packDelta steps the rows of a slab at once. A row that ends early, and a gap
// above 255 columns, take steps whose weight is -0: with a finite activation
// acc + (-0)*x is acc, but for the sign of a zero.
func packDelta(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	type step struct {
		delta byte
		w     float32
	}
	rows := make([][]step, l.S)
	longest := 0
	for i := range v {
		last := 0
		for k := range eachBit(kept[i]) {
			for ; k-last > 255; last += 255 {
				rows[i] = append(rows[i], step{255, negZero})
			}
			rows[i] = append(rows[i], step{byte(k - last), v[i][k]})
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
	return nil
}

// negZero is the weight of a step that stores nothing.
var negZero = float32(math.Copysign(0, -1))
