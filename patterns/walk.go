package patterns

import "iter"

// Coordinates is what a Const level of kind Dense or Run enumerates, and nil for
// any other level.
func (l Level) Coordinates() []int {
	if !l.Const || l.Kind == Offset {
		return nil
	}
	var out []int
	for c := range l.fixedCoords(0) {
		out = append(out, c)
	}
	return out
}

// fixedCoords yields the coordinates of a Const level under the given row.
func (l Level) fixedCoords(row int) iter.Seq[int] {
	return func(yield func(int) bool) {
		switch l.Kind {
		case Dense:
			for c := range l.Size {
				if !yield(c) {
					return
				}
			}
		case Run:
			for i := 0; i < len(l.Coords); i += 2 {
				for c := range int(l.Coords[i+1]) {
					if !yield(int(l.Coords[i]) + c) {
						return
					}
				}
			}
		case Offset:
			for _, o := range l.Coords {
				if c := row + int(o); c >= 0 && c < l.Extent && !yield(c) {
					return
				}
			}
		}
	}
}

// coords yields the coordinates under the given parent position and row.
func (l *PackedLevel) coords(parent, row int) iter.Seq[int] {
	from, to := 0, l.Crd.Len
	switch {
	case l.Const:
		return l.fixedCoords(row)
	case l.Kind == NofM:
		from, to = parent*l.N, (parent+1)*l.N
	case !l.Shared:
		from, to = l.Pos.At(parent), l.Pos.At(parent+1)
	}
	return func(yield func(int) bool) {
		for i := from; i < to; i++ {
			if !yield(l.Crd.At(i)) {
				return
			}
		}
	}
}

// step is the combined coordinates after coordinate c of level l.
func (l *Level) step(row, col, c int) (int, int) {
	switch {
	case l.Kind == Offset:
		return row, c
	case l.Axis == RowAxis:
		return row*l.Extent + c, col
	default:
		return row, col*l.Extent + c
	}
}

// walk calls visit with the combined coordinates of every slot, in the order of
// storage, until visit returns false.
func walk(levels []PackedLevel, visit func(row, col int) bool) {
	parents := make([]int, len(levels)) // of each level, met so far
	var down func(i, row, col int) bool
	down = func(i, row, col int) bool {
		if i == len(levels) {
			return visit(row, col)
		}
		l := &levels[i]
		if l.Kind == Dense { // as below, only faster
			for c := range l.Size {
				if r, c := l.step(row, col, c); !down(i+1, r, c) {
					return false
				}
			}
			return true
		}
		parents[i]++
		for c := range l.coords(parents[i]-1, row) {
			if r, c := l.step(row, col, c); !down(i+1, r, c) {
				return false
			}
		}
		return true
	}
	down(0, 0, 0)
}

// view is what follows from the levels as a whole.
type view struct {
	span [][2]int   // of each level and axis: elements under one coordinate
	perm [2][]int32 // of each axis, or nil
}

func newView(levels []PackedLevel) view {
	v := view{span: make([][2]int, len(levels))}
	under := [2]int{1, 1}
	for i := len(levels) - 1; i >= 0; i-- {
		l := &levels[i]
		v.span[i] = under
		under[l.Axis] *= l.Extent
		if l.Perm != nil {
			v.perm[l.Axis] = l.Perm
		}
	}
	return v
}

// place maps combined coordinates to the matrix's own.
func (v *view) place(row, col int) (int, int) {
	if p := v.perm[RowAxis]; p != nil {
		row = int(p[row])
	}
	if p := v.perm[ColAxis]; p != nil {
		col = int(p[col])
	}
	return row, col
}

// reorder is mask by combined coordinates.
func (v *view) reorder(mask *Mask) *Mask {
	if v.perm[RowAxis] == nil && v.perm[ColAxis] == nil {
		return mask
	}
	out := NewMask(mask.Rows, mask.Cols)
	for r := range mask.Rows {
		for c := range mask.Cols {
			if mask.At(v.place(r, c)) {
				out.Set(r, c)
			}
		}
	}
	return out
}
