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
	long    time.Duration // of a sample, on a CPU
	copies  int           // of the weights, at most, as far as they stay in a cache
	// steady keeps one order for the whole stage: whoever ran last in one turn and first
	// in the next would find its weights in the caches, and none of the others does.
	steady bool
}

// sampleTime is for how long blocks of runs are timed, of which the fastest is a sample. Of 25 problems on a
// Zen 4 beside neighbours this tells candidates apart in about 0.6 of the time that a millisecond takes that is not
// timed, and the fastest of three blocks behind it; half or twice as long is so to a tenth.
const sampleTime = time.Millisecond

// stages are the eliminations, the first sitting. Nobody leaves before four samples.
var stages = []stage{
	{2, 2, 1.40, 48, sampleTime / 4, 1, true},
	{6, 1, 1 + doubtful, mostAgain + 1, sampleTime / 2, 4, false},
}

const (
	// disturbed is how much slower everything has to be than in other rounds for these to
	// be preferred.
	disturbed = 0.05

	// significance is the probability of error at which the fallback is replaced,
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
// from nothing else: the same samples lead to the same race. Where Next has no more rounds, Again says
// whether another sitting is to follow, which Sit begins.
type Race struct {
	entrants int
	fallback int   // what is chosen unless another is faster beyond doubt: the default, or an earlier race's choice
	alias    int   // the fallback once more: what they differ by is noise
	held     []int // these two and others that stay to the end

	seed    uint64
	finer   int // so many of its rounds are one of those that the figures here name
	round   int
	alive   []int
	minimum []float64
	rounds  [][]float64 // by entrant and round: its fastest sample of the round, 0 for none
	samples []int       // of each entrant
	spent   float64     // ns
	over    bool        // the present sitting

	begun  []int   // the round at which each sitting began
	behind [][]int // the rounds that count, of the sittings before the present one
	before float64 // spent in these
}

// NewRace is a race of entrants 0 to n-1, of which fallback is chosen unless another is faster
// beyond doubt, and alias is fallback under another name. Both stay to the end, and so do those that are held. seed
// decides the order within rounds.
func NewRace(n, fallback, alias int, seed uint64, held ...int) *Race {
	r := &Race{entrants: n, fallback: fallback, alias: alias, held: append(held, fallback, alias), seed: seed, finer: 1, begun: []int{0}}
	for i := range n {
		r.alive = append(r.alive, i)
		r.minimum = append(r.minimum, math.Inf(1))
	}
	r.rounds, r.samples = make([][]float64, n), make([]int, n)
	return r
}

// Next is the order of the next round: entrants, repeated where they run more
// than once. It is nil when the sitting is over.
func (r *Race) Next() []int {
	if r.over || len(r.alive) == 0 {
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

// stage is the present one: the last has no end but what ends a sitting.
func (r *Race) stage() stage {
	for _, s := range stages {
		if r.round < s.until*r.finer {
			return s
		}
	}
	return stage{math.MaxInt, 1, math.Inf(1), r.entrants, sampleTime, mostCopies, false}
}

// Add takes the samples of a round.
func (r *Race) Add(samples []Sample) {
	best := make(map[int]float64)
	for _, s := range samples {
		r.minimum[s.Entrant] = min(r.minimum[s.Entrant], s.NS)
		r.samples[s.Entrant]++
		r.spent += s.NS * float64(s.Runs)
		if b, ok := best[s.Entrant]; !ok || s.NS < b {
			best[s.Entrant] = s.NS
		}
	}
	for i := range r.entrants {
		r.rounds[i] = append(r.rounds[i], best[i])
	}
	s := r.stage()
	r.round++
	switch {
	case r.Sittings() > 1:
		r.sat()
	case r.round == s.until*r.finer:
		r.eliminate(s)
		r.over = r.round == stages[len(stages)-1].until*r.finer
	}
}

// eliminate ends a stage.
func (r *Race) eliminate(s stage) {
	score, fastest := r.scores(), r.order()
	keep := map[int]bool{}
	for _, e := range r.held {
		keep[e] = true
	}
	for i, e := range fastest {
		if i < s.most && score[e].within(s.slack-1, score[fastest[0]]) {
			keep[e] = true
		}
	}
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool { return !keep[e] })
}

// counting are the rounds of the present sitting that count: the undisturbed ones behind the first stage, whose
// samples are short, or of it as long as there are no others.
func (r *Race) counting() []int {
	from := r.begun[len(r.begun)-1]
	if first := stages[0].until * r.finer; from == 0 && r.round > first {
		from = first
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
		if r.samples[e] > 0 && e != r.alias && !slices.Contains(all[:last], e) {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all[last:], func(a, b int) int {
		return cmp.Or(cmp.Compare(r.samples[b], r.samples[a]), cmp.Compare(r.minimum[a], r.minimum[b]))
	})
	return all
}

// Drop takes an entrant out of the race.
func (r *Race) Drop(entrant int) {
	r.alive = slices.DeleteFunc(r.alive, func(e int) bool { return e == entrant })
}

// Alive is how many entrants are left.
func (r *Race) Alive() int { return len(r.alive) }

// Rounds is the number of those that are over.
func (r *Race) Rounds() int { return r.round }
