package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTilesOfABatch: a batch little wider than the widest tile that fits the
// first-level cache goes as one, and a longer one in as few as that allows; the
// room that reserve makes for tiles is enough.
func TestTilesOfABatch(t *testing.T) {
	for _, c := range []struct {
		kb, lanes, batch int
		widths           []int // ascending
		want             []int
	}{
		{256, 8, 1, []int{8, 16, 24, 32, 40, 48, 56}, []int{8}},
		{256, 8, 48, []int{8, 16, 24, 32, 40, 48, 56}, []int{48}},
		{256, 8, 49, []int{8, 16, 24, 32, 40, 48, 56}, []int{56}},
		{256, 8, 56, []int{8, 16, 24, 32, 40, 48, 56}, []int{56}},
		{256, 8, 57, []int{8, 16, 24, 32, 40, 48, 56}, []int{32, 32}},
		{256, 8, 56, []int{8, 16, 24}, []int{24, 16, 16}},
		{256, 8, 196, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{40, 40, 40, 40, 40}},
		{128, 8, 196, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{56, 48, 48, 48}},
		{128, 8, 74, []int{8, 24, 40, 64, 72, 80}, []int{40, 40}},
		{128, 8, 72, []int{8, 24, 40, 64, 72, 80}, []int{72}},
		{256, 16, 80, []int{16, 32, 48, 64, 80}, []int{48, 32}},
		{256, 0, 40, []int{8}, []int{8, 8, 8, 8, 8}},
	} {
		d := &tileLinear{linear: linear{k: 1024}, kb: c.kb, lanes: c.lanes}
		for _, w := range c.widths {
			d.widths = append(d.widths, tileWidth{t: w})
		}
		d.reserve(sizes{threads: 1, batch: c.batch})
		room := cap(d.tiles)
		d.prepare(c.batch)
		var got []int
		at := 0
		for _, tile := range d.tiles {
			require.Equal(t, at, tile.first)
			at += tile.cols
			got = append(got, d.widths[tile.width].t)
		}
		require.Equal(t, c.batch, at)
		require.Equal(t, c.want, got, "%d columns, K-blocks of %d", c.batch, c.kb)
		require.LessOrEqual(t, len(d.tiles), room)
	}
}
