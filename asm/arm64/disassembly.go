package arm64

import (
	"fmt"
	"strings"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// noOffset drops offsets of 0, which are not shown.
var noOffset = strings.NewReplacer(", #0]", "]", ", #0, mul vl]", "]")

// Disassembly is, for each function of emitted assembly, what GNU objdump should
// show of it once it is linked: one instruction an entry, numbers in decimal. A jump
// to instruction 7 of its function reads "b.ne 7". Addresses that the linker
// chooses are left out.
func Disassembly(text []byte) (map[string][]string, error) {
	functions, name := map[string][]string{}, ""
	labels := map[string]map[string]int{}
	for line := range strings.Lines(string(text)) {
		code, _, _ := strings.Cut(line, "//")
		code = strings.TrimSpace(code)
		first, _, _ := strings.Cut(code, " ")
		if rest, ok := strings.CutPrefix(code, "TEXT ·"); ok {
			name, _, _ = strings.Cut(rest, "(SB)")
			functions[name], labels[name] = []string{}, map[string]int{}
		} else if label, ok := strings.CutSuffix(first, ":"); ok {
			labels[name][label] = len(functions[name])
		} else if code != "" && code[0] != '#' && first != "DATA" && first != "GLOBL" {
			shown, err := shown(code)
			if err != nil {
				return nil, fmt.Errorf("arm64: %s: %w", name, err)
			}
			functions[name] = append(functions[name], shown...)
		}
	}
	for name, list := range functions {
		jumps := map[int]string{}
		for i, s := range list {
			rest, label, ok := strings.Cut(s, "@")
			if !ok {
				continue
			}
			at := labels[name][label]
			for range list { // Go's assembler follows a jump to a jump
				if next, ok := strings.CutPrefix(list[min(at, len(list)-1)], "b @"); ok {
					at = labels[name][next]
				}
			}
			jumps[i] = fmt.Sprintf("%s%d", rest, at)
		}
		for i, s := range jumps {
			list[i] = s
		}
	}
	return functions, nil
}

// shown is an instruction, or two where the assembler needs two; labels have an @
// in front.
func shown(code string) ([]string, error) {
	f, values, symbol, err := parseLine(code)
	if err != nil {
		return nil, err
	}
	if f.gnu == "" { // placed by the assembler
		if f.name == "adr" {
			return []string{fmt.Sprintf("adrp x%d", values[0]), fmt.Sprintf("add x%[1]d, x%[1]d", values[0])}, nil
		}
		_, at, err := verify.SplitSymbol(symbol)
		op := map[string]string{"ldr.arg": "ldr x", "str.arg": "str x", "ldr.s.arg": "ldr s"}[f.name]
		return []string{fmt.Sprintf("%s%d, [sp, #%d]", op, values[0], at+8)}, err // above the link register's place
	}
	if f.jumps() {
		symbol = "@" + symbol
	}
	s := strings.TrimSuffix(noOffset.Replace(f.render(f.gnu, values, symbol)), ", all, mul #1")
	if rest, ok := strings.CutPrefix(s, "movz "); ok {
		s = "mov " + rest
	}
	if f.name == "sel.z" && values[0] == values[3] { // another name of the same word
		s = fmt.Sprintf("mov z%d.s, p%d/m, z%d.s", values[0], values[1], values[2])
	}
	return []string{s}, nil
}
