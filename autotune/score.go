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

// scoresIn are the scores in some rounds of those still in the race: the middles, the smaller one of
// two. For some of the rounds a machine may be half as fast as for the others, and change in the
// middle of a round: fastest samples would then say who ran at a good moment.
func (r *Race) scoresIn(rounds []int) map[int]score {
	ratios := map[int][]float64{}
	for _, i := range rounds {
		var times []float64
		for _, e := range r.alive {
			if t := r.rounds[e][i]; t > 0 {
				times = append(times, t)
			}
		}
		if len(times) == 0 {
			continue
		}
		pace := median(times)
		for _, e := range r.alive {
			if t := r.rounds[e][i]; t > 0 {
				ratios[e] = append(ratios[e], t/pace)
			}
		}
	}
	scores := map[int]score{}
	for e, xs := range ratios {
		slices.Sort(xs)
		n := len(xs)
		scores[e] = score{xs[(n-1)/2], (xs[3*n/4] - xs[n/4]) / math.Sqrt(float64(n))} // of a median, by the quartiles
	}
	return scores
}

// scores are the middles over the sittings of those of each.
func (r *Race) scores() map[int]score {
	times, squares := map[int][]float64{}, map[int]float64{}
	for _, rounds := range r.sittings() {
		for e, s := range r.scoresIn(rounds) {
			times[e] = append(times[e], s.time)
			squares[e] += s.err * s.err
		}
	}
	scores := map[int]score{}
	for e, xs := range times {
		scores[e] = score{median(xs), math.Sqrt(squares[e]) / float64(len(xs))}
	}
	return scores
}
