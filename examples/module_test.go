package examples

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/tool"
)

// A program with generated kernels needs the runtime and nothing of what made
// them.
func TestBuildPullsInNoGenerator(t *testing.T) {
	const module = "github.com/sparsegen/sparsegen/"
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go list: %s", &stderr)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, module+"runtime")
	for _, dep := range deps {
		for _, wall := range []string{
			"github.com/mmcloughlin/avo", "golang.org/x/tools", "github.com/spf13/cobra",
			module + "asm", module + "autotune", module + "codegen", module + "ir", module + "patterns", module + "ptx", module + "tool",
		} {
			require.False(t, dep == wall || strings.HasPrefix(dep, wall+"/"), "go build ./... pulls in %s", dep)
		}
	}
}

// go generate would change nothing. It needs the spec alone, no weights.
//
// Here and in the other tests, what a command line does is called as a function:
// a change of sparsegen then invalidates cached results of go test.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	var diff, log strings.Builder
	err := tool.Gen(t.Context(), tool.Console{Out: &diff, Log: &log}, tool.GenOptions{Spec: "sentences/use.sg", Check: true})
	lines := strings.SplitN(diff.String(), "\n", 21) // the first ones say enough
	require.NoError(t, err, "%s\n%s", strings.Join(lines[:min(len(lines), 20)], "\n"), &log)
}
