package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// gemmTiles are the tiles and the cycles that one wgmma on one takes, with two
// warpgroups that keep the tensor cores busy, as measured on an H200. A dense
// wgmma is bound by its products. A sparse one has half as many per byte of
// activations, and the reads of its operands from shared memory show.
var gemmTiles = []struct {
	tokens        int
	dense, sparse float64
}{
	{64, 32, 48},
	{128, 64, 80},
	{256, 128, 147},
}

const (
	gemmTileCycles  = 2300 // a tile's start and end: the ring runs dry, sums are stored
	gemmFill        = 80   // bytes that a multiprocessor takes from L2 a cycle
	gemmStream      = 2750 // bytes that all take from memory a cycle
	gemmLongRun     = 8    // tiles a block from which on the power limit decides
	gemmLongPenalty = 1.01 // and what a block pays that fetches its activations alone
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
// to deliver all operands once. Blocks whose cycles are equal differ by the
// power that they draw, which a long run turns into clock: two blocks that share
// their activations fetch less. On 8-bit operands that gain is smaller than what
// waiting for each other costs.
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
	stage := max(float64(wgmmas)*wgmma, float64(c.stageBytes())/gemmFill)
	busy := float64(rounds) * (float64(steps)*stage + gemmTileCycles)
	if long := rounds >= gemmLongRun && c.DType.Size() == 2; long != (c.Cluster == 2) {
		busy *= gemmLongPenalty
	}
	if long := rounds >= gemmLongRun; long != (c.Loop == hopper.Overlap) {
		busy *= gemmLongPenalty
	}
	bytes := outTiles*gemmRows/f.TileRows*steps*f.BlockBytes() + p.Tokens*(p.In*c.DType.Size()+p.Out*c.Y.Size())
	return max(busy, float64(bytes)/gemmStream) + decodeStart + decodeSerial
}

func (c GEMM) tile() (t struct {
	tokens        int
	dense, sparse float64
}) {
	for _, t = range gemmTiles {
		if t.tokens == c.TileN {
			break
		}
	}
	return t
}
