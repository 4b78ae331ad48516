package torture

import (
	"slices"

	"github.com/sparsegen/sparsegen/runtime"
)

// shrinkTries bounds the runs of smaller cases.
const shrinkTries = 400

// shrink is a smaller case that is wrong at the same level, with what is found; c
// itself where none is.
func (e *engine) shrink(c *Case, first *finding) (*Case, *finding) {
	if c.Family == familyKernel || c.Family == familyRefused {
		return c, first
	}
	found := first
	for tries := 0; tries < shrinkTries; {
		better := false
		for _, smaller := range c.smaller() {
			tries++
			if f := e.finding(smaller, first.isa); f != nil {
				c, found, better = smaller, f, true
				break
			}
			if tries == shrinkTries {
				break
			}
		}
		if !better {
			break
		}
	}
	return c, found
}

// finding is what a case finds at a level, or nil: a smaller case may be none.
func (e *engine) finding(c *Case, isa runtime.ISA) *finding {
	for _, f := range c.linears {
		if f.out < 1 {
			return nil
		}
	}
	if c.in < 1 || c.batchMin < 1 {
		return nil
	}
	_, found, err := e.run(c)
	if err != nil {
		return nil
	}
	for _, f := range found {
		if f.isa == isa {
			return f
		}
	}
	return nil
}

// smaller are the cases that differ from c in one thing, which is smaller.
func (c *Case) smaller() []*Case {
	var all []*Case
	try := func(change func(d *Case) bool) {
		d := *c
		d.linears = slices.Clone(c.linears)
		if change(&d) {
			all = append(all, &d)
		}
	}
	set := func(have *string, to string) bool { changed := *have != to; *have = to; return changed }
	if n := len(c.linears); n > 1 {
		try(func(d *Case) bool { d.linears = d.linears[:n-1]; d.residual, d.norm = "", ""; return true })
		try(func(d *Case) bool {
			d.in, d.linears, d.residual, d.norm = d.linears[0].out, d.linears[1:], "", ""
			return true
		})
	}
	for i := range c.batches {
		try(func(d *Case) bool { d.batches = c.batches[i : i+1]; return len(c.batches) > 1 })
	}
	if len(c.batches) == 1 && !c.vector {
		b := c.batches[0]
		for _, to := range []int{1, b / 2, b - 1} {
			try(func(d *Case) bool {
				d.batches, d.batchMin, d.batchMax = []int{to}, to, to
				return to < b
			})
		}
		try(func(d *Case) bool { d.batchMin, d.batchMax = b, b; return c.batchMin != b || c.batchMax != b })
	}
	for i := range c.configs {
		try(func(d *Case) bool { d.configs = c.configs[i : i+1]; return len(c.configs) > 1 })
	}
	try(func(d *Case) bool { return set(&d.norm, "") })
	try(func(d *Case) bool { return set(&d.residual, "") })
	try(func(d *Case) bool { return set((*string)(&d.values), string(ordinary)) })
	try(func(d *Case) bool { return set((*string)(&d.structure), string(randomly)) })
	try(func(d *Case) bool { d.threads = 1; return c.threads != 1 })
	try(func(d *Case) bool { d.file = false; return c.file })
	try(func(d *Case) bool { d.prune = false; return c.prune })
	for i := range c.linears {
		try(func(d *Case) bool { return set(&d.linears[i].act, "") })
		try(func(d *Case) bool { d.linears[i].bias = false; return c.linears[i].bias })
		try(func(d *Case) bool { d.linears[i].transposed = false; return c.linears[i].transposed })
		out := c.linears[i].out
		for _, to := range []int{1, out / 2, out - 4, out - 1} {
			try(func(d *Case) bool { d.linears[i].out = to; return to < out })
		}
	}
	for _, to := range []int{1, c.in / 2, c.in - 4, c.in - 1} {
		try(func(d *Case) bool { d.in = to; return to < c.in })
	}
	return all
}
