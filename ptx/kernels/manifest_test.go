package kernels

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx/ptxtest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// manifest assembles kernels and compares what they need with testdata/name, so
// that a change shows: shared memory always, registers and instructions where
// ptxas is of the release that wrote the file. No kernel may warn or spill.
func manifest(t *testing.T, name string, list []*gpu.Kernel) (got []ptxtest.Kernel) {
	t.Helper()
	version := ptxtest.Version(t)
	var b strings.Builder
	fmt.Fprintf(&b, "# ptxas %s\n# %-68s registers shared instructions\n", version, "kernel")
	for _, k := range list {
		r := clean(t, k)
		got = append(got, r)
		fmt.Fprintf(&b, "%-70s %9d %6d %12d\n", k.Name, r.Registers, k.Shared, r.Instructions)
	}
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test -update")
	if !strings.HasPrefix(string(want), "# ptxas "+version+"\n") {
		t.Logf("%s was written by another release of ptxas than %s: kernels assemble clean, counts are not compared", path, version)
		return got
	}
	require.Equal(t, string(want), b.String(), "run go test -update if the change is meant")
	return got
}
