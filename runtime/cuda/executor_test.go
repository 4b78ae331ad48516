package cuda_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// BenchmarkExecutor compares the two ways to make calls on a pinned thread: to
// pin the caller for each call, as the package does, and to send each call to a
// goroutine that owns a thread.
func BenchmarkExecutor(b *testing.B) {
	calls := 0
	call := func() { calls++ }
	b.Run("pin the caller", func(b *testing.B) {
		for b.Loop() {
			runtime.LockOSThread()
			call()
			runtime.UnlockOSThread()
		}
	})
	b.Run("a thread of its own", func(b *testing.B) {
		work, done := make(chan func()), make(chan struct{})
		go func() {
			runtime.LockOSThread()
			for f := range work {
				f()
				done <- struct{}{}
			}
		}()
		defer close(work)
		for b.Loop() {
			work <- call
			<-done
		}
	})
}

// BenchmarkLaunch is what the package adds to the driver's own time of a launch,
// but for the two calls from Go to C, which the fake driver does not need.
func BenchmarkLaunch(b *testing.B) {
	f, d := open(b)
	f.Record = false
	delete(f.Kernels, "axpy")
	fn := load(b, d, axpyPTX, "axpy")
	x := alloc(b, d, 64)
	p, err := d.Prepare(fn, axpyLaunch(4, 1), cuda.Buffers{gpu.X: x, gpu.Y: x})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Launch(nil); err != nil {
			b.Fatal(err)
		}
	}
}
