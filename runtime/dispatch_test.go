package runtime

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// idleKernel is a kernel of LanesDense's shape that does nothing, so that a run
// of it is all dispatch.
func idleKernel(*float32, uintptr, *float32, uintptr, *float32, *byte, *uint32, int, *float32, float32, float32, int) {
}

// dispatchSession runs one linear layer, 16 to 8, of f.
func dispatchSession(t testing.TB, f LanesFunc) *Session {
	d := randomDense(rand.New(rand.NewPCG(7, 8)), 8, 16, 1)
	lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
	m := openModel(t, linearLayer(lin, false, 8), Set{Kernels: []Kernel{{Key: KernelKey{Op: LanesDense, S: 8, NB: 1}, Fn: f}}})
	s, err := m.NewSession("l")
	require.NoError(t, err)
	return s
}

// BenchmarkDispatch measures what Session.Run of one linear layer at batch 1
// costs beyond the kernel. The kernel does nothing. Blocks of a thousand runs
// alternate with blocks of a thousand calls of the same func value with the
// arguments that Run gives it, so that both see the same machine; one iteration
// is a block of each. Reported are the medians over blocks of a run
// (run-ns/op), of a call (call-ns/op) and of their difference in each pair of
// blocks (dispatch-ns/op). The medians leave out blocks in which the machine
// did something else; allocs/op are those of a thousand runs.
//
//	go test -run '^$' -bench Dispatch -benchmem -count 10 ./runtime
func BenchmarkDispatch(b *testing.B) {
	for _, c := range []struct {
		name string
		ctx  context.Context
	}{{"background", context.Background()}, {"cancellable", b.Context()}} {
		b.Run(c.name, func(b *testing.B) {
			var args struct {
				y, x     *float32
				ldy, ldx uintptr
				w        *float32
				meta     *byte
				cnt      *uint32
				k        int
				bias     *float32
				lo, hi   float32
				n        int
			}
			seen := 0
			s := dispatchSession(b, func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, meta *byte, cnt *uint32, k int, bias *float32, lo, hi float32, n int) {
				args.y, args.ldy, args.x, args.ldx, args.w, args.meta, args.cnt = y, ldy, x, ldx, w, meta, cnt
				args.k, args.bias, args.lo, args.hi, args.n = k, bias, lo, hi, n
				seen++
			})
			in, out := [][]float32{make([]float32, 16)}, [][]float32{make([]float32, 8)}
			require.NoError(b, s.Run(c.ctx, in, out))
			require.Equal(b, 1, seen, "kernel calls a run")
			require.Same(b, &out[0][0], args.y)

			s = dispatchSession(b, idleKernel)
			f := s.steps[0].op.(variants)[0].op.(*lanesLinear).kernels[0].f
			const block = 1000
			const most = 1 << 16
			runs, calls, differences := make([]float64, 0, most), make([]float64, 0, most), make([]float64, 0, most)
			nsPerOp := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / block }
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				for range block {
					if err := s.Run(c.ctx, in, out); err != nil {
						b.Fatal(err)
					}
				}
				run := time.Now()
				for range block {
					f(args.y, args.ldy, args.x, args.ldx, args.w, args.meta, args.cnt, args.k, args.bias, args.lo, args.hi, args.n)
				}
				end := time.Now()
				if len(runs) == most {
					continue
				}
				runs = append(runs, nsPerOp(run.Sub(start)))
				calls = append(calls, nsPerOp(end.Sub(run)))
				differences = append(differences, nsPerOp(2*run.Sub(start)-end.Sub(start)))
			}
			median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
			b.ReportMetric(0, "ns/op") // of a pair of blocks: says nothing
			b.ReportMetric(median(runs), "run-ns/op")
			b.ReportMetric(median(calls), "call-ns/op")
			b.ReportMetric(median(differences), "dispatch-ns/op")
		})
	}
}

// TestSingleCall: a layer that is one kernel call gives the numbers and the
// errors that it gives otherwise, in any order of good and bad runs.
func TestSingleCall(t *testing.T) {
	m, d := tinyModel(t)
	s, err := m.NewSession("l", MaxBatch(6))
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(12, 13))
	f := func(n int) []float32 { return make([]float32, n) }
	both := f(24)
	bad := []struct {
		in, out [][]float32
		want    error
	}{
		{nil, nil, ErrLength},
		{[][]float32{f(16)}, nil, ErrLength},
		{[][]float32{f(16), f(16)}, [][]float32{f(8)}, ErrLength},
		{[][]float32{f(16)}, [][]float32{f(8), f(8)}, ErrLength},
		{[][]float32{f(16)}, [][]float32{f(9)}, ErrLength},
		{[][]float32{f(15)}, [][]float32{f(8)}, ErrLength},
		{[][]float32{f(32)}, [][]float32{f(8)}, ErrLength},
		{[][]float32{f(0)}, [][]float32{f(0)}, ErrBatch},
		{[][]float32{f(112)}, [][]float32{f(56)}, ErrBatch},
		{[][]float32{both[:16]}, [][]float32{both[15:23]}, ErrOverlap},
		{[][]float32{both[8:]}, [][]float32{both[1:9]}, ErrOverlap},
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for range 300 {
		batch := 1 + rng.IntN(6)
		x, y := randomFloats(rng, 16*batch), randomFloats(rng, 8*batch)
		require.NoError(t, s.Run(t.Context(), [][]float32{x}, [][]float32{y}))
		require.Equal(t, batch&(batch-1) == 0, s.single.f != nil, "a kernel takes 1, 2, 4 or 8 tokens")
		for b := range batch {
			for i := range 8 {
				want := float32(0)
				for k := range 16 {
					want = FMA32(d.at(i, k), x[b*16+k], want)
				}
				require.Equal(t, want, y[b*8+i])
			}
		}
		c := bad[rng.IntN(len(bad))]
		require.ErrorIs(t, s.Run(t.Context(), c.in, c.out), c.want)
		if rng.IntN(4) == 0 {
			before := append([]float32(nil), y...)
			require.ErrorIs(t, s.Run(cancelled, [][]float32{x}, [][]float32{y}), context.Canceled)
			require.Equal(t, before, y, "nothing is written")
		}
	}
}

// TestConcurrentSingleCall is TestConcurrentUse's second half for a layer that
// is one kernel call.
func TestConcurrentSingleCall(t *testing.T) {
	m, _ := tinyModel(t)
	s, err := m.NewSession("l")
	require.NoError(t, err)
	x := randomFloats(rand.New(rand.NewPCG(16, 17)), 16)
	want := make([]float32, 8)
	require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{want}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				y := make([]float32, 8)
				if err := s.Run(context.Background(), [][]float32{x}, [][]float32{y}); err != nil {
					assert.ErrorIs(t, err, ErrBusy)
				} else {
					assert.Equal(t, want, y)
				}
			}
		})
	}
	wg.Wait()
}

// TestSingleCallOfKeptColumns: one token of kept columns is one kernel call, which reads those
// columns of x and no others.
func TestSingleCallOfKeptColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	d, cols := randomDense(rng, 8, 16, 1), []uint32{1, 4, 5, 11, 15}
	lin := &sgp.Linear{Out: 8, In: 16, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, cols)}}}
	for _, featureMajor := range []bool{false, true} {
		s, err := openModel(t, linearLayer(lin, featureMajor, 8)).NewSession("l")
		require.NoError(t, err)
		for range 3 { // the call that prepares, and those that find it ready
			x, y := randomFloats(rng, 16), randomFloats(rng, 8)
			require.NoError(t, s.Run(t.Context(), [][]float32{x}, [][]float32{y}))
			require.True(t, s.single.f != nil)
			for i := range 8 {
				want := float32(0)
				for _, k := range cols {
					want = FMA32(d.at(i, int(k)), x[k], want)
				}
				require.Equal(t, want, y[i])
			}
		}
	}
}
