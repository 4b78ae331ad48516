package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Decode is the configuration of a matrix product on sm_90a for few tokens, whose
// time is that of reading the weights once:
//
//	y[t, o] = act(Σ_i x[t, i]·w[o, i] · scales + bias[o]) + residual[t, o]
//
// Weights, dense or 2:4 sparse, are operand A of wgmma, so that the token side of
// the tile can be as narrow as 8. A block has one tile of TileM output features;
// one linear copy fetches Blocks k-blocks of its packed weights, the first of them
// before the predecessor in the stream has ended (PDL). With Split, that many
// blocks of a cluster share the tile, each with a part of In.
type Decode struct {
	DType gpu.DType // BF16, F16, E4M3 or S8, of weights and activations
	Form  gpu.Form  // Dense or NM24
	TileM int       // output features of a tile: 64 or 128
	TileN int       // tokens of a tile: 8, 16, 32, 64 or 128

	Blocks   int  // k-blocks of a stage: 1, 2 or 4; 0 is 2
	Stages   int  // of the ring; 0: as many as fit
	Split    int  // blocks that share a tile: 1, 2 or 4; 0 is 1
	Resident int  // blocks that fit a multiprocessor by their shared memory: 1 or 2; 0 is 1
	PDL      bool // wait for the predecessor by griddepcontrol
	Listed   bool // only blocks with something in them are stored (layout.Blocks); Blocks is 1

	Y           gpu.DType // BF16, F16 or F32; S32 for the exact sums of S8
	TensorScale bool      // Problem.Scale
	OutScale    bool      // a float32 scale for each output feature, buffer Scales
	TokenScale  bool      // a float32 scale for each token, buffer XScales
	Bias        gpu.DType // F32 or BF16; 0 for none
	Activation  Activation
	Residual    bool // of type Y
}

// decodeStages bounds the ring: the whole of a part of In at a time is no use.
const decodeStages = 16

// consumers is the number of warpgroups that multiply.
func (c Decode) consumers() int { return c.TileM / 64 }

// normal returns the configuration with its defaults filled in.
func (c Decode) normal() Decode {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Listed {
		def(&c.Blocks, 1)
	}
	def(&c.Blocks, 2)
	def(&c.Split, 1)
	def(&c.Resident, 1)
	if c.Stages == 0 && c.check() == nil {
		c.Stages = min(decodeStages, c.room()/c.stageBytes())
	}
	return c
}

// Format is how the weights are packed.
func (c Decode) Format() layout.Format { return c.normal().format() }

func (c Decode) format() layout.Format {
	f := layout.Format{Size: c.DType.Size(), TileRows: c.TileM, RowBytes: gemmStage, StageBlocks: c.Blocks, Cluster: 1}
	if c.Form == gpu.NM24 {
		f.Sparse, f.RowBytes = true, gemmStage/2
	}
	return f
}

// stageBytes is the size of a stage of the ring: weights, then boxes of
// activations, aligned to their swizzle.
func (c Decode) stageBytes() int {
	weights := (c.format().StageBytes() + 1023) &^ 1023
	return weights + c.Blocks*c.TileN*gemmStage
}

// room is the shared memory for the ring: what a block may have, less the
// epilogue, the inbox and the barriers.
func (c Decode) room() int {
	limit := hopper.SharedLimit
	if c.Resident == 2 {
		limit = (limit+1024)/2 - 1024 // each block costs 1 KiB more than it asks for
	}
	inbox := 0
	if c.Split > 1 {
		owned := (c.consumers() + c.Split - 1) / c.Split
		inbox = owned * (c.Split - 1) * 64 * c.TileN * 4
	}
	const barriers = 1024
	return limit - c.gemm().epilogue().SharedBytes(c.TileN, c.consumers()) - inbox - barriers
}

// gemm is a matrix product with the same operands and epilogue.
func (c Decode) gemm() GEMM {
	return GEMM{
		DType: c.DType, Form: c.Form, TileN: 256, Cluster: 1, Band: 1, Buffers: 1,
		Y: c.Y, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale, Bias: c.Bias, Activation: c.Activation, Residual: c.Residual,
	}
}

// Name is the kernel's name: its configuration in short.
func (c Decode) Name() string {
	c = c.normal()
	n := fmt.Sprintf("decode_%s_%s_y%s_m%d_n%d_k%d_s%d_c%d_r%d", c.Form, c.DType, c.Y, c.TileM, c.TileN, c.Blocks, c.Stages, c.Split, c.Resident)
	return named(n, []option{
		{c.Listed, "listed"}, {c.PDL, "pdl"}, {c.TensorScale, "scale"}, {c.OutScale, "outscale"}, {c.TokenScale, "tokenscale"},
		{c.Bias != 0, "bias" + c.Bias.String()}, {c.Activation != Identity, c.Activation.String()}, {c.Residual, "residual"},
	})
}

// Check reports why there is no such kernel.
func (c Decode) Check() error {
	c = c.normal()
	if err := c.check(); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if have := min(64, c.room()/c.stageBytes()); c.Stages < 2 || c.Stages > have {
		return fmt.Errorf("decode: %d stages of %d bytes, want 2 to %d", c.Stages, c.stageBytes(), have)
	}
	return nil
}

// check checks everything but the number of stages.
func (c Decode) check() error {
	switch {
	case c.TileM != 64 && c.TileM != 128:
		return fmt.Errorf("tiles of %d output features, want 64 or 128", c.TileM)
	case c.TileN < 8 || c.TileN > 128 || c.TileN&(c.TileN-1) != 0:
		return fmt.Errorf("tiles of %d tokens, want a power of two from 8 to 128", c.TileN)
	case c.Blocks != 1 && c.Blocks != 2 && c.Blocks != 4:
		return fmt.Errorf("stages of %d k-blocks, want 1, 2 or 4", c.Blocks)
	case c.Listed && c.Blocks != 1:
		return fmt.Errorf("stages of %d listed k-blocks, want 1", c.Blocks)
	case c.Split != 1 && c.Split != 2 && c.Split != 4:
		return fmt.Errorf("%d blocks share a tile, want 1, 2 or 4", c.Split)
	case c.Resident != 1 && c.Resident != 2:
		return fmt.Errorf("%d resident blocks, want 1 or 2", c.Resident)
	}
	return c.gemm().check()
}

// Build returns the kernel.
func (c Decode) Build() (*gpu.Kernel, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.normal()
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel(c.Name())
	cta := hopper.New(k, c.consumers(), c.Split)
	c.emit(cta)
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	f := c.Format()
	return &gpu.Kernel{
		Name: k.Name(), Target: m.Target().String(), PTX: text, Family: "decode",
		DType: c.DType, Form: c.Form, Listed: c.Listed, Order: gpu.OneTile, Y: c.Y,
		Tile:    gpu.Tile{Out: c.TileM, Tokens: c.TileN, In: f.KBlock() * c.Blocks, Bytes: f.StageBytes(), Split: c.Split},
		Threads: uint32(cta.Threads()), Cluster: uint32(c.Split), Shared: uint32(cta.SharedBytes()), PDL: c.PDL,
		Params: cta.Params(),
	}, nil
}

func (c Decode) emit(cta *hopper.CTA) {
	k, f, size := cta.K, c.Format(), c.DType.Size()
	k.Comment("weights [%d, %d] by activations [%d, %d] a stage of %d", c.TileM, f.KBlock()*c.Blocks, c.TileN, f.KBlock()*c.Blocks, c.Stages)

	weights := cta.Pointer("weights", gpu.Weights, 0, 0)
	x := cta.TensorMap("x", gpu.MapSpec{
		DType: c.DType, Of: gpu.X, Inner: gpu.QIn, Outer: gpu.QTokens,
		Box: [2]uint32{uint32(gemmStage / size), uint32(c.TileN)}, Swizzle: gpu.Swizzle128, L2: gpu.L2Promotion256,
	})
	out, tokens := cta.U32("out", gpu.QOut), cta.U32("tokens", gpu.QTokens)
	steps := c.steps(cta)

	ring := cta.Ring("ring", c.Stages)
	a := ring.Bulk("weights", f.StageBytes(), f.Align())
	a.Once()
	bs := make([]*hopper.Part, c.Blocks)
	for i := range bs {
		bs[i] = ring.Tensor(fmt.Sprintf("activations %d", i), x)
	}
	ring.Lay()
	result := c.gemm().epilogue().Declare(cta, c.TileN, out, tokens)
	var inbox *hopper.Inbox
	if c.Split > 1 {
		inbox = cta.Inbox(c.TileN)
	}
	if c.PDL {
		cta.LaunchDependents()
	}
	row, token := k.Div(k.CtaX(), c.Split), k.Mul(k.CtaY(), c.TileN)

	cta.Run(func(w *hopper.Warpgroup) {
		stages := w.Consumer(ring)
		acc := w.Acc(c.TileN, c.DType)
		products := make([]*hopper.Product, c.Blocks)
		meta := make([][]ptx.Reg, c.Blocks)
		for i := range products {
			products[i] = &hopper.Product{Acc: acc, A: w.A(a, i*f.BlockBytes(), f.Operand()), B: w.B(bs[i]), Type: c.DType}
			meta[i] = k.Regs(ptx.B32, products[i].Words())
		}
		_, mine := steps.bounds(row)
		own := k.Mul(k.Mad(w.Index, 128, w.Thread), 4*products[0].Words())
		y := result.Writer(w)
		store := func() {
			y.Store(acc)
			y.Flush()
		}
		y.Place(k.Mul(row, c.TileM), token)
		if c.PDL && (c.Residual || c.TokenScale) {
			cta.Await()
		}
		if inbox == nil {
			y.Begin()
		} else {
			k.If(inbox.Owner(w), y.Begin)
		}
		never := k.SetP("eq", out, 0xffffffff)
		acc.Zero()
		k.For(0, mine, 1, func(ptx.Reg) {
			h := stages.Next()
			for i, words := range meta {
				if len(words) > 0 {
					h.LoadShared(words, a, i*f.BlockBytes()+f.MetaOffset(0, 0), own)
				}
			}
			w.Group(func(g *hopper.Group) {
				for i, p := range products {
					g.Stage(p, h, meta[i])
				}
			})
			w.Wait(0)
			for _, words := range meta {
				w.Anchor(never, words)
			}
			h.Release()
		})
		if inbox == nil {
			store()
		} else {
			inbox.Collect(w, acc, store)
		}
	}, func(t *hopper.ProducerThread) {
		p := t.Producer(ring)
		first, mine := steps.bounds(row)
		stage := k.Var(ptx.U64, k.MadWide(first, f.StageBytes(), weights))
		columns := steps.columns(row, first, mine)
		fetchWeights := func(s *hopper.Filling) {
			s.Bulk(a, stage)
			k.Emit("add.u64", stage, stage, ptx.Int(int64(f.StageBytes())))
		}
		fetchActivations := func(s *hopper.Filling, i ptx.Reg) {
			in := k.Mul(columns.at(i), f.KBlock())
			for b, part := range bs {
				s.Tensor(part, k.Add(in, b*f.KBlock()), token)
			}
		}
		p.Lead(mine, func(s *hopper.Filling, i ptx.Reg) {
			fetchWeights(s)
			columns.request(i)
		}, func() {
			columns.begin()
			if c.PDL {
				cta.Await()
			}
		}, fetchActivations)
		k.For(c.Stages, mine, 1, func(i ptx.Reg) {
			p.Fill(func(s *hopper.Filling) {
				fetchWeights(s)
				fetchActivations(s, i)
			})
		})
		columns.end()
	})
}
