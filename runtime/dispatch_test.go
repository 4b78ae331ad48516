package runtime

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

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
