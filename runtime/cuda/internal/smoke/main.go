// Command smoke tries package cuda on a real GPU: what the fake driver of the
// tests cannot tell. It checks results and errors, compares the ways to compile,
// times launches, and at last faults. Further PTX files may be named:
//
//	CGO_ENABLED=0 go build ./runtime/cuda/internal/smoke
//	CUDA_CACHE_DISABLE=1 ./smoke [-device 0] [file.ptx ...]
//
// It exits with 1 if a check fails. It is a program of the tests and must import
// nothing but packages cuda and gpu.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

//go:embed smoke.ptx
var smokePTX string

//go:embed hopper.ptx
var hopperPTX string

func main() {
	ordinal := flag.Int("device", 0, "number of the device")
	flag.Parse()
	if err := run(os.Stdout, cuda.Load, *ordinal, 2000, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// smoke is one run on one device.
type smoke struct {
	out   io.Writer
	load  func() (*cuda.System, error)
	sys   *cuda.System
	dev   *cuda.Device
	info  gpu.Device
	reps  int
	files []string
	cache *cuda.Cache
	mod   *cuda.Module // smoke.ptx
}

func run(out io.Writer, load func() (*cuda.System, error), ordinal, reps int, files []string) error {
	dir, err := os.MkdirTemp("", "smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &smoke{out: out, load: load, reps: reps, files: files, cache: cuda.NewCache(dir)}
	if err := s.open(ordinal); err != nil {
		return err
	}
	defer s.dev.Close()
	checks := []struct {
		name   string
		hopper bool
		run    func() error
	}{
		{"kernel and copies", false, s.axpy},
		{"page-locked copies and fills", false, s.copies},
		{"tensor map", true, s.tensorMap},
		{"clusters", true, s.clusters},
		{"dependent launches, plain and in a graph", true, s.dependents},
		{"graph over two streams", false, s.twoStreams},
		{"many goroutines", false, s.goroutines},
		{"errors", false, s.errors},
		{"compile", false, s.compile},
		{"launch times", false, s.times},
		{"fault", false, s.fault}, // the last, since it ends CUDA for the process
	}
	failed := 0
	for _, c := range checks {
		if c.hopper && !s.info.AtLeast(9, 0) {
			fmt.Fprintf(out, "skip  %s: needs compute capability 9.0\n", c.name)
			continue
		}
		if err := c.run(); err != nil {
			fmt.Fprintf(out, "FAIL  %s: %v\n", c.name, err)
			failed++
			continue
		}
		fmt.Fprintf(out, "ok    %s\n", c.name)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

func (s *smoke) open(ordinal int) (err error) {
	if s.sys, err = s.load(); err != nil {
		return err
	}
	if s.dev, err = s.sys.Open(ordinal); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.dev.Close())
		}
	}()
	if s.info, err = s.dev.Info(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%+v\n", s.info)
	s.mod, err = s.dev.Load(smokePTX, cuda.LoadOptions{Cache: s.cache})
	return err
}

// want is an error unless err is target.
func want(err, target error) error {
	if !errors.Is(err, target) {
		return fmt.Errorf("want %q, got %w", target, errors.Join(err))
	}
	return nil
}
