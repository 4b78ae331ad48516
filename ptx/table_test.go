package ptx_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
)

// TestEveryRow builds every row for every target that it claims, and has ptxas
// assemble it with the PTX ISA that it claims.
func TestEveryRow(t *testing.T) {
	t.Log(ptx.RowCounts())
	for _, target := range ptx.Targets() {
		for i, mod := range ptx.RowModules(target, 600, false) {
			t.Run(fmt.Sprintf("%s/isa%s/%d", target, mod.ISA, i), func(t *testing.T) {
				text, err := mod.Text()
				require.NoError(t, err)
				ptxtest.Assemble(t, text, target)
			})
		}
	}
}
