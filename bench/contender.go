package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// contender is one kernel in a group's race.
type contender struct {
	name     string
	pattern  string // label of the pattern it runs, "" for a dense kernel, which serves them all
	describe string
	runs     []func() // one a copy of the weights
	close    []func()
	next     int     // the copy to run next
	reps     int     // runs a sample
	single   float64 // seconds a run, from calibration
	samples  []float64
	errShare float64 // largest error as a share of its bound
	skips    float64 // share of zeros left alone, NaN where there are none
	bytes    int64
	err      error
}

// source makes runners for one matrix.
type source struct {
	name    string
	prepare func() (peers.Runner, error)
}

// arena is the activations of a group, shared by all contenders so that none
// has luckier addresses.
type arena struct {
	x, y *peers.Buffer
	p    peers.Problem
}

// enter prepares a contender and checks its result; ref is nil when it is to
// be made from w. poolBytes > 0 asks for as many copies of the weights.
func (a *arena) enter(s source, pattern string, w []float32, ref *reference, poolBytes int64) *contender {
	c := &contender{name: s.name, pattern: pattern, skips: math.NaN()}
	add := func() (peers.Runner, error) {
		r, err := s.prepare()
		if err != nil {
			return nil, err
		}
		c.close = append(c.close, r.Close)
		c.runs = append(c.runs, a.bind(r))
		return r, nil
	}
	first, err := add()
	if err != nil {
		c.err = err
		return c
	}
	c.describe, c.bytes = first.Describe(), first.Bytes()
	if q, ok := first.(peers.Reweighted); ok {
		w = q.Weights()
		ref = newReference(w, a.x.Data, a.p)
	}
	if c.err = a.verify(c, first, w, ref); c.err != nil || poolBytes == 0 {
		return c
	}
	if c.bytes <= 0 {
		c.err = fmt.Errorf("reads %d bytes of weights, cannot size the pool", c.bytes)
		return c
	}
	var last peers.Runner
	for n := (poolBytes+c.bytes-1)/c.bytes - 1; n > 0; n-- {
		if last, c.err = add(); c.err != nil {
			return c
		}
		c.runs[len(c.runs)-1]() // a first run prepares for its batch, which is not what cold weights cost
	}
	if last != nil {
		c.err = a.verify(c, last, w, ref)
	}
	return c
}

// bind is the timed part of r on the arena's operands.
func (a *arena) bind(r peers.Runner) func() {
	if st, ok := r.(peers.Staged); ok {
		st.Load(a.x.Data)
		return st.Execute
	}
	return func() { r.Run(a.x.Data, a.y.Data) }
}

// verify runs r on poisoned outputs and compares with the reference; then asks
// whether it leaves zeros alone.
func (a *arena) verify(c *contender, r peers.Runner, w []float32, ref *reference) error {
	for i := range a.y.Data {
		a.y.Data[i] = float32(math.NaN())
	}
	r.Run(a.x.Data, a.y.Data)
	worst, err := ref.check(a.y.Data, a.p)
	if err != nil {
		return err
	}
	c.errShare = max(c.errShare, worst)
	if c.pattern != "" {
		if share, ok := skipped(r.Run, w, a.x.Data, a.y.Data, a.p); ok {
			c.skips = share
		}
		if st, ok := r.(peers.Staged); ok {
			st.Load(a.x.Data)
		}
	}
	return nil
}

// run computes once, with the next copy of the weights.
func (c *contender) run() {
	c.runs[c.next]()
	if c.next++; c.next == len(c.runs) {
		c.next = 0
	}
}

func (c *contender) free() {
	for _, f := range c.close {
		f()
	}
	c.close, c.runs = nil, nil
}

// calibrate warms c up, finds how many runs fill a block, and makes sure that
// the work is done by this thread, whose clock is the one that counts. Go's own
// helpers may disturb one trial, not all.
func (c *contender) calibrate(block float64) error {
	const (
		trials = 3
		trial  = 2e-3
	)
	c.run()
	var elapsed, others float64
	for range trials {
		n := 0
		thread, process := threadTime(), processTime()
		for elapsed = 0; n == 0 || elapsed < trial; n++ {
			c.run()
			elapsed = threadTime() - thread
		}
		others = processTime() - process - elapsed
		if others <= elapsed/2+trial {
			c.single = elapsed / float64(n)
			c.reps = max(1, int(math.Ceil(block/c.single)))
			return nil
		}
	}
	return fmt.Errorf("uses other threads: %.1f ms beside %.1f ms", others*1e3, elapsed*1e3)
}

// sample times one block. Where the weights are in a cache, a run outside the
// clock brings them back after what others left there; a long run does not
// need it.
func (c *contender) sample(cold bool) {
	const long = 5e-3
	if !cold && c.single < long {
		c.run()
	}
	start := threadTime()
	for range c.reps {
		c.run()
	}
	c.samples = append(c.samples, (threadTime()-start)/float64(c.reps))
}

// unsupported says that c is missing for a reason that is no fault.
func (c *contender) unsupported() bool { return errors.Is(c.err, peers.ErrUnsupported) }
