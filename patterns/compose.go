package patterns

import "strings"

// joinParts is what a combinator writes.
func joinParts(parts []Pattern, sep string) string {
	var s []string
	for _, p := range parts {
		if _, ok := p.(union); ok {
			s = append(s, "("+p.String()+")")
		} else {
			s = append(s, p.String())
		}
	}
	return strings.Join(s, sep)
}

// validateParts reports the first part that cannot cover [rows, cols].
func validateParts(parts []Pattern, rows, cols int) error {
	for _, p := range parts {
		if err := p.Validate(rows, cols); err != nil {
			return err
		}
	}
	return nil
}

// composeCols is the column levels of parts that all hold. A nil among them is a
// part that cannot be split off its rows.
func composeCols(parts [][]Level, cols int) []Level {
	switch len(parts) {
	case 0:
		return []Level{denseLevel(ColAxis, cols)}
	case 1:
		if parts[0] != nil {
			return parts[0]
		}
	}
	list := Level{Kind: List, Axis: ColAxis, Extent: cols, Shared: true}
	for _, p := range parts {
		list.Shared = list.Shared && len(p) == 1 && p[0].Shared
	}
	return []Level{list}
}

// axes is a pattern's levels taken apart by axis.
type axes struct {
	rowsOnly, colsOnly bool    // limits only rows, only columns
	col                []Level // the column levels, where the row level is dense
}

// split takes apart p's levels; what it cannot is left zero.
func split(p Pattern, rows, cols int) axes {
	l := p.Levels(rows, cols)
	if len(l) == 2 && l[0].Kind == List && l[0].Shared && l[1].Kind == Dense {
		return axes{rowsOnly: true}
	}
	if l[0].Axis != RowAxis || l[0].Kind != Dense || l[0].Size != rows || l[0].Perm != nil {
		return axes{}
	}
	for _, c := range l[1:] {
		if c.Axis != ColAxis {
			return axes{}
		}
	}
	return axes{col: l[1:], colsOnly: len(l) == 2 && l[1].Shared && l[1].Perm == nil}
}
