package kernels

import (
	"math"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemmTile is a tile's tokens and the cycles of a stage whose operands are there, with the loop
// that suits the tile. Fitted, as the constants below, to the times of all candidates of 190
// problems on an H200, 512 to 14336 outputs of 768 to 14336 inputs at 256 to 8192 tokens: 4 %
// root mean square, and plans that are 0.6 % above the fastest; in 108 problems of other shapes 1.6 %, or 0.8 % with what these
// corrected in the figures of decode kernels. The last two are the cycles of
// one wgmma, with two warpgroups that keep the tensor cores busy: a dense one is bound by its
// products, a sparse one has half as many per byte of activations, and the reads of its operands
// from shared memory show.
type gemmTile struct {
	tokens                  int
	dense, sparse           float64
	denseWGMMA, sparseWGMMA float64
}

var gemmTiles = []gemmTile{
	{64, 335, 252, 32, 48},
	{128, 544, 368, 64, 80},
	{256, 1168, 723, 128, 147},
}

const (
	gemmTileCycles = 700   // a tile's start and end: the ring runs dry, sums are stored
	gemmL2         = 14400 // bytes that all multiprocessors take from L2 a cycle
	gemmFresh      = 3600  // and of weights, which a row of tiles reads and no other
	gemmStream     = 2750  // and from memory
	gemmShared     = 0.9   // what a GEMM reaches of that, whose weights wait for its activations
	gemmCluster    = 1600  // what the start of clusters takes
	gemmDrain      = 1.15  // a stage of tiles of less than 256 tokens, if its products drain
	gemmPenalty    = 1.005 // a stage of the others, with the loop that suits less
)

// gemm is the layer's GEMM in tiles of n tokens.
func (l Linear) gemm(n int) GEMM {
	return GEMM{
		DType: l.DType, Form: l.Form, Listed: l.Listed, TileN: n, Y: l.Y,
		TensorScale: l.TensorScale, OutScale: l.OutScale, TokenScale: l.TokenScale,
		Bias: l.Bias, Activation: l.Activation, Residual: l.Residual, PDL: !l.Serial,
	}
}

// gemmCandidates offers every tile, alone and in clusters of two.
func gemmCandidates(l Linear, p gpu.Problem, d gpu.Device) []Candidate {
	if !l.Target.Has(ptx.SM90a()) {
		return nil
	}
	var cs []Candidate
	for _, t := range gemmTiles {
		for _, c := range []GEMM{l.gemm(t.tokens).with(1, hopper.Drain), l.gemm(t.tokens).with(1, hopper.Overlap), l.gemm(t.tokens).with(2, hopper.Overlap)} {
			if c.Check() == nil && (c.Cluster == 1 || d.MaxClusters2 > 0) {
				cs = append(cs, Candidate{c, c.cycles(p, d)})
			}
		}
	}
	return cs
}

func (c GEMM) with(cluster int, loop hopper.Form) GEMM {
	c.Cluster, c.Loop = cluster, loop
	return c
}

// cycles expects a launch to last as its longest row of tiles, or as memory needs
// to deliver all operands once. What a stage's products take and what its operands take to
// arrive overlap in part.
func (c GEMM) cycles(p gpu.Problem, d gpu.Device) float64 {
	f := c.Format()
	blocks, start := d.SMs, float64(decodeStart+decodeSerial)
	if c.Cluster == 2 {
		blocks, start = 2*d.MaxClusters2, start+gemmCluster // multicast was no faster
	}
	outTiles := (p.Out + gemmRows*c.Cluster - 1) / (gemmRows * c.Cluster) * c.Cluster
	tiles := outTiles * ((p.Tokens + c.TileN - 1) / c.TileN)
	rounds := (tiles + blocks - 1) / blocks
	steps := (p.In + f.KBlock() - 1) / f.KBlock()
	if c.Listed {
		steps = max(1, (p.Blocks+outTiles-1)/outTiles) // on average
	}

	together := float64(tiles) / float64(rounds) // tiles at the same time
	arrive := together*float64(c.stageBytes())/gemmL2 + min(float64(outTiles), together)*float64(f.BlockBytes())/gemmFresh
	stage := math.Hypot(c.products(), arrive)
	busy := float64(rounds) * (float64(steps)*stage + gemmTileCycles)
	bytes := outTiles*gemmRows/f.TileRows*steps*f.BlockBytes() + p.Tokens*(p.In*c.DType.Size()+p.Out*c.Y.Size())
	return max(busy, float64(bytes)/(gemmStream*gemmShared)) + start
}

// products is the cycles of a stage whose operands are there. Of the largest tiles, long runs draw so
// much power that they clock lower: with products that overlap the sparse loop is faster by up to 1 %, and the
// dense one slower.
func (c GEMM) products() float64 {
	stage, suits := c.tile().dense, hopper.Drain
	if c.Form == gpu.NM24 {
		stage, suits = c.tile().sparse, hopper.Overlap
	}
	switch {
	case c.TileN < 256 && c.Loop == hopper.Drain:
		return stage * gemmDrain
	case c.TileN == 256 && c.Loop != suits:
		return stage * gemmPenalty
	}
	return stage
}

func (c GEMM) tile() (t gemmTile) {
	for _, t = range gemmTiles {
		if t.tokens == c.TileN {
			break
		}
	}
	return t
}
