package ptxsim

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Memory is the device memory of a launch: the bytes that play each role. A role
// that the launch does not name may be missing.
type Memory map[gpu.Buffer][]byte

// Options say how a launch is run. The zero value is the fixed schedule: warps in
// turn, asynchronous work as late as it may be.
type Options struct {
	Seed    uint64         // another is another order of warps and of asynchronous work
	Fresh   []gpu.Buffer   // buffers whose bytes are not to be read before they are written
	Weights *layout.Format // of 2:4 weights: each value's metadata must be its own
	Trace   func(Event)    // called for what the warps and the copies do to each other
	Limit   int64          // instructions of warps, 0 for 2^40
}

// Run executes a launch of a kernel and returns the first mistake. Blocks of a
// cluster run together, in an order of their warps that seed tells; clusters run
// one after the other.
func Run(k *gpu.Kernel, l gpu.Launch, mem Memory, seed uint64) error {
	_, err := Simulate(k, l, mem, Options{Seed: seed})
	return err
}

// Simulate is Run with options. The report is of all that ran, also where there is
// an error: of the text (with its line), of the launch, or a *Fault.
func Simulate(k *gpu.Kernel, l gpu.Launch, mem Memory, o Options) (r *Report, err error) {
	p, err := parse(k.PTX, k.Name)
	if err != nil {
		return nil, err
	}
	m := &machine{p: p, launch: l, memory: mem, o: o, report: newReport(p)}
	if o.Seed != 0 {
		m.rand = rand.New(rand.NewPCG(o.Seed, 1))
	}
	if err := m.bind(); err != nil {
		return nil, err
	}
	if o.Weights != nil && o.Weights.Sparse {
		m.origin = newOrigins(*o.Weights)
	}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case *Fault:
			if w := m.at; w != nil && m.now != nil {
				f.Line, f.Text, f.Block, f.Warp = m.now.line, m.now.text, w.cta.number, w.id
			}
			r, err = m.report, f
		default:
			panic(f)
		}
	}()
	size := int(max(1, l.Cluster[0]))
	for z := range int(l.Grid[2]) {
		for y := range int(l.Grid[1]) {
			for x := 0; x < int(l.Grid[0]); x += size {
				m.cluster([3]int{x, y, z}, size).run()
			}
		}
	}
	return m.report, nil
}

type machine struct {
	p      *program
	launch gpu.Launch
	memory Memory
	o      Options
	rand   *rand.Rand // nil for the fixed schedule
	values []uint64   // of parameters
	fresh  map[gpu.Buffer][]bool
	origin *origins // nil where the origin of bytes does not matter
	report *Report
	shadow [][]word // of blocks that are done
	now    *instr
	at     *warp
	steps  int64
}

const (
	sharedMax90 = 232448
	sharedMax80 = 166912
	registers   = 65536 // of a multiprocessor, of 32 bits
)

// bind gives the parameters their values and checks the launch against the text.
func (m *machine) bind() error {
	p, l := m.p, &m.launch
	if len(l.Args) != len(p.params) {
		return fmt.Errorf("%d arguments for %d parameters", len(l.Args), len(p.params))
	}
	threads := int(l.Block[0]) * int(l.Block[1]) * int(l.Block[2])
	if p.threads != 0 && threads != p.threads {
		return fmt.Errorf("blocks of %d threads, the kernel wants %d", threads, p.threads)
	}
	if threads < 1 || threads > 1024 {
		return fmt.Errorf("blocks of %d threads", threads)
	}
	p.threads = threads
	size := int(max(1, l.Cluster[0]))
	if p.cluster != 0 && p.cluster != size || l.Grid[0]%uint32(size) != 0 || l.Cluster[1] > 1 || l.Cluster[2] > 1 {
		return fmt.Errorf("clusters of %v in a grid of %v, the kernel wants %d", l.Cluster, l.Grid, p.cluster)
	}
	limit := sharedMax90
	if p.target < "sm_90" {
		limit = sharedMax80
	}
	if n := p.static + int(l.Shared); n > limit {
		return &Fault{Kind: SharedLimit, Detail: fmt.Sprintf("%d bytes of a block, %s has %d", n, p.target, limit)}
	}
	need, err := l.Needs()
	if err != nil {
		return err
	}
	for of, n := range need {
		if uint64(len(m.memory[gpu.Buffer(of)])) < n {
			return fmt.Errorf("%v has %d bytes, the launch needs %d", gpu.Buffer(of), len(m.memory[gpu.Buffer(of)]), n)
		}
	}
	for _, of := range m.o.Fresh {
		if m.fresh == nil {
			m.fresh = map[gpu.Buffer][]bool{}
		}
		m.fresh[of] = make([]bool, len(m.memory[of]))
	}
	for i := range l.Args {
		a := &l.Args[i]
		var v uint64
		switch a.Kind {
		case gpu.ArgMap:
			v = paramSpace | uint64(i)
		case gpu.ArgPtr:
			v = uint64(a.Of)<<bufferBits + a.Offset
		case gpu.ArgU64:
			v = a.U64
		case gpu.ArgU32:
			v = uint64(a.U32)
		case gpu.ArgF32:
			v = bits32(a.F32)
		default:
			return errors.New("an argument of no kind")
		}
		if q := p.params[i]; q.size != a.Size() {
			return fmt.Errorf("argument %d has %d bytes, parameter %s has %d", i, a.Size(), q.name, q.size)
		}
		m.values = append(m.values, v)
	}
	return nil
}
