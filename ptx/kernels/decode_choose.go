package kernels

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// decodeTokens is the number of tokens above which a GEMM serves every problem
// better.
const decodeTokens = 256

// What launches take, in cycles, fitted to times on an H100: of 28 problems
// the choice took 0.5 % longer than the fastest candidate on average, 4 % at most.
const (
	decodeFill    = 66   // bytes that a block takes a cycle
	decodeBoth    = 80   // and two on a multiprocessor together
	decodeWeights = 36   // bytes that a block takes from memory
	decodeL2      = 8500 // bytes that all multiprocessors take from L2
	decodeLatency = 2400 // from the request of a stage to its arrival under load
	decodeStart   = 2000 // first bytes and last results, if the launch overlaps its predecessor
	decodeSerial  = 3000 // more, if it does not
	decodeRound   = 1000 // a block that starts after another has ended
	decodeMeet    = 300  // a peer's sums
	decodeAlone   = 650  // a block that leaves no room for one of the next launch
	decodeMixed   = 0.97 // of the memory's rate, where two launches stream at a time
	decodeShared  = 0.92 // and where they are of clusters
)

// decode is the layer's kernel for few tokens, in tiles of m features and n tokens.
func (l Linear) decode(m, n int) Decode {
	return Decode{
		DType: l.DType, Form: l.Form, Listed: l.Listed, TileM: m, TileN: n, Y: l.Y, PDL: !l.Serial,
		TensorScale: l.TensorScale, OutScale: l.OutScale, TokenScale: l.TokenScale,
		Bias: l.Bias, Activation: l.Activation, Residual: l.Residual,
	}
}

// decodeCandidates offers the tiles of all tokens, up to 128, with every split.
func decodeCandidates(l Linear, p gpu.Problem, d gpu.Device) []Candidate {
	if !l.Target.Has(ptx.SM90a()) || p.Tokens > decodeTokens {
		return nil
	}
	n := 8
	for n < min(p.Tokens, 128) {
		n *= 2
	}
	var cs []Candidate
	for _, t := range decodeTiles {
		// Lists name blocks of the GEMM's format, so that both read the same weights.
		if l.Listed && t.m != gemmRows {
			continue
		}
		for _, split := range []int{1, 2, 4} {
			c := l.decode(t.m, n)
			c.Split, c.Resident = split, t.resident
			if c.Check() == nil && c.slots(d) > 0 {
				cs = append(cs, Candidate{c, c.cycles(p, d)})
			}
		}
	}
	return cs
}

// decodeTiles are tiles of m features by blocks on a multiprocessor; of those that
// cost the same the earlier were faster on an H200.
var decodeTiles = []struct{ m, resident int }{{128, 1}, {64, 2}, {64, 1}, {128, 2}}

// slots is how many blocks are resident at a time.
func (c Decode) slots(d gpu.Device) int {
	n := d.SMs
	switch c.Split {
	case 2:
		n = 2 * d.MaxClusters2
	case 4:
		n = 4 * d.MaxClusters4
	}
	return n * c.Resident
}

// cycles expects a launch to last as memory needs to deliver the operands once,
// or as the longest row of blocks needs to take and multiply its stages.
func (c Decode) cycles(p gpu.Problem, d gpu.Device) float64 {
	c = c.normal()
	f := c.Format()
	ceil := func(a, b int) int { return (a + b - 1) / b }
	tiles := ceil(p.Out, c.TileM) * ceil(p.Tokens, c.TileN)
	blocks := tiles * c.Split
	rounds := ceil(blocks, c.slots(d))
	outTiles := f.Tiles(p.Out)
	stored := outTiles * f.Stages(p.In)
	if c.Listed {
		stored = max(outTiles, p.Blocks)
	}
	steps := ceil(ceil(stored, outTiles), c.Split)

	together := min(c.Resident, ceil(blocks, d.SMs)) // blocks on a multiprocessor
	// The ring's first turn is requested at once, the rest at the rate at which
	// stages come back.
	stage := float64(c.stageBytes())
	fill := stage / min(decodeFill, decodeBoth/float64(together))
	later := max(fill, decodeLatency/float64(c.Stages-1))
	if rounds > 1 && p.Tokens > c.TileN { // blocks of the same weights no longer meet
		later = max(later, stage/decodeWeights)
	}
	g := GEMM{TileN: max(64, c.TileN)}.tile()
	wgmmas, wgmma := c.consumers()*c.Blocks*gemmStage/32*together, g.denseWGMMA
	if c.Form == gpu.NM24 {
		wgmmas, wgmma = wgmmas/2, g.sparseWGMMA
	}
	product := float64(wgmmas) * wgmma
	early := min(steps, c.Stages)
	busy := float64(rounds) * (float64(early)*max(fill, product) + float64(steps-early)*max(later, product))

	weights := stored * f.StageBytes()
	other := p.Tokens * (p.In*c.DType.Size() + p.Out*c.Y.Size())
	stream, start := float64(gemmStream), float64(decodeStart)
	switch {
	case c.Resident == 1 && c.PDL:
		start += decodeAlone
	case c.Resident == 1:
		start += decodeSerial + 2*decodeAlone
	case c.PDL && c.Split > 1:
		stream *= decodeShared
	case c.PDL:
		stream *= decodeMixed
	default:
		start += decodeSerial
	}
	busy = max(busy, float64(rounds*steps*f.StageBytes())/decodeWeights, float64(blocks*steps*c.stageBytes())/decodeL2)
	t := max(busy, float64(weights+other)/stream) + start + float64(rounds-1)*decodeRound
	if c.Split > 1 {
		t += decodeMeet * float64(c.Split-1)
	}
	return t
}
