package main

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// reference is a product in float64 and, for each element, how far a float32
// result may be from it: 2·γ_K·Σ|w||x| with γ_K = K·u/(1-K·u), u = 2⁻²⁴, K =
// the number of inputs (Higham, Accuracy and Stability, §3.1, doubled).
type reference struct {
	y, bound []float64 // in the problem's layout
}

func newReference(w, x []float32, p peers.Problem) *reference {
	u := math.Ldexp(1, -24)
	gamma := float64(p.In) * u / (1 - float64(p.In)*u)

	// Features first, so that the inner loop runs over the batch.
	xt := make([]float64, p.In*p.Batch)
	for k := range p.In {
		for b := range p.Batch {
			i := b*p.In + k
			if p.Layout == peers.FeatureMajor {
				i = k*p.Batch + b
			}
			xt[k*p.Batch+b] = float64(x[i])
		}
	}
	r := &reference{make([]float64, p.Out*p.Batch), make([]float64, p.Out*p.Batch)}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for i := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sum, size := make([]float64, p.Batch), make([]float64, p.Batch)
			for o := i; o < p.Out; o += workers {
				clear(sum)
				clear(size)
				for k, v := range w[o*p.In : (o+1)*p.In] {
					if v == 0 {
						continue
					}
					wk := float64(v)
					for b, xv := range xt[k*p.Batch : (k+1)*p.Batch] {
						t := wk * xv
						sum[b] += t
						size[b] += math.Abs(t)
					}
				}
				for b := range p.Batch {
					j := b*p.Out + o
					if p.Layout == peers.FeatureMajor {
						j = o*p.Batch + b
					}
					r.y[j], r.bound[j] = sum[b], 2*gamma*size[b]
				}
			}
		}()
	}
	wg.Wait()
	return r
}

// check returns the largest error as a share of its bound, or an error where
// one exceeds it.
func (r *reference) check(y []float32, p peers.Problem) (float64, error) {
	worst := 0.0
	for i, want := range r.y {
		diff := math.Abs(float64(y[i]) - want)
		if !(diff <= r.bound[i]) {
			token, feature := i/p.Out, i%p.Out
			if p.Layout == peers.FeatureMajor {
				feature, token = i/p.Batch, i%p.Batch
			}
			return 0, fmt.Errorf("wrong result: feature %d, batch %d: %g, want %g ± %g", feature, token, y[i], want, r.bound[i])
		}
		if diff > 0 {
			worst = max(worst, diff/r.bound[i])
		}
	}
	return worst, nil
}

// skipped is the share of outputs that do not depend on an input whose weight
// for them is zero: 1 for a kernel that leaves zeros alone, 0 for one that
// multiplies by them. The input is made infinite, and 0·∞ is not a number.
// w has a zero at input k; x is restored.
func skipped(run func(x, y []float32), w, x, y []float32, p peers.Problem) (share float64, ok bool) {
	k := -1
	for i, v := range w {
		if v == 0 {
			k = i % p.In
			break
		}
	}
	if k < 0 {
		return 0, false
	}
	at := func(b, i, n int) int {
		if p.Layout == peers.FeatureMajor {
			return i*p.Batch + b
		}
		return b*n + i
	}
	saved := make([]float32, p.Batch)
	for b := range p.Batch {
		saved[b] = x[at(b, k, p.In)]
		x[at(b, k, p.In)] = float32(math.Inf(1))
	}
	run(x, y)
	for b := range p.Batch {
		x[at(b, k, p.In)] = saved[b]
	}
	zero, finite := 0, 0
	for o := range p.Out {
		if w[o*p.In+k] != 0 {
			continue
		}
		for b := range p.Batch {
			zero++
			v := float64(y[at(b, o, p.Out)])
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				finite++
			}
		}
	}
	return float64(finite) / float64(zero), true
}
