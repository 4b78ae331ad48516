package tool

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

//go:embed program/*.go.txt
var programText embed.FS

// program is a model that is packed and compiled into a program with its
// kernels, in a folder of its own, which close removes.
type program struct {
	*model
	isa     runtime.ISA // planned for, and the cap where one was asked for
	reports []packReport

	dir, binary, packed string
}

// job is what a program does; program/main.go.txt has the same type.
type job struct {
	Model, Dense string
	ISA          string
	Layer        string
	In, Out      []string
	Timings      []timing
	Time         time.Duration
}

type timing struct {
	Layer string
	Batch int
}

// result is what a program reports for one timing.
type result struct {
	timing
	Clock               string
	Sparse, Dense       float64
	SparseIQR, DenseIQR float64
	Blocks              int
}

// compile packs a model for an instruction set, "" for this machine's best, and
// builds its program: one step of p a layer, and one more.
func compile(ctx context.Context, p *progress, m *model, isa string) (*program, error) {
	prog := &program{model: m}
	var err error
	if prog.isa, err = planLevel(m.Module, isa); err != nil {
		return nil, err
	}
	packed, reports, err := packModel(ctx, p, m, codegen.PackOptions{Core: m.tuned.core(prog.isa), Prune: m.prune})
	if err != nil {
		return nil, err
	}
	prog.reports = reports
	p.step("compile")
	files, err := programFiles(m)
	if err != nil {
		return nil, err
	}
	if prog.dir, err = os.MkdirTemp("", "sparsegen-*"); err != nil {
		return nil, err
	}
	prog.binary = prog.path("program")
	if err = prog.build(ctx, files); err == nil {
		prog.packed, err = prog.write("model.sgp", packed)
	}
	if err != nil {
		return nil, errors.Join(err, prog.close())
	}
	return prog, nil
}

// programFiles is the program's source: the generated package beside a fixed
// main package.
func programFiles(m *model) (map[string][]byte, error) {
	generated, err := kernelFiles(m.Module, m.tuned, codegen.EmitOptions{Package: "kernels", Spec: filepath.Base(m.path)})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range generated {
		files["kernels/"+f.Name] = f.Data
	}
	texts, err := programText.ReadDir("program")
	if err != nil {
		return nil, err
	}
	for _, e := range texts {
		text, err := programText.ReadFile("program/" + e.Name())
		if err != nil {
			return nil, err
		}
		files[strings.TrimSuffix(e.Name(), ".txt")] = text
	}
	return files, nil
}

func (p *program) build(ctx context.Context, files map[string][]byte) error {
	built, err := gobuild.New(ctx, p.path("src"), files)
	if err != nil {
		return err
	}
	return built.Build(ctx, ".", p.binary)
}

func (p *program) close() error { return os.RemoveAll(p.dir) }

func (p *program) path(name string) string { return filepath.Join(p.dir, name) }

// write puts a packed model into the program's folder.
func (p *program) write(name string, m *sgp.Model) (path string, err error) {
	path = p.path(name)
	return path, sgp.WriteFile(path, m)
}

// do runs the program on a job and hands over each line that it prints.
func (p *program) do(ctx context.Context, j job, each func(line []byte) error) error {
	in, err := json.Marshal(j)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	out := &lineWriter{each: each}
	cmd := exec.CommandContext(ctx, p.binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if msg := strings.TrimSpace(stderr.String()); msg != "" {
			return fmt.Errorf("the compiled program: %s", msg)
		}
		return fmt.Errorf("the compiled program: %w", err)
	}
	return nil
}

// lineWriter calls each for every whole line written to it.
type lineWriter struct {
	rest []byte
	each func(line []byte) error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := w.each(line); err != nil {
			return 0, err
		}
		w.rest = rest
	}
}
