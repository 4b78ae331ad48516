package codegen

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// packWindow lets eight rows go in step. In each step the window begins at the
// column at which the row that is furthest behind goes on, and every row whose next
// element lies in it stores that. The others wait: their step has the weight -0 and
// the place of +0, and part + (-0)*(+0) is part, whatever the activations are.
func packWindow(l *sgp.Lanes, v [][]float32, kept [][]uint64) error {
	k := len(v[0])
	if k < sgp.WindowColumns {
		return fmt.Errorf("%d columns are fewer than a window has", k)
	}
	for u := 0; u < l.S; u += 8 {
		rows, bits := v[min(u, len(v)):min(u+8, len(v))], kept[min(u, len(v)):min(u+8, len(v))]
		next := make([][]int, len(rows)) // columns still to come
		for i := range rows {
			next[i] = slices.Collect(eachBit(bits[i]))
		}
		groups, begin := uint32(0), 0
		for ; slices.ContainsFunc(next, func(c []int) bool { return len(c) > 0 }); groups++ {
			var place [8]uint32
			var step [sgp.WindowSteps]byte
			w := grow(&l.W, sgp.WindowW)
			base := begin
			for q := range step {
				if at := furthestBehind(next); at >= 0 {
					begin = min(at, k-sgp.WindowColumns, base+255)
				}
				step[q] = byte(begin - base)
				for i := range place {
					p, x := uint32(8), negZero // the place of +0
					if i < len(next) && len(next[i]) > 0 && next[i][0] < begin+sgp.WindowColumns {
						c := next[i][0]
						next[i] = next[i][1:]
						if p, x = uint32(c-begin), rows[i][c]; p >= 8 {
							p++
						}
					}
					w[q*8+i] = x
					place[i] |= p << (4 * q)
				}
			}
			for _, p := range place {
				l.Meta = binary.LittleEndian.AppendUint32(l.Meta, p)
			}
			l.Meta = append(l.Meta, step[:]...)
		}
		l.Cnt = append(l.Cnt, groups)
	}
	return nil
}

// furthestBehind is the least of the first columns, or -1.
func furthestBehind(next [][]int) int {
	at := -1
	for _, c := range next {
		if len(c) > 0 && (at < 0 || c[0] < at) {
			at = c[0]
		}
	}
	return at
}
