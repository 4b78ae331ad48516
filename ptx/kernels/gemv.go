package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Combine is how the partial sums of a GEMV's slices of In become one result.
type Combine uint8

const (
	// ByCluster: the blocks that share a tile are a cluster, and push their
	// sums into the shared memory of the block that finishes them (sm_90).
	ByCluster Combine = iota
	// ByCounter: the sums go through the workspace, and the block that arrives
	// last, by an atomic counter, finishes the tile.
	ByCounter
)

// String returns "cluster" or "counter".
func (c Combine) String() string {
	if c == ByCounter {
		return "counter"
	}
	return "cluster"
}

// GEMV is the configuration of a matrix-vector product over active inputs:
//
//	y[t, o] = act(Σ_i keep(x[t, i])·x[t, i]·w[i, o] + bias[o])
//
// keep(v) is |v| > threshold, or |v| ≥ threshold with Inclusive; a NaN is kept.
// Weights are stored by input, [In, Out] in row-major order with rows padded to
// 16 bytes, so that an input below the threshold costs no memory traffic. A
// block compacts the active inputs of its slice of In into a list in shared
// memory and gathers their rows, Rows at a time in flight. Of several tokens the
// list is the union. Products are summed in f32, in an order that depends on the
// configuration and on which inputs are active, never on timing.
type GEMV struct {
	Target     ptx.Target
	W, X, Y    gpu.DType // f32, bf16 or f16 each
	Tokens     int       // 1 to 8
	Lanes      int       // lanes that read one row of the tile, 16 bytes each: 8, 16 or 32
	Warps      int       // 1 to 16
	Rows       int       // rows that a lane has in flight: 1 to 16
	Items      int       // inputs that a thread tests before the list is gathered: 1 to 16
	Split      int       // slices of In: 1, 2, 4 or 8 by cluster, up to 64 by counter
	Combine    Combine
	Inclusive  bool
	PerChannel bool // a threshold for each input (buffer Meta, f32) instead of Problem.Threshold
	Bias       bool
	Activation Activation
	PDL        bool // wait for the predecessor in the stream by griddepcontrol (sm_90)
}

// outputs is how many outputs a block computes: 16 bytes of weights a lane.
func (c GEMV) outputs() int { return c.Lanes * c.perLane() }

func (c GEMV) perLane() int { return 16 / c.W.Size() }

func (c GEMV) threads() int { return 32 * c.Warps }

// clustered reports whether the blocks of a tile are a cluster.
func (c GEMV) clustered() bool { return c.Combine == ByCluster && c.Split > 1 }

// Name is the kernel's name: its configuration in short.
func (c GEMV) Name() string {
	n := fmt.Sprintf("gemv_%s_x%s_y%s_t%d_l%d_w%d_r%d_i%d_%s%d", c.W, c.X, c.Y, c.Tokens, c.Lanes, c.Warps, c.Rows, c.Items, c.Combine, c.Split)
	return named(n, []option{{c.Inclusive, "ge"}, {c.PerChannel, "channels"}, {c.Bias, "bias"}, {c.Activation != 0, c.Activation.String()}, {c.PDL, "pdl"}})
}

// Check reports why there is no such kernel.
func (c GEMV) Check() error {
	float := func(t gpu.DType) bool { return t == gpu.F32 || t == gpu.BF16 || t == gpu.F16 }
	within := func(n, lo, hi int) bool { return n >= lo && n <= hi }
	hopper := c.Target.Has(ptx.SM90())
	var err error
	switch {
	case !float(c.W) || !float(c.X) || !float(c.Y):
		err = fmt.Errorf("types %v, %v, %v, want f32, bf16 or f16", c.W, c.X, c.Y)
	case !within(c.Tokens, 1, 8):
		err = fmt.Errorf("%d tokens, want 1 to 8", c.Tokens)
	case c.Lanes != 8 && c.Lanes != 16 && c.Lanes != 32:
		err = fmt.Errorf("%d lanes a row, want 8, 16 or 32", c.Lanes)
	case !within(c.Warps, 1, 16) || !within(c.Rows, 1, 16) || !within(c.Items, 1, 16):
		err = fmt.Errorf("%d warps, %d rows, %d items, want 1 to 16 each", c.Warps, c.Rows, c.Items)
	case c.Combine > ByCounter:
		err = fmt.Errorf("combine %d", c.Combine)
	case c.Combine == ByCluster && c.Split != 1 && c.Split != 2 && c.Split != 4 && c.Split != 8:
		err = fmt.Errorf("a cluster of %d blocks, want 1, 2, 4 or 8", c.Split)
	case !within(c.Split, 1, 64):
		err = fmt.Errorf("%d slices, want 1 to 64", c.Split)
	case !hopper && (c.clustered() || c.PDL):
		err = fmt.Errorf("clusters and dependent launch need sm_90, not %v", c.Target)
	case c.clustered() && c.outputs()/c.Split < 4:
		err = fmt.Errorf("%d outputs for %d blocks, want at least 4 each", c.outputs(), c.Split)
	case !c.Activation.valid():
		err = fmt.Errorf("activation %d", c.Activation)
	default:
		if s := c.layout(); s.bytes > sharedLimit(c.Target) {
			err = fmt.Errorf("%d bytes of shared memory, %v has %d", s.bytes, c.Target, sharedLimit(c.Target))
		}
	}
	if err != nil {
		return fmt.Errorf("gemv: %w", err)
	}
	return nil
}

// gemvShared is the plan of a block's shared memory. The list and the sums of the
// warps are never alive together and share their place.
type gemvShared struct {
	barrier int // mbarrier of the sums that the cluster pushes
	counts  int // active inputs by warp; then the arrival counter's value
	slots   int // sums to finish, [Split] [Tokens] [share]
	indices int // list: inputs
	values  int // list: values, stride of a power of two
	sums    int // [warp] [token] [vector] [lane] of 4 sums
	bytes   int
}

// stride is the distance between entries' values in the list, in words.
func (c GEMV) stride() int {
	s := 1
	for s < c.Tokens {
		s *= 2
	}
	return s
}

// groups is how many rows one load of a warp covers.
func (c GEMV) groups() int { return 32 / c.Lanes }

// round is how many entries of the list the block gathers in one turn.
func (c GEMV) round() int { return c.Rows * c.Warps * c.groups() }

func (c GEMV) layout() gemvShared {
	s := gemvShared{barrier: 0, counts: 16, slots: 16 + 4*32}
	s.indices = s.slots + c.Tokens*c.outputs()*4
	s.sums = s.indices
	// The last round reads up to a round's entries beyond the list's end.
	entries := c.threads()*c.Items + c.round()
	s.values = s.indices + (4*entries+15)/16*16
	s.bytes = max(s.values+4*c.stride()*entries, s.sums+c.Warps*c.Tokens*c.outputs()*4)
	return s
}

// Build returns the kernel.
func (c GEMV) Build() (*gpu.Kernel, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := ptx.NewModule(c.Target)
	g := &gemv{GEMV: c, k: m.Kernel(c.Name()), shared: c.layout()}
	g.emit()
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	cluster := uint32(1)
	if c.clustered() {
		cluster = uint32(c.Split)
	}
	return &gpu.Kernel{
		Name: c.Name(), Target: c.Target.String(), PTX: text, Family: "gemv",
		DType: c.W, X: c.X, Y: c.Y, Form: gpu.ByInput, Order: gpu.OneTile,
		Tile:    gpu.Tile{Out: c.outputs(), Tokens: c.Tokens, Split: c.Split},
		Threads: uint32(c.threads()), Cluster: cluster, Shared: uint32(g.shared.bytes), PDL: c.PDL,
		Params: g.params.list,
	}, nil
}
