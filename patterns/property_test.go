package patterns

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomMatrix has a stride beyond its columns, zeros of both signs, equal
// magnitudes and now and then a NaN or an infinity.
func randomMatrix(rng *rand.Rand, rows, cols int) Matrix {
	m := Matrix{rows, cols, cols + rng.IntN(3), nil}
	m.Data = make([]float32, (rows-1)*m.Stride+cols)
	for i := range m.Data {
		switch rng.IntN(8) {
		case 0:
			m.Data[i] = 0
		case 1:
			m.Data[i] = float32(math.Copysign(0, -1))
		case 2, 3:
			m.Data[i] = float32(rng.IntN(5) - 2)
		default:
			m.Data[i] = float32(rng.NormFloat64())
		}
	}
	if rng.IntN(4) == 0 {
		m.Data[rng.IntN(len(m.Data))] = math.Float32frombits(0xffc00123)
		m.Data[rng.IntN(len(m.Data))] = float32(math.Inf(-1))
	}
	return m
}

// shaped is a pattern and shapes that it covers.
var shaped = []struct {
	pattern string
	shapes  [][2]int
}{
	{"dense", [][2]int{{1, 1}, {5, 65}, {3, 128}}},
	{"nm(2,4)", [][2]int{{1, 4}, {7, 64}, {5, 68}}},
	{"nm(1,4)", [][2]int{{3, 72}}},
	{"nm(2,8)", [][2]int{{3, 72}}},
	{"nm(4,8)", [][2]int{{3, 136}}},
	{"nm(1,8)", [][2]int{{3, 72}}},
	{"nm(1,16)", [][2]int{{3, 80}}},
	{"nm(5,12)", [][2]int{{9, 132}}},
	{"nm(31,32)", [][2]int{{4, 96}}},
	{"nm(3,7)", [][2]int{{4, 133}}},
	{"block(4,1)", [][2]int{{8, 5}, {64, 70}}},
	{"block(4,1,sparsity=0.75)", [][2]int{{8, 6}, {64, 70}}},
	{"block(1,16,sparsity=0.5)", [][2]int{{5, 80}}},
	{"block(3,5,sparsity=0.6)", [][2]int{{9, 70}}},
	{"block(2,64,sparsity=0.5)", [][2]int{{8, 192}}},
	{"unstructured", [][2]int{{7, 67}}},
	{"unstructured(sparsity=0.5)", [][2]int{{1, 1}, {7, 67}, {16, 64}}},
	{"unstructured(sparsity=0.9)", [][2]int{{31, 67}}},
	{"channel(rows)", [][2]int{{7, 67}}},
	{"channel(rows,sparsity=0.5)", [][2]int{{7, 67}}},
	{"channel(cols,sparsity=0.7)", [][2]int{{7, 67}, {2, 130}}},
	{"stripe(0:3,63:66)", [][2]int{{4, 66}, {5, 130}}},
	{"diag(-2,0,7)", [][2]int{{9, 12}, {70, 70}, {90, 20}}},
	{"diag(-8,width=17)", [][2]int{{33, 70}}},
	{"perm(nm(2,4),cols,seed=7)", [][2]int{{6, 68}}},
	{"perm(block(4,1,sparsity=0.5),rows,seed=3)", [][2]int{{12, 20}}},
	{"perm(perm(nm(2,4),cols,seed=7),cols,seed=8)", [][2]int{{6, 64}}},
	{"perm(perm(diag(0,width=3),cols,seed=7),rows,seed=8)", [][2]int{{20, 30}}},
	{"perm(stripe(0:9),cols,seed=1)", [][2]int{{5, 66}}},
	{"stripe(0:8) | nm(2,4)", [][2]int{{6, 68}}},
	{"nm(2,4) | unstructured(sparsity=0.9)", [][2]int{{6, 68}}},
	{"stripe(0) | diag(0) | block(4,1,sparsity=0.9) | unstructured(sparsity=0.95)", [][2]int{{16, 40}}},
	{"stripe(0:4) | stripe(9) | stripe(4:6)", [][2]int{{6, 68}}},
	{"stripe(0:4) | diag(0)", [][2]int{{6, 68}}},
	{"channel(rows,sparsity=0.5) & channel(cols,sparsity=0.5)", [][2]int{{8, 66}}},
	{"channel(rows,sparsity=0.5) & nm(2,4)", [][2]int{{8, 68}}},
	{"nm(2,4) & stripe(0:64)", [][2]int{{6, 68}}},
	{"channel(cols,sparsity=0.5) & stripe(0:64)", [][2]int{{6, 68}}},
	{"stripe(0:60) & stripe(30:68)", [][2]int{{6, 68}}},
	{"block(4,1,sparsity=0.5) & diag(-9,width=19)", [][2]int{{24, 30}}},
	{"perm(channel(cols,sparsity=0.5),cols,seed=9) & channel(rows,sparsity=0.5)", [][2]int{{8, 20}}},
	{"(stripe(0:8) | diag(0)) & nm(2,4)", [][2]int{{20, 68}}},
	{"stripe(0:3) | channel(rows,sparsity=0.5) & nm(2,4)", [][2]int{{20, 68}}},
}

// each runs f on every pattern, shape and a few random matrices.
func each(t *testing.T, f func(t *testing.T, p Pattern, m Matrix)) {
	for _, s := range shaped {
		for _, shape := range s.shapes {
			t.Run(fmt.Sprintf("%s/%dx%d", s.pattern, shape[0], shape[1]), func(t *testing.T) {
				p := MustParse(s.pattern)
				require.Equal(t, s.pattern, p.String())
				require.NoError(t, p.Validate(shape[0], shape[1]))
				for seed := range uint64(8) {
					f(t, p, randomMatrix(rand.New(rand.NewPCG(seed, 1)), shape[0], shape[1]))
				}
			})
		}
	}
}

func TestPruneFits(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		k, err := p.Prune(m)
		require.NoError(t, err)
		require.True(t, p.Fits(k))
		d := p.Density(m.Rows, m.Cols)
		require.True(t, d > 0 && d <= 1)
		require.LessOrEqual(t, k.Density(), d+1e-12)

		again, err := p.Prune(m.only(k))
		require.NoError(t, err)
		require.True(t, k.Equal(again), "Prune is not idempotent")
	})
}

// A subset of an allowed mask is allowed.
func TestFitsIsDownwardClosed(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		k, err := p.Prune(m)
		require.NoError(t, err)
		for r, c := range k.Clone().All() {
			if (r*31+c*17)%3 == 0 {
				k.Clear(r, c)
			}
		}
		require.True(t, p.Fits(k))
	})
}
