package patterns

import "fmt"

// union allows the masks that are the union of one allowed mask of each part.
type union struct {
	constants []Pattern
	chooser   Pattern       // the part that chooses by the data, or nil
	rest      *unstructured // takes what the others leave, or nil
	written   []Pattern     // all parts as written
}

func parseUnion(c *call) Pattern {
	var u union
	for c.more() {
		a := c.args[c.next]
		p := c.pattern()
		if inner, ok := p.(union); ok {
			for _, q := range inner.written {
				u.add(q, a.pos)
			}
			continue
		}
		u.add(p, a.pos)
	}
	return u
}

// add sorts p into its role, or fails as the parser does.
func (u *union) add(p Pattern, pos int) {
	u.written = append(u.written, p)
	un, ok := p.(unstructured)
	switch {
	case isConstant(p):
		u.constants = append(u.constants, p)
	case ok && u.rest == nil:
		u.rest = &un
	case !ok && u.chooser == nil:
		u.chooser = p
	default:
		fail(pos, "%v cannot join a union in which another part already chooses by the data; name its elements with stripe or diag", p)
	}
	if _, several := u.chooser.(intersect); several && u.rest != nil {
		fail(pos, "%v cannot join a union with %v, because which elements are left for it is not decidable", u.rest, u.chooser)
	}
}

func (u union) parts() []Pattern { return u.written }

func (u union) String() string { return joinParts(u.written, " | ") }

func (u union) Validate(rows, cols int) error { return validateParts(u.written, rows, cols) }

func (u union) Density(rows, cols int) float64 {
	d := u.constantMask(rows, cols).Density()
	if u.chooser != nil {
		d += u.chooser.Density(rows, cols)
	}
	if u.rest != nil {
		d += u.rest.Density(rows, cols)
	}
	return min(1, d)
}

// constantMask is what the constant parts keep.
func (u union) constantMask(rows, cols int) *Mask {
	k := NewMask(rows, cols)
	for _, p := range u.constants {
		k.Or(fixedMask(p, rows, cols))
	}
	return k
}

func (u union) fixed(rows, cols int) *Mask {
	if u.chooser != nil || u.rest != nil {
		return nil
	}
	return u.constantMask(rows, cols)
}

// Prune lets the part that chooses have what the constant parts leave, and
// unstructured what is left then.
func (u union) Prune(m Matrix) (*Mask, error) {
	if err := checkPrune(u, m); err != nil {
		return nil, err
	}
	k := u.constantMask(m.Rows, m.Cols)
	for _, p := range u.choosing() {
		left := m.without(k)
		more, err := p.Prune(left)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", u, err)
		}
		k.Or(more)
	}
	return k, nil
}

// choosing is the parts that choose by the data, in the order in which they do.
func (u union) choosing() []Pattern {
	var c []Pattern
	if u.chooser != nil {
		c = append(c, u.chooser)
	}
	if u.rest != nil {
		c = append(c, *u.rest)
	}
	return c
}

func (u union) Fits(mask *Mask) bool {
	if u.Validate(mask.Rows, mask.Cols) != nil {
		return false
	}
	left := mask.Clone()
	left.AndNot(u.constantMask(mask.Rows, mask.Cols))
	if u.chooser != nil && u.rest != nil {
		// The chooser takes as many elements as it may; it can, because its
		// Prune keeps the most of a matrix of ones and zeros.
		taken, err := u.chooser.Prune(left.indicator())
		if err != nil {
			return false
		}
		left.AndNot(taken)
		return u.rest.Fits(left)
	}
	for _, p := range u.choosing() {
		return p.Fits(left)
	}
	return left.Count() == 0
}

func (u union) Levels(rows, cols int) []Level {
	if l := constantLevels(u.fixed(rows, cols)); l != nil {
		return l
	}
	return unstructured{}.Levels(rows, cols)
}
