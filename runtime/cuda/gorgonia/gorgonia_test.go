//go:build gorgoniacu && cgo

package gorgonia

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
)

const ptx = `.version 8.0
.target sm_80
.address_size 64
.visible .entry nop() { ret; }
`

// TestBothWays goes from our types to those of cu and back. The driver is a fake,
// so that cu itself is not called.
func TestBothWays(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	sys, err := cuda.New(cudatest.New().Driver())
	require.NoError(t, err)
	owner, err := sys.Open(0)
	require.NoError(t, err)
	defer owner.Close()

	ctx := Context(owner)
	require.Equal(t, fmt.Sprintf("0x%x", owner.Context()), ctx.String())
	d, err := AdoptContext(sys, ctx)
	require.NoError(t, err)
	require.Equal(t, owner.Context(), d.Context())
	_, err = AdoptContext(sys, cu.CUContext{})
	require.ErrorContains(t, err, "it is nil")

	m, err := owner.Load(ptx, cuda.LoadOptions{})
	require.NoError(t, err)
	again, err := AdoptModule(d, Module(m))
	require.NoError(t, err)
	require.Equal(t, m.Handle(), again.Handle())
	_, err = again.Function("nop")
	require.NoError(t, err)
	require.NotEqual(t, cu.NoStream, Stream(owner.Stream()))

	b, err := owner.Alloc(64)
	require.NoError(t, err)
	same, err := AdoptMemory(d, Memory(b), 64)
	require.NoError(t, err)
	require.Equal(t, b.Addr(), same.Addr())
	require.NoError(t, cuda.Upload(nil, same, []byte{1, 2, 3}))
	require.NoError(t, d.Close())
	got := make([]byte, 3)
	require.NoError(t, cuda.Download(nil, got, b))
	require.Equal(t, []byte{1, 2, 3}, got)
}
