package ptx_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
)

// TestEveryRow builds every row for every target that it claims, and has ptxas
// assemble it at the PTX ISA that it claims. With -short it builds them all, but assembles
// for sm_80 and sm_90a only.
func TestEveryRow(t *testing.T) {
	t.Log(ptx.RowCounts())
	for _, target := range ptx.Targets() {
		for i, mod := range ptx.RowModules(target, 600) {
			t.Run(fmt.Sprintf("%s/isa%s/%d", target, mod.ISA, i), func(t *testing.T) {
				text, err := mod.Text()
				require.NoError(t, err)
				if testing.Short() && (target == ptx.SM89() || target == ptx.SM90()) {
					return
				}
				ptxtest.Assemble(t, text, target)
			})
		}
	}
}
