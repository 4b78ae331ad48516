package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var entryName = regexp.MustCompile(`\.entry\s+([\w$]+)`)

// compile compares the ways from text to code: times, registers and warnings.
// CUDA_CACHE_DISABLE=1 keeps the driver's own cache out of the direct way.
func (s *smoke) compile() error {
	texts := map[string]string{"smoke.ptx": smokePTX}
	names := []string{"smoke.ptx"}
	for _, f := range s.files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		names = append(names, filepath.Base(f))
		texts[filepath.Base(f)] = string(data)
	}
	if os.Getenv("CUDA_CACHE_DISABLE") != "1" {
		fmt.Fprintln(s.out, "      (the driver's cache is on: CUDA_CACHE_DISABLE=1 gives cold times)")
	}
	dir, err := os.MkdirTemp("", "smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh := cuda.NewCache(dir)
	var errs []error
	for _, name := range names {
		for _, way := range []struct {
			name string
			o    cuda.LoadOptions
		}{
			{"direct", cuda.LoadOptions{Compile: cuda.CompileDirect}},
			{"direct again", cuda.LoadOptions{Compile: cuda.CompileDirect}},
			{"link", cuda.LoadOptions{Compile: cuda.CompileLink, Cache: fresh}},
			{"cache", cuda.LoadOptions{Compile: cuda.CompileLink, Cache: fresh}},
			{"auto", cuda.LoadOptions{Cache: fresh}},
		} {
			if err := s.compileOne(name, texts[name], way.name, way.o); err != nil {
				errs = append(errs, fmt.Errorf("%s, %s: %w", name, way.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *smoke) compileOne(name, text, way string, o cuda.LoadOptions) error {
	m, err := s.dev.Load(text, o)
	if err != nil {
		return err
	}
	defer m.Close()
	if way == "cache" && !m.Cached {
		return errors.New("the cache has nothing")
	}
	fmt.Fprintf(s.out, "      %-24s %-12s %9.3f ms by %v, %d bytes of log, warnings %v\n", name, way, float64(m.Took.Microseconds())/1e3, m.Way, len(m.Log), m.Warnings)
	for _, e := range entryName.FindAllStringSubmatch(text, -1) {
		fn, err := m.Function(e[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "        %-40s %3d registers, %d bytes local, %d bytes static shared\n", e[1], fn.Registers, fn.LocalBytes, fn.SharedBytes)
	}
	return m.CacheErr
}

// times measures what a launch costs the host, and its allocations.
func (s *smoke) times() error {
	fn, err := s.mod.Function("axpy")
	if err != nil {
		return err
	}
	x, err1 := s.dev.Alloc(1024)
	empty, err2 := s.mod.Function("empty")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p, err1 := s.dev.Prepare(fn, axpyLaunch(1, 0), cuda.Buffers{gpu.X: x, gpu.Y: x})
	q, err2 := s.dev.Prepare(empty, gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}}, cuda.Buffers{})
	st := s.dev.Stream()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	graphs := map[int]*cuda.Graph{1: nil, 100: nil}
	for n := range graphs {
		graphs[n], err = st.Capture(func() error {
			for range n {
				if err := q.Launch(st); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		defer graphs[n].Close()
	}
	e, err := s.dev.NewEvent()
	if err != nil {
		return err
	}
	defer e.Close()
	return errors.Join(
		s.time("launch, no parameters", func() error { return q.Launch(st) }),
		s.time("launch, four parameters", func() error { return p.Launch(st) }),
		s.time("launch and wait", func() error { return errors.Join(q.Launch(st), st.Synchronize()) }),
		s.time("graph of 1 kernel", func() error { return graphs[1].Launch(st) }),
		s.time("graph of 100 kernels", func() error { return graphs[100].Launch(st) }),
		s.time("record an event", func() error { return st.Record(e) }),
		x.Free(),
	)
}

// time prints the median over batches of the host's time a call. Between batches
// the stream is drained, so that a full queue does not count.
func (s *smoke) time(what string, f func() error) error {
	const batch = 50
	var best []time.Duration
	var before, after runtime.MemStats
	allocs := uint64(0)
	for range max(1, s.reps/batch) {
		runtime.ReadMemStats(&before)
		start := time.Now()
		for range batch {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		best = append(best, time.Since(start)/batch)
		runtime.ReadMemStats(&after)
		allocs += after.Mallocs - before.Mallocs
		if err := s.dev.Synchronize(); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "      %-24s %7.2f us, %.2f allocations\n", what, float64(median(best).Nanoseconds())/1e3, float64(allocs)/float64(len(best)*batch))
	return nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
