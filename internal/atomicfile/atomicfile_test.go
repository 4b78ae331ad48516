package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// names lists what is in the folder.
func names(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func requireContent(t *testing.T, path, want string) {
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, text := range []string{"first", "second, longer", ""} {
		require.NoError(t, WriteBytes(path, []byte(text)))
		requireContent(t, path, text)
	}
	require.Equal(t, []string{"a"}, names(t, dir))

	ordinary := filepath.Join(dir, "b")
	require.NoError(t, os.WriteFile(ordinary, nil, 0o666))
	want, err := os.Stat(ordinary)
	require.NoError(t, err)
	got, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, want.Mode(), got.Mode())
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, WriteBytes(path, []byte("before")))
	fault := errors.New("out of luck")
	err := Write(path, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20)) // beyond any buffer
		require.NoError(t, err)
		return fault
	})
	require.ErrorIs(t, err, fault)
	require.EqualError(t, err, fault.Error())
	requireContent(t, path, "before")
	require.Equal(t, []string{"a"}, names(t, dir))
}

func TestAFolderInTheWayIsAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, os.Mkdir(path, 0o777))
	require.ErrorContains(t, WriteBytes(path, []byte("x")), path)
	require.Equal(t, []string{"a"}, names(t, dir))
}

func TestErrorsNameTheFileThatIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "a")
	err := WriteBytes(path, []byte("x"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.EqualError(t, err, "open "+path+": no such file or directory")
}

func TestStagedFilesAppearTogether(t *testing.T) {
	dir := t.TempDir()
	a, err := Stage(filepath.Join(dir, "a"), Bytes([]byte("A")))
	require.NoError(t, err)
	b, err := Stage(filepath.Join(dir, "b"), Bytes([]byte("B")))
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, "a"))
	require.NoError(t, a.Commit())
	require.NoError(t, b.Discard())
	require.Equal(t, []string{"a"}, names(t, dir))
	requireContent(t, filepath.Join(dir, "a"), "A")
}

// TestKilledWritersLeaveNothing: a process that was killed between Stage and Commit leaves a file, which
// Sweep removes, and nothing else.
func TestKilledWritersLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteBytes(filepath.Join(dir, "a"), nil))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.tmp"), nil, 0o666))
	_, err := Stage(filepath.Join(dir, "a"), Bytes([]byte("half")))
	require.NoError(t, err)
	require.Len(t, names(t, dir), 3)
	require.NoError(t, Sweep(dir))
	require.Equal(t, []string{"a", "b.tmp"}, names(t, dir))
	require.NoError(t, Sweep(filepath.Join(dir, "none")))
}
