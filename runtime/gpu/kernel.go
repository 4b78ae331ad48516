package gpu

import (
	"fmt"
	"math"
	"slices"
)

// Form is how a kernel stores the weights.
type Form uint8

// The forms; the zero value is none of them.
const (
	Dense   Form = iota + 1 // every weight
	NM24                    // 2:4: of each four along In at most two are nonzero; values and metadata of two are stored
	ByInput                 // every weight, stored [In, Out] in row-major order with rows padded to 16 bytes
	Picked                  // no weights: each output is one input, or a constant; Meta names the inputs, the constants are stored
)

// NoInput is the index of an output of a Picked form that is its constant.
const NoInput = math.MaxUint32

// String returns "dense", "nm24", "by_input" or "picked".
func (f Form) String() string {
	switch f {
	case Dense:
		return "dense"
	case NM24:
		return "nm24"
	case ByInput:
		return "by_input"
	case Picked:
		return "picked"
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// Quantity is a number that a kernel takes from its problem when it is launched.
type Quantity uint8

// The quantities; the zero value is none of them.
const (
	QOut         Quantity = iota + 1 // output features
	QIn                              // input features
	QTokens                          // tokens
	QSteps                           // pipeline stages that cover In: ⌈In / Tile.In⌉
	QOutTiles                        // ⌈Out / Tile.Out⌉
	QTokTiles                        // ⌈Tokens / Tile.Tokens⌉
	QScale                           // Problem.Scale, as F32
	QThreshold                       // Problem.Threshold, as F32
	QSlice                           // ⌈In / Tile.Split⌉
	QWeightPitch                     // bytes from one row of ByInput weights to the next
	QXPitch                          // elements from one row of the activations to the next
	QYPitch                          // the same of the result and the residual
	QLists                           // words of the lists of Listed weights: ⌈Out / Tile.Out⌉ + 1 + Problem.Blocks
	quantities                       //
)

var quantityNames = [quantities]string{
	QOut: "out", QIn: "in", QTokens: "tokens", QSteps: "steps", QOutTiles: "out tiles", QTokTiles: "token tiles", QScale: "scale",
	QThreshold: "threshold", QSlice: "slice", QWeightPitch: "weight pitch", QXPitch: "activations' pitch", QYPitch: "result's pitch",
	QLists: "lists",
}

// String returns the quantity's name.
func (q Quantity) String() string {
	if q == 0 || q >= quantities {
		return fmt.Sprintf("Quantity(%d)", uint8(q))
	}
	return quantityNames[q]
}

// MapSpec is a tensor map whose sizes are those of the problem: the buffer is a
// matrix in row-major order whose rows are Inner long.
type MapSpec struct {
	DType        DType
	Of           Buffer
	Inner, Outer Quantity  // dimensions 0 and 1
	Box          [2]uint32 // elements of the two dimensions that one TMA instruction moves
	Swizzle      Swizzle
	L2           L2Promotion
}

// Param is one parameter of a kernel, in the order in which its text declares them.
type Param struct {
	Name  string
	Kind  ArgKind
	Map   MapSpec  // of an ArgMap
	Of    Buffer   // of an ArgPtr: Len elements of DType, or the packed weights, which need neither
	DType DType    //
	Len   Quantity //
	Value Quantity // of an ArgU32 or ArgF32
	Wide  bool     // of an ArgPtr: a matrix whose rows the kernel moves 16 bytes at a time, as tensor maps do
}

// Tile is the piece of a problem that a block of threads works on at a time.
type Tile struct {
	Out    int // output features
	Tokens int
	In     int // input features of one pipeline stage
	Bytes  int // packed weights of Out×In: values, then metadata
	Split  int // blocks that share one tile, each with a part of In; at least 1
}

// Order is how a kernel's blocks share out the tiles of a problem.
type Order uint8

// The orders.
const (
	Persistent Order = iota // resident blocks walk over the tiles in a one-dimensional grid
	OneTile                 // each block has its tile, or its slice of In of one: x counts slices, then tiles of Out, y tiles of Tokens
)

// Kernel is a GPU kernel and all that the host has to know of it.
type Kernel struct {
	Name    string // of the entry
	Target  string // such as "sm_90a"
	PTX     string
	Family  string // which family of ptx/kernels made it: "gemm", "decode", "gemv", "ampere", "gather"
	DType   DType  // of weights, and of activations where X is not set
	X       DType
	Form    Form  // of the weights
	Listed  bool  // only some blocks of Tile.Out by Tile.In are stored, and Meta lists them
	Order   Order // of the tiles
	Y       DType // of the result
	Tile    Tile
	Threads uint32
	Cluster uint32 // blocks in a cluster, 1 for none
	Shared  uint32 // bytes of dynamic shared memory
	PDL     bool   // the kernel waits for its predecessor by itself
	Params  []Param
}

// Problem is one matrix product: weights Out×In, activations Tokens×In, result
// Tokens×Out, the latter two in row-major order.
type Problem struct {
	Out, In, Tokens int
	Blocks          int     // blocks of Listed weights that are stored, must be 0 of others
	Scale           float32 // multiplies every sum in a kernel with a tensor scale, must be 0 in others
	Threshold       float32 // of |x| in a kernel that skips inactive inputs by one threshold, must be 0 in others; negative keeps all
	XPitch          int     // elements from one row of the activations to the next; 0 means In
	YPitch          int     // elements from one row of the result, and of the residual, to the next; 0 means Out
}

// maxProblem bounds Out, In and Tokens: TMA's coordinates are signed 32-bit, and
// a tile may start beyond the end.
const maxProblem = 1<<31 - 1024

// WeightBytes returns the size of the packed weights: tiles of Tile.Out rows in
// order, each the stages of Tile.Bytes in the order of In, the last of either
// kind filled with zeros, or those of them that are Listed; or, ByInput, In rows;
// or, Picked, Out constants.
// It is 0 where the problem is not valid.
func (k *Kernel) WeightBytes(p Problem) int64 {
	if k.check(p) != nil {
		return 0
	}
	return k.weightBytes(p)
}

func (k *Kernel) weightBytes(p Problem) int64 {
	switch k.Form {
	case ByInput:
		return int64(p.In) * int64(k.weightPitch(p))
	case Picked:
		return int64(p.Out) * int64(k.DType.Size())
	}
	return k.weightBlocks(p) * int64(k.Tile.Bytes)
}

// weightBlocks returns how many blocks of Tile.Out by Tile.In are stored.
func (k *Kernel) weightBlocks(p Problem) int64 {
	if k.Listed {
		return int64(p.Blocks)
	}
	return int64(ceilDiv(p.Out, k.Tile.Out)) * int64(ceilDiv(p.In, k.Tile.In))
}

// tiled reports whether the weights are stored in blocks of Tile.Out by Tile.In.
func (k *Kernel) tiled() bool { return k.Form != ByInput && k.Form != Picked }

// xType returns the type of the activations.
func (k *Kernel) xType() DType {
	if k.X != 0 {
		return k.X
	}
	return k.DType
}

// xPitch returns the elements from one row of the activations to the next.
func (p *Problem) xPitch() int {
	if p.XPitch != 0 {
		return p.XPitch
	}
	return p.In
}

// yPitch returns the elements from one row of the result to the next.
func (p *Problem) yPitch() int {
	if p.YPitch != 0 {
		return p.YPitch
	}
	return p.Out
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// check says whether the kernel can compute the problem on any device.
func (k *Kernel) check(p Problem) error {
	for _, d := range []struct {
		name string
		n    int
	}{{"output features", p.Out}, {"input features", p.In}, {"tokens", p.Tokens}} {
		if d.n < 1 || d.n > maxProblem {
			return fmt.Errorf("kernel %s: %d %s, want 1 to %d", k.Name, d.n, d.name, maxProblem)
		}
	}
	if k.Tile.Out < 1 || k.Tile.Tokens < 1 || k.Tile.Split < 1 || k.tiled() && (k.Tile.In < 1 || k.Tile.Bytes < 1) {
		return fmt.Errorf("kernel %s: its tile is not set: %+v", k.Name, k.Tile)
	}
	for _, r := range []struct {
		name         string
		of           Buffer
		pitch, width int
		t            DType
	}{{"activations", X, p.xPitch(), p.In, k.xType()}, {"result", Y, p.yPitch(), p.Out, k.Y}} {
		if r.pitch < r.width {
			return fmt.Errorf("kernel %s: rows of the %s have %d elements but start every %d", k.Name, r.name, r.width, r.pitch)
		}
		if size := r.t.Size(); size == 0 {
			return fmt.Errorf("kernel %s: %s of unknown type %v", k.Name, r.name, r.t)
		} else if bytes := r.pitch * size; bytes%16 != 0 && k.wide(r.of) {
			return fmt.Errorf("kernel %s: a row of the %s is %d bytes (%d of %v), the kernel moves 16 at a time: give them a pitch of %d",
				k.Name, r.name, bytes, r.pitch, r.t, ceilDiv(bytes, 16)*16/size)
		}
	}
	switch k.Form {
	case ByInput:
		if err := k.checkByInput(p); err != nil {
			return err
		}
	case Picked:
		if pitch := max(p.xPitch(), p.yPitch()); pitch > math.MaxInt32 {
			return fmt.Errorf("kernel %s: rows start every %d elements, at most 2^31 are allowed", k.Name, pitch)
		}
	}
	// Tiles and blocks are counted in 32 bits, in rows of tiles that may be a
	// super-row above the number of tiles.
	outTiles, tokTiles := ceilDiv(p.Out, k.Tile.Out), ceilDiv(p.Tokens, k.Tile.Tokens)
	if k.tiled() {
		if blocks := int64(outTiles) * int64(ceilDiv(p.In, k.Tile.In)); blocks > math.MaxUint32 {
			return fmt.Errorf("kernel %s: %d weight blocks, at most 2^32 are allowed", k.Name, blocks)
		}
	}
	if least, most := int64(outTiles), int64(outTiles)*int64(ceilDiv(p.In, max(1, k.Tile.In))); k.Listed && (int64(p.Blocks) < least || int64(p.Blocks) > most) {
		return fmt.Errorf("kernel %s: %d stored blocks, want %d to %d", k.Name, p.Blocks, least, most)
	} else if !k.Listed && p.Blocks != 0 {
		return fmt.Errorf("kernel %s: %d stored blocks, but it takes all", k.Name, p.Blocks)
	}
	if tiles := int64(outTiles+64) * int64(tokTiles) * int64(k.Tile.Split); tiles > math.MaxInt32 {
		return fmt.Errorf("kernel %s: %d tiles, at most 2^31 are allowed", k.Name, tiles)
	}
	scaled := k.takes(QScale)
	switch s := float64(p.Scale); {
	case scaled && (s == 0 || math.IsNaN(s) || math.IsInf(s, 0)):
		return fmt.Errorf("kernel %s: it scales the result, and the scale is %v", k.Name, p.Scale)
	case !scaled && s != 0:
		return fmt.Errorf("kernel %s: a scale of %v, but it does not scale the result", k.Name, p.Scale)
	case p.Threshold != p.Threshold:
		return fmt.Errorf("kernel %s: the threshold is NaN", k.Name)
	case p.Threshold != 0 && !k.takes(QThreshold):
		return fmt.Errorf("kernel %s: a threshold of %v, but it does not compare with one", k.Name, p.Threshold)
	}
	return nil
}

// takes reports whether a parameter is the quantity.
func (k *Kernel) takes(q Quantity) bool {
	return slices.ContainsFunc(k.Params, func(p Param) bool { return p.Value == q })
}

// wide reports whether the kernel moves rows of the buffer 16 bytes at a time.
func (k *Kernel) wide(of Buffer) bool {
	return slices.ContainsFunc(k.Params, func(p Param) bool { return p.Kind == ArgMap && p.Map.Of == of || p.Wide && p.Of == of })
}

// Plan returns how the kernel is launched for the problem on the device. The
// error says which side of the problem does not fit.
func (k *Kernel) Plan(p Problem, d Device) (Launch, error) {
	if err := k.check(p); err != nil {
		return Launch{}, err
	}
	if k.Target == "sm_90a" && d.CC != [2]int{9, 0} {
		return Launch{}, fmt.Errorf("kernel %s: made for compute capability 9.0 alone, %s has %d.%d", k.Name, d.Name, d.CC[0], d.CC[1])
	}
	grid, err := k.grid(p, d)
	if err != nil {
		return Launch{}, err
	}
	l := Launch{Grid: grid, Block: [3]uint32{k.Threads, 1, 1}, Shared: k.Shared, PDL: k.PDL}
	if k.Cluster > 1 {
		l.Cluster = [3]uint32{k.Cluster, 1, 1}
	}
	for _, q := range k.Params {
		a, err := k.arg(q, p)
		if err != nil {
			return Launch{}, fmt.Errorf("kernel %s: parameter %s: %w", k.Name, q.Name, err)
		}
		l.Args = append(l.Args, a)
	}
	if err := l.Validate(d); err != nil {
		return Launch{}, fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	return l, nil
}

// grid returns the blocks of the launch. Of a persistent kernel there are as many
// as there are tiles, at most as many as are resident at a time.
func (k *Kernel) grid(p Problem, d Device) ([3]uint32, error) {
	outTiles, tokTiles := ceilDiv(p.Out, k.Tile.Out), ceilDiv(p.Tokens, k.Tile.Tokens)
	switch {
	case k.Form == Picked: // its blocks walk over the tiles of Tokens
		return [3]uint32{uint32(outTiles), uint32(min(tokTiles, maxGridYZ)), 1}, nil
	case k.Order == OneTile:
		return [3]uint32{uint32(outTiles * k.Tile.Split), uint32(tokTiles), 1}, nil
	}
	resident := 0
	switch k.Cluster {
	case 1:
		resident = d.SMs
	case 2:
		resident = d.MaxClusters2
	case 4:
		resident = d.MaxClusters4
	default:
		return [3]uint32{}, fmt.Errorf("kernel %s: clusters of %d", k.Name, k.Cluster)
	}
	if resident < 1 {
		return [3]uint32{}, fmt.Errorf("kernel %s: %s has no room for clusters of %d blocks", k.Name, d.Name, k.Cluster)
	}
	// A cluster covers neighbouring tiles of output features or, with Split, one.
	across := int(k.Cluster) / k.Tile.Split
	if across*k.Tile.Split != int(k.Cluster) {
		return [3]uint32{}, fmt.Errorf("kernel %s: a tile split %d ways in clusters of %d", k.Name, k.Tile.Split, k.Cluster)
	}
	work := ceilDiv(p.Out, k.Tile.Out*across) * tokTiles
	return [3]uint32{uint32(min(work, resident)) * k.Cluster, 1, 1}, nil
}

// quantity returns the value of a whole-numbered quantity, 0 for others.
func (k *Kernel) quantity(q Quantity, p Problem) int {
	switch q {
	case QOut:
		return p.Out
	case QIn:
		return p.In
	case QTokens:
		return p.Tokens
	case QSteps:
		return ceilDiv(p.In, k.Tile.In)
	case QOutTiles:
		return ceilDiv(p.Out, k.Tile.Out)
	case QTokTiles:
		return ceilDiv(p.Tokens, k.Tile.Tokens)
	case QSlice:
		return ceilDiv(p.In, k.Tile.Split)
	case QWeightPitch:
		return k.weightPitch(p)
	case QXPitch:
		return p.xPitch()
	case QYPitch:
		return p.yPitch()
	case QLists:
		return ceilDiv(p.Out, k.Tile.Out) + 1 + p.Blocks
	}
	return 0
}

// arg gives a parameter its value.
func (k *Kernel) arg(q Param, p Problem) (Arg, error) {
	switch q.Kind {
	case ArgMap:
		m, err := k.tensorMap(q.Map, p)
		return MapArg(m), err
	case ArgPtr:
		a := PtrArg(q.Of, 0)
		switch q.Of {
		case Weights:
			a.Bytes = uint64(k.weightBytes(p))
		case Workspace:
			a.Bytes = k.workspaceBytes(p)
		case X:
			a.Bytes = matrixBytes(p.Tokens, p.In, p.xPitch(), q.DType)
		case Y, Residual:
			a.Bytes = matrixBytes(p.Tokens, p.Out, p.yPitch(), q.DType)
		default:
			a.Bytes = uint64(k.quantity(q.Len, p)) * uint64(q.DType.Size())
		}
		return a, nil
	case ArgU32:
		if n := k.quantity(q.Value, p); n > 0 {
			return U32Arg(uint32(n)), nil
		}
	case ArgF32:
		switch q.Value {
		case QScale:
			return F32Arg(p.Scale), nil
		case QThreshold:
			return F32Arg(p.Threshold), nil
		}
	}
	return Arg{}, fmt.Errorf("a kind %d of %v cannot be planned", q.Kind, q.Value)
}

// matrixBytes is the size of a matrix of rows by cols elements whose rows start
// pitch elements apart.
func matrixBytes(rows, cols, pitch int, t DType) uint64 {
	return (uint64(rows-1)*uint64(pitch) + uint64(cols)) * uint64(t.Size())
}

// tensorMap gives a map its sizes.
func (k *Kernel) tensorMap(s MapSpec, p Problem) (TensorMap, error) {
	inner, outer := k.quantity(s.Inner, p), k.quantity(s.Outer, p)
	if inner == 0 || outer == 0 {
		return TensorMap{}, fmt.Errorf("a matrix of %v by %v", s.Outer, s.Inner)
	}
	pitch := inner
	switch s.Of {
	case X:
		pitch = p.xPitch()
	case Y, Residual:
		pitch = p.yPitch()
	}
	return TensorMap{
		DType: s.DType, Of: s.Of,
		Dims: []uint64{uint64(inner), uint64(outer)}, Strides: []uint64{uint64(pitch) * uint64(s.DType.Size())},
		Box: s.Box[:], Swizzle: s.Swizzle, L2: s.L2,
	}, nil
}
