package worker

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// contender is an open candidate: its layer at one batch, in one or more copies,
// each with weights of its own in memory.
type contender struct {
	path    string
	packed  []byte // the file
	kernels runtime.Set
	isa     runtime.ISA
	batch   int
	between [][]byte // see shift
	small   place

	models   []*runtime.Model
	sessions []*runtime.Session
	operands []operands // the server's
	used     int        // of the copies
	next     int        // the copy whose turn it is
	runs     int        // a block; 0: not known yet
}

// elements is the size of a tensor at a batch.
func elements(t runtime.Tensor, batch int) int {
	n := 1
	for _, d := range t.Dims {
		if d == 0 {
			d = batch
		}
		n *= d
	}
	return n
}

// fill gives x random values that depend on nothing but its length.
func fill(x []float32) {
	rng := rand.New(rand.NewPCG(3, uint64(len(x))))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
}

// operands are inputs and outputs of a layer.
type operands struct{ in, out [][]float32 }

// placements is in how many places of memory the operands lie: by where in a page
// they begin, beside the weights, one form may be slower than another by a tenth.
const placements = 4

// placedFloats makes n float32 from a 64-byte boundary on, so many of these behind
// the first.
func placedFloats(n, lines int) []float32 {
	a := make([]float32, n+15+16*lines)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(a)))%64/4) + 16*lines
	return a[skip : skip+n : skip+n]
}

// placed makes the operands of a layer in several places, with the same inputs.
func placed(l runtime.Layer, batch int) []operands {
	var all []operands
	for k := range placements {
		var o operands
		for i, t := range l.Inputs {
			x := placedFloats(elements(t, batch), 11*k)
			if k == 0 {
				fill(x)
			} else {
				copy(x, all[0].in[i])
			}
			o.in = append(o.in, x)
		}
		for _, t := range l.Outputs {
			o.out = append(o.out, placedFloats(elements(t, batch), 29*k))
		}
		all = append(all, o)
	}
	return all
}

func hashOf(xs [][]float32) string {
	h := fnv.New64a()
	for _, x := range xs {
		for _, v := range x {
			b := math.Float32bits(v)
			_, _ = h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)}) // a hash takes every write
		}
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

func (s *server) open(o *Open, f File) (r Result) {
	r.ID = f.ID
	fail := func(err error) Result {
		r.Err = err.Error()
		return r
	}
	isa, err := runtime.ParseISA(o.ISA)
	if err != nil {
		return fail(err)
	}
	packed, err := os.ReadFile(f.Path)
	if err != nil {
		return fail(err)
	}
	c := s.before[f.Path] // of the same op at another batch
	delete(s.before, f.Path)
	if c == nil || !bytes.Equal(c.packed, packed) {
		if c != nil {
			c.close()
		}
		c = &contender{path: f.Path, packed: packed, kernels: s.kernels}
	}
	s.contenders[f.ID] = c
	c.isa, c.batch, c.next, c.runs, c.operands = isa, o.Batch, 0, 0, nil
	if err := c.copies(1, false); err != nil {
		return fail(err)
	}
	l := c.models[0].Layers()[0]
	shapes := fmt.Sprint(l.Inputs, l.Outputs)
	if s.operands[shapes] == nil { // they are the same for all candidates of a shape
		s.operands[shapes] = placed(l, o.Batch)
	}
	c.operands = s.operands[shapes]
	first := c.operands[0]
	for _, y := range first.out { // what another left must not pass for this one's
		for i := range y {
			y[i] = float32(math.NaN())
		}
	}
	begin := now()
	if err := c.run(1, false); err != nil {
		return fail(err)
	}
	r.Once = float64(now() - begin)
	r.Hash = hashOf(first.out)
	return r
}

// shift has what is allocated next begin some pages further on than it would: how well a
// physically indexed cache holds what lies in a row in memory must not be the same for all copies.
func (c *contender) shift() {
	const page, most = 4096, 32 // as many as the sets of a second-level cache have room for
	pages := make([]byte, page*(1+rand.IntN(most)))
	for i := 0; i < len(pages); i += page {
		pages[i] = 1 // or they take no memory
	}
	c.between = append(c.between, pages)
}

// place is memory for copies of small files: in large pages, as small layers lie in the file of a
// model that is large enough for such.
type place struct {
	left []byte
	free []func() error
}

// room is n bytes from the beginning of a page on, some pages behind what was taken before.
func (p *place) room(n int) []byte {
	const page, most = 4096, 32 // see shift
	skip := page * rand.IntN(most)
	if len(p.left) < skip+n {
		memory, free, err := sgp.HugePages(int64(max(2<<20, skip+n)))
		if err != nil { // the system has none
			memory = make([]byte, skip+n+page)
			memory = memory[-uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%page:]
		} else {
			p.free = append(p.free, free)
		}
		p.left = memory
	}
	room := p.left[skip:][:n:n]
	p.left = p.left[min(len(p.left), (skip+n+page-1)/page*page):]
	return room
}

// close ends what room gave.
func (p *place) close() {
	for _, free := range p.free {
		_ = free() // nobody uses it any more
	}
	*p = place{}
}

// add opens a further copy of the weights.
func (c *contender) add() error {
	c.shift()
	room := c.packed
	if !sgp.Copies(int64(len(room))) {
		room = c.small.room(len(c.packed))
		copy(room, c.packed)
	}
	m, err := runtime.OpenBytes(c.path, room, c.kernels)
	if err == nil {
		c.models = append(c.models, m)
	}
	return err
}

// sharing is how many sessions read the same copy of the weights where these lie in large pages of their own, which begin
// at the same sets of a cache, and are not to come from memory: to make copies takes as long as to time them.
const sharing = 2

// weights is how many copies of the weights so many sessions have.
func (c *contender) weights(sessions int, cold bool) int {
	if cold || !sgp.Copies(int64(len(c.packed))) {
		return sessions
	}
	return (sessions + sharing - 1) / sharing
}

// copies has as many sessions used, each of which ran once: a first run prepares for its
// batch. Those that there are beyond stay for later rounds, as do copies of the weights.
func (c *contender) copies(n int, cold bool) error {
	weights := c.weights(n, cold)
	for len(c.models) < weights {
		if err := c.add(); err != nil {
			return err
		}
	}
	for len(c.sessions) < n {
		c.shift()
		m := c.models[len(c.sessions)%weights]
		s, err := m.NewSession(m.Layers()[0].Name, runtime.MaxBatch(c.batch), runtime.WithISA(c.isa), runtime.Threads(1))
		if err != nil {
			return err
		}
		c.sessions = append(c.sessions, s)
		if c.operands != nil {
			if err := s.Run(context.Background(), c.operands[0].in, c.operands[0].out); err != nil {
				return err
			}
		}
	}
	c.used = n
	c.next %= n
	return nil
}

// rest ends the sessions and keeps the copies.
func (c *contender) rest() {
	for _, s := range c.sessions {
		_ = s.Close() // it does not run
	}
	c.sessions, c.between = nil, nil
}

// run runs n times: on the copies in turn, or on the one whose turn it is.
func (c *contender) run(n int, inTurn bool) error {
	for range n {
		if inTurn {
			c.next = (c.next + 1) % c.used
		}
		o := c.operands[c.next%len(c.operands)]
		if err := c.sessions[c.next].Run(context.Background(), o.in, o.out); err != nil {
			return err
		}
	}
	return nil
}

// coldBlocks is how many blocks a sample has at most whose weights come from memory.
const coldBlocks = 4

// sample is the fastest of some blocks of runs of at least block nanoseconds each, which follow each other until they took
// long nanoseconds together: two at least, or one where long is 0. What a run finds in the caches and in the branch
// predictors depends on who ran before, and takes several runs to become what the same run leaves: the first blocks are
// among the slower ones. All are on the next copy of the weights. Where these are to come from memory, there are coldBlocks
// at most, since more hardly scatter less, each run is on the next copy, and no third block takes one for the second time.
func (c *contender) sample(block, long int64, cold bool) (Sample, error) {
	s := Sample{NS: math.Inf(1)}
	least := 2
	if long == 0 {
		least = 1
	}
	if !cold {
		c.next = (c.next + 1) % c.used
	}
	for k, spent := 0, int64(0); k < least || spent < long && !(cold && (k == coldBlocks || s.Runs+c.runs > c.used)); k++ {
		runs := max(c.runs, 1)
		begin := now()
		err := c.run(runs, cold)
		took := max(now()-begin, 1)
		if err != nil {
			return s, err
		}
		if took < block/2 || c.runs == 0 { // it is not known yet how many runs make a block, or was found at a slow moment
			c.runs = int((int64(runs)*block + took - 1) / took)
		}
		s.Runs += runs
		s.NS = min(s.NS, float64(took)/float64(runs))
		spent += took
	}
	return s, nil
}

func (c *contender) close() {
	for _, m := range c.models {
		_ = m.Close() // no session runs
	}
	c.small.close()
}
