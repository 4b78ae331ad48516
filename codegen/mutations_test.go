package codegen

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/runtime"
)

// dialect is how mistakes look in the assembly of one level.
type dialect struct {
	isa runtime.ISA
	// mutations are the mistakes that TestMutants plants. Each turns one line into
	// another, or says that the line has no place for it.
	mutations map[string]func(line string) (string, bool)
	// equivalent are mutants that compute the same, beside those whose essence is
	// that of the kernel.
	equivalent []equivalence
	// called is how many of the mutants that the proof refuses are called all the
	// same, to see what they do: one in so many.
	called int
	// sites divides the number of places, where calls are slow.
	sites int
}

// equivalence is a mutation of a kernel of op, in a line that the expression
// matches, that changes no result.
type equivalence struct {
	op       runtime.KernelOp
	mutation string
	line     string
	reason   string
}

var dialects = []dialect{
	{isa: runtime.AVX2, mutations: mutationsAMD64, equivalent: equivalentAMD64, called: 1, sites: 1},
	{isa: runtime.NEON, mutations: mutationsARM64, equivalent: equivalentARM64, called: 16, sites: 2},
}

// swapped exchanges groups a and b of the expression, if they differ.
func swapped(expr string, a, b int) func(string) (string, bool) {
	re := regexp.MustCompile(expr)
	return func(line string) (string, bool) {
		m := re.FindStringSubmatchIndex(line)
		if m == nil || line[m[2*a]:m[2*a+1]] == line[m[2*b]:m[2*b+1]] {
			return "", false
		}
		return line[:m[2*a]] + line[m[2*b]:m[2*b+1]] + line[m[2*a+1]:m[2*b]] + line[m[2*a]:m[2*a+1]] + line[m[2*b+1]:], true
	}
}

// dropped leaves out lines that do not match.
func dropped(not string) func(string) (string, bool) {
	re := regexp.MustCompile(not)
	return func(line string) (string, bool) {
		if re.MatchString(line) {
			return "", false
		}
		return "\t// " + strings.TrimSpace(line), true
	}
}

// anyOf is the first of several mutations that has a place in the line.
func anyOf(list ...func(string) (string, bool)) func(string) (string, bool) {
	return func(line string) (string, bool) {
		for _, f := range list {
			if is, ok := f(line); ok {
				return is, true
			}
		}
		return "", false
	}
}

// instead exchanges mnemonics.
func instead(pairs map[string]string) func(string) (string, bool) {
	return func(line string) (string, bool) {
		for from, to := range pairs {
			if rest, ok := strings.CutPrefix(line, "\t"+from+" "); ok {
				return "\t" + to + " " + rest, true
			}
		}
		return "", false
	}
}

var mutationsAMD64 = map[string]func(line string) (string, bool){
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
	"register": swapped(`^.*, ([YZ]\d+), ([YZ]\d+)$`, 1, 2),
	// max(lo, a) for max(a, lo): they differ for NaN only.
	"order": swapped(`^\tV(?:MAX|MIN)PS +(\w+), (\w+), \w+$`, 1, 2),
	// Nothing reads the upper halves that VZEROUPPER clears: without it, code of
	// other packages becomes slower, not wrong. Without RET there is no kernel.
	// A prefetch is a hint. An argument that is not loaded may be there all the
	// same: callers leave arguments in registers, and a second load of one is often
	// redundant.
	"dropped": dropped(`^\t(VZEROUPPER|RET|PREFETCH)|\(FP\), [A-Z]`),
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
			return fmt.Sprintf("%s$%#02x%s", m[1], (v+1)&0xff, m[3]), true // a shift count, or a choice of lanes
		}
		return fmt.Sprintf("%s$%+d%s", m[1], v+4, m[3]), true
	},
	"jump": instead(map[string]string{"JZ": "JNZ", "JNZ": "JZ", "JLE": "JGT", "JGE": "JLT"}),
}

var equivalentAMD64 = []equivalence{
	{runtime.PanelDense, "dropped", `JZ +hinted|ADDQ +DI, R8|, ahead\+`, "a hint elsewhere is no result"},
	{runtime.PanelDense, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelGrouped, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelStep, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelDense, "immediate", `CMPQ +\w+, \$\+1$`, "columns one by one do what rounds leave"},
	{runtime.PanelDense, "dropped", `LEAQ +\(DI\)\(BX\*1\), DI`, "nothing follows a column that goes alone"},
	{runtime.PanelDense, "jump", `JZ +hinted`, "a hint elsewhere is no result"},
	{runtime.CopyTile, "dropped", `ADDQ +BX, R11`, "a hint elsewhere is no result"},
	{runtime.TransTile, "immediate", `CMPQ +\w+, \$\+0`, "columns are left by eights, or none"},
	{runtime.MapSigmoid, "immediate", `CMPQ .*\$\+31`, "shorter rounds compute what a longer one leaves"},
	{runtime.MapTanh, "immediate", `CMPQ .*\$\+31`, "shorter rounds compute what a longer one leaves"},
}

// word changes an instruction word whose GNU text matches expr.
func word(expr string, change func(w uint32) uint32) func(string) (string, bool) {
	re := regexp.MustCompile(`^\tWORD \$0x([0-9a-f]{8}) // ` + expr)
	return func(line string) (string, bool) {
		m := re.FindStringSubmatch(line)
		if m == nil {
			return "", false
		}
		was, _ := strconv.ParseUint(m[1], 16, 32)
		is := change(uint32(was))
		return fmt.Sprintf("\tWORD $%#08x", is), is != uint32(was)
	}
}

// exchange swaps the registers at two places of an instruction word.
func exchange(a, b int) func(uint32) uint32 {
	return func(w uint32) uint32 {
		x := (w>>a ^ w>>b) & 31
		return w ^ x<<a ^ x<<b
	}
}

// moved adds to a group of digits, none of which are 0, what step says.
func moved(expr string, step func(line string, v int64) int64) func(string) (string, bool) {
	re := regexp.MustCompile(expr)
	return func(line string) (string, bool) {
		at := re.FindStringSubmatchIndex(line)
		if at == nil {
			return "", false
		}
		v, _ := strconv.ParseInt(line[at[2]:at[3]], 10, 64)
		return line[:at[2]] + strconv.FormatInt(v+step(line, v), 10) + line[at[3]:], true
	}
}

// unitsARM64 is how many bytes the instructions access that count in them.
var unitsARM64 = map[string]int64{"FLDPQ": 16, "FSTPQ": 16, "FMOVQ": 16, "FMOVD": 8, "MOVD": 8, "FMOVS": 4, "MOVWU": 4, "MOVHU": 2, "MOVBU": 1}

var mutationsARM64 = map[string]func(line string) (string, bool){
	"displacement": anyOf(
		moved(`^\t(?:FLDPQ|FSTPQ|FMOV[QDS]|MOVD|MOV[WHB]U) (?:.*, )?(\d*)\(R\d+\)(?:,|$)`, func(line string, _ int64) int64 {
			return unitsARM64[strings.Fields(line)[0]]
		}),
		word(`(?:ld|st)ur\S* .*#-?\d+\]`, func(w uint32) uint32 {
			return w&^(511<<12) | (w>>12&511+4)&511<<12
		}),
	),
	"register": anyOf(
		swapped(`^\tV[A-Z0-9]+ .*(V\d+)\.\w+, (V\d+)\.\w+$`, 1, 2),
		swapped(`^\tF(?:LD|ST)PQ .*\((F\d+), (F\d+)\)`, 1, 2),
		word(`\w+ v\d+\.\w+, v\d+\.`, exchange(0, 5)),
	),
	"order": anyOf(
		swapped(`^\t(?:VBIT|VSUB|VTRN\d) (V\d+)\.\w+, (V\d+)\.\w+, V\d+`, 1, 2),
		word(`(?:fcmgt|fsub|fdiv) `, exchange(5, 16)),
	),
	"lane": anyOf(
		word(`fmla .*\.s\[\d\]`, func(w uint32) uint32 { return w ^ 1<<21 }),
		moved(`^\t(?:VDUP|VMOV) V\d+\.S\[(\d)\]`, func(_ string, v int64) int64 { return 1 - 2*(v&1) }),
	),
	// As on amd64.
	"dropped": dropped(`^\t(RET|PRFM)|\(FP\), [A-Z]`),
	"immediate": anyOf(
		moved(`^\t(?:VUSHR|VSHL|LSL|LSR|UBFX) \$(\d+)`, func(line string, v int64) int64 {
			if v == 31 {
				return -1
			}
			return 1
		}),
		moved(`^\t[A-Z]+ \$(\d+), `, func(line string, v int64) int64 {
			switch {
			case strings.HasPrefix(line, "\tMOVZ") && v >= 1<<16:
				return 1 << 16
			case strings.HasPrefix(line, "\tADD ") && v >= 1<<12:
				return 1 << 12
			}
			return 4
		}),
	),
	"jump": anyOf(
		instead(map[string]string{"BEQ": "BNE", "BNE": "BEQ", "BLT": "BGE", "BGE": "BLT", "BLE": "BGT", "BGT": "BLE"}),
		func(line string) (string, bool) {
			if m := regexp.MustCompile(`^\tCBZ R\d+, (\w+)$`).FindStringSubmatch(line); m != nil {
				return "\tJMP " + m[1], true
			}
			if m := regexp.MustCompile(`^\tCSEL (LT|GT), (.*)$`).FindStringSubmatch(line); m != nil {
				return "\tCSEL " + map[string]string{"LT": "GT", "GT": "LT"}[m[1]] + ", " + m[2], true
			}
			return "", false
		},
	),
}

var equivalentARM64 = []equivalence{
	{runtime.PanelDense, "dropped", `CBZ R\d+, hinted|ADD R1, R0, R0|, ahead\+`, "a hint elsewhere is no result"},
	{runtime.PanelDense, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelDense, "immediate", `CMP \$1,`, "columns one by one do what rounds leave"},
	{runtime.PanelGrouped, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelStep, "dropped", `JMP +round`, "columns one by one do what rounds leave"},
	{runtime.PanelDense, "jump", `CBZ R\d+, hinted`, "a hint elsewhere is no result"},
	{runtime.LanesDense, "dropped", `JMP slabs`, "slabs one by one do what several at a time leave"},
	{runtime.LanesRow, "dropped", `VDUP V1\.S\[0\], V1\.S4`, "only the lowest lane is stored"},
	{runtime.CopyTile, "dropped", `ADD R9, R0, R0`, "a hint elsewhere is no result"},
	{runtime.CopyTile, "immediate", `CMP \$(2[37]|1[159]|7), `, "groups of fewer vectors copy what a larger one leaves"},
	{runtime.CopyTile, "dropped", `CMP \$(2[37]|1[159]|7), `, "groups of fewer vectors copy what a larger one leaves"},
	{runtime.CopyTile, "immediate", `CMP \$4, |(ADD|SUB) \$(4|16), `, "the last strip has fewer than four columns, and nothing follows it"},
	{runtime.CopyTile, "dropped", `BGE full|ADD \$16, `, "the last strip has fewer than four columns, and nothing follows it"},
	{runtime.CopyTile, "displacement", `FMOVQ \(R\d+\), `, "the last strip has fewer than four columns"},
	{runtime.TransTile, "dropped", `CMP R\d+, R\d+`, "a mask of more than four lanes is one of four"},
	{runtime.TransTile, "dropped", `VMOVI \$0`, "the load of the first lane sets the others to 0"},
	{runtime.TransTile, "immediate", `MOVZ \$4, `, "a mask of more than four lanes is one of four"},
	{runtime.UntransTile, "immediate", `CMP \$[34], `, "a mask of four or more lanes is a whole vector"},
	{runtime.MapSigmoid, "dropped", `BLE end`, "a tail of no element does nothing"},
	{runtime.MapTanh, "dropped", `BLE end`, "a tail of no element does nothing"},
	{runtime.MapTanh, "dropped", `VBIT V0\.B16, V1\.B16, V\d+|fcmgt`, "exp's own bounds, within which tanh's keep it"},
	{runtime.MapTanh, "register", `VBIT V0\.B16, V1\.B16, V\d+`, "exp's own bounds, within which tanh's keep it"},
	{runtime.MapTanh, "displacement", `FMOVQ \d+\(R2\), F1`, "exp's own bounds, within which tanh's keep it"},
}
