package autotune

import (
	"math"
	"slices"
)

// score is an entrant's time in units of its rounds' medians, with its standard error.
type score struct{ time, err float64 }

// sure is how many standard errors two scores are apart that differ.
const sure = 2

// within reports whether a score is behind the fastest by no more than a share, or so little that
// the two cannot be told apart.
func (s score) within(share float64, fastest score) bool {
	return s.time <= (1+share)*fastest.time || s.time-fastest.time <= sure*math.Hypot(s.err, fastest.err)
}

// middle is the median of xs, the smaller one of two, and its standard error by the quartiles. It
// sorts xs.
func middle(xs []float64) score {
	slices.Sort(xs)
	n := len(xs)
	return score{xs[(n-1)/2], (xs[3*n/4] - xs[n/4]) / math.Sqrt(float64(n))}
}

// time is an entrant's time in a round, 0 for none. The fallback runs as its alias, too, and has
// the geometric mean of both.
func (r *Race) time(e, round int) float64 {
	t := r.rounds[e][round]
	if a := r.rounds[r.alias][round]; e == r.fallback && a > 0 {
		return math.Sqrt(t * a)
	}
	return t
}

// scores are those of the present field, without the alias, in all rounds that count.
func (r *Race) scores() map[int]score { return r.scoresIn(r.sittings()) }

// scoresIn are the scores in the rounds of some sittings: the middles. For some of the rounds a machine
// may be half as fast as for the others, and change in the middle of a round: fastest samples would then
// say who ran at a good moment.
func (r *Race) scoresIn(sittings [][]int) map[int]score {
	ratios := map[int][]float64{}
	for _, i := range slices.Concat(sittings...) {
		var times []float64
		for _, e := range r.alive {
			if t := r.time(e, i); t > 0 && e != r.alias {
				times = append(times, t)
			}
		}
		if len(times) == 0 {
			continue
		}
		pace := median(times)
		for _, e := range r.alive {
			if t := r.time(e, i); t > 0 && e != r.alias {
				ratios[e] = append(ratios[e], t/pace)
			}
		}
	}
	scores := map[int]score{}
	for e, xs := range ratios {
		scores[e] = middle(xs)
	}
	return scores
}
