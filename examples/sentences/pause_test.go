package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	goruntime "runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// BenchmarkGCPause measures how much longer the garbage collector stops the
// world while sessions run: their kernels cannot be interrupted, so that each
// pause waits for the calls that are under way. One iteration is a quarter of a
// second with nothing else to do and one with a session on every processor but
// one, which collects garbage all the time, in turn. Reported are the medians and
// the 99.9th percentiles of the pauses and what the sessions add to each, in µs.
//
//	go test -run '^$' -bench GCPause -benchtime 40x ./sentences
func BenchmarkGCPause(b *testing.B) {
	if goruntime.GOMAXPROCS(0) < 2 {
		b.Skip("needs two processors")
	}
	model := pauseModel(b)
	for _, layer := range []string{"dense", "nm24", "half"} {
		for _, batch := range []int{1, 128} {
			b.Run(fmt.Sprintf("%s/batch=%d", layer, batch), func(b *testing.B) {
				var idle, busy histogram
				for range b.N {
					idle.add(collect(0, nil))
					busy.add(collect(goruntime.GOMAXPROCS(0)-1, sessionRuns(b, model, layer, batch)))
				}
				for _, p := range []struct {
					name string
					part float64
				}{{"p50", 0.5}, {"p99.9", 0.999}} {
					alone, with := idle.percentile(p.part), busy.percentile(p.part)
					b.ReportMetric(alone*1e6, p.name+"-idle-µs")
					b.ReportMetric(with*1e6, p.name+"-µs")
					b.ReportMetric((with-alone)*1e6, p.name+"-added-µs")
				}
				b.ReportMetric(float64(busy.total()), "pauses")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// pauseModel is a layer of 2048 by 4096 weights for each pattern that this
// package has kernels of.
func pauseModel(b *testing.B) *runtime.Model {
	spec := "sparsegen 1\n"
	for name, pattern := range map[string]string{"dense": "dense", "nm24": "nm(2,4)", "half": "unstructured(sparsity=0.5)"} {
		spec += fmt.Sprintf("layer %s(x f32[t, 2048]) (y f32[t, 4096]) where t in 1..128 {\n y = linear(x, w\"w\" : %s)\n}\n", name, pattern)
	}
	module, err := ir.Load("pause.sg", []byte(spec), ir.Options{})
	require.NoError(b, err)
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, 4096*2048)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	packed, _, err := codegen.Pack(module, func(string) ([]float32, []int, error) { return w, []int{4096, 2048}, nil }, codegen.PackOptions{Prune: true})
	require.NoError(b, err)
	file := filepath.Join(b.TempDir(), "pause.sgp")
	require.NoError(b, sgp.WriteFile(file, packed))
	m, err := runtime.Open(file, Kernels())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	return m
}

// sessionRuns makes, for each worker, a function that runs the layer once.
func sessionRuns(b *testing.B, m *runtime.Model, layer string, batch int) func() func() {
	return func() func() {
		s, err := m.NewSession(layer)
		require.NoError(b, err)
		rng := rand.New(rand.NewPCG(3, 4))
		x, y := make([]float32, 2048*batch), make([]float32, 4096*batch)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		in, out := [][]float32{x}, [][]float32{y}
		return func() {
			if err := s.Run(context.Background(), in, out); err != nil {
				b.Error(err)
			}
		}
	}
}

// collect collects garbage for a quarter of a second, while workers run what work
// gives each of them, and returns the pauses.
func collect(workers int, work func() func()) *metrics.Float64Histogram {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range workers {
		run := work()
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					run()
				}
			}
		})
	}
	before := pauses()
	for begin := time.Now(); time.Since(begin) < 250*time.Millisecond; {
		goruntime.GC()
	}
	after := pauses()
	close(stop)
	wg.Wait()
	for i := range after.Counts {
		after.Counts[i] -= before.Counts[i]
	}
	return after
}

func pauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: append([]uint64(nil), h.Counts...), Buckets: h.Buckets}
}

// histogram is a sum of such histograms.
type histogram struct{ metrics.Float64Histogram }

func (h *histogram) add(more *metrics.Float64Histogram) {
	if h.Counts == nil {
		h.Float64Histogram = *more
		return
	}
	for i, n := range more.Counts {
		h.Counts[i] += n
	}
}

func (h *histogram) total() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// percentile is the upper end of the bucket in which the part ends, in seconds.
func (h *histogram) percentile(part float64) float64 {
	left := uint64(math.Ceil(part * float64(h.total())))
	for i, c := range h.Counts {
		if c >= left {
			return h.Buckets[i+1]
		}
		left -= c
	}
	return math.Inf(1)
}
