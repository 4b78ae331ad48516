package codegen

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// TestFormsArePackedOnce: what several goroutines ask for is what each configuration packs alone, and
// a form that was packed is not packed again.
func TestFormsArePackedOnce(t *testing.T) {
	const out, in = 23, 150
	rng := rand.New(rand.NewPCG(5, 6))
	m, mask := patterns.NewMatrix(out, in), patterns.NewMask(out, in)
	for r := range out {
		for c := range in {
			m.Data[r*m.Stride+c] = float32(rng.NormFloat64())
			if c%7 != 3 && rng.IntN(3) == 0 {
				mask.Set(r, c)
			}
		}
	}
	p := Problem{Out: out, In: in, BatchMin: 1, BatchMax: 64, TokenMajor: true}
	forms := NewForms(m, mask)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for _, c := range Space(p) {
				_, _ = forms.Pack(c)
			}
		})
	}
	all.Wait()
	packed := 0
	for _, c := range Space(p) {
		want, err := c.Pack(m, mask)
		got, again := forms.Pack(c)
		require.Equal(t, err, again, "%v", c)
		require.Equal(t, want, got, "%v", c)
		if err == nil {
			packed++
			once, _ := forms.Pack(c)
			require.True(t, once.Panel == got.Panel && once.Lanes == got.Lanes, "%v", c)
		}
	}
	require.Greater(t, packed, 10)
	_, err := NewForms(m, patterns.NewMask(out, in+1)).Pack(Space(p)[0])
	require.EqualError(t, err, "codegen: mask is [23, 151], matrix [23, 150]")
}
