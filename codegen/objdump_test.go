package codegen

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Objdump is what a GNU objdump, by the name of its program, shows of a linked
// program's kernels: the instructions of each that is wanted, by its Go name.
func Objdump(t *testing.T, program, binary string, wanted func(kernel string) bool) map[string][]string {
	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	var low, high uint64
	for _, s := range symbols {
		if !wanted(goName(s.Name)) || !strings.HasSuffix(s.Name, ".abi0") {
			continue
		}
		if low == 0 || s.Value < low {
			low = s.Value
		}
		high = max(high, s.Value+s.Size)
	}
	require.NotZero(t, low, "no kernel in the binary")
	out, err := exec.CommandContext(t.Context(), program, "-d", "-w", "--no-show-raw-insn",
		fmt.Sprintf("--start-address=%#x", low), fmt.Sprintf("--stop-address=%#x", high), binary).Output()
	require.NoError(t, err)
	head := regexp.MustCompile(`^[0-9a-f]+ <(.*)>:`)
	shown, name := map[string][]string{}, ""
	for line := range strings.Lines(string(out)) {
		if m := head.FindStringSubmatch(line); m != nil {
			name = goName(m[1])
		} else if _, instruction, ok := strings.Cut(line, ":\t"); ok && wanted(name) {
			shown[name] = append(shown[name], strings.Join(strings.Fields(instruction), " "))
		}
	}
	return shown
}

// goName is the Go name in a symbol such as path%2eof.kernel.abi0.
func goName(symbol string) string {
	symbol = strings.TrimSuffix(symbol, ".abi0")
	return symbol[strings.LastIndexByte(symbol, '.')+1:]
}
