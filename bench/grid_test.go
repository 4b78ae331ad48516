package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/bench/peers"
)

func TestGridNamesAreUnique(t *testing.T) {
	cases, err := grid("none")
	require.NoError(t, err)
	require.Len(t, cases, 8*5+3*4*7+4*7)
	seen := map[string]bool{}
	for _, c := range cases {
		require.False(t, seen[c.Name()], c.Name())
		seen[c.Name()] = true
		require.Equal(t, c.Family == "linear" && c.Problem.Batch == 1, c.Cold, c.Name())
	}
}

func TestEveryFloorSelectsCases(t *testing.T) {
	cases, err := grid("none")
	require.NoError(t, err)
	want := []int{ // by floor, in order
		8 + 6, 5, 5, 5, 5, 8 * 4, 6, 6, 6, 3, 3, 1, 1, 1, 12, len(cases),
	}
	require.Len(t, floors, len(want))
	for i, f := range floors {
		n := 0
		for _, c := range cases {
			if f.Select.matches(c) {
				n++
			}
		}
		require.Equal(t, want[i], n, f.Title)
	}
}

func TestPatterns(t *testing.T) {
	const out, in = 64, 128
	count := func(w []float32) (n int) {
		for _, v := range w {
			if v != 0 {
				n++
			}
		}
		return n
	}
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(p Pattern) []float32 {
		w, err := drawWeights(rng, p, out, in)
		require.NoError(t, err)
		return w
	}
	require.Equal(t, out*in, count(draw(dense)))
	for _, c := range []struct {
		p Pattern
		n int
	}{{nm24, 2}, {nm14, 1}} {
		w := draw(c.p)
		for g := 0; g < len(w); g += 4 {
			require.Equal(t, c.n, count(w[g:g+4]))
		}
	}
	w := draw(block41)
	for o := 0; o < out; o += 4 {
		for k := range in {
			for i := 1; i < 4; i++ {
				require.Equal(t, w[o*in+k] == 0, w[(o+i)*in+k] == 0)
			}
		}
	}
	require.InDelta(t, 0.1, float64(count(w))/(out*in), 0.04)
	require.InDelta(t, 0.3, float64(count(draw(unstructured(70))))/(out*in), 0.04)
	w = draw(channelHalf)
	require.Equal(t, out*in/2, count(w))
	for k := range in {
		for o := range out {
			require.Equal(t, w[k] == 0, w[o*in+k] == 0)
		}
	}
	_, err := drawWeights(rng, nm24, 4, 6)
	require.EqualError(t, err, "nm(2,4): 4 does not divide 6 inputs")
	_, err = drawWeights(rng, block41, 6, 4)
	require.EqualError(t, err, "block(4,1)@90: blocks of 4×1 do not divide [6, 4]")
}

func TestDLMCFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "net", "0.5"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "net", "0.5", "fc.smtx"), []byte("2, 3, 3\n0 1 3\n2 0 1\n"), 0o644))
	cases, err := dlmcCases(dir)
	require.NoError(t, err)
	require.Len(t, cases, 1)
	require.Equal(t, "dlmc/3x2@256/net/0.5/fc", cases[0].Name())
	keep, err := cases[0].Pattern.Keep(nil, 2, 3)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true, true, true, false}, keep)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.smtx"), []byte("2\n"), 0o644))
	_, err = dlmcCases(dir)
	require.ErrorContains(t, err, "bad.smtx")
}

func TestReferenceCatchesWrongResults(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, l := range []peers.Layout{peers.TokenMajor, peers.FeatureMajor} {
		p := peers.Problem{Out: 6, In: 8, Batch: 5, Layout: l}
		w, err := drawWeights(rng, nm24, p.Out, p.In)
		require.NoError(t, err)
		x, y := make([]float32, p.In*p.Batch), make([]float32, p.Out*p.Batch)
		values(rng, x)
		r, err := plain{}.Prepare(w, p.Out, p.In, "nm(2,4)", l, p.Batch)
		require.NoError(t, err)
		r.Run(x, y)
		ref := newReference(w, x, p)
		_, err = ref.check(y, p)
		require.NoError(t, err)
		share, probed := skipped(r.Run, w, x, y, p)
		require.True(t, probed)
		require.Equal(t, 1.0, share)

		all, err := plain{}.Prepare(w, p.Out, p.In, "dense", l, p.Batch)
		require.NoError(t, err)
		share, probed = skipped(all.Run, w, x, y, p)
		require.True(t, probed)
		require.Zero(t, share)
		r.Run(x, y) // x is what it was
		_, err = ref.check(y, p)
		require.NoError(t, err)

		// One unit of γ too far, an element left out, and not a number.
		for _, wrong := range []func(v float32) float32{
			func(v float32) float32 { return v + float32(2.5*ref.bound[7]) },
			func(float32) float32 { return 0 },
			func(float32) float32 { return float32(math.NaN()) },
		} {
			keep := y[7]
			y[7] = wrong(keep)
			_, err = ref.check(y, p)
			require.ErrorContains(t, err, map[peers.Layout]string{
				peers.TokenMajor: "feature 1, batch 1", peers.FeatureMajor: "feature 1, batch 2",
			}[l])
			y[7] = keep
		}
	}
}

func TestSpeedupIsPaired(t *testing.T) {
	// The second round was twice as slow for both: the ratio does not see it.
	s := speedup([]float64{1, 2, 1}, []float64{3, 6, 3})
	require.Equal(t, Spread{3, 3, 3}, s)
	require.Equal(t, Spread{Median: 2.5, P10: 1.3, P90: 3.7}, spreadOf([]float64{4, 1, 3, 2}))
	require.InDelta(t, 4, geomean([]float64{2, 8}), 1e-12)
}

func TestJudge(t *testing.T) {
	result := func(batch int, times map[string]float64) Result {
		c := Case{"linear", peers.Problem{Out: 8, In: 8, Batch: batch}, nm24, false}
		r := Result{Name: c.Name(), c: c}
		for name, v := range times {
			e := Entry{Name: name, failed: v == 0}
			if v > 0 {
				e.samples, e.Micros = []float64{v, v}, &Spread{v, v, v}
			}
			r.Contenders = append(r.Contenders, e)
		}
		return r
	}
	floor := Floor{"t", linear("nm(2,4)", manyTokens), oursName, bestDense, 1.3, 1.9}
	verdict := func(r ...Result) Verdict { return judge([]Floor{floor}, r)[0] }

	v := verdict(
		result(32, map[string]float64{"openblas": 4, "onednn": 2, oursDenseName: 3, oursName: 1}), // 2× onednn
		result(8, map[string]float64{"openblas": 1, oursName: 1}),                                 // not selected
	)
	require.True(t, v.Reached)
	require.Equal(t, 1, v.StretchCount)
	require.Equal(t, []FloorCase{{"linear/8x8/b32/nm(2,4)", "onednn", Spread{2, 2, 2}, true}}, v.Cases)

	v = verdict(
		result(32, map[string]float64{"openblas": 4, oursName: 1}),
		result(64, map[string]float64{"openblas": 4, oursDenseName: 1.2, oursName: 1}),
	)
	require.False(t, v.Reached)
	require.Equal(t, 1, v.ReachedCount)
	require.Equal(t, "linear/8x8/b64/nm(2,4)", v.worstCase().Case)

	require.False(t, verdict(result(32, map[string]float64{"openblas": 4, oursName: 0})).Reached, "a failed contender misses")
	require.False(t, verdict().Reached, "nothing measured is nothing reached")
}
