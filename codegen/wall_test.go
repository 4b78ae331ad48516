package codegen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// sources are the non-test files of a folder, parsed.
func sources(t *testing.T, dir string) map[string]*ast.File {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	files := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		files[name] = f
	}
	require.NotEmpty(t, files, dir)
	return files
}

// TestNoMnemonicOutsideItsFolder: the portable builder, the kernels written
// against it, the patterns and the language know no instruction of any machine.
func TestNoMnemonicOutsideItsFolder(t *testing.T) {
	files, err := Emit(someKernels(), EmitOptions{Package: "p", Spec: "s"})
	require.NoError(t, err)
	known := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name, ".s") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^\t([A-Z0-9]{3,})`).FindAllSubmatch(f.Data, -1) {
			known[string(m[1])] = true
		}
	}
	require.Contains(t, known, "VFMADD231PS")
	require.Contains(t, known, "FLDPQ")
	// What Go's assembler lacks is a word, with the name that GNU's has for it.
	for _, f := range files {
		for _, m := range regexp.MustCompile(`(?m)^\tWORD \S+ // ([a-z0-9]{4,})`).FindAllSubmatch(f.Data, -1) {
			known[string(m[1])] = true
		}
	}
	require.Contains(t, known, "fmla")
	require.Contains(t, known, "whilelt")
	// Words of English or of Go's own vocabulary.
	for _, w := range []string{"RET", "WORD", "ADD", "SUB", "MUL"} {
		delete(known, w)
	}
	word := regexp.MustCompile(`[A-Z][A-Z0-9]+|\b[a-z][a-z0-9]+\b`)
	register := regexp.MustCompile(`\b[XYZR]([12]?[0-9]|3[01])\b|\bV[0-9]+\.[BHSD]|\b[xyz]mm[0-9]*\b`)
	for _, dir := range []string{".", "../asm", "../asm/goref", "../asm/verify", "../patterns", "../ir", "../runtime"} {
		for name := range sources(t, dir) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, w := range word.FindAllString(string(text), -1) {
				require.False(t, known[w], "%s has the mnemonic %s", name, w)
			}
			require.Empty(t, register.FindAllString(string(text), -1), "%s names registers of a machine", name)
		}
	}
}

// TestKernelsAskNoMachineForItsName: a kernel may depend on what a machine has,
// not on which it is.
func TestKernelsAskNoMachineForItsName(t *testing.T) {
	const machines = `"github.com/sparsegen/sparsegen/asm/a` // amd64, arm64
	for name, f := range sources(t, ".") {
		for _, imp := range f.Imports {
			require.False(t, strings.HasPrefix(imp.Path.Value, machines) && filepath.Base(name) != "emit.go", "%s imports %s", name, imp.Path.Value)
			require.NotContains(t, imp.Path.Value, "mmcloughlin/avo", name)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) {
				for _, side := range []ast.Expr{b.X, b.Y} {
					if s, ok := side.(*ast.SelectorExpr); ok && s.Sel.Name == "Name" {
						if x, ok := s.X.(*ast.Ident); ok && (x.Name == "mc" || x.Name == "machine") {
							t.Errorf("%s compares a machine's name", name)
						}
					}
				}
			}
			return true
		})
	}
}

// TestPlanningKnowsLevelsOnly: nothing in this package names a pattern, and what
// the planner is given cannot tell which pattern it was.
func TestPlanningKnowsLevelsOnly(t *testing.T) {
	var names []string
	for _, text := range []string{
		"dense", "nm(2,4)", "block(4,1)", "unstructured", "channel(rows)", "stripe(0:4)", "diag(0)", "perm(dense,rows,seed=1)",
	} {
		p, err := patterns.Parse(text)
		require.NoError(t, err)
		name, _, _ := strings.Cut(p.String(), "(")
		names = append(names, name)
	}
	pattern := regexp.MustCompile(`^(` + strings.Join(names, "|") + `)(\(.*)?$`)
	for name, f := range sources(t, ".") {
		if name == "every.go" { // lists patterns, so that tests see the kernels of each
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				v, err := strconv.Unquote(s.Value)
				require.NoError(t, err)
				require.False(t, pattern.MatchString(v), "%s has %q: kernels ask for levels", name, v)
			}
			return true
		})
	}

	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(typ.Field(i).Type)
			}
		case reflect.Slice:
			walk(typ.Elem())
		default:
			require.NotContains(t, []reflect.Kind{reflect.Interface, reflect.String, reflect.Func, reflect.Pointer}, typ.Kind(),
				"a Problem carries a %v, which may tell the pattern", typ)
		}
	}
	walk(reflect.TypeFor[Problem]())
}
