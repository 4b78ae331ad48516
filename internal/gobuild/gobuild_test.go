package gobuild_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/gobuild"
)

// offline makes the go command fail rather than ask a proxy.
var offline = []string{"GOPROXY=off", "GOSUMDB=off"}

func source(text string) []byte { return []byte(text) }

func TestBuildAgainstRuntime(t *testing.T) {
	m, err := gobuild.New(t.Context(), filepath.Join(t.TempDir(), "with space"), map[string][]byte{
		"main.go": source(`package main

import (
	"fmt"

	"github.com/sparsegen/sparsegen/runtime"

	"sparsegen.build/sub"
)

func main() { fmt.Print(runtime.KernelKey{Op: runtime.CopyTile, T: sub.T}) }
`),
		"sub/sub.go": source("package sub\n\nconst T = 16\n"),
	})
	require.NoError(t, err)
	m.Env = offline
	program := filepath.Join(t.TempDir(), "program.exe")
	require.NoError(t, m.Build(t.Context(), ".", program))
	out, err := exec.Command(program).Output()
	require.NoError(t, err)
	require.Equal(t, "copyTile T=16", string(out))
	require.NoError(t, m.Vet(t.Context()))
}

func TestErrorsCarryTheOutput(t *testing.T) {
	m, err := gobuild.New(t.Context(), t.TempDir(), map[string][]byte{
		"a/a.go":      source("package a\n\nvar x int = \"no\"\n"),
		"b/b_test.go": source("package b\n\nimport \"testing\"\n\nfunc TestB(t *testing.T) { t.Error(\"b is wrong\") }\n"),
	})
	require.NoError(t, err)
	m.Env = offline

	err = m.Build(t.Context(), "./a", "")
	var failed *gobuild.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, m.Dir, failed.Dir)
	require.ErrorContains(t, err, "go build ./a: exit status 1")
	require.ErrorContains(t, err, filepath.Join("a", "a.go")+":3:13: cannot use \"no\"")

	require.NoError(t, os.RemoveAll(filepath.Join(m.Dir, "a")))
	_, err = m.Test(t.Context(), "-count=1")
	require.ErrorContains(t, err, "b is wrong")
}

func TestNewRefuses(t *testing.T) {
	for _, name := range []string{"../x.go", "/x.go", "go.mod", "sub/go.sum", ""} {
		dir := filepath.Join(t.TempDir(), "m")
		_, err := gobuild.New(t.Context(), dir, map[string][]byte{name: nil})
		require.ErrorContains(t, err, "cannot be a file of the module", name)
		require.NoDirExists(t, dir)
	}
	dir := t.TempDir()
	_, err := gobuild.New(t.Context(), dir, nil)
	require.NoError(t, err)
	_, err = gobuild.New(t.Context(), dir, nil)
	require.ErrorContains(t, err, "is a module already")
}

func TestContextStopsTheCommand(t *testing.T) {
	m, err := gobuild.New(t.Context(), t.TempDir(), map[string][]byte{
		"a_test.go": source("package a\n\nimport \"testing\"\n\nfunc TestA(*testing.T) { select {} }\n"),
	})
	require.NoError(t, err)
	m.Env = offline
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("too long"))
	defer cancel()
	_, err = m.Test(ctx)
	require.ErrorContains(t, err, "too long")
}

// TestInAUsersModule runs where `go tool sparsegen` does: in a module that
// requires sparsegen.
func TestInAUsersModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	user := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(user, "go.mod"), fmt.Appendf(nil,
		"module user\n\ngo 1.26.0\n\nrequire github.com/sparsegen/sparsegen v0.0.0\n\nreplace github.com/sparsegen/sparsegen => %q\n", root), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(user, "go.sum"), sum, 0o666))
	t.Chdir(user)

	m, err := gobuild.New(t.Context(), filepath.Join(user, ".cache", "build"), map[string][]byte{
		"a.go": source("package a\n\nimport _ \"github.com/sparsegen/sparsegen/runtime\"\n"),
	})
	require.NoError(t, err)
	m.Env = offline
	require.NoError(t, m.Build(t.Context(), ".", ""))
}

// TestOutsideModules builds against the checkout that the test was built from.
func TestOutsideModules(t *testing.T) {
	t.Chdir(t.TempDir())
	m, err := gobuild.New(t.Context(), t.TempDir(), map[string][]byte{
		"a.go": source("package a\n\nimport _ \"github.com/sparsegen/sparsegen/runtime\"\n"),
	})
	require.NoError(t, err)
	m.Env = offline
	require.NoError(t, m.Build(t.Context(), ".", ""))
}
