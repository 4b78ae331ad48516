package autotune

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	sparse "github.com/sparsegen/sparsegen/runtime"
)

// workerMain is the main package of the program that times candidates.
const workerMain = `package main

import (
	"github.com/sparsegen/sparsegen/autotune/worker"

	"sparsegen.build/kernels"
)

func main() { worker.Main(kernels.Kernels()) }
`

// kernelsOf are the kernels that serve the given levels with every configuration in the
// spaces of the problems.
func kernelsOf(problems []codegen.Problem, levels []sparse.ISA) []codegen.Kernel {
	var ks []codegen.Kernel
	for _, p := range problems {
		for _, c := range codegen.Space(p) {
			ks = append(ks, c.Kernels(p.TokenMajor)...)
		}
	}
	for _, isa := range levels { // what calibrations need
		ks = append(ks, codegen.ProbeKernels(isa)...)
	}
	return codegen.Serving(ks, levels)
}

// Compile compiles the worker that a tuning of the ops needs, where it is not in the
// cache folder yet, and returns its path. A machine without Go can tune with a copy
// of that folder and of this program.
func Compile(ctx context.Context, linears []Linear, o Options) (string, error) {
	var problems []codegen.Problem
	for _, l := range linears {
		problems = append(problems, l.Problem)
	}
	return Build(ctx, kernelsOf(problems, o.Levels), o.Cache)
}

// Build compiles the worker with all kernels, in one module and one go build, and
// returns the path of the program. Programs are kept in the cache folder by what is
// in them, so that the same candidates are compiled once.
func Build(ctx context.Context, kernels []codegen.Kernel, cache string) (string, error) {
	h := sha256.New()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if err := copyFile(h, self); err != nil { // it has the emitter, the worker and the runtime in it
		return "", err
	}
	fmt.Fprintln(h, runtime.Version(), kernels)
	binary := filepath.Join(cache, fmt.Sprintf("worker-%x", h.Sum(nil)[:12]))
	if st, err := os.Stat(binary); err == nil && st.Mode().IsRegular() {
		return binary, nil
	}
	files, err := codegen.Emit(kernels, codegen.EmitOptions{Package: "kernels", Spec: "the tuner's candidates"})
	if err != nil {
		return "", err
	}
	texts := map[string][]byte{"main.go": []byte(workerMain)}
	for _, f := range files {
		texts["kernels/"+f.Name] = f.Data
	}
	dir, err := os.MkdirTemp("", "sparsegen-tune-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	m, err := gobuild.New(ctx, dir, texts)
	if err != nil {
		return "", err
	}
	m.Env = append(m.Env, "CGO_ENABLED=0")
	built := filepath.Join(dir, "worker")
	if err := m.Build(ctx, ".", built); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return "", err
	}
	err = atomicfile.Write(binary, func(w io.Writer) error { return copyFile(w, built) })
	if err == nil {
		err = os.Chmod(binary, 0o755)
	}
	return binary, err
}

func copyFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}
