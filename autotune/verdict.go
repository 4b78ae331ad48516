package autotune

import (
	"math"
	"slices"
)

// Verdict is what a race found.
type Verdict struct {
	Winner  int     `json:"-"`                 // the fallback, unless another is faster beyond doubt
	Fastest int     `json:"-"`                 // by its score
	Noise   float64 `json:"noise"`             // gap between the fallback and itself
	Gain    float64 `json:"gain"`              // of the fastest over the fallback: the share of the time that it saves
	P       float64 `json:"p"`                 // of the sign test, fastest against fallback
	Refused bool    `json:"refused,omitempty"` // the noise is too much for any conclusion
	Noisy   bool    `json:"-"`
}

// gains reports whether the fastest gains enough to replace the fallback, if that is beyond doubt.
func (v Verdict) gains() bool { return v.Gain > max(leastGain, v.Noise) }

// gap is that between the fallback and itself in some rounds, with its standard error.
func (r *Race) gap(rounds []int) score {
	var ratios []float64
	for _, i := range rounds {
		if d, t := r.rounds[r.fallback][i], r.rounds[r.alias][i]; d > 0 && t > 0 {
			ratios = append(ratios, t/d)
		}
	}
	if len(ratios) == 0 {
		return score{}
	}
	return score{math.Abs(median(ratios) - 1), middle(ratios).err}
}

// counts reports whether a sitting does: its fallback does not differ too much from itself, by more
// than chance.
func (r *Race) counts(rounds []int) bool {
	gap := r.gap(rounds)
	return gap.time <= max(refused, sure*gap.err)
}

// against are the ratios of an entrant's times to another's in some rounds.
func (r *Race) against(e, base int, rounds []int) (ratios []float64) {
	for _, i := range rounds {
		if d, t := r.time(base, i), r.time(e, i); d > 0 && t > 0 {
			ratios = append(ratios, t/d)
		}
	}
	return ratios
}

// contradicts is what share of the whole race's gain a sitting has to see as a loss, so that it denies the gain,
// and deniers of how many sittings one may.
const (
	contradicts = 1. / 8
	deniers     = 4
)

// Verdict judges the race as it stands: by the rounds of as many play-offs as its gain takes, hardly any of which may deny
// that the fastest gains, and which must not scatter so much that it may lose.
func (r *Race) Verdict() Verdict {
	v := Verdict{Winner: r.fallback, Fastest: r.order()[0], P: 1}
	v.Noise = r.gap(slices.Concat(r.sittings()...)).time
	v.Refused, v.Noisy = v.Noise > refused, v.Noise > noisy
	if v.Fastest == r.fallback {
		return v
	}
	var denied bool
	v.Gain, v.P, denied = r.gain(v.Fastest, r.fallback)
	if v.P < significance && v.gains() && !denied && !v.Refused && len(r.playoffs()) >= r.enough(v) && !r.risks(v.Fastest) {
		v.Winner = v.Fastest
	}
	return v
}

// Gain is the share of base's time that an entrant saves, below 0 where it takes longer, and p of the
// sign test that it saves any: 0 and 1 where the two did not run in the same rounds.
func (r *Race) Gain(e, base int) (gain, p float64) {
	gain, p, _ = r.gain(e, base)
	return gain, p
}

// gain is Gain, and whether too many sittings deny it. Of each three, the one that differs most from the middle does not count.
func (r *Race) gain(e, base int) (gain, p float64, denied bool) {
	var sittings [][]float64
	for _, rounds := range r.sittings() {
		if ratios := r.against(e, base, rounds); len(ratios) > 0 {
			sittings = append(sittings, ratios)
		}
	}
	if len(sittings) == 0 {
		return 0, 1, true
	}
	for range len(sittings) / 3 {
		sittings = withoutOdd(sittings)
	}
	gain = 1 - median(slices.Concat(sittings...))
	wins, n, against := 0, 0, 0
	for _, ratios := range sittings {
		for _, x := range ratios {
			if x < 1 {
				wins++
			}
			if x != 1 {
				n++
			}
		}
		against += btoi(median(ratios) >= 1+contradicts*gain)
	}
	return gain, signTest(wins, n), against > len(sittings)/deniers
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
// its rounds' ratios to the fallback, times the middle of the fallback's rounds, since who leaves
// early may have run at a bad moment.
type Timing struct {
	Min, Median float64
	Samples     int
}

// Timing of an entrant; zero without a sample.
func (r *Race) Timing(entrant int) Timing {
	if r.samples[entrant] == 0 {
		return Timing{}
	}
	rounds := slices.Concat(r.sittings()...)
	var own []float64
	for _, i := range rounds {
		if d := r.time(r.fallback, i); d > 0 {
			own = append(own, d)
		}
	}
	ratios := r.against(entrant, r.fallback, rounds)
	if len(ratios) == 0 {
		all := make([]int, r.round)
		for i := range all {
			all[i] = i
		}
		ratios = r.against(entrant, r.fallback, all)
	}
	if len(own) == 0 || len(ratios) == 0 { // the fallback was dropped
		return Timing{r.minimum[entrant], r.minimum[entrant], r.samples[entrant]}
	}
	return Timing{r.minimum[entrant], median(own) * median(ratios), r.samples[entrant]}
}
