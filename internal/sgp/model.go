// Package sgp reads and writes packed models: the .sgp file that a packer makes
// from masked weights and that the runtime maps and runs. docs/file-format.md
// describes the bytes.
//
// Validate is the one place that decides whether a model is safe to run: after
// it, no index, count or offset in the model can lead a kernel outside its
// operands, whatever the values are.
//
// This package must not import any other package of this module but
// internal/atomicfile.
package sgp

import (
	"math/bits"
	"slices"
)

// Model is a packed model: the layers of one spec.
type Model struct {
	// Fingerprint identifies the packing: a hash over what the packer makes of a
	// fixed pseudo-random input. A runtime refuses kernels of another packing.
	Fingerprint uint64
	// GPUFingerprint is the same for the packing of GPU forms; 0 in a model
	// without any.
	GPUFingerprint uint64
	Layers         []Layer
}

// Layer is one callable unit: ops in the order in which they run.
type Layer struct {
	Name string
	// Target is the GPU target that the layer is packed for, such as "sm_90a",
	// and Type the element type of its values there: BF16 or F16. Both are ""
	// for a layer that runs on the CPU, in float32.
	Target, Type       string
	BatchMin, BatchMax int     // inclusive, 1 <= BatchMin <= BatchMax
	Values             []Value // the tensors between the ops
	Inputs, Outputs    []int   // indices into Values, in the caller's order
	Ops                []Op
}

// The element types of layers that run on a GPU.
const (
	BF16 = "bf16"
	F16  = "f16"
)

// Value is a tensor with one batch axis, row-major. The batch axis is
// the first (token-major, [t, features...]) or the last (feature-major,
// [features..., t]).
type Value struct {
	Name string // "" for a value without a name
	Dims []int  // extents; 0 is the batch axis
}

// Features is the number of elements a batch item has.
func (v Value) Features() int {
	n := 1
	for _, d := range v.Dims {
		if d != 0 {
			n *= d
		}
	}
	return n
}

// FeatureMajor reports whether the batch axis is the last of several.
func (v Value) FeatureMajor() bool { return len(v.Dims) > 1 && v.Dims[0] != 0 }

// OpKind names an operation. The map kinds (Relu to Clamp) may also be fused to
// a linear op as its activation.
type OpKind uint8

// The operations. Args of each, all with the layout of Out:
const (
	None      OpKind = iota // only as Linear.Act: no activation
	LinearOp                // x, and on a GPU perhaps a residual; Op.Linear says the rest
	Relu                    // x; max(x, 0)
	Clamp                   // x; Lo, Hi
	Gelu                    // x; the erf form
	GeluTanh                // x; the tanh form
	Silu                    // x
	Sigmoid                 // x
	Tanh                    // x
	Add                     // x, y of the same shape
	Mul                     // x, y of the same shape
	Softmax                 // x; over groups of Group features
	LayerNorm               // x; over groups of Group features; Eps, Gain, Bias
	RMSNorm                 // x; over groups of Group features; Eps, Gain
	numKinds
)

// Op is one operation.
type Op struct {
	Kind   OpKind
	Args   []int // indices into Layer.Values
	Out    int   // index into Layer.Values; each value is written by one op
	Lo, Hi float32
	Eps    float32
	// Group is the number of consecutive features that are normalised together;
	// it divides Features. For [t, f] it is f.
	Group      int
	Gain, Bias []float32 // [Group] or nil (1 and 0)
	Linear     *Linear
}

// Linear is y = act(W x + bias) with W a sparse [Out, In] matrix. x and y have
// the same layout; each [t, In] and [t, Out], or [In, t] and [Out, t]. On a GPU
// a second argument of the op, of y's shape, is added last.
type Linear struct {
	Out, In int
	Bias    []float32 // [Out] in the order of the output rows, or nil for zero
	// Act is applied to the result: None, Relu, Clamp with Lo and Hi, or one of
	// Gelu, GeluTanh, Silu, Sigmoid, Tanh.
	Act    OpKind
	Lo, Hi float32
	// Variants are packings for ranges of the batch: ascending, without a gap,
	// together exactly Layer.BatchMin..BatchMax. Variants may share slices; the
	// file then holds them once.
	Variants []Variant
}

// Variant is one packing of a linear's weights. Exactly one form is set: GPU in
// a layer with a Target, Panel or Lanes in the others.
type Variant struct {
	BatchMin, BatchMax int // inclusive
	// Short: kernels with vectors of at most 32 bytes are the faster ones for it, where
	// there are others.
	Short bool
	Panel *Panel
	Lanes *Lanes
	GPU   *GPU
}

// GPU is the form for one GPU kernel. Its bytes are weights and the metadata
// beside them, no address among them: whatever they are, the kernel reads the
// same places. Addresses come from Lists. That the weights are as many as the
// kernel reads, and the lists right for it, is for the runtime to check, which has
// the kernel.
//
// An op that picks features is a linear op too: its Lists have the input of each
// output, MaxUint32 for a constant, and its Weights the constants.
type GPU struct {
	Kernel  string   // its name, which says its configuration
	Weights []byte   // as package ptx/layout packs them for the kernel
	Lists   []uint32 // which blocks are stored, where not all are, or which inputs are picked; nil: all
}

// Panel is the form for kernels whose lanes are batch columns. An output row
// that no segment names is act(bias).
type Panel struct {
	// KB is the length of a K-block: the K columns are cut into ceil(K/KB)
	// blocks, the last one shorter. K is len(Cols), or In when Cols is nil.
	KB       int
	Cols     []uint32 // kept input columns in the order of k; nil: all
	Segments []Segment
}

// SegmentKind is how a segment stores its panels.
type SegmentKind uint8

// Segment kinds; they have the streams of the kernels of the same name in
// package runtime.
const (
	Grouped SegmentKind = iota + 1 // idx grouped by which rows of the panel share it
	Block                          // MR×1 blocks
	Dense                          // all elements
	Step                           // a list of columns for each row; the rows of a panel go through theirs in step
)

// Runs is the number of runs that a panel of mr rows has in a K-block.
func (k SegmentKind) Runs(mr int) int {
	switch k {
	case Grouped:
		return 1<<mr - 1
	case Block:
		return 1
	case Step:
		return 1 + mr
	}
	return 0
}

// Entry is the number of indices and of weights that each entry of run i of a
// panel of mr rows has.
func (k SegmentKind) Entry(mr, i int) (idx, w int) {
	switch {
	case k == Grouped:
		return 1, bits.OnesCount(uint(i + 1))
	case k == Block:
		return 1, mr
	case i == 0: // of Step: in step
		return mr, mr
	}
	return 1, 1
}

// Segment is a run of panels of MR output rows each. Its streams hold K-block
// outermost, then the panels in order, as the runtime's kernels walk them:
//
//	Grouped: Runs [blocks, panels, 2^MR-1], Idx one per column of a run,
//	         W one per set bit of the run's row set
//	Block:   Runs [blocks, panels], Idx one per column, W [columns, MR]
//	Step:    Runs [blocks, panels, 1+MR], Idx and W [Runs[0], MR] and then
//	         [Runs[1+i]] for each row i
//	Dense:   W [blocks, panels, kb, MR], kb the length of that K-block
//
// Idx counts from the K-block's first column; IdxAhead more end it, which
// kernels load ahead and do not use. MR is at most 8 in Grouped, 64 in the
// others.
type Segment struct {
	Kind SegmentKind
	MR   int
	Rows []uint32 // [panels, MR]: the output row of each panel row; a row occurs once in a Panel
	W    []float32
	Idx  []uint16
	Runs []uint16
}

// IdxAhead is how many indices beyond the last a kernel may load.
const IdxAhead = 4

// LanesKind is how a Lanes form stores its slabs.
type LanesKind uint8

// Lanes kinds; they have the streams of the LanesFunc of the same name in
// package runtime.
const (
	LanesDense  LanesKind = iota + 1 // W [slabs, K, S]
	LanesList                        // Cnt [slabs], Meta uint16 [sum Cnt], W [sum Cnt, S]
	LanesNM                          // Meta uint32 [slabs, words, S], W [slabs, K/M, N, S]
	LanesMask                        // Cnt [slabs] set bits, Meta [slabs, K, S/8], W [MaskHead + set bits + MaskTail]
	LanesRow                         // Cnt [slabs, S], Meta [sum Cnt, 8], W [sum Cnt, 8]
	DeltaTile                        // Cnt [slabs], Meta [sum Cnt, S], W [sum Cnt, S]
	LanesWindow                      // Cnt [slabs, S/8], Meta [sum Cnt, WindowMeta], W [sum Cnt, WindowSteps, 8]
)

// A group of LanesWindow is WindowSteps steps of eight lanes. Its metadata are a
// uint32 for each lane, four bits a step from the lowest on, then a byte for each
// step. WindowColumns is the columns that the window of a step has.
const (
	WindowSteps   = 8
	WindowColumns = 15
	WindowW       = 8 * WindowSteps             // weights a group
	WindowMeta    = 4*WindowSteps + WindowSteps // bytes a group
)

// MaskHead and MaskTail are the float32 before the first and behind the last value of
// LanesMask, which kernels may read and which mean nothing.
const (
	MaskHead = 4
	MaskTail = 32
)

// Lanes is the form for kernels whose lanes are output rows: slabs of S rows.
// Slab j, lane l is output row j*S+l, or Rows[j*S+l]; lanes beyond the last row
// are padding. An output row that Rows leaves out is act(bias).
type Lanes struct {
	Kind LanesKind
	S    int
	N, M int      // LanesNM: N of M, M a power of two from 2 to 128
	Cols []uint32 // kept input columns in the order of k; nil: all
	Rows []uint32 // output row of each lane, each row at most once; nil: all rows in order
	W    []float32
	Meta []byte // little-endian where its elements are wider than a byte
	Cnt  []uint32
}

// Slabs is the number of slabs of S rows that a matrix of out rows has.
func (l *Lanes) Slabs(out int) int {
	rows := out
	if l.Rows != nil {
		rows = len(l.Rows)
	}
	return (rows + l.S - 1) / l.S
}

// NMWords is the number of index words of a lane for k/m groups: with B = log2 m
// bits an index, a word holds P = 32/B of them, so either several groups fit a
// word or a group takes several words.
func NMWords(k, n, m int) int {
	bits := 1
	for 1<<bits < m {
		bits++
	}
	groups, per := k/m, 32/bits
	if n <= per {
		e := per / n
		return (groups + e - 1) / e
	}
	return groups * ((n + per - 1) / per)
}

// WidestTile is the widest tile, in batch columns, that is worth its place to kernels of
// so many lanes, of a matrix with so many inputs. Tiles should stay close to the core; those
// of which each row of a panel reads what it needs at random, the better part in the
// first-level cache. But a narrow one keeps few accumulators busy. A batch that is up to a
// sixth wider is worth one tile still: two would go over every row twice.
func (p *Panel) WidestTile(in, lanes, batch int) int {
	const atRandom = 40 << 10
	size := lanes << 12
	if !slices.ContainsFunc(p.Segments, func(s Segment) bool { return s.Kind != Step && s.MR > 1 }) {
		size = min(size, atRandom)
	}
	widest := max(48, size/(4*max(min(p.KB, in), 1)))
	if batch <= widest+widest/6 {
		return widest + widest/6
	}
	return widest
}

// l2 is what a core has of second-level cache, at least.
const l2 = 512 << 10

// FetchAhead reports whether the kernels of a dense form should fetch the next tile's
// part of a feature-major x [in, batch] while they work: it comes from beyond the
// second-level cache, a line or two from each row, which hardware does not foresee.
func FetchAhead(in, batch int) bool { return in*batch*4 >= l2 }

// PackingTells reports whether packing tiles of a feature-major x [in, batch] takes time
// beside what kernels do: x outgrows half of a second-level cache, and long vectors wait
// for a whole line at each load.
func PackingTells(in, batch, lanes int) bool { return lanes > 8 && in*batch*4 >= l2/2 }

// InPlaceTile is the width of the tiles, in batch columns, in which panels should
// read a feature-major x [in, batch] where it lies, at most widest, or 0 where packed
// tiles are faster. With short vectors they are, unless x comes from beyond the
// second-level cache, panels of one row take what they need of it, and each row of x is
// used only a few times; with long ones packing tells up to some more uses, and always where
// panels go through x row by row. Rows of x must consist of whole cache lines, and those of a tile must not fall into a few sets of the
// first-level cache.
func (p *Panel) InPlaceTile(in, batch, lanes, widest int) int {
	const line, few, some = 64, 10, 20
	stored, single, dense := 0, true, true
	for _, s := range p.Segments {
		stored += len(s.W)
		single = single && s.MR == 1
		dense = dense && s.Kind == Dense
	}
	uses := stored / max(in, 1)
	gains := single && uses < few && in*batch*4 >= l2
	if PackingTells(in, batch, lanes) {
		gains = dense || uses < some
	}
	t := min(p.WidestTile(in, lanes, batch), widest)
	apart := batch * 4 / line // from row to row
	if !gains || p.Cols != nil || batch*4%line != 0 || t*4 < line*(apart&-apart) {
		return 0
	}
	return t
}
