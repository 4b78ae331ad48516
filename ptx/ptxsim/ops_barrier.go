package ptxsim

import (
	"fmt"
	"math/bits"
)

var barrierRows = []row{
	{"bar.warp.sync", func(p *program, i *instr) error {
		if err := i.want(1); err != nil {
			return err
		}
		i.kind = collective
		i.exec = func(*warp, uint32) {}
		var err error
		i.lanes, err = p.source(i.args[0])
		return err
	}},
	{"{bar,barrier,barrier.cta}.{sync,arrive}{.aligned,}", makeNamed},
	{"{bar,barrier,barrier.cta}.red{.popc,.and,.or}{.aligned,}.{u32,pred}", makeNamed},
	{"barrier.cluster.arrive{.release,.relaxed,}{.aligned,}", func(_ *program, i *instr) error {
		i.shows = true
		if i.has("aligned") {
			i.kind = aligned
		}
		i.exec = func(w *warp, m uint32) { w.arriveAtCluster(m, i.has("relaxed")) }
		return nil
	}},
	{"barrier.cluster.wait{.acquire,}{.aligned,}", func(_ *program, i *instr) error {
		i.shows = true
		if i.has("aligned") {
			i.kind = aligned
		}
		i.exec = func(w *warp, m uint32) { w.waitForCluster(m) }
		return nil
	}},
	{"mbarrier.init.shared{::cta,}.b64", makeInit},
	{"mbarrier.inval.shared{::cta,}.b64", func(p *program, i *instr) error {
		return onBarrier(p, i, 0, func(w *warp, b *mbarrier, _ uint64, _ int) {
			delete(b.cta.mbarrier, b.off)
			b.cta.mark(b.off, false)
		})
	}},
	{"mbarrier.{arrive,arrive.noComplete,arrive.expect_tx}{.release.cta,.release.cluster,.relaxed.cta,.relaxed.cluster,}.shared{::cta,::cluster,}.b64", makeArrive},
	{"mbarrier.{expect_tx,complete_tx}.relaxed.{cta,cluster}.shared{::cta,::cluster}.b64", func(p *program, i *instr) error {
		expect := i.picks[0] == "expect_tx"
		return onBarrier(p, i, 0, func(w *warp, b *mbarrier, n uint64, _ int) {
			if expect {
				b.bytes += int(uint32(n))
				return
			}
			b.complete(int(uint32(n)), view{})
		})
	}},
	{"mbarrier.{test_wait,try_wait}{.parity,}{.acquire.cta,.acquire.cluster,}.shared{::cta,}.b64", makeWait},
	{"mbarrier.pending_count.b64", func(p *program, i *instr) error {
		return map1(p, i, 4, func(a uint64) uint64 { return a & (1<<20 - 1) })
	}},
}

// round is one use of a named barrier of a block.
type round struct {
	want    int // threads; 0 for all of the block
	arrived int
	view    view
	done    bool
	by      []int // warps
	count   int   // of true predicates
	threads int   // that brought a predicate
}

// named is a barrier of a block: its present round.
type named struct{ *round }

func makeNamed(p *program, i *instr) error {
	args := i.args
	red, sync := i.has("red"), i.has("sync")
	var set func(w *warp, m uint32, r *round)
	var cond func(w *warp, m uint32) uint32
	if red {
		if len(args) < 3 {
			return fmt.Errorf("%d operands", len(args))
		}
		var err error
		if cond, err = p.condition(args[len(args)-1]); err != nil {
			return err
		}
		if set, err = reduction(p, i, args[0]); err != nil {
			return err
		}
		args = args[1 : len(args)-1]
	}
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	s, err := p.sources(args)
	if err != nil {
		return err
	}
	i.kind, i.shows = aligned, true
	i.exec = func(w *warp, m uint32) {
		first := bits.TrailingZeros32(m)
		id, n := int(uint32(s[0](w, m)[first])), 0
		if len(s) > 1 {
			n = int(uint32(s[1](w, m)[first]))
		}
		if id > 15 || n%32 != 0 {
			fail(Barriers, "barrier %d of %d threads", id, n)
		}
		c := w.cta
		b := c.named[id]
		if b == nil {
			b = &named{&round{}}
			c.named[id] = b
		}
		r := b.round
		if r.arrived > 0 && r.want != n {
			fail(Barriers, "barrier %d is of %d and of %d threads", id, r.want, n)
		}
		r.want = n
		r.arrived += 32
		r.by = append(r.by, w.id)
		r.view.join(w.release())
		if red {
			r.count += bits.OnesCount32(cond(w, m) & m)
			r.threads += bits.OnesCount32(m)
		}
		c.settle(id, b)
		if !sync && !red {
			return
		}
		wake := func() bool {
			if !r.done {
				return false
			}
			w.view.join(r.view)
			if red {
				set(w, m, r)
			}
			return true
		}
		if !wake() {
			w.current.wait = wake
			w.current.why = func() string {
				return fmt.Sprintf("for barrier %d, at which %d of %d threads are (%s)", id, r.arrived, c.wanted(r), warpList(r.by))
			}
		}
	}
	return nil
}

// reduction is how a bar.red writes its result.
func reduction(p *program, i *instr, d operand) (func(w *warp, m uint32, r *round), error) {
	if i.has("popc") {
		to, err := p.result(d)
		return func(w *warp, m uint32, r *round) {
			v := to(w, m)
			each(m, func(l int) { v[l] = uint64(r.count) })
		}, err
	}
	to, err := p.truth(d)
	all := i.has("and")
	return func(w *warp, m uint32, r *round) {
		to(w, m, -uint32(flag(r.count > 0 && (!all || r.count == r.threads))))
	}, err
}

// wanted is how many threads a round waits for.
func (c *cta) wanted(r *round) int {
	if r.want != 0 {
		return r.want
	}
	n := 0
	for _, w := range c.warps {
		if w.alive != 0 {
			n += 32
		}
	}
	return n
}

// settle ends a round if all are there.
func (c *cta) settle(id int, b *named) {
	n := c.wanted(b.round)
	if b.arrived > n {
		fail(Barriers, "%d threads at barrier %d of %d", b.arrived, id, n)
	}
	if b.arrived == n && n > 0 {
		b.done = true
		c.cl.progress++
		b.round = &round{}
	}
}

func (w *warp) arriveAtCluster(m uint32, relaxed bool) {
	cl := w.cta.cl
	mt := &cl.meeting
	by := mt.by[w]
	if by == nil {
		by = &[32]int{}
		mt.by[w] = by
	}
	each(m, func(l int) {
		if by[l] > mt.phase {
			fail(Barriers, "lane %d arrives twice in a phase of the cluster", l)
		}
		by[l]++
	})
	if relaxed {
		mt.view.join(w.given)
	} else {
		mt.view.join(w.release())
	}
	cl.meet()
}

// meet ends the phase of the cluster's barrier when every thread that is left has
// arrived.
func (cl *cluster) meet() {
	mt := &cl.meeting
	some := false
	for _, w := range cl.warps {
		by := mt.by[w]
		for l := range 32 {
			switch {
			case w.alive>>l&1 == 0:
			case by == nil || by[l] <= mt.phase:
				return
			default:
				some = true
			}
		}
	}
	if some {
		mt.phase++
		mt.done = mt.view.clone()
		cl.progress++
	}
}

func (w *warp) waitForCluster(m uint32) {
	mt := &w.cta.cl.meeting
	by := mt.by[w]
	first := bits.TrailingZeros32(m)
	if by == nil || by[first] == 0 {
		fail(Barriers, "a wait for the cluster without an arrival")
	}
	wake := func() bool {
		if mt.phase < by[first] {
			return false
		}
		w.view.join(mt.done)
		return true
	}
	if !wake() {
		w.current.wait = wake
		w.current.why = func() string {
			left := 0
			for _, o := range w.cta.cl.warps {
				for l := range 32 {
					if o.alive>>l&1 != 0 && (mt.by[o] == nil || mt.by[o][l] <= mt.phase) {
						left++
					}
				}
			}
			return fmt.Sprintf("for the cluster, of which %d threads have not arrived", left)
		}
	}
}

// mbarrier is a barrier object in shared memory (PTX ISA, "mbarrier").
type mbarrier struct {
	cta            *cta
	off            int
	count, pending int
	bytes          int // expected and not yet there
	phase          uint
	agent          int // of the copies that it counts
	view, done     view
	init           epoch
	fenced         bool // the asynchronous proxy sees it
}

func (b *mbarrier) String() string {
	return fmt.Sprintf("the mbarrier at byte %d of block %d's shared memory", b.off, b.cta.number)
}

// copies is the step of the copies of the present phase.
func (b *mbarrier) copies() epoch { return epoch{int32(b.agent), uint32(b.phase) + 1} }

func (b *mbarrier) settle() {
	if b.pending != 0 {
		return
	}
	if b.bytes < 0 {
		fail(Transactions, "%v: the copies bring %d bytes more than it expects", b, -b.bytes)
	}
	if b.bytes == 0 {
		b.phase++
		b.pending = b.count
		b.view.happened.set(b.agent, uint32(b.phase))
		b.done = b.view.clone()
		b.cta.cl.m.event(b.cta, fmt.Sprintf("phase %d of %v is complete", b.phase-1, b))
		b.cta.cl.progress++
	}
}

func (b *mbarrier) arrive(n int, v view) {
	if b.pending < n {
		fail(Barriers, "%v, of %d arrivals, gets one too many", b, b.count)
	}
	b.view.join(v)
	b.pending -= n
	b.settle()
}

func (b *mbarrier) complete(bytes int, v view) {
	b.view.join(v)
	b.bytes -= bytes
	b.settle()
}

// finish checks a barrier when its block is done.
func (b *mbarrier) finish() {
	if b.bytes != 0 {
		fail(Transactions, "the kernel ends while %v expects %d bytes more than came", b, b.bytes)
	}
}

// barrier finds the mbarrier at an address.
func (w *warp) barrier(addr uint64, anyBlock bool) *mbarrier {
	c, off := w.cta.place(addr, 8, 8, anyBlock)
	b := c.mbarrier[off]
	if b == nil {
		fail(Uninitialised, "no mbarrier at %d of shared memory", off)
	}
	if !b.init.before(w.view.happened) {
		fail(Race, "%v is used before its initialisation is ordered", b)
	}
	return b
}

// mark says that eight bytes are an mbarrier, or no more.
func (c *cta) mark(off int, on bool) {
	c.shadow[off>>2].barrier, c.shadow[off>>2+1].barrier = on, on
}

func makeInit(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	addr, err := p.at(i.args[0])
	if err != nil {
		return err
	}
	n, err := p.source(i.args[1])
	if err != nil {
		return err
	}
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		at, count := addr(w, m), n(w, m)
		each(m, func(l int) {
			c, off := w.cta.place(at[l], 8, 8, false)
			if c.mbarrier[off] != nil {
				fail(Barriers, "the mbarrier at byte %d is initialised twice", off)
			}
			k := int(uint32(count[l]))
			if k < 1 || k >= 1<<20 {
				fail(Barriers, "an mbarrier of %d arrivals", k)
			}
			c.writes(off, 8, w.access(i))
			c.mark(off, true)
			b := &mbarrier{cta: c, off: off, count: k, pending: k, agent: c.cl.agent(), init: w.now()}
			c.mbarrier[off] = b
			w.inits = append(w.inits, b)
		})
	}
	return nil
}

// onBarrier makes operations on the mbarrier of operand at, with an optional count
// behind it.
func onBarrier(p *program, i *instr, at int, f func(w *warp, b *mbarrier, n uint64, lane int)) error {
	if err := i.want(at+1, at+2); err != nil {
		return err
	}
	addr, err := p.at(i.args[at])
	if err != nil {
		return err
	}
	n := constant(1)
	if len(i.args) > at+1 {
		if n, err = p.source(i.args[at+1]); err != nil {
			return err
		}
	}
	anyBlock := i.has("shared::cluster")
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		to, count := addr(w, m), n(w, m)
		each(m, func(l int) { f(w, w.barrier(to[l], anyBlock), count[l], l) })
	}
	return nil
}

func makeArrive(p *program, i *instr) error {
	d, err := p.result(i.args[0])
	if err != nil {
		return err
	}
	expect, relaxed := i.has("expect_tx"), i.has("relaxed")
	return onBarrier(p, i, 1, func(w *warp, b *mbarrier, n uint64, lane int) {
		d(w, 1<<lane)[lane] = uint64(b.phase)<<20 | uint64(b.pending)
		v := w.given
		if !relaxed {
			v = w.release()
		}
		if expect {
			b.bytes += int(uint32(n))
			n = 1
		}
		b.arrive(int(uint32(n)), v)
	})
}

func makeWait(p *program, i *instr) error {
	if err := i.want(3, 4); err != nil {
		return err
	}
	set, err := p.truth(i.args[0])
	if err != nil {
		return err
	}
	addr, err := p.at(i.args[1])
	if err != nil {
		return err
	}
	phase, err := p.source(i.args[2])
	if err != nil {
		return err
	}
	parity := i.has("parity")
	i.spins = true
	i.exec = func(w *warp, m uint32) {
		at, ph := addr(w, m), phase(w, m)
		var v uint32
		f := w.current
		f.why = nil
		each(m, func(l int) {
			b := w.barrier(at[l], false)
			want := uint(ph[l] >> 20)
			done := b.phase > want
			if parity {
				done = b.phase&1 != uint(ph[l]&1)
			}
			if done {
				v |= 1 << l
				w.view.join(b.done)
				w.cta.cl.progress++
				return
			}
			f.why = func() string {
				return fmt.Sprintf("for phase %d of %v: %d of its %d arrivals and %d bytes are missing", b.phase, b, b.pending, b.count, b.bytes)
			}
		})
		set(w, m, v)
		if f.why != nil {
			f.yielded = true
		}
	}
	return nil
}
