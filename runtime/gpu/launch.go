// Package gpu says what a GPU kernel is to the rest of the program: its PTX text,
// the buffers it works on, and how one run of it is launched. It is pure data
// and host arithmetic: package ptx/kernels makes it, package runtime/cuda runs it.
//
// It must not import any other package of this module, nor a driver binding.
package gpu

import (
	"fmt"
	"math/bits"
)

// DType is the type of the elements of a device buffer.
type DType uint8

// The types; the zero value is none of them.
const (
	F32  DType = iota + 1 // IEEE binary32
	BF16                  // 1-8-7, the upper half of an F32
	F16                   // IEEE binary16
	E4M3                  // OFP8 E4M3: finite, one NaN, largest 448
	E5M2                  // OFP8 E5M2: with infinities, largest 57344
	S8                    // two's complement
	S32
	U32
	U8
)

var dtypes = [...]struct {
	name string
	size int
}{
	F32: {"f32", 4}, BF16: {"bf16", 2}, F16: {"f16", 2}, E4M3: {"e4m3", 1}, E5M2: {"e5m2", 1},
	S8: {"s8", 1}, S32: {"s32", 4}, U32: {"u32", 4}, U8: {"u8", 1},
}

// Size returns the bytes of one element, 0 for a value that is no type.
func (t DType) Size() int {
	if int(t) >= len(dtypes) {
		return 0
	}
	return dtypes[t].size
}

// String returns the name that PTX uses, such as "bf16".
func (t DType) String() string {
	if t.Size() == 0 {
		return fmt.Sprintf("DType(%d)", uint8(t))
	}
	return dtypes[t].name
}

// Buffer is the role of a device buffer in a kernel: a Launch names buffers by
// role, and whoever launches it says which memory plays it.
type Buffer uint8

// The roles; the zero value is none of them.
const (
	Weights   Buffer = iota + 1 // packed weights, layout given by the kernel's family
	Meta                        // sparse metadata or index lists that are apart from Weights
	X                           // activations, Tokens×In
	Y                           // result, Tokens×Out
	Bias                        // Out values
	Residual                    // Tokens×Out, added to the result
	Scales                      // Out float32 scales, one an output feature
	XScales                     // Tokens float32 scales, one a token
	Workspace                   // scratch memory: split-K partial sums, counters
	buffers
)

// NumBuffers is the length of an array that is indexed by Buffer.
const NumBuffers = int(buffers)

var bufferNames = [NumBuffers]string{
	Weights: "weights", Meta: "meta", X: "x", Y: "y", Bias: "bias",
	Residual: "residual", Scales: "scales", XScales: "x scales", Workspace: "workspace",
}

func (b Buffer) valid() bool { return b > 0 && int(b) < NumBuffers }

// String returns the role's name, such as "weights".
func (b Buffer) String() string {
	if !b.valid() {
		return fmt.Sprintf("Buffer(%d)", uint8(b))
	}
	return bufferNames[b]
}

// Swizzle is how TMA permutes the 16-byte chunks of a box in shared memory (PTX
// ISA, "Swizzling Modes"). Its values are those of CUtensorMapSwizzle.
type Swizzle uint8

// The swizzles, named by their span in bytes.
const (
	SwizzleNone Swizzle = iota
	Swizzle32
	Swizzle64
	Swizzle128
)

// Span returns the bytes over which the pattern permutes, which the inner side
// of a box may not exceed; 0 for SwizzleNone.
func (s Swizzle) Span() int {
	if s == SwizzleNone {
		return 0
	}
	return 16 << s
}

// L2Promotion is the granularity at which TMA's misses are fetched into L2. Its
// values are those of CUtensorMapL2promotion.
type L2Promotion uint8

// The promotions, named by their bytes.
const (
	L2PromotionNone L2Promotion = iota
	L2Promotion64
	L2Promotion128
	L2Promotion256
)

// Limits of the CUDA driver's API and of the hardware since sm_80.
const (
	MaxRank       = 5 // of a tensor map
	maxBox        = 256
	maxDim        = 1 << 31
	maxStride     = 1 << 40
	maxParamBytes = 4096 // of kernels below PTX ISA 8.1, enough for ours
	maxThreads    = 1024 // in a block
	maxBlockZ     = 64
	maxGridX      = 1<<31 - 1
	maxGridYZ     = 1<<16 - 1
	maxCluster    = 8 // portable; 16 needs an attribute and idles many SMs
)

// TensorMap describes a tensor in a device buffer and the box of it that one TMA
// instruction moves. Dimensions are ordered from the innermost (contiguous) one.
type TensorMap struct {
	DType   DType
	Of      Buffer
	Offset  uint64   // bytes from the buffer's start, a multiple of 16
	Dims    []uint64 // elements, 1 to MaxRank dimensions of 1 to 2³¹
	Strides []uint64 // bytes between neighbours in Dims[1:], multiples of 16 below 2⁴⁰
	Box     []uint32 // elements, 1 to 256 a dimension; Box[0] is a multiple of 16 bytes
	Swizzle Swizzle
	L2      L2Promotion
}

// Validate checks what the driver would refuse with CUDA_ERROR_INVALID_VALUE and
// no more words (CUDA driver API, cuTensorMapEncodeTiled).
func (m *TensorMap) Validate() error {
	size, rank := uint64(m.DType.Size()), len(m.Dims)
	switch {
	case size == 0:
		return fmt.Errorf("tensor map: %v is no type", m.DType)
	case !m.Of.valid():
		return fmt.Errorf("tensor map: %v is no buffer", m.Of)
	case m.Offset%16 != 0:
		return fmt.Errorf("tensor map of %v: offset %d is no multiple of 16 bytes", m.Of, m.Offset)
	case rank < 1 || rank > MaxRank:
		return fmt.Errorf("tensor map of %v: %d dimensions, want 1 to %d", m.Of, rank, MaxRank)
	case len(m.Strides) != rank-1:
		return fmt.Errorf("tensor map of %v: %d strides for %d dimensions, want %d", m.Of, len(m.Strides), rank, rank-1)
	case len(m.Box) != rank:
		return fmt.Errorf("tensor map of %v: a box of %d sides for %d dimensions", m.Of, len(m.Box), rank)
	case m.Swizzle > Swizzle128:
		return fmt.Errorf("tensor map of %v: unknown swizzle %d", m.Of, m.Swizzle)
	case m.L2 > L2Promotion256:
		return fmt.Errorf("tensor map of %v: unknown L2 promotion %d", m.Of, m.L2)
	}
	for i, d := range m.Dims {
		if d < 1 || d > maxDim {
			return fmt.Errorf("tensor map of %v: dimension %d has %d elements, want 1 to %d", m.Of, i, d, uint64(maxDim))
		}
	}
	for i, s := range m.Strides {
		if s%16 != 0 || s >= maxStride {
			return fmt.Errorf("tensor map of %v: the stride of dimension %d is %d bytes, want a multiple of 16 below 2^40", m.Of, i+1, s)
		}
	}
	for i, b := range m.Box {
		if b < 1 || b > maxBox {
			return fmt.Errorf("tensor map of %v: side %d of the box has %d elements, want 1 to %d", m.Of, i, b, maxBox)
		}
	}
	inner := uint64(m.Box[0]) * size
	if inner%16 != 0 {
		return fmt.Errorf("tensor map of %v: the box is %d bytes wide, want a multiple of 16", m.Of, inner)
	}
	if span := m.Swizzle.Span(); span > 0 && inner > uint64(span) {
		return fmt.Errorf("tensor map of %v: the box is %d bytes wide, its swizzle spans %d", m.Of, inner, span)
	}
	if _, err := m.Extent(); err != nil {
		return err
	}
	return nil
}

// Extent returns how many bytes the buffer must have for the map to stay inside
// it: Offset plus the distance from the first byte of the tensor to its last.
// It is an error when the sum does not fit 64 bits.
func (m *TensorMap) Extent() (uint64, error) {
	sum, over := m.Offset, uint64(0)
	add := func(n, stride uint64) {
		hi, lo := bits.Mul64(n, stride)
		var carry uint64
		sum, carry = bits.Add64(sum, lo, 0)
		over |= hi | carry
	}
	for i, d := range m.Dims {
		switch {
		case i == 0:
			add(d, uint64(m.DType.Size()))
		case i-1 < len(m.Strides) && d > 0:
			add(d-1, m.Strides[i-1])
		}
	}
	if over != 0 {
		return 0, fmt.Errorf("tensor map of %v: the tensor ends beyond 2^64 bytes", m.Of)
	}
	return sum, nil
}

// ArgKind says which fields of an Arg count.
type ArgKind uint8

// The kinds; the zero value is none of them.
const (
	ArgMap ArgKind = iota + 1 // .param .align 64 .b8 [128]: Map
	ArgPtr                    // .param .u64: the address of Of plus Offset
	ArgU32                    // .param .u32: U32
	ArgU64                    // .param .u64: U64
	ArgF32                    // .param .f32: F32
)

// Arg is one parameter of a kernel. MapArg, PtrArg, U32Arg, U64Arg and F32Arg
// make one.
type Arg struct {
	Kind   ArgKind
	Map    TensorMap
	Of     Buffer
	Offset uint64 // bytes
	Bytes  uint64 // of an ArgPtr: how many bytes from Offset the kernel may touch; 0 where the plan cannot tell
	U32    uint32
	U64    uint64
	F32    float32
}

// MapArg passes a tensor map by value.
func MapArg(m TensorMap) Arg { return Arg{Kind: ArgMap, Map: m} }

// PtrArg passes the address of the byte at offset of a buffer.
func PtrArg(of Buffer, offset uint64) Arg { return Arg{Kind: ArgPtr, Of: of, Offset: offset} }

// U32Arg passes a 32-bit integer.
func U32Arg(v uint32) Arg { return Arg{Kind: ArgU32, U32: v} }

// U64Arg passes a 64-bit integer.
func U64Arg(v uint64) Arg { return Arg{Kind: ArgU64, U64: v} }

// F32Arg passes a 32-bit float.
func F32Arg(v float32) Arg { return Arg{Kind: ArgF32, F32: v} }

// Size returns the bytes of the parameter in PTX, 0 for no kind.
func (a *Arg) Size() int {
	size, _ := a.size()
	return size
}

// size and align of the parameter in PTX, in bytes; 0 for no kind.
func (a *Arg) size() (size, align int) {
	switch a.Kind {
	case ArgMap:
		return 128, 64
	case ArgPtr, ArgU64:
		return 8, 8
	case ArgU32, ArgF32:
		return 4, 4
	}
	return 0, 1
}

// buffer returns the role that the argument needs, 0 for a scalar.
func (a *Arg) buffer() Buffer {
	switch a.Kind {
	case ArgMap:
		return a.Map.Of
	case ArgPtr:
		return a.Of
	}
	return 0
}

// Launch is one run of a kernel: its grid and its parameters in the order in
// which the kernel declares them.
type Launch struct {
	Grid    [3]uint32 // blocks, at least 1 a dimension, a multiple of Cluster
	Block   [3]uint32 // threads, at least 1 a dimension, at most 1024 together
	Cluster [3]uint32 // blocks of a thread block cluster; all 0 for none
	Shared  uint32    // bytes of dynamic shared memory a block
	PDL     bool      // programmatic dependent launch: may start before its predecessor in the stream ends; the kernel waits by griddepcontrol.wait
	Args    []Arg
}

// Device is what a plan has to know of a GPU.
type Device struct {
	Name         string
	CC           [2]int // compute capability, major and minor
	SMs          int    // streaming multiprocessors
	SharedMax    int    // bytes of shared memory that a block may ask for
	L2Bytes      int64
	MemoryBytes  int64 // of the whole device
	MaxClusters2 int   // clusters of two blocks that can be resident at one block an SM; 0 where there are none
	MaxClusters4 int   // the same with four blocks; often fewer than SMs/4
	Driver       int   // highest CUDA version that the driver supports, 1000·major + 10·minor
}

// AtLeast says whether the compute capability is major.minor or above.
func (d *Device) AtLeast(major, minor int) bool {
	return d.CC[0] > major || d.CC[0] == major && d.CC[1] >= minor
}

// Validate checks the launch against itself and the device, so that a wrong plan
// is an error with words and not CUDA_ERROR_INVALID_VALUE.
func (l *Launch) Validate(d Device) error {
	if err := l.validateGrid(); err != nil {
		return err
	}
	if d.SharedMax > 0 && int64(l.Shared) > int64(d.SharedMax) {
		return fmt.Errorf("launch: %d bytes of shared memory, %s has %d a block", l.Shared, d.Name, d.SharedMax)
	}
	if (l.clustered() || l.PDL) && !d.AtLeast(9, 0) {
		return fmt.Errorf("launch: clusters and programmatic dependent launch need compute capability 9.0, %s has %d.%d", d.Name, d.CC[0], d.CC[1])
	}
	total := 0
	for i := range l.Args {
		a := &l.Args[i]
		size, align := a.size()
		total = (total+align-1)/align*align + size
		switch {
		case size == 0:
			return fmt.Errorf("launch: argument %d: unknown kind %d", i, a.Kind)
		case a.Kind == ArgPtr && !a.Of.valid():
			return fmt.Errorf("launch: argument %d: %v is no buffer", i, a.Of)
		case a.Kind == ArgMap:
			if !d.AtLeast(9, 0) {
				return fmt.Errorf("launch: argument %d: tensor maps need compute capability 9.0, %s has %d.%d", i, d.Name, d.CC[0], d.CC[1])
			}
			if err := a.Map.Validate(); err != nil {
				return fmt.Errorf("launch: argument %d: %w", i, err)
			}
		}
	}
	if total > maxParamBytes {
		return fmt.Errorf("launch: %d bytes of parameters, at most %d are allowed", total, maxParamBytes)
	}
	return nil
}

func (l *Launch) validateGrid() error {
	threads, blocks := uint64(1), uint64(1)
	for i, axis := range [3]string{"x", "y", "z"} {
		g, b, c := l.Grid[i], l.Block[i], l.Cluster[i]
		limit := uint32(maxGridYZ)
		if i == 0 {
			limit = maxGridX
		}
		if g < 1 || g > limit {
			return fmt.Errorf("launch: grid.%s is %d, want 1 to %d", axis, g, limit)
		}
		if b < 1 || b > maxThreads || i == 2 && b > maxBlockZ {
			return fmt.Errorf("launch: block.%s is %d threads", axis, b)
		}
		threads *= uint64(b)
		if !l.clustered() {
			continue
		}
		if c < 1 || g%c != 0 {
			return fmt.Errorf("launch: grid.%s is %d, no multiple of the cluster's %d", axis, g, c)
		}
		blocks *= uint64(c)
		if blocks > maxCluster {
			return fmt.Errorf("launch: a cluster of more than %d blocks", maxCluster)
		}
	}
	if threads > maxThreads {
		return fmt.Errorf("launch: %d threads in a block, at most %d are allowed", threads, maxThreads)
	}
	return nil
}

// clustered says whether the launch asks for clusters.
func (l *Launch) clustered() bool { return l.Cluster != [3]uint32{} }

// Needs returns for each role how many bytes its buffer must have as far as the
// launch tells: what its tensor maps span and its pointers reach, at least one
// byte. A role that no argument names has 0.
func (l *Launch) Needs() (need [NumBuffers]uint64, err error) {
	for i := range l.Args {
		a := &l.Args[i]
		of := a.buffer()
		if of == 0 {
			continue
		}
		if !of.valid() {
			return need, fmt.Errorf("launch: argument %d: %v is no buffer", i, of)
		}
		end, over := bits.Add64(a.Offset, max(1, a.Bytes), 0)
		if a.Kind == ArgMap {
			if end, err = a.Map.Extent(); err != nil {
				return need, fmt.Errorf("launch: argument %d: %w", i, err)
			}
		} else if over != 0 {
			return need, fmt.Errorf("launch: argument %d: %v ends beyond 2^64 bytes", i, of)
		}
		need[of] = max(need[of], end)
	}
	return need, nil
}
