package codegen

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/asm/arm64"
	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/runtime"
)

// faultKernels is a kernel of each op, of each level of an architecture that has it.
func faultKernels(arch string) []Kernel {
	var ks []Kernel
	seen := map[string]bool{}
	for _, k := range kernelsFor(arch, someKernels()) {
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
	for _, a := range architectures {
		t.Run(a.name, func(t *testing.T) { plantFaults(t, a) })
	}
}

func plantFaults(t *testing.T, a architecture) {
	kernels := faultKernels(a.name)
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "faults.sg"})
	require.NoError(t, err)
	functions, head := string(files[0].Data), ""
	for line := range strings.Lines(functions) {
		if strings.HasPrefix(line, "DATA ") || strings.HasPrefix(line, "GLOBL ") {
			head += line
		}
	}
	planted, places := map[runtime.KernelOp]int{}, map[string]int{}
	for _, k := range kernels {
		name := functionName(k.Key, machines[k.ISA])
		_, body, ok := strings.Cut(functions, "TEXT ·"+name+"(SB)")
		require.True(t, ok, name)
		body, _, _ = strings.Cut(body, "\tRET\n")
		lines := strings.Split("TEXT ·"+name+"(SB)"+body+"\tRET", "\n")
		check := func(lines []string) ([]*verify.Proof, error) {
			return provedText(a, []byte(head+strings.Join(lines, "\n")+"\n"), []Kernel{k})
		}
		proofs, err := check(lines)
		require.NoError(t, err, name)
		for _, idle := range proofs[0].Idle {
			if idle.Why == "no call reaches it" { // no place for a mistake
				lines[idle.Line-1-strings.Count(head, "\n")] = ""
			}
		}
		for _, f := range faultsIn(k.ISA) {
			faulty := f.plant(lines)
			if faulty == nil {
				continue
			}
			planted[k.Key.Op]++
			places[f.name]++
			_, err := check(faulty)
			if err == nil {
				t.Errorf("%s: %s is not refused", name, f.name)
				continue
			}
			// By the proof, not because the listing cannot be read.
			require.Regexp(t, name+`: line \d+: \S`, err.Error(), "%s: %s", name, f.name)
		}
	}
	for op := range families {
		require.Greater(t, planted[op], 5, "%v: too few faults", op)
	}
	all := faults[a.name]
	for isa := range a.machines {
		all = append(slices.Clone(all), faultsIn(isa)...)
	}
	for _, f := range all {
		require.NotZero(t, places[f.name], "no kernel has a place for %s", f.name)
	}
}

// TestUnknownInstruction: one that the table of semantics lacks is an error that
// names it.
func TestUnknownInstruction(t *testing.T) {
	_, err := amd64.ParseListing([]byte("TEXT ·f(SB), NOSPLIT, $0-0\n\tFROBNICATE AX, BX\n\tRET\n"))
	require.EqualError(t, err, "amd64: line 2: FROBNICATE: asm/amd64's table of semantics has no such instruction")
	_, err = arm64.ParseListing([]byte("TEXT ·f(SB), NOSPLIT, $0-0\n\tFROBNICATE R1, R2\n\tRET\n"))
	require.EqualError(t, err, "arm64: line 2: FROBNICATE: the table has no such form")
	_, err = arm64.ParseListing([]byte("TEXT ·f(SB), NOSPLIT, $0-0\n\tWORD $0xd4200000 // brk #0\n\tRET\n"))
	require.EqualError(t, err, "arm64: line 2: WORD $0xd4200000: the table has no such form")
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
func FuzzProve(f *testing.F) { fuzzProve(f, "amd64") }

// FuzzProveARM64 is FuzzProve for the other assembler.
func FuzzProveARM64(f *testing.F) { fuzzProve(f, "arm64") }

func fuzzProve(f *testing.F, arch string) {
	a, kernels := architectureOf(arch), faultKernels(arch)
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "fuzz.sg"})
	require.NoError(f, err)
	text := string(files[0].Data)
	_, tables, _ := strings.Cut(text, "\nDATA ")
	for _, k := range kernels {
		if k.ISA != kernels[0].ISA { // the lowest level
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
		l, err := a.parse([]byte(text + "\n" + tables))
		if err != nil || len(l.Funcs) == 0 {
			return
		}
		for _, k := range kernels {
			l.Funcs[0].Name = functionName(k.Key, machines[k.ISA])
			_, _ = prove(l.Funcs[:1], l.Tables, []Kernel{k})
		}
	})
}
