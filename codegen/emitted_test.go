package codegen_test

import (
	"os/exec"
	"path/filepath"
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
	"ADDQ": "add", "SUBQ": "sub", "ANDQ": "and", "ANDL": "and", "ORQ": "or", "XORQ": "xor", "NEGQ": "neg",
	"SHLQ": "shl", "SHRQ": "shr", "IMULQ": "imul", "IMUL3Q": "imul", "DECQ": "dec", "INCQ": "inc",
	"CMPQ": "cmp", "TESTQ": "test", "POPCNTQ": "popcnt", "BZHIQ": "bzhi", "BZHIL": "bzhi", "RORXL": "rorx",
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

	shown := codegen.Objdump(t, objdump, binary, func(kernel string) bool { return printed[kernel] != nil })
	for name, ops := range printed {
		found := map[string]int{}
		for _, instruction := range shown[name] {
			op := strings.Fields(instruction)[0]
			if s, ok := sameInstruction[op]; ok {
				op = s
			}
			found[op]++
		}
		delete(found, "int3") // the linker's padding between functions
		require.Equal(t, ops, found, name)
	}
}
