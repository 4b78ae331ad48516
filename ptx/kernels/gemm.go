package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/ptx/tile"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Tiles of a GEMM, in output features and in bytes along In.
const (
	gemmRows      = 128 // two warpgroups of 64
	gemmConsumers = gemmRows / 64
	gemmStage     = 128 // bytes of a row of activations, and of dense weights, in a stage
)

// GEMM is the configuration of a matrix product on sm_90a for many tokens:
//
//	y[t, o] = act(Σ_i x[t, i]·w[o, i] · scales + bias[o]) + residual[t, o]
//
// with weights, dense or 2:4 sparse, as operand A of wgmma and activations as B.
// The grid is persistent: a block of two consumer warpgroups and a producer warp
// walks over tiles of 128 output features by TileN tokens. Sums are float32, or
// exact in int32 for s8.
type GEMM struct {
	DType gpu.DType // BF16, F16, E4M3 or S8, of weights and activations
	Form  gpu.Form  // Dense or NM24
	TileN int       // tokens of a tile: 64, 128 or 256
	// Listed weights are those whose blocks of 128 features by one stage of In are
	// stored only where the pattern keeps something (layout.Blocks); buffer Meta
	// lists them. Of a cluster each block has its own list, so there is none.
	Listed bool

	Stages  int         // of the ring; 0: as many as fit
	Cluster int         // 1, or 2 blocks that share their activations by multicast; 0 is 1
	Loop    hopper.Form // Drain or Overlap
	Band    int         // tiles of Out that clusters walk over together; 0: 16
	Buffers int         // of 8 KiB through which a warpgroup stores; 0: 2
	PDL     bool        // start before the predecessor in the stream has ended, and wait for it by griddepcontrol

	Y           gpu.DType // BF16, F16 or F32; S32 for the exact sums of S8
	TensorScale bool      // Problem.Scale
	OutScale    bool      // a float32 scale for each output feature, buffer Scales
	TokenScale  bool      // a float32 scale for each token, buffer XScales
	Bias        gpu.DType // F32 or BF16; 0 for none
	Activation  Activation
	Residual    bool // of type Y
}

// normal returns the configuration with its defaults filled in.
func (c GEMM) normal() GEMM {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Cluster, 1)
	def(&c.Band, 16)
	def(&c.Buffers, 2)
	if c.Stages == 0 && c.TileN > 0 && c.check() == nil {
		c.Stages = min(64, (hopper.SharedLimit-c.fixedBytes())/c.stageBytes())
	}
	return c
}

// Format is how the weights are packed.
func (c GEMM) Format() layout.Format {
	f := layout.Format{Size: c.DType.Size(), TileRows: gemmRows, RowBytes: gemmStage, StageBlocks: 1, Cluster: 1}
	if c.Form == gpu.NM24 {
		f.Sparse, f.RowBytes = true, gemmStage/2
	}
	return f
}

// stageBytes is the size of one stage of the ring.
func (c GEMM) stageBytes() int {
	return (c.Format().BlockBytes() + c.TileN*gemmStage + 1023) &^ 1023
}

// fixedBytes bounds the shared memory beside the stages: barriers, up to where the
// buffers of the epilogue are aligned, these, its vectors, and the anchor's word.
func (c GEMM) fixedBytes() int {
	const barriers, anchor = 1024, 16
	e := c.epilogue()
	return barriers + e.SharedBytes(c.TileN, gemmConsumers) + anchor
}

func (c GEMM) epilogue() *tile.Epilogue {
	e := &tile.Epilogue{
		Y: c.Y, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale,
		Bias: c.Bias, Residual: c.Residual, Buffers: c.Buffers,
	}
	if c.Activation != Identity {
		e.Act = c.Activation.apply
	}
	return e
}

// Name is the kernel's name: its configuration in short.
func (c GEMM) Name() string {
	c = c.normal()
	form := c.Form.String()
	if c.Listed {
		form += "_blocks"
	}
	n := fmt.Sprintf("gemm_%s_%s_y%s_n%d_s%d_c%d_%s_g%d_e%d", form, c.DType, c.Y, c.TileN, c.Stages, c.Cluster, c.Loop, c.Band, c.Buffers)
	return named(n, []option{
		{c.TensorScale, "scale"}, {c.OutScale, "outscale"}, {c.TokenScale, "tokenscale"}, {c.Bias != 0, "bias" + c.Bias.String()},
		{c.Activation != Identity, c.Activation.String()}, {c.Residual, "residual"}, {c.PDL, "pdl"},
	})
}

// Check reports why there is no such kernel.
func (c GEMM) Check() error {
	c = c.normal()
	if err := c.check(); err != nil {
		return fmt.Errorf("gemm: %w", err)
	}
	if have := (hopper.SharedLimit - c.fixedBytes()) / c.stageBytes(); c.Stages < 2 || c.Stages > min(64, have) {
		return fmt.Errorf("gemm: %d stages of %d bytes, want 2 to %d", c.Stages, c.stageBytes(), have)
	}
	return nil
}

// check checks everything but the number of stages.
func (c GEMM) check() error {
	float := c.DType == gpu.BF16 || c.DType == gpu.F16 || c.DType == gpu.E4M3
	exact := c.Y == gpu.S32
	switch {
	case !float && c.DType != gpu.S8:
		return fmt.Errorf("operands of type %v, want bf16, f16, e4m3 or s8", c.DType)
	case c.Form != gpu.Dense && c.Form != gpu.NM24:
		return fmt.Errorf("weights of form %v, want dense or nm24", c.Form)
	case c.TileN != 64 && c.TileN != 128 && c.TileN != 256:
		return fmt.Errorf("tiles of %d tokens, want 64, 128 or 256", c.TileN)
	case c.Cluster != 1 && c.Cluster != 2:
		return fmt.Errorf("clusters of %d blocks, want 1 or 2", c.Cluster)
	case c.Listed && c.Cluster != 1:
		return fmt.Errorf("clusters of %d blocks over listed weights, want 1", c.Cluster)
	case c.Loop != hopper.Drain && c.Loop != hopper.Overlap:
		return fmt.Errorf("loop %d", c.Loop)
	case c.Band < c.Cluster || c.Band > 64 || c.Band%c.Cluster != 0:
		return fmt.Errorf("bands of %d tiles, want a multiple of the cluster's %d up to 64", c.Band, c.Cluster)
	case c.Buffers < 1 || c.Buffers > 8:
		return fmt.Errorf("%d store buffers, want 1 to 8", c.Buffers)
	case c.Y != gpu.BF16 && c.Y != gpu.F16 && c.Y != gpu.F32 && !exact:
		return fmt.Errorf("results of type %v, want bf16, f16, f32 or s32", c.Y)
	case exact && c.DType != gpu.S8:
		return fmt.Errorf("results of type s32 of operands of type %v, want s8", c.DType)
	case exact && (c.TensorScale || c.OutScale || c.TokenScale || c.Bias != 0 || c.Activation != Identity || c.Residual):
		return fmt.Errorf("results of type s32 are the sums themselves: no scale, bias, activation or residual")
	case c.Bias != 0 && c.Bias != gpu.F32 && c.Bias != gpu.BF16:
		return fmt.Errorf("a bias of type %v, want f32 or bf16", c.Bias)
	case !c.Activation.valid():
		return fmt.Errorf("activation %d", c.Activation)
	}
	return nil
}

// Build returns the kernel.
func (c GEMM) Build() (*gpu.Kernel, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.normal()
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel(c.Name())
	cta := hopper.New(k, gemmConsumers, c.Cluster)
	c.emit(cta)
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	f := c.Format()
	return &gpu.Kernel{
		Name: k.Name(), Target: m.Target().String(), PTX: text, Family: "gemm",
		DType: c.DType, Form: c.Form, Listed: c.Listed, Y: c.Y,
		Tile:    gpu.Tile{Out: gemmRows, Tokens: c.TileN, In: f.KBlock(), Bytes: f.BlockBytes(), Split: 1},
		Threads: uint32(cta.Threads()), Cluster: uint32(c.Cluster), Shared: uint32(cta.SharedBytes()), PDL: c.PDL,
		Params: cta.Params(),
	}, nil
}

func (c GEMM) emit(cta *hopper.CTA) {
	k, f, size := cta.K, c.Format(), c.DType.Size()
	k.Comment("weights [%d, %d] by activations [%d, %d] a stage of %d", gemmRows, f.KBlock(), c.TileN, f.KBlock(), c.Stages)

	weights := cta.Pointer("weights", gpu.Weights, 0, 0)
	x := cta.TensorMap("x", gpu.MapSpec{
		DType: c.DType, Of: gpu.X, Inner: gpu.QIn, Outer: gpu.QTokens,
		Box: [2]uint32{uint32(gemmStage / size), uint32(c.TileN / c.Cluster)}, Swizzle: gpu.Swizzle128, L2: gpu.L2Promotion256,
	})
	outTiles, tokTiles := cta.U32("out_tiles", gpu.QOutTiles), cta.U32("token_tiles", gpu.QTokTiles)
	steps := tile.All(cta)
	if c.Listed {
		steps = tile.Listed(cta, outTiles)
	}
	out, tokens := cta.U32("out", gpu.QOut), cta.U32("tokens", gpu.QTokens)

	ring := cta.Ring("ring", c.Stages)
	a := ring.Bulk("weights", f.BlockBytes(), f.Align())
	b := ring.TensorMulticast("activations", x)
	ring.Lay()
	result := c.epilogue().Declare(cta, c.TileN, out, tokens)
	if c.PDL {
		cta.LaunchDependents()
	}
	walk := tile.NewWalk(cta, outTiles, tokTiles, c.Band, c.Cluster, cta.Rank())

	cta.Run(func(w *hopper.Warpgroup) {
		stages := w.Consumer(ring)
		sum := &hopper.Product{Acc: w.Acc(c.TileN, c.DType), A: w.A(a, 0, f.Operand()), B: w.B(b), Type: c.DType}
		var fetch func(*hopper.Held, []ptx.Reg)
		if words := sum.Words(); words > 0 {
			mine := k.Mul(k.Mad(w.Index, 128, w.Thread), 4*words)
			fetch = func(h *hopper.Held, meta []ptx.Reg) { h.LoadShared(meta, a, f.MetaOffset(0, 0), mine) }
		}
		loop := w.Pipeline(sum, stages, c.Loop, fetch)
		y := result.Writer(w)
		if c.PDL && (c.Residual || c.TokenScale) {
			cta.Await()
		}
		walk.Each(func(row, col ptx.Reg) {
			y.Place(k.Mul(row, gemmRows), k.Mul(col, c.TileN))
			y.Begin()
			loop.Run(w, steps.Count(row))
			y.Store(sum.Acc)
		})
		y.Flush()
	}, func(t *hopper.ProducerThread) {
		p := t.Producer(ring)
		if c.PDL {
			cta.Await() // activations; results follow from them
		}
		walk.Each(func(row, col ptx.Reg) {
			if c.Cluster > 1 {
				// A block whose tile lies beyond the last one works on that again; its
				// results lie beyond the end and are dropped.
				row = k.Min(row, k.Sub(outTiles, 1))
			}
			token := k.Mul(col, c.TileN)
			steps.Each(row, func(stored, column ptx.Reg) {
				p.Fill(func(s *hopper.Filling) {
					s.Bulk(a, k.MadWide(stored, f.BlockBytes(), weights))
					s.Tensor(b, k.Mul(column, f.KBlock()), token)
				})
			})
		})
	})
}
