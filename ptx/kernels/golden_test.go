package kernels

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with testdata/name.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test -update")
	require.Equal(t, string(want), text)
}

// clean assembles a kernel and fails on warnings, spills and a stack.
func clean(t *testing.T, k *gpu.Kernel) ptxtest.Kernel {
	t.Helper()
	target, err := ptx.ParseTarget(k.Target)
	require.NoError(t, err)
	r := ptxtest.Assemble(t, k.PTX, target)
	require.Empty(t, r.Warnings, k.Name)
	got := r.Kernel(t, k.Name)
	require.Zero(t, got.Spills(), k.Name)
	require.Zero(t, got.Stack, k.Name)
	return got
}
