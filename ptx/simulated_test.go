package ptx_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
)

// notSimulated are the forms of the table that the simulator refuses.
var notSimulated = regexp.MustCompile(`^(` +
	`ld\.param\.v[24]\..*|isspacep\..*|fns\.b32|movmatrix\..*|red\.async\..*|fence\.proxy\.tensormap.*` +
	`|cp\.reduce\.async\.bulk\.shared::cluster\..*|cp\.reduce\.async\.bulk\.global\..*\.(min|max)\.b?f16|cp\.reduce\.async\.bulk\.tensor\..*\.(inc|dec)\..*` +
	`|cvt\.r[zmp]\.f64\.[us]64|cvt\.r[nzmp]i\.[us](32|64)\.f64|cvt\.f64\.b?f16|cvt\.rn\.b?f16\.f64` +
	`)$`)

func TestSimulatorKnowsTheTable(t *testing.T) {
	for _, form := range ptx.Forms() {
		if known, refused := ptxsim.Knows(form), notSimulated.MatchString(form); known == refused {
			require.Fail(t, form, "known to the simulator: %v, on the list of those that are not: %v", known, refused)
		}
	}
}
