package probe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
)

// TestProgramsAssemble puts the programs into modules of many.
func TestProgramsAssemble(t *testing.T) {
	ps, err := All()
	require.NoError(t, err)
	ptxtest.Find(t)
	modules := map[string]*strings.Builder{}
	for i, p := range ps {
		_, err := p.Memory()
		require.NoError(t, err)
		text, ok := strings.CutPrefix(p.PTX, header)
		if !ok {
			continue // of ptx/kernels, whose tests assemble it
		}
		m := modules[p.Family]
		if m == nil {
			m = &strings.Builder{}
			m.WriteString(header)
			modules[p.Family] = m
		}
		shared, _, _ := strings.Cut(text, ".visible")
		if strings.Contains(m.String(), shared) {
			text = strings.TrimPrefix(text, shared)
		}
		m.WriteString(strings.Replace(text, ".entry k(", fmt.Sprintf(".entry k%d(", i), 1))
	}
	for family, m := range modules {
		_, log, err := ptxtest.Try(t, m.String(), ptx.SM90a())
		require.NoError(t, err, "%s: %s", family, log)
	}
	t.Log(len(ps), "programs")
}
