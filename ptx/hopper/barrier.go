package hopper

import "github.com/sparsegen/sparsegen/ptx"

// namedBarriers is how many barriers bar.sync numbers in a block; 0 is the whole
// block's.
const namedBarriers = 16

// NamedBarrier is a range of named barriers of Threads threads each, one for
// each of several warpgroups that run the same code.
type NamedBarrier struct {
	cta     *CTA
	first   int
	count   int
	threads int
}

// NamedBarrier reserves count neighbouring barriers for threads threads each.
func (c *CTA) NamedBarrier(count, threads int) *NamedBarrier {
	b := &NamedBarrier{c, c.nextBarrier, count, threads}
	if count < 1 || threads < 32 || threads%32 != 0 || threads > c.threads {
		c.K.Errorf("%d named barriers of %d threads in a block of %d", count, threads, c.threads)
	}
	if c.nextBarrier += count; c.nextBarrier > namedBarriers {
		c.K.Errorf("named barriers up to %d, a block has %d", c.nextBarrier, namedBarriers)
	}
	return b
}

// id is the barrier's number for the warpgroup with that index.
func (b *NamedBarrier) id(index ptx.Reg) ptx.Reg { return b.cta.K.Add(index, b.first) }
