package torture

import (
	"bytes"
	"fmt"
	"io"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// refused packs a case's layer, spoils what addresses depend on, or a byte of the
// file, and wants an error: before anything is written, or when it is opened.
func (e *engine) refused(c *Case) (proves bool, found []*finding, err error) {
	module, err := c.module()
	if err != nil {
		return false, nil, err
	}
	weights, err := c.weights(module.Layers[0])
	if err != nil {
		return false, nil, err
	}
	packed, err := c.pack(module, weights)
	if err != nil {
		return false, nil, err
	}
	r := newSource(c.data, 3)
	if spoilt := spoil(r, packed); spoilt != "" && r.chance(3, 4) {
		if sgp.Write(io.Discard, packed) == nil {
			found = append(found, wrong(runtime.Generic, "a model with %s is written", spoilt))
		}
		return true, found, nil
	}
	if packed, err = c.pack(module, weights); err != nil {
		return false, nil, err
	}
	var b bytes.Buffer
	if err := sgp.Write(&b, packed); err != nil {
		return false, nil, err
	}
	data := b.Bytes()
	at := r.IntN(len(data))
	if r.chance(1, 2) {
		at = r.IntN(min(len(data), 512)) // most of a small file is gaps
	}
	data[at] ^= byte(1 + r.IntN(255))
	set, err := e.set(c, module)
	if err != nil {
		return false, nil, err
	}
	if m, err := runtime.OpenBytes("case.sgp", data, set); err == nil {
		_ = m.Close()
		found = append(found, wrong(runtime.Generic, "a file of %d bytes is opened with byte %d changed", len(data), at))
	}
	return true, found, nil
}

// spoil makes one list of the model wrong, and says which; "" where it has none.
func spoil(r source, m *sgp.Model) string {
	lin := m.Layers[0].Ops[0].Linear
	v := lin.Variants[r.IntN(len(lin.Variants))]
	type list struct {
		name  string
		spoil func() bool // false: not here
	}
	var lists []list
	add := func(name string, f func() bool) { lists = append(lists, list{name, f}) }
	beyond := func(name string, list []uint32, below int) {
		add(name+" beyond the last", func() bool {
			if len(list) == 0 {
				return false
			}
			list[r.IntN(len(list))] = uint32(below + r.IntN(3))
			return true
		})
	}
	// A column may be read twice; that is but another sum.
	rows := func(name string, rows []uint32) {
		beyond(name, rows, lin.Out)
		add("twice the same of "+name, func() bool {
			if len(rows) < 2 {
				return false
			}
			i := r.IntN(len(rows) - 1)
			rows[i] = rows[i+1]
			return true
		})
	}
	if l := v.Lanes; l != nil {
		rows("rows", l.Rows)
		beyond("columns", l.Cols, lin.In)
		add("a count too large", func() bool {
			if len(l.Cnt) == 0 {
				return false
			}
			l.Cnt[r.IntN(len(l.Cnt))]++
			return true
		})
		add("too few weights", func() bool {
			if len(l.W) == 0 {
				return false
			}
			l.W = l.W[:r.IntN(len(l.W))]
			return true
		})
		add("too little metadata", func() bool {
			if len(l.Meta) == 0 {
				return false
			}
			l.Meta = l.Meta[:r.IntN(len(l.Meta))]
			return true
		})
		add("an index too large", func() bool { // the largest delta in each place of a lane
			if l.Kind != sgp.DeltaTile && l.Kind != sgp.LanesRow && l.Kind != sgp.LanesList || len(l.Meta) == 0 {
				return false
			}
			for i := range l.Meta {
				l.Meta[i] = 0xff
			}
			return lin.In <= 255
		})
	} else {
		p := v.Panel
		beyond("columns", p.Cols, lin.In)
		for i := range p.Segments {
			s := &p.Segments[i]
			rows(fmt.Sprintf("rows of segment %d", i), s.Rows)
			add("an index too large", func() bool {
				used := len(s.Idx) - sgp.IdxAhead
				if used < 1 {
					return false
				}
				s.Idx[r.IntN(used)] = uint16(min(p.KB, lin.In) + r.IntN(3))
				return true
			})
			add("a run too long", func() bool {
				if len(s.Runs) == 0 {
					return false
				}
				s.Runs[r.IntN(len(s.Runs))]++
				return true
			})
			add("too few weights", func() bool {
				if len(s.W) == 0 {
					return false
				}
				s.W = s.W[:r.IntN(len(s.W))]
				return true
			})
		}
	}
	r.Shuffle(len(lists), func(i, k int) { lists[i], lists[k] = lists[k], lists[i] })
	for _, l := range lists {
		if l.spoil() {
			return l.name
		}
	}
	return ""
}
