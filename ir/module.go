// Package ir is the language of sparsegen: a spec says which layers there are
// and where the non-zeros of their weights may be. Parse reads a spec, Check
// gives it a meaning (a Module), Print and Format write it canonically, and
// Builder makes a Module from Go. docs/ir.md is the manual, docs/errors.md
// explains the errors. Package eval, below this one, says what a layer computes.
//
// This package must not import any other package of this module but patterns.
package ir

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/patterns"
)

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
	ISAs []string // avx2, avx512; neon, sve; sm_90a
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
	Weight *Weight // linear: the matrix
	Bias   *Weight // linear: one value an output feature, or nil
	Gain   *Weight // layernorm, rmsnorm: one value a feature, or nil
	Attrs  Attrs   // clamp lo, hi; eps; axis; defaults filled in
}

// Attr is a constant of an op.
type Attr struct {
	Name  string
	Value float64
}

// Attrs are the constants of an op, in the order of the op table's parameters.
type Attrs []Attr

// Get is the value of that name, or 0 when the op has none.
func (as Attrs) Get(name string) float64 {
	for _, a := range as {
		if a.Name == name {
			return a.Value
		}
	}
	return 0
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

// Layer returns the layer of that name, or nil.
func (m *Module) Layer(name string) *Layer {
	for _, l := range m.Layers {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// String is the extent as a spec writes it.
func (e Extent) String() string {
	if e.Sym != "" {
		return e.Sym
	}
	return strconv.Itoa(e.N)
}

// Of is the extent's size; dims gives the symbols. ok is false for a symbol
// that dims lacks.
func (e Extent) Of(dims map[string]int) (n int, ok bool) {
	if e.Sym == "" {
		return e.N, true
	}
	n, ok = dims[e.Sym]
	return n, ok
}

// Size is the value's shape in numbers; dims gives the symbols.
func (v *Value) Size(dims map[string]int) ([]int, error) {
	shape := make([]int, len(v.Shape))
	for i, e := range v.Shape {
		n, ok := e.Of(dims)
		if !ok {
			return nil, fmt.Errorf("the extent %s of %s has no size", e.Sym, v)
		}
		shape[i] = n
	}
	return shape, nil
}

// String is the value as a spec declares it: "x f32[t, 512]".
func (v *Value) String() string {
	parts := make([]string, len(v.Shape))
	for i, e := range v.Shape {
		parts[i] = e.String()
	}
	name := v.Name
	if name == "" {
		name = "_"
	}
	return name + " " + v.DType.String() + "[" + strings.Join(parts, ", ") + "]"
}

// dtypeNames are the names of the element types, by DType.
var dtypeNames = [...]string{F32: "f32", F16: "f16", BF16: "bf16", I8: "i8", U8: "u8", I32: "i32"}

// String is the name of the element type in a spec.
func (d DType) String() string {
	if int(d) < len(dtypeNames) && d != 0 {
		return dtypeNames[d]
	}
	return "dtype(" + strconv.Itoa(int(d)) + ")"
}

// Float reports whether the element type is a floating-point type.
func (d DType) Float() bool { return d == F32 || d == F16 || d == BF16 }

// parseDType returns the element type of that name, or 0.
func parseDType(name string) DType {
	for d, n := range dtypeNames {
		if n == name && n != "" {
			return DType(d)
		}
	}
	return 0
}
