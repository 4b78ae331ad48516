package amd64

import (
	"testing"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
	"github.com/stretchr/testify/require"
)

// TestCheckVectors: a function uses no vector register beyond those that its
// instruction set can encode; other registers are not its concern.
func TestCheckVectors(t *testing.T) {
	for _, c := range []struct {
		y    reg.VecPhysical
		n    int
		want string
	}{
		{reg.Y15, 16, ""}, {reg.Y16, 16, "vector register 16 of 16"}, {reg.Y31, 16, "vector register 31 of 16"},
		{reg.Y31, 32, ""}, {reg.Y7, 8, ""}, {reg.Y8, 8, "vector register 8 of 8"},
	} {
		b := build.NewContext()
		b.Function("f")
		b.MOVQ(reg.R15, reg.R14)
		b.VADDPS(reg.Y0, reg.Y1, c.y)
		b.RET()
		file, err := b.Result()
		require.NoError(t, err)
		err = checkVectors(file.Functions()[0], c.n)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}
