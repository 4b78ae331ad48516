// Package ptxtest assembles PTX text with ptxas in tests and reports what the
// assembler said: warnings, registers, spills, shared memory, instructions.
// Where there is no ptxas the test is skipped with a message.
//
// This package is for tests. It must not be imported by code that ships, and
// must not import anything of this module but ptx.
package ptxtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sparsegen/sparsegen/ptx"
)

// Env names the variable that holds the path of ptxas.
const Env = "SPARSEGEN_PTXAS"

// Result is what ptxas said of one module.
type Result struct {
	Warnings []Warning
	Kernels  []Kernel // in the order of their names
	Log      string   // everything that ptxas printed
	Cubin    []byte
}

// Warning is one warning or advisory line.
type Warning struct {
	Code string // "C7515", or "" if the line has none
	Text string
}

// Kernel is what ptxas needed for one entry function.
type Kernel struct {
	Name         string
	Registers    int // a thread
	Barriers     int
	Shared       int // static shared memory, bytes
	Stack        int // frame, bytes
	SpillStores  int // bytes
	SpillLoads   int // bytes
	Instructions int // machine instructions, padding included
}

// Spills is the bytes spilled, stores and loads.
func (k Kernel) Spills() int { return k.SpillStores + k.SpillLoads }

// Kernel is the entry of that name; it fails the test if there is none.
func (r *Result) Kernel(t testing.TB, name string) Kernel {
	t.Helper()
	for _, k := range r.Kernels {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("ptxas reported no kernel %q:\n%s", name, r.Log)
	return Kernel{}
}

// find looks for ptxas once: $SPARSEGEN_PTXAS, PATH, then the folder of
// Python's nvidia-cuda-nvcc package.
var find = sync.OnceValues(func() (string, error) {
	if p := os.Getenv(Env); p != "" {
		return exec.LookPath(p)
	}
	if p, err := exec.LookPath("ptxas"); err == nil {
		return p, nil
	}
	const where = "import importlib.util as u; s = u.find_spec('nvidia'); print('\\n'.join(s.submodule_search_locations if s else []))"
	out, err := exec.Command("python3", "-c", where).Output()
	if err == nil {
		for dir := range strings.Lines(string(out)) {
			found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(dir), "*", "bin", "ptxas"))
			for _, p := range found {
				if p, err := exec.LookPath(p); err == nil {
					return p, nil
				}
			}
		}
	}
	return "", exec.ErrNotFound
})

// Find is the path of ptxas; it skips the test if there is none. A path in
// $SPARSEGEN_PTXAS that does not run is a failure.
func Find(t testing.TB) string {
	t.Helper()
	p, err := find()
	if err != nil {
		if os.Getenv(Env) != "" {
			t.Fatalf("%s=%s: %v", Env, os.Getenv(Env), err)
		}
		t.Skipf("no ptxas (set %s, or pip install nvidia-cuda-nvcc)", Env)
	}
	return p
}

// Version is ptxas's release, such as "13.0": counts of registers and
// instructions are comparable within one.
func Version(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(Find(t), "--version").Output()
	m := regexp.MustCompile(`release (\d+\.\d+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("ptxas --version: %v\n%s", err, out)
	}
	return string(m[1])
}

// Try assembles text for target and returns what ptxas said, or its log and
// the error if it refused the text.
func Try(t testing.TB, text string, target ptx.Target) (*Result, string, error) {
	t.Helper()
	ptxas := Find(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "kernel.ptx"), filepath.Join(dir, "kernel.cubin")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := exec.Command(ptxas, "-v", "-arch="+target.String(), in, "-o", out).CombinedOutput()
	if err != nil {
		return nil, string(log), err
	}
	r := parse(string(log))
	if r.Cubin, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	if err := r.countInstructions(); err != nil {
		t.Fatal(err)
	}
	return r, r.Log, nil
}

// Assemble is Try that fails the test if ptxas refuses the text.
func Assemble(t testing.TB, text string, target ptx.Target) *Result {
	t.Helper()
	r, log, err := Try(t, text, target)
	if err != nil {
		t.Fatalf("ptxas -arch=%s: %v\n%s\n%s", target, err, log, numbered(text, log))
	}
	return r
}

// AssembleClean is Assemble and Clean.
func AssembleClean(t testing.TB, text string, target ptx.Target) *Result {
	t.Helper()
	r := Assemble(t, text, target)
	r.Clean(t)
	return r
}

// Clean fails the test if ptxas warned (C7508: setmaxnreg ignored; C7513,
// C7515: wgmmas serialised; C7517, C7519: waits injected; or anything else), or
// if a kernel spills or needs a stack.
func (r *Result) Clean(t testing.TB) {
	t.Helper()
	for _, w := range r.Warnings {
		t.Errorf("ptxas: %s", w.Text)
	}
	for _, k := range r.Kernels {
		if k.Spills() > 0 || k.Stack > 0 {
			t.Errorf("%s: %d bytes of stack, %d of spill stores, %d of spill loads", k.Name, k.Stack, k.SpillStores, k.SpillLoads)
		}
	}
}

var (
	codeRE     = regexp.MustCompile(`\b(C7\d\d\d)\b`)
	compileRE  = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	propertyRE = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	usedRE     = regexp.MustCompile(`Used (\d+) registers`)
	barrierRE  = regexp.MustCompile(`used (\d+) barriers`)
	sharedRE   = regexp.MustCompile(`(\d+) bytes smem`)
)

// parse reads ptxas's verbose log.
func parse(log string) *Result {
	r := &Result{Log: log}
	number := func(re *regexp.Regexp, line string, group int) int {
		m := re.FindStringSubmatch(line)
		if m == nil {
			return 0
		}
		n, _ := strconv.Atoi(m[group])
		return n
	}
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		code := codeRE.FindString(line)
		if code != "" || strings.Contains(line, "warning") {
			r.Warnings = append(r.Warnings, Warning{code, line})
		}
		if m := compileRE.FindStringSubmatch(line); m != nil {
			r.Kernels = append(r.Kernels, Kernel{Name: m[1]})
		}
		if len(r.Kernels) == 0 {
			continue
		}
		k := &r.Kernels[len(r.Kernels)-1]
		if propertyRE.MatchString(line) {
			k.Stack, k.SpillStores, k.SpillLoads = number(propertyRE, line, 1), number(propertyRE, line, 2), number(propertyRE, line, 3)
		}
		if usedRE.MatchString(line) {
			k.Registers, k.Barriers, k.Shared = number(usedRE, line, 1), number(barrierRE, line, 1), number(sharedRE, line, 1)
		}
	}
	return r
}

// instructionBytes is the size of a machine instruction since Volta.
const instructionBytes = 16

func (r *Result) countInstructions() error {
	// ptxas before 13 wrote a number of its own as the file's ELF version.
	image := bytes.Clone(r.Cubin)
	const version = 20 // offset of e_version
	if len(image) >= version+4 {
		binary.LittleEndian.PutUint32(image[version:], uint32(elf.EV_CURRENT))
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	for i := range r.Kernels {
		if s := f.Section(".text." + r.Kernels[i].Name); s != nil {
			r.Kernels[i].Instructions = int(s.Size / instructionBytes)
		}
	}
	return nil
}

var lineRE = regexp.MustCompile(`line (\d+);`)

// numbered is the lines of text that the log complains of.
func numbered(text, log string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	for i, m := range lineRE.FindAllStringSubmatch(log, -1) {
		if n, _ := strconv.Atoi(m[1]); n >= 1 && n <= len(lines) && i < 20 {
			b.WriteString(m[1] + ": " + strings.TrimSpace(lines[n-1]) + "\n")
		}
	}
	return b.String()
}
