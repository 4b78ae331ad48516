package cuda_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// program uses most of the package and returns its first error.
func program(f *cudatest.Fake) (err error) {
	s, err := cuda.New(f.Driver())
	if err != nil {
		return err
	}
	d, err := s.Open(0)
	if err != nil {
		return err
	}
	defer func() {
		// A second error at the end matters only if there was none.
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := d.Info(); err != nil {
		return err
	}
	if _, _, err := d.MemInfo(); err != nil {
		return err
	}
	for _, o := range []cuda.LoadOptions{{Compile: cuda.CompileDirect}, {NoCache: true}} {
		m, err := d.Load(axpyPTX, o)
		if err != nil {
			return err
		}
		if err := use(d, m); err != nil {
			return err
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	return d.Synchronize()
}

func use(d *cuda.Device, m *cuda.Module) error {
	axpy, err1 := m.Function("axpy")
	tma, err2 := m.Function("tma")
	b, err3 := d.Alloc(64)
	h, err4 := d.AllocHost(64)
	s, err5 := d.NewStream()
	e, err6 := d.NewEvent()
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	p, err1 := d.Prepare(axpy, axpyLaunch(16, 1), cuda.Buffers{gpu.X: b, gpu.Y: b})
	q, err2 := d.Prepare(tma, gpu.Launch{
		Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{1, 1, 1},
		Args: []gpu.Arg{gpu.MapArg(gpu.TensorMap{DType: gpu.F32, Of: gpu.X, Dims: []uint64{16}, Box: []uint32{16}}), gpu.PtrArg(gpu.Y, 0)},
	}, cuda.Buffers{gpu.X: b, gpu.Y: b})
	_, err3 = axpy.BlocksPerSM(axpyLaunch(1, 1))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	g, err := s.Capture(func() error {
		return errors.Join(s.Memset(b, 1), s.Copy(b, b), p.Launch(s), q.Launch(s), s.Upload(b, h))
	})
	if err != nil {
		return err
	}
	got := make([]byte, 64)
	return errors.Join(
		s.Memset32(b, 1), s.Record(e), s.Wait(e), e.Synchronize(), p.Launch(s), g.Upload(s), g.Launch(s), s.Download(h, b), s.Synchronize(),
		cuda.Upload(s, b, got), cuda.Download(s, got, b),
		g.Close(), e.Close(), s.Close(), h.Free(), b.Free(),
	)
}

// TestEveryCallFails lets each call of the driver fail in turn, once with an error
// of its own and once with one that ends the context: the error must come back, and
// nothing may hang or be left.
func TestEveryCallFails(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	newFake := func() *cudatest.Fake {
		f := cudatest.New()
		f.Kernels["axpy"] = axpy
		return f
	}
	f := newFake()
	require.NoError(t, program(f)) // also fills the cache for Info
	f = newFake()
	require.NoError(t, program(f))
	calls := f.Calls()
	require.Greater(t, len(calls), 200)
	// What is destroyed without asking whether it worked, and the end of a list.
	ignored := []string{"cuLinkDestroy", "cuFuncGetParamInfo"}
	// A cubin of the cache that the driver refuses is compiled again.
	cached := slices.Index(calls, "cuModuleLoadDataEx")
	for n, symbol := range calls {
		for _, code := range []int{1, 719} {
			f := newFake()
			f.FailCall(n, code)
			err := program(f)
			switch {
			case slices.Contains(ignored, symbol) && err == nil:
			case n == cached && code == 1:
				require.NoError(t, err)
			default:
				require.Error(t, err, "call %d, %s, result %d", n, symbol, code)
				require.NotErrorIs(t, err, cuda.ErrClosed)
			}
			if symbol != "cuDevicePrimaryCtxRelease_v2" {
				require.Zero(t, f.Live(), "call %d, %s, result %d: %v", n, symbol, code, err)
			}
		}
	}
}
