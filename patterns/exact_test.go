package patterns

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSplitmix: the numbers are those of the published generator, since
// permutations of weights follow from them.
func TestSplitmix(t *testing.T) {
	var s splitmix
	require.Equal(t, uint64(0xe220a8397b1dcdaf), s.next())
	require.Equal(t, uint64(0x6e789e6aa1b965f4), s.next())
	require.Equal(t, uint64(0x06c45d188009454f), s.next())
}

// TestClear: in rows of several words, one element goes, and no other.
func TestClear(t *testing.T) {
	const rows, cols = 5, 200
	for r := range rows {
		for c := 0; c < cols; c += 7 {
			k := dense{}.fixed(rows, cols)
			k.Clear(r, c)
			require.Equal(t, rows*cols-1, k.Count())
			require.False(t, k.At(r, c))
		}
	}
}

func TestDensityOfNothing(t *testing.T) {
	require.Zero(t, NewMask(0, 8).Density())
	require.Zero(t, NewMask(8, 0).Density())
}

// TestShapeLimits: each extent is bounded by itself.
func TestShapeLimits(t *testing.T) {
	require.NoError(t, shape(maxExtent, 1))
	require.NoError(t, shape(1, maxExtent))
	for _, s := range [][2]int{{maxExtent + 1, 1}, {1, maxExtent + 1}, {0, 1}, {1, 0}, {maxExtent, 32}} {
		require.Error(t, shape(s[0], s[1]), "%v", s)
	}
}

// TestRangeForNumber: where a whole number belongs, a range is an error.
func TestRangeForNumber(t *testing.T) {
	_, err := Parse("nm(1:2,4)")
	require.ErrorContains(t, err, "whole number")
}

// TestIntersectRefusesShapes: pruning a shape that a part has no place in is an
// error, not a nil mask.
func TestIntersectRefusesShapes(t *testing.T) {
	p, err := Parse("nm(2,4) & unstructured(sparsity=0.5)")
	require.NoError(t, err)
	_, err = p.Prune(Matrix{Rows: 2, Cols: 7, Data: make([]float32, 14)})
	require.Error(t, err)
}
