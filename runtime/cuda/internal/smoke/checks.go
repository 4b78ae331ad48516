package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func axpyLaunch(n uint32, a float32) gpu.Launch {
	return gpu.Launch{
		Grid: [3]uint32{(n + 255) / 256, 1, 1}, Block: [3]uint32{256, 1, 1},
		Args: []gpu.Arg{gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0), gpu.U32Arg(n), gpu.F32Arg(a)},
	}
}

func random(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rand.NormFloat64())
	}
	return v
}

// buffer returns a device copy of a slice.
func buffer[T cuda.Elem](d *cuda.Device, v []T, bytes int64) (*cuda.Buffer, error) {
	b, err := d.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	return b, cuda.Upload(nil, b, v)
}

// fma is float32(a·x + y) with one rounding, but for double rounding on the way
// from float64, which these sizes of test do not need to exclude.
func fma(a, x, y float32) float32 {
	return float32(math.FMA(float64(a), float64(x), float64(y)))
}

func (s *smoke) axpy() error {
	const n = 10_000
	x, y := random(n), random(n)
	bx, errX := buffer(s.dev, x, 4*n)
	by, errY := buffer(s.dev, y, 4*n)
	fn, err := s.mod.Function("axpy")
	if err = errors.Join(errX, errY, err); err != nil {
		return err
	}
	if err := s.dev.Launch(nil, fn, axpyLaunch(n, 0.75), cuda.Buffers{gpu.X: bx, gpu.Y: by}); err != nil {
		return err
	}
	got := make([]float32, n)
	if err := cuda.Download(nil, got, by); err != nil {
		return err
	}
	for i := range got {
		if w := fma(0.75, x[i], y[i]); math.Abs(float64(got[i]-w)) > 1e-6 {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], w)
		}
	}
	fmt.Fprintf(s.out, "      axpy: %d registers, %d bytes local, %d threads at most\n", fn.Registers, fn.LocalBytes, fn.MaxThreads)
	return errors.Join(bx.Free(), by.Free())
}

func (s *smoke) copies() error {
	const n = 1 << 16
	st := s.dev.Stream()
	from, err1 := s.dev.AllocHost(n)
	to, err2 := s.dev.AllocHost(n)
	b, err3 := s.dev.Alloc(n + 16)
	c, err4 := s.dev.Alloc(n + 16)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	for i := range from.Bytes() {
		from.Bytes()[i] = byte(rand.Uint32())
	}
	tail, err := c.Slice(n, 16)
	if err != nil {
		return err
	}
	err = errors.Join(st.Memset32(b, 0xDEADBEEF), st.Upload(b, from), st.Copy(c, b), st.Memset(tail, 7), st.Download(to, c), st.Synchronize())
	if err != nil {
		return err
	}
	if !slices.Equal(from.Bytes(), to.Bytes()) {
		return errors.New("the bytes that came back are others")
	}
	all := make([]uint32, n/4+4)
	if err := cuda.Download(st, all, b); err != nil {
		return err
	}
	if !slices.Equal(all[n/4:], []uint32{0xDEADBEEF, 0xDEADBEEF, 0xDEADBEEF, 0xDEADBEEF}) {
		return fmt.Errorf("the filled tail is %x", all[n/4:])
	}
	return errors.Join(from.Free(), to.Free(), b.Free(), c.Free())
}

// hopper finds a kernel of hopper.ptx.
func (s *smoke) hopper(name string) (*cuda.Function, error) {
	m, err := s.dev.Load(hopperPTX, cuda.LoadOptions{Cache: s.cache, Strict: true})
	if err != nil {
		return nil, err
	}
	return m.Function(name)
}

// tensorMap copies a matrix whose sides are no multiples of the box's, box by box.
func (s *smoke) tensorMap() error {
	const w, h, pitch, bw, bh = 100, 37, 104, 32, 16
	const gw, gh = (w + bw - 1) / bw, (h + bh - 1) / bh
	x := make([]uint32, 4+h*pitch)
	for i := range x {
		x[i] = rand.Uint32()
	}
	bx, err1 := buffer(s.dev, x, int64(4*len(x)))
	by, err2 := s.dev.Alloc(4 * gw * gh * bw * bh)
	fn, err3 := s.hopper("tma")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	l := gpu.Launch{Grid: [3]uint32{gw, gh, 1}, Block: [3]uint32{bw * bh, 1, 1}, Args: []gpu.Arg{
		gpu.MapArg(gpu.TensorMap{DType: gpu.U32, Of: gpu.X, Offset: 16, Dims: []uint64{w, h}, Strides: []uint64{4 * pitch}, Box: []uint32{bw, bh}, L2: gpu.L2Promotion256}),
		gpu.PtrArg(gpu.Y, 0),
	}}
	if err := s.dev.Launch(nil, fn, l, cuda.Buffers{gpu.X: bx, gpu.Y: by}); err != nil {
		return err
	}
	got := make([]uint32, gw*gh*bw*bh)
	if err := cuda.Download(nil, got, by); err != nil {
		return err
	}
	for i, v := range got {
		box, in := i/(bw*bh), i%(bw*bh)
		col, row := box%gw*bw+in%bw, box/gw*bh+in/bw
		want := uint32(0) // outside the tensor
		if col < w && row < h {
			want = x[4+row*pitch+col]
		}
		if v != want {
			return fmt.Errorf("row %d, column %d is %#x, want %#x", row, col, v, want)
		}
	}
	return errors.Join(bx.Free(), by.Free())
}

func (s *smoke) clusters() error {
	fn, err := s.hopper("cluster")
	if err != nil {
		return err
	}
	const n, size = 40, 4
	y, err := buffer(s.dev, make([]uint32, n), 4*n)
	if err != nil {
		return err
	}
	l := gpu.Launch{Grid: [3]uint32{n * size, 1, 1}, Block: [3]uint32{32, 1, 1}, Cluster: [3]uint32{size, 1, 1}, Shared: uint32(fn.SharedMax), Args: []gpu.Arg{gpu.PtrArg(gpu.Y, 0)}}
	resident, err := fn.MaxClusters(l)
	if err != nil {
		return err
	}
	if err := s.dev.Launch(nil, fn, l, cuda.Buffers{gpu.Y: y}); err != nil {
		return err
	}
	got := make([]uint32, n)
	if err := cuda.Download(nil, got, y); err != nil {
		return err
	}
	for i, v := range got {
		if v != size*size {
			return fmt.Errorf("cluster %d counted %d, want %d", i, v, size*size)
		}
	}
	fmt.Fprintf(s.out, "      %d clusters of %d with %d bytes of shared memory are resident\n", resident, size, l.Shared)
	return y.Free()
}

// dependents runs a chain in which each kernel needs its predecessor's result.
func (s *smoke) dependents() error {
	fn, err := s.hopper("chain")
	if err != nil {
		return err
	}
	const n, links = 128, 20
	start := make([]uint32, n)
	for i := range start {
		start[i] = rand.Uint32()
	}
	y, err := buffer(s.dev, start, 4*n)
	if err != nil {
		return err
	}
	l := gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{n, 1, 1}, PDL: true, Args: []gpu.Arg{gpu.PtrArg(gpu.Y, 0)}}
	p, err := s.dev.Prepare(fn, l, cuda.Buffers{gpu.Y: y})
	if err != nil {
		return err
	}
	st := s.dev.Stream()
	work := func() error {
		for range links {
			if err := p.Launch(st); err != nil {
				return err
			}
		}
		return nil
	}
	if err := work(); err != nil {
		return err
	}
	g, err := st.Capture(work)
	if err != nil {
		return err
	}
	got := make([]uint32, n)
	if err := errors.Join(g.Upload(st), g.Launch(st), g.Launch(st), cuda.Download(st, got, y)); err != nil {
		return err
	}
	for i, v := range start {
		for range 3 * links {
			v = 2*v + 1
		}
		if got[i] != v {
			return fmt.Errorf("element %d is %d, want %d", i, got[i], v)
		}
	}
	return errors.Join(g.Close(), y.Free())
}

// twoStreams captures a fork and a join.
func (s *smoke) twoStreams() error {
	const n = 4096
	x, y := random(n), random(n)
	bx, err1 := buffer(s.dev, x, 4*n)
	by, err2 := buffer(s.dev, y, 4*n)
	bz, err3 := buffer(s.dev, y, 4*n)
	fn, err4 := s.mod.Function("axpy")
	a, err5 := s.dev.NewStream()
	b, err6 := s.dev.NewStream()
	fork, err7 := s.dev.NewEvent()
	join, err8 := s.dev.NewEvent()
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
		return err
	}
	g, err := a.Capture(func() error {
		return errors.Join(
			a.Record(fork), b.Wait(fork),
			s.dev.Launch(a, fn, axpyLaunch(n, 2), cuda.Buffers{gpu.X: bx, gpu.Y: by}),
			s.dev.Launch(b, fn, axpyLaunch(n, 3), cuda.Buffers{gpu.X: bx, gpu.Y: bz}),
			b.Record(join), a.Wait(join),
			s.dev.Launch(a, fn, axpyLaunch(n, 1), cuda.Buffers{gpu.X: by, gpu.Y: bz}),
		)
	})
	if err != nil {
		return err
	}
	got := make([]float32, n)
	if err := errors.Join(g.Launch(a), cuda.Download(a, got, bz)); err != nil {
		return err
	}
	for i := range got {
		if w := fma(2, x[i], y[i]) + fma(3, x[i], y[i]); math.Abs(float64(got[i]-w)) > 1e-5 {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], w)
		}
	}
	return errors.Join(g.Close(), a.Close(), b.Close(), fork.Close(), join.Close(), bx.Free(), by.Free(), bz.Free())
}

// goroutines share the device and a prepared launch, each with its own stream and
// memory.
func (s *smoke) goroutines() error {
	fn, err := s.mod.Function("axpy")
	if err != nil {
		return err
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.worker(fn) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *smoke) worker(fn *cuda.Function) error {
	const n, steps = 1000, 200
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	st, err := s.dev.NewStream()
	if err != nil {
		return err
	}
	x, err1 := s.dev.Alloc(4 * n)
	y, err2 := s.dev.Alloc(4 * n)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p, err := s.dev.Prepare(fn, axpyLaunch(n, 1), cuda.Buffers{gpu.X: x, gpu.Y: y})
	if err := errors.Join(err, cuda.Upload(st, x, ones), st.Memset(y, 0)); err != nil {
		return err
	}
	for range steps {
		if err := p.Launch(st); err != nil {
			return err
		}
	}
	got := make([]float32, n)
	if err := cuda.Download(st, got, y); err != nil {
		return err
	}
	for i, v := range got {
		if v != steps {
			return fmt.Errorf("element %d is %v after %d steps", i, v, steps)
		}
	}
	return errors.Join(x.Free(), y.Free(), st.Close())
}

func (s *smoke) errors() error {
	_, oom := s.dev.Alloc(1 << 50)
	_, other := s.dev.Load(strings.Replace(smokePTX, "sm_80", "sm_100a", 1), cuda.LoadOptions{})
	_, newer := s.dev.Load(strings.Replace(smokePTX, ".version 8.0", ".version 19.9", 1), cuda.LoadOptions{NoCache: true})
	_, direct := s.dev.Load(strings.Replace(smokePTX, "mad.lo", "syntax error", 1), cuda.LoadOptions{Compile: cuda.CompileDirect})
	_, linked := s.dev.Load(strings.Replace(smokePTX, "mad.lo", "syntax error", 1), cuda.LoadOptions{NoCache: true})
	_, absent := s.mod.Function("no_such_kernel")
	for _, err := range []error{oom, other, newer, direct, linked, absent} {
		fmt.Fprintf(s.out, "      %s\n", strings.ReplaceAll(fmt.Sprint(err), "\n", "\n      "))
	}
	if absent == nil {
		return errors.New("a kernel that is not there was found")
	}
	return errors.Join(want(oom, cuda.ErrOutOfMemory), want(other, cuda.ErrIncompatible), want(newer, cuda.ErrOldDriver), want(direct, cuda.ErrCompile), want(linked, cuda.ErrCompile), s.axpy())
}

// fault loses CUDA: every call must say so, Close must be quick and quiet, and a
// new Open must not promise what the driver does not keep.
func (s *smoke) fault() error {
	fn, err := s.mod.Function("fault")
	if err != nil {
		return err
	}
	if err := s.dev.Launch(nil, fn, gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{1, 1, 1}}, cuda.Buffers{}); err != nil {
		return err
	}
	err = s.dev.Stream().Synchronize()
	fmt.Fprintf(s.out, "      %v\n", err)
	_, alloc := s.dev.Alloc(16)
	_, known := s.sys.Open(s.dev.Ordinal())
	start := time.Now()
	closed := s.dev.Close()
	took := time.Since(start)
	unknown := s.openAnew()
	fmt.Fprintf(s.out, "      close: %v, error %v\n      open anew: %v\n", took, closed, unknown)
	if closed != nil {
		closed = fmt.Errorf("close: %w", closed)
	}
	if took > time.Second {
		closed = errors.Join(closed, fmt.Errorf("close took %v", took))
	}
	return errors.Join(want(err, cuda.ErrDeviceLost), want(alloc, cuda.ErrDeviceLost), want(known, cuda.ErrDeviceLost), closed, want(unknown, cuda.ErrDeviceLost))
}

// openAnew loads the driver as if nothing had been, and returns what it answers.
func (s *smoke) openAnew() error {
	sys, err := s.load()
	if err != nil {
		return err
	}
	dev, err := sys.Open(s.dev.Ordinal())
	if err != nil {
		return err
	}
	return dev.Close()
}
