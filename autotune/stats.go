package autotune

import (
	"math"
	"slices"
)

// signTest is the probability that of n fair coins at least wins show heads: how
// easily so many rounds are won by what is no faster.
func signTest(wins, n int) float64 {
	p := 0.0
	for k := wins; k <= n; k++ {
		p += math.Exp(logChoose(n, k) - float64(n)*math.Ln2)
	}
	return min(p, 1)
}

func logChoose(n, k int) float64 {
	l := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	return l(n) - l(k) - l(n-k)
}

// median of xs, which must not be empty.
func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// meanOf is the mean of xs, with its standard error.
func meanOf(xs []float64) (mean, err float64) {
	n := float64(len(xs))
	for _, x := range xs {
		mean += x / n
	}
	for _, x := range xs {
		err += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(err / (n - 1) / n)
}

// geomean is the geometric mean.
func geomean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(xs)))
}
