package torture

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// sample is how many cases TestSample runs, beside as many of the family kernel.
var sample = flag.Int("sample", 4000, "cases of TestSample")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "sparsegen-test-*"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

//go:embed testdata/planted.go.txt
var plantedMain []byte

var scratch string // folder of the tests' programs

// planted builds, once, the program with every kernel that the tests run.
var planted = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "planted")
	kernels, err := codegen.EveryKernel()
	if err != nil {
		return "", err
	}
	files, err := Files(kernels)
	if err != nil {
		return "", err
	}
	files["main.go"] = plantedMain
	return binary, BuildFiles(context.Background(), filepath.Join(scratch, "source"), "", binary, files)
})

func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles every kernel")
	}
	if goruntime.GOOS == "windows" {
		t.Skip("the planted mistakes are those of other systems")
	}
	binary, err := planted()
	require.NoError(t, err)
	return binary
}

// torture runs a program of its own flags, with JSON for its report.
func torture(t *testing.T, binary string, env []string, args ...string) (*Report, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append(args, "-json")...)
	cmd.Env = append(os.Environ(), env...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	var r Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), "%s%s", out.String(), log.String())
	return &r, cmd.ProcessState.ExitCode()
}

// TestSample: a sample of cases agrees at every level of this machine, and proves
// something in each family.
func TestSample(t *testing.T) {
	binary := program(t)
	for _, args := range [][]string{{}, {"-family", familyKernel}} {
		r, exit := torture(t, binary, nil, append([]string{"-seed", "1", "-cases", fmt.Sprint(*sample)}, args...)...)
		for _, f := range r.Failures {
			t.Errorf("%s\n%s: %s\n%s%s", f.Repro, f.ISA, f.What, f.Explain, f.Smaller)
		}
		require.Zero(t, exit)
		require.Equal(t, *sample, r.Cases)
		levels := 0
		for _, isa := range append(codegen.ISAs(), runtime.Generic) {
			if isa.Available() {
				require.Contains(t, r.Levels, isa.String())
				levels++
			}
		}
		require.Len(t, r.Levels, levels)
		if len(args) > 0 {
			require.Equal(t, r.AllKernels, r.Kernels, "each kernel has had its turn")
			continue
		}
		s, err := newSpace()
		require.NoError(t, err)
		require.Len(t, r.Families, len(s.families))
		for _, f := range r.Families {
			for _, isa := range r.Levels {
				if n, ok := f.Levels[isa]; ok {
					require.Greater(t, n.Passed, 2*n.Mistrusted, "%s at %s", f.Family, isa)
				}
			}
		}
	}
}

// TestEveryConfigurationHasItsTurn: each configuration that a candidate can be is
// drawn, within so few cases that make torture draws it several times.
func TestEveryConfigurationHasItsTurn(t *testing.T) {
	s, err := newSpace()
	require.NoError(t, err)
	left := map[string]map[string]bool{} // by family
	for config := range s.configs {
		family, _, _ := strings.Cut(config, " ")
		if left[family] == nil {
			left[family] = map[string]bool{}
		}
		left[family][config] = true
	}
	for number := range uint64(60_000) {
		family := s.family(1, number)
		if len(left[family]) == 0 {
			continue
		}
		for _, config := range s.draw(1, number).configs {
			require.Contains(t, s.configs, covers(config), "a configuration that is in no table")
			delete(left[family], covers(config))
		}
	}
	for _, configs := range left {
		require.Empty(t, configs)
	}
}

// TestPlanted: each mistake is found, and the command that the report names finds
// the same again.
func TestPlanted(t *testing.T) {
	binary := program(t)
	native := "avx2"
	if isa, err := runtime.ParseISA(native); err != nil || !isa.Available() {
		native = ""
	}
	for _, c := range []struct {
		fault, level, family, want string
	}{
		{"weights", "generic", "", "more than the bound"},
		{"bounds", "generic", "", "more than the bound 0"},
		{"sign", "generic", "lanesDense", "more than the bound"},
		{"sign", native, "lanesDense", "where pure Go gives"},
		{"sign", native, familyKernel, "bytes from the output argument"},
		{"read", native, "lanesDense", "of input 0, which has"},
		{"write", native, "lanesDense", "of the packed model"},
		{"crash", native, "lanesDense", "planted crash"},
	} {
		t.Run(c.fault+" "+c.level+" "+c.family, func(t *testing.T) {
			if c.level == "" {
				t.Skip("no kernels in assembly for this machine")
			}
			env := []string{"TORTURE_FAULT=" + c.fault, "TORTURE_LEVEL=" + c.level}
			r, exit := torture(t, binary, env, "-seed", "3", "-cases", "400", "-family", c.family)
			require.Equal(t, 1, exit)
			require.NotEmpty(t, r.Failures)
			var f *Failure
			for i := range r.Failures {
				if strings.Contains(r.Failures[i].What, c.want) {
					f = &r.Failures[i]
					break
				}
			}
			require.NotNil(t, f, "%q among %+v", c.want, r.Failures)
			if c.level != "generic" {
				require.Contains(t, strings.Split(f.ISA, ","), c.level) // of a crash, all levels
			}
			failed := 0
			for _, family := range r.Families {
				for _, n := range family.Levels {
					failed += n.Failed
				}
			}
			named := 0 // each failure counts at its levels, but for the one that all are compared with
			for _, f := range r.Failures {
				named += len(strings.Split(strings.TrimPrefix(f.ISA, "generic,"), ","))
			}
			require.Equal(t, named, failed)
			require.Contains(t, f.Explain, fmt.Sprintf("case %d", f.Case))
			if c.fault != "crash" && c.family != familyKernel {
				require.NotEmpty(t, f.Smaller, "what is found shrinks")
			}

			args := strings.Fields(strings.TrimPrefix(f.Repro, "sparsegen torture"))
			again, exit := torture(t, binary, env, args...)
			require.Equal(t, 1, exit, f.Repro)
			require.Equal(t, 1, again.Cases)
			require.Equal(t, f.What, again.Failures[0].What)
			none, exit := torture(t, binary, nil, args...)
			require.Zero(t, exit, "the mistake is in the kernel, not in the case: %+v", none.Failures)
		})
	}
}

// TestMutatedText: mistakes in a kernel's text are found: another weight, and one
// that lies behind the last.
func TestMutatedText(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles kernels")
	}
	if !runtime.AVX2.Available() {
		t.Skip("mutates kernels for AVX2")
	}
	every, err := codegen.EveryKernel()
	require.NoError(t, err)
	var some []codegen.Kernel
	for _, k := range every {
		if k.Key.Op == runtime.LanesDense || strings.HasPrefix(k.Key.Op.String(), "map") {
			some = append(some, k)
		}
	}
	files, err := Files(some)
	require.NoError(t, err)
	files["main.go"] = []byte(mainText)
	const name = "kernels/sparsegen_amd64.s"
	right := string(files[name])
	for _, m := range []struct{ from, to, want string }{
		{"	VFMADD231PS  32(DX), Y8, Y1\n", "	VFMADD231PS  36(DX), Y8, Y1\n", "where pure Go gives"},
		{"	VFMADD231PS  32(DX), Y2, Y1\n", "	VFMADD231PS  64(DX), Y2, Y1\n", "of the packed model, which has"},
	} {
		t.Run(strings.TrimSpace(m.to), func(t *testing.T) {
			wrong := strings.Replace(right, m.from, m.to, 1)
			require.NotEqual(t, right, wrong)
			files[name] = []byte(wrong)
			dir := t.TempDir()
			binary := filepath.Join(dir, "mutant")
			require.NoError(t, BuildFiles(t.Context(), dir, "", binary, files))
			r, exit := torture(t, binary, nil, "-seed", "5", "-cases", "600", "-family", "lanesDense", "-isa", "avx2")
			require.Equal(t, 1, exit)
			found := false
			for _, f := range r.Failures {
				require.Equal(t, "avx2", f.ISA)
				found = found || strings.Contains(f.What, m.want)
			}
			require.True(t, found, "%q in %+v", m.want, r.Failures)
		})
	}
}

// TestDraw: a case follows from its number, and its spec is one.
func TestDraw(t *testing.T) {
	s, err := newSpace()
	require.NoError(t, err)
	specs := 0
	for number := range uint64(300) {
		c, d := s.draw(7, number), s.draw(7, number)
		require.Equal(t, c, d)
		require.Equal(t, s.family(7, number), c.Family)
		if c.Family == familyKernel {
			continue
		}
		specs++
		m, err := c.module()
		require.NoError(t, err, c.Spec())
		a, err := c.weights(m.Layers[0])
		require.NoError(t, err, c.Spec())
		b, err := d.weights(m.Layers[0])
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(a), fmt.Sprint(b)) // NaN is not NaN
		for _, smaller := range c.smaller() {
			require.NotEqual(t, c.String(), smaller.String())
		}
	}
	require.NotZero(t, specs)
}

func TestOptions(t *testing.T) {
	s, err := newSpace()
	require.NoError(t, err)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Case: -1, Cases: -1}, "cannot be negative"},
		{Options{Case: 3, Seed: 1, Cases: 10}, "--case names one case"},
		{Options{Case: 3}, "--case needs the --seed"},
		{Options{Case: -1, Family: "none"}, `no family "none"; there are panelGrouped,`},
	} {
		require.ErrorContains(t, c.o.check(s), c.want)
	}
	o := Options{Case: -1}
	require.NoError(t, o.check(s))
	require.Equal(t, defaultCases, o.Cases)
	require.NotZero(t, o.Seed)
	_, err = chosen("avx2,none", []runtime.ISA{runtime.Generic, runtime.AVX2})
	require.ErrorContains(t, err, `no level "none" with kernels; it has generic, avx2`)
	levels, err := chosen("avx2", []runtime.ISA{runtime.Generic, runtime.AVX2})
	require.NoError(t, err)
	require.Equal(t, []runtime.ISA{runtime.Generic, runtime.AVX2}, levels)
}
