package patterns

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every word-at-a-time helper equals the element-at-a-time loop.
func TestMaskHelpers(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	for range 100 {
		rows, cols := 1+rng.IntN(6), 1+rng.IntN(200)
		m, o := randomMatrix(rng, rows, cols), randomMatrix(rng, rows, cols)
		a, b := MaskOf(m), MaskOf(o)
		require.Equal(t, (cols+63)/64, len(a.Row(0)))

		and, or, not := a.Clone(), a.Clone(), a.Clone()
		and.And(b)
		or.Or(b)
		not.AndNot(b)
		count, all := 0, 0
		colCounts, rowCounts := make([]int, cols), make([]int, rows)
		for r := range rows {
			for c := range cols {
				x, y := m.Row(r)[c] != 0, o.Row(r)[c] != 0
				require.Equal(t, x, a.At(r, c))
				require.Equal(t, x && y, and.At(r, c))
				require.Equal(t, x || y, or.At(r, c))
				require.Equal(t, x && !y, not.At(r, c))
				if x {
					count++
					colCounts[c]++
					rowCounts[r]++
				}
			}
		}
		require.Equal(t, count, a.Count())
		require.InDelta(t, float64(count)/float64(rows*cols), a.Density(), 1e-12)
		require.Equal(t, colCounts, a.ColCounts())
		require.Equal(t, rowCounts, a.RowCounts())
		c := rng.IntN(cols)
		require.Equal(t, colCounts[c], a.ColCount(c))
		require.Equal(t, rowCounts[0], a.RowCount(0))

		last := -1
		for r, c := range a.All() {
			require.True(t, a.At(r, c) && r*cols+c > last)
			last = r*cols + c
			all++
		}
		require.Equal(t, count, all)

		require.True(t, and.Within(a) && a.Within(or) && not.Within(a))
		require.Equal(t, a.Equal(b), and.Equal(or))
		require.False(t, a.Equal(NewMask(rows, cols+1)))
		require.Panics(t, func() { a.And(NewMask(rows, cols+1)) })

		r0, c0 := rng.IntN(rows), rng.IntN(cols)
		r1, c1 := r0+rng.IntN(rows-r0+1), c0+rng.IntN(cols-c0+1)
		inside := 0
		for r := r0; r < r1; r++ {
			for c := c0; c < c1; c++ {
				if a.At(r, c) {
					inside++
				}
			}
		}
		require.Equal(t, inside, a.countIn(r0, r1, c0, c1))
		require.Equal(t, inside > 0, a.anyIn(r0, r1, c0, c1))

		k := NewMask(rows, cols)
		k.SetRange(r0, c0, c1)
		require.Equal(t, max(0, c1-c0), k.Count())
		require.Equal(t, max(0, c1-c0), k.countIn(r0, r0+1, c0, c1))

		n := min(32, cols-c0)
		f := a.field(r0, c0, n)
		for i := range n {
			require.Equal(t, a.At(r0, c0+i), f>>i&1 != 0)
		}
		require.Zero(t, uint64(f)>>n)

		m2 := m.only(dense{}.fixed(rows, cols))
		b.Apply(m2)
		for r := range rows {
			for c := range cols {
				want := uint32(0)
				if b.At(r, c) {
					want = math.Float32bits(m.Row(r)[c])
				}
				require.Equal(t, want, math.Float32bits(m2.Row(r)[c]))
			}
		}
	}
}

func BenchmarkMaskOf(b *testing.B) {
	m := gaussian(rand.New(rand.NewPCG(1, 1)), 4096, 4096)
	for b.Loop() {
		MaskOf(m)
	}
}
