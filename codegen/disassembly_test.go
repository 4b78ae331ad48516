package codegen

import (
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

	shown := Objdump(t, objdump, binary, func(kernel string) bool { return want[kernel] != nil })
	instructions := 0
	for name, list := range want {
		got := shown[name]
		require.GreaterOrEqual(t, len(got), len(list), name)
		for _, rest := range got[len(list):] { // the linker's padding
			require.Contains(t, []string{"nop", "udf #0"}, rest, name)
		}
		for i, w := range list {
			g := inDecimal(got[i])
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
	text = comment.ReplaceAllString(text, "")
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
