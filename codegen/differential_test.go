package codegen

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/runtime"
)

var (
	calls = flag.Int("calls", 200, "random calls of each kernel in TestDifferential; a quarter of them also to compare with pure Go")
	keep  = flag.String("keep", "", "write the program that TestDifferential runs to this `file` and do not run it")
)

// checker is the test that the throw-away module runs: every kernel against the
// contract, and those in assembly against the pure-Go kernel of their key. It
// prints a line a kernel, a line a level, and the same as JSON. Its binary needs
// nothing but itself; the environment says how many CALLS (200) and whether ONLY
// one level is checked (generic, avx2, avx512), which then must be there.
const checker = `package kern

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/sparsegen/sparsegen/asm/goref/kerneltest"
	"github.com/sparsegen/sparsegen/runtime"
)

func TestKernels(t *testing.T) {
	calls, only := 200, os.Getenv("ONLY")
	if s := os.Getenv("CALLS"); s != "" {
		var err error
		if calls, err = strconv.Atoi(s); err != nil || calls < 1 {
			t.Fatalf("CALLS=%s is no number of calls", s)
		}
	}
	checked, failed, notRun := map[string]int{}, map[string]int{}, map[string]int{}
	check := func(k runtime.Kernel, f func(t *testing.T)) {
		isa := k.ISA.String()
		switch name := k.Key.Name() + "_" + isa; {
		case only != "" && only != isa:
		case !k.ISA.Available():
			notRun[isa]++
		case t.Run(name, f):
			checked[isa]++
			fmt.Println("ok  ", name)
		default:
			failed[isa]++
			fmt.Println("FAIL", name)
		}
	}
	generic := map[runtime.KernelKey]runtime.Kernel{}
	for _, k := range genericKernels() {
		generic[k.Key] = k
		check(k, func(t *testing.T) {
			kerneltest.Check(t, k, max(1, calls/8), kerneltest.Rules{})
		})
	}
	for _, k := range nativeKernels() {
		check(k, func(t *testing.T) {
			kerneltest.Check(t, k, calls, kerneltest.Rules{})
			kerneltest.Same(t, k, generic[k.Key], calls/4)
		})
	}
	for _, isa := range []runtime.ISA{runtime.Generic, runtime.AVX2, runtime.AVX512} {
		name := isa.String()
		fmt.Printf("%s: %d kernels right, %d wrong, %d not run because this machine lacks it\n", name, checked[name], failed[name], notRun[name])
		if only == name && checked[name]+failed[name] == 0 {
			t.Errorf("ONLY=%s: nothing was checked", only)
		}
	}
	report, err := json.Marshal(map[string]map[string]int{"checked": checked, "failed": failed, "notRun": notRun})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("report %s\n", report)
}
`

// kernelModule builds a module with the emitted files of ks and more, and
// returns its test binary.
func kernelModule(t *testing.T, files []File, more map[string]string) (m *gobuild.Module, binary string) {
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
	return m, binary
}

// TestDifferential builds every kernel of every configuration for every
// instruction set level, and runs those that this machine has.
func TestDifferential(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if os.Getenv("SPARSEGEN_ISA") != "" {
		t.Skip("calls kernels of every level by themselves, whatever SPARSEGEN_ISA says")
	}
	if goruntime.GOARCH != "amd64" {
		t.Skip("no kernels in assembly for " + goruntime.GOARCH)
	}
	kernels := everyKernel(t)
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "every.sg"})
	require.NoError(t, err)
	m, binary := kernelModule(t, files, map[string]string{"kern_test.go": checker})
	if *keep != "" {
		program, err := os.ReadFile(binary)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(*keep, program, 0o755))
		return
	}

	t.Run("vet", func(t *testing.T) {
		require.NoError(t, m.Vet(t.Context()), "asmdecl and the other passes of go vet")
	})
	t.Run("contract", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), binary, "-test.count=1")
		cmd.Env = append(os.Environ(), fmt.Sprintf("CALLS=%d", *calls))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		line := regexp.MustCompile(`(?m)^report (.*)$`).FindSubmatch(out)
		require.NotNil(t, line, "%s", out)
		var report struct{ Checked, NotRun map[string]int }
		require.NoError(t, json.Unmarshal(line[1], &report))
		want := map[runtime.ISA]int{}
		keys := map[runtime.KernelKey]bool{}
		for _, k := range kernels {
			want[k.ISA]++
			keys[k.Key] = true
		}
		require.Equal(t, len(keys), report.Checked[runtime.Generic.String()], "pure-Go kernels that were checked")
		for _, isa := range ISAs() {
			require.NotZero(t, want[isa], isa)
			if isa.Available() {
				require.Equal(t, want[isa], report.Checked[isa.String()], "%v kernels that were checked", isa)
				t.Logf("%v: %d kernels, %d calls each against the contract, %d against pure Go", isa, want[isa], *calls, *calls/4)
			} else {
				require.Equal(t, want[isa], report.NotRun[isa.String()])
				t.Logf("%v: %d kernels were assembled and NOT run: this machine lacks it", isa, want[isa])
			}
		}
	})
	t.Run("disassembly", func(t *testing.T) {
		disassembly(t, binary, files[0].Data, len(kernels))
	})
}

// mnemonics are the names that GNU objdump gives to instructions which Go's
// assembler spells otherwise. What is missing is the same name in lower case.
var mnemonics = map[string]string{
	"MOVBLZX": "movzbl", "MOVWLZX": "movzwl", "MOVQ": "mov", "MOVL": "mov", "LEAQ": "lea", "BEXTRL": "bextr",
	"ADDQ": "add", "SUBQ": "sub", "ANDQ": "and", "ORQ": "or", "XORQ": "xor", "NEGQ": "neg",
	"SHLQ": "shl", "SHRQ": "shr", "IMULQ": "imul", "IMUL3Q": "imul", "DECQ": "dec", "INCQ": "inc",
	"CMPQ": "cmp", "TESTQ": "test", "POPCNTQ": "popcnt", "BZHIQ": "bzhi",
	"CMOVQLT": "cmovl", "CMOVQGT": "cmovg",
	"JZ": "je", "JNZ": "jne", "JGE": "jge", "JLE": "jle", "JLT": "jl", "JGT": "jg",
	// One more byte in the encoding, one more letter in the name.
	"VCMPPS": "vcmpgt_oqps",
}

// sameInstruction lists what assembler and disassembler legitimately swap: +1 is
// an increment, a move of an immediate may print its size, and so on.
var sameInstruction = map[string]string{
	"movq": "mov", "movl": "mov", "addq": "add", "subq": "sub", "cmpq": "cmp", "testq": "test",
	"decq": "dec", "incq": "inc", "retq": "ret", "rep": "ret", "inc": "add", "dec": "dec",
	"imulq": "imul", "vmovq": "vmovq",
}

// function is the Go name in a symbol such as path%2eof.kernel.abi0.
func function(symbol string) string {
	symbol = strings.TrimSuffix(symbol, ".abi0")
	return symbol[strings.LastIndexByte(symbol, '.')+1:]
}

// disassembly takes all kernels at once: GNU objdump must find in
// the linked binary, function by function, the instructions that were printed.
// That is a check on Go's assembler, on the encodings avo chose, and on the
// linker having kept every kernel.
func disassembly(t *testing.T, binary string, text []byte, kernels int) {
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("no GNU objdump")
	}
	if goruntime.GOOS != "linux" {
		t.Skip("reads ELF")
	}
	printed := map[string]map[string]int{}
	name := ""
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			name, _, _ = strings.Cut(rest, "(SB)")
			printed[name] = map[string]int{}
			continue
		}
		fields := strings.Fields(line)
		if name == "" || line[0] != '\t' || fields[0] == "//" {
			continue
		}
		op, _, _ := strings.Cut(fields[0], ".") // .Z and .BCST are operands to objdump
		if m, ok := mnemonics[op]; ok {
			op = m
		}
		printed[name][strings.ToLower(op)]++
	}
	require.Len(t, printed, kernels)
	counts, err := amd64.Instructions(text)
	require.NoError(t, err)
	for name, ops := range printed {
		sum := 0
		for _, n := range ops {
			sum += n
		}
		require.Equal(t, counts[name], sum, name)
	}

	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	var low, high uint64
	for _, s := range symbols {
		if printed[function(s.Name)] == nil || !strings.HasSuffix(s.Name, ".abi0") {
			continue
		}
		if low == 0 || s.Value < low {
			low = s.Value
		}
		high = max(high, s.Value+s.Size)
	}
	require.NotZero(t, low, "no kernel in the binary")
	out, err := exec.CommandContext(t.Context(), objdump, "-d", "--no-show-raw-insn", "-w",
		fmt.Sprintf("--start-address=%#x", low), fmt.Sprintf("--stop-address=%#x", high), binary).Output()
	require.NoError(t, err)
	found := map[string]map[string]int{}
	head := regexp.MustCompile(`^[0-9a-f]+ <(.*)>:`)
	name = ""
	for line := range bytes.Lines(out) {
		if symbol := head.FindSubmatch(line); symbol != nil {
			name = function(string(symbol[1]))
			found[name] = map[string]int{}
			continue
		}
		_, instruction, ok := strings.Cut(string(line), ":\t")
		if !ok || name == "" {
			continue
		}
		op := strings.Fields(instruction)[0]
		if s, ok := sameInstruction[op]; ok {
			op = s
		}
		found[name][op]++
	}
	for name, ops := range printed {
		delete(found[name], "int3") // the linker's padding between functions
		require.Equal(t, ops, found[name], name)
	}
}
