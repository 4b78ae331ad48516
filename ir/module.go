package ir

import "github.com/sparsegen/sparsegen/patterns"

// Module is a checked spec: shapes are known, every name is resolved, every
// pattern divides the weight it lies on.
type Module struct {
	Path    string   // the spec's file, for messages
	Weights []string // weight files, as written (relative to the spec's folder)
	Layers  []*Layer
	Targets []Target
}

// Target is one line of machine code to emit.
type Target struct {
	Arch string   // amd64, arm64, ptx
	ISAs []string // avx2, avx512; neon; sm_90a
}

// Layer is one callable unit: operations in the order in which they run.
type Layer struct {
	Name    string
	Pos     Pos
	Dims    []Dim // symbolic extents with their ranges
	Inputs  []*Value
	Outputs []*Value
	Ops     []*Op
}

// Dim is a symbolic extent: the batch, with the range it may take.
type Dim struct {
	Name     string
	Min, Max int // inclusive
}

// Extent is one extent of a shape: N, or the symbol Sym.
type Extent struct {
	N   int
	Sym string
}

// DType is an element type.
type DType uint8

// The element types of the language.
const (
	F32 DType = iota + 1
	F16
	BF16
	I8
	U8
	I32
)

// Value is a tensor that a layer takes, makes or returns. It is row-major.
type Value struct {
	Name  string // "" for a result without a name
	DType DType
	Shape []Extent
}

// Op is one operation of a layer. A chain `linear(...) | relu` is two Ops; the
// planner fuses.
type Op struct {
	Kind   string // a name of the op table: linear, relu, softmax…
	Pos    Pos
	Args   []*Value
	Out    *Value
	Weight *Weight            // linear: the matrix
	Bias   *Weight            // linear: one value an output feature, or nil
	Gain   *Weight            // layernorm, rmsnorm: one value a feature, or nil
	Attrs  map[string]float64 // clamp lo, hi; eps; axis; defaults filled in
}

// Weight is a tensor of the weight file, used as one operand.
type Weight struct {
	Tensor string // its name in the file
	Pos    Pos
	// Transposed says that the file holds [in, out], written w"name".T; without
	// it the file holds [out, in].
	Transposed bool
	Pattern    patterns.Pattern // of the [out, in] matrix; nil for vectors
	// Out and In are features; a vector has In = 0.
	Out, In int
}

// Pos is a place in a spec: line and column from 1, in bytes.
type Pos struct {
	File      string
	Line, Col int
}
