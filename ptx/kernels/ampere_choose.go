package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// ampereTiles are tiles of m features by n tokens, the warps that share them, and
// which part of the tensor cores' peak they can use: the fewer sums a warp has,
// the more it reads for each product.
var ampereTiles = []struct {
	m, n, warpsM, warpsN, blocks int
	peak                         float64
}{
	{128, 256, 2, 4, 1, 0.85},
	{128, 128, 2, 4, 1, 0.8},
	{128, 64, 4, 2, 1, 0.65},
	{64, 64, 2, 2, 1, 0.6},
	{64, 32, 4, 1, 2, 0.5},
	{64, 16, 4, 1, 2, 0.3},
	{64, 8, 4, 1, 2, 0.15},
}

// What an A100 does in a cycle, by its data sheet: products of two 16-bit operands
// on a multiprocessor, and bytes to one and to all. No launch of these kernels was
// timed on one.
const (
	ampereProducts = 1024
	ampereFill     = 40
	ampereStream   = 1100
	ampereAgain    = 0.2  // cost of a byte from L2 in bytes from memory
	ampereStart    = 6000 // launch, first bytes, last results
	ampereRound    = 2000 // a block that starts after another has ended
	ampereMeet     = 2500 // partial sums through memory
)

// ampereListed is the output features of listed blocks.
const ampereListed = 64

// ampere is the layer's kernel for sm_80.
func (l Linear) ampere(m, n, warpsM, warpsN, blocks int) Ampere {
	return Ampere{
		Target: l.Target, DType: l.DType, Form: l.Form, Listed: l.Listed, TileM: m, TileN: n, WarpsM: warpsM, WarpsN: warpsN, Blocks: blocks, Y: l.Y,
		TensorScale: l.TensorScale, OutScale: l.OutScale, TokenScale: l.TokenScale,
		Bias: l.Bias, Activation: l.Activation, Residual: l.Residual,
	}
}

// ampereCandidates offers every tile, split so that it fills the device, for
// targets that have nothing better.
func ampereCandidates(l Linear, p gpu.Problem, d gpu.Device) []Candidate {
	if l.Target.Has(ptx.SM90a()) {
		return nil
	}
	var cs []Candidate
	for _, t := range ampereTiles {
		if t.n == 256 && l.Form == gpu.Dense && l.Activation.long() {
			continue // its sums leave too few registers: ptxas spills some
		}
		if l.Listed {
			// One k-block a stage, and blocks of one size for every number of tokens.
			if t.blocks = 1; t.m != ampereListed {
				continue
			}
		}
		for _, split := range []int{1, 2, 4, 8, 16} {
			c := l.ampere(t.m, t.n, t.warpsM, t.warpsN, t.blocks)
			c.Split = split
			c.Ordered = l.Form == gpu.NM24 && d.Driver >= 12050 // PTX ISA 8.5
			if c.Check() == nil && (split == 1 || split <= c.stored(p)/c.Format().Tiles(p.Out)/4) {
				cs = append(cs, Candidate{c, c.cycles(p, d)})
			}
		}
	}
	return cs
}

// stored is the number of stages of weights that are stored.
func (c Ampere) stored(p gpu.Problem) int {
	f := c.Format()
	if c.Listed {
		return max(f.Tiles(p.Out), p.Blocks)
	}
	return f.Tiles(p.Out) * f.Stages(p.In)
}

// cycles expects a launch to last as memory needs to deliver the operands once,
// or as the longest row of blocks needs to take and multiply its stages.
func (c Ampere) cycles(p gpu.Problem, d gpu.Device) float64 {
	c = c.normal()
	f := c.Format()
	ceil := func(a, b int) int { return (a + b - 1) / b }
	blocks := ceil(p.Out, c.TileM) * ceil(p.Tokens, c.TileN) * c.Split
	resident := min(2, (d.SharedMax+1024)/(c.sharedBytes()+1024))
	rounds := ceil(blocks, max(1, d.SMs*resident))
	together := min(max(1, resident), ceil(blocks, d.SMs))
	steps := ceil(ceil(c.stored(p), f.Tiles(p.Out)), c.Split)

	peak := ampereTiles[len(ampereTiles)-1].peak
	for _, t := range ampereTiles {
		if t.m == c.TileM && t.n == c.TileN {
			peak = t.peak
		}
	}
	products := float64(c.TileM*c.TileN*f.KBlock()*c.Blocks) / (ampereProducts * peak)
	if c.DType == gpu.S8 {
		products /= 2
	}
	if f.Sparse {
		products /= 2
	}
	stage := float64(together) * max(products, float64(c.stageBytes())/ampereFill)
	// What blocks take beside the first time comes from L2.
	again := float64(blocks*steps*c.stageBytes()) * ampereAgain
	bytes := again + float64(c.stored(p)*f.StageBytes()+p.Tokens*(p.In*c.DType.Size()+p.Out*c.Y.Size()))
	t := ampereStart + (rounds-1)*ampereRound
	if c.Split > 1 {
		t += ampereMeet
		bytes += float64(2 * 4 * blocks * c.TileM * c.TileN)
	}
	return max(float64(rounds*steps)*stage, bytes/ampereStream) + float64(t)
}
