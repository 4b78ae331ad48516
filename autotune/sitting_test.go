package autotune

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// held runs all sittings of a race of n entrants, the first being the default, whose times a
// sitting may change.
func held(n int, noise float64, seed uint64, times func(sitting, entrant int) float64) *Race {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := NewRace(n+1, 0, n, seed)
	return hold(r, func(order []int) (samples []Sample) {
		for _, e := range order {
			samples = append(samples, Sample{e, times(r.Sittings()-1, e%n) * (1 + noise*rng.ExpFloat64()), 1})
		}
		return samples
	})
}

// TestOneSittingDecidesNothing: what disturbs a sitting as a whole, and makes a slow candidate
// the fastest one for as long, does not replace the default, nor keep it where the others agree.
func TestOneSittingDecidesNothing(t *testing.T) {
	for _, c := range []struct {
		quiet, loud float64 // of the candidate; the default takes 100
		disturbed   int
		winner      int
		sittings    int
	}{
		{115, 93, 0, 0, 7},
		{115, 93, 3, 0, 1},    // never
		{100.5, 93, 1, 0, 14}, // one that scatters so leaves doubts
		{102, 93, 1, 0, 9},
		{111, 93, 1, 0, 1},
		{106, 93, 1, 0, 7},
		{90, 104, 1, 1, 7},
		{90, 104, 2, 1, 7},
	} {
		r := held(2, 0.01, 1, func(sitting, e int) float64 {
			switch {
			case e == 0:
				return 100
			case sitting == c.disturbed:
				return c.loud
			}
			return c.quiet
		})
		require.Equal(t, c.winner, r.Verdict().Winner, "%+v", c)
		require.Equal(t, c.sittings, r.Sittings(), "%+v", c)
	}
}

// TestEliminationsAreNoVote: what is wrong in them and in one play-off after them does not replace the default.
func TestEliminationsAreNoVote(t *testing.T) {
	for wrong := 1; wrong <= 2; wrong++ {
		r := held(2, 0.01, 1, func(sitting, e int) float64 {
			if e == 1 && (sitting == 0 || sitting == wrong) {
				return 84
			}
			return []float64{100, 110}[e]
		})
		require.Equal(t, 0, r.Verdict().Winner, "play-off %d", wrong)
		require.LessOrEqual(t, r.Sittings(), 8)
	}
}

// TestSittingsThatSeeNothing: a machine may be in one of two states by sitting, in one of which a candidate
// gains much and in the other nothing. It replaces the default when enough sittings say so, unless it loses in more than a few.
func TestSittingsThatSeeNothing(t *testing.T) {
	for _, c := range []struct {
		ratios []float64 // of the candidate's times to the default's, by sitting
		times  int       // that they repeat
		winner int
	}{
		{[]float64{0.7, 1.003, 0.7, 1.003, 0.7}, 1, 0},
		{[]float64{0.7, 1.003, 0.7, 1.003, 0.7}, 2, 1},
		{[]float64{0.7, 1.1, 0.7, 1.1, 0.7}, 1, 0},
		{[]float64{0.7, 1.1, 0.7, 1.1, 0.7}, 2, 1},
		{[]float64{0.7, 1.1, 0.7, 1.1}, 2, 0},
		{[]float64{0.9, 1.003, 0.9, 1.003, 0.9, 1.003, 0.9}, 1, 1},
		{[]float64{0.9, 1.02, 0.9, 1.02, 0.9, 1.02, 0.9}, 1, 0},
		{[]float64{0.9, 1.02, 0.9, 1.02, 0.9, 1.02, 0.9}, 2, 1},
		{[]float64{0.9, 1.02, 0.9, 1.02, 0.9, 1.02}, 3, 0},
		{[]float64{0.96, 1.1, 0.96, 0.96, 0.97, 0.96, 0.96, 0.96}, 1, 0},
		{[]float64{0.96, 1.1, 0.96, 0.96, 0.97, 0.96, 0.96, 0.96}, 2, 1},
		{[]float64{0.96, 1.1, 1.2, 0.96, 0.97, 0.96, 0.96, 0.96}, 2, 0},
		{[]float64{0.96, 1.1, 0.96, 1.1, 0.96, 1.1, 0.96, 1.1}, 1, 0},
	} {
		r := NewRace(3, 0, 2, 1)
		for _, ratio := range append([]float64{1}, slices.Repeat(c.ratios, c.times)...) { // eliminations, and play-offs
			var rounds []int
			for i := range 16 {
				rounds = append(rounds, r.round)
				for e, ns := range []float64{100, 100*ratio + float64(i)/1000, 100} {
					r.rounds[e] = append(r.rounds[e], ns)
				}
				r.round++
			}
			r.behind, r.begun = append(r.behind, rounds), append(r.begun, r.round)
		}
		require.Equal(t, c.winner, r.Verdict().Winner, "%v %d times", c.ratios, c.times)
	}
}

// TestDoubtsHaveFurtherSittings: where what play-offs say of a kernel scatters by as much as it gains, there are more of them until most
// races find it; not where they agree, nor for races whose samples take long.
func TestDoubtsHaveFurtherSittings(t *testing.T) {
	const races = 200
	found, sittings := 0, 0
	for seed := range uint64(races) {
		rng := rand.New(rand.NewPCG(seed, 12))
		var state [mostSittings]float64
		for s := range state {
			state[s] = 0.03 * rng.NormFloat64()
		}
		r := held(2, 0.01, seed, func(s, e int) float64 { return []float64{100, 96.5 * math.Exp(state[s])}[e] })
		found += btoi(r.Verdict().Winner == 1)
		sittings += r.Sittings()
	}
	require.Greater(t, found, races*95/100)
	require.Less(t, sittings, 12*races)

	for ns, want := range map[float64]int{100: mostSittings, 2e8: 8} {
		r := held(2, 0, 1, func(s, e int) float64 { return ns * []float64{1, []float64{0.96, 1.04}[s%2]}[e] })
		require.Equal(t, want, r.Sittings())
		require.Equal(t, 0, r.Verdict().Winner)
	}
}

// TestScatterIsNoGain: a gain that most play-offs see, by all their rounds, does not let a kernel replace the default where it is small
// beside what they scatter by.
func TestScatterIsNoGain(t *testing.T) {
	for slow, want := range map[float64]int{1.08: 0, 0.99: 1} {
		r := held(2, 0.001, 1, func(s, e int) float64 {
			if e == 1 && s%7 > 4 {
				return 100 * slow
			}
			return []float64{100, 98.5}[e]
		})
		v := r.Verdict()
		require.Equal(t, want, v.Winner, "%v", slow)
		require.Less(t, v.P, significance)
		require.True(t, v.gains())
	}
}

// TestNothingAtStake: where the default leads by much, eliminations are enough, and where it loses by a quarter two play-offs; all others
// have six, twelve for a gain of half a percent to five; what is within a percent of the default does not replace it.
func TestNothingAtStake(t *testing.T) {
	for _, c := range []struct {
		times    []float64
		winner   int
		sittings int
	}{
		{[]float64{100, 111, 115}, 0, 1},
		{[]float64{100, 106, 110}, 0, 7},
		{[]float64{100, 104, 110}, 0, 7},
		{[]float64{100}, 0, 1},
		{[]float64{100, 70, 80}, 1, 3},
		{[]float64{100, 90, 95}, 1, 7},
		{[]float64{100, 99.3, 99.6}, 0, 13},
		{[]float64{100, 98, 97.9}, 2, 13},
		{[]float64{100, 99.6}, 0, 7},
		{[]float64{100, 101}, 0, 7},
		{[]float64{100, 97, 97}, 1, 13},
		{[]float64{100, 94, 97}, 1, 7},
	} {
		r := held(len(c.times), 0, 1, func(_, e int) float64 { return c.times[e] })
		require.Equal(t, c.winner, r.Verdict().Winner, "%v", c.times)
		require.Equal(t, c.sittings, r.Sittings(), "%v", c.times)
	}
}

// TestColdRacesHaveMoreRounds: where weights come from memory samples are short, and so there are more of them, for the same
// eliminations and play-offs.
func TestColdRacesHaveMoreRounds(t *testing.T) {
	rounds := func(weights string) int {
		c := newContest(Linear{}, job{problem: Problem{Weights: weights}}, []string{"a", "b"}, 0, nil)
		hold(c.race, func(order []int) (samples []Sample) {
			for _, e := range order {
				samples = append(samples, Sample{e, []float64{100, 99.7, 100}[e], 1})
			}
			return samples
		})
		require.Equal(t, 7, c.race.Sittings())
		return c.race.Rounds()
	}
	require.Equal(t, 6+6*leastPlayoff, rounds("warm"))
	require.Equal(t, coldFiner*(6+6*leastPlayoff), rounds("cold"))
}

// TestSittingsAgainstStates: where a machine's state favours each kernel by some percent
// either way for as long as a sitting lasts, races in sittings are seldom wrong, and those in one are often.
func TestSittingsAgainstStates(t *testing.T) {
	const races, entrants = 200, 6
	slower := map[int]int{}
	for most := range 2 {
		for seed := range uint64(races) {
			rng := rand.New(rand.NewPCG(seed, 9))
			var truth [entrants]float64
			var state [mostSittings][entrants]float64
			for e := range entrants {
				truth[e] = 100
				if e > 0 {
					truth[e] += 5 * rng.Float64()
				}
				for s := range state {
					if rng.IntN(4) == 0 {
						state[s][e] = 0.05 * rng.NormFloat64()
					}
				}
			}
			r := held(entrants, 0.02, seed, func(s, e int) float64 { return truth[e] * math.Exp(state[s*most][e]) })
			if most == 0 { // all in the state of the first sitting
				require.LessOrEqual(t, r.Sittings(), mostSittings)
			}
			if truth[r.Verdict().Winner] > 101 {
				slower[most]++
			}
		}
	}
	require.Greater(t, slower[0], races/10)
	require.Less(t, slower[1], slower[0]/3)
}

// TestSameSamplesSameSittings: a race that is taken up from its samples is the same race.
func TestSameSamplesSameSittings(t *testing.T) {
	var behind [][]Sample
	rng := rand.New(rand.NewPCG(3, 3))
	l, j := Linear{}, job{problem: Problem{Op: "linear"}}
	names := []string{"a", "b", "c"}
	c := newContest(l, j, names, 0, nil)
	for {
		for order := c.race.Next(); order != nil; order = c.race.Next() {
			var samples []Sample
			for _, e := range order {
				samples = append(samples, Sample{e, []float64{100, 95, 94, 100}[e] * (1 + 0.01*rng.ExpFloat64()), 1})
			}
			behind = append(behind, samples)
			c.race.Add(samples)
			require.Equal(t, c.race, newContest(l, j, names, 0, behind).race)
		}
		if !c.race.Again() {
			break
		}
		c.race.Sit()
	}
	require.Greater(t, c.race.Sittings(), 1)
	require.Equal(t, c.race, newContest(l, j, names, 0, append(behind, behind...)).race, "what no race wants does not count")
}

// gains is the time of panels of four rows, somewhat less than the others'.
func gains(v sgp.Variant) float64 {
	if preferPanels(v) == 1000 {
		return 2700
	}
	return 3000
}

// TestTuningGoesOnBetweenSittings: a tuning that is stopped at any round, between two sittings
// too, is taken up there: nothing is measured twice, and its records are those of one without a stop.
// Until then the default stays.
func TestTuningGoesOnBetweenSittings(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 96, 8, 16)
	other := linearOf(t, "out", "unstructured(sparsity=0.8)", 64, 96, 8, 8)
	whole := &fake{exact: true, ns: gains}
	dir := t.TempDir()
	sum, _, err := tuned(t, dir, whole, Options{}, l, other)
	require.NoError(t, err)
	require.Equal(t, []int{3, 3, 0}, []int{sum.Tuned, sum.Changed, sum.Provisional})
	records := func(dir string) []Record {
		records := Load(dir)
		require.Empty(t, records.Notes)
		list := records.All("test-1")
		for i := range list {
			list[i].Load = Conditions{} // of the real machine
		}
		return list
	}
	want := records(dir)
	for _, rec := range want {
		require.False(t, rec.Provisional)
		require.Equal(t, 7, rec.Sittings)
	}
	require.GreaterOrEqual(t, whole.rounds, 3*(6+6*leastPlayoff))

	provisional := 0
	for stop := 1; stop < whole.rounds; stop += 17 {
		dir := t.TempDir()
		first := &fake{exact: true, ns: gains, stop: stop}
		_, _, err := tuned(t, dir, first, Options{}, l, other)
		require.ErrorIs(t, err, errStop)
		until := records(dir)
		for _, rec := range until {
			if rec.Provisional {
				provisional++
				require.Less(t, rec.Sittings, 7)
				require.Equal(t, rec.Default, rec.Config)
			}
		}
		if len(until) == 3 {
			require.Equal(t, Exact, NewLookup(Load(dir), "test-1").Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2).Source)
		}
		second := &fake{exact: true, ns: gains}
		sum, notes, err := tuned(t, dir, second, Options{}, l, other)
		require.NoError(t, err)
		require.Empty(t, notes)
		require.Equal(t, whole.rounds-stop, second.rounds, "stopped after %d", stop)
		require.Equal(t, 3, sum.Tuned+sum.Known)
		require.Equal(t, want, records(dir), "stopped after %d", stop)
		require.NoFileExists(t, journalPath(dir, "test-1"))
	}
	require.NotZero(t, provisional)
}

// TestProvisionalWithoutJournal: where the rounds of a provisional record are gone, its race
// is held anew.
func TestProvisionalWithoutJournal(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 96, 8, 8)
	_, _, err := tuned(t, dir, &fake{exact: true, ns: gains}, Options{}, l)
	require.NoError(t, err)
	records := Load(dir)
	rec := records.All("test-1")[0]
	rec.Provisional, rec.Sittings = true, 1
	require.NoError(t, records.Save(rec))
	again := &fake{exact: true, ns: gains}
	sum, _, err := tuned(t, dir, again, Options{}, l)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, []int{sum.Known, sum.Tuned})
	require.NotContains(t, read(t, dir, "linear.jsonl"), "provisional")
	require.GreaterOrEqual(t, again.rounds, 6+leastPlayoff)
}

// TestBudgetBetweenSittings: first sittings come first, and what the budget leaves unconfirmed
// is counted, kept and confirmed by the next tuning.
func TestBudgetBetweenSittings(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 96, 8, 16)
	whole := &fake{exact: true, ns: gains}
	_, _, err := tuned(t, t.TempDir(), whole, Options{}, l)
	require.NoError(t, err)

	b := &fake{t: t, exact: true, ns: gains, rng: rand.New(rand.NewPCG(4, 4))}
	clock := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}, Budget: time.Hour})
	tn.env.Microarch, tn.bench, tn.worker, tn.apart = "test-1", b, "fake", 0
	tn.now = func() time.Time {
		if len(Load(dir).All("test-1")) == 2 { // both first sittings are over
			return clock.Add(2 * time.Hour)
		}
		return clock
	}
	require.NoError(t, (&Calibration{ISA: "avx2", Clock: 2, Machine: tn.env}).save(dir, runtime.AVX2))
	sum, err := tn.run(t.Context(), []Linear{l})
	require.NoError(t, err)
	require.Equal(t, []int{2, 0, 2}, []int{sum.Tuned, sum.Left, sum.Provisional})
	require.FileExists(t, journalPath(dir, "test-1"))

	next := &fake{exact: true, ns: gains}
	sum, _, err = tuned(t, dir, next, Options{}, l)
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{sum.Tuned, sum.Provisional})
	require.Equal(t, whole.rounds, b.rounds+next.rounds)
	require.NoFileExists(t, journalPath(dir, "test-1"))
}

// TestCheckConfirms: a drift that another sitting does not see is none.
func TestCheckConfirms(t *testing.T) {
	for _, confirmed := range []bool{true, false} {
		dir := t.TempDir()
		l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 96, 8, 8)
		_, _, err := tuned(t, dir, &fake{exact: true, ns: gains}, Options{}, l)
		require.NoError(t, err)
		rec := Load(dir).All("test-1")[0]
		committed, err := codegen.ParseConfig(rec.Config)
		require.NoError(t, err)
		opened := map[bool]int{}
		b := &fake{t: t, exact: true, rng: rand.New(rand.NewPCG(4, 4))}
		b.ns = func(v sgp.Variant) float64 {
			own := gains(v) == 2700
			opened[own]++
			if own && (confirmed || opened[own] <= 2) { // it and its twin, in the first sitting
				return 3300
			}
			return gains(v)
		}
		tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}})
		tn.env.Microarch, tn.bench, tn.worker, tn.apart = "test-1", b, "fake", 0
		drifts, checked, err := tn.check(t.Context(), []Linear{l})
		require.NoError(t, err)
		require.Equal(t, 1, checked)
		require.Equal(t, confirmed, len(drifts) == 1, "%v: %v", committed, drifts)
	}
}
