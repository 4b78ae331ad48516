package tile

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
)

// Walk is how the clusters of a persistent grid go over the tiles of an output
// [rows, columns of tiles]: bands of Band rows, column by column within a band, so
// that clusters that run together share operands in L2. A cluster takes as many
// neighbouring rows as Across tells, one for each of its blocks or for each group
// of blocks that split a tile.
type Walk struct {
	c          *hopper.CTA
	rows, cols ptx.Reg // rows in units of across
	band       int     // rows in those units
	across     int
	row        ptx.Reg // of this block within a unit; none if across is 1
}

// NewWalk makes the walk over rows and columns of tiles. Band is in tiles; row is
// the block's place in a unit of across rows.
func NewWalk(c *hopper.CTA, rows, cols ptx.Reg, band, across int, row ptx.Reg) *Walk {
	k := c.K
	if across < 1 || band < across || band%across != 0 {
		k.Errorf("bands of %d rows of tiles for clusters of %d", band, across)
		band, across = 1, 1
	}
	return &Walk{c: c, rows: k.Div(k.Add(rows, across-1), across), cols: cols, band: band / across, across: across, row: row}
}

// Each emits the loop over the tiles of this block; row and col count tiles. A
// row may lie beyond the last one, where the rows are no multiple of across.
func (w *Walk) Each(body func(row, col ptx.Reg)) {
	k := w.c.K
	first, step := k.CtaX(), k.NCtaX()
	if w.c.Cluster() > 1 {
		first, step = k.ClusterX(), k.NClusterX()
	}
	total, perBand := k.Mul(w.rows, w.cols), k.Mul(w.cols, w.band)
	k.Comment("tiles of this block, in bands of %d rows", w.band*w.across)
	k.For(first, total, step, func(i ptx.Reg) {
		row, col := place(k, i, w.rows, w.band, perBand)
		if w.across > 1 {
			row = k.Mad(row, w.across, w.row)
		}
		body(row, col)
	})
}

// place is the row and column of step i of the walk over that many rows; perBand
// is the number of steps in a full band.
func place(k *ptx.Kernel, i, rows ptx.Reg, band int, perBand ptx.Reg) (row, col ptx.Reg) {
	b := k.Div(i, perBand)
	top := k.Mul(b, band)
	height := k.Min(k.Sub(rows, top), band)
	within := k.Sub(i, k.Mul(b, perBand))
	col = k.Div(within, height)
	return k.Add(k.Sub(within, k.Mul(col, height)), top), col
}
