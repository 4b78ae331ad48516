package ptxsim

import (
	"fmt"
	"slices"
	"strings"
)

// cluster is blocks that run together.
type cluster struct {
	m        *machine
	ctas     []*cta
	warps    []*warp
	pending  []event // copies and arrivals that are under way
	progress int64   // instructions that are not part of a spin, and events
	agents   int
	meeting  meeting
}

// event is asynchronous work.
type event struct {
	what string
	run  func()
}

// meeting is the barrier of a cluster.
type meeting struct {
	phase int
	view  view
	done  view
	by    map[*warp]*[32]int // phases that each thread arrived at
}

// cta is a block of threads.
type cta struct {
	cl       *cluster
	rank     int
	number   int // in the grid
	at       [3]int
	shared   []byte
	shadow   []word
	version  int // counts writes to shared memory
	warps    []*warp
	alive    int // threads
	named    [16]*named
	mbarrier map[int]*mbarrier // by offset
	pool     int               // registers that no warp has
	columns  columnCache
}

func (cl *cluster) agent() int { cl.agents++; return cl.agents - 1 }

func (cl *cluster) after(what string, run func()) {
	cl.pending = append(cl.pending, event{what, run})
}

// gridAgent's step 1 is that of griddepcontrol.wait.
const gridAgent = 0

func (m *machine) cluster(at [3]int, size int) *cluster {
	p := m.p
	cl := &cluster{m: m, agents: 1, meeting: meeting{by: map[*warp]*[32]int{}}}
	grid := m.launch.Grid
	for r := range size {
		c := &cta{cl: cl, rank: r, at: [3]int{at[0] + r, at[1], at[2]}, mbarrier: map[int]*mbarrier{}, alive: p.threads}
		c.number = (at[2]*int(grid[1])+at[1])*int(grid[0]) + at[0] + r
		n := p.static + int(m.launch.Shared)
		c.shared = make([]byte, n)
		for i := range c.shared {
			c.shared[i] = 0xff
		}
		if k := len(m.shadow); k > 0 {
			c.shadow, m.shadow = m.shadow[k-1], m.shadow[:k-1]
			for i := range c.shadow {
				c.shadow[i] = word{reads: c.shadow[i].reads[:0]}
			}
		} else {
			c.shadow = make([]word, (n+3)/4)
		}
		warps := (p.threads + 31) / 32
		budget := min(255, registers/(warps*32)/8*8)
		if p.maxRegs > 0 {
			budget = p.maxRegs
		}
		c.pool = registers - budget*warps*32
		for id := range warps {
			c.warps = append(c.warps, newWarp(c, id, budget))
		}
		cl.ctas = append(cl.ctas, c)
		cl.warps = append(cl.warps, c.warps...)
	}
	return cl
}

func newWarp(c *cta, id, budget int) *warp {
	p, cl := c.cl.m.p, c.cl
	w := &warp{
		cta: c, id: id, agent: cl.agent(), wgAgent: cl.agent(), cpAgent: cl.agent(), stAgent: cl.agent(), epoch: 1, budget: budget,
		reg: make([]lanes, p.regs), state: make([]regState, p.regs), pred: make([]uint32, p.preds), predInit: make([]uint32, p.preds),
		special: map[string]*lanes{},
	}
	w.view.happened.set(w.agent, 1)
	if !cl.m.launch.PDL {
		w.view.happened.set(gridAgent, 1)
	}
	n := min(32, p.threads-32*id)
	w.alive = uint32(1<<n - 1)
	w.frags = []*frag{{mask: w.alive}}
	for name, f := range specials {
		v := &lanes{}
		for l := range v {
			v[l] = f(w, l)
		}
		w.special[name] = v
	}
	return w
}

// run lets warps run in turn or in random order until all have left.
func (cl *cluster) run() {
	m := cl.m
	for {
		before := cl.progress
		if m.rand != nil {
			m.rand.Shuffle(len(cl.warps), func(i, j int) { cl.warps[i], cl.warps[j] = cl.warps[j], cl.warps[i] })
		}
		alive := false
		for _, w := range cl.warps {
			if w.alive == 0 {
				continue
			}
			budget := 400
			if m.rand != nil {
				budget = 1 + m.rand.IntN(1+m.rand.IntN(800))
			}
			w.run(budget)
			alive = true
			if m.rand != nil {
				cl.land(0.2)
			}
		}
		if !alive {
			break
		}
		if cl.progress == before {
			if len(cl.pending) == 0 {
				cl.deadlock()
			}
			cl.next(0)
		}
	}
	for len(cl.pending) > 0 {
		cl.next(0)
	}
	for _, c := range cl.ctas {
		for _, b := range c.mbarrier {
			b.finish()
		}
		for id, w := range c.warps {
			if first := c.warps[id/4*4]; w.wgmmas != first.wgmmas {
				fail(Divergence, "warp %d of %v executed %d wgmmas, warp %d of its warpgroup %d", first.id, c, first.wgmmas, id, w.wgmmas)
			}
		}
		m.shadow = append(m.shadow, c.shadow)
	}
}

// next has one pending event happen.
func (cl *cluster) next(i int) {
	e := cl.pending[i]
	cl.pending = slices.Delete(cl.pending, i, i+1)
	e.run()
	cl.progress++
}

// land has pending events happen, each with that probability.
func (cl *cluster) land(probability float64) {
	for i := 0; i < len(cl.pending); {
		if cl.m.rand.Float64() < probability {
			cl.next(i)
			continue
		}
		i++
	}
}

// left tells barriers that threads are no more.
func (cl *cluster) left(w *warp, mask uint32) {
	cl.meet()
	for id, b := range w.cta.named {
		if b != nil && b.want == 0 && w.alive == 0 {
			w.cta.settle(id, b)
		}
	}
}

// deadlock stops the run with a picture of who waits for what.
func (cl *cluster) deadlock() {
	kind, lines := Deadlock, []string{}
	type place struct {
		c   *cta
		pc  int
		why string
	}
	threads := map[place][]int{}
	var order []place
	for _, w := range cl.warps {
		for _, f := range w.frags {
			p := place{c: w.cta, pc: f.pc}
			if f.wait != nil {
				p.pc--
			}
			if f.why != nil {
				p.why = f.why()
			}
			if threads[p] == nil {
				order = append(order, p)
			}
			threads[p] = append(threads[p], w.id)
		}
	}
	slices.SortFunc(order, func(a, b place) int { return 1000*(a.c.rank-b.c.rank) + a.pc - b.pc })
	for _, p := range order {
		i := &cl.m.p.code[min(p.pc, len(cl.m.p.code)-1)]
		slices.Sort(threads[p])
		line := fmt.Sprintf("\n  %v, %s at line %d: %s", p.c, warpList(threads[p]), i.line, i.text)
		if p.why != "" {
			line += "\n    waits " + p.why
		}
		lines = append(lines, line)
	}
	for _, c := range cl.ctas {
		for _, b := range c.mbarrier {
			if b.pending == 0 && b.bytes != 0 {
				kind = Transactions
				lines = append([]string{fmt.Sprintf("%v, whose arrivals are all there, expects %d more bytes than its copies bring", b, b.bytes)}, lines...)
			}
		}
		for _, w := range c.warps {
			for _, f := range w.frags {
				if f.wait != nil && strings.HasPrefix(f.why(), "for registers") {
					kind = RegisterBudget
				}
			}
		}
	}
	cl.m.now = nil
	fail(kind, "nobody can go on:%s", strings.Join(lines, ""))
}

// warpList is "warp 3" or "warps 0 to 3".
func warpList(ids []int) string {
	ids = slices.Compact(ids)
	if len(ids) == 1 {
		return fmt.Sprintf("warp %d", ids[0])
	}
	if ids[len(ids)-1]-ids[0] == len(ids)-1 {
		return fmt.Sprintf("warps %d to %d", ids[0], ids[len(ids)-1])
	}
	return "warps " + strings.Trim(fmt.Sprint(ids), "[]")
}
