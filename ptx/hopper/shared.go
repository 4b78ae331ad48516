package hopper

import (
	"fmt"
	"strings"

	"github.com/sparsegen/sparsegen/ptx"
)

// SharedLimit is the dynamic shared memory that a block may have on sm_90, in
// bytes: 227 KiB.
const SharedLimit = 232448

// sharedAlign is the alignment of the block's shared memory; the pattern of the
// widest swizzle repeats after as many bytes.
const sharedAlign = 1024

// Region is a part of a block's shared memory.
type Region struct {
	Name   string
	Offset int // from the start of the block's dynamic shared memory
	Bytes  int
}

// plan hands out shared memory front to back.
type plan struct {
	parts []Region
	used  int
}

func (p *plan) take(name string, bytes, align int) (Region, error) {
	if bytes < 1 || align < 1 || align&(align-1) != 0 || align > sharedAlign {
		return Region{}, fmt.Errorf("shared memory: %d bytes aligned to %d for %s", bytes, align, name)
	}
	r := Region{name, (p.used + align - 1) &^ (align - 1), bytes}
	p.parts = append(p.parts, r)
	p.used = r.Offset + bytes
	if p.used > SharedLimit {
		return r, fmt.Errorf("shared memory: %d bytes, a block has %d: %s", p.used, SharedLimit, p)
	}
	return r, nil
}

// String lists the parts with their sizes.
func (p *plan) String() string {
	var parts []string
	for _, r := range p.parts {
		parts = append(parts, fmt.Sprintf("%s %d", r.Name, r.Bytes))
	}
	return strings.Join(parts, ", ")
}

// Shared reserves bytes of the block's shared memory, aligned to a power of two
// of at most 1024.
func (c *CTA) Shared(name string, bytes, align int) Region {
	c.declaring("shared memory of " + name)
	r, err := c.plan.take(name, bytes, align)
	if err != nil {
		c.K.Errorf("%v", err)
	}
	return r
}

// At is the address off bytes into a region.
func (c *CTA) At(r Region, off int) ptx.Mem { return ptx.At(c.base, r.Offset+off) }

// Addr is the 32-bit shared address off bytes into a region, in a new register.
func (c *CTA) Addr(r Region, off int) ptx.Reg { return c.K.Add(c.base, r.Offset+off) }
