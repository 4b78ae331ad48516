package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Ampere is the configuration of a matrix product by mma.sync, for sm_80 and all
// that came after it:
//
//	y[t, o] = act(Σ_i x[t, i]·w[o, i] · scales + bias[o]) + residual[t, o]
//
// Weights, dense or 2:4 sparse, are operand A, packed so that a lane loads its
// fragment by one 16-byte load; activations are operand B. Both come to shared
// memory by cp.async, several stages ahead. A block has one tile; with Split, that
// many blocks share it, each with a part of In, and meet in the workspace.
type Ampere struct {
	Target ptx.Target
	DType  gpu.DType // BF16, F16 or S8, of weights and activations
	Form   gpu.Form  // Dense or NM24
	TileM  int       // output features of a tile: 32, 64, 128 or 256
	TileN  int       // tokens of a tile: 8 to 256, a power of two
	WarpsM int       // warps along the features
	WarpsN int       // and along the tokens

	Blocks  int  // k-blocks of a stage: 1, 2 or 4; 0 is 1
	Stages  int  // 2 to 16; 0: as many as fit, up to 5
	Split   int  // blocks that share a tile: 1 to 16; 0 is 1
	Listed  bool // only blocks with something in them are stored (layout.Blocks); Blocks is 1
	Ordered bool // mma.sp::ordered_metadata: needs PTX ISA 8.5, faster on what came after sm_80

	Y           gpu.DType // BF16, F16 or F32; S32 for the exact sums of S8
	TensorScale bool      // Problem.Scale
	OutScale    bool      // a float32 scale for each output feature, buffer Scales
	TokenScale  bool      // a float32 scale for each token, buffer XScales
	Bias        gpu.DType // F32 or BF16; 0 for none
	Activation  Activation
	Residual    bool // of type Y
}

// The shape of mma: rows of A, columns of B, bytes of stored A along K.
const (
	mmaRows    = 16
	mmaColumns = 8
	mmaBytes   = 32
)

// normal returns the configuration with its defaults filled in.
func (c Ampere) normal() Ampere {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Blocks, 1)
	def(&c.Split, 1)
	if c.Stages == 0 && c.check() == nil {
		c.Stages = min(5, sharedLimit(c.Target)/c.stageBytes())
	}
	return c
}

// Format is how the weights are packed.
func (c Ampere) Format() layout.Format { return c.normal().format() }

func (c Ampere) format() layout.Format {
	f := layout.Format{Size: c.DType.Size(), Order: layout.FragmentMajor, TileRows: c.TileM, RowBytes: gemmStage, StageBlocks: c.Blocks, Cluster: 1}
	if c.Form == gpu.NM24 {
		f.Sparse, f.RowBytes = true, gemmStage/2
	}
	return f
}

func (c Ampere) threads() int { return 32 * c.WarpsM * c.WarpsN }

// stageBytes is the size of a stage: weights with metadata, then activations.
func (c Ampere) stageBytes() int { return c.format().StageBytes() + c.Blocks*c.TileN*gemmStage }

// rowFloats is the distance between the tile's rows of sums in shared memory, by
// token. The padding spreads a fragment over all banks.
func (c Ampere) rowFloats() int { return c.TileM + 4 }

// sharedBytes is the shared memory of a block: the ring, or afterwards the tile's
// sums, and the flag of the last slice.
func (c Ampere) sharedBytes() int {
	return max(c.Stages*c.stageBytes(), 4*c.TileN*c.rowFloats()) + 16
}

// Name is the kernel's name: its configuration in short.
func (c Ampere) Name() string {
	c = c.normal()
	n := fmt.Sprintf("ampere_%v_%s_%s_y%s_m%d_n%d_w%dx%d_k%d_s%d_c%d", c.Target, c.Form, c.DType, c.Y, c.TileM, c.TileN, c.WarpsM, c.WarpsN, c.Blocks, c.Stages, c.Split)
	return named(n, []option{
		{c.Listed, "listed"}, {c.Ordered, "ordered"}, {c.TensorScale, "scale"}, {c.OutScale, "outscale"}, {c.TokenScale, "tokenscale"},
		{c.Bias != 0, "bias" + c.Bias.String()}, {c.Activation != Identity, c.Activation.String()}, {c.Residual, "residual"},
	})
}

// Check reports why there is no such kernel.
func (c Ampere) Check() error {
	c = c.normal()
	if err := c.check(); err != nil {
		return fmt.Errorf("ampere: %w", err)
	}
	if c.Stages < 2 || c.Stages > 16 {
		return fmt.Errorf("ampere: %d stages of %d bytes, want 2 to 16", c.Stages, c.stageBytes())
	}
	if have := sharedLimit(c.Target); c.sharedBytes() > have {
		return fmt.Errorf("ampere: %d bytes of shared memory, %v has %d", c.sharedBytes(), c.Target, have)
	}
	return nil
}

// check checks everything but the number of stages.
func (c Ampere) check() error {
	power := func(n, lo, hi int) bool { return n >= lo && n <= hi && n&(n-1) == 0 }
	switch {
	case c.DType == gpu.E4M3 || c.DType == gpu.E5M2:
		return fmt.Errorf("operands of type %v, want bf16, f16 or s8", c.DType)
	case !power(c.TileM, 32, 256):
		return fmt.Errorf("tiles of %d output features, want a power of two from 32 to 256", c.TileM)
	case !power(c.TileN, 8, 256):
		return fmt.Errorf("tiles of %d tokens, want a power of two from 8 to 256", c.TileN)
	case !power(c.WarpsM, 1, 8) || !power(c.WarpsN, 1, 8) || c.threads() > 512 || c.threads() < 64:
		return fmt.Errorf("%d by %d warps, want powers of two, 2 to 16 together", c.WarpsM, c.WarpsN)
	case c.TileM < c.WarpsM*mmaRows || c.TileN < c.WarpsN*mmaColumns:
		return fmt.Errorf("%d by %d warps on a tile of %d by %d", c.WarpsM, c.WarpsN, c.TileM, c.TileN)
	case c.TileM/c.WarpsM*(c.TileN/c.WarpsN) > 64*64:
		return fmt.Errorf("warps with %d by %d sums, want at most 64 by 64", c.TileM/c.WarpsM, c.TileN/c.WarpsN)
	case !power(c.Blocks, 1, 4):
		return fmt.Errorf("stages of %d k-blocks, want 1, 2 or 4", c.Blocks)
	case c.Listed && c.Blocks != 1:
		return fmt.Errorf("stages of %d listed k-blocks, want 1", c.Blocks)
	case c.Split < 1 || c.Split > 16:
		return fmt.Errorf("%d blocks share a tile, want 1 to 16", c.Split)
	}
	// Operands and epilogue are those of a GEMM.
	g := GEMM{
		DType: c.DType, Form: c.Form, TileN: 256, Cluster: 1, Band: 1, Buffers: 1,
		Y: c.Y, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale, Bias: c.Bias, Activation: c.Activation, Residual: c.Residual,
	}
	return g.check()
}

// Build returns the kernel.
func (c Ampere) Build() (*gpu.Kernel, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.normal()
	m := ptx.NewModule(c.Target)
	a := &ampere{Ampere: c, k: m.Kernel(c.Name()), f: c.format()}
	a.emit()
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	return &gpu.Kernel{
		Name: c.Name(), Target: c.Target.String(), PTX: text, Family: "ampere",
		DType: c.DType, Form: c.Form, Listed: c.Listed, Order: gpu.OneTile, Y: c.Y,
		Tile:    gpu.Tile{Out: c.TileM, Tokens: c.TileN, In: a.f.KBlock() * c.Blocks, Bytes: a.f.StageBytes(), Split: c.Split},
		Threads: uint32(c.threads()), Cluster: 1, Shared: uint32(c.sharedBytes()),
		Params: a.params.list,
	}, nil
}
