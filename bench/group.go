package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// settings is how a race is run.
type settings struct {
	Rounds    int           `json:"rounds"`     // at least
	Budget    time.Duration `json:"budget_ns"`  // of one group: more rounds while it lasts, up to four times Rounds
	Block     time.Duration `json:"block_ns"`   // of one sample, at least
	PoolBytes int64         `json:"pool_bytes"` // of each contender's weights where they are cold
	Seed      uint64        `json:"seed"`
	Variants  bool          `json:"variants"`
}

// group is the cases of one shape. They race together: a dense kernel does the
// same work whatever the zeros, so it runs once a round for all of them, and
// every ratio is still between two samples of one round.
type group struct {
	cases []Case
}

// groups collects cases of one shape, in the order of the grid.
func groups(cases []Case) []*group {
	var all []*group
	by := map[string]*group{}
	for _, c := range cases {
		g := by[c.shape()]
		if g == nil {
			g = &group{}
			by[c.shape()] = g
			all = append(all, g)
		}
		g.cases = append(g.cases, c)
	}
	return all
}

// rngFor makes a case's data depend on its name and the seed alone, and not on
// which other cases run.
func rngFor(name string, seed uint64) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), seed))
}

// race prepares, checks and times all contenders of the group.
func (g *group) race(ours Ours, set settings) ([]Result, error) {
	first := g.cases[0]
	a := &arena{p: first.Problem}
	var err error
	if a.x, err = peers.NewBuffer(a.p.In * a.p.Batch); err != nil {
		return nil, err
	}
	defer a.x.Free()
	if a.y, err = peers.NewBuffer(a.p.Out * a.p.Batch); err != nil {
		return nil, err
	}
	defer a.y.Free()
	values(rngFor(first.shape(), set.Seed), a.x.Data)

	field, density, err := g.enterAll(a, ours, set)
	defer func() {
		for _, c := range field {
			c.free()
		}
	}()
	if err != nil {
		return nil, err
	}
	timeAll(field, first.Cold, set)
	return results(g.cases, field, density), nil
}

// enterAll prepares the field: the dense kernels once, the others once a case.
// density is the share of non-zeros by case.
func (g *group) enterAll(a *arena, ours Ours, set settings) (field []*contender, density []float64, err error) {
	pool := int64(0)
	if g.cases[0].Cold {
		pool = set.PoolBytes
	}
	enter := func(s source, pattern string, w []float32, ref *reference) {
		field = append(field, a.enter(s, pattern, w, ref, pool))
	}
	p := a.p
	w, err := drawWeights(rngFor(g.cases[0].shape()+"/w", set.Seed), dense, p.Out, p.In)
	if err != nil {
		return field, nil, err
	}
	ref := newReference(w, a.x.Data, p)
	for _, peer := range peers.All() {
		if peer.Layout == p.Layout && !peer.Sparse {
			enter(source{peer.Name, func() (peers.Runner, error) { return peer.Prepare(w, p) }}, "", w, ref)
		}
	}
	var untuned Ours
	if ours != nil {
		untuned = ours.Untuned()
		enter(source{oursDenseName, func() (peers.Runner, error) {
			return ours.Prepare(w, p.Out, p.In, dense.Spec, p.Layout, p.Batch)
		}}, "", w, ref)
	}
	for _, c := range g.cases {
		w, err := drawWeights(rngFor(c.Name(), set.Seed), c.Pattern, p.Out, p.In)
		if err != nil {
			return field, nil, fmt.Errorf("%s: %w", c.Name(), err)
		}
		nonZeros := 0
		for _, v := range w {
			if v != 0 {
				nonZeros++
			}
		}
		density = append(density, float64(nonZeros)/float64(len(w)))
		ref := newReference(w, a.x.Data, p)
		for _, peer := range peers.All() {
			if peer.Layout == p.Layout && peer.Sparse && nonZeros < len(w) {
				enter(source{peer.Name, func() (peers.Runner, error) { return peer.Prepare(w, p) }}, c.Pattern.Label, w, ref)
			}
		}
		if ours == nil {
			continue
		}
		prepare := func() (OursRunner, error) {
			return ours.Prepare(w, p.Out, p.In, c.Pattern.Spec, p.Layout, p.Batch)
		}
		enter(source{oursName, func() (peers.Runner, error) { return prepare() }}, c.Pattern.Label, w, ref)
		if untuned != nil {
			enter(source{oursUntunedName, func() (peers.Runner, error) {
				return untuned.Prepare(w, p.Out, p.In, c.Pattern.Spec, p.Layout, p.Batch)
			}}, c.Pattern.Label, w, ref)
		}
		if set.Variants {
			for _, s := range variants(prepare) {
				enter(s, c.Pattern.Label, w, ref)
			}
		}
	}
	return field, density, nil
}

// variants lists a source for every kernel that the planner did not choose.
func variants(prepare func() (OursRunner, error)) []source {
	r, err := prepare()
	if err != nil {
		return nil // the planned kernel's entry carries the error
	}
	defer r.Close()
	var all []source
	for i, v := range r.Variants() {
		all = append(all, source{variantName(v.Name), func() (peers.Runner, error) {
			r, err := prepare()
			if err != nil {
				return nil, err
			}
			vs := r.Variants()
			if i >= len(vs) {
				r.Close()
				return nil, errors.New("variant is gone")
			}
			return heldVariant{vs[i].Runner, r}, nil
		}})
	}
	return all
}

// heldVariant closes the runner that owns a variant's weights with it.
type heldVariant struct {
	peers.Runner
	owner peers.Runner
}

func (v heldVariant) Close() { v.owner.Close() }

// timeAll runs the rounds: every contender once a round, in random order.
func timeAll(field []*contender, cold bool, set settings) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var ready []*contender
	for _, c := range field {
		if c.err == nil {
			c.err = c.calibrate(set.Block.Seconds())
		}
		if c.err == nil {
			ready = append(ready, c)
		}
	}
	order := rand.New(rand.NewPCG(set.Seed, uint64(len(ready))))
	start := time.Now()
	for round := 0; round < set.Rounds || (round < 4*set.Rounds && time.Since(start) < set.Budget); round++ {
		for _, i := range order.Perm(len(ready)) {
			ready[i].sample(cold)
		}
	}
}
