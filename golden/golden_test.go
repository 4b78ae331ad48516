package golden

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

var update = flag.Bool("update", false, "rewrite testdata with what is printed now")

const (
	specName = "spec.sg"
	manifest = "testdata/manifest.txt"
	// everySpec has layers of every form, whose kernels are in the manifest only.
	everySpec = "testdata/every.sg"
)

// maxShown is how many kernels of an architecture the cases print in full: more
// would not be read.
const maxShown = 20

// testCase is a txtar file: its comment lists kernels, one a line as
// "lanesNM S=16 NB=1 N=2 M=4 avx2", below the text that says what to look at.
type testCase struct {
	file    string
	archive *txtar.Archive
	kernels []codegen.Kernel
}

func cases(t *testing.T) []testCase {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var list []testCase
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		require.NoError(t, err)
		c := testCase{file: file, archive: a}
		for line := range strings.Lines(string(a.Comment)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			i := strings.LastIndexByte(line, ' ')
			require.Positive(t, i, "%s: %q names no kernel", file, line)
			key, err := runtime.ParseKernelKey(line[:i])
			require.NoError(t, err, file)
			c.kernels = append(c.kernels, codegen.Kernel{Key: key, ISA: isa(t, line[i+1:])})
		}
		require.NotEmpty(t, c.kernels, "%s names no kernel", file)
		list = append(list, c)
	}
	return list
}

// isa is the level of a name, on any architecture.
func isa(t *testing.T, name string) runtime.ISA {
	for _, i := range append(codegen.ISAs(), runtime.Generic) {
		if i.String() == name {
			return i
		}
	}
	require.Fail(t, "unknown instruction set", name)
	return 0
}

func (c testCase) spec(t *testing.T) []byte {
	for _, f := range c.archive.Files {
		if f.Name == specName {
			return f.Data
		}
	}
	require.Fail(t, "no "+specName, c.file)
	return nil
}

// specKernels are the kernels that gen would emit for the case's spec.
func (c testCase) specKernels(t *testing.T) []codegen.Kernel { return kernelsOf(t, c.file, c.spec(t)) }

func kernelsOf(t *testing.T, file string, spec []byte) []codegen.Kernel {
	m, err := ir.Load(file, spec, ir.Options{})
	require.NoError(t, err)
	ks, err := codegen.Kernels(m)
	require.NoError(t, err, file)
	return ks
}

// TestPrinted compares the files of each case.
func TestPrinted(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			emitted := c.specKernels(t)
			for _, k := range c.kernels {
				require.Contains(t, emitted, k, "the spec does not need this kernel")
			}
			files, err := codegen.Emit(c.kernels, codegen.EmitOptions{Package: "golden", Spec: specName})
			require.NoError(t, err)
			now := &txtar.Archive{Comment: c.archive.Comment, Files: []txtar.File{{Name: specName, Data: c.spec(t)}}}
			for _, f := range files {
				now.Files = append(now.Files, txtar.File{Name: f.Name, Data: f.Data})
			}
			text := txtar.Format(now)
			if *update {
				require.NoError(t, os.WriteFile(c.file, text, 0o666))
				return
			}
			// The whole archive: a file that is no longer emitted differs too.
			require.Equal(t, string(txtar.Format(c.archive)), string(text), "%s is stale; read the diff, then go test ./golden -update", c.file)
		})
	}
}

// TestFewAreShown keeps the cases readable and without repeats.
func TestFewAreShown(t *testing.T) {
	seen := map[codegen.Kernel]string{}
	for _, c := range cases(t) {
		for _, k := range c.kernels {
			require.Empty(t, seen[k], "%s and %s show the same kernel", seen[k], c.file)
			seen[k] = c.file
		}
	}
	shown := map[string]int{}
	ops := map[string]map[runtime.KernelOp]bool{"amd64": {}, "arm64": {}}
	for k := range seen {
		shown[k.ISA.Arch()]++
		ops[k.ISA.Arch()][k.Key.Op] = true
	}
	for arch := range ops {
		require.LessOrEqual(t, shown[arch], maxShown, arch)
		for op := runtime.PanelGrouped; op <= runtime.UntransTile; op++ {
			require.True(t, ops[arch][op], "no case shows %v for %s", op, arch)
		}
	}
}

// TestNothingLeftOver: a file of testdata that no test reads is stale.
func TestNothingLeftOver(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	require.NoError(t, err)
	inside, err := filepath.Glob(gpuFolder + "/*")
	require.NoError(t, err)
	files = append(files, inside...)
	known := []string{manifest, everySpec, gpuFolder, gpuCase, gpuManifest}
	for _, c := range cases(t) {
		known = append(known, c.file)
	}
	require.ElementsMatch(t, known, files)
}

// TestManifest compares a hash of each kernel that a spec of testdata needs: of
// its assembly, or of its Go form.
func TestManifest(t *testing.T) {
	every, err := os.ReadFile(everySpec)
	require.NoError(t, err)
	needed := kernelsOf(t, everySpec, every)
	for _, c := range cases(t) {
		needed = append(needed, c.specKernels(t)...)
	}
	var all []codegen.Kernel
	levels := map[runtime.KernelOp]map[runtime.ISA]bool{}
	for _, k := range needed {
		all = append(all, k, codegen.Kernel{Key: k.Key, ISA: runtime.Generic})
		if levels[k.Key.Op] == nil {
			levels[k.Key.Op] = map[runtime.ISA]bool{}
		}
		levels[k.Key.Op][k.ISA] = true
	}
	for op := runtime.PanelGrouped; !strings.HasPrefix(op.String(), "kernelOp"); op++ {
		require.NotEmpty(t, levels[op], "no spec of testdata needs %v", op)
		for _, isa := range codegen.ISAs() {
			served := levels[op][isa]
			for below := range isa { // whose kernel a level without one runs
				served = served || levels[op][below] && below.Arch() == isa.Arch()
			}
			require.True(t, served, "no spec of testdata needs %v for %v", op, isa)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# SHA-256 of what is printed for each kernel, from go test ./golden -update\n")
	for _, k := range codegen.Sort(all) {
		fmt.Fprintf(&b, "%.16x %v %v\n", sha256.Sum256(printed(t, k)), k.Key, k.ISA)
	}
	compareManifest(t, manifest, b.Bytes())
}

// compareManifest compares a file's lines with those of now, or writes them.
func compareManifest(t *testing.T, file string, now []byte) {
	if *update {
		require.NoError(t, os.WriteFile(file, now, 0o666))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	was, is := strings.Split(string(want), "\n"), strings.Split(string(now), "\n")
	for _, line := range was {
		require.Contains(t, is, line, "%s is stale: this is no longer printed; go test ./golden -update", file)
	}
	for _, line := range is {
		require.Contains(t, was, line, "%s is stale: this is printed now; go test ./golden -update", file)
	}
}

// printed is the text that belongs to one kernel alone.
func printed(t *testing.T, k codegen.Kernel) []byte {
	files, err := codegen.Emit([]codegen.Kernel{k}, codegen.EmitOptions{Package: "golden", Spec: specName})
	require.NoError(t, err, "%v", k)
	suffix := "_" + k.ISA.Arch() + ".s"
	if k.ISA == runtime.Generic {
		suffix = "_generic.go"
	}
	i := slices.IndexFunc(files, func(f codegen.File) bool { return strings.HasSuffix(f.Name, suffix) })
	require.GreaterOrEqual(t, i, 0)
	return files[i].Data
}
