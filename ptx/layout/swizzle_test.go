package layout

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var swizzles = []Swizzle{SwizzleNone, Swizzle32B, Swizzle64B, Swizzle128B}

func TestSwizzleIsAnInvolutionWithinItsPattern(t *testing.T) {
	for _, s := range swizzles {
		for addr := range 4 * s.Align() {
			to := s.Addr(addr)
			require.Equal(t, addr, s.Addr(to))
			require.Equal(t, addr/s.Span(), to/s.Span(), "a byte stays in its row")
			require.Equal(t, addr%chunk, to%chunk, "a chunk stays whole")
		}
	}
}

// The two ways in which the manual states the permutation.
func TestSwizzleFormulas(t *testing.T) {
	bits := func(v, hi, lo int) int { return v >> lo & (1<<(hi-lo+1) - 1) }
	for row := range 32 {
		for c := range 8 {
			require.Equal(t, c^row&7, Swizzle128B.Chunk(row, c))
			require.Equal(t, c&3^row>>1&3, Swizzle64B.Chunk(row, c&3))
			require.Equal(t, c&1^row>>2&1, Swizzle32B.Chunk(row, c&1))
			require.Zero(t, SwizzleNone.Chunk(row, 0))
		}
	}
	for a := range 4096 {
		require.Equal(t, a^bits(a, 9, 7)<<4, Swizzle128B.Addr(a))
		require.Equal(t, a^bits(a, 8, 7)<<4, Swizzle64B.Addr(a))
		require.Equal(t, a^bits(a, 7, 7)<<4, Swizzle32B.Addr(a))
		require.Equal(t, a, SwizzleNone.Addr(a))
	}
}

// The eight rows of a matrix of ldmatrix, one chunk each, lie in different banks.
func TestSwizzledColumnsHaveNoBankConflict(t *testing.T) {
	for _, s := range swizzles {
		for r := 0; r < 64; r += 8 {
			for c := range s.Span() / chunk {
				banks := map[int]bool{}
				for i := range 8 {
					banks[s.Offset(r+i, c*chunk)/chunk%8] = true
				}
				require.Len(t, banks, 8)
			}
		}
	}
}

func TestSwizzleOf(t *testing.T) {
	for _, s := range swizzles {
		got, err := SwizzleOf(s.Span())
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	_, err := SwizzleOf(256)
	require.ErrorContains(t, err, "256 bytes")
	require.Equal(t, "128B", Swizzle128B.String())
	require.Equal(t, "none", SwizzleNone.String())
}
