// Package damagetest runs packed models that are damaged. A file whose bytes are
// changed must not open, or must give a model whose sessions run: to other
// numbers perhaps, but without touching memory that is not theirs, and to the
// same bits on every instruction set level.
//
// What a model's kernels read from its file, the scratch memory they work in, and
// the inputs and outputs lie between pages that cannot be accessed.
//
// It must not import ir, codegen, asm or ptx.
package damagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/guard"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// Checker opens and runs models that are given as bytes.
type Checker struct {
	sets  []runtime.Set
	isas  []runtime.ISA
	pages pages
	x     []float32

	// Opened and Ran count the files that opened and the runs of their layers.
	Opened, Ran int
}

// New is a checker of models for kernels in sets. Close frees its memory.
func New(sets ...runtime.Set) *Checker {
	c := &Checker{sets: sets}
	for isa := runtime.Generic; isa <= runtime.SVE; isa++ {
		if isa.Available() {
			c.isas = append(c.isas, isa)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	c.x = make([]float32, mostElements)
	for i := range c.x {
		c.x[i] = float32(rng.NormFloat64())
	}
	return c
}

// Close frees what the checker holds.
func (c *Checker) Close() { c.pages.free() }

// mostElements bounds the inputs and outputs of the runs that Check makes; a
// damaged file may ask for any size.
const mostElements = 1 << 14

// Check opens the file and, if it opens, runs all of its layers at a few batches
// on every level, with so many threads. The error says what went wrong, but for
// that the file does not open, which is as it should be.
func (c *Checker) Check(data []byte, threads int) (err error) {
	const name = "damaged.sgp"
	// A copy, at an address that suits float32 and no more.
	held := make([]float32, len(data)/4+2)
	moved := unsafe.Slice((*byte)(unsafe.Pointer(&held[1])), len(data))
	copy(moved, data)
	m, err := runtime.OpenBytes(name, moved, c.sets...)
	if err != nil {
		return named(err, name)
	}
	c.Opened++
	defer func() { err = errors.Join(err, m.Close()) }()
	c.pages.reset()
	kept, err := c.pages.guardModel(modelOf(m))
	if err != nil {
		return err
	}
	for _, l := range m.Layers() {
		if err := c.runLayer(m, l, threads); err != nil {
			return fmt.Errorf("layer %q: %w", l.Name, err)
		}
	}
	for _, k := range kept {
		if !bytes.Equal(k.guarded, k.original) {
			return errors.New("a run has written to the model's memory")
		}
	}
	return nil
}

// named wants an error of Open to name the file.
func named(err error, path string) error {
	if text := err.Error(); !bytes.Contains([]byte(text), []byte(path)) || len(text) > 1<<14 {
		return fmt.Errorf("an error of Open that does not say which file, or says far too much: %w", err)
	}
	return nil
}

func (c *Checker) runLayer(m *runtime.Model, l runtime.Layer, threads int) error {
	if l.Target != "" {
		return nil // opened; it takes a GPU to run
	}
	features := 0
	for _, t := range slices.Concat(l.Inputs, l.Outputs) {
		n := 1
		for _, d := range t.Dims {
			n *= max(1, d)
		}
		features = max(features, n)
	}
	most := min(l.BatchMax, mostElements/features)
	var batches []int
	for _, b := range []int{l.BatchMin, most} {
		if b <= most && !slices.Contains(batches, b) {
			batches = append(batches, b)
		}
	}
	if len(batches) == 0 {
		return nil
	}
	want := map[int][][]float32{}
	for _, isa := range c.isas {
		s, err := m.NewSession(l.Name, runtime.WithISA(isa), runtime.Threads(threads), runtime.MaxBatch(most))
		if err != nil {
			return fmt.Errorf("%v: %w", isa, err)
		}
		err = c.runSession(s, l, batches, want)
		if err := errors.Join(err, s.Close()); err != nil {
			return fmt.Errorf("%v: %w", isa, err)
		}
	}
	return nil
}

func (c *Checker) runSession(s *runtime.Session, l runtime.Layer, batches []int, want map[int][][]float32) error {
	mark := c.pages.used
	defer func() { c.pages.used = mark }()
	scratch := scratchOf(s)
	guarded, err := place[float32](&c.pages, len(*scratch), 64)
	if err != nil {
		return err
	}
	*scratch = guarded
	for _, batch := range batches {
		in, err := c.tensors(l.Inputs, batch)
		if err != nil {
			return err
		}
		for i, x := range in {
			copy(x, c.x[i:])
		}
		out, err := c.tensors(l.Outputs, batch)
		if err != nil {
			return err
		}
		for _, y := range out {
			for i := range y {
				y[i] = float32(math.NaN()) // what is not written shows on one level only, or in both
			}
		}
		if err := s.Run(context.Background(), in, out); err != nil {
			return fmt.Errorf("batch %d: %w", batch, err)
		}
		c.Ran++
		for i, x := range in {
			if !same(x, c.x[i:][:len(x)]) {
				return fmt.Errorf("batch %d: the run has written to input %d", batch, i)
			}
		}
		if first := want[batch]; first != nil {
			for i, y := range out {
				if !same(y, first[i]) {
					return fmt.Errorf("batch %d: output %d differs from that of another level", batch, i)
				}
			}
			continue
		}
		for _, y := range out {
			want[batch] = append(want[batch], slices.Clone(y))
		}
	}
	return nil
}

// same reports whether a and b have the same bits; any NaN is like any other.
func same(a, b []float32) bool {
	for i, v := range a {
		if w := b[i]; math.Float32bits(v) != math.Float32bits(w) && !(v != v && w != w) {
			return false
		}
	}
	return true
}

func (c *Checker) tensors(ts []runtime.Tensor, batch int) ([][]float32, error) {
	var all [][]float32
	for _, t := range ts {
		n := batch
		for _, d := range t.Dims {
			n *= max(1, d)
		}
		s, err := place[float32](&c.pages, n, 4)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// modelOf is the model behind an open file, as sessions find it.
func modelOf(m *runtime.Model) *sgp.Model {
	return (*(**sgp.File)(field(m, "file"))).Model
}

// scratchOf is the memory that a session's kernels work in.
func scratchOf(s *runtime.Session) *[]float32 {
	return (*[]float32)(field(s, "control", "scratch"))
}

// field points to a field of a struct that is not exported: tests of the file
// format are no reason for runtime to offer it.
func field(of any, path ...string) unsafe.Pointer {
	v := reflect.ValueOf(of).Elem()
	for _, name := range path {
		v = v.FieldByName(name)
	}
	return v.Addr().UnsafePointer()
}

// pages is guarded memory that is used again and again.
type pages struct {
	slots []guard.Memory
	used  int
	flip  bool // the next argument adjoins the page before it, not the one after
}

func (p *pages) reset() { p.used = 0 }

func (p *pages) free() {
	for _, s := range p.slots {
		s.Free()
	}
	p.slots = nil
}

// place gives n elements of guarded memory that may hold anything.
func place[T any](p *pages, n, align int) ([]T, error) {
	var t T
	size := n * int(unsafe.Sizeof(t))
	const least = 1 << 16
	if p.used < len(p.slots) && len(p.slots[p.used].Around) < size+align {
		p.slots[p.used].Free()
		p.slots = slices.Delete(p.slots, p.used, p.used+1)
	}
	if p.used >= len(p.slots) || len(p.slots[p.used].Around) < size+align {
		m, err := guard.New(max(2*(size+align), least), align, false)
		if err != nil {
			return nil, err
		}
		p.slots = slices.Insert(p.slots, p.used, m)
	}
	room := p.slots[p.used].Around // from a page's first byte to a page's last
	p.used++
	at := 0
	if p.flip = !p.flip; p.flip {
		at = (len(room) - size) &^ (align - 1)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(room[at:]))), n), nil
}

// moved is a section and its copy in guarded memory.
type moved struct{ original, guarded []byte }

// guardModel moves all that kernels read to guarded memory.
func (p *pages) guardModel(m *sgp.Model) (kept []moved, err error) {
	for i := range m.Layers {
		for j := range m.Layers[i].Ops {
			op := &m.Layers[i].Ops[j]
			move(p, &op.Gain, &kept, &err)
			move(p, &op.Bias, &kept, &err)
			if op.Linear == nil {
				continue
			}
			move(p, &op.Linear.Bias, &kept, &err)
			for k := range op.Linear.Variants {
				v := &op.Linear.Variants[k]
				if f := v.Panel; f != nil {
					move(p, &f.Cols, &kept, &err)
					for n := range f.Segments {
						s := &f.Segments[n]
						move(p, &s.Rows, &kept, &err)
						move(p, &s.W, &kept, &err)
						move(p, &s.Idx, &kept, &err)
						move(p, &s.Runs, &kept, &err)
					}
				}
				if f := v.Lanes; f != nil {
					move(p, &f.Cols, &kept, &err)
					move(p, &f.Rows, &kept, &err)
					move(p, &f.W, &kept, &err)
					move(p, &f.Meta, &kept, &err)
					move(p, &f.Cnt, &kept, &err)
				}
			}
		}
	}
	return kept, err
}

func move[T any](p *pages, s *[]T, kept *[]moved, err *error) {
	if len(*s) == 0 || *err != nil {
		return
	}
	var g []T
	// Bytes may be read as words of four; their number then is a multiple of it.
	if g, *err = place[T](p, len(*s), int(unsafe.Sizeof((*s)[0]))); *err != nil {
		return
	}
	copy(g, *s)
	var t T
	as := func(s []T) []byte {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
	}
	*kept = append(*kept, moved{as(*s), as(g)})
	*s = g
}

// Files reads the packed models in dir.
func Files(t testing.TB, dir string) [][]byte {
	names, err := filepath.Glob(filepath.Join(dir, "*.sgp"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no packed model in %s (%v)", dir, err)
	}
	slices.Sort(names)
	var all [][]byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}
