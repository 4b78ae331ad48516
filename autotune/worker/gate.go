package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/guard"
	"github.com/sparsegen/sparsegen/runtime"
)

// gate runs a candidate with its kernels and with those in Go. Every bit has to
// be the same, and no access may leave the arguments: they end at a page without
// access in one run, and begin behind one in another.
func (s *server) gate(g *Gate, f File) Result {
	fail := func(err error) Result { return Result{ID: f.ID, Err: err.Error()} }
	isa, err := runtime.ParseISA(g.ISA)
	if err != nil {
		return fail(err)
	}
	m, err := runtime.Open(f.Path, s.kernels)
	if err != nil {
		return fail(err)
	}
	l := m.Layers()[0]
	for _, batch := range g.Batches {
		if batch < l.BatchMin || batch > l.BatchMax {
			continue
		}
		if err := compare(m, l, batch, isa); err != nil {
			return fail(errors.Join(fmt.Errorf("batch %d: %w", batch, err), m.Close()))
		}
	}
	if err := m.Close(); err != nil {
		return fail(err)
	}
	return Result{ID: f.ID}
}

func compare(m *runtime.Model, l runtime.Layer, batch int, isa runtime.ISA) error {
	native, err := m.NewSession(l.Name, runtime.MaxBatch(batch), runtime.WithISA(isa), runtime.Threads(1))
	if err != nil {
		return err
	}
	defer native.Close()
	plain, err := m.NewSession(l.Name, runtime.MaxBatch(batch), runtime.WithISA(runtime.Generic), runtime.Threads(1))
	if err != nil {
		return err
	}
	defer plain.Close()
	var in, want [][]float32
	for _, t := range l.Inputs {
		x := make([]float32, elements(t, batch))
		fill(x)
		in = append(in, x)
	}
	for _, t := range l.Outputs {
		want = append(want, make([]float32, elements(t, batch)))
	}
	ctx := context.Background()
	if err := plain.Run(ctx, in, want); err != nil {
		return err
	}
	for _, atStart := range []bool{false, true} {
		if err := compareGuarded(ctx, native, in, want, atStart); err != nil {
			return err
		}
	}
	return nil
}

// compareGuarded runs on copies of in between guard pages and compares the result
// with want.
func compareGuarded(ctx context.Context, s *runtime.Session, in, want [][]float32, atStart bool) error {
	guarded := func(xs [][]float32) (gs [][]float32, free func(), err error) {
		var all []guard.Memory
		free = func() {
			for _, m := range all {
				m.Free()
			}
		}
		for _, x := range xs {
			m, err := guard.New(4*len(x), 4, atStart)
			if err != nil {
				free()
				return nil, nil, err
			}
			all = append(all, m)
			g := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), len(x))
			gs = append(gs, g)
		}
		return gs, free, nil
	}
	x, freeX, err := guarded(in)
	if err != nil {
		return err
	}
	defer freeX()
	y, freeY, err := guarded(want)
	if err != nil {
		return err
	}
	defer freeY()
	for i := range in {
		copy(x[i], in[i])
	}
	if err := s.Run(ctx, x, y); err != nil {
		return err
	}
	for i := range want {
		for j := range want[i] {
			if math.Float32bits(y[i][j]) != math.Float32bits(want[i][j]) {
				return fmt.Errorf("output %d, element %d is %v where the kernels in Go give %v", i, j, y[i][j], want[i][j])
			}
		}
	}
	return nil
}
