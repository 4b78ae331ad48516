package autotune

import (
	"math"
	"slices"
)

// Verdict is what a race found.
type Verdict struct {
	Winner  int     `json:"-"`                 // the default, unless another is faster beyond doubt
	Fastest int     `json:"-"`                 // by its score
	Noise   float64 `json:"noise"`             // gap between the default and itself
	Gain    float64 `json:"gain"`              // of the fastest over the default: the share of the time that it saves
	P       float64 `json:"p"`                 // of the sign test, fastest against default
	Refused bool    `json:"refused,omitempty"` // the noise is too much for any conclusion
	Noisy   bool    `json:"-"`
}

// gap is that between the default and itself in some rounds.
func (r *Race) gap(rounds []int) float64 {
	ratios := r.against(r.alias, rounds)
	if len(ratios) == 0 {
		return 0
	}
	return math.Abs(median(ratios) - 1)
}

// noise is the gap between the default and itself: of several sittings the root of the mean
// square, over the root of their number, as the errors of a mean are.
func (r *Race) noise() float64 {
	sum, n := 0.0, 0.0
	for _, rounds := range r.sittings() {
		g := r.gap(rounds)
		sum, n = sum+g*g, n+1
	}
	return math.Sqrt(sum) / max(n, 1)
}

// against are the ratios of an entrant's times to the default's in some rounds.
func (r *Race) against(e int, rounds []int) (ratios []float64) {
	for _, i := range rounds {
		if d, t := r.rounds[r.fallback][i], r.rounds[e][i]; d > 0 && t > 0 {
			ratios = append(ratios, t/d)
		}
	}
	return ratios
}

// undecided reports whether more rounds may replace the default: the gain is enough,
// but not yet beyond doubt.
func (r *Race) undecided() bool {
	v := r.Verdict()
	return v.Fastest != r.fallback && v.P >= significance && v.Gain > max(leastGain, v.Noise)
}

// isClear reports whether further rounds would hardly change the verdict: nobody gains
// half of what it takes, or the fastest leads by much and beyond doubt.
func (r *Race) isClear() bool {
	v := r.Verdict()
	fastest, score := r.order(), r.scores()
	switch {
	case v.Noisy:
		return false
	case max(v.Gain, 1-score[fastest[0]].time/score[r.fallback].time) <= leastGain/2:
		return len(r.alive) == 2 || r.round >= r.start+stages[len(stages)-1].until+stayPlayoff // or it has no rivals
	case v.P >= significance/10 || v.Gain <= 2*max(leastGain, v.Noise):
		return false
	}
	return score[fastest[1]].time >= (1+wideLead)*score[fastest[0]].time
}

// Verdict judges the race as it stands: by one sitting, or by two, in both of which the
// fastest has to gain something; of three and more, the one that differs most from the middle
// does not count.
func (r *Race) Verdict() Verdict {
	v := Verdict{Winner: r.fallback, Fastest: r.order()[0], P: 1}
	v.Noise = r.noise()
	v.Refused, v.Noisy = v.Noise > refused, v.Noise > noisy
	var sittings [][]float64
	for _, rounds := range r.sittings() {
		if ratios := r.against(v.Fastest, rounds); len(ratios) > 0 {
			sittings = append(sittings, ratios)
		}
	}
	if v.Fastest == r.fallback || len(sittings) == 0 {
		return v
	}
	if len(sittings) > 2 {
		sittings = withoutOdd(sittings)
	}
	var all, middles []float64
	for _, ratios := range sittings {
		all, middles = append(all, ratios...), append(middles, median(ratios))
	}
	wins, n := 0, 0
	for _, x := range all {
		if x < 1 {
			wins++
		}
		if x != 1 {
			n++
		}
	}
	v.P = signTest(wins, n)
	v.Gain = 1 - median(middles)
	if v.P < significance && v.Gain > max(leastGain, v.Noise) && slices.Max(middles) < 1 && !v.Refused && (r.held == 0 || len(middles) > 1) {
		v.Winner = v.Fastest
	}
	return v
}

// withoutOdd leaves out the sitting whose median is the furthest from the middle one.
func withoutOdd(sittings [][]float64) [][]float64 {
	var medians []float64
	for _, xs := range sittings {
		medians = append(medians, median(xs))
	}
	odd, far, middle := 0, 0.0, median(medians)
	for i, m := range medians {
		if d := math.Abs(m - middle); d > far {
			odd, far = i, d
		}
	}
	return slices.Delete(slices.Clone(sittings), odd, odd+1)
}

// Timing is an entrant's time in nanoseconds a run: its fastest sample, and the middle of
// its rounds' ratios to the default, times the middle of the default's rounds, since who leaves
// early may have run at a bad moment.
type Timing struct {
	Min, Median float64
	Samples     int
}

// Timing of an entrant; zero without a sample.
func (r *Race) Timing(entrant int) Timing {
	if r.counts[entrant] == 0 {
		return Timing{}
	}
	var own, ratios []float64
	for _, rounds := range r.sittings() {
		for _, i := range rounds {
			if d := r.rounds[r.fallback][i]; d > 0 {
				own = append(own, d)
			}
		}
		if in := r.against(entrant, rounds); len(in) > 0 {
			ratios = append(ratios, median(in))
		}
	}
	if len(ratios) == 0 {
		all := make([]int, r.round)
		for i := range all {
			all[i] = i
		}
		if in := r.against(entrant, all); len(in) > 0 {
			ratios = append(ratios, median(in))
		}
	}
	if len(own) == 0 || len(ratios) == 0 { // the default was dropped
		return Timing{r.minimum[entrant], r.minimum[entrant], r.counts[entrant]}
	}
	return Timing{r.minimum[entrant], median(own) * median(ratios), r.counts[entrant]}
}
