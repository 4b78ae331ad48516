package walls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/sparsegen/sparsegen/"

// A wall is what a package's comment says of imports. A folder stands for the
// packages below it, too. Imports of tests do not count.
type wall struct {
	only   []string // of this module it imports nothing else; nil where it does not say
	never  []string // it does not need them, by others either
	direct []string // it does not import them itself
	by     []string // nothing else imports it; nil where it does not say
}

var none = []string{}

// walls has a row for each package. What else must not enter a package, such as
// mnemonics or the names of patterns, the tests beside it look for.
var walls = map[string]wall{
	"asm":                          {only: none, never: []string{"github.com/mmcloughlin/avo"}},
	"asm/amd64":                    {never: []string{"codegen", "ir", "patterns"}},
	"asm/arm64":                    {never: []string{"codegen", "ir", "patterns"}},
	"asm/goref":                    {never: []string{"ir", "codegen", "asm", "ptx"}},
	"asm/goref/kerneltest":         {never: []string{"ir", "codegen", "asm", "ptx"}},
	"asm/verify":                   {never: []string{"codegen", "asm/goref", "runtime", "asm/amd64", "asm/arm64"}},
	"autotune":                     {never: []string{"ptx", "inspect", "tool"}, direct: []string{"asm"}, by: []string{"autotune", "report", "tool", "bench"}},
	"autotune/gputune":             {never: []string{"inspect", "tool"}, by: []string{"tool"}},
	"autotune/internal/records":    {only: []string{"internal/atomicfile"}},
	"autotune/worker":              {never: []string{"ir", "codegen", "asm", "ptx", "autotune"}},
	"bench":                        {by: none},
	"bench/gpu":                    {never: []string{"ir", "codegen", "asm"}, by: none},
	"bench/kernels":                {only: []string{"runtime"}},
	"bench/kernels/gen":            {only: []string{"codegen", "patterns"}, by: none},
	"bench/peers":                  {only: none},
	"bench/problems":               {never: []string{"codegen", "autotune", "runtime"}, by: none},
	"cmd/sparsegen":                {direct: []string{"codegen", "asm", "ptx", "runtime", "autotune"}, by: none},
	"codegen":                      {never: []string{"ptx", "autotune", "inspect", "tool"}},
	"codegen/gpuplan":              {never: []string{"runtime/cuda", "github.com/ebitengine/purego"}},
	"codegen/gpuplan/plantest":     {by: none},
	"examples":                     {never: []string{"codegen", "asm", "ptx", "autotune"}},
	"examples/sentences":           {never: []string{"codegen", "asm", "ptx", "autotune", "github.com/mmcloughlin/avo"}},
	"golden":                       {by: none},
	"inspect":                      {never: []string{"ir", "codegen", "asm", "ptx", "runtime", "autotune"}},
	"internal/atomicfile":          {only: none},
	"internal/diff":                {only: none},
	"internal/fit":                 {only: none},
	"internal/gobuild":             {only: none},
	"internal/guard":               {only: none},
	"internal/hwfma":               {only: none},
	"internal/mutate":              {only: none},
	"internal/narrow":              {only: none},
	"internal/npm":                 {only: none},
	"internal/sgp":                 {only: []string{"internal/atomicfile"}},
	"internal/walls":               {only: none, by: none},
	"internal/weights":             {only: []string{"internal/atomicfile"}},
	"ir":                           {only: []string{"patterns"}},
	"ir/eval":                      {only: []string{"ir", "patterns"}},
	"patterns":                     {only: none},
	"prune":                        {never: []string{"ir", "codegen", "asm", "ptx", "runtime", "autotune"}},
	"ptx":                          {only: none},
	"ptx/hopper":                   {only: []string{"ptx", "ptx/layout", "runtime/gpu"}, direct: []string{"ptx/kernels", "ptx/tile"}},
	"ptx/kernels":                  {only: []string{"ptx", "runtime/gpu"}, direct: []string{"ptx/ptxsim", "ptx/ptxtest"}},
	"ptx/layout":                   {only: []string{"patterns"}},
	"ptx/ptxsim":                   {only: []string{"ptx/layout", "runtime/gpu", "internal/narrow"}},
	"ptx/ptxsim/probe":             {never: []string{"ptx/ptxsim", "runtime/cuda", "codegen", "asm", "ir"}},
	"ptx/ptxtest":                  {only: []string{"ptx"}, by: none},
	"ptx/tile":                     {only: []string{"ptx", "ptx/layout", "ptx/hopper", "runtime/gpu"}, direct: []string{"ptx/kernels"}},
	"report":                       {never: []string{"tool"}, by: []string{"tool"}},
	"runtime":                      {never: []string{"ir", "codegen", "asm", "ptx", "autotune", "runtime/cuda", "github.com/mmcloughlin/avo"}},
	"runtime/cuda":                 {never: []string{"ptx", "ir", "codegen", "asm"}},
	"runtime/cuda/cudasim":         {only: []string{"ptx/ptxsim", "runtime/gpu", "runtime/cuda"}},
	"runtime/cuda/cudatest":        {only: []string{"runtime/cuda/internal/driver"}, by: []string{"runtime/cuda/cudasim", "codegen/gpuplan/plantest"}},
	"runtime/cuda/gorgonia":        {only: []string{"runtime/cuda"}},
	"runtime/cuda/internal/driver": {only: none, by: []string{"runtime/cuda"}},
	"runtime/cuda/internal/smoke":  {only: []string{"runtime/cuda", "runtime/gpu"}, by: none},
	"runtime/damagetest":           {never: []string{"ir", "codegen", "asm", "ptx"}},
	"runtime/gpu":                  {only: none, never: []string{"github.com/ebitengine/purego"}},
	"tool":                         {by: []string{"cmd/sparsegen"}},
	"torture":                      {never: []string{"tool", "cmd"}, by: []string{"tool"}},
}

// pkg is a package as its files say, for whatever system they are.
type pkg struct {
	doc     string
	imports []string // but for the standard library; those of this module without its path
}

// packages are those of this module and of the modules nested in it.
func packages(t *testing.T) map[string]*pkg {
	root := filepath.Join("..", "..")
	all := map[string]*pkg{}
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if d.Name() == "testdata" || file != root && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if all[dir] == nil {
			all[dir] = &pkg{}
		}
		all[dir].add(t, f)
		return nil
	}))
	return all
}

func (p *pkg) add(t *testing.T, f *ast.File) {
	if f.Doc != nil {
		p.doc += strings.Join(strings.Fields(f.Doc.Text()), " ")
	}
	for _, imp := range f.Imports {
		name, err := strconv.Unquote(imp.Path.Value)
		require.NoError(t, err)
		if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ".") {
			p.imports = append(p.imports, strings.TrimPrefix(name, module))
		}
	}
}

// inside reports whether a package is a folder of the list, or lies below one.
func inside(name string, list []string) bool {
	return slices.ContainsFunc(list, func(dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") })
}

// needs adds to found what a package imports, by others of this module too.
func needs(all map[string]*pkg, name string, found map[string]bool) {
	p := all[name]
	if p == nil {
		return
	}
	for _, imp := range p.imports {
		if !found[imp] {
			found[imp] = true
			needs(all, imp, found)
		}
	}
}

func TestWalls(t *testing.T) {
	all := packages(t)
	sentence := regexp.MustCompile(`must not|[Oo]nly tests may import|must import nothing but`)
	for name, p := range all {
		w, ok := walls[name]
		require.True(t, ok, "package %s has no wall", name)
		require.Regexp(t, sentence, p.doc, "the comment of package %s has no wall", name)
		for _, imp := range p.imports {
			if w.only != nil && all[imp] != nil {
				require.True(t, inside(imp, w.only), "%s imports %s", name, imp)
			}
			require.False(t, inside(imp, w.direct), "%s imports %s", name, imp)
			if by := walls[imp].by; by != nil {
				require.True(t, inside(name, by), "%s imports %s", name, imp)
			}
		}
		found := map[string]bool{}
		needs(all, name, found)
		for imp := range found {
			require.False(t, inside(imp, w.never), "%s needs %s", name, imp)
		}
	}
	for name := range walls {
		require.Contains(t, all, name, "a wall of no package")
	}
}
