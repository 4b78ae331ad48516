package main

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// reference holds the float64 results of some rows of tokens and columns of
// output features: the product of the two lists.
type reference struct {
	tokens, outs []int
	want         [][]float64 // [tokens][outs]
}

// maxReference is the multiplications that a full reference may take.
const maxReference = 1 << 31

// pick returns all numbers below n, or some of them: both ends, and a random
// choice between.
func pick(rng *rand.Rand, n, some int) []int {
	if n <= some {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all
	}
	chosen := []int{0, n - 1}
	for len(chosen) < some {
		chosen = append(chosen, rng.IntN(n))
	}
	return chosen
}

// reference computes it, once for all configurations of a case.
func (in *inputs) reference() reference {
	if in.ref.want == nil {
		in.ref = in.computeReference()
	}
	return in.ref
}

func (in *inputs) computeReference() reference {
	tokens, outs, k := in.problem.Tokens, in.problem.Out, in.problem.In
	rng := rand.New(rand.NewPCG(in.seed, 7))
	r := reference{tokens: pick(rng, tokens, tokens), outs: pick(rng, outs, outs)}
	if tokens*outs*k > maxReference {
		r.tokens, r.outs = pick(rng, tokens, 64), pick(rng, outs, 512)
	}
	t := in.dtype
	x := make([][]float64, len(r.tokens))
	r.want = make([][]float64, len(r.tokens))
	for i, token := range r.tokens {
		x[i] = make([]float64, k)
		for c := range x[i] {
			if in.active == nil || in.active[c] {
				x[i][c] = float64(get(in.x.Row(token), c, t))
			}
		}
		r.want[i] = make([]float64, len(r.outs))
	}
	parallel(len(r.outs), func(j int) {
		w := make([]float64, k)
		for c := range w {
			w[c] = float64(get(in.w.Row(r.outs[j]), c, t))
		}
		for i := range x {
			sum := 0.0
			for c, v := range x[i] {
				sum += v * w[c]
			}
			r.want[i][j] = in.after(sum, r.tokens[i], r.outs[j])
		}
	})
	return r
}

// compare measures the deviation of a result; an element that is not a number is
// an error.
func (r reference) compare(got func(token, out int) float64) (deviation, error) {
	var diff2, want2, worst, largest float64
	d := deviation{}
	for i, token := range r.tokens {
		for j, out := range r.outs {
			g, w := got(token, out), r.want[i][j]
			if math.IsNaN(g) || math.IsInf(g, 0) {
				return d, fmt.Errorf("token %d, output %d is %v for %g: not written, or not computed", token, out, g, w)
			}
			diff2 += (g - w) * (g - w)
			want2 += w * w
			worst, largest = max(worst, math.Abs(g-w)), max(largest, math.Abs(w))
			d.Checked++
		}
	}
	if want2 == 0 {
		return d, fmt.Errorf("the reference is all zero, which proves nothing")
	}
	d.Norm, d.Max = math.Sqrt(diff2/want2), worst/largest
	return d, nil
}
