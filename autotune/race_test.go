package autotune

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// hold runs all sittings of a race.
func hold(r *Race, round func(order []int) []Sample) *Race {
	for {
		for order := r.Next(); order != nil; order = r.Next() {
			r.Add(round(order))
		}
		if !r.Again() {
			return r
		}
		r.Sit()
	}
}

// simulate runs a race of entrants with these true times, the first being the
// default, under delays that only ever add to a sample.
func simulate(times []float64, noise float64, seed uint64) *Race {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := len(times)
	all := append(append([]float64{}, times...), times[0])
	return hold(NewRace(n+1, 0, n, seed), func(order []int) (samples []Sample) {
		drift := 1 + noise*rng.Float64() // of a round: the clock rate, the neighbours
		for _, e := range order {
			delay := noise * rng.ExpFloat64()
			samples = append(samples, Sample{e, all[e] * drift * (1 + delay), 1})
		}
		return samples
	})
}

// TestNobodyLeavesEarly: no entrant leaves before four samples, none within the
// stage's slack does, nor in a play-off before its sixth round, and the default and its twin stay to the end.
func TestNobodyLeavesEarly(t *testing.T) {
	times := []float64{150, 100, 104, 109, 139, 139.5, 250, 1000}
	last := map[int]int{} // samples of each
	n := len(times)
	times = append(times, times[0])
	r := hold(NewRace(n+1, 0, n, 3), func(order []int) (samples []Sample) {
		for _, e := range order {
			last[e]++
			samples = append(samples, Sample{e, times[e], 1})
		}
		return samples
	})
	require.Equal(t, map[int]int{0: 24, 8: 24, 1: 24, 2: 14, 3: 14, 4: 8, 5: 8, 6: 4, 7: 4}, last)
	v := r.Verdict()
	require.Equal(t, 1, v.Winner)
	require.InDelta(t, 1.0/3, v.Gain, 1e-9)
	require.Zero(t, v.Noise)
	require.Equal(t, []int{1, 0, 2}, r.Ranking()[:3])
}

// TestHeldStays: who is held runs in every round, however slow, and what it loses by is known.
func TestHeldStays(t *testing.T) {
	times := []float64{90, 140, 88.5, 91, 90}
	r := hold(NewRace(5, 0, 4, 3, 1), func(order []int) (samples []Sample) {
		for _, e := range order {
			samples = append(samples, Sample{e, times[e], 1})
		}
		return samples
	})
	require.Equal(t, r.Timing(0).Samples, r.Timing(1).Samples)
	require.Equal(t, 2, r.Verdict().Winner)
	gain, p := r.Gain(2, 1)
	require.InDelta(t, 1-88.5/140, gain, 1e-12)
	require.Less(t, p, 1e-9)
	gain, p = r.Gain(1, 2)
	require.InDelta(t, 1-140/88.5, gain, 1e-12)
	require.InDelta(t, 1, p, 1e-12)
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
	require.Equal(t, mostAgain, ran, "the default, which is the fastest, and others")
	require.Equal(t, 0, r.Verdict().Winner)
}

// TestSameSamplesSameRace: what Next says depends on the samples alone.
func TestSameSamplesSameRace(t *testing.T) {
	times := []float64{100, 101, 99, 130, 135, 300}
	require.Equal(t, simulate(times, 0.1, 9), simulate(times, 0.1, 9))
	require.NotEqual(t, NewRace(7, 0, 6, 1).Next(), NewRace(7, 0, 6, 2).Next())
}

// sureRounds is how many rounds have to be won, all of them, for p < 0.001.
const sureRounds = 10

// TestPlayoffsEnd: where rounds take long, after a few; by a wide lead, when the sign test is sure, and where nobody gains what it
// takes, after the fewest; in doubt after more.
func TestPlayoffsEnd(t *testing.T) {
	const first = 6
	for _, c := range []struct {
		times    []float64
		noise    float64
		rounds   int
		sittings int
		winner   int
	}{
		{[]float64{5e7, 3e7}, 0.01, first + 2*leastLong, 3, 1},
		{[]float64{100, 90, 95}, 0, first + sureRounds + 5*leastPlayoff, 7, 1},
		{[]float64{100, 99.7}, 0, first + 6*leastPlayoff, 7, 0},
		{[]float64{100, 102}, 0, first + 6*leastPlayoff, 7, 0},
		{[]float64{100, 111}, 0, first, 1, 0},
		{[]float64{100}, 0, first, 1, 0},
	} {
		r := simulate(c.times, c.noise, 1)
		require.Equal(t, c.rounds, r.Rounds(), "%v", c.times)
		require.Equal(t, c.sittings, r.Sittings(), "%v", c.times)
		require.Equal(t, c.winner, r.Verdict().Winner, "%v", c.times)
	}
	long := 0
	for seed := range uint64(20) { // a gain that noise might take, or two that are close
		long += btoi(simulate([]float64{100, 97, 103}, 0.1, seed).Rounds() > first+8*leastPlayoff)
		long += btoi(simulate([]float64{100, 98, 98.5}, 0.1, seed).Rounds() > first+12*leastPlayoff)
	}
	require.Greater(t, long, 30)
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
		all := append(append([]float64{}, times...), times[0])
		pace, left := 1.0, 0
		r := hold(NewRace(len(times)+1, 0, len(times), seed), func(order []int) (samples []Sample) {
			for _, e := range order {
				if left--; left < 0 {
					pace, left = 1, rng.IntN(300)
					if rng.IntN(2) == 0 {
						pace = 1.45
					}
				}
				samples = append(samples, Sample{e, all[e] * pace * (1 + 0.01*rng.ExpFloat64()), 1})
			}
			return samples
		})
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

// TestDefaultIsReplacedRightly: over many races under noise, what is chosen is never slower than the
// default by what counts, a candidate that is as fast as the default replaces it hardly ever, and one that
// is clearly faster does.
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
		require.LessOrEqual(t, times[v.Winner], 101.0)
		if v.Winner != 0 {
			equal++
		}
		times[7] = 93
		v = simulate(times, 0.05, seed).Verdict()
		require.LessOrEqual(t, times[v.Winner], 101.0)
		if v.Winner == 7 {
			faster++
		}
		if !v.Refused {
			regret += times[v.Winner]/93 - 1
		}
	}
	require.Less(t, equal, races/50)
	require.Greater(t, faster, races*95/100)
	require.Less(t, regret/races, 0.005)
}

// TestNoiseRefuses: where the default differs from itself by more than 5 %, nothing
// is concluded; above 2 % the record says so.
func TestNoiseRefuses(t *testing.T) {
	verdict := func(twin float64) Verdict {
		return hold(NewRace(3, 0, 2, 1), func(order []int) (samples []Sample) {
			for _, e := range order {
				samples = append(samples, Sample{e, []float64{100, 50, twin}[e], 1})
			}
			return samples
		}).Verdict()
	}
	v := verdict(101)
	require.Equal(t, 1, v.Winner)
	require.InDelta(t, 0.01, v.Noise, 1e-12)
	require.InDelta(t, 1-50/math.Sqrt(100*101), v.Gain, 1e-12)
	require.InDelta(t, math.Pow(2, -sureRounds-leastPlayoff), v.P, 1e-12) // eliminations do not count
	require.False(t, v.Noisy || v.Refused)
	require.True(t, verdict(103).Noisy)
	require.False(t, verdict(103).Refused)
	require.True(t, verdict(106).Refused)
	for twin, want := range map[float64]int{101: 6, 103: 6, 106: 6 + 7*mostPlayoff} { // one that is too much has further sittings
		r := hold(NewRace(2, 0, 1, 1), func([]int) []Sample { return []Sample{{0, 100, 1}, {1, twin, 1}} })
		require.Equal(t, want, r.Rounds())
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
		hold(r, func(order []int) (samples []Sample) {
			for _, e := range order {
				at++
				ns := times[e]
				if before, ran := last[e]; ran && at-before < r.Alive()/2 && r.stage().steady {
					ns *= 0.65
				}
				last[e] = at
				samples = append(samples, Sample{e, ns, 1})
			}
			return samples
		})
		require.Equal(t, 1, r.Verdict().Winner, "seed %d", seed)
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
