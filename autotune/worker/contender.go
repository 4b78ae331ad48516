package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"unsafe"

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

	models   []*runtime.Model
	sessions []*runtime.Session
	operands []operands // the server's
	next     int        // the copy whose turn it is
	runs     int        // a sample; 0: not known yet
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
		for _, t := range l.Inputs {
			x := placedFloats(elements(t, batch), 11*k)
			fill(x)
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
	c := &contender{path: f.Path, kernels: s.kernels, isa: isa, batch: o.Batch}
	if c.packed, err = os.ReadFile(f.Path); err == nil {
		err = c.add()
	}
	if err != nil {
		return fail(err)
	}
	s.contenders[f.ID] = c
	l := c.models[0].Layers()[0]
	if s.operands == nil { // they are the same for all candidates
		s.operands = placed(l, o.Batch)
	}
	c.operands = s.operands
	first := c.operands[0]
	for _, y := range first.out { // what another left must not pass for this one's
		for i := range y {
			y[i] = float32(math.NaN())
		}
	}
	begin := now()
	if err := c.run(1, true); err != nil {
		return fail(err)
	}
	r.Once = float64(now() - begin)
	r.Hash = hashOf(first.out)
	return r
}

// add opens a further copy of the weights.
func (c *contender) add() error {
	const page = 4096 // as a file is mapped
	room := make([]byte, len(c.packed)+page)
	room = room[-uintptr(unsafe.Pointer(unsafe.SliceData(room)))%page:][:len(c.packed)]
	copy(room, c.packed)
	m, err := runtime.OpenBytes(c.path, room, c.kernels)
	if err != nil {
		return err
	}
	s, err := m.NewSession(m.Layers()[0].Name, runtime.MaxBatch(c.batch), runtime.WithISA(c.isa), runtime.Threads(1))
	if err != nil {
		return errors.Join(err, m.Close())
	}
	c.models, c.sessions = append(c.models, m), append(c.sessions, s)
	return nil
}

// copies makes as many copies of the weights.
func (c *contender) copies(n int) error {
	for len(c.models) < n {
		if err := c.add(); err != nil {
			return err
		}
	}
	c.next %= max(n, 1)
	for ; len(c.models) > max(n, 1); c.models, c.sessions = c.models[:len(c.models)-1], c.sessions[:len(c.sessions)-1] {
		if err := c.models[len(c.models)-1].Close(); err != nil {
			return err
		}
	}
	return nil
}

// run runs n times: on the copies in turn, or on the one whose turn it is.
func (c *contender) run(n int, inTurn bool) error {
	for range n {
		if inTurn {
			c.next = (c.next + 1) % len(c.sessions)
		}
		o := c.operands[c.next%len(c.operands)]
		if err := c.sessions[c.next].Run(context.Background(), o.in, o.out); err != nil {
			return err
		}
	}
	return nil
}

// sample times a block of runs that lasts at least block nanoseconds.
func (c *contender) sample(block int64, cold bool) (Sample, error) {
	if !cold {
		// Others ran since: what this one keeps in the caches comes back before the
		// clock starts.
		if err := c.run(1, true); err != nil {
			return Sample{}, err
		}
	}
	if c.runs == 0 {
		begin := now()
		if err := c.run(2, cold); err != nil {
			return Sample{}, err
		}
		once := max((now()-begin)/2, 1)
		c.runs = int(max(1, (block+once-1)/once))
	}
	runs := c.runs
	begin := now()
	if err := c.run(runs, cold); err != nil {
		return Sample{}, err
	}
	took := now() - begin
	if took < block/2 { // the first estimate was of a slow moment
		c.runs = int(int64(runs)*block/max(took, 1)) + 1
	}
	return Sample{NS: float64(took) / float64(runs), Runs: runs}, nil
}

func (c *contender) close() {
	for _, m := range c.models {
		_ = m.Close() // no session runs
	}
}
