package cuda_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func TestBuffers(t *testing.T) {
	f, d := open(t, cudatest.H200, cudatest.H200)
	d1 := openFake(t, f, 1)
	b := alloc(t, d, 100)
	require.EqualValues(t, 100, b.Size())
	v := make([]int16, 50)
	for i := range v {
		v[i] = int16(rand.Uint32())
	}
	require.NoError(t, cuda.Upload(nil, b, v))
	part, err := b.Slice(20, 30)
	require.NoError(t, err)
	require.Equal(t, b.Addr()+20, part.Addr())
	got := make([]int16, 15)
	require.NoError(t, cuda.Download(nil, got, part))
	require.Equal(t, v[10:25], got)
	require.NoError(t, cuda.Upload(nil, part, []byte{}))

	require.ErrorContains(t, cuda.Upload(nil, part, v), "upload 100 bytes: the buffer has 30")
	require.ErrorContains(t, cuda.Download(nil, v, part), "download 100 bytes: the buffer has 30")
	require.ErrorIs(t, cuda.Upload(d1.Stream(), b, v), cuda.ErrWrongDevice)
	require.ErrorContains(t, part.Free(), "free the whole")
	for _, bad := range [][2]int64{{-1, 2}, {0, 0}, {0, 101}, {1, 100}, {100, 1}, {1 << 62, 1 << 62}} {
		_, err := b.Slice(bad[0], bad[1])
		require.ErrorContains(t, err, "of a buffer of 100", bad)
	}
	require.NoError(t, b.Free())
	require.ErrorIs(t, b.Free(), cuda.ErrFreed)
	require.ErrorIs(t, cuda.Upload(nil, part, v[:1]), cuda.ErrFreed)
	require.ErrorIs(t, cuda.Download(nil, v, b), cuda.ErrFreed)
	require.ErrorIs(t, d.Stream().Memset(b, 0), cuda.ErrFreed)

	f.Fail("cuMemcpyHtoDAsync_v2", 1)
	c := alloc(t, d, 10)
	require.ErrorContains(t, cuda.Upload(nil, c, v[:5]), "upload 10 bytes: CUDA_ERROR_INVALID_VALUE")
}

func TestStreamCopies(t *testing.T) {
	f, d := open(t, cudatest.H200, cudatest.H200)
	d1 := openFake(t, f, 1)
	s := d.Stream()
	from, err := d.AllocHost(32)
	require.NoError(t, err)
	to, err := d.AllocHost(40)
	require.NoError(t, err)
	for i := range from.Bytes() {
		from.Bytes()[i] = byte(rand.Uint32())
	}
	a, b := alloc(t, d, 40), alloc(t, d, 40)
	tail, err := b.Slice(36, 4)
	require.NoError(t, err)
	require.NoError(t, errors.Join(s.Memset32(a, 0x04030201), s.Upload(a, from), s.Copy(b, a), s.Memset(tail, 9), s.Download(to, b), s.Synchronize()))
	require.Equal(t, from.Bytes(), to.Bytes()[:32])
	require.Equal(t, []byte{1, 2, 3, 4, 9, 9, 9, 9}, to.Bytes()[32:])

	require.ErrorContains(t, s.Copy(tail, a), "copy 40 bytes: the buffer has 4")
	require.ErrorContains(t, s.Upload(tail, from), "upload 32 bytes: the buffer has 4")
	require.ErrorContains(t, s.Download(to, tail), "download 40 bytes: the buffer has 4")
	part, err := b.Slice(2, 6)
	require.NoError(t, err)
	require.ErrorContains(t, s.Memset32(part, 1), "multiples of 4")
	require.ErrorIs(t, d1.Stream().Memset(a, 1), cuda.ErrWrongDevice)
	require.ErrorIs(t, d1.Stream().Upload(a, from), cuda.ErrWrongDevice)
	require.NoError(t, from.Free())
	require.ErrorIs(t, s.Upload(a, from), cuda.ErrFreed)
	_, err = d.AllocHost(0)
	require.ErrorContains(t, err, "must be positive")
	s2, err := d.NewStream()
	require.NoError(t, err)
	require.NoError(t, s2.Close())
	require.ErrorIs(t, s2.Synchronize(), cuda.ErrClosed)
	require.ErrorIs(t, s2.Memset(a, 1), cuda.ErrClosed)
}

func TestEvents(t *testing.T) {
	f, d := open(t, cudatest.H200, cudatest.H200)
	d1 := openFake(t, f, 1)
	s := d.Stream()
	a, err := d.NewEvent()
	require.NoError(t, err)
	b, err := d.NewEvent()
	require.NoError(t, err)
	_, err = b.Since(a)
	require.Error(t, err)
	x := alloc(t, d, 4)
	require.NoError(t, errors.Join(s.Record(a), s.Memset(x, 1), s.Memset(x, 2), s.Record(b), b.Synchronize()))
	took, err := b.Since(a)
	require.NoError(t, err)
	require.InDelta(t, 2*time.Microsecond, took, float64(10*time.Nanosecond))
	require.ErrorIs(t, d1.Stream().Record(a), cuda.ErrWrongDevice)
	require.ErrorIs(t, d1.Stream().Wait(a), cuda.ErrWrongDevice)
	require.NoError(t, a.Close())
	_, err = b.Since(a)
	require.ErrorIs(t, err, cuda.ErrClosed)
	require.ErrorIs(t, s.Record(a), cuda.ErrClosed)
	f.Fail("cuEventCreate", 2)
	_, err = d.NewEvent()
	require.ErrorIs(t, err, cuda.ErrOutOfMemory)
}

func TestGraph(t *testing.T) {
	f, d := open(t)
	fn := load(t, d, axpyPTX, "axpy")
	const n = 32
	x, y, z := alloc(t, d, 4*n), alloc(t, d, 4*n), alloc(t, d, 4*n)
	vx := random(n)
	require.NoError(t, errors.Join(cuda.Upload(nil, x, vx), d.Stream().Memset(y, 0), d.Stream().Memset(z, 0)))
	s := d.Stream()
	side, err := d.NewStream()
	require.NoError(t, err)
	fork, err := d.NewEvent()
	require.NoError(t, err)
	join, err := d.NewEvent()
	require.NoError(t, err)
	g, err := s.Capture(func() error {
		runtime.Gosched()
		require.ErrorContains(t, cuda.Upload(s, x, vx), "use a HostBuffer")
		require.ErrorContains(t, s.Synchronize(), "its work has not begun")
		_, nested := s.Capture(func() error { return nil })
		require.ErrorContains(t, nested, "captured already")
		return errors.Join(
			s.Record(fork), side.Wait(fork),
			d.Launch(s, fn, axpyLaunch(n, 2), cuda.Buffers{gpu.X: x, gpu.Y: y}),
			d.Launch(side, fn, axpyLaunch(n, 4), cuda.Buffers{gpu.X: x, gpu.Y: z}),
			side.Record(join), s.Wait(join),
		)
	})
	require.NoError(t, err)
	got := make([]float32, n)
	require.NoError(t, cuda.Download(nil, got, y))
	require.Equal(t, make([]float32, n), got, "a capture runs nothing")
	require.NoError(t, errors.Join(g.Upload(s), g.Launch(s), g.Launch(nil)))
	for _, c := range []struct {
		b *cuda.Buffer
		a float32
	}{{y, 2}, {z, 4}} {
		require.NoError(t, cuda.Download(nil, got, c.b))
		for i := range got {
			require.Equal(t, c.a*vx[i]+c.a*vx[i], got[i])
		}
	}
	// The side stream is out of the capture, and what it captured keeps z in mind.
	require.NoError(t, cuda.Upload(side, y, vx))
	require.NoError(t, z.Free())
	require.ErrorIs(t, g.Launch(s), cuda.ErrFreed)
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Launch(s), cuda.ErrClosed)

	live := f.Live()
	boom := errors.New("boom")
	_, err = s.Capture(func() error { return boom })
	require.Equal(t, boom, err)
	require.Panics(t, func() { _, _ = s.Capture(func() error { panic("boom") }) })
	f.Fail("cuGraphInstantiateWithFlags", 1)
	_, err = s.Capture(func() error { return s.Memset(y, 1) })
	require.ErrorContains(t, err, "instantiate a graph")
	require.Equal(t, live, f.Live())
	require.NoError(t, cuda.Upload(s, y, vx), "the stream works again")
}

func TestGraphWithHostBuffer(t *testing.T) {
	_, d := open(t)
	s := d.Stream()
	h, err := d.AllocHost(8)
	require.NoError(t, err)
	b := alloc(t, d, 8)
	g, err := s.Capture(func() error { return s.Upload(b, h) })
	require.NoError(t, err)
	copy(h.Bytes(), "whatever")
	require.NoError(t, g.Launch(s))
	got := make([]byte, 8)
	require.NoError(t, cuda.Download(s, got, b))
	require.Equal(t, "whatever", string(got))
	require.NoError(t, h.Free())
	require.ErrorIs(t, g.Launch(s), cuda.ErrFreed)
}

func TestAdopt(t *testing.T) {
	f, owner := open(t, cudatest.H200, cudatest.Spec{Name: "Second", CC: [2]int{9, 0}, SMs: 1, SharedMax: 1 << 16, Memory: 1 << 12})
	second := openFake(t, f, 1)
	s, err := cuda.New(f.Driver())
	require.NoError(t, err)
	d, err := s.Adopt(second.Context())
	require.NoError(t, err)
	require.Equal(t, 1, d.Ordinal())
	theirs := alloc(t, second, 16)
	ours, err := d.AdoptBuffer(theirs.Addr(), 16)
	require.NoError(t, err)
	require.NoError(t, cuda.Upload(nil, ours, []byte("sixteen bytes...")))
	require.NoError(t, ours.Free())
	require.ErrorIs(t, ours.Free(), cuda.ErrFreed)
	got := make([]byte, 16)
	require.NoError(t, cuda.Download(nil, got, theirs))
	require.Equal(t, "sixteen bytes...", string(got))

	m, err := second.Load(axpyPTX, cuda.LoadOptions{})
	require.NoError(t, err)
	mod, err := d.AdoptModule(m.Handle())
	require.NoError(t, err)
	fn, err := mod.Function("axpy")
	require.NoError(t, err)
	require.Equal(t, "axpy", fn.Name())
	require.NotZero(t, fn.Handle())
	require.NotZero(t, d.Stream().Handle())
	require.NoError(t, d.Close())
	_, err = m.Function("axpy")
	require.NoError(t, err, "the context and the module are still the owner's")

	_, err = s.Adopt(0)
	require.ErrorContains(t, err, "it is nil")
	_, err = s.Adopt(12345)
	require.ErrorContains(t, err, "CUDA_ERROR_INVALID_CONTEXT")
	_, err = owner.AdoptBuffer(0, 1)
	require.ErrorContains(t, err, "no memory")
	_, err = owner.AdoptModule(0)
	require.ErrorContains(t, err, "it is nil")
}
