package codegen

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/runtime"
)

var (
	calls = flag.Int("calls", 12, "random calls of each kernel in TestEmulated; a quarter of them also to compare with pure Go")
	every = flag.Bool("every", false, "TestEmulated takes every kernel, not some of each op")
	names = flag.String("names", "", "TestEmulated takes the kernels whose names match this `regexp` alone")
	cpus  = flag.String("cpus", "cortex-a53,max:128,max:256,max:512", "`models` of cores that TestEmulated runs as; one with a number of bits runs the kernels alone whose vectors have no fixed length, at that")
)

// emulators run programs of another architecture, by GOARCH.
var emulators = map[string]string{"arm64": "qemu-aarch64-static"}

// checker is the test that the throw-away module runs: every kernel against the
// contract, and those in assembly against the pure-Go kernel of their key. It
// prints a line a kernel, and the counts as JSON.
const checker = `package kern

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/sparsegen/sparsegen/asm/goref/kerneltest"
	"github.com/sparsegen/sparsegen/runtime"
)

func TestKernels(t *testing.T) {
	calls, err := strconv.Atoi(os.Getenv("CALLS"))
	if err != nil {
		t.Fatal(err)
	}
	checked, failed, notRun := map[string]int{}, map[string]int{}, map[string]int{}
	check := func(k runtime.Kernel, f func(t *testing.T)) {
		isa := k.ISA.String()
		if only := os.Getenv("ONLY"); only != "" && isa != only {
			return
		}
		switch name := k.Key.Name() + "_" + isa; {
		case !k.ISA.Available():
			notRun[isa]++
		case t.Run(name, f):
			checked[isa]++
			fmt.Println("ok  ", name)
		default:
			failed[isa]++
			fmt.Println("FAIL", name)
		}
	}
	generic := map[runtime.KernelKey]runtime.Kernel{}
	for _, k := range genericKernels() {
		generic[k.Key] = k
		check(k, func(t *testing.T) {
			kerneltest.Check(t, k, max(1, calls/8), kerneltest.Rules{})
		})
	}
	for _, k := range nativeKernels() {
		check(k, func(t *testing.T) {
			kerneltest.Check(t, k, calls, kerneltest.Rules{})
			kerneltest.Same(t, k, generic[k.Key], calls/4)
		})
	}
	for _, isa := range []runtime.ISA{runtime.Generic, runtime.NEON, runtime.SVE} {
		name := isa.String()
		fmt.Printf("%s: %d kernels right, %d wrong, %d not run because this machine lacks it\n", name, checked[name], failed[name], notRun[name])
	}
	report, err := json.Marshal(map[string]map[string]int{"checked": checked, "failed": failed, "notRun": notRun})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("report %s\n", report)
}
`

// TestEmulated runs the kernels of architectures that this machine is not, under an
// emulator. (The kernels of this machine are package torture's.)
func TestEmulated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if os.Getenv("SPARSEGEN_ISA") != "" {
		t.Skip("calls kernels of every level by themselves, whatever SPARSEGEN_ISA says")
	}
	kernels := someKernels()
	if *every {
		kernels = everyKernel(t)
	}
	name := regexp.MustCompile(*names)
	for _, a := range architectures {
		if a.name == goruntime.GOARCH {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			emulator, err := exec.LookPath(emulators[a.name])
			if err != nil || goruntime.GOOS != "linux" {
				t.Skipf("no emulator %q (Debian: qemu-user-static)", emulators[a.name])
			}
			var ks []Kernel
			for _, k := range kernelsFor(a.name, kernels) {
				if name.MatchString(k.Key.Name()) {
					ks = append(ks, k)
				}
			}
			emulated(t, a, ks, emulator)
		})
	}
}

// emulated checks the kernels of one architecture.
func emulated(t *testing.T, a architecture, kernels []Kernel, emulator string) {
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "every.sg"})
	require.NoError(t, err)
	source := map[string][]byte{"kern_test.go": []byte(checker)}
	for _, f := range files {
		source[f.Name] = f.Data
	}
	dir := t.TempDir()
	m, err := gobuild.New(t.Context(), filepath.Join(dir, "module"), source)
	require.NoError(t, err)
	// Without the folder in what is compiled, a second run finds it in go's cache.
	m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath", "GOARCH=" + a.name}
	binary := filepath.Join(dir, "kern.test")
	_, err = m.Go(t.Context(), "test", "-c", "-o", binary, ".")
	require.NoError(t, err)

	t.Run("vet", func(t *testing.T) {
		require.NoError(t, m.Vet(t.Context()), "asmdecl and the other passes of go vet")
	})
	for cpu := range strings.SplitSeq(*cpus, ",") {
		t.Run(cpu, func(t *testing.T) {
			only, model := "", cpu
			if name, length, ok := strings.Cut(cpu, ":"); ok {
				bits, err := strconv.Atoi(length)
				require.NoError(t, err)
				only, model = runtime.SVE.String(), fmt.Sprintf("%s,sve-default-vector-length=%d", name, bits/8)
			}
			cmd := exec.CommandContext(t.Context(), emulator, "-cpu", model, binary, "-test.count=1")
			cmd.Env = append(os.Environ(), fmt.Sprintf("CALLS=%d", *calls), "ONLY="+only)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			line := regexp.MustCompile(`(?m)^report (.*)$`).FindSubmatch(out)
			require.NotNil(t, line, "%s", out)
			var report struct{ Checked, NotRun map[string]int }
			require.NoError(t, json.Unmarshal(line[1], &report))
			want := map[runtime.ISA]int{}
			keys := map[runtime.KernelKey]bool{}
			for _, k := range kernels {
				want[k.ISA]++
				keys[k.Key] = true
			}
			if only == "" {
				require.Equal(t, len(keys), report.Checked[runtime.Generic.String()], "pure-Go kernels that were checked")
			}
			for isa := range a.machines {
				if only != "" && isa.String() != only {
					continue
				}
				require.Equal(t, want[isa], report.Checked[isa.String()]+report.NotRun[isa.String()], "%v kernels", isa)
				t.Logf("%v: %d kernels, %d calls each against the contract, %d against pure Go", isa, report.Checked[isa.String()], *calls, *calls/4)
			}
			require.NotZero(t, report.Checked[cmp.Or(only, runtime.NEON.String())])
		})
	}
	t.Run("disassembly", func(t *testing.T) { meant(t, binary, files, len(kernels)) })
}
