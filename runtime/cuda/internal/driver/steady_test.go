//go:build linux && (amd64 || arm64) && !race

package driver

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestSteadyState checks that the direct calls do not allocate. (Under the race
// detector a sync.Pool forgets at random.)
func TestSteadyState(t *testing.T) {
	d, err := Open(buildStub(t))
	require.NoError(t, err)
	x := int32(1)
	params := []unsafe.Pointer{unsafe.Pointer(&x), unsafe.Pointer(&x)}
	config := &LaunchConfig{}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		d.CtxSetCurrent(1)
		d.LaunchKernel(config, 1, &params[0], nil)
		d.GraphLaunch(1, 2)
		d.EventRecord(1, 2)
		d.StreamWaitEvent(1, 2, 0)
		d.StreamSynchronize(1)
	}))
}

// BenchmarkCall is the way from Go to C and back, of which a launch has two.
func BenchmarkCall(b *testing.B) {
	d, err := Open(buildStub(b, "-DQUIET"))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		d.CtxSetCurrent(1)
	}
}
