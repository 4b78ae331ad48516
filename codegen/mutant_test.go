package codegen

import (
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

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/asm/goref"
	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/runtime"
)

// mutations are the mistakes that are planted in emitted assembly. Each turns
// one line into another, or says that the line has no place for it.
var mutations = map[string]func(line string) (string, bool){
	// The next float32, or half-way into the next index, instead of this one.
	"displacement": func(line string) (string, bool) {
		at := regexp.MustCompile(`(\d*)\(([A-D]X|[SD]I|R\d+)\)`).FindStringSubmatchIndex(line)
		if at == nil || strings.HasPrefix(line, "\tPREFETCH") {
			return "", false
		}
		disp, _ := strconv.Atoi(line[at[2]:at[3]]) // no digits are 0
		return line[:at[2]] + strconv.Itoa(disp+4) + line[at[3]:], true
	},
	// A vector instruction's result in the wrong register.
	"register": func(line string) (string, bool) {
		m := regexp.MustCompile(`^(.*, )([YZ]\d+), ([YZ]\d+)$`).FindStringSubmatch(line)
		if m == nil || m[2] == m[3] {
			return "", false
		}
		return m[1] + m[3] + ", " + m[2], true
	},
	// max(lo, a) for max(a, lo): they differ for NaN only.
	"order": func(line string) (string, bool) {
		m := regexp.MustCompile(`^(\tV(?:MAX|MIN)PS +)(\w+), (\w+), (\w+)$`).FindStringSubmatch(line)
		if m == nil {
			return "", false
		}
		return m[1] + m[3] + ", " + m[2] + ", " + m[4], true
	},
	"dropped": func(line string) (string, bool) {
		// Nothing reads the upper halves that VZEROUPPER clears: without it,
		// code of other packages becomes slower, not wrong. Without RET there
		// is no kernel.
		// A prefetch is a hint. An argument that is not loaded may be there
		// all the same: callers leave arguments in registers, and a second load
		// of one is often redundant.
		if regexp.MustCompile(`^\t(VZEROUPPER|RET|PREFETCH)|\(FP\), [A-Z]`).MatchString(line) {
			return "", false
		}
		return "\t// " + strings.TrimSpace(line), true
	},
	"immediate": func(line string) (string, bool) {
		m := regexp.MustCompile(`^(.*)\$(0x[0-9a-f]+|\+?-?\d+)(.*)$`).FindStringSubmatch(line)
		if m == nil {
			return "", false
		}
		v, err := strconv.ParseInt(m[2], 0, 64)
		if err != nil {
			return "", false
		}
		if strings.HasPrefix(m[2], "0x") {
			return fmt.Sprintf("%s$%#02x%s", m[1], v+1, m[3]), true // a shift count
		}
		return fmt.Sprintf("%s$%+d%s", m[1], v+4, m[3]), true
	},
	"jump": func(line string) (string, bool) {
		for from, to := range map[string]string{"JZ": "JNZ", "JNZ": "JZ", "JLE": "JGT", "JGE": "JLT"} {
			if rest, ok := strings.CutPrefix(line, "\t"+from+" "); ok {
				return "\t" + to + " " + rest, true
			}
		}
		return "", false
	},
}

// equivalent are mutants that compute the same, each with the reason, beside
// those whose essence is that of the kernel. They must be of a kernel of op, and
// of a line that the expression matches.
var equivalent = []struct {
	op       runtime.KernelOp
	mutation string
	line     string
	reason   string
}{
	{runtime.TransTile, "immediate", `CMPQ +\w+, \$\+0`, "columns are left by eights, or none"},
	{runtime.MapSigmoid, "immediate", `CMPQ .*\$\+31`, "shorter rounds compute what a longer one leaves"},
	{runtime.MapTanh, "immediate", `CMPQ .*\$\+31`, "shorter rounds compute what a longer one leaves"},
}

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
	{Op: runtime.PanelDense, MR: 4, T: 16},
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

// mutantRunner runs one mutant and fails at the first call that differs.
const mutantRunner = `package kern

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/sparsegen/sparsegen/asm/goref/kerneltest"
)

func TestMutant(t *testing.T) {
	i, err := strconv.Atoi(os.Getenv("MUTANT"))
	if err != nil {
		t.Fatal(err)
	}
	k := mutants()[i]
	kerneltest.Check(t, k, 200, kerneltest.Rules{})
	fmt.Println("not found")
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
func mutantsOf(t *testing.T, text string, key runtime.KernelKey, name string) []mutant {
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
	for _, mutation := range slices.Sorted(maps.Keys(mutations)) {
		var all []mutant
		for i, line := range lines[1:] {
			if !strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "\t//") {
				continue
			}
			is, ok := mutations[mutation](line)
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
		for i := range min(*sites, len(all)) {
			ms = append(ms, all[i*len(all)/min(*sites, len(all))])
		}
	}
	return ms
}

func excuse(m mutant) string {
	for _, e := range equivalent {
		if e.op == m.key.Op && e.mutation == m.mutation && regexp.MustCompile(e.line).MatchString(m.was) {
			return e.reason
		}
	}
	return ""
}

// refused reports whether the proof that Emit asks for fails for m. data is the
// file's tables.
func refused(m mutant, data string) bool {
	l, err := amd64.ParseListing([]byte(data + m.text + "\n"))
	if err == nil {
		_, err = prove(l.Funcs, l.Tables, []Kernel{{m.key, runtime.AVX2}})
	}
	return err != nil
}

// kernelModule builds a module of emitted files and more, and returns its test
// binary.
func kernelModule(t *testing.T, files []File, more map[string]string) (binary string) {
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
	m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath"}
	binary = filepath.Join(dir, "kern.test")
	_, err = m.Go(t.Context(), "test", "-c", "-o", binary, ".")
	require.NoError(t, err)
	return binary
}

// essence is the text of a kernel without the instructions that its proof shows
// to have no effect, or "" if it is not proved. Kernels with the same essence do
// the same in every call.
func essence(key runtime.KernelKey, data, text string) string {
	for first := true; ; first = false {
		l, err := amd64.ParseListing([]byte(data + text + "\n"))
		var proofs []*verify.Proof
		if err == nil {
			proofs, err = prove(l.Funcs, l.Tables, []Kernel{{key, runtime.AVX2}})
		}
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
	if !runtime.AVX2.Available() || goruntime.GOARCH != "amd64" {
		t.Skip("no AVX2 on this machine")
	}
	var kernels []Kernel
	for _, key := range mutantKernels {
		kernels = append(kernels, Kernel{key, runtime.AVX2})
	}
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "mutants.sg"})
	require.NoError(t, err)
	text, stubs := string(files[0].Data), string(files[1].Data)
	var all []mutant
	for _, k := range kernels {
		all = append(all, mutantsOf(t, text, k.Key, k.Key.Name()+"_avx2")...)
	}

	// The tables of the file as they are, then the mutants' functions.
	tables := text[strings.Index(text, "#include"):]
	var data []string
	for line := range strings.Lines(tables) {
		if strings.HasPrefix(line, "DATA ") || strings.HasPrefix(line, "GLOBL ") || strings.HasPrefix(line, "#include") {
			data = append(data, line)
		}
	}
	source := "//go:build !noasm\n\n" + strings.Join(data, "")
	declared := "//go:build !noasm\n\npackage kern\n\nimport \"github.com/sparsegen/sparsegen/runtime\"\n\n"
	list := "func mutants() []runtime.Kernel {\n\treturn []runtime.Kernel{\n"
	for i := range all {
		m := &all[i]
		old := m.key.Name() + "_avx2"
		m.name = fmt.Sprintf("%s_mutant%d", old, i)
		source += "\n" + strings.Replace(m.text, old, m.name, 1) + "\n"
		signature := regexp.MustCompile(`(?m)^func ` + old + `\(.*$`).FindString(stubs)
		require.NotEmpty(t, signature)
		declared += "//go:noescape\n" + strings.Replace(signature, old, m.name, 1) + "\n\n"
		list += fmt.Sprintf("\t\t{Key: runtime.KernelKey{Op: %d, MR: %d, T: %d, S: %d, NB: %d, N: %d, M: %d}, ISA: runtime.AVX2, Fn: runtime.%s(%s)},\n",
			m.key.Op, m.key.MR, m.key.T, m.key.S, m.key.NB, m.key.N, m.key.M, goref.FuncType(m.key.Op), m.name)
	}
	binary := kernelModule(t, nil, map[string]string{
		"mutants_amd64.s": source, "mutants_amd64.go": declared + list + "\t}\n}\n", "mutant_test.go": mutantRunner,
	})

	var wait sync.WaitGroup
	slots := make(chan bool, goruntime.GOMAXPROCS(0))
	survived, unproved, escaped := make([]bool, len(all)), make([]bool, len(all)), make([]bool, len(all))
	tableLines := strings.Join(data, "")
	for i := range all {
		unproved[i] = refused(all[i], tableLines)
		wait.Go(func() {
			slots <- true
			defer func() { <-slots }()
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			cmd := exec.CommandContext(ctx, binary, "-test.run=TestMutant")
			cmd.Env = append(os.Environ(), fmt.Sprintf("MUTANT=%d", i), "GOTRACEBACK=none")
			out, err := cmd.Output()
			survived[i] = err == nil && strings.Contains(string(out), "not found")
			escaped[i] = ctx.Err() != nil || outside.Match(out)
			// What the proof passes may compute anything, but within its arguments,
			// and ends.
			if !unproved[i] && escaped[i] {
				t.Errorf("%v: mutant passed by the proof: %s\n  was %s\n  is  %s\n%s", all[i].key, all[i].mutation, strings.TrimSpace(all[i].was), strings.TrimSpace(all[i].is), out)
			}
		})
	}
	wait.Wait()
	found, planted, byProof, byProofAlone, left, same := 0, 0, 0, 0, 0, 0
	essences := map[runtime.KernelKey]string{}
	for _, m := range all {
		if m.mutation == "" {
			essences[m.key] = essence(m.key, tableLines, m.text)
			require.NotEmpty(t, essences[m.key])
		}
	}
	for i, m := range all {
		if m.mutation != "" {
			planted++
			if unproved[i] {
				byProof++
				if escaped[i] {
					left++
				}
				if survived[i] {
					byProofAlone++
				}
			}
		}
		why := excuse(m)
		switch {
		case m.mutation == "":
			require.True(t, survived[i] && !unproved[i], "%v fails without a mistake", m.key)
		case !survived[i] || unproved[i]:
			found++
		case essence(m.key, tableLines, m.text) == essences[m.key]:
			same++
		case why == "":
			t.Errorf("%v: mutant not found: %s\n  was %s\n  is  %s", m.key, m.mutation, strings.TrimSpace(m.was), strings.TrimSpace(m.is))
		}
	}
	t.Logf("%d of %d mutants found, %d of them by the proof before a kernel is called, %d by it alone; %d of these leave their arguments or do not end when called; %d more are the kernel by their essence: %.2f %% of the others are found",
		found, planted, byProof, byProofAlone, left, same, 100*float64(found)/float64(planted-same))
	require.NotZero(t, left, "no mutant that leaves its arguments: that the proof passes none means nothing")
	require.Greater(t, found, len(mutantKernels)*len(mutations), "too few mutants to mean anything")
}
