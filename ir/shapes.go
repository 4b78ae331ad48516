package ir

// extents finds the extents that a spec leaves open. Each extent of each value
// is a cell; ops say which cells are equal, declarations and files say what a
// cell is (union-find).
type extents struct{ cells []cell }

type cell struct {
	parent int // itself for a root
	e      Extent
	known  bool
}

// open makes a cell that nothing is known of.
func (x *extents) open() int {
	x.cells = append(x.cells, cell{parent: len(x.cells)})
	return len(x.cells) - 1
}

// fixed makes a cell for a known extent.
func (x *extents) fixed(e Extent) int {
	c := x.open()
	x.cells[c].e, x.cells[c].known = e, true
	return c
}

func (x *extents) root(c int) int {
	for x.cells[c].parent != c {
		x.cells[c].parent = x.cells[x.cells[c].parent].parent
		c = x.cells[c].parent
	}
	return c
}

// get is what is known of a cell.
func (x *extents) get(c int) (Extent, bool) {
	r := x.cells[x.root(c)]
	return r.e, r.known
}

// equate makes two cells one. It reports false, and changes nothing, when they
// are known and differ.
func (x *extents) equate(a, b int) bool {
	ra, rb := x.root(a), x.root(b)
	if ra == rb {
		return true
	}
	ca, cb := x.cells[ra], x.cells[rb]
	if ca.known && cb.known && ca.e != cb.e {
		return false
	}
	if !ca.known {
		ra, rb = rb, ra
	}
	x.cells[rb].parent = ra
	return true
}

// equateAll makes two shapes one; false when they cannot be.
func (x *extents) equateAll(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	ok := true
	for i := range a {
		ok = x.equate(a[i], b[i]) && ok
	}
	return ok
}

// take gives cells their numbers. It reports false, and changes nothing, when
// one of them is known to be something else.
func (x *extents) take(cells, shape []int) bool {
	for i, c := range cells {
		if e, known := x.get(c); known && e != (Extent{N: shape[i]}) {
			return false
		}
	}
	for i, c := range cells {
		r := x.root(c)
		x.cells[r].e, x.cells[r].known = Extent{N: shape[i]}, true
	}
	return true
}

// string is the shape [t, 512] of cells, with ? for what is open.
func (x *extents) string(cells []int) string {
	s := "["
	for i, c := range cells {
		if i > 0 {
			s += ", "
		}
		if e, known := x.get(c); known {
			s += e.String()
		} else {
			s += "?"
		}
	}
	return s + "]"
}
