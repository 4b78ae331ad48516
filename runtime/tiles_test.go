package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// TestTilesOfABatch: a batch little wider than the widest tile that fits the
// first-level cache goes as one, and a longer one in as few as that allows; the
// room that reserve makes for tiles is enough. Tiles may outgrow
// that cache where vectors are long and rows share columns.
func TestTilesOfABatch(t *testing.T) {
	const list, shared = sgp.Step, sgp.Block
	for _, c := range []struct {
		kind             sgp.SegmentKind
		kb, lanes, batch int
		widths           []int // ascending
		want             []int
	}{
		{list, 256, 8, 1, []int{8, 16, 24, 32, 40, 48, 56}, []int{8}},
		{list, 256, 8, 48, []int{8, 16, 24, 32, 40, 48, 56}, []int{48}},
		{list, 256, 8, 49, []int{8, 16, 24, 32, 40, 48, 56}, []int{56}},
		{list, 256, 8, 56, []int{8, 16, 24, 32, 40, 48, 56}, []int{56}},
		{list, 256, 8, 57, []int{8, 16, 24, 32, 40, 48, 56}, []int{32, 32}},
		{list, 256, 8, 56, []int{8, 16, 24}, []int{24, 16, 16}},
		{list, 256, 8, 196, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{40, 40, 40, 40, 40}},
		{list, 128, 8, 196, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{56, 48, 48, 48}},
		{list, 128, 8, 74, []int{8, 24, 40, 64, 72, 80}, []int{40, 40}},
		{list, 128, 8, 72, []int{8, 24, 40, 64, 72, 80}, []int{72}},
		{list, 256, 16, 60, []int{16, 32, 48, 64, 80}, []int{32, 32}},
		{shared, 256, 16, 60, []int{16, 32, 48, 64, 80}, []int{64}},
		{shared, 256, 16, 80, []int{16, 32, 48, 64, 80}, []int{48, 32}},
		{shared, 256, 16, 49, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{56}},
		{shared, 256, 16, 196, []int{8, 16, 24, 32, 40, 48, 56, 64}, []int{64, 48, 48, 40}},
		{shared, 290, 16, 112, []int{8, 16, 24, 32, 40, 48, 56}, []int{56, 56}},
		{list, 128, 16, 196, []int{16, 32, 48, 64, 80, 96, 112, 128}, []int{80, 64, 64}},
		{0, 256, 16, 40, []int{16}, []int{16, 16, 16}},
	} {
		d := &tileLinear{linear: linear{k: 1024}, kb: c.kb, lanes: c.lanes}
		if c.kind != 0 { // not delta slabs
			d.panel = &sgp.Panel{KB: c.kb, Segments: []sgp.Segment{{Kind: c.kind, MR: 4}}}
		}
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
