package codegen

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
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

// step changes all constants that are added to the register through which the
// last store goes, or in a panel to that which points to its rows.
func step(to string) func([]string) []string {
	store, rows := regexp.MustCompile(storeLine), regexp.MustCompile(`^\tMOVQ +rows\+16\(FP\), (\w+)$`)
	return func(lines []string) []string {
		base := ""
		for _, line := range lines {
			if m := rows.FindStringSubmatch(line); m != nil {
				base = m[1]
			}
		}
		for _, line := range slices.Backward(lines) {
			m := store.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			re := regexp.MustCompile(`^(\tADDQ +\$\+)(\d+)(, ` + cmp.Or(base, m[3]) + `)$`)
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

const storeLine = `^(\t(?:VMOVUPS|VMASKMOVPS|VMOVSS) +(?:\w+, )?[XYZ]\d+, (?:\w+, )?)(\S*)\((\w+)\)(\S*)$`

// faults are refused in every kernel that has a place for them.
var faults = []fault{
	{"a store one vector further", func(lines []string) []string {
		re := regexp.MustCompile(`^(\t(?:VMOVUPS|VMASKMOVPS|VMOVSS) +[XYZ]\d+, (?:\w+, )?)(-?\d*)(\(\w+\).*)$`)
		for i, line := range slices.Backward(lines) {
			if m := re.FindStringSubmatch(line); m != nil {
				var d int
				fmt.Sscan(m[2], &d)
				out := slices.Clone(lines)
				out[i] = fmt.Sprintf("%s%d%s", m[1], d+64, m[3])
				return out
			}
		}
		return nil
	}},
	{"a store left out", last(storeLine, "")},
	{"a store made twice", func(lines []string) []string {
		re := regexp.MustCompile(storeLine)
		for i, line := range slices.Backward(lines) {
			if re.MatchString(line) {
				return slices.Insert(slices.Clone(lines), i, line)
			}
		}
		return nil
	}},
	{"a wrong stride", step("${1}1${2}${3}")},
	{"a pointer that stays", step("\tADDQ $$+0${3}")},
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

// faultKernels is a kernel of each op, of each level that has it.
func faultKernels() []Kernel {
	var ks []Kernel
	seen := map[string]bool{}
	for _, k := range kernelsFor("amd64", someKernels()) {
		if what := fmt.Sprint(k.Key.Op, k.ISA); !seen[what] {
			seen[what] = true
			ks = append(ks, k)
		}
	}
	return ks
}

// TestPlantedFaults: an emitted kernel is proved, and with a generator's mistake
// in it is refused by the proof alone, with its place.
func TestPlantedFaults(t *testing.T) {
	kernels := faultKernels()
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "faults.sg"})
	require.NoError(t, err)
	functions, head := string(files[0].Data), ""
	for line := range strings.Lines(functions) {
		if strings.HasPrefix(line, "DATA ") || strings.HasPrefix(line, "GLOBL ") {
			head += line
		}
	}
	planted := map[runtime.KernelOp]int{}
	for _, k := range kernels {
		name := functionName(k.Key, machines[k.ISA])
		_, body, ok := strings.Cut(functions, "TEXT ·"+name+"(SB)")
		require.True(t, ok, name)
		body, _, _ = strings.Cut(body, "\tRET\n")
		lines := strings.Split("TEXT ·"+name+"(SB)"+body+"\tRET", "\n")
		check := func(lines []string) error {
			l, err := amd64.ParseListing([]byte(head + strings.Join(lines, "\n") + "\n"))
			if err != nil {
				return err
			}
			_, err = prove(l.Funcs, l.Tables, []Kernel{k})
			return err
		}
		require.NoError(t, check(lines), name)
		for _, f := range faults {
			faulty := f.plant(lines)
			if faulty == nil {
				continue
			}
			planted[k.Key.Op]++
			err := check(faulty)
			if err == nil {
				t.Errorf("%s: %s is not refused", name, f.name)
				continue
			}
			require.Regexp(t, name+`: line \d+: \S`, err.Error(), "%s: %s", name, f.name)
		}
	}
	for op := range families {
		require.Greater(t, planted[op], 5, "%v: too few faults", op)
	}
}

// TestUnknownInstruction: one that the table of semantics lacks is an error that
// names it.
func TestUnknownInstruction(t *testing.T) {
	_, err := amd64.ParseListing([]byte("TEXT ·f(SB), NOSPLIT, $0-0\n\tFROBNICATE AX, BX\n\tRET\n"))
	require.EqualError(t, err, "amd64: line 2: FROBNICATE: asm/amd64's table of semantics has no such instruction")
}

// TestContracts: every op with machine code has a contract, and for all of its
// kernels' coordinates the contract is sound in form.
func TestContracts(t *testing.T) {
	for op := range families {
		require.Contains(t, contracts, op)
	}
	for _, k := range everyKernel(t) {
		c, err := Contract(k.Key)
		require.NoError(t, err)
		for _, a := range c.Args {
			require.True(t, a.Memory != nil || a.Integer != nil || a.Size == 4, "%v: nothing is said of %s", k.Key, a.Name)
		}
	}
}

// FuzzProve: whatever an assembly file says, it is proved or it is an error.
func FuzzProve(f *testing.F) {
	kernels := faultKernels()
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "fuzz.sg"})
	require.NoError(f, err)
	text := string(files[0].Data)
	_, tables, _ := strings.Cut(text, "\nDATA ")
	for _, k := range kernels {
		if k.ISA != runtime.AVX2 {
			continue
		}
		name := functionName(k.Key, machines[k.ISA])
		_, body, _ := strings.Cut(text, "TEXT ·"+name+"(SB)")
		body, _, _ = strings.Cut(body, "\tRET\n")
		if len(body) < 4000 {
			f.Add("TEXT ·" + name + "(SB)" + body + "\tRET\n")
		}
	}
	tables, _, _ = strings.Cut("DATA "+tables, "\n//")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := amd64.ParseListing([]byte(text + "\n" + tables))
		if err != nil || len(l.Funcs) == 0 {
			return
		}
		for _, k := range kernels {
			l.Funcs[0].Name = functionName(k.Key, machines[k.ISA])
			_, _ = prove(l.Funcs[:1], l.Tables, []Kernel{k})
		}
	})
}
