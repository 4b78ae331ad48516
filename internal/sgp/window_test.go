package sgp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// windows is a valid LanesWindow form of [20, 40] weights, whose places are random:
// every one of them is valid.
func windows(rng *rand.Rand) *Lanes {
	f := &Lanes{Kind: LanesWindow, S: 16, Cnt: []uint32{2, 0, 1, 0}, W: make([]float32, 3*WindowW)}
	for range 3 {
		for range 8 {
			f.Meta = binary.LittleEndian.AppendUint32(f.Meta, rng.Uint32())
		}
		f.Meta = append(f.Meta, 0, 1, 2, 3, 4, 5, 6, 12)
	}
	return f
}

// TestWindows: no window ends beyond the columns, and the streams are as long as the
// counts say.
func TestWindows(t *testing.T) {
	lin := &Linear{Out: 20, In: 40}
	rng := rand.New(rand.NewPCG(1, 2))
	require.NoError(t, windows(rng).validate(lin))
	for name, c := range map[string]struct {
		edit func(f *Lanes)
		want string
	}{
		"slabs of 8":       {func(f *Lanes) { f.S = 8 }, "16 is the only one"},
		"a window beyond":  {func(f *Lanes) { f.Meta[WindowMeta+34] = 14 }, "rows from 0 on have a window up to column 41, columns are 40"},
		"the last row's":   {func(f *Lanes) { f.Meta[2*WindowMeta+39] = 26 }, "rows from 16 on have a window up to column 41"},
		"few columns":      {func(f *Lanes) { f.Cols = []uint32{1, 3, 5} }, "window up to column 15, columns are 3"},
		"a count too many": {func(f *Lanes) { f.Cnt[3] = 1 }, "counts need more"},
		"a huge count":     {func(f *Lanes) { f.Cnt[1] = 1<<32 - 1 }, "counts need more"},
		"a count too few":  {func(f *Lanes) { f.Cnt[0] = 1 }, "120 bytes of metadata, 192 weights"},
		"missing counts":   {func(f *Lanes) { f.Cnt = f.Cnt[:3] }, "3 counts, 4 are needed"},
		"missing metadata": {func(f *Lanes) { f.Meta = f.Meta[:len(f.Meta)-1] }, "119 bytes of metadata"},
		"missing weights":  {func(f *Lanes) { f.W = f.W[:len(f.W)-1] }, "counts need more"},
	} {
		t.Run(name, func(t *testing.T) {
			f := windows(rng)
			c.edit(f)
			require.ErrorContains(t, f.validate(lin), c.want)
		})
	}
}
