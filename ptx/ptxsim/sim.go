package ptxsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Memory is the device memory of a launch: the bytes that play each role. A role
// that the launch does not name may be missing.
type Memory map[gpu.Buffer][]byte

// Run executes a launch of a kernel. Blocks of a cluster run together, in an order
// of their warps that seed tells; clusters run one after the other. The error is
// the first access outside a buffer, misuse of an instruction, or deadlock, with
// the instruction at which it happened.
func Run(k *gpu.Kernel, l gpu.Launch, mem Memory, seed uint64) (err error) {
	p, err := parse(k.PTX, k.Name)
	if err != nil {
		return err
	}
	m := &machine{p: p, launch: l, memory: mem, rand: rand.New(rand.NewPCG(seed, 1))}
	if err := m.bind(); err != nil {
		return err
	}
	for i := range p.code {
		if err := p.compile(&p.code[i]); err != nil {
			return fmt.Errorf("%s: %w", p.code[i].text, err)
		}
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			err = r.error
			if m.now != nil {
				err = fmt.Errorf("%s: %w", m.now.text, err)
			}
		default:
			panic(r)
		}
	}()
	size := int(max(1, l.Cluster[0]))
	for y := range int(l.Grid[1]) {
		for x := 0; x < int(l.Grid[0]); x += size {
			m.cluster(x, y, size).run()
		}
	}
	return nil
}

// fault stops a run.
type fault struct{ error }

func fail(format string, args ...any) { panic(fault{fmt.Errorf(format, args...)}) }

type machine struct {
	p      *program
	launch gpu.Launch
	memory Memory
	rand   *rand.Rand
	values []uint64 // of parameters
	events int      // instructions that are not part of a spin
	now    *instr   // what is executed
}

// bind gives the parameters their values.
func (m *machine) bind() error {
	if len(m.launch.Args) != len(m.p.params) {
		return fmt.Errorf("%d arguments for %d parameters", len(m.launch.Args), len(m.p.params))
	}
	if int(m.launch.Block[0]) != m.p.threads {
		return fmt.Errorf("blocks of %d threads, the kernel wants %d", m.launch.Block[0], m.p.threads)
	}
	need, err := m.launch.Needs()
	if err != nil {
		return err
	}
	for of, n := range need {
		if uint64(len(m.memory[gpu.Buffer(of)])) < n {
			return fmt.Errorf("%v has %d bytes, the launch needs %d", gpu.Buffer(of), len(m.memory[gpu.Buffer(of)]), n)
		}
	}
	for i, a := range m.launch.Args {
		size, v := 4, uint64(0)
		switch a.Kind {
		case gpu.ArgMap:
			size, v = 128, paramSpace|uint64(i)
		case gpu.ArgPtr:
			size, v = 8, uint64(a.Of)<<bufferBits+a.Offset
		case gpu.ArgU64:
			size, v = 8, a.U64
		case gpu.ArgU32:
			v = uint64(a.U32)
		case gpu.ArgF32:
			v = bits32(a.F32)
		}
		if q := m.p.params[i]; q.size != size {
			return fmt.Errorf("argument %d has %d bytes, parameter %s has %d", i, size, q.name, q.size)
		}
		m.values = append(m.values, v)
	}
	return nil
}

// cluster is blocks that run together.
type cluster struct {
	m       *machine
	ctas    []*cta
	pending []func() // asynchronous copies that have not landed
	phase   int      // of barrier.cluster
	waiting int      // threads at it
}

// cta is a block of threads.
type cta struct {
	cl       *cluster
	rank     int
	x, y     int
	shared   []byte
	warps    []*warp
	waiting  map[int]*named
	mbarrier map[int]*mbarrier // by offset
}

type warp struct {
	cta    *cta
	lanes  []*thread
	open   []func() // wgmmas not yet committed
	groups [][]func()
}

type state uint8

const (
	running  state = iota
	together       // waits for the other lanes
	atBarrier
	inCluster // waits for the cluster's blocks
	exited
)

type thread struct {
	w        *warp
	lane     int
	id       int // in the block
	regs     []uint64
	pc       int
	state    state
	arrived  int // phases of barrier.cluster that it arrived at
	copies   queue
	stores   queue
	yielding bool
}

// queue is asynchronous work in groups, done when a wait asks for it.
type queue struct {
	open   []func()
	groups [][]func()
}

func (q *queue) commit() { q.groups, q.open = append(q.groups, q.open), nil }

func (q *queue) wait(left int) {
	for len(q.groups) > left {
		for _, f := range q.groups[0] {
			f()
		}
		q.groups = q.groups[1:]
	}
}

func (m *machine) cluster(x, y, size int) *cluster {
	cl := &cluster{m: m}
	for r := range size {
		c := &cta{cl: cl, rank: r, x: x + r, y: y, shared: make([]byte, m.launch.Shared), waiting: map[int]*named{}, mbarrier: map[int]*mbarrier{}}
		for i := range c.shared {
			c.shared[i] = 0xff
		}
		for t := range m.p.threads {
			if t%32 == 0 {
				c.warps = append(c.warps, &warp{cta: c})
			}
			w := c.warps[t/32]
			th := &thread{w: w, lane: t % 32, id: t, regs: make([]uint64, m.p.regs)}
			for i := range th.regs {
				th.regs[i] = 0xffffdeadffffdead
			}
			w.lanes = append(w.lanes, th)
		}
		cl.ctas = append(cl.ctas, c)
	}
	return cl
}

// run lets warps run in random order until all threads have left.
func (cl *cluster) run() {
	var warps []*warp
	for _, c := range cl.ctas {
		warps = append(warps, c.warps...)
	}
	for {
		before := cl.m.events
		cl.m.rand.Shuffle(len(warps), func(i, j int) { warps[i], warps[j] = warps[j], warps[i] })
		alive := false
		for _, w := range warps {
			alive = w.run() || alive
			cl.land(0.2)
		}
		if !alive {
			break
		}
		if cl.m.events == before {
			if len(cl.pending) == 0 {
				cl.m.now = nil
				fail("deadlock: %s", cl.where())
			}
			cl.land(1)
		}
	}
	cl.land(1)
}

// land completes pending copies, each with that probability.
func (cl *cluster) land(probability float64) {
	for i := 0; i < len(cl.pending); {
		if cl.m.rand.Float64() < probability {
			f := cl.pending[i]
			cl.pending = slices.Delete(cl.pending, i, i+1)
			f()
			cl.m.events++
			continue
		}
		i++
	}
}

// where lists what threads wait at.
func (cl *cluster) where() string {
	at := map[string]int{}
	for _, c := range cl.ctas {
		for _, w := range c.warps {
			for _, t := range w.lanes {
				pc := t.pc
				if t.state == atBarrier || t.state == inCluster {
					pc--
				}
				if t.state != exited {
					at[fmt.Sprintf("block %d: %s", c.rank, cl.m.p.code[pc].text)]++
				}
			}
		}
	}
	var list []string
	for text, n := range at {
		list = append(list, fmt.Sprintf("%d threads of %s", n, text))
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// run runs the lanes as far as they get, and what they do together. It reports
// whether any is left.
func (w *warp) run() bool {
	m := w.cta.cl.m
	for {
		var meet []*thread
		alive, ready := false, true
		for _, t := range w.lanes {
			t.run()
			if t.state == exited {
				continue
			}
			alive = true
			if t.state == together && (len(meet) == 0 || meet[0].pc == t.pc) {
				meet = append(meet, t)
			} else {
				ready = false
			}
		}
		if !ready || len(meet) == 0 {
			return alive
		}
		i := &m.p.code[meet[0].pc]
		m.now = i
		i.together(w, meet)
		m.events++
		for _, t := range meet {
			t.state = running
			t.pc++
		}
	}
}

// run executes instructions until the thread waits for something.
func (t *thread) run() {
	m := t.w.cta.cl.m
	t.yielding = false
	for t.state == running && !t.yielding {
		if t.pc >= len(m.p.code) {
			t.exit()
			return
		}
		i := &m.p.code[t.pc]
		if i.pred >= 0 && (t.regs[i.pred]&1 != 0) == i.neg {
			t.pc++
			continue
		}
		if i.together != nil {
			t.state = together
			return
		}
		if !i.spins {
			m.events++
		}
		t.pc++
		m.now = i
		i.run(t)
	}
}

func (t *thread) exit() {
	if len(t.stores.open) > 0 || len(t.stores.groups) > 0 {
		fail("thread %d exits with stores from shared memory in flight", t.id)
	}
	t.state = exited
	t.w.cta.cl.m.events++
	c := t.w.cta
	for _, b := range c.waiting {
		c.release(b)
	}
	if c.cl.waiting > 0 {
		c.cl.meet()
	}
}
