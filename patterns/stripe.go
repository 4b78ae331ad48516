package patterns

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// stripe keeps the same columns in every row: sorted half-open ranges that
// neither overlap nor touch.
type stripe struct{ ranges [][2]int }

func parseStripe(c *call) Pattern {
	lo, hi := c.span("a column or a range of columns")
	ranges := [][2]int{{lo, hi}}
	for c.more() {
		lo, hi := c.span("a column or a range of columns")
		ranges = append(ranges, [2]int{lo, hi})
	}
	return newStripe(ranges)
}

// newStripe sorts and joins ranges.
func newStripe(ranges [][2]int) stripe {
	slices.SortFunc(ranges, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	out := ranges[:1]
	for _, r := range ranges[1:] {
		if last := &out[len(out)-1]; r[0] <= last[1] {
			last[1] = max(last[1], r[1])
		} else {
			out = append(out, r)
		}
	}
	return stripe{out}
}

func (p stripe) String() string {
	var s []string
	for _, r := range p.ranges {
		if r[1] == r[0]+1 {
			s = append(s, fmt.Sprint(r[0]))
		} else {
			s = append(s, fmt.Sprintf("%d:%d", r[0], r[1]))
		}
	}
	return "stripe(" + strings.Join(s, ",") + ")"
}

func (p stripe) Validate(rows, cols int) error {
	if err := shape(rows, cols); err != nil {
		return err
	}
	if last := p.ranges[len(p.ranges)-1]; last[1] > cols {
		return fmt.Errorf("stripe: range %d:%d leaves a matrix of %d columns", last[0], last[1], cols)
	}
	return nil
}

func (p stripe) Density(rows, cols int) float64 {
	n := 0
	for _, r := range p.ranges {
		n += r[1] - r[0]
	}
	return float64(n) / float64(cols)
}

func (p stripe) Prune(m Matrix) (*Mask, error) { return pruneConstant(p, m) }

func (p stripe) Fits(mask *Mask) bool { return fitsConstant(p, mask) }

func (p stripe) fixed(rows, cols int) *Mask {
	m := NewMask(rows, cols)
	for r := range rows {
		for _, x := range p.ranges {
			m.SetRange(r, x[0], x[1])
		}
	}
	return m
}

func (p stripe) Levels(rows, cols int) []Level {
	run := Level{Kind: Run, Axis: ColAxis, Extent: cols, Shared: true, Const: true}
	for _, r := range p.ranges {
		run.Size += r[1] - r[0]
		run.Coords = append(run.Coords, int32(r[0]), int32(r[1]-r[0]))
	}
	return []Level{denseLevel(RowAxis, rows), run}
}

// leastRun is the shortest mean length of a detected stripe's ranges: kept
// columns that lie scattered are channels.
const leastRun = 8

// proposeStripe looks for full columns that lie side by side.
func proposeStripe(p *profile) []Pattern {
	full, s := fullChannels(p.mask, ColAxis)
	if _, ok := p.candidate(s); !ok {
		return nil
	}
	if ranges := runs(full.RowCols(0)); len(ranges)*leastRun <= s.stored {
		return []Pattern{stripe{ranges}}
	}
	return nil
}
