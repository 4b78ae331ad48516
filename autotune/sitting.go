package autotune

import (
	"math"
	"slices"
)

// What a machine gives at a moment, who else has the other half of the core or the last cache,
// favours some kernels for tenths of seconds to seconds. So a race has sittings that lie apart in
// time: the eliminations, and then play-offs of those who may be the fastest, until these agree. Many short ones
// are right more often than few long ones.
const (
	// mostSittings is how many a race has, mostLong of one whose samples took longNS nanoseconds.
	mostSittings = 22
	mostLong     = 15
	longNS       = 0.8e9
	// mostRefused is how many a race has that noise leaves without a conclusion.
	mostRefused = 8
	// A play-off is over when it is settled, behind so many rounds, or the fewer whose samples took so many
	// nanoseconds, and in any case when it had the most of either.
	leastPlayoff, mostPlayoff = 6, 60
	leastLong                 = 4
	leastTime, mostTime       = 0.04e9, 0.08e9
	// beaten is by how many standard errors those are behind that leave it.
	beaten = 3
	// tolerable is by how much another may still be faster than the fastest when a play-off is
	// settled.
	tolerable = 0.02
	// contested is by how much of the fastest's time others may be behind it and sit again, and
	// mostAgain how many may, beside the fallback. A choice that is further behind in a sitting does
	// not agree with it.
	contested = 0.05
	mostAgain = 8
	// doubtful is what contested is behind the eliminations, whose few short samples say less.
	doubtful = 0.10
	// decisive is a gain that no moment feigns.
	decisive = 0.25
)

// Sittings is the number of those that are over or have begun.
func (r *Race) Sittings() int { return len(r.begun) }

// Again reports whether the race wants another sitting, at another time, which Sit begins: no
// single one replaces the fallback, and further ones settle whether it stays.
func (r *Race) Again() bool {
	if r.Next() != nil || len(r.alive) == 0 || r.Sittings() >= mostSittings || r.Sittings() >= mostLong && r.spent > longNS {
		return false
	}
	v := r.Verdict()
	switch {
	case v.Refused:
		return r.Sittings() < mostRefused
	case r.Sittings() == 1:
		return v.Fastest != r.fallback || len(r.finalists()) > 1
	}
	return len(r.playoffs()) < r.enough(v) || v.Noisy || v.Winner == r.fallback && (v.gains() || !r.settled()) || !r.agrees(v.Winner) ||
		r.spent <= longNS && r.doubts(v.Winner)
}

// likely is how many standard errors of its play-offs' middle another is at most from what they say of it, and
// hardly how many it is by no chance.
const likely, hardly = 1.5, 2.5

// doubts reports whether, by how its play-offs scatter, another may be faster than the winner by what counts.
func (r *Race) doubts(winner int) bool {
	return slices.ContainsFunc(r.alive, func(e int) bool {
		if e == winner || e == r.alias {
			return false
		}
		sittings := r.middles(e, winner)
		mean, err := meanOf(sittings)
		return len(sittings) > 1 && mean-likely*err < math.Log(1-leastGain)
	})
}

// risks reports whether, by how its play-offs scatter but for what few of them saw, an entrant may be slower than the fallback by what counts.
func (r *Race) risks(e int) bool {
	m := middle(r.middles(e, r.fallback))
	return m.time+hardly*m.err > -math.Log(1-leastGain)
}

// middles are the logarithms of the middle ratio of an entrant's time to another's in each play-off. Rounds of one have
// the machine's state in common, and say nothing of how they scatter.
func (r *Race) middles(e, base int) (sittings []float64) {
	for _, rounds := range r.playoffs() {
		if ratios := r.against(e, base, rounds); len(ratios) > 0 {
			sittings = append(sittings, math.Log(median(ratios)))
		}
	}
	return sittings
}

// enough is how many play-offs that count decide, for the fallback too: the less a gain is beside what they may be mistaken
// by, the more, unless it is too small to matter. Eliminations are no vote: their rounds are few, and what
// is slow until the caches know it has not had the time.
func (r *Race) enough(v Verdict) int {
	switch {
	case v.Gain > decisive:
		return 2
	case v.Gain < leastGain/2 || v.Gain > contested:
		return 6
	}
	return 12
}

// agrees reports whether an entrant is near the fastest in each sitting, or in all but one of each three.
func (r *Race) agrees(winner int) bool {
	sittings, odd := r.every(), 0
	for _, rounds := range sittings {
		scores := r.scoresIn([][]int{rounds})
		for _, s := range scores {
			if !scores[winner].within(contested, s) {
				odd++
				break
			}
		}
	}
	return odd <= len(sittings)/3
}

// Sit begins another sitting, of those that are held and those that may be the fastest.
func (r *Race) Sit() {
	keep := append(r.finalists(), r.held...)
	if rounds := r.counting(); r.counts(rounds) {
		r.behind = append(r.behind, rounds)
	}
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool { return !slices.Contains(keep, e) })
	r.begun, r.before, r.over = append(r.begun, r.round), r.spent, false
}

// sat ends a play-off as soon as it is settled, or has to be, and ends it before for those
// who are behind.
func (r *Race) sat() {
	n, took := (r.round-r.begun[len(r.begun)-1])/r.finer, r.spent-r.before
	switch {
	case n < leastLong || n < leastPlayoff && took < leastTime:
		return
	case n >= mostPlayoff || took > mostTime || r.settled():
		r.over = true
		return
	}
	fastest := r.order()[0]
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool {
		if e == fastest || slices.Contains(r.held, e) {
			return false
		}
		lag := r.lag(e, fastest)
		return lag.time > max(leastGain, beaten*lag.err)
	})
}

// settled reports whether more rounds would hardly lead to a better choice: nobody who is left may be faster
// than the fastest by what matters, and no gain is in doubt. Asked again and again, chance would say yes
// at some time, and so it takes more here than in a verdict.
func (r *Race) settled() bool {
	v := r.Verdict()
	if v.Noisy || v.P >= significance/10 && v.gains() {
		return false
	}
	return !slices.ContainsFunc(r.alive, func(e int) bool {
		lag := r.lag(e, v.Fastest)
		return e != v.Fastest && e != r.alias && lag.time < sure*lag.err-tolerable
	})
}

// lag is by how much of the fastest's time an entrant is behind it, by the rounds' ratios.
func (r *Race) lag(e, fastest int) score {
	var ratios []float64
	for _, i := range slices.Concat(r.sittings()...) {
		ratios = append(ratios, r.time(e, i)/r.time(fastest, i))
	}
	if len(ratios) == 0 {
		return score{0, math.Inf(1)}
	}
	s := middle(ratios)
	s.time--
	return s
}

// finalists are those that may be the fastest, the one that seems so first.
func (r *Race) finalists() (es []int) {
	score, order, share := r.scores(), r.order(), contested
	if r.Sittings() == 1 {
		share = doubtful
	}
	for i, e := range order {
		if i < mostAgain && score[e].within(share, score[order[0]]) {
			es = append(es, e)
		}
	}
	return es
}

// sittings are the rounds that decide: those of the play-offs, or, before one counts, of the
// eliminations.
func (r *Race) sittings() [][]int {
	if playoffs := r.playoffs(); len(playoffs) > 0 {
		return playoffs
	}
	return r.every()
}

// playoffs are the rounds that count, of each play-off that does.
func (r *Race) playoffs() [][]int {
	return slices.DeleteFunc(r.every(), func(rounds []int) bool { return len(r.begun) == 1 || rounds[0] < r.begun[1] })
}

// every is the rounds that count, of each sitting that does, or of the present one if none
// does.
func (r *Race) every() [][]int {
	all := slices.Clone(r.behind)
	if rounds := r.counting(); len(rounds) > 0 && (len(all) == 0 || r.counts(rounds)) {
		all = append(all, rounds)
	}
	return all
}
