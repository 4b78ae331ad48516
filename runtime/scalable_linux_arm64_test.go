package runtime

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"
)

// TestScalableBits: the level of scalable vectors is this machine's where it has
// them and their length is one that kernels are proved for.
func TestScalableBits(t *testing.T) {
	n := scalableBits()
	t.Logf("scalable vectors: %v, %d bits", cpu.ARM64.HasSVE, n)
	require.Equal(t, cpu.ARM64.HasSVE && n != 0, SVE.Available())
	if n != 0 {
		require.True(t, cpu.ARM64.HasSVE)
		require.GreaterOrEqual(t, n, 128)
		require.Equal(t, 1, bits.OnesCount(uint(n)))
	}
}
