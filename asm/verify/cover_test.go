package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJoined: rectangles that are joined cover what they did, as often, and those
// that make up a larger one in two steps become it.
func TestJoined(t *testing.T) {
	type cell struct{ region, r, c int64 }
	cells := func(c coverage) map[cell]int {
		m := map[cell]int{}
		for _, x := range c {
			for r := x.r0.constTerm(); r < x.r1.constTerm(); r++ {
				for c := x.c0.constTerm(); c < x.c1.constTerm(); c++ {
					m[cell{int64(x.region), r, c}]++
				}
			}
		}
		return m
	}
	rng := rand.New(rand.NewPCG(5, 6))
	fewer := 0
	for range 5000 {
		var c coverage
		for range 1 + rng.IntN(4) {
			r, w := rng.Int64N(3), rng.Int64N(3)
			c = append(c, rect{rng.IntN(2), constant(r), constant(r + rng.Int64N(3)), constant(w), constant(w + rng.Int64N(3))})
		}
		before, n := cells(c), len(c)
		joint := joined(c.clone())
		require.Equal(t, before, cells(joint), "%v", c)
		if len(joint) < n {
			fewer++
		}
	}
	require.Greater(t, fewer, 1000)
	box := func(r0, r1, c0, c1 int64) rect {
		return rect{0, constant(r0), constant(r1), constant(c0), constant(c1)}
	}
	require.Len(t, joined(coverage{box(0, 1, 0, 4), box(0, 1, 4, 8), box(1, 2, 4, 8), box(1, 2, 0, 4)}), 1)
	require.Len(t, joined(coverage{box(0, 1, 0, 4), box(0, 2, 4, 8)}), 2)
}
