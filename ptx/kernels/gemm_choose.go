package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemmTile is a tile's tokens and the cycles that one wgmma on it takes, with two
// warpgroups that keep the tensor cores busy, as measured on an H200. A dense
// wgmma is bound by its products. A sparse one has half as many per byte of
// activations, and the reads of its operands from shared memory show. Fill is the
// bytes that a block took from L2 a cycle on an H100, where stages had little to
// multiply.
type gemmTile struct {
	tokens        int
	dense, sparse float64
	fill          float64
}

var gemmTiles = []gemmTile{
	{64, 32, 48, 47},
	{128, 64, 80, 80},
	{256, 128, 147, 80},
}

const (
	gemmTileCycles = 2300 // a tile's start and end: the ring runs dry, sums are stored
	gemmL2         = 8500 // bytes that all multiprocessors take from L2 a cycle
	gemmStream     = 2750 // and from memory
	gemmShared     = 0.9  // what a GEMM reaches of that, whose weights wait for its activations
	gemmLongRun    = 8    // tiles a block from which on the power limit decides
	gemmPenalty    = 1.02 // what a block pays for the loop that suits less
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
// to deliver all operands once. Blocks whose cycles are equal differ by the power
// that they draw, which a long run turns into clock: on an H100 the sparse loop
// was 2 to 5 % faster with products that overlap and the dense loop 1.5 to 8 % with
// products that drain, both by 2 to 8 % alone, not in clusters of two.
func (c GEMM) cycles(p gpu.Problem, d gpu.Device) float64 {
	f := c.Format()
	blocks := d.SMs
	if c.Cluster == 2 {
		blocks = 2 * d.MaxClusters2
	}
	outTiles := (p.Out + gemmRows*c.Cluster - 1) / (gemmRows * c.Cluster) * c.Cluster
	tiles := outTiles * ((p.Tokens + c.TileN - 1) / c.TileN)
	rounds := (tiles + blocks - 1) / blocks
	steps := (p.In + f.KBlock() - 1) / f.KBlock()
	if c.Listed {
		steps = max(1, (p.Blocks+outTiles-1)/outTiles) // on average
	}

	wgmmas := gemmConsumers * gemmStage / 32
	wgmma := c.tile().dense
	if c.Form == gpu.NM24 {
		wgmmas, wgmma = wgmmas/2, c.tile().sparse
	}
	stage := max(float64(wgmmas)*wgmma, float64(c.stageBytes())/c.tile().fill)
	busy := float64(rounds) * (float64(steps)*stage + gemmTileCycles)
	if c.Cluster == 2 {
		busy *= gemmPenalty
	}
	if long := rounds >= gemmLongRun; (long && c.Form == gpu.NM24) != (c.Loop == hopper.Overlap) {
		busy *= gemmPenalty
	}
	if rounds == 1 {
		// All blocks stream at the same time; multicast was no faster.
		busy = max(busy, float64(tiles*steps*c.stageBytes())/gemmL2)
	}
	bytes := outTiles*gemmRows/f.TileRows*steps*f.BlockBytes() + p.Tokens*(p.In*c.DType.Size()+p.Out*c.Y.Size())
	return max(busy, float64(bytes)/(gemmStream*gemmShared)) + decodeStart + decodeSerial
}

func (c GEMM) tile() (t gemmTile) {
	for _, t = range gemmTiles {
		if t.tokens == c.TileN {
			break
		}
	}
	return t
}
