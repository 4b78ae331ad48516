package codegen

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestSlabsShareTokens: where a slab is one vector, what a kernel loads of several tokens serves the
// slabs in step, and whatever is stored of the groups whose activations fill a vector.
func TestSlabsShareTokens(t *testing.T) {
	for _, c := range []struct {
		key                        runtime.KernelKey
		isa                        runtime.ISA
		multiplyAdds, tokens, rest int // of the loop: what is loaded of tokens; weights and words of indices
	}{
		{runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 8}, runtime.AVX512, 2 * 8, 8, 2},
		{runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 12}, runtime.AVX512, 2 * 12, 12, 2},
		{runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 4}, runtime.AVX512, 4 * 4, 4, 4},
		{runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 4}, runtime.AVX2, 2 * 4, 4, 2},
		// A word has eight groups, of which four lie in a vector; 16; five, of which none do.
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 2, M: 4}, runtime.AVX512, 2 * 8 * 16, 8 * 2, 2*16 + 2},
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 1, M: 4}, runtime.AVX512, 2 * 8 * 16, 8 * 4, 2*16 + 2},
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 3, M: 4}, runtime.AVX512, 2 * 8 * 15, 8 * 5, 2*15 + 2},
		// A group is a vector; a group is two; a vector has eight groups, whose phases leave room for one slab.
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 4, M: 16}, runtime.AVX512, 2 * 8 * 8, 8 * 2, 2*8 + 2},
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 1, M: 32}, runtime.AVX512, 1 * 8 * 6, 2 * 8 * 6, 6 + 1},
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 8, N: 1, M: 2}, runtime.AVX512, 1 * 8 * 32, 8 * 4, 32 + 1},
		{runtime.KernelKey{Op: runtime.LanesNM, S: 16, NB: 4, N: 2, M: 4}, runtime.AVX2, 2 * 4 * 16, 4 * 16, 2*16 + 2},
	} {
		f, err := Build(c.key, machines[c.isa])
		require.NoError(t, err)
		fused, tokens, rest := mainLoop(t, f)
		require.Equal(t, []int{c.multiplyAdds, c.tokens, c.rest}, []int{fused, tokens, rest}, "%v, %v", c.key, c.isa)
	}
}

// mainLoop counts the multiply-adds of the first loop without a loop in it, its loads that
// repeat what they find in memory or find the activations of a vector, and its other loads.
func mainLoop(t *testing.T, f *asm.Func) (multiplyAdds, tokens, others int) {
	at := map[string]int{} // labels
	for i, in := range f.Insts {
		if in.Op == asm.OpLabel {
			at[in.Name] = i
		}
		first, seen := at[in.Name]
		if in.Op != asm.OpJump && in.Op != asm.OpDecJump || !seen {
			continue
		}
		for _, in := range f.Insts[first:i] {
			switch in.Op {
			case asm.OpFMA, asm.OpFMAMem, asm.OpFMABcast:
				multiplyAdds++
			case asm.OpBcast, asm.OpBcastN:
				tokens++
			case asm.OpLoad:
				others++
			}
		}
		return multiplyAdds, tokens, others
	}
	t.Fatal("no loop")
	return 0, 0, 0
}
