package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
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
