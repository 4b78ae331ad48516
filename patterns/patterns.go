// Package patterns describes where the non-zeros of a weight matrix may be.
//
// One file holds one pattern, with the same method set in each: Validate,
// Density, Prune, Fits, Detect, Levels. Patterns compose (union, intersect,
// permute). Kernels never ask a pattern for its name: they ask for its Levels
// and choose by the levels' properties, so a new pattern needs no edit in any
// backend.
//
// This package must not import any other package of this module.
package patterns

// Matrix is a row-major view of float32 weights with shape [Rows, Cols]:
// output features by input features. Row r starts at Data[r*Stride].
type Matrix struct {
	Rows, Cols, Stride int
	Data               []float32
}

// Pattern is a set of allowed masks over a [rows, cols] matrix.
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
	// allows; ties keep the lowest index. NaN counts as magnitude +Inf. A
	// pattern without a stated sparsity whose choice depends on the data
	// (unstructured, block, channel) keeps exactly what is non-zero.
	Prune(m Matrix) (*Mask, error)

	// Fits reports whether every element that mask keeps is allowed.
	Fits(mask *Mask) bool

	// Levels is the pattern as a composition of levels, outermost first.
	Levels(rows, cols int) []Level
}

// LevelKind says how one level enumerates its coordinates.
type LevelKind uint8

const (
	Dense  LevelKind = iota // every coordinate 0..Size-1
	NofM                    // N of each M consecutive coordinates
	List                    // sorted list of coordinates, one list per parent position
	Run                     // start and length per parent position
	Offset                  // coordinate = parent coordinate + one of a list of offsets
)

// Axis is the matrix axis that a level walks.
type Axis uint8

const (
	RowAxis Axis = iota // output features
	ColAxis             // input features, the contracted axis
)

// Level is one loop of a pattern's iteration (taco's mode formats, Kjolstad et
// al. 2017, reduced to five kinds).
type Level struct {
	Kind LevelKind
	Axis Axis
	Size int // coordinates of this level; 0 where it depends on the data
	N, M int // for NofM

	// Shared says that one coordinate list serves all parent positions (a
	// pruned input channel, a stripe), so the level can be compacted away.
	Shared bool
	// Const says that the coordinates follow from the pattern's parameters
	// alone and not from the data.
	Const bool
}
