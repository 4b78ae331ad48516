package codegen_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/torture"
)

// TestEmitted builds every kernel of every configuration for every instruction
// set level, as package torture runs them: go vet has nothing to say, and the
// linked program has the instructions that were printed.
func TestEmitted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if goruntime.GOARCH != "amd64" {
		t.Skip("no kernels in assembly for " + goruntime.GOARCH)
	}
	kernels, err := codegen.EveryKernel()
	require.NoError(t, err)
	files, err := torture.Files(kernels)
	require.NoError(t, err)

	t.Run("vet", func(t *testing.T) {
		m, err := gobuild.New(t.Context(), filepath.Join(t.TempDir(), "module"), files)
		require.NoError(t, err)
		require.NoError(t, m.Vet(t.Context()), "asmdecl and the other passes of go vet")
	})
	t.Run("disassembly", func(t *testing.T) {
		native := 0
		for _, k := range kernels {
			if k.ISA.Arch() == "amd64" {
				native++
			}
		}
		dir := t.TempDir()
		binary := filepath.Join(dir, "program")
		require.NoError(t, torture.Build(t.Context(), dir, "", binary))
		disassembly(t, binary, files["kernels/sparsegen_amd64.s"], native)
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
