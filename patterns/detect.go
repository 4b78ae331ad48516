package patterns

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// Fit is how a pattern suits a matrix.
type Fit struct {
	Pattern Pattern
	// Exact says that the pattern keeps every non-zero.
	Exact bool
	// Density is the share of elements that are stored, in [0, 1].
	Density float64
	// LostMagnitude is the share of the sum of |w| that pruning to the pattern
	// loses, LostNonZeros the share of the non-zeros; both in [0, 1].
	LostMagnitude, LostNonZeros float64
}

// The thresholds of Detect. Real matrices that were trained under a pattern lie
// far on its side of each, matrices that were not far on the other.
const (
	denseAbove = 0.95 // a pattern that stores more than this share is dense
	fullEnough = 0.9  // least share of what is stored that is non-zero
	nearLoss   = 0.05 // largest LostMagnitude of a near fit
	softZero   = 1e-3 // a magnitude below this share of the mean may be a zero that drifted
)

// Measure prunes m to p and reports what is lost.
func Measure(p Pattern, m Matrix) (Fit, error) {
	if err := checkPrune(p, m); err != nil {
		return Fit{}, err
	}
	return newProfile(m, 0).measure(p)
}

// Detect lists the patterns that m follows: those that fit exactly before those
// that nearly do, and among either the most structured first (in the order
// stripe, channel, diag, block, nm, unstructured, dense), the lower density first.
//
// Dense is always in the list, and alone in it for a matrix without structure.
// A pattern is named only if at least nine tenths of what it stores are
// non-zero, and near only if at most a twentieth of the magnitude is lost.
func Detect(m Matrix) ([]Fit, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	p := newProfile(m, 0)
	fits := p.fits()
	if len(fits) == 0 {
		// Weights that were pruned and then trained or converted may hold
		// tiny values instead of zeros.
		if floor := softZero * p.sum / float64(max(1, p.nnz)); floor > 0 && !math.IsInf(floor, 1) {
			soft := newProfile(m, float32(floor))
			soft.exact = p
			fits = soft.fits()
		}
	}
	fits = append(fits, Fit{Pattern: dense{}, Exact: true, Density: 1})
	slices.SortStableFunc(fits, func(a, b Fit) int { return int(bit(b.Exact)) - int(bit(a.Exact)) })
	return fits, nil
}

// profile is what the patterns look at to name their candidates.
type profile struct {
	m    Matrix
	mask *Mask   // elements above the floor
	nnz  int     // of mask
	sum  float64 // of all |w|

	rows, cols *Mask // those that hold an element of mask, [1, Rows] and [1, Cols]

	// exact is the profile of the true non-zeros where this one has a floor,
	// else nil.
	exact *profile
}

func newProfile(m Matrix, floor float32) *profile {
	p := &profile{m: m}
	if floor == 0 {
		p.mask = MaskOf(m)
	} else {
		p.mask = maskAbove(m, floor)
	}
	for r := range m.Rows {
		p.sum += sumOf(m.Row(r))
	}
	p.nnz = p.mask.Count()
	p.rows, p.cols = live(p.mask)
	return p
}

// maskAbove keeps what has a magnitude above floor; NaN has.
func maskAbove(m Matrix, floor float32) *Mask {
	k := NewMask(m.Rows, m.Cols)
	least := magnitude(floor) + 1
	for r := range m.Rows {
		words := k.row(r)
		for c, v := range m.Row(r) {
			// The top bit of the difference says less; no branch to mispredict.
			words[c>>6] |= uint64(^(magnitude(v)-least)>>31) << (c & 63)
		}
	}
	return k
}

// fits measures the candidates of all patterns but dense.
func (p *profile) fits() []Fit {
	if p.nnz == 0 && p.exact != nil || float64(p.nnz) > denseAbove*float64(p.m.Rows)*float64(p.m.Cols) {
		return nil
	}
	var fits []Fit
	for _, k := range kinds() {
		if k.propose == nil {
			continue
		}
		from := len(fits)
		for _, q := range k.propose(p) {
			truth := p
			if p.exact != nil {
				truth = p.exact
			}
			f, err := truth.measure(q)
			if err == nil && f.LostMagnitude <= nearLoss {
				fits = append(fits, f)
			}
		}
		slices.SortStableFunc(fits[from:], func(a, b Fit) int { return cmp.Compare(a.Density, b.Density) })
	}
	return fits
}

// measure prunes to q and compares with the non-zeros.
func (p *profile) measure(q Pattern) (Fit, error) {
	kept, err := q.Prune(p.m)
	if err != nil {
		return Fit{}, err
	}
	f := Fit{Pattern: q, Density: kept.Density()}
	lost := p.mask.Clone()
	lost.AndNot(kept)
	n := lost.Count()
	if f.Exact = n == 0; f.Exact {
		return f, nil
	}
	sum := 0.0
	for r := range lost.Rows {
		row := p.m.Row(r)
		for c := range lost.RowCols(r) {
			sum += math.Abs(float64(row[c]))
		}
	}
	f.LostNonZeros = float64(n) / float64(p.nnz)
	switch {
	case math.IsNaN(sum) || math.IsInf(sum, 0):
		f.LostMagnitude = 1
	case !math.IsInf(p.sum, 0): // else a finite part of infinity: none
		f.LostMagnitude = sum / p.sum
	}
	return f, nil
}

// share is a set of things of which a pattern stores some: how many it would
// store, how many there are, and how many elements are in those it would store
// and could be.
type share struct {
	stored, total int
	inside, room  int
}

// candidate reports whether a pattern that stores s is worth measuring, and the
// sparsity that it must state: 0 where no element is outside.
func (p *profile) candidate(s share) (sparsity float64, ok bool) {
	lost := float64(p.nnz - s.inside)
	if s.stored == 0 || float64(s.stored) > denseAbove*float64(s.total) ||
		float64(s.inside) < fullEnough*float64(s.room) ||
		lost > nearLoss*float64(p.nnz) {
		return 0, false
	}
	if lost == 0 && p.exact == nil {
		return 0, true
	}
	return sparsityFor(s.stored, s.total), true
}

// sparsityFor is the shortest decimal of which the budget is kept of total.
func sparsityFor(kept, total int) float64 {
	exact := 1 - float64(kept)/float64(total)
	for digits := 1; digits < 17; digits++ {
		s, err := strconv.ParseFloat(strconv.FormatFloat(exact, 'f', digits, 64), 64)
		if err == nil && s > 0 && s < 1 && budget(total, s) == kept {
			return s
		}
	}
	return exact
}
