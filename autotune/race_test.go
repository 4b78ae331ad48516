package autotune

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// simulate runs a race of entrants with these true times, the first being the
// default, under delays that only ever add to a sample.
func simulate(times []float64, noise float64, seed uint64) *Race {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := len(times)
	r := NewRace(n+1, 0, n, seed)
	all := append(append([]float64{}, times...), times[0])
	for order := r.Next(); order != nil; order = r.Next() {
		var samples []Sample
		drift := 1 + noise*rng.Float64() // of a round: the clock rate, the neighbours
		for _, e := range order {
			delay := noise * rng.ExpFloat64()
			samples = append(samples, Sample{e, all[e] * drift * (1 + delay), 1})
		}
		r.Add(samples)
	}
	return r
}

// TestNobodyLeavesEarly: no entrant leaves before four samples, none within the
// stage's slack does, and the default and its twin stay to the end.
func TestNobodyLeavesEarly(t *testing.T) {
	times := []float64{150, 100, 104, 109, 139, 139.5, 250, 1000}
	r := NewRace(len(times)+1, 0, len(times), 3)
	last := map[int]int{} // samples of each
	times = append(times, times[0])
	for order := r.Next(); order != nil; order = r.Next() {
		var samples []Sample
		for _, e := range order {
			last[e]++
			samples = append(samples, Sample{e, times[e], 1})
		}
		r.Add(samples)
	}
	require.Equal(t, map[int]int{0: 34, 8: 34, 1: 34, 2: 22, 3: 22, 4: 8, 5: 8, 6: 4, 7: 4}, last)
	v := r.Verdict()
	require.Equal(t, 1, v.Winner)
	require.InDelta(t, 1.0/3, v.Gain, 1e-9)
	require.Zero(t, v.Noise)
	require.Equal(t, []int{1, 0, 2}, r.Ranking()[:3])
}

func TestTheFewestStayOfMany(t *testing.T) {
	var times []float64
	for i := range 100 {
		times = append(times, 100+float64(i)/100)
	}
	r := simulate(times, 0, 5)
	ran := 0
	for e := range times {
		if r.Timing(e).Samples == r.Timing(0).Samples {
			ran++
		}
	}
	require.Equal(t, 6, ran, "of the default and five more, since it is the fastest")
	require.Equal(t, 0, r.Verdict().Winner)
}

// TestSameSamplesSameRace: what Next says depends on the samples alone.
func TestSameSamplesSameRace(t *testing.T) {
	times := []float64{100, 101, 99, 130, 135, 300}
	require.Equal(t, simulate(times, 0.1, 9), simulate(times, 0.1, 9))
	require.NotEqual(t, NewRace(7, 0, 6, 1).Next(), NewRace(7, 0, 6, 2).Next())
}

// TestLongRacesEndEarly: where a round takes long, the play-off is short, but long
// enough for the sign test.
func TestLongRacesEndEarly(t *testing.T) {
	r := simulate([]float64{5e7, 3e7}, 0.01, 4)
	done, of := r.Round()
	require.Equal(t, 28, done)
	require.Equal(t, 28, of)
	require.Equal(t, 1, r.Verdict().Winner)
}

// TestRacesThatAreClearEndEarly: by a wide lead, later where nobody gains what it takes; one
// in doubt takes all of its rounds.
func TestRacesThatAreClearEndEarly(t *testing.T) {
	for _, c := range []struct {
		times  []float64
		rounds int
		winner int
	}{
		{[]float64{100, 90, 95}, 32, 1}, // with the second look at the third one
		{[]float64{100, 99.7}, 36, 0},
		{[]float64{100, 102}, 36, 0},
		{[]float64{100, 98.5}, 56, 1},     // a gain that noise might take
		{[]float64{100, 90, 90.5}, 56, 1}, // two that are close
	} {
		r := simulate(c.times, 0, 1)
		done, _ := r.Round()
		require.Equal(t, c.rounds, done, "%v", c.times)
		require.Equal(t, c.winner, r.Verdict().Winner, "%v", c.times)
	}
}

// TestSlowPhases: a machine whose core is half as fast for stretches, which begin and
// end in the middle of rounds, does not mislead a race. By fastest samples a
// candidate that saw none of the fast stretches would be out after four samples.
func TestSlowPhases(t *testing.T) {
	found, refused := 0, 0
	const races = 200
	for seed := range uint64(races) {
		rng := rand.New(rand.NewPCG(seed, 7))
		times := []float64{100, 94}
		for range 20 {
			times = append(times, 100*(1+rng.Float64()/2))
		}
		r := NewRace(len(times)+1, 0, len(times), seed)
		all := append(append([]float64{}, times...), times[0])
		pace, left := 1.0, 0
		for order := r.Next(); order != nil; order = r.Next() {
			var samples []Sample
			for _, e := range order {
				if left--; left < 0 {
					pace, left = 1, rng.IntN(300)
					if rng.IntN(2) == 0 {
						pace = 1.45
					}
				}
				samples = append(samples, Sample{e, all[e] * pace * (1 + 0.01*rng.ExpFloat64()), 1})
			}
			r.Add(samples)
		}
		v := r.Verdict()
		require.Contains(t, []int{0, 1}, v.Winner)
		if v.Refused {
			refused++
		} else if v.Winner == 1 {
			found++
		}
	}
	require.Greater(t, found, races*9/10)
	require.Less(t, refused, races/50)
}

// TestDefaultIsReplacedRightly: over many races under noise, what is chosen is never
// slower than the default, a candidate that is as fast as the default replaces it
// hardly ever, and one that is clearly faster does.
func TestDefaultIsReplacedRightly(t *testing.T) {
	equal, faster, regret := 0, 0, 0.0
	const races = 300
	for seed := range uint64(races) {
		rng := rand.New(rand.NewPCG(seed, 2))
		times := []float64{100}
		for range 30 {
			times = append(times, 100*(1+rng.Float64()))
		}
		v := simulate(times, 0.05, seed).Verdict()
		require.LessOrEqual(t, times[v.Winner], 100.0)
		if v.Winner != 0 {
			equal++
		}
		times[7] = 93
		v = simulate(times, 0.05, seed).Verdict()
		require.LessOrEqual(t, times[v.Winner], 100.0)
		if v.Winner == 7 {
			faster++
		}
		if !v.Refused {
			regret += times[v.Winner]/93 - 1
		}
	}
	require.Zero(t, equal)
	require.Greater(t, faster, races*9/10)
	require.Less(t, regret/races, 0.01)
}

// TestNoiseRefuses: where the default differs from itself by more than 5 %, nothing
// is concluded; above 2 % the record says so.
func TestNoiseRefuses(t *testing.T) {
	verdict := func(twin float64) Verdict {
		r := NewRace(3, 0, 2, 1)
		for order := r.Next(); order != nil; order = r.Next() {
			var samples []Sample
			for _, e := range order {
				samples = append(samples, Sample{e, []float64{100, 50, twin}[e], 1})
			}
			r.Add(samples)
		}
		return r.Verdict()
	}
	v := verdict(101)
	require.Equal(t, 1, v.Winner)
	require.InDelta(t, 0.01, v.Noise, 1e-12)
	require.InDelta(t, 0.5, v.Gain, 1e-12)
	require.InDelta(t, math.Pow(2, -26), v.P, 1e-18) // the first two rounds do not count
	require.False(t, v.Noisy || v.Refused)
	require.True(t, verdict(103).Noisy)
	require.False(t, verdict(103).Refused)
	require.True(t, verdict(106).Refused)
	for twin, want := range map[float64]int{101: 28, 103: 136} { // a noisy race goes on for longer
		r := NewRace(2, 0, 1, 1)
		for r.Next() != nil {
			r.Add([]Sample{{0, 100, 1}, {1, twin, 1}})
		}
		done, _ := r.Round()
		require.Equal(t, want, done)
	}
	require.Equal(t, 0, verdict(106).Winner)
}

// TestWarmSamplesOfTheFirstStage: whoever ran a moment ago finds its weights in the caches and
// takes two thirds of the time, while nobody settles. None of the others may leave for that.
func TestWarmSamplesOfTheFirstStage(t *testing.T) {
	for seed := range uint64(50) {
		times := []float64{100, 95}
		for len(times) < 17 {
			times = append(times, 105)
		}
		n := len(times)
		times = append(times, times[0])
		r := NewRace(n+1, 0, n, seed)
		last, at := map[int]int{}, 0
		for order := r.Next(); order != nil; order = r.Next() {
			var samples []Sample
			for _, e := range order {
				at++
				ns := times[e]
				if before, ran := last[e]; ran && at-before < r.Alive()/2 && r.stage().settle < settleTime/2 {
					ns *= 0.65
				}
				last[e] = at
				samples = append(samples, Sample{e, ns, 1})
			}
			r.Add(samples)
		}
		require.Equal(t, 1, r.Verdict().Winner, "seed %d", seed)
	}
}

// TestSecondLook: who left while something slowed everything down comes back, once that is
// over, and wins if it is the faster one without.
func TestSecondLook(t *testing.T) {
	quiet, loud := []float64{100, 90, 110, 100}, []float64{150, 165, 150, 150}
	for until, winner := range map[int]int{0: 1, 3: 1, 15: 1, 1000: 0} {
		r := NewRace(4, 0, 3, 1)
		left := false
		for order := r.Next(); order != nil; order = r.Next() {
			times := quiet
			if done, _ := r.Round(); done < until {
				times = loud
			}
			var samples []Sample
			for _, e := range order {
				samples = append(samples, Sample{e, times[e], 1})
			}
			r.Add(samples)
			left = left || !slices.Contains(r.alive, 1)
		}
		require.Equal(t, winner, r.Verdict().Winner, "disturbed for %d rounds", until)
		require.Equal(t, until >= 15, left)
	}
}

// TestDisturbedRounds: they do not count unless they are more than half of all.
func TestDisturbedRounds(t *testing.T) {
	times := [][]float64{{100, 150, 101, 99, 100, 160}, {50, 90, 50, 52, 49, 95}, {0, 0, 0, 33, 32, 60}}
	require.Equal(t, []int{0, 2, 3, 4}, undisturbed(times))
	require.Equal(t, []int{0, 1, 2}, undisturbed([][]float64{{100, 102, 98}}))
	require.Equal(t, []int{0, 2}, undisturbed([][]float64{{150, 160, 100}}))
	require.Empty(t, undisturbed(nil))
	require.Empty(t, undisturbed([][]float64{{}, {}}))
}

// TestDroppedStaysOut: what was dropped has no part in the second look.
func TestDroppedStaysOut(t *testing.T) {
	r := NewRace(4, 0, 3, 1)
	dropped := false
	for order := r.Next(); order != nil; order = r.Next() {
		if done, _ := r.Round(); done == 4 {
			r.Drop(1)
			dropped = true
			order = r.Next()
		}
		require.False(t, dropped && slices.Contains(order, 1))
		var samples []Sample
		for _, e := range order {
			samples = append(samples, Sample{e, []float64{100, 101, 120, 100}[e], 1})
		}
		r.Add(samples)
	}
	require.NotNil(t, r.second, "the third left and was looked at again")
}

func TestDropped(t *testing.T) {
	r := NewRace(4, 0, 3, 1)
	r.Drop(2)
	require.NotContains(t, r.Next(), 2)
	require.Equal(t, 3, r.Alive())
}

// TestSignTest against values of the binomial distribution.
func TestSignTest(t *testing.T) {
	for _, c := range []struct {
		wins, n int
		p       float64
	}{{0, 10, 1}, {10, 10, 1.0 / 1024}, {9, 10, 11.0 / 1024}, {7, 7, 1.0 / 128}, {5, 10, 638.0 / 1024}} {
		require.InDelta(t, c.p, signTest(c.wins, c.n), 1e-12)
	}
	// The share of fair races that are called significant is what it says.
	rng := rand.New(rand.NewPCG(1, 1))
	called := 0
	const trials = 20000
	for range trials {
		wins := 0
		for range 40 {
			wins += rng.IntN(2)
		}
		if signTest(wins, 40) < significance {
			called++
		}
	}
	require.Less(t, float64(called)/trials, significance*1.3)
	require.Greater(t, called, 0)
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	require.InDelta(t, 2, geomean([]float64{1, 4}), 1e-12)
}
