package main

import (
	"math"
	"slices"
)

// Spread is a median with the tenth and ninetieth percentile around it.
type Spread struct {
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
}

func spreadOf(samples []float64) Spread {
	s := slices.Sorted(slices.Values(samples))
	return Spread{quantile(s, 0.5), quantile(s, 0.1), quantile(s, 0.9)}
}

// quantile interpolates between the order statistics of sorted.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// speedup is how many times faster than ref each round of t was.
func speedup(t, ref []float64) Spread {
	ratio := make([]float64, min(len(t), len(ref)))
	for i := range ratio {
		ratio[i] = ref[i] / t[i]
	}
	return spreadOf(ratio)
}

// geomean is the geometric mean.
func geomean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}
