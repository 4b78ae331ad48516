package autotune

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Linear is a linear op of a layer with its weights.
type Linear struct {
	Layer, Tensor string
	Problem       codegen.Problem
	Matrix        patterns.Matrix
	Mask          *patterns.Mask
}

// Problem is what a record is about: one op at one batch, on one instruction set.
// Two layers with equal Problems share a record.
type Problem struct {
	Op        string  `json:"op"` // the family: linear
	Out       int     `json:"out"`
	In        int     `json:"in"`
	Batch     int     `json:"batch"`
	Layout    string  `json:"layout"` // token-major or feature-major
	DType     string  `json:"dtype"`
	Structure string  `json:"structure"` // of the pattern's levels
	Density   float64 `json:"density"`   // two digits
	Weights   string  `json:"weights"`   // warm, or cold: they come from memory
	ISA       string  `json:"isa"`
}

// problemOf is the problem of a linear op at a batch.
func problemOf(p codegen.Problem, density float64, batch int, isa runtime.ISA) Problem {
	q := Problem{
		Op: "linear", Out: p.Out, In: p.In, Batch: batch, Layout: "feature-major", DType: "f32",
		Structure: p.Structure(), Density: twoDigits(density), Weights: "warm", ISA: isa.String(),
	}
	if p.TokenMajor {
		q.Layout = "token-major"
	}
	if p.Cold(batch, isa) {
		q.Weights = "cold"
	}
	return q
}

// twoDigits rounds to two significant digits.
func twoDigits(x float64) float64 { return digits(x, 2) }

// digits rounds to n significant digits.
func digits(x float64, n int) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', n, 64), 64)
	if err != nil { // not a number
		return 0
	}
	return y
}

// String is the problem in a line.
func (p Problem) String() string {
	return fmt.Sprintf("%s [%d, %d] %s, density %g, %s, %s, batch %d, %s weights, %s",
		p.Op, p.Out, p.In, p.Structure, p.Density, p.DType, p.Layout, p.Batch, p.Weights, p.ISA)
}

// compare orders problems as their records lie in a file.
func (p Problem) compare(q Problem) int {
	return cmp.Or(
		strings.Compare(p.Op, q.Op), strings.Compare(p.ISA, q.ISA), strings.Compare(p.Structure, q.Structure),
		cmp.Compare(p.Out, q.Out), cmp.Compare(p.In, q.In), cmp.Compare(p.Density, q.Density),
		strings.Compare(p.Layout, q.Layout), strings.Compare(p.DType, q.DType),
		cmp.Compare(p.Batch, q.Batch), strings.Compare(p.Weights, q.Weights))
}

// distance is how far apart the shapes of two problems are: the largest |log2| of
// the ratio of two extents, or of the densities. It is infinite where anything else
// differs.
func (p Problem) distance(q Problem) float64 {
	a, b := p, q
	a.Out, a.In, a.Batch, a.Density = b.Out, b.In, b.Batch, b.Density
	a.Weights = b.Weights // follows from the shape
	if a != b {
		return math.Inf(1)
	}
	d := 0.0
	for _, r := range [][2]float64{
		{float64(p.Out), float64(q.Out)}, {float64(p.In), float64(q.In)}, {float64(p.Batch), float64(q.Batch)}, {p.Density, q.Density},
	} {
		if r[0] != r[1] {
			d = max(d, math.Abs(math.Log2(r[0]/r[1])))
		}
	}
	return d
}
