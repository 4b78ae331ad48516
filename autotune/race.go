package autotune

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// stage is a part of a race: at the end of round until, entrants stay that are
// within slack of the fastest, at most so many.
type stage struct {
	until   int
	samples int // of each entrant a round
	slack   float64
	most    int
	settle  time.Duration // before a sample's clock starts, on a CPU
	// steady keeps one order for the whole stage: whoever ran last in one turn and first
	// in the next would find its weights in the caches, and none of the others does.
	steady bool
}

// settleTime is how long a candidate runs before its clock starts, from when on caches
// and branch predictors hardly know the others any more.
const settleTime = time.Millisecond

// stages are the eliminations. Nobody leaves before four samples.
var stages = []stage{
	{2, 2, 1.40, 48, settleTime / 4, true},
	{6, 1, 1.10, 16, settleTime / 2, false},
	{16, 1, 1.03, 6, settleTime, false},
}

const (
	// playoff is the number of rounds among those that are left, and leastPlayoff
	// what remains of it where rounds are long: enough for the sign test. stayPlayoff is after
	// how many the default may stay for good: what gains little is seen late.
	playoff      = 40
	leastPlayoff = 12
	stayPlayoff  = 20
	// mostLonger is how often a play-off is repeated while the noise is too high, or a
	// gain in doubt.
	mostLonger = 2
	// raceTime is the time, in nanoseconds of all samples, from which a race is
	// brought to its end.
	raceTime = 1.6e9
	// disturbed is how much slower everything has to be than in other rounds for these to
	// be preferred.
	disturbed = 0.05
	// wideLead is that of the fastest from which a play-off ends early.
	wideLead = 0.01

	// significance is the probability of error at which the default is replaced,
	// leastGain the gain that it takes at least.
	significance = 0.01
	leastGain    = 0.01
	// noisy and refused are the gaps between two runs of the same candidate from
	// which a measurement is marked as noisy, and from which it counts for nothing.
	noisy   = 0.02
	refused = 0.05
)

// Sample is one measurement of an entrant: nanoseconds a run, and the number of runs
// that it took.
type Sample struct {
	Entrant int
	NS      float64
	Runs    int
}

// Race decides who runs in the next round from the samples of those before, and
// from nothing else: the same samples lead to the same race.
type Race struct {
	entrants int
	fallback int // the default, which stays to the end
	alias    int // the default once more: what they differ by is noise

	seed    uint64
	round   int
	start   int // the round at which the stages began, those of the first one before a second look
	alive   []int
	started []int // who was left by the first stage
	second  *look // nil: it is still to come
	minimum []float64
	rounds  [][]float64 // by entrant and round: its fastest sample of the round, 0 for none
	counts  []int
	spent   float64 // ns
	last    int     // the round that ends the race, or the sitting
	longer  int     // how often that was put off

	most   int     // sittings
	begun  int     // the round at which the present one began
	held   int     // sittings before it
	behind [][]int // the rounds of those that count
	// atPlayoff is what was spent before the present sitting.
	atPlayoff float64
}

// NewRace is a race of entrants 0 to n-1, of which fallback is the default and
// alias the default under another name. seed decides the order within rounds.
func NewRace(n, fallback, alias int, seed uint64) *Race {
	r := &Race{entrants: n, fallback: fallback, alias: alias, seed: seed, most: 1}
	r.last = r.finish()
	for i := range n {
		r.alive = append(r.alive, i)
		r.minimum = append(r.minimum, math.Inf(1))
	}
	r.rounds, r.counts = make([][]float64, n), make([]int, n)
	return r
}

// finish is the last round that the play-off may have: there is none in the first of several
// sittings.
func (r *Race) finish() int {
	rounds := playoff
	switch {
	case r.begun > 0:
		rounds = mostPlayoff
	case r.most > 1:
		rounds = 0
	}
	return r.start + stages[len(stages)-1].until + rounds
}

// Next is the order of the next round: entrants, repeated where they run more
// than once. It is nil when the race, or the sitting, is over.
func (r *Race) Next() []int {
	if r.round >= r.last || len(r.alive) == 0 {
		return nil
	}
	s, turn := r.stage(), slices.Clone(r.alive)
	round := r.round
	if s.steady {
		round = 0
	}
	rng := rand.New(rand.NewPCG(r.seed, uint64(round)))
	rng.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
	return slices.Repeat(turn, s.samples)
}

func (r *Race) stage() stage {
	for _, s := range stages {
		if r.round-r.start < s.until {
			return s
		}
	}
	return stage{r.last, 1, math.Inf(1), r.entrants, settleTime, false}
}

// Add takes the samples of a round.
func (r *Race) Add(samples []Sample) {
	best := make(map[int]float64)
	for _, s := range samples {
		r.minimum[s.Entrant] = min(r.minimum[s.Entrant], s.NS)
		r.counts[s.Entrant]++
		r.spent += s.NS * float64(s.Runs)
		if b, ok := best[s.Entrant]; !ok || s.NS < b {
			best[s.Entrant] = s.NS
		}
	}
	for i := range r.entrants {
		r.rounds[i] = append(r.rounds[i], best[i])
	}
	s, end := r.stage(), r.start+stages[len(stages)-1].until // of the eliminations
	r.round++
	switch l := r.second; {
	case l != nil && r.round == l.until:
		r.looked()
	case r.round == r.start+s.until && r.round <= end:
		r.eliminate(s)
	}
	if r.begun > 0 {
		r.sat()
		return
	}
	more := r.spent < raceTime
	switch {
	case r.round == r.last && more && r.most == 1 && r.longer < mostLonger && (r.noise() > noisy || r.undecided()):
		r.last += playoff // medians come closer to what they stand for
		r.longer++
	case r.round >= end+leastPlayoff && r.round < r.last && r.isClear():
		r.last = r.round
	}
	if r.spent > raceTime && r.round >= end {
		r.last = min(r.last, max(r.round, end+leastPlayoff))
	}
	if r.round == r.last && more && r.second == nil && len(r.alive) < len(r.started) {
		r.lookAgain()
	}
}

// look is a second look at those who left: what has the caches for a moment makes others the
// faster ones for as long.
type look struct {
	until     int // round
	start     int // of the race before
	finalists []int
}

// farBehind is the time, in units of the fastest finalist's, from which no disturbance explains
// why an entrant left.
const farBehind = 1.3

// lookAgain has those that the first stage left run beside the finalists, for the rounds of
// the second one.
func (r *Race) lookAgain() {
	until := r.round + stages[1].until - stages[0].until
	r.second = &look{until, r.start, slices.Clone(r.alive)}
	best := r.Timing(r.order()[0]).Median
	r.alive = slices.DeleteFunc(slices.Clone(r.started), func(e int) bool {
		return !slices.Contains(r.second.finalists, e) && r.Timing(e).Median > farBehind*best
	})
	r.start, r.last = r.round-stages[0].until, until
}

// looked ends the second look: the race goes on with those who are faster now than the
// fastest finalist by what it takes to win, or is over.
func (r *Race) looked() {
	score, fastest := r.scores(), math.Inf(1)
	for _, e := range r.second.finalists {
		fastest = min(fastest, score[e].time)
	}
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool {
		return !slices.Contains(r.second.finalists, e) && score[e].time > (1-leastGain)*fastest
	})
	if len(r.alive) == len(r.second.finalists) {
		r.start = r.second.start
		return
	}
	r.last = r.finish()
}

// eliminate ends a stage.
func (r *Race) eliminate(s stage) {
	score, fastest := r.scores(), r.order()
	keep := map[int]bool{r.fallback: true, r.alias: true}
	for i, e := range fastest {
		if i < s.most && score[e].within(s.slack-1, score[fastest[0]]) {
			keep[e] = true
		}
	}
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool { return !keep[e] })
	if r.round == stages[0].until {
		r.started = slices.Clone(r.alive)
	}
}

// counting are the rounds of the present sitting that count: the undisturbed ones behind the first stage, whose
// samples hardly settle, or of it as long as there are no others.
func (r *Race) counting() []int {
	from := max(r.start+stages[0].until, r.begun)
	if r.start == 0 && r.round <= from {
		from = 0
	}
	var times [][]float64
	for _, e := range r.alive {
		times = append(times, r.rounds[e][from:])
	}
	is := undisturbed(times)
	for k := range is {
		is[k] += from
	}
	return is
}

// undisturbed are the rounds in which nobody else had the caches, the memory or the core, as
// far as their pace tells: half of all at least, all where they hardly differ. times are those
// of each entrant in each round; in some rounds it may have none, which is 0. A round's pace is
// the middle of its entrants' times, each in units of its own median.
func undisturbed(times [][]float64) []int {
	if len(times) == 0 || len(times[0]) == 0 {
		return nil
	}
	own := make([]float64, len(times))
	for e, ts := range times {
		own[e] = median(slices.DeleteFunc(slices.Clone(ts), func(t float64) bool { return t <= 0 }))
	}
	paces := make([]float64, len(times[0]))
	for i := range paces {
		var rs []float64
		for e, ts := range times {
			if ts[i] > 0 {
				rs = append(rs, ts[i]/own[e])
			}
		}
		paces[i] = median(rs)
	}
	sorted := slices.Sorted(slices.Values(paces))
	n := len(sorted)
	slowest := max((1+disturbed)*sorted[n/4], sorted[n/2])
	var is []int
	for i, p := range paces {
		if p <= slowest {
			is = append(is, i)
		}
	}
	return is
}

// order is the entrants still in the race, without the alias, the fastest first.
func (r *Race) order() []int {
	score := r.scores()
	es := slices.DeleteFunc(slices.Clone(r.alive), func(e int) bool { return e == r.alias })
	slices.SortStableFunc(es, func(a, b int) int { return cmp.Compare(score[a].time, score[b].time) })
	return es
}

// Ranking is all entrants that ran, without the alias: those that stayed to the end
// first, the fastest of them before, and then those that stayed longer, and among
// these the fastest.
func (r *Race) Ranking() []int {
	all := r.order()
	last := len(all)
	for e := range r.entrants {
		if r.counts[e] > 0 && e != r.alias && !slices.Contains(all[:last], e) {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all[last:], func(a, b int) int {
		return cmp.Or(cmp.Compare(r.counts[b], r.counts[a]), cmp.Compare(r.minimum[a], r.minimum[b]))
	})
	return all
}

// Drop takes an entrant out of the race: no second look brings it back.
func (r *Race) Drop(entrant int) {
	is := func(e int) bool { return e == entrant }
	r.alive, r.started = slices.DeleteFunc(r.alive, is), slices.DeleteFunc(r.started, is)
	if r.second != nil {
		r.second.finalists = slices.DeleteFunc(r.second.finalists, is)
	}
}

// Alive is how many entrants are left.
func (r *Race) Alive() int { return len(r.alive) }

// Round is the number of rounds that are over, and of all.
func (r *Race) Round() (done, of int) { return r.round, r.last }
