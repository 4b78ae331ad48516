package runtime

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// TestTokensOfABatch: calls cover each token, and none computes more than half as many tokens
// again as it has to.
func TestTokensOfABatch(t *testing.T) {
	for _, c := range []struct {
		batch  int
		ladder []int // tokens of the kernels, ascending
		want   []int // tokens of the calls
	}{
		{1, []int{1, 2, 4, 8, 12}, []int{1}},
		{3, []int{1, 2, 4, 8, 12}, []int{4}},
		{5, []int{1, 2, 4, 8, 12}, []int{4, 1}},
		{6, []int{1, 2, 4, 8, 12}, []int{8}},
		{8, []int{1, 2, 4, 8, 12}, []int{8}}, // and not 12, which is no more than half as many again
		{9, []int{1, 2, 4, 8, 12}, []int{12}},
		{20, []int{1, 2, 4, 8, 12}, []int{12, 8}},
		{4, []int{1, 2, 4, 6}, []int{4}},
		{5, []int{1, 2, 4, 6}, []int{6}},
		{8, []int{1, 2, 4, 6}, []int{6, 2}},
		{3, []int{8}, []int{8}},
	} {
		d := &lanesLinear{linear: linear{out: 1}, stored: 1}
		for _, n := range c.ladder {
			d.kernels = append(d.kernels, lanesKernel{tokens: n})
		}
		d.prepare(c.batch)
		var got []int
		at := 0
		for _, call := range d.calls {
			require.LessOrEqual(t, call.first, at)
			at = call.first + call.kernel.tokens
			got = append(got, call.kernel.tokens)
		}
		require.GreaterOrEqual(t, at, c.batch)
		require.Equal(t, c.want, got, "%d tokens by kernels of %v", c.batch, c.ladder)
	}
}

// TestTokensThatCollide: where rows of x lie so far apart that a first-level cache has no
// room for the lines of all tokens of a call, kernels get them from scratch, at another distance, and give the same bits.
func TestTokensThatCollide(t *testing.T) {
	const out, batch = 8, 36
	for _, c := range []struct{ in, tokens, distance int }{
		{1024, 12, 1040}, {1024, 8, 1024}, {1040, 12, 1040}, {512, 12, 512}, {2048, 12, 2064},
	} {
		rng := rand.New(rand.NewPCG(5, uint64(c.in)))
		d := randomDense(rng, out, c.in, 1)
		v := sgp.Variant{BatchMin: 1, BatchMax: batch, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}
		lin := &sgp.Linear{Out: out, In: c.in, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
		x := randomFloats(rng, c.in*batch)
		run := func(tokens int) (y []float32, distances []int) {
			key := KernelKey{Op: LanesDense, S: 8, NB: uint8(tokens)}
			f := interpret(key).(LanesFunc)
			set := Set{Kernels: []Kernel{{Key: key, Fn: LanesFunc(func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, meta *byte, cnt *uint32, k int, bias *float32, lo, hi float32, n int) {
				distances = append(distances, int(ldx)/4)
				f(y, ldy, x, ldx, w, meta, cnt, k, bias, lo, hi, n)
			})}}}
			s, err := openModel(t, linearLayer(lin, false, batch), set).NewSession("l")
			require.NoError(t, err)
			defer s.Close()
			y = randomFloats(rng, out*batch)
			require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
			return y, slices.Compact(distances)
		}
		want, _ := run(1)
		got, distances := run(c.tokens)
		require.Equal(t, []int{c.distance}, distances, "%+v", c)
		require.Equal(t, want, got, "%+v", c)
	}
}
