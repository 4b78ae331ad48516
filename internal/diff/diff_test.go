package diff

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnified(t *testing.T) {
	old := "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n"
	new := "a\nb\nC\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm"
	require.Equal(t, `--- old
+++ new
@@ -1,6 +1,6 @@
 a
 b
-c
+C
 d
 e
 f
@@ -10,3 +10,4 @@
 j
 k
 l
+m
\ No newline at end of file
`, Unified("old", "new", []byte(old), []byte(new)))
	require.Empty(t, Unified("old", "new", []byte(old), []byte(old)))
	require.Equal(t, "--- old\n+++ new\n@@ -0,0 +1 @@\n+x\n", Unified("old", "new", nil, []byte("x\n")))
	require.Equal(t, "--- old\n+++ new\n@@ -1 +0,0 @@\n-x\n", Unified("old", "new", []byte("x\n"), nil))
}

// TestPatchRoundTrip applies random diffs with patch(1).
func TestPatchRoundTrip(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("no patch(1) here")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "line %d\n", rng.IntN(6))
		}
		return strings.TrimSuffix(b.String(), strings.Repeat("\n", rng.IntN(2)))
	}
	for range 40 {
		dir := t.TempDir()
		old, new := text(rng.IntN(40)), text(rng.IntN(40))
		d := Unified("f", "f", []byte(old), []byte(new))
		if d == "" || new == "" {
			continue // patch removes a file that becomes empty
		}
		f := filepath.Join(dir, "f")
		require.NoError(t, os.WriteFile(f, []byte(old), 0o600))
		cmd := exec.Command(patch, "-s", "-u", f)
		cmd.Stdin = strings.NewReader(d)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", out, d)
		got, err := os.ReadFile(f)
		require.NoError(t, err)
		require.Equal(t, new, string(got))
	}
}

// apply rebuilds the new text from the edits.
func apply(a, b []string, list []edit) []string {
	var out []string
	at := 0
	for _, e := range list {
		out = append(out, a[at:e.a0]...)
		out = append(out, b[e.b0:e.b1]...)
		at = e.a1
	}
	return append(out, a[at:]...)
}

func TestEditsRebuild(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		a, b := make([]string, rng.IntN(30)), make([]string, rng.IntN(30))
		for i := range a {
			a[i] = string(rune('a' + rng.IntN(4)))
		}
		for i := range b {
			b[i] = string(rune('a' + rng.IntN(4)))
		}
		require.Equal(t, strings.Join(b, ""), strings.Join(apply(a, b, edits(a, b)), ""))
	}
}

// TestFarApart meets the bound on the search.
func TestFarApart(t *testing.T) {
	a, b := make([]string, 3000), make([]string, 3000)
	for i := range a {
		a[i], b[i] = fmt.Sprint("a", i), fmt.Sprint("b", i)
	}
	require.Equal(t, []edit{{0, 3000, 0, 3000}}, edits(a, b))
}
