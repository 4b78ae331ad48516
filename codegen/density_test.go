package codegen

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/arm64"
	"github.com/sparsegen/sparsegen/runtime"
)

// innermost is the loop without a loop in it that has the most multiply-adds, of a
// function's instructions as arm64.Disassembly lists them.
func innermost(list []string) (multiplyAdds, instructions int) {
	end := map[int]int{} // by the loop's first instruction
	for i, s := range list {
		op, at, _ := strings.Cut(s, " ")
		if first, err := strconv.Atoi(at[strings.LastIndexByte(at, ' ')+1:]); err == nil && first <= i && op[0] == 'b' {
			end[first] = i
		}
	}
	for first, last := range end {
		fused, inner := 0, true
		for i := first; i <= last; i++ {
			if strings.HasPrefix(list[i], "fmla ") {
				fused++
			}
			if _, ok := end[i]; ok && i != first {
				inner = false
			}
		}
		if inner && (fused > multiplyAdds || fused == multiplyAdds && last-first+1 < instructions) {
			multiplyAdds, instructions = fused, last-first+1
		}
	}
	return multiplyAdds, instructions
}

// TestInstructionsOfInnerLoops holds the inner loops of 1x1 convolutions on NEON to
// what docs/benchmarks.md says of them, which is less for each multiply-add than in
// XNNPACK's loop of the same kind (32 pixels by 4 channels, or by 1): 65
// instructions for 32 of them, or 21 for 8, as GCC 12 compiles them.
func TestInstructionsOfInnerLoops(t *testing.T) {
	for _, c := range []struct {
		key                        runtime.KernelKey
		multiplyAdds, instructions int
		peer                       float64 // instructions for each multiply-add; 0 is none of the kind
	}{
		{runtime.KernelKey{Op: runtime.PanelBlock, MR: 4, T: 24}, 24, 35, 65. / 32},
		{runtime.KernelKey{Op: runtime.PanelGrouped, MR: 4, T: 24}, 24, 35, 65. / 32},
		{runtime.KernelKey{Op: runtime.PanelGrouped, MR: 1, T: 112}, 112, 187, 21. / 8},
		{runtime.KernelKey{Op: runtime.PanelGrouped, MR: 1, T: 32}, 32, 67, 21. / 8},
		{runtime.KernelKey{Op: runtime.PanelDense, MR: 4, T: 24}, 96, 122, 0},
		{runtime.KernelKey{Op: runtime.PanelDense, MR: 6, T: 16}, 96, 121, 0},
	} {
		k := Kernel{c.key, runtime.NEON}
		files, err := Emit([]Kernel{k}, EmitOptions{Package: "kern", Spec: "one.sg"})
		require.NoError(t, err)
		lists, err := arm64.Disassembly(files[0].Data)
		require.NoError(t, err)
		fused, all := innermost(lists[functionName(k.Key, machines[k.ISA])])
		require.Equal(t, fmt.Sprint(c.multiplyAdds, " in ", c.instructions), fmt.Sprint(fused, " in ", all), "%v", c.key)
		if c.peer > 0 {
			require.LessOrEqual(t, float64(all)/float64(fused), c.peer, "%v", c.key)
		}
	}
}
