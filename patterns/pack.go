package patterns

import (
	"fmt"
	"iter"
	"math/bits"
)

// Packed is a matrix stored by the levels of its pattern: one value a slot, in
// the order in which the levels enumerate the slots, and for each level the
// coordinates that do not follow from the parameters.
type Packed struct {
	Rows, Cols int
	Levels     []PackedLevel
	Values     []float32
	// Pads has bit i&63 of word i>>6 set where slot i is there only because the
	// pattern stores N of each M or whole blocks; its value is +0 and its
	// element is not kept. It is nil where there is no such slot.
	Pads []uint64
}

// PackedLevel is a level with its coordinates.
type PackedLevel struct {
	Level
	// Pos, of a List that is not Shared, has one number more than there are
	// parent positions: those of parent p are Crd[Pos[p]] .. Crd[Pos[p+1]-1].
	Pos Index
	// Crd is the coordinates: of a List in 16 bits where Extent allows and
	// else in 32, of an NofM in ceil(log2 M) bits, ascending within one parent.
	Crd Index
}

// Slot is one element of a packed matrix.
type Slot struct {
	Row, Col int
	Value    float32
	Pad      bool // stored, but not kept
}

// Pack stores what mask keeps of m by the levels of p.
func Pack(p Pattern, m Matrix, mask *Mask) (*Packed, error) {
	if err := checkPrune(p, m); err != nil {
		return nil, err
	}
	if mask.Rows != m.Rows || mask.Cols != m.Cols {
		return nil, fmt.Errorf("pack: mask [%d, %d] does not cover matrix [%d, %d]", mask.Rows, mask.Cols, m.Rows, m.Cols)
	}
	if !p.Fits(mask) {
		return nil, fmt.Errorf("pack: the mask keeps elements that %v does not allow", p)
	}
	k := &packer{Packed: newPacked(p.Levels(m.Rows, m.Cols), m.Rows, m.Cols), m: m}
	k.view = newView(k.Levels)
	k.mask = k.view.reorder(mask)
	k.share()
	k.Values = make([]float32, 0, mask.Count())
	k.level(0, 0, 0)
	if kept := mask.Count(); k.kept != kept {
		return nil, fmt.Errorf("pack: the levels of %v store %d of %d kept elements", p, k.kept, kept)
	}
	if k.kept == len(k.Values) {
		k.Pads = nil
	}
	return k.Packed, nil
}

func newPacked(levels []Level, rows, cols int) *Packed {
	p := &Packed{Rows: rows, Cols: cols}
	for _, l := range levels {
		pl := PackedLevel{Level: l}
		switch {
		case l.Kind == NofM:
			pl.Crd.Width = bits.Len(uint(l.M - 1))
		case l.Kind == List:
			pl.Crd.Width = 16
			if l.Extent > 1<<16 {
				pl.Crd.Width = 32
			}
			if !l.Shared {
				pl.Pos.Width = 32
				pl.Pos.add(0)
			}
		}
		p.Levels = append(p.Levels, pl)
	}
	return p
}

// packer walks the levels once, depth first, which is the storage order of all
// levels at the same time.
type packer struct {
	*Packed
	view view
	m    Matrix
	mask *Mask // in the order of the levels, before their Perm
	kept int
}

// share fills the shared lists, which all parents have in common.
func (k *packer) share() {
	rows, cols := live(k.mask)
	for i := range k.Levels {
		if l := &k.Levels[i]; l.Shared && !l.Const {
			on, span := cols, k.view.span[i][ColAxis]
			if l.Axis == RowAxis {
				on, span = rows, k.view.span[i][RowAxis]
			}
			for c := range on.coords(0, 1, 0, l.Extent, span) {
				l.Crd.add(c)
			}
		}
	}
}

// level packs everything below one parent of level i, whose combined coordinates
// so far are row and col.
func (k *packer) level(i, row, col int) {
	if i == len(k.Levels) {
		k.slot(row, col)
		return
	}
	l := &k.Levels[i]
	switch {
	case l.Kind == Dense: // as below, only faster
		for c := range l.Size {
			r, c := l.step(row, col, c)
			k.level(i+1, r, c)
		}
	case l.Kind == NofM:
		for _, c := range k.group(i, row, col) {
			l.Crd.add(c)
			k.level(i+1, row, col*l.Extent+c)
		}
	case l.Kind == List && !l.Shared:
		rows := k.view.span[i][RowAxis]
		for c := range k.mask.coords(row*rows, (row+1)*rows, col*l.Extent, l.Extent, k.view.span[i][ColAxis]) {
			l.Crd.add(c)
			k.level(i+1, row, col*l.Extent+c)
		}
		l.Pos.add(l.Crd.Len)
	default:
		for c := range l.coords(0, row) { // known: Const or shared
			r, c := l.step(row, col, c)
			k.level(i+1, r, c)
		}
	}
}

// group is the N coordinates of one group that are stored: those that are kept
// and, if they are fewer, the lowest of the others.
func (k *packer) group(i, row, col int) []int {
	l := &k.Levels[i]
	kept := k.mask.field(row, col*l.M, l.M)
	for free := ^kept; bits.OnesCount32(kept) < l.N; free &= free - 1 {
		kept |= free & -free
	}
	var buf [maxM]int
	out := buf[:0]
	for ; kept != 0; kept &= kept - 1 {
		out = append(out, bits.TrailingZeros32(kept))
	}
	return out
}

// slot stores one element.
func (k *packer) slot(row, col int) {
	n := len(k.Values)
	if n&63 == 0 {
		k.Pads = append(k.Pads, 0)
	}
	if !k.mask.At(row, col) {
		k.Pads[n>>6] |= 1 << (n & 63)
		k.Values = append(k.Values, 0)
		return
	}
	k.kept++
	r, c := k.view.place(row, col)
	k.Values = append(k.Values, k.m.Data[r*k.m.Stride+c])
}

// Iterate yields every slot in the order of storage, with its place in Values.
func (p *Packed) Iterate() iter.Seq2[int, Slot] {
	return func(yield func(int, Slot) bool) {
		n, v := 0, newView(p.Levels)
		walk(p.Levels, func(row, col int) bool {
			r, c := v.place(row, col)
			pad := p.Pads != nil && p.Pads[n>>6]>>(n&63)&1 != 0
			n++
			return yield(n-1, Slot{r, c, p.Values[n-1], pad})
		})
	}
}

// Unpack is the matrix, +0 where an element is not kept, and the mask.
func (p *Packed) Unpack() (Matrix, *Mask) {
	m, k := NewMatrix(p.Rows, p.Cols), NewMask(p.Rows, p.Cols)
	for _, s := range p.Iterate() {
		if !s.Pad {
			m.Data[s.Row*m.Stride+s.Col] = s.Value
			k.Set(s.Row, s.Col)
		}
	}
	return m, k
}

// IndexBytes is the size of all that is stored besides the values.
func (p *Packed) IndexBytes() int {
	n := (len(p.Pads)*64 + 7) / 8
	for i := range p.Levels {
		n += p.Levels[i].Pos.Bytes() + p.Levels[i].Crd.Bytes()
	}
	return n
}

// Bytes is the size of the packed matrix with float32 values.
func (p *Packed) Bytes() int { return 4*len(p.Values) + p.IndexBytes() }
