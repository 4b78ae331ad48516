package autotune

import (
	"context"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
)

// shelfBytes is how many bytes of packed candidates wait for further sittings of their races, in memory and
// in files. Those beyond are packed anew.
const shelfBytes = 256 << 20

// shelve keeps an op's candidates for further sittings, as far as there is room. The ops that were used least lately go
// first.
func (t *tuner) shelve(f *field) {
	t.shelf = append(t.shelf, f)
	bytes := 0
	for _, f := range t.shelf {
		for _, c := range f.candidates {
			bytes += c.Bytes()
		}
	}
	for bytes > t.room {
		for _, c := range t.shelf[0].candidates {
			bytes -= c.Bytes()
		}
		t.shelf[0].remove()
		t.shelf = t.shelf[1:]
	}
}

// tidy drops candidates of an op whose races are over for them.
func (t *tuner) tidy(f *field) {
	races := map[string]bool{}
	for _, c := range t.unsettled {
		if !c.linear.is(f.linear) {
			continue
		}
		for _, e := range c.race.alive {
			if e < len(c.names) {
				races[c.names[e]] = true
			}
		}
	}
	f.candidates = slices.DeleteFunc(f.candidates, func(c *candidate) bool {
		gone := !races[c.Config.String()]
		if gone {
			c.remove()
		}
		return gone
	})
}

// unshelve is what there is of an op's candidates.
func (t *tuner) unshelve(l Linear) *field {
	f := &field{linear: l, core: t.core, dir: t.temp}
	t.shelf = slices.DeleteFunc(t.shelf, func(s *field) bool {
		same := s.linear.is(l)
		if same {
			f.candidates = append(f.candidates, s.candidates...)
		}
		return same
	})
	return f
}

// is reports whether two are the same op.
func (l Linear) is(o Linear) bool { return l.Tensor == o.Tensor && l.Mask == o.Mask }

// entrants are those that are left of a race, by their numbers; nil for the others. What f lacks of them is packed.
func (f *field) entrants(ctx context.Context, c *contest) ([]*candidate, error) {
	entrants := make([]*candidate, len(c.names))
	var missing []codegen.Config
	var at []int
	for e, name := range c.names {
		if !slices.Contains(c.race.alive, e) {
			continue
		}
		if i := slices.IndexFunc(f.candidates, func(c *candidate) bool { return c.Config.String() == name }); i >= 0 {
			entrants[e] = f.candidates[i]
			continue
		}
		config, err := codegen.ParseConfig(name)
		if err != nil {
			return nil, err
		}
		missing, at = append(missing, config), append(at, e)
	}
	packed, err := packAll(ctx, codegen.NewForms(c.linear.Matrix, c.linear.Mask), missing)
	if err != nil {
		return nil, err
	}
	for i, p := range packed {
		if p == nil {
			return nil, fmt.Errorf("layer %s: the weights do not have the form of %v", c.linear.Layer, missing[i])
		}
		entrants[at[i]] = &candidate{Packed: *p}
		f.candidates = append(f.candidates, entrants[at[i]])
	}
	return entrants, nil
}
