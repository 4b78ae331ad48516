package patterns

import "fmt"

// block keeps whole blocks of r rows and c columns, aligned to their size.
type block struct {
	r, c     int
	sparsity float64
}

func parseBlock(c *call) Pattern {
	r := c.int("R", 1, maxExtent)
	return block{r, c.int("C", 1, maxExtent), c.sparsity()}
}

func (p block) String() string {
	return fmt.Sprintf("block(%d,%d%s)", p.r, p.c, formatSparsity(",", p.sparsity))
}

func (p block) Validate(rows, cols int) error {
	if err := shape(rows, cols); err != nil {
		return err
	}
	if rows%p.r != 0 {
		return fmt.Errorf("%v: %d rows do not divide into blocks of %d", p, rows, p.r)
	}
	if cols%p.c != 0 {
		return fmt.Errorf("%v: %d columns do not divide into blocks of %d", p, cols, p.c)
	}
	return nil
}

func (p block) Density(rows, cols int) float64 {
	total := rows / p.r * (cols / p.c)
	return float64(budget(total, p.sparsity)) / float64(total)
}

func (p block) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	across := m.Cols / p.c
	sums := make([]float64, m.Rows/p.r*across)
	for r := range m.Rows {
		row, band := m.Row(r), sums[r/p.r*across:]
		for j := range across {
			band[j] += sumOf(row[j*p.c : (j+1)*p.c])
		}
	}
	k := NewMask(m.Rows, m.Cols)
	keepLargest(m.Rows/p.r, across, budget(len(sums), p.sparsity), 64,
		func(i, j int) uint64 { return sumKey(sums[i*across+j]) },
		func(i, j int) {
			for d := range p.r {
				k.SetRange(i*p.r+d, j*p.c, (j+1)*p.c)
			}
		})
	return k, nil
}

func (p block) Fits(mask *Mask) bool {
	if p.Validate(mask.Rows, mask.Cols) != nil {
		return false
	}
	if p.sparsity == 0 {
		return true
	}
	used := 0
	for r := 0; r < mask.Rows; r += p.r {
		for c := 0; c < mask.Cols; c += p.c {
			if mask.anyIn(r, r+p.r, c, c+p.c) {
				used++
			}
		}
	}
	return used <= budget(mask.Rows/p.r*(mask.Cols/p.c), p.sparsity)
}

func (p block) Levels(rows, cols int) []Level {
	return []Level{
		denseLevel(RowAxis, rows/p.r),
		{Kind: List, Axis: ColAxis, Extent: cols / p.c},
		denseLevel(RowAxis, p.r),
		denseLevel(ColAxis, p.c),
	}
}
