package torture

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/gobuild"
)

// mainText is the program around the kernels.
const mainText = `// Command torture runs random cases on every kernel; -help lists its flags.
package main

import (
	"os"

	"github.com/sparsegen/sparsegen/torture"

	"sparsegen.build/kernels"
)

func main() { os.Exit(torture.Main(kernels.Kernels(), torture.Faults{})) }
`

// Build compiles a program with every kernel, whose main function is Main, for an
// architecture ("": this machine's), and writes it to out. It is static: it runs on
// any machine of the same system and architecture, without Go. dir is a folder for
// the program's source, which the caller removes.
func Build(ctx context.Context, dir, arch, out string) error {
	kernels, err := codegen.EveryKernel()
	if err != nil {
		return err
	}
	files, err := Files(kernels)
	if err != nil {
		return err
	}
	files["main.go"] = []byte(mainText)
	return BuildFiles(ctx, dir, arch, out, files)
}

// Files is the source of the package kernels of a program.
func Files(kernels []codegen.Kernel) (map[string][]byte, error) {
	emitted, err := codegen.Emit(kernels, codegen.EmitOptions{Package: "kernels", Spec: "torture"})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range emitted {
		files["kernels/"+f.Name] = f.Data
	}
	return files, nil
}

// BuildFiles is Build of a program whose source is given.
func BuildFiles(ctx context.Context, dir, arch, out string, files map[string][]byte) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the kernels have to be compiled: Go 1.26 must be installed, with the command go in PATH")
	}
	m, err := gobuild.New(ctx, filepath.Join(dir, "src"), files)
	if err != nil {
		return err
	}
	// Without the folder in what is compiled, a second build finds it in go's cache.
	m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath", "CGO_ENABLED=0"}
	if arch != "" {
		m.Env = append(m.Env, "GOARCH="+arch)
	}
	if err := m.Build(ctx, ".", out); err != nil {
		return fmt.Errorf("compiling every kernel: %w", err)
	}
	return nil
}
