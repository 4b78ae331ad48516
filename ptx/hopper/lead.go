package hopper

import "github.com/sparsegen/sparsegen/ptx"

// Dependent launch (PTX ISA, griddepcontrol): a kernel may start before its
// predecessor in the stream has ended. What the predecessor does not write, such
// as weights, can be fetched at once; the rest after Await.

// LaunchDependents lets the successor in the stream start as soon as every block
// of this grid has said so. It belongs before Run.
func (c *CTA) LaunchDependents() {
	c.declaring("LaunchDependents")
	c.K.Emit("griddepcontrol.launch_dependents")
}

// Await waits until the predecessor has ended and what it wrote can be read.
func (c *CTA) Await() {
	c.K.Comment("the predecessor's results")
	c.K.Emit("griddepcontrol.wait")
}

// Lead fills the ring's first stages, as many as steps or the ring has, in two
// turns: early starts the copies that depend on nobody, for each stage; between
// happens once; late starts the others. It belongs before Fill.
func (p *Producer) Lead(steps ptx.Reg, early func(f *Filling, i ptx.Reg), between func(), late func(f *Filling, i ptx.Reg)) {
	r, k := p.ring, p.ring.cta.K
	n := k.Min(steps, r.stages)
	done := make([]bool, len(r.parts))
	turn := func(issue func(*Filling, ptx.Reg), announce bool) {
		k.For(0, n, 1, func(i ptx.Reg) {
			full := k.Add(k.Mad(i, 8, r.cta.base), r.full.Offset)
			if announce {
				k.Emit("mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, ptx.At(full, 0), ptx.Int(int64(r.expect)))
			}
			f := &Filling{ring: r, full: full, at: k.Add(k.Mad(i, r.bytes, r.cta.base), r.stage.Offset), done: done, policy: p.policy}
			issue(f, i)
		})
	}
	turn(early, true)
	between()
	turn(late, false)
	for i, part := range r.parts {
		if !done[i] {
			k.Errorf("ring %s: a stage without %s never becomes full", r.name, part.name)
		}
	}
	// After a full turn the ring is at its first stage again, in the next phase.
	// After less there is nothing left to fill.
	k.Mov(p.phase, 1)
}
