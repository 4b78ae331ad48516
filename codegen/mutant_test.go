package codegen

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/goref"
	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/runtime"
)

// mutantKernels are the kernels that are mutated: of each op, of the activations
// two that have but one way for a NaN to come through.
var mutantKernels = []runtime.KernelKey{
	{Op: runtime.PanelGrouped, MR: 4, T: 8},
	{Op: runtime.LanesNM, S: 16, NB: 2, N: 2, M: 4},
	{Op: runtime.LanesMask, S: 32, NB: 1},
	{Op: runtime.LanesNM, S: 16, NB: 1, N: 1, M: 8},
	{Op: runtime.MapSigmoid},
	{Op: runtime.MapTanh},
	{Op: runtime.PanelStep, MR: 2, T: 16},
	{Op: runtime.PanelDense, MR: 4, T: 24},
	{Op: runtime.LanesDense, S: 16, NB: 1},
	{Op: runtime.LanesList, S: 16, NB: 2},
	{Op: runtime.LanesRow, S: 8},
	{Op: runtime.LanesWindow, S: 16},
	{Op: runtime.DeltaTile, S: 8, T: 8},
	{Op: runtime.CopyTile},
	{Op: runtime.TransTile},
	{Op: runtime.UntransTile},
}

// sites bounds the mutants of one mutation of one kernel; they are spread over
// its text.
var sites = flag.Int("sites", 8, "places in each kernel where TestMutants plants each mistake")

// mutantRunner calls one mutant after the other, and says of each whether a call
// differed.
const mutantRunner = `package kern

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sparsegen/sparsegen/asm/goref/kerneltest"
)

func TestMutant(t *testing.T) {
	for s := range strings.SplitSeq(os.Getenv("MUTANTS"), ",") {
		i, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		same := t.Run(s, func(t *testing.T) { kerneltest.Check(t, mutants()[i], 200, kerneltest.Rules{}) })
		fmt.Printf("\nmutant %d %v\n", i, same)
	}
}
`

type mutant struct {
	key      runtime.KernelKey
	mutation string
	was, is  string // the line
	text     string // the whole function, renamed
	name     string
}

// mutantsOf plants every mutation in function name of the assembly text.
func mutantsOf(t *testing.T, d dialect, text string, key runtime.KernelKey, name string) []mutant {
	_, body, ok := strings.Cut(text, "TEXT ·"+name+"(SB)")
	require.True(t, ok, name)
	body, _, _ = strings.Cut(body, "\nTEXT ")
	lines := strings.Split("TEXT ·"+name+"(SB)"+body, "\n")
	for i, line := range lines { // what follows is the next function's comment
		if strings.HasPrefix(line, "\tRET") {
			lines = lines[:i+1]
			break
		}
	}
	var ms []mutant
	for _, mutation := range slices.Sorted(maps.Keys(d.mutations)) {
		var all []mutant
		for i, line := range lines[1:] {
			if !strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "\t//") {
				continue
			}
			is, ok := d.mutations[mutation](line)
			if !ok {
				continue
			}
			changed := slices.Clone(lines)
			changed[i+1] = is
			all = append(all, mutant{key: key, mutation: mutation, was: line, is: is, text: strings.Join(changed, "\n")})
		}
		if mutation == "dropped" { // and one that changes nothing must pass
			ms = append(ms, mutant{key: key, was: "nothing", is: "nothing", text: strings.Join(lines, "\n")})
		}
		n := min(max(1, *sites/d.sites), len(all))
		for i := range n {
			ms = append(ms, all[i*len(all)/n])
		}
	}
	return ms
}

func (d dialect) excuse(m mutant) string {
	for _, e := range d.equivalent {
		if e.op == m.key.Op && e.mutation == m.mutation && regexp.MustCompile(e.line).MatchString(m.was) {
			return e.reason
		}
	}
	return ""
}

// proofs are those of a kernel's text, of which data is the tables.
func (d dialect) proofs(key runtime.KernelKey, data, text string) ([]*verify.Proof, error) {
	return provedText(architectureOf(d.isa.Arch()), []byte(data+text+"\n"), []Kernel{{key, d.isa}})
}

// architectureOf is the one of a name.
func architectureOf(name string) architecture {
	return architectures[slices.IndexFunc(architectures, func(a architecture) bool { return a.name == name })]
}

// kernelModule builds a module of emitted files and more for an architecture, and
// returns its test binary.
func kernelModule(t *testing.T, arch string, files []File, more map[string]string) (binary string) {
	t.Helper()
	source := map[string][]byte{}
	for _, f := range files {
		source[f.Name] = f.Data
	}
	for name, text := range more {
		source[name] = []byte(text)
	}
	dir := t.TempDir()
	m, err := gobuild.New(t.Context(), filepath.Join(dir, "module"), source)
	require.NoError(t, err)
	// Without the folder in what is compiled, a second run finds it in go's cache.
	m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath", "GOARCH=" + arch}
	binary = filepath.Join(dir, "kern.test")
	_, err = m.Go(t.Context(), "test", "-c", "-o", binary, ".")
	require.NoError(t, err)
	return binary
}

// needs skips the test where nothing runs programs of an architecture.
func needs(t *testing.T, arch string) {
	if arch == goruntime.GOARCH {
		return
	}
	if _, err := exec.LookPath(emulators[arch]); err != nil || goruntime.GOOS != "linux" {
		t.Skipf("no emulator %q (Debian: qemu-user-static)", emulators[arch])
	}
}

// command runs a program of an architecture, under its emulator if need be, with
// env besides.
func command(ctx context.Context, arch string, env []string, binary string, args ...string) *exec.Cmd {
	if arch != goruntime.GOARCH {
		args = append([]string{binary}, args...)
		binary = emulators[arch]
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// essence is the text of a kernel without the instructions that its proof shows
// to have no effect, or "" if it is not proved. Kernels with the same essence do
// the same in every call.
func (d dialect) essence(key runtime.KernelKey, data, text string) string {
	for first := true; ; first = false {
		proofs, err := d.proofs(key, data, text)
		if err != nil && first {
			return ""
		}
		// Without effect, some still helped with the proof.
		if err != nil || len(proofs[0].Idle) == 0 {
			break
		}
		lines := strings.Split(text, "\n")
		for _, idle := range proofs[0].Idle {
			lines[idle.Line-1-strings.Count(data, "\n")] = ""
		}
		text = strings.Join(lines, "\n")
	}
	var kept []string
	for line := range strings.Lines(text) {
		if code, _, _ := strings.Cut(line, "//"); strings.TrimSpace(code) != "" {
			kept = append(kept, strings.Join(strings.Fields(code), " "))
		}
	}
	return strings.Join(kept, "\n")
}

// outside is what the checks say of a kernel that leaves its arguments.
var outside = regexp.MustCompile(`the kernel (touches|writes)|SIG[A-Z]+`)

// verdict is what calls of a mutant show.
type verdict struct {
	survived bool   // all results are those of the contract
	escaped  bool   // it left its arguments, or did not end
	output   string // what the checks said
}

// callMutants runs mutants one after the other, and again those that follow one whose
// process died.
func callMutants(t *testing.T, arch, binary string, list []int, wait time.Duration, verdicts []verdict) {
	for len(list) > 0 {
		var names []string
		for _, i := range list {
			names = append(names, strconv.Itoa(i))
		}
		ctx, stop := context.WithCancel(t.Context())
		watch := time.AfterFunc(wait, stop)
		cmd := command(ctx, arch, []string{"MUTANTS=" + strings.Join(names, ","), "GOTRACEBACK=none"}, binary, "-test.run=TestMutant", "-test.v")
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = cmd.Stdout
		require.NoError(t, cmd.Start())
		output := ""
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var i int
			var same bool
			if _, err := fmt.Sscanf(lines.Text(), "mutant %d %t", &i, &same); err != nil {
				output += lines.Text() + "\n"
				continue
			}
			verdicts[i] = verdict{same, outside.MatchString(output), output}
			list, output = list[1:], ""
			watch.Reset(wait)
		}
		_ = cmd.Wait() // how it ended is in what it has not reported
		if len(list) > 0 {
			verdicts[list[0]] = verdict{false, ctx.Err() != nil || outside.MatchString(output), output}
			list = list[1:]
		}
		watch.Stop()
		stop()
	}
}

// TestMutants plants mistakes in the assembly of mutantKernels. The comparison
// with the kernels' contract must find each, be it by a wrong result, a fault
// or a kernel that does not end, or the proof that Emit asks for must fail.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if os.Getenv("SPARSEGEN_ISA") != "" {
		t.Skip("calls kernels of every level by themselves, whatever SPARSEGEN_ISA says")
	}
	for _, d := range dialects {
		t.Run(d.isa.String(), func(t *testing.T) {
			if d.isa.Arch() == goruntime.GOARCH && !d.isa.Available() {
				t.Skipf("no %v on this machine", d.isa)
			}
			needs(t, d.isa.Arch())
			testMutants(t, d)
		})
	}
}

func testMutants(t *testing.T, d dialect) {
	arch := d.isa.Arch()
	var kernels []Kernel
	for _, key := range mutantKernels {
		kernels = append(kernels, Kernel{key, d.isa})
	}
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "mutants.sg"})
	require.NoError(t, err)
	text, stubs := string(files[0].Data), string(files[1].Data)
	var all []mutant
	for _, k := range kernels {
		all = append(all, mutantsOf(t, d, text, k.Key, functionName(k.Key, machines[d.isa]))...)
	}

	// The tables of the file as they are, then the mutants' functions.
	tables := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "DATA ") || strings.HasPrefix(line, "GLOBL ") || strings.HasPrefix(line, "#include") {
			tables += line
		}
	}
	source := "//go:build !noasm\n\n" + tables
	declared := "//go:build !noasm\n\npackage kern\n\nimport \"github.com/sparsegen/sparsegen/runtime\"\n\n"
	list := "func mutants() []runtime.Kernel {\n\treturn []runtime.Kernel{\n"
	for i := range all {
		m := &all[i]
		old := functionName(m.key, machines[d.isa])
		m.name = fmt.Sprintf("%s_mutant%d", old, i)
		source += "\n" + strings.Replace(m.text, old, m.name, 1) + "\n"
		signature := regexp.MustCompile(`(?m)^func ` + old + `\(.*$`).FindString(stubs)
		require.NotEmpty(t, signature)
		declared += "//go:noescape\n" + strings.Replace(signature, old, m.name, 1) + "\n\n"
		list += fmt.Sprintf("\t\t{Key: runtime.KernelKey{Op: %d, MR: %d, T: %d, S: %d, NB: %d, N: %d, M: %d}, ISA: %d, Fn: runtime.%s(%s)},\n",
			m.key.Op, m.key.MR, m.key.T, m.key.S, m.key.NB, m.key.N, m.key.M, d.isa, goref.FuncType(m.key.Op), m.name)
	}
	binary := kernelModule(t, arch, nil, map[string]string{
		"mutants_" + arch + ".s": source, "mutants_" + arch + ".go": declared + list + "\t}\n}\n", "mutant_test.go": mutantRunner,
	})

	// What is proved ends and harms nobody: many share a process.
	verdicts, unproved := make([]verdict, len(all)), make([]bool, len(all))
	var wait sync.WaitGroup
	slots := make(chan bool, goruntime.GOMAXPROCS(0))
	run := func(list []int, patience time.Duration) {
		wait.Go(func() {
			slots <- true
			defer func() { <-slots }()
			callMutants(t, arch, binary, list, patience, verdicts)
		})
	}
	var proved []int
	refused := 0
	for i, m := range all {
		if _, err := d.proofs(m.key, tables, m.text); err == nil {
			proved = append(proved, i)
			continue
		}
		unproved[i] = true
		if refused++; refused%d.called == 0 {
			run([]int{i}, 5*time.Second)
		}
	}
	for list := range slices.Chunk(proved, 24) {
		run(list, 20*time.Second)
	}
	wait.Wait()

	found, planted, byProof, byProofAlone, left, same := 0, 0, 0, 0, 0, 0
	essences := map[runtime.KernelKey]string{}
	for _, m := range all {
		if m.mutation == "" {
			essences[m.key] = d.essence(m.key, tables, m.text)
			require.NotEmpty(t, essences[m.key])
		}
	}
	for i, m := range all {
		what := fmt.Sprintf("%v: %s\n  was %s\n  is  %s", m.key, m.mutation, strings.TrimSpace(m.was), strings.TrimSpace(m.is))
		// What the proof passes may compute anything, but within its arguments, and
		// ends.
		if !unproved[i] && verdicts[i].escaped {
			t.Errorf("mutant passed by the proof: %s\n%s", what, verdicts[i].output)
		}
		if m.mutation != "" {
			planted++
			if unproved[i] {
				byProof++
				if verdicts[i].escaped {
					left++
				}
				if verdicts[i].survived {
					byProofAlone++
				}
			}
		}
		switch {
		case m.mutation == "":
			require.True(t, verdicts[i].survived && !unproved[i], "%v fails without a mistake: %s", m.key, verdicts[i].output)
		case !verdicts[i].survived || unproved[i]:
			found++
		case d.essence(m.key, tables, m.text) == essences[m.key]:
			same++
		case d.excuse(m) == "":
			t.Errorf("mutant not found: %s", what)
		}
	}
	t.Logf("%d of %d mutants found, %d of them by the proof before a kernel is called; of 1 in %d of these that were called, %d pass and %d leave their arguments or do not end; %d more are the kernel by their essence: %.2f %% of the others are found",
		found, planted, byProof, d.called, byProofAlone, left, same, 100*float64(found)/float64(planted-same))
	require.NotZero(t, left, "no mutant that leaves its arguments: that the proof passes none means nothing")
	require.Greater(t, found, len(mutantKernels)*len(d.mutations)/d.sites, "too few mutants to mean anything")
}
