package patterns

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// bestSum is the largest sum of magnitudes of a mask that p allows, found by
// trying all masks of the matrix.
func bestSum(p Pattern, m Matrix) float64 {
	best, n := 0.0, m.Rows*m.Cols
	for pick := range uint32(1) << n {
		k := NewMask(m.Rows, m.Cols)
		for w := pick; w != 0; w &= w - 1 {
			i := bits.TrailingZeros32(w)
			k.Set(i/m.Cols, i%m.Cols)
		}
		if s := keptSum(m, k); s > best && p.Fits(k) {
			best = s
		}
	}
	return best
}

func keptSum(m Matrix, k *Mask) float64 {
	s := 0.0
	for r, c := range k.All() {
		s += math.Abs(float64(m.Row(r)[c]))
	}
	return s
}

// Prune keeps the largest sum of magnitudes of all masks that fit, wherever it
// promises to: everywhere but in an intersection of several parts that choose,
// and beside unstructured in a union.
func TestPruneIsOptimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct {
		pattern    string
		rows, cols int
	}{
		{"dense", 3, 4},
		{"nm(1,2)", 2, 6},
		{"nm(2,4)", 3, 4},
		{"nm(2,3)", 2, 6},
		{"nm(5,6)", 2, 6},
		{"block(2,1,sparsity=0.5)", 4, 3},
		{"block(1,3,sparsity=0.6)", 2, 6},
		{"block(2,2,sparsity=0.3)", 2, 6},
		{"unstructured(sparsity=0.6)", 3, 4},
		{"unstructured(sparsity=0.99)", 3, 4},
		{"channel(rows,sparsity=0.5)", 4, 3},
		{"channel(cols,sparsity=0.7)", 2, 6},
		{"stripe(1:3)", 3, 4},
		{"diag(-1,1)", 3, 4},
		{"perm(nm(1,2),cols,3,1,0,2)", 3, 4},
		{"perm(block(2,1,sparsity=0.5),rows,seed=5)", 4, 3},
		{"stripe(0) | nm(1,2)", 3, 4},
		{"diag(0) | channel(rows,sparsity=0.6)", 3, 4},
		{"nm(1,4) | unstructured(sparsity=0.8)", 3, 4},
		{"nm(1,2) & stripe(1:3)", 3, 4},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			p := MustParse(c.pattern)
			for range 6 {
				m := NewMatrix(c.rows, c.cols)
				for i := range m.Data {
					m.Data[i] = float32(rng.IntN(9) - 4) // exact sums, many ties
				}
				k, err := p.Prune(m)
				require.NoError(t, err)
				require.Equal(t, bestSum(p, m), keptSum(m, k), "%v", m.Data)
			}
		})
	}
}

// kept is the mask that prune chooses, as text: one row a line.
func kept(t *testing.T, pattern string, rows, cols int, data ...float32) (rowsText []string) {
	k, err := MustParse(pattern).Prune(Matrix{rows, cols, cols, data})
	require.NoError(t, err)
	for r := range rows {
		s := make([]byte, cols)
		for c := range s {
			s[c] = '.'
			if k.At(r, c) {
				s[c] = 'x'
			}
		}
		rowsText = append(rowsText, string(s))
	}
	return rowsText
}

// Ties go to the lowest index, NaN counts as infinite, and a sparsity never
// keeps what is zero.
func TestPruneRules(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		pattern    string
		rows, cols int
		data       []float32
		want       []string
	}{
		{"nm(2,4)", 1, 8, []float32{1, -1, 1, -1, 0, 0, 0, 5}, []string{"xx..x..x"}},
		{"nm(1,4)", 1, 4, []float32{9, inf, nan, inf}, []string{".x.."}},
		{"nm(1,4)", 1, 4, []float32{9, 8, nan, inf}, []string{"..x."}},
		{"unstructured(sparsity=0.5)", 2, 3, []float32{1, 2, 1, -2, 1, 1}, []string{"xx.", "x.."}},
		{"unstructured(sparsity=0.5)", 2, 2, []float32{0, 0, 3, 0}, []string{"..", "x."}},
		{"unstructured", 1, 4, []float32{0, float32(math.Copysign(0, -1)), nan, 1e-45}, []string{"..xx"}},
		{"block(1,2,sparsity=0.5)", 2, 4, []float32{1, 1, 2, 0, 0, 2, 0, 3}, []string{"xx..", "..xx"}},
		{"block(1,2,sparsity=0.5)", 1, 4, []float32{9, 9, nan, 0}, []string{"..xx"}},
		{"block(1,2)", 1, 6, []float32{0, 0, 0, 1, 0, 0}, []string{"..xx.."}},
		{"channel(cols,sparsity=0.5)", 2, 4, []float32{1, 0, 2, 2, 1, 3, 0, 0}, []string{"xx..", "xx.."}},
		{"channel(cols,sparsity=0.9)", 2, 3, []float32{9, nan, 1, 9, 0, 1}, []string{".x.", ".x."}},
		{"channel(cols,sparsity=0.9)", 1, 2, []float32{inf, nan}, []string{"x."}},
		{"nm(2,4) & channel(cols,sparsity=0.5)", 2, 4, []float32{1, 5, 5, 1, 9, 0, 0, 9}, []string{"....", "x..x"}},
		{"nm(2,4) & channel(cols,sparsity=0.5)", 2, 4, []float32{0, 0, 0, 0, 9, 0, 0, 9}, []string{"....", "x..x"}},
		{"channel(rows)", 3, 2, []float32{0, 0, 1, 0, 0, 0}, []string{"..", "xx", ".."}},
		{"stripe(1)", 1, 3, []float32{0, 0, 0}, []string{".x."}},
		{"diag(-1,1)", 3, 3, []float32{1, 1, 1, 1, 1, 1, 1, 1, 1}, []string{".x.", "x.x", ".x."}},
		{"diag(-1,width=2)", 3, 2, []float32{1, 1, 1, 1, 1, 1}, []string{"x.", "xx", ".x"}},
		{"perm(stripe(0:2),cols,2,0,1)", 1, 3, []float32{1, 1, 1}, []string{"x.x"}},
		{"perm(nm(1,2),cols,2,0,1,3)", 1, 4, []float32{1, 1, 1, 1}, []string{".xx."}},
		{"stripe(0) | nm(1,4)", 1, 4, []float32{9, 1, 2, 1}, []string{"x.x."}},
		{"stripe(0) | unstructured(sparsity=0.75)", 1, 4, []float32{9, 1, 2, 1}, []string{"x.x."}},
		{"nm(1,2) & stripe(1:4)", 1, 4, []float32{9, 1, 1, 2}, []string{".x.x"}},
		{"channel(cols,sparsity=0.5) & nm(1,2)", 1, 4, []float32{3, 2, 1, 0}, []string{"x..."}},
	} {
		require.Equal(t, c.want, kept(t, c.pattern, c.rows, c.cols, c.data...), c.pattern)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		pattern    string
		rows, cols int
		msg        string
	}{
		{"dense", 0, 4, "shape [0, 4] is outside"},
		{"dense", 1 << 20, 1 << 20, "more than"},
		{"nm(2,4)", 4, -4, "outside"},
		{"nm(2,4)", 8, 6, "6 columns do not divide into groups of 4"},
		{"block(4,1)", 6, 8, "6 rows do not divide into blocks of 4"},
		{"block(4,3)", 8, 8, "8 columns do not divide into blocks of 3"},
		{"stripe(0:4,8:12)", 3, 10, "range 8:12 leaves a matrix of 10 columns"},
		{"diag(0,8)", 8, 8, "offset 8 leaves a matrix [8, 8]"},
		{"diag(-9,width=2)", 8, 8, "offset -9 leaves a matrix [8, 8]"},
		{"perm(dense,cols,1,0)", 8, 3, "an order of 2 cols does not cover 3"},
		{"stripe(0) | nm(2,4)", 8, 3, "nm(2,4): 3 columns"},
		{"stripe(0) & nm(2,4)", 8, 3, "nm(2,4): 3 columns"},
		{"stripe(0:2) & stripe(2:4)", 4, 4, "keeps nothing"},
	} {
		p := MustParse(c.pattern)
		require.ErrorContains(t, p.Validate(c.rows, c.cols), c.msg, c.pattern)
		require.False(t, c.rows > 0 && c.cols > 0 && c.cols < 100 && p.Fits(NewMask(c.rows, c.cols)), c.pattern)
	}
	require.NoError(t, MustParse("diag(-8,width=2)").Validate(8, 8))
}

// A limit is the nearest whole number, and at least one.
func TestBudget(t *testing.T) {
	require.Equal(t, 409600, budget(1000*2048, 0.8))
	require.Equal(t, 1, budget(4, 0.9))
	require.Equal(t, 7, budget(7, 0))
	for total := 1; total < 300; total++ {
		for kept := 1; kept < total; kept++ {
			require.Equal(t, kept, budget(total, sparsityFor(kept, total)))
		}
	}
	require.Equal(t, 0.5, sparsityFor(32, 64))
	require.Equal(t, 0.667, sparsityFor(333, 1000))
}

func TestKeepLargestAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		n := 1 + rng.IntN(50)
		keys := make([]uint64, n)
		for i := range keys {
			keys[i] = []uint64{0, 1, rng.Uint64(), rng.Uint64() &^ 0xffff, 1 << 48, uint64(rng.IntN(4)) << 62}[rng.IntN(6)]
		}
		k := 1 + rng.IntN(n)
		var want []int
		for i, x := range keys {
			ahead := 0
			for j, y := range keys {
				if y > x || y == x && j < i {
					ahead++
				}
			}
			if x != 0 && ahead < k {
				want = append(want, i)
			}
		}
		var got []int
		keepLargest(1, n, k, 64, func(_, i int) uint64 { return keys[i] }, func(_, i int) { got = append(got, i) })
		require.Equal(t, want, got, "%x %d", keys, k)
	}
}
