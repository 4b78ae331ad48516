package runtime

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// sizes is what a plan reserves memory for. A plan for all batches binds every
// variant, and reserves for none of them more than for this batch.
type sizes struct {
	threads, batch int
	all            bool
}

// control is what a run hands to its operations.
type control struct {
	team    *team           // nil: the caller works alone
	done    <-chan struct{} // the context's
	scratch []float32       // 64-byte aligned; what the operation asked for
	share   int             // multiply-adds below which work is not shared
}

// errStopped says that the context has ended.
var errStopped = errors.New("stopped")

// stopped reports whether the context has ended. It stands between any two calls
// of kernels also because a kernel cannot be interrupted and a loop of nothing but
// kernels is hardly ever met in between: the garbage collector would wait for the
// end of the loop. A call like this one looks whether it should stop.
//
//go:noinline
func (c *control) stopped() bool {
	if c.done == nil {
		return false
	}
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// operation is one bound op. It may keep state: a plan belongs to one session.
type operation interface {
	// prepare is called before the first run of each new batch; what it returns is
	// run.
	prepare(batch int) runner
	// scratch is the number of float32 that a run needs.
	scratch() int
}

// runner computes an op for the batch that it was prepared for. y is x where the
// op has one argument.
type runner interface {
	run(c *control, x, y, out []float32, batch int) error
}

// plan is a layer bound to kernels and sizes. What a run of one kernel call reads comes first:
// such runs are so short that lines of memory count.
type plan struct {
	single          singleCall // the whole run at this batch, where it is one kernel call
	singleOut       int        // the length of its output
	length, batch   int        // of the first input in the last run, and what it meant
	steps           []step
	values          [][]float32 // of the run at hand; none of a single call
	inputs, outputs []port
	temps           []temp
	slots           []int // size of each temporary's memory per batch item
	arena           []float32
	sizes           sizes
	batchMin        int
}

type step struct {
	op        operation
	now       runner // what op prepared for the batch
	x, y, out int    // indices of values; y is x where there is one argument
}

// port is an input or output.
type port struct {
	value, features int
	name            string
	length          int // for the plan's batch
}

// temp is a value between two steps.
type temp struct{ value, features, slot int }

func bindLayer(l *sgp.Layer, k kernels, size sizes) (*plan, error) {
	p := newPlan(l, size)
	for i := range l.Ops {
		op := &l.Ops[i]
		bound, err := bindOp(l, op, k, size)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, step{op: bound, x: op.Args[0], y: op.Args[len(op.Args)-1], out: op.Out})
	}
	p.placeTemps(l)
	return p, nil
}

// newPlan is a plan without steps: what a run's arguments have to be.
func newPlan(l *sgp.Layer, size sizes) *plan {
	return &plan{
		values:   make([][]float32, len(l.Values)),
		inputs:   ports(l, l.Inputs),
		outputs:  ports(l, l.Outputs),
		sizes:    size,
		batchMin: l.BatchMin,
		length:   -1,
	}
}

func ports(l *sgp.Layer, values []int) []port {
	var ps []port
	for _, i := range values {
		ps = append(ps, port{value: i, features: l.Values[i].Features(), name: l.Values[i].Name})
	}
	return ps
}

// placeTemps gives each value that is neither input nor output a slot; a slot
// is used again once its value is read for the last time.
func (p *plan) placeTemps(l *sgp.Layer) {
	fixed := make(map[int]bool)
	for _, q := range append(ports(l, l.Inputs), p.outputs...) {
		fixed[q.value] = true
	}
	lastUse := make(map[int]int)
	for i, s := range p.steps {
		lastUse[s.x], lastUse[s.y] = i, i
	}
	var freeAfter []int // by slot: the step that reads its value last
	for i, s := range p.steps {
		if fixed[s.out] {
			continue
		}
		slot := -1
		for j, last := range freeAfter {
			if last < i && (slot < 0 || p.slots[j] > p.slots[slot]) {
				slot = j
			}
		}
		if slot < 0 {
			slot = len(p.slots)
			p.slots, freeAfter = append(p.slots, 0), append(freeAfter, 0)
		}
		features := l.Values[s.out].Features()
		p.slots[slot] = max(p.slots[slot], features)
		freeAfter[slot] = max(lastUse[s.out], i)
		p.temps = append(p.temps, temp{s.out, features, slot})
	}
}

// maxArena bounds one session's memory, in float32: a file may state any batch.
const maxArena = 1 << 36 / 4

// allocate reserves the plan's memory and returns the part for scratch.
func (p *plan) allocate() (scratch []float32, err error) {
	total, largest := 0, 0
	for _, features := range p.slots {
		hi, n := bits.Mul64(uint64(features), uint64(p.sizes.batch))
		if hi != 0 || n > maxArena {
			return nil, fmt.Errorf("values of %d features need too much memory", features)
		}
		total += roundUp(int(n), 16)
	}
	for _, s := range p.steps {
		largest = max(largest, s.op.scratch())
	}
	total += largest
	if total > maxArena || total > math.MaxInt/8 {
		return nil, fmt.Errorf("%d float32 are too much memory", total)
	}
	p.arena = alignedFloats(total)
	return p.arena[total-largest:], nil
}

// alignedFloats makes n float32 from a 64-byte boundary on.
func alignedFloats(n int) []float32 {
	a := make([]float32, n+15)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(a))) % 64 / 4)
	return a[skip : skip+n : skip+n]
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// fits reports whether the run is one kernel call, as the last one was, and the
// arguments suit it: what check finds out too, but slower than such a call.
func (p *plan) fits(in, out [][]float32) bool {
	return p.single.f != nil && len(in) == 1 && len(out) == 1 && len(in[0]) == p.length && len(out[0]) == p.singleOut && !overlap(out[0], in[0])
}

// check checks a run's arguments and prepares the plan for their batch.
func (p *plan) check(in, out [][]float32) error {
	if len(in) != len(p.inputs) || len(out) != len(p.outputs) {
		return fmt.Errorf("%w: %d inputs and %d outputs where the layer has %d and %d", ErrLength, len(in), len(out), len(p.inputs), len(p.outputs))
	}
	if len(in[0]) != p.length {
		if err := p.setBatch(len(in[0])); err != nil {
			return err
		}
	}
	for i := range p.inputs {
		if q := &p.inputs[i]; len(in[i]) != q.length {
			return q.lengthError("input", i, len(in[i]), p.batch)
		}
	}
	for i := range p.outputs {
		q := &p.outputs[i]
		if len(out[i]) != q.length {
			return q.lengthError("output", i, len(out[i]), p.batch)
		}
		for j := range in {
			if overlap(out[i], in[j]) {
				return fmt.Errorf("%w: output %d (%q), input %d (%q)", ErrOverlap, i, q.name, j, p.inputs[j].name)
			}
		}
		for j := range i {
			if overlap(out[i], out[j]) {
				return fmt.Errorf("%w: output %d (%q), output %d (%q)", ErrOverlap, i, q.name, j, p.outputs[j].name)
			}
		}
	}
	return nil
}

// bind fills in the values that are the caller's.
func (p *plan) bind(in, out [][]float32) {
	for i, q := range p.inputs {
		p.values[q.value] = in[i]
	}
	for i, q := range p.outputs {
		p.values[q.value] = out[i]
	}
}

func (q *port) lengthError(what string, i, length, batch int) error {
	return fmt.Errorf("%w: %s %d (%q) has %d elements; %d features and batch %d need %d", ErrLength, what, i, q.name, length, q.features, batch, q.length)
}

func overlap(a, b []float32) bool {
	pa, pb := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return pa < pb+uintptr(len(b))*4 && pb < pa+uintptr(len(a))*4
}

// setBatch infers the batch from the first input's length, and cuts the
// temporaries to it.
func (p *plan) setBatch(length int) error {
	q := &p.inputs[0]
	batch := length / q.features
	if batch*q.features != length {
		return fmt.Errorf("%w: input 0 (%q) has %d elements, not a multiple of its %d features", ErrLength, q.name, length, q.features)
	}
	if batch < p.batchMin || batch > p.sizes.batch {
		return fmt.Errorf("%w: %d where the session takes %d..%d", ErrBatch, batch, p.batchMin, p.sizes.batch)
	}
	p.length, p.batch = length, batch
	for i := range p.inputs {
		p.inputs[i].length = p.inputs[i].features * batch
	}
	for i := range p.outputs {
		p.outputs[i].length = p.outputs[i].features * batch
	}
	at := 0
	for slot, features := range p.slots {
		for _, t := range p.temps {
			if t.slot == slot {
				p.values[t.value] = p.arena[at:][:t.features*batch]
			}
		}
		at += roundUp(features*p.sizes.batch, 16)
	}
	for i := range p.steps {
		p.steps[i].now = p.steps[i].op.prepare(batch)
	}
	p.single = singleCall{}
	if len(p.steps) == 1 && len(p.inputs) == 1 && len(p.outputs) == 1 {
		s := &p.steps[0]
		if call, ok := s.now.(*singleCall); ok && s.x == p.inputs[0].value && s.out == p.outputs[0].value {
			p.single, p.singleOut = *call, p.outputs[0].length // here, not elsewhere in memory
		}
	}
	return nil
}
