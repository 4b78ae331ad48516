package hopper

import "github.com/sparsegen/sparsegen/ptx"

// Warpgroup is the code of the consumer warpgroups, which all of them run. Its
// registers are those of the thread that runs it.
type Warpgroup struct {
	CTA    *CTA
	Index  ptx.Reg // of the warpgroup among the consumers; the same in all lanes
	Thread ptx.Reg // 0 to 127
	Warp   ptx.Reg // 0 to 3
	Lane   ptx.Reg // 0 to 31
	Leader ptx.Reg // predicate: thread 0
	named  *NamedBarrier
	sync   ptx.Reg // number of the warpgroup's own named barrier
}

// ProducerThread is the code of the one thread that fills the rings.
type ProducerThread struct{ CTA *CTA }

// Run emits the prologue and the two roles. Nothing can be declared after it.
func (c *CTA) Run(consumer func(*Warpgroup), producer func(*ProducerThread)) {
	k := c.K
	w := &Warpgroup{CTA: c, named: c.NamedBarrier(c.consumers, 128)}
	c.scratch = c.Shared("scratch", 16, 16)
	if c.running {
		k.Errorf("Run twice")
	}
	if c.meetLate && c.multicast {
		k.Errorf("a multicast before the cluster's blocks meet in the inbox")
	}
	c.running = true
	c.prologue()

	// A shuffle tells the assembler that a warp's lanes agree, so that descriptors
	// live in uniform registers.
	group := k.Reg(ptx.U32)
	k.Emit("shfl.sync.idx.b32", group, k.Shr(k.TidX(), 7), ptx.Int(0), ptx.Int(31), ptx.Int(0xffffffff))
	k.IfElse(k.SetP("eq", group, c.consumers), func() {
		k.Comment("producer warp")
		elected := k.Reg(ptx.Pred)
		k.Emit("elect.sync", ptx.Pair(ptx.Sink, elected), ptx.Int(0xffffffff))
		k.If(elected, func() { producer(&ProducerThread{c}) })
	}, func() {
		k.Comment("consumer warpgroups")
		w.Index = group
		w.Thread = k.And(k.TidX(), 127)
		w.Warp = k.Shr(w.Thread, 5)
		w.Lane = k.And(k.TidX(), 31)
		w.Leader = k.SetP("eq", w.Thread, 0)
		w.sync = w.named.id(group)
		consumer(w)
	})
	switch {
	case c.cluster == 1:
	case c.meetLate:
		// Owners have all that was pushed to them; nobody else is reached into.
		if !c.met {
			k.Errorf("an inbox without Collect")
		}
	default:
		k.Comment("a block outlives the last arrival of its peers")
		k.Emit("barrier.cluster.arrive")
		k.Emit("barrier.cluster.wait")
	}
}

// Sync waits for all threads of the warpgroup.
func (w *Warpgroup) Sync() {
	w.CTA.K.Emit("bar.sync", w.sync, ptx.Int(128))
}
