package tool

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/gobuild"
)

// TestGenForARM64: what gen writes for arm64, on whatever machine, is proved, and
// builds on each system that has such machines; go vet's asmdecl, which would see a
// wrong argument, has nothing to say.
func TestGenForARM64(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for three systems")
	}
	m, err := gobuild.New(t.Context(), t.TempDir(), nil)
	require.NoError(t, err)
	kern := filepath.Join(m.Dir, "kern")
	require.NoError(t, os.Mkdir(kern, 0o777))
	var log strings.Builder
	// A spec that needs kernels of every op.
	require.NoError(t, Gen(t.Context(), Console{Out: &strings.Builder{}, Log: &log}, GenOptions{
		Spec: "../golden/testdata/every.sg", Out: kern, Package: "kern", Retarget: Retarget{Targets: "arm64"}, Verbose: true,
	}))
	file := filepath.Join(kern, "sparsegen_arm64.s")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	proved := regexp.MustCompile(`proved (\d+) kernels safe`).FindStringSubmatch(log.String())
	require.NotNil(t, proved, "%s", &log)
	require.Equal(t, proved[1], strconv.Itoa(strings.Count(string(text), "\nTEXT ·")))

	vet := func(system string) error {
		m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath", "CGO_ENABLED=0", "GOARCH=arm64", "GOOS=" + system}
		_, err := m.Go(t.Context(), "vet", "-asmdecl", "./...")
		return err
	}
	for _, system := range []string{"linux", "darwin", "windows"} {
		require.NoError(t, vet(system), system)
		require.NoError(t, m.Build(t.Context(), "./kern", ""), system)
	}
	wrong := strings.Replace(string(text), "MOVD ldx+48(FP)", "MOVD ldx+56(FP)", 1)
	require.NotEqual(t, string(text), wrong)
	require.NoError(t, os.WriteFile(file, []byte(wrong), 0o666))
	require.ErrorContains(t, vet("darwin"), "invalid offset ldx+56(FP)")
}
