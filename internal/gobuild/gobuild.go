// Package gobuild compiles generated packages: it lays files out as a
// throw-away module that requires sparsegen as this program has it, and runs the
// go command there.
//
// The module needs the standard library, sparsegen's runtime and what that
// imports, so nothing is downloaded that building this program did not need.
//
// It must not import anything else of sparsegen.
package gobuild

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

const (
	sparsegen = "github.com/sparsegen/sparsegen"

	// ModulePath is the path of the throw-away module; the package in its folder
	// sub is ModulePath + "/sub".
	ModulePath = "sparsegen.build"

	goVersion = "1.26.0"
)

// Module is a throw-away Go module.
type Module struct {
	Dir string   // its root folder
	Env []string // added to the environment of each command, such as GOARCH=arm64
}

// Error is a go command that failed.
type Error struct {
	Dir    string
	Args   []string
	Output string // what the command wrote: standard error, then standard output
	Err    error
}

func (e *Error) Error() string {
	output := strings.TrimSpace(e.Output)
	if output == "" {
		return fmt.Sprintf("go %s: %v", strings.Join(e.Args, " "), e.Err)
	}
	return fmt.Sprintf("go %s: %v\n%s", strings.Join(e.Args, " "), e.Err, output)
}

func (e *Error) Unwrap() error { return e.Err }

// New writes files, by slash-separated path, into the folder dir, which is made
// if it is missing, beside a go.mod and go.sum. The module requires sparsegen as
// the module around the working directory has it (which may be sparsegen
// itself, or a program that uses it), or else in the version or the checkout that
// this program was built from. dir must not hold a go.mod yet; the caller removes dir.
func New(ctx context.Context, dir string, files map[string][]byte) (*Module, error) {
	for name := range files {
		if base := path.Base(name); !filepath.IsLocal(filepath.FromSlash(name)) || base == "go.mod" || base == "go.sum" {
			return nil, fmt.Errorf("gobuild: %q cannot be a file of the module", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return nil, fmt.Errorf("gobuild: %s is a module already", dir)
	}
	mod, sum, err := requirement(ctx)
	if err != nil {
		return nil, fmt.Errorf("gobuild: %w", err)
	}
	files = maps.Clone(files)
	if files == nil {
		files = map[string][]byte{}
	}
	files["go.mod"], files["go.sum"] = mod, sum
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return nil, fmt.Errorf("gobuild: %w", err)
		}
		if err := os.WriteFile(file, data, 0o666); err != nil {
			return nil, fmt.Errorf("gobuild: %w", err)
		}
	}
	return &Module{Dir: dir}, nil
}

// requirement is the go.mod of a module that requires sparsegen, and its go.sum.
func requirement(ctx context.Context) (mod, sum []byte, err error) {
	mod = fmt.Appendf(nil, "module %s\n\ngo %s\n\n", ModulePath, goVersion)

	var out bytes.Buffer
	listErr := run(ctx, "", []string{"GOFLAGS=-mod=readonly"}, &out, nil, "list", "-m", "-f", "{{.Dir}}", sparsegen)
	root := strings.TrimSpace(out.String())
	if listErr == nil && root != "" {
		sum, err = os.ReadFile(filepath.Join(root, "go.sum"))
		if err != nil {
			return nil, nil, err
		}
		return fmt.Appendf(mod, "require %s v0.0.0\n\nreplace %s => %q\n", sparsegen, sparsegen, root), sum, nil
	}

	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == sparsegen && m.Replace == nil && strings.HasPrefix(m.Version, "v") && !strings.HasSuffix(m.Version, "+dirty") {
				return fmt.Appendf(mod, "require %s %s\n", sparsegen, m.Version), nil, nil
			}
		}
	}
	if root := checkout(); root != "" {
		if sum, err = os.ReadFile(filepath.Join(root, "go.sum")); err != nil {
			return nil, nil, err
		}
		return fmt.Appendf(mod, "require %s v0.0.0\n\nreplace %s => %q\n", sparsegen, sparsegen, root), sum, nil
	}
	if listErr == nil {
		listErr = fmt.Errorf("the module cache lacks it: run go mod download %s", sparsegen)
	}
	return nil, nil, fmt.Errorf("cannot find %s to build against: %w", sparsegen, listErr)
}

// Go runs the go command with args in the module and returns its standard
// output. An error of the command is an *Error; when ctx ends the command is
// interrupted, and killed if that does not stop it, and the error is ctx's cause.
func (m *Module) Go(ctx context.Context, args ...string) ([]byte, error) {
	var stdout bytes.Buffer
	err := m.Stream(ctx, &stdout, nil, args...)
	return stdout.Bytes(), err
}

// Stream is Go for commands whose output is wanted while they run: it copies
// the command's standard output and standard error to the writers that are not
// nil.
func (m *Module) Stream(ctx context.Context, stdout, stderr io.Writer, args ...string) error {
	// -buildvcs=false: the module may lie in somebody's repository.
	env := append([]string{"GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off"}, m.Env...)
	return run(ctx, m.Dir, env, stdout, stderr, args...)
}

// Build compiles the package in the folder pkg of the module ("." or "./sub"). If
// out is not empty, the result, a program when the package is main, is written
// there.
func (m *Module) Build(ctx context.Context, pkg, out string) error {
	args := []string{"build"}
	if out != "" {
		abs, err := filepath.Abs(out)
		if err != nil {
			return fmt.Errorf("gobuild: %w", err)
		}
		args = append(args, "-o", abs)
	}
	_, err := m.Go(ctx, append(args, pkg)...)
	return err
}

// Vet runs go vet over the whole module.
func (m *Module) Vet(ctx context.Context) error {
	_, err := m.Go(ctx, "vet", "./...")
	return err
}

// Test runs the tests of the whole module with the given flags of go test, and
// returns what go test printed.
func (m *Module) Test(ctx context.Context, flags ...string) ([]byte, error) {
	return m.Go(ctx, slices.Concat([]string{"test"}, flags, []string{"./..."})...)
}

// run runs the go command in dir with env added to the environment.
func run(ctx context.Context, dir string, env []string, stdout, stderr io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	var outText, errText bytes.Buffer
	cmd.Stdout, cmd.Stderr = tee(&outText, stdout), tee(&errText, stderr)
	// An interrupted go command stops its children too; a killed one does not.
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &Error{Dir: dir, Args: args, Output: errText.String() + outText.String(), Err: err}
}

// tee writes to text and, unless it is nil, to also.
func tee(text *bytes.Buffer, also io.Writer) io.Writer {
	if also == nil {
		return text
	}
	return io.MultiWriter(text, also)
}

// checkout is the folder of sparsegen's sources that this program was built
// from, where they are still there, or "".
func checkout() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // built with -trimpath
		return ""
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !bytes.HasPrefix(mod, []byte("module "+sparsegen+"\n")) {
		return ""
	}
	return root
}
