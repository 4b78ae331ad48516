// Package patterns describes where the non-zeros of a weight matrix may be.
//
// One file holds one pattern, with the same method set in each: Validate,
// Density, Prune, Fits, Levels, and a row of the table in kinds.go that says how
// the pattern is read and which candidates it has for a given matrix (Detect).
// Patterns compose (union, intersect, permute). Kernels never ask a pattern for
// its name, which is why the types are not exported: they ask for its Levels and
// choose by the levels' properties, so a new pattern needs no edit in any
// backend.
//
// # Syntax
//
//	dense                              every element
//	nm(N,M)                            at most N of each M consecutive columns, 1 <= N < M <= 32
//	block(R,C[,sparsity=S])            whole blocks of R rows and C columns
//	unstructured[(sparsity=S)]         any elements
//	channel(rows|cols[,sparsity=S])    whole rows (output features) or columns (input features)
//	stripe(A:B,...)                    columns A..B-1 of every row; a lone A is A:A+1
//	diag(O,...[,width=W])              elements with O <= column-row < O+W; W is 1 unless given
//	perm(P,rows|cols,I0,I1,...)        P once row (column) k of the reordered matrix is row (column) Ik
//	perm(P,rows|cols,seed=S)           the same with the permutation that the seed gives
//	A | B                              union: every kept element is allowed by A or by B
//	A & B                              intersection; binds tighter than |
//	(A)                                grouping
//
// S is the share of elements, blocks or channels to drop, 0 <= S < 1: at most
// max(1, round((1-S)*total)) of them are kept. Without it there is no limit. In a
// union at most one part besides unstructured may choose by the data; the others
// are constant (dense, stripe, diag), because only then is it decidable at a
// glance which part an element belongs to.
//
// This package must not import any other package of this module.
package patterns

import (
	"fmt"
	"math"
)

// Matrix is a row-major view of float32 weights with shape [Rows, Cols]:
// output features by input features. Row r starts at Data[r*Stride].
type Matrix struct {
	Rows, Cols, Stride int
	Data               []float32
}

// NewMatrix returns a zero matrix of shape [rows, cols] without gaps.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}

// Row is row r, [Cols] elements that share the matrix's memory.
func (m Matrix) Row(r int) []float32 { return m.Data[r*m.Stride:][:m.Cols:m.Cols] }

// only is a copy of m, without gaps, that is zero where k drops.
func (m Matrix) only(k *Mask) Matrix {
	n := NewMatrix(m.Rows, m.Cols)
	for r := range m.Rows {
		copy(n.Row(r), m.Row(r))
	}
	k.Apply(n)
	return n
}

// without is a copy of m, without gaps, that is zero where k keeps.
func (m Matrix) without(k *Mask) Matrix {
	drop := dense{}.fixed(m.Rows, m.Cols)
	drop.AndNot(k)
	return m.only(drop)
}

// check reports why the view does not lie inside its data.
func (m Matrix) check() error {
	if err := shape(m.Rows, m.Cols); err != nil {
		return err
	}
	if m.Stride < m.Cols {
		return fmt.Errorf("matrix [%d, %d] has stride %d, less than its columns", m.Rows, m.Cols, m.Stride)
	}
	if n := len(m.Data); n < m.Cols || (n-m.Cols)/m.Stride < m.Rows-1 {
		return fmt.Errorf("matrix [%d, %d] with stride %d does not fit into %d elements", m.Rows, m.Cols, m.Stride, n)
	}
	return nil
}

// maxExtent bounds rows and columns, so that any coordinate fits into an int32,
// and maxElements a matrix, so that a mask of it fits into memory.
const (
	maxExtent   = 1 << 28
	maxElements = 1 << 32
)

// shape reports why [rows, cols] is no matrix shape.
func shape(rows, cols int) error {
	if rows < 1 || cols < 1 || rows > maxExtent || cols > maxExtent {
		return fmt.Errorf("shape [%d, %d] is outside 1..%d", rows, cols, maxExtent)
	}
	if int64(rows)*int64(cols) > maxElements {
		return fmt.Errorf("shape [%d, %d] has more than %d elements", rows, cols, int64(maxElements))
	}
	return nil
}

// magnitude orders elements by |v| as unsigned integers; NaN counts as +Inf.
func magnitude(v float32) uint32 {
	const inf = 0x7f800000
	return min(math.Float32bits(v)&0x7fffffff, inf)
}

// Pattern is a set of allowed masks over a [rows, cols] matrix: whatever a
// subset of an allowed mask keeps is allowed too.
//
// A Pattern value is immutable and safe for concurrent use.
type Pattern interface {
	// String is the pattern as the language writes it, canonically: "nm(2,4)".
	// Parse(p.String()) gives an equal pattern.
	String() string

	// Validate reports why the pattern cannot cover a [rows, cols] matrix, for
	// instance that M does not divide cols.
	Validate(rows, cols int) error

	// Density is the largest share of stored elements, in (0,1], that the
	// pattern allows on [rows, cols]; 1 where the parameters set no limit.
	Density(rows, cols int) float64

	// Prune chooses the mask that keeps the largest magnitudes the pattern
	// allows; ties keep the lowest index. NaN counts as magnitude +Inf. What is
	// chosen as a whole (a block, a channel) is judged by its sum of
	// magnitudes. A limit that comes from a sparsity never keeps an element,
	// block or channel that is all zero; without a sparsity every block or
	// channel that holds a non-zero is kept. nm keeps N of each M, zeros
	// included; constant patterns keep all that they allow.
	Prune(m Matrix) (*Mask, error)

	// Fits reports whether every element that mask keeps is allowed. It is
	// false where the pattern does not cover the mask's shape.
	Fits(mask *Mask) bool

	// Levels is the pattern as a composition of levels, outermost first. It is
	// meaningful only where Validate(rows, cols) is nil.
	Levels(rows, cols int) []Level
}

// LevelKind says how one level enumerates its coordinates.
type LevelKind uint8

const (
	Dense  LevelKind = iota // every coordinate 0..Size-1
	NofM                    // N of each M consecutive coordinates
	List                    // sorted list of coordinates, one list per parent position
	Run                     // sorted runs, start and length
	Offset                  // coordinate = parent coordinate + one of a list of offsets
)

// String is the kind's name.
func (k LevelKind) String() string {
	return [...]string{"dense", "n-of-m", "list", "run", "offset"}[k]
}

// Axis is the matrix axis that a level walks.
type Axis uint8

const (
	RowAxis Axis = iota // output features
	ColAxis             // input features, the contracted axis
)

// String is the axis as patterns write it: rows or cols.
func (a Axis) String() string { return [...]string{"rows", "cols"}[a] }

// Level is one loop of a pattern's iteration (taco's mode formats, Kjolstad et
// al. 2017, reduced to five kinds).
//
// Levels of one axis combine like the digits of a number: coordinate =
// coordinate of the parent level of that axis * Extent + coordinate here. An
// Offset level does not combine: its coordinate is the row plus an offset, and
// offsets that leave the matrix are skipped.
type Level struct {
	Kind LevelKind
	Axis Axis
	Size int // coordinates stored for one parent; 0 where it depends on the data or the parent
	// Extent bounds the coordinates of this level: 0 <= coordinate < Extent.
	Extent int
	N, M   int // for NofM

	// Shared says that one coordinate list serves all parent positions (a
	// pruned input channel, a stripe), so the level can be compacted away.
	Shared bool
	// Const says that the coordinates follow from the pattern's parameters
	// alone and not from the data.
	Const bool

	// Coords holds what a Const level enumerates: Run the start and length of
	// each run in turn, Offset the offsets. Both ascend. A List is never Const.
	Coords []int32
	// Perm, where not nil, belongs to the innermost level of its axis and maps
	// the combined coordinate to the matrix's own: index = Perm[coordinate].
	Perm []int32
}

func denseLevel(a Axis, n int) Level {
	return Level{Kind: Dense, Axis: a, Size: n, Extent: n, Const: true}
}
