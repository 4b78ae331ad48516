package gpuplan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/layout"
)

// touched is the share of blocks in which a mask keeps something.
func touched(mask *patterns.Mask, f layout.Format) float64 {
	blocks := map[[2]int]bool{}
	for r := range mask.Rows {
		for c := range mask.RowCols(r) {
			blocks[[2]int{r / f.TileRows, c / f.KBlock()}] = true
		}
	}
	return float64(len(blocks)) / float64(f.Tiles(mask.Rows)*f.Blocks(mask.Cols))
}

// TestStoredShare: exact where the pattern fixes its places, near where the
// weights decide, and all where a block nearly always has something.
func TestStoredShare(t *testing.T) {
	dense := layout.Format{Size: 2, TileRows: 128, RowBytes: 128, StageBlocks: 1, Cluster: 1}
	small := layout.Format{Size: 2, TileRows: 64, RowBytes: 64, StageBlocks: 1, Cluster: 1, Sparse: true, Order: layout.FragmentMajor}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		pattern string
		within  float64
	}{
		{"stripe(0:64,300:340)", 0}, {"stripe(63:65)", 0}, {"stripe(0:1,1000)", 0}, {"diag(0,width=8)", 0}, {"diag(-200,0,300,width=3)", 0}, {"diag(700)", 0},
		{"block(64,64,sparsity=0.8)", 0.08}, {"block(128,32,sparsity=0.9)", 0.08}, {"block(32,64,sparsity=0.9)", 0.08},
		{"unstructured(sparsity=0.99)", 0}, {"block(4,4,sparsity=0.9)", 0}, {"channel(cols,sparsity=0.9)", 0}, {"channel(rows,sparsity=0.9)", 0}, {"dense", 0}, {"nm(1,4)", 0},
	} {
		for _, f := range []layout.Format{dense, small} {
			const out, in = 640, 1024
			p, err := patterns.Parse(c.pattern)
			require.NoError(t, err)
			m := patterns.NewMatrix(out, in)
			for i := range m.Data {
				m.Data[i] = float32(rng.NormFloat64())
			}
			mask, err := p.Prune(m)
			require.NoError(t, err)
			got, want := storedShare(p.Levels(out, in), p.Density(out, in), out, in, f), touched(mask, f)
			if c.within == 0 && want < 1 && got == 1 {
				require.Greater(t, want, mostStored, "%s could leave blocks out", c.pattern)
				continue
			}
			require.InDelta(t, want, got, c.within+1e-12, fmt.Sprint(c.pattern, " ", f.TileRows))
		}
	}
	for pattern, want := range map[string]float64{"block(64,64)": 1 - 0.75*0.75, "block(16,64)": 1 - 0.1001129150390625, "block(8,64)": 1} {
		p, err := patterns.Parse(pattern)
		require.NoError(t, err)
		require.InDelta(t, want, storedShare(p.Levels(640, 1024), 1, 640, 1024, dense), 1e-12, "%s says no share", pattern)
	}
}
