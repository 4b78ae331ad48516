package main

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
)

var le = binary.LittleEndian

// kernels are the Go form of the PTX texts.
var kernels = map[string]cudatest.Kernel{
	"axpy": func(l *cudatest.Launch) error {
		n := uint64(l.U32(2))
		x, y := l.Mem(l.U64(0), 4*n), l.Mem(l.U64(1), 4*n)
		a := math.Float32frombits(l.U32(3))
		for i := uint64(0); i < 4*n; i += 4 {
			v := fma(a, math.Float32frombits(le.Uint32(x[i:])), math.Float32frombits(le.Uint32(y[i:])))
			le.PutUint32(y[i:], math.Float32bits(v))
		}
		return nil
	},
	"fault": func(*cudatest.Launch) error { return cudatest.ErrFault },
	"chain": func(l *cudatest.Launch) error {
		y := l.Mem(l.U64(0), 4*uint64(l.Block[0]))
		for i := 0; i < len(y); i += 4 {
			le.PutUint32(y[i:], 2*le.Uint32(y[i:])+1)
		}
		return nil
	},
	"cluster": func(l *cudatest.Launch) error {
		n := l.Grid[0] / l.Cluster[0]
		y := l.Mem(l.U64(0), 4*uint64(n))
		for i := 0; i < len(y); i += 4 {
			le.PutUint32(y[i:], le.Uint32(y[i:])+l.Cluster[0]*l.Cluster[0])
		}
		return nil
	},
	"tma": func(l *cudatest.Launch) error {
		m := l.Map(0)
		w, h := uint64(m.Box[0]), uint64(m.Box[1])
		y := l.Mem(l.U64(1), 4*w*h*uint64(l.Grid[0])*uint64(l.Grid[1]))
		for i := range w * h * uint64(l.Grid[0]*l.Grid[1]) {
			box, in := i/(w*h), i%(w*h)
			col, row := box%uint64(l.Grid[0])*w+in%w, box/uint64(l.Grid[0])*h+in/w
			v := uint32(0)
			if col < m.Dims[0] && row < m.Dims[1] {
				v = le.Uint32(l.Mem(m.Addr+row*m.Strides[0]+4*col, 4))
			}
			le.PutUint32(y[4*i:], v)
		}
		return nil
	},
}

// TestSmoke runs the program on the fake driver.
func TestSmoke(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	spec := cudatest.H200
	spec.Memory = 1 << 24
	f := cudatest.New(spec)
	f.Kernels = kernels
	var out strings.Builder
	load := func() (*cuda.System, error) { return cuda.New(f.Driver()) }
	require.NoError(t, run(&out, load, 0, 100, nil), out.String())
	require.Equal(t, 11, strings.Count(out.String(), "\nok    "), out.String())
	require.Zero(t, f.Live())
}

// TestOpenFails: a device that cannot be opened is an error, not a nil device that
// is closed.
func TestOpenFails(t *testing.T) {
	for _, symbol := range []string{"cuInit", "cuDevicePrimaryCtxRetain", "cuModuleLoadDataEx"} {
		for _, code := range []int{1, 700} {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			f := cudatest.New()
			f.Fail(symbol, code)
			var out strings.Builder
			require.Error(t, run(&out, func() (*cuda.System, error) { return cuda.New(f.Driver()) }, 0, 1, nil), symbol)
			require.Zero(t, f.Live())
		}
	}
}
