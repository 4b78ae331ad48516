package autotune

import "slices"

// What a machine gives at a moment, who else has the other half of the core or the last cache,
// lasts for tenths of seconds to seconds, and favours some kernels: more rounds within it say
// no more. So a race on a CPU has sittings that lie apart in time, and no single one
// replaces the default.
const (
	// mostSittings is how many a race has where those before do not agree.
	mostSittings = 4
	// A sitting behind the first is a play-off, which is over when its scores are precise, or when its
	// samples have taken so many nanoseconds, but not before leastPlayoff rounds; while a gain is in
	// doubt it goes on for doubtTime.
	precise     = 0.004
	playoffTime = 0.12e9
	doubtTime   = 0.36e9
	mostPlayoff = 120
	// contested is by how much of the fastest's time others may be behind it and sit again.
	contested = 0.02
	// mostAgain is how many sit again, beside the default.
	mostAgain = 5
	// nearEach is by how much a choice may be behind the fastest of any one sitting.
	nearEach = 0.02
)

// NewSittings is NewRace of a race in sittings: where Next has no more rounds, Again says
// whether another sitting is to follow, which Sit begins.
func NewSittings(n, fallback, alias int, seed uint64) *Race {
	r := NewRace(n, fallback, alias, seed)
	r.most = mostSittings
	r.last = r.finish()
	return r
}

// Sittings is the number of those that are over or have begun.
func (r *Race) Sittings() int { return r.held + 1 }

// Again reports whether the race wants another sitting, at another time: the first one is
// confirmed unless nothing is at stake, and further ones decide what these two do not agree on.
func (r *Race) Again() bool {
	if r.Next() != nil || r.Sittings() >= r.most || len(r.alive) == 0 {
		return false
	}
	v := r.Verdict()
	if r.held > 0 || v.Refused {
		return v.Noisy || len(r.sittings()) < 2 || r.doubtful(v) || !r.agrees(v.Winner)
	}
	score, order := r.scores(), r.order()
	if v.Fastest == r.fallback {
		return len(order) > 1 && score[order[1]].within(leastGain, score[r.fallback])
	}
	return len(r.finalists()) > 1 || score[r.fallback].within(farBehind-1, score[v.Fastest])
}

// doubtful reports whether the fastest gains enough to replace the default, but not in every
// sitting, or not beyond doubt.
func (r *Race) doubtful(v Verdict) bool {
	return v.Winner != v.Fastest && v.Gain > max(leastGain, v.Noise)
}

// agrees reports whether an entrant is near the fastest in each sitting, or in all but one of three
// and more.
func (r *Race) agrees(winner int) bool {
	sittings, odd := r.sittings(), 0
	for _, rounds := range sittings {
		scores := r.scoresIn(rounds)
		for _, s := range scores {
			if !scores[winner].within(nearEach, s) {
				odd++
				break
			}
		}
	}
	return odd == 0 || odd == 1 && len(sittings) > 2
}

// Sit begins another sitting, of the default, its alias and those that may be the fastest.
func (r *Race) Sit() {
	keep := append(r.finalists(), r.fallback, r.alias)
	if rounds := r.counting(); r.gap(rounds) <= refused {
		r.behind = append(r.behind, rounds)
	}
	r.held++
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool { return !slices.Contains(keep, e) })
	r.begun, r.start, r.atPlayoff = r.round, r.round-stages[len(stages)-1].until, r.spent
	r.last = r.finish()
}

// sat ends a sitting behind the first as soon as there is nothing more to find out now.
func (r *Race) sat() {
	if r.round-r.begun < leastPlayoff {
		return
	}
	took := r.spent - r.atPlayoff
	if took > doubtTime || (took > playoffTime || r.isPrecise()) && !r.undecided() {
		r.last = min(r.last, r.round)
	}
}

// isPrecise reports whether this sitting's scores of those that may be the fastest are, and the default's.
func (r *Race) isPrecise() bool {
	scores := r.scoresIn(r.counting())
	for _, e := range append(r.finalists(), r.fallback) {
		if scores[e].err > precise*scores[e].time {
			return false
		}
	}
	return true
}

// finalists are those that may be the fastest, the one that seems so first.
func (r *Race) finalists() (es []int) {
	score, order := r.scores(), r.order()
	for i, e := range order {
		if i < mostAgain && score[e].within(contested, score[order[0]]) {
			es = append(es, e)
		}
	}
	return es
}

// sittings are the rounds that count, of each sitting whose default does not differ too much from
// itself, or of the present one if there is no such.
func (r *Race) sittings() [][]int {
	all := slices.Clone(r.behind)
	if rounds := r.counting(); len(rounds) > 0 && (len(all) == 0 || r.gap(rounds) <= refused) {
		all = append(all, rounds)
	}
	return all
}
