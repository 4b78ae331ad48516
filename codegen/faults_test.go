package codegen

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/sparsegen/sparsegen/runtime"
)

// fault is a mistake that a generator could make, as a change of lines of an
// emitted kernel; it returns nil where a kernel has no place for it.
type fault struct {
	name  string
	plant func(lines []string) []string
}

// last changes the last line that matches expr; to may refer to its groups. An
// empty to drops the line.
func last(expr, to string) func([]string) []string {
	re := regexp.MustCompile(expr)
	return func(lines []string) []string {
		for i, line := range slices.Backward(lines) {
			if !re.MatchString(line) {
				continue
			}
			out := slices.Clone(lines)
			if to == "" {
				return slices.Delete(out, i, i+1)
			}
			out[i] = re.ReplaceAllString(line, to)
			return out
		}
		return nil
	}
}

// first is last for the first line that matches.
func first(expr, to string) func([]string) []string {
	change := last(expr, to)
	return func(lines []string) []string {
		reversed := slices.Clone(lines)
		slices.Reverse(reversed)
		out := change(reversed)
		slices.Reverse(out)
		return out
	}
}

// further moves the last place in memory that matches expr, before its second
// group, by a vector of 16 float32.
func further(expr string) func([]string) []string {
	re := regexp.MustCompile(expr)
	return func(lines []string) []string {
		for i, line := range slices.Backward(lines) {
			if m := re.FindStringSubmatch(line); m != nil {
				d, _ := strconv.Atoi(m[2]) // no digits are 0
				out := slices.Clone(lines)
				out[i] = fmt.Sprintf("%s%d%s", m[1], d+64, m[3])
				return out
			}
		}
		return nil
	}
}

// twice repeats the last line that matches expr.
func twice(expr string) func([]string) []string {
	re := regexp.MustCompile(expr)
	return func(lines []string) []string {
		for i, line := range slices.Backward(lines) {
			if re.MatchString(line) {
				return slices.Insert(slices.Clone(lines), i, line)
			}
		}
		return nil
	}
}

// strides changes all constants that are added to the register through which the
// last line that matches store goes, its third group, or in a panel to that which
// points to its rows. add is the addition, with a place for the register.
func strides(store, rows, add string) func(to string) func([]string) []string {
	storeLine, rowsLine := regexp.MustCompile(store), regexp.MustCompile(rows)
	return func(to string) func([]string) []string {
		return func(lines []string) []string {
			base := ""
			for _, line := range lines {
				if m := rowsLine.FindStringSubmatch(line); m != nil {
					base = m[1]
				}
			}
			for _, line := range slices.Backward(lines) {
				m := storeLine.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				re := regexp.MustCompile(fmt.Sprintf(add, cmp.Or(base, m[3])))
				out := slices.Clone(lines)
				for i := range out {
					out[i] = re.ReplaceAllString(out[i], to)
				}
				if slices.Equal(out, lines) {
					return nil
				}
				return out
			}
			return nil
		}
	}
}

// faults are refused in every kernel that has a place for them.
var faults = map[string][]fault{"amd64": faultsAMD64, "arm64": faultsARM64}

const storeAMD64 = `^(\t(?:VMOVUPS|VMASKMOVPS|VMOVSS) +(?:\w+, )?[XYZ]\d+, (?:\w+, )?)(\S*)\((\w+)\)(\S*)$`

var strideAMD64 = strides(storeAMD64, `^\tMOVQ +rows\+\d+\(FP\), (\w+)$`, `^(\tADDQ +\$\+)(\d+)(, %s)$`)

var faultsAMD64 = []fault{
	{"a store one vector further", further(`^(\t(?:VMOVUPS|VMASKMOVPS|VMOVSS) +[XYZ]\d+, (?:\w+, )?)(-?\d*)(\(\w+\).*)$`)},
	{"a store left out", last(storeAMD64, "")},
	{"a store made twice", twice(storeAMD64)},
	{"a wrong stride", strideAMD64("${1}1${2}${3}")},
	{"a pointer that stays", strideAMD64("\tADDQ $$+0${3}")},
	{"no VZEROUPPER", last(`^\tVZEROUPPER$`, "")},
	{"a loop that does not count", last(`^\t(?:DECQ +\w+|ADDQ +\$-1, \w+)$`, "")},
	{"a loop that counts too far", first(`^(\tCMPQ +\w+, \$)\+(\d+)$`, "${1}-1${2}")},
	{"an argument not loaded", first(`^\tMOVQ +\w+\+\d+\(FP\), \w+$`, "")},
	{"another argument", first(`^(\tMOVQ +)(?:y|tile)\+0\(FP\)(, \w+)$`, "${1}bias+64(FP)${2}")},
	{"a reserved register", first(`^(\tMOVQ +\w+\+\d+\(FP\), )\w+$`, "${1}BP")},
	{"no mask", last(`^(\tVMOVUPS)(?:\.Z)?( +\S+), K\d, (\S+)$`, "${1}${2}, ${3}")},
	{"no mask of a vector", last(`^\tVMASKMOVPS( +\S+), \w+, (\S+)$`, "\tVMOVUPS${1}, ${2}")},
	{"a vector not set", first(`^\t(?:VBROADCASTSS|VMOVUPS|VMOVSS) +\d*\([A-D]X\)\S*, [XYZ]\d+$`, "")},
	{"an index not read", last(`^\tMOVWLZX +2?\(\w+\), \w+$`, "")},
	{"an index half-way into the next", last(`^(\tMOVWLZX +)\d*(\(\w+\), \w+)$`, "${1}1${2}")},
	{"a jump into a loop", last(`^(\tJZ +)\w+$`, "${1}panel1")},
}

const storeARM64 = `^(\t(?:FSTPQ \(F\d+, F\d+\)|FMOV[QS] F\d+|VST1 V\d+\.S\[\d\]), )(\d*)\((R\d+)\)$`

var strideARM64 = strides(storeARM64, `^\tMOVD rows\+\d+\(FP\), (\w+)$`, `^(\tADD \$)(\d+)(, %[1]s, %[1]s)$`)

var faultsARM64 = []fault{
	{"a store one vector further", further(`^(\t(?:FSTPQ \(F\d+, F\d+\)|FMOV[QS] F\d+), )(\d*)(\(R\d+\))$`)},
	{"a store left out", last(storeARM64, "")},
	{"a store made twice", twice(storeARM64)},
	{"a pair for one", last(`^\tFMOVQ (F\d+), (\d*\(R\d+\))$`, "\tFSTPQ (${1}, ${1}), ${2}")},
	{"a wrong stride", strideARM64("${1}1${2}${3}")},
	{"a pointer that stays", strideARM64("${1}0${3}")},
	{"a loop that does not count", last(`^(\tSUBS \$)1, `, "${1}0, ")},
	{"a loop that counts for another", last(`^\tSUBS \$1, R\d+, R\d+$`, "")},
	{"a loop that counts too far", first(`^\tCMP \$\d+, (R\d+)$`, "\tCMN $$1, ${1}")},
	{"an argument not loaded", first(`^\tMOVD \w+\+\d+\(FP\), R\d+$`, "")},
	{"another argument", first(`^(\tMOVD )(?:y|tile)\+0\(FP\)(, R\d+)$`, "${1}bias+64(FP)${2}")},
	{"the platform's register", first(`^(\tMOVD \w+\+\d+\(FP\), )R\d+$`, "${1}R18")},
	{"the register of g", first(`^(\tMOVD \w+\+\d+\(FP\), )R\d+$`, "${1}R28")},
	{"the frame pointer", first(`^(\tMOVD \w+\+\d+\(FP\), )R\d+$`, "${1}R29")},
	{"a lane more", last(`^\tBLE end_\d+$`, "")},
	{"all lanes", last(`^\tBGE (full_\d+)$`, "\tJMP ${1}")},
	{"a vector not set", first(`^\t(?:FLDPQ|FMOVQ|VLD1R) \d*\(R\d+\), .*$`, "")},
	{"a table of the function not loaded", first(`^\tMOVD \$sparsegen\w+<>\(SB\), R\d+$`, "")},
	{"an index not read", last(`^\tMOVHU 2?\(R\d+\), R\d+$`, "")},
	{"an index half-way into the next", func(lines []string) []string {
		re := regexp.MustCompile(`^\tMOVHU \d*\(R(\d+)\), R(\d+)$`)
		for i, line := range slices.Backward(lines) {
			if m := re.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				d, _ := strconv.Atoi(m[2])
				out := slices.Clone(lines)
				out[i] = fmt.Sprintf("\tWORD $%#08x // ldurh w%[3]d, [x%[2]d, #1]", 0x78401000|n<<5|d, n, d)
				return out
			}
		}
		return nil
	}},
	{"a store for a load", last(`^\tWORD \$0x3c[c-f]([0-9a-f]{5}) // ldur (q.*)$`, "\tWORD $$0x3c8${1} // stur ${2}")},
	{"a jump into a loop", last(`^(\tCBZ R\d+, )\w+$`, "${1}panel1")},
}

// lastWord changes the last instruction word whose text matches.
func lastWord(text string, change func(w uint32) uint32) func([]string) []string {
	changed := word(text, change)
	return func(lines []string) []string {
		for i, line := range slices.Backward(lines) {
			if is, ok := changed(line); ok {
				out := slices.Clone(lines)
				out[i] = is
				return out
			}
		}
		return nil
	}
}

// faultsScalable are those of kernels whose vectors have no fixed length, beside
// those of faultsARM64 that are about integers.
var faultsScalable = []fault{
	{"a store one vector further", lastWord(`st1w`, func(w uint32) uint32 { return w + 1<<16 })},
	{"a store left out", last(`^\tWORD \$0xe5[0-9a-f]{6} // st`, "")},
	{"a store made twice", twice(`^\tWORD \$0xe5[0-9a-f]{6} // st`)},
	{"a store of all lanes", lastWord(`st1w .*#0, mul vl\]`, func(w uint32) uint32 { return 0xe5804000 | w&0x3ff })},
	{"a load of all lanes", lastWord(`ld1w .*#0, mul vl\]`, func(w uint32) uint32 { return 0x85804000 | w&0x3ff })},
	{"a mask of all lanes", lastWord(`whilelt`, func(w uint32) uint32 { return 0x2598e3e0 | w&0xf })},
	{"no mask", last(`^\tWORD \$0x[0-9a-f]{8} // whilelt`, "")},
	{"lanes not taken off", first(`^\tWORD \$0x[0-9a-f]{8} // decw`, "")},
	{"a vector not set", first(`^\tWORD \$0x[0-9a-f]{8} // (?:ld1r[wdq]|ldr z)`, "")},
	{"no lanes for the whole function", first(`^\tWORD \$0x[0-9a-f]{8} // ptrue`, "")},
}

// faultsIn are the faults that a kernel of a level is tried with.
func faultsIn(isa runtime.ISA) []fault {
	if !machines[isa].Scalable {
		return faults[isa.Arch()]
	}
	// One lane too many that a mask then lacks is no fault.
	return append(slices.DeleteFunc(slices.Clone(faults[isa.Arch()]), func(f fault) bool {
		return f.name == "a loop that counts too far"
	}), faultsScalable...)
}
