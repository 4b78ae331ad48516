package codegen

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime"
)

// everyKernel is EveryKernel, which the other tests stand on.
func everyKernel(t testing.TB) []Kernel {
	ks, err := EveryKernel()
	require.NoError(t, err)
	return ks
}

// someKernels is the kernels of someConfigs.
func someKernels() []Kernel { return kernelsOf(someConfigs()) }

// everyOp is the ops of package runtime.
func everyOp() []runtime.KernelOp {
	var ops []runtime.KernelOp
	for op := runtime.PanelGrouped; !strings.HasPrefix(op.String(), "kernelOp"); op++ {
		ops = append(ops, op)
	}
	return ops
}

// TestEveryKernel checks that the enumeration the other tests stand on leaves
// nothing out: an op without a kernel, a machine without an op.
func TestEveryKernel(t *testing.T) {
	below := map[runtime.ISA][]runtime.KernelOp{
		runtime.AVX512: {runtime.LanesRow, runtime.LanesWindow},
		runtime.SVE:    {runtime.LanesRow, runtime.LanesWindow, runtime.LanesMask, runtime.TransTile, runtime.UntransTile},
	}
	has := map[runtime.KernelOp]map[runtime.ISA]int{}
	for _, k := range everyKernel(t) {
		if has[k.Key.Op] == nil {
			has[k.Key.Op] = map[runtime.ISA]int{}
		}
		has[k.Key.Op][k.ISA]++
	}
	for _, op := range everyOp() {
		if _, machine := families[op]; !machine {
			require.True(t, strings.HasPrefix(op.String(), "map"), "%v has no machine code and is no activation", op)
			continue
		}
		require.NotEmpty(t, has[op], "no configuration has a kernel of %v", op)
		for _, isa := range ISAs() {
			// A level without kernels of an op runs those of the level below.
			if !slices.Contains(below[isa], op) {
				require.NotZero(t, has[op][isa], "%v for %v", op, isa)
			}
		}
	}
	nm := map[[2]uint8]bool{}
	for _, k := range everyKernel(t) {
		if k.Key.Op == runtime.LanesNM {
			nm[[2]uint8{k.Key.N, k.Key.M}] = true
		}
	}
	require.Len(t, nm, 1+3+7+15+31, "every N below every power of two M up to 32")
}

// kernelsFor are those of ks that run on an architecture.
func kernelsFor(arch string, ks []Kernel) []Kernel {
	return slices.DeleteFunc(slices.Clone(ks), func(k Kernel) bool { return k.ISA.Arch() != arch })
}

func TestBuildRefusesWhatHasNoKernel(t *testing.T) {
	for _, isa := range ISAs() {
		m := machines[isa]
		for _, c := range []struct {
			key  runtime.KernelKey
			want string
		}{
			{runtime.KernelKey{Op: 200}, "no machine code"},
			{runtime.KernelKey{Op: runtime.PanelGrouped, MR: 4}, "needs T"},
			{runtime.KernelKey{Op: runtime.PanelGrouped, MR: 4, T: 4}, "panelGrouped"},
			{runtime.KernelKey{Op: runtime.LanesDense, S: 24, NB: 200}, "no such slab"},
			{runtime.KernelKey{Op: runtime.DeltaTile, S: 8, T: 128}, "no such slab"},
		} {
			_, err := Build(c.key, m)
			require.ErrorContains(t, err, c.want, "%v on %s", c.key, m.Name)
		}
	}
	for _, key := range []runtime.KernelKey{
		{Op: runtime.LanesRow, S: 8}, {Op: runtime.LanesWindow, S: 16}, {Op: runtime.LanesMask, S: 32, NB: 1},
		{Op: runtime.LanesNM, S: 16, NB: 1, N: 2, M: 8}, {Op: runtime.TransTile}, {Op: runtime.UntransTile},
	} {
		_, err := Build(key, machines[runtime.SVE])
		require.ErrorContains(t, err, "on sve", "%v needs a number of lanes", key)
	}
	_, err := Emit([]Kernel{{Key: runtime.KernelKey{Op: runtime.PanelDense, MR: 1, T: 16}, ISA: 99}}, EmitOptions{Package: "p"})
	require.ErrorContains(t, err, "no machine for instruction set isa99")
	_, err = Emit([]Kernel{{Key: runtime.KernelKey{Op: runtime.PanelDense, MR: 30, T: 64}, ISA: runtime.AVX512}}, EmitOptions{Package: "p"})
	require.Error(t, err, "120 accumulators in 32 registers")
}

// TestRegisters: no kernel touches what the calling convention reserves, such as
// frame pointer, g, or the register that holds the GOT in shared objects, nor a
// register that its machine lacks.
func TestRegisters(t *testing.T) {
	files, err := Emit(someKernels(), EmitOptions{Package: "p", Spec: "s"})
	require.NoError(t, err)
	reserved := map[string]*regexp.Regexp{
		".amd64.s": regexp.MustCompile(`\b(BP|BPL|SP|R15[BWL]?)\b`),
		".arm64.s": regexp.MustCompile(`\b(R18|R2[789]|R3[01]|RSP|g|[wx](18|2[789]|3[01]))\b`),
	}
	beyond := regexp.MustCompile(`\b(Z[0-9]+|K[0-7]|[XY](1[6-9]|[23][0-9]))\b`)
	seen := 0
	for _, file := range files {
		not := reserved["."+strings.TrimPrefix(file.Name, "sparsegen_")]
		if not == nil {
			continue
		}
		for _, f := range strings.Split(string(file.Data), "\nTEXT ·")[1:] {
			name, _, _ := strings.Cut(f, "(SB)")
			body, _, _ := strings.Cut(f, "\tRET")
			seen++
			require.NotRegexp(t, not, body, name)
			if strings.HasSuffix(name, "_avx2") {
				require.NotRegexp(t, beyond, body, name)
			}
		}
	}
	require.Equal(t, len(someKernels()), seen)
}
