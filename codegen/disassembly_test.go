package codegen

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/arm64"
)

// meant compares, function by function and instruction by instruction, GNU
// objdump's reading of a linked program with what the listing means: a check on the
// encodings of asm/arm64 and of Go's assembler, on where jumps go, and on the
// linker having kept every kernel.
func meant(t *testing.T, binary string, files []File, kernels int) {
	objdump, err := exec.LookPath("aarch64-linux-gnu-objdump")
	if err != nil {
		t.Skip("no aarch64-linux-gnu-objdump (Debian: binutils-aarch64-linux-gnu)")
	}
	var text []byte
	for _, f := range files {
		if strings.HasSuffix(f.Name, "_arm64.s") {
			text = f.Data
		}
	}
	want, err := arm64.Disassembly(text)
	require.NoError(t, err)
	require.Len(t, want, kernels)

	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	function := func(symbol string) string {
		symbol = strings.TrimSuffix(symbol, ".abi0")
		return symbol[strings.LastIndexByte(symbol, '.')+1:]
	}
	var low, high uint64
	for _, s := range symbols {
		if want[function(s.Name)] == nil || !strings.HasSuffix(s.Name, ".abi0") {
			continue
		}
		if low == 0 || s.Value < low {
			low = s.Value
		}
		high = max(high, s.Value+s.Size)
	}
	require.NotZero(t, low, "no kernel in the binary")
	out, err := exec.CommandContext(t.Context(), objdump, "-d", "-w", "--no-show-raw-insn",
		fmt.Sprintf("--start-address=%#x", low), fmt.Sprintf("--stop-address=%#x", high), binary).Output()
	require.NoError(t, err)
	head := regexp.MustCompile(`^[0-9a-f]+ <(.*)>:`)
	instruction := regexp.MustCompile(`^ *[0-9a-f]+:\t(.*)`)
	found, name := map[string][]string{}, ""
	for line := range strings.Lines(string(out)) {
		if m := head.FindStringSubmatch(line); m != nil {
			name = function(m[1])
		} else if m := instruction.FindStringSubmatch(line); m != nil && name != "" {
			found[name] = append(found[name], inDecimal(m[1]))
		}
	}
	instructions := 0
	for name, list := range want {
		got := found[name]
		require.GreaterOrEqual(t, len(got), len(list), name)
		for _, rest := range got[len(list):] { // the linker's padding
			require.Contains(t, []string{"nop", "udf #0"}, rest, name)
		}
		for i, w := range list {
			g := got[i]
			if !strings.Contains(w, ", #") && (strings.HasPrefix(w, "adrp ") || strings.HasPrefix(w, "add ")) && strings.HasPrefix(g, w+", ") {
				continue // an address that the linker chose
			}
			if w != g {
				require.Equal(t, w, g, "%s, instruction %d", name, i)
			}
		}
		instructions += len(list)
	}
	t.Logf("%d kernels, %d instructions", len(want), instructions)
}

var (
	place   = regexp.MustCompile(`[0-9a-f]+ <[^>+]*(?:\+0x([0-9a-f]+))?>`)
	hex     = regexp.MustCompile(`#(-?)0x([0-9a-f]+)(, lsl #12$)?`)
	several = regexp.MustCompile(`v(\d+)(\.\w+)-v(\d+)\.\w+`)
	comment = regexp.MustCompile(`\s*//.*`)
)

// inDecimal is objdump's text of an instruction as arm64.Disassembly has it.
func inDecimal(text string) string {
	text = strings.Join(strings.Fields(comment.ReplaceAllString(text, "")), " ")
	text = place.ReplaceAllStringFunc(text, func(s string) string {
		at, _ := strconv.ParseUint(place.FindStringSubmatch(s)[1], 16, 64) // none is 0
		return strconv.FormatUint(at/4, 10)
	})
	text = several.ReplaceAllStringFunc(text, func(s string) string {
		m := several.FindStringSubmatch(s)
		from, _ := strconv.Atoi(m[1])
		var list []string
		for v := from; ; v = (v + 1) % 32 {
			list = append(list, fmt.Sprintf("v%d%s", v, m[2]))
			if strconv.Itoa(v) == m[3] {
				return strings.Join(list, ", ")
			}
		}
	})
	return hex.ReplaceAllStringFunc(text, func(s string) string {
		m := hex.FindStringSubmatch(s)
		v, _ := strconv.ParseUint(m[2], 16, 64)
		if m[3] != "" {
			v <<= 12
		}
		return "#" + m[1] + strconv.FormatInt(int64(v), 10)
	})
}
