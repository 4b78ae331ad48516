package ptxsim

// mbarrier is a barrier object in shared memory (PTX ISA, "mbarrier").
type mbarrier struct {
	count, pending int
	bytes          int // expected and not yet arrived
	phase          uint
}

func (b *mbarrier) check() {
	if b.pending == 0 && b.bytes == 0 {
		b.phase++
		b.pending = b.count
	}
}

func (b *mbarrier) arrive(n int) {
	if b.pending < n {
		fail("an mbarrier of %d arrivals gets one too many", b.count)
	}
	b.pending -= n
	b.check()
}

func (b *mbarrier) complete(bytes int) {
	b.bytes -= bytes
	b.check()
}

// barrier finds the mbarrier at an address.
func (c *cta) barrier(addr uint64, anyBlock bool) *mbarrier {
	to, off := c.place(addr, anyBlock)
	b := to.mbarrier[off]
	if b == nil {
		fail("no mbarrier at %d of shared memory", off)
	}
	return b
}

// named is a barrier of bar.sync.
type named struct {
	n    int // threads, 0 for all of the block
	list []*thread
}

// wait parks a thread at a named barrier.
func (c *cta) wait(t *thread, id, n int) {
	b := c.waiting[id]
	if b == nil {
		b = &named{}
		c.waiting[id] = b
	}
	if len(b.list) > 0 && b.n != n {
		fail("barrier %d is of %d and of %d threads", id, b.n, n)
	}
	t.state = atBarrier
	b.n, b.list = n, append(b.list, t)
	c.release(b)
}

// release lets the threads at a barrier go on if all are there.
func (c *cta) release(b *named) {
	list, n := b.list, b.n
	if n == 0 {
		for _, w := range c.warps {
			for _, t := range w.lanes {
				if t.state != exited {
					n++
				}
			}
		}
	}
	if len(list) == 0 || len(list) != n {
		return
	}
	b.list = nil
	for _, t := range list {
		t.state = running
	}
}

// meet ends the phase of the cluster's barrier when every thread that is left has
// arrived.
func (cl *cluster) meet() {
	var all []*thread
	for _, c := range cl.ctas {
		for _, w := range c.warps {
			all = append(all, w.lanes...)
		}
	}
	for _, t := range all {
		if t.state != exited && t.arrived <= cl.phase {
			return
		}
	}
	cl.phase++
	for _, t := range all {
		if t.state == inCluster && cl.phase >= t.arrived {
			t.state = running
			cl.waiting--
		}
	}
}
