package codegen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/asmdecl"

	"github.com/sparsegen/sparsegen/runtime"
)

// asmdeclReports runs the asmdecl pass of go vet on an assembly file and the Go
// file that declares its functions.
func asmdeclReports(t *testing.T, arch string, text, stubs []byte) (reports []string) {
	file := filepath.Join(t.TempDir(), "kern_"+arch+".s")
	require.NoError(t, os.WriteFile(file, text, 0o666))
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, "kern_"+arch+".go", stubs, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	sizes := types.SizesFor("gc", arch)
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	pkg, err := (&types.Config{Sizes: sizes}).Check("kern", fset, []*ast.File{parsed}, info)
	require.NoError(t, err)
	_, err = asmdecl.Analyzer.Run(&analysis.Pass{
		Analyzer: asmdecl.Analyzer, Fset: fset, Files: []*ast.File{parsed}, OtherFiles: []string{file},
		Pkg: pkg, TypesInfo: info, TypesSizes: sizes, ReadFile: os.ReadFile,
		Report: func(d analysis.Diagnostic) { reports = append(reports, d.Message) },
	})
	require.NoError(t, err)
	return reports
}

// TestAsmdecl: argument names, offsets, sizes and frames of the kernels agree
// with their declarations; mistakes in any of them would be seen.
func TestAsmdecl(t *testing.T) {
	type mistake struct{ old, new, want string }
	for _, a := range []struct {
		isa      runtime.ISA
		mistakes []mistake
	}{
		{runtime.AVX2, []mistake{
			{"MOVQ   y+0(FP)", "MOVQ y+8(FP)", "invalid offset y+8(FP)"},
			{"MOVQ   w+32(FP)", "MOVL w+32(FP)", "invalid MOVL"},
			{"bias+64(FP)", "bios+64(FP)", "unknown variable bios"},
			{"NOSPLIT, $0-88", "NOSPLIT, $0-80", "wrong argument size"},
		}},
		{runtime.NEON, []mistake{ // asmdecl knows no widths of this machine's loads
			{"MOVD y+0(FP)", "MOVD y+8(FP)", "invalid offset y+8(FP)"},
			{"bias+64(FP)", "bios+64(FP)", "unknown variable bios"},
			{"NOSPLIT, $0-88", "NOSPLIT, $0-80", "wrong argument size"},
		}},
	} {
		arch := a.isa.Arch()
		t.Run(arch, func(t *testing.T) {
			// One of each op and machine: TestEmitted and TestEmulated have go vet see all.
			files, err := Emit(faultKernels(arch), EmitOptions{Package: "kern", Spec: "some.sg"})
			require.NoError(t, err)
			require.Empty(t, asmdeclReports(t, arch, files[0].Data, files[1].Data))

			one := Kernel{runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 1}, a.isa}
			files, err = Emit([]Kernel{one}, EmitOptions{Package: "kern", Spec: "some.sg"})
			require.NoError(t, err)
			text, stubs := files[0].Data, files[1].Data
			for _, m := range a.mistakes {
				require.Contains(t, string(text), m.old)
				got := asmdeclReports(t, arch, []byte(strings.Replace(string(text), m.old, m.new, 1)), stubs)
				require.NotEmpty(t, got, "%q for %q was not seen", m.new, m.old)
				require.Contains(t, got[0], m.want)
			}
		})
	}
}
