package gpuplan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWall: planning knows configurations of kernels and layouts of weights, no
// instruction, no driver and no pattern's name.
func TestWall(t *testing.T) {
	const module = "github.com/sparsegen/sparsegen/"
	allowed := []string{"codegen", "internal/narrow", "internal/sgp", "ir", "patterns", "ptx", "ptx/kernels", "ptx/layout", "runtime/gpu"}
	instruction := regexp.MustCompile(`\b(wgmma|mma|mbarrier|cp|ld|st|cvt|fma|setp|mov)\.[a-z]`)
	pattern := regexp.MustCompile(`^(nm|block|stripe|diag|channel|unstructured|perm)(\(|$)`)
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			require.NoError(t, err)
			if inside, ok := strings.CutPrefix(path, module); ok {
				require.True(t, slices.Contains(allowed, inside), "%s imports %s", name, inside)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				v, err := strconv.Unquote(s.Value)
				require.NoError(t, err)
				require.False(t, instruction.MatchString(v), "%s has the instruction %q", name, v)
				require.False(t, pattern.MatchString(v), "%s names a pattern: %q", name, v)
			}
			return true
		})
	}
}
