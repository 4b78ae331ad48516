package tile

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
)

func builder() *ptx.Kernel { return ptx.NewModule(ptx.SM90a()).Kernel("k") }

// value is what address arithmetic on constants folds to.
func value(t *testing.T, r ptx.Reg) int {
	t.Helper()
	v, err := strconv.ParseInt(r.String(), 0, 64)
	require.NoError(t, err)
	return int(v)
}

// Every element of a warpgroup's tile lies where the tensor map's swizzle expects
// it, and in the registers that the accumulator's layout tells.
func TestOffset16(t *testing.T) {
	k := builder()
	acc, matrix, lanes := layout.Accumulator(16).Warps(4), layout.Matrix8x8(true), layout.ChunksFirst()
	seen := map[int]bool{}
	for thread := range 128 {
		warp, lane := thread/32, thread%32
		at := value(t, offset16(k, k.Const(ptx.U32, warp), k.Const(ptx.U32, lane)))
		token, chunk := lanes.At(lane)
		require.Equal(t, layout.Swizzle128B.Offset(token, 16*(2*warp+chunk)), at)
		// Register j of the instruction is the thread's part of matrix j, whose rows
		// lanes 8j to 8j+7 address.
		for j := range 4 {
			for e := range 2 {
				feature, tok := acc.At(thread, 2*j+e)
				row, col := matrix.At(lane, e)
				first := value(t, offset16(k, k.Const(ptx.U32, warp), k.Const(ptx.U32, 8*j+row)))
				want := layout.Swizzle128B.Offset(tok, 2*feature)
				require.Equal(t, want, first+2*col)
				require.False(t, seen[want])
				seen[want] = true
			}
		}
	}
	require.Len(t, seen, 64*16)
}

func TestOffset32(t *testing.T) {
	k := builder()
	const cols = 32
	acc := layout.Accumulator(8).Warps(4)
	seen := map[int]bool{}
	for warp := range 4 {
		for i := range 4 {
			banks := map[int]bool{}
			for lane := range 32 {
				at := value(t, offset32(k, k.Const(ptx.U32, warp), k.Const(ptx.U32, lane), i, cols))
				feature, token := acc.At(32*warp+lane, i)
				want := feature/32*rowBytes*cols + layout.Swizzle128B.Offset(token, feature%32*4)
				require.Equal(t, want, at)
				require.False(t, seen[at])
				seen[at] = true
				banks[at/4%32] = true
			}
			require.Len(t, banks, 32, "a store without bank conflicts")
		}
	}
}

// Each tile is visited once, and a band is left only when it is done.
func TestPlaceCoversTiles(t *testing.T) {
	k := builder()
	for _, x := range []struct{ rows, cols, band int }{{1, 1, 16}, {16, 3, 16}, {17, 5, 16}, {40, 7, 16}, {5, 9, 2}, {3, 4, 1}} {
		seen := map[[2]int]bool{}
		last := 0
		for i := range x.rows * x.cols {
			r, c := place(k, k.Const(ptx.U32, i), k.Const(ptx.U32, x.rows), x.band, k.Const(ptx.U32, x.cols*x.band))
			row, col := value(t, r), value(t, c)
			require.False(t, seen[[2]int{row, col}], "%+v: step %d", x, i)
			require.True(t, row < x.rows && col < x.cols, "%+v: step %d", x, i)
			seen[[2]int{row, col}] = true
			require.GreaterOrEqual(t, row/x.band, last)
			last = row / x.band
		}
		require.Len(t, seen, x.rows*x.cols)
	}
}
