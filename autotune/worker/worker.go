// Package worker is the program that times candidates: a tuner compiles it with
// their kernels, gives it requests on standard input and reads its answers from
// standard output, one line of JSON each. It decides nothing, so that it may be
// killed at any moment and started again.
//
// It must not import ir, codegen, asm, ptx or autotune.
package worker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"slices"

	"github.com/sparsegen/sparsegen/runtime"
)

// Request is what to do. Exactly one field is set.
type Request struct {
	Gate  *Gate  `json:"gate,omitempty"`
	Open  *Open  `json:"open,omitempty"`
	Round *Round `json:"round,omitempty"`
	Cycle bool   `json:"cycle,omitempty"` // time a cycle of the core
}

// File is a candidate: a packed model with one layer of one op.
type File struct {
	ID   int    `json:"id"`
	Path string `json:"path"`
}

// Gate compares the candidates' outputs at some batches with those of the
// kernels in Go, on inputs and outputs between pages that nobody may touch.
type Gate struct {
	Files   []File `json:"files"`
	Batches []int  `json:"batches"`
	ISA     string `json:"isa"`
}

// Open makes candidates ready to be timed at a batch, in place of those before.
type Open struct {
	Files []File `json:"files"`
	Batch int    `json:"batch"`
	ISA   string `json:"isa"`
	Block int64  `json:"block"` // least time of a sample, in ns
	// Elsewhere has all weights lie elsewhere in memory than those of the Open before;
	// else what the same files gave stays where it is.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// Round times one sample of each candidate, in this order.
type Round struct {
	Order []int `json:"order"`
	// Copies is how many sessions each candidate has, with copies of its weights, since where in
	// memory they lie decides how well the caches hold them. Its samples take them
	// in turn, or with Cold its runs, so that none finds its weights in a cache. Large
	// copies are for two sessions each, unless Cold.
	Copies int  `json:"copies"`
	Cold   bool `json:"cold,omitempty"`
	// Long is for how many ns together the blocks of a sample are timed. 0: it is one block.
	Long int64 `json:"long,omitempty"`
	// Cache is the size in bytes of the last cache. With Cold, copies that are made
	// leave it before the first sample.
	Cache int `json:"cache,omitempty"`
}

// Answer is one line: a Result for each candidate of a Gate or an Open, then the
// line that ends the request, with the samples of a Round or the time of a Cycle.
type Answer struct {
	Result  *Result  `json:"result,omitempty"`
	End     bool     `json:"end,omitempty"`
	Clock   string   `json:"clock,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
	Cycle   float64  `json:"cycle,omitempty"` // in ns
	Err     string   `json:"err,omitempty"`   // the request was not understood
}

// Result is what became of one candidate.
type Result struct {
	ID   int     `json:"id"`
	Err  string  `json:"err,omitempty"`
	Hash string  `json:"hash,omitempty"` // Open: of the output's bits
	Once float64 `json:"once,omitempty"` // Open: the first run, in ns
}

// Sample is the fastest of some blocks of runs, one behind the other.
type Sample struct {
	ID   int     `json:"id"`
	NS   float64 `json:"ns"`   // a run
	Runs int     `json:"runs"` // all of them, with those before the clock started
}

// Main serves requests until standard input ends. The file that os.Args[1] names
// receives the number of the candidate at work before each of its runs: it says
// whose fault it was when the process does not come back.
func Main(kernels runtime.Set) {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: worker MARKER")
		os.Exit(2)
	}
	marker, err := os.OpenFile(os.Args[1], os.O_WRONLY, 0)
	if err == nil {
		goruntime.LockOSThread()
		pin()
		debug.SetGCPercent(-1)
		err = (&server{kernels: kernels, marker: marker}).serve(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type server struct {
	kernels runtime.Set
	marker  *os.File
	answers *json.Encoder

	contenders map[int]*contender
	before     map[string]*contender // by path, of the last Open
	operands   map[string][]operands // of all contenders of a shape
	block      int64
	other      []byte // see evict
	chain      uint64 // what must not be left out, see cycle and evict
}

func (s *server) serve(in io.Reader, out io.Writer) error {
	s.answers = json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var r Request
		err := json.Unmarshal(lines.Bytes(), &r)
		end := Answer{End: true, Clock: clockName}
		switch {
		case err != nil:
			end.Err = err.Error()
		case r.Gate != nil:
			err = s.each(r.Gate.Files, func(f File) Result { return s.gate(r.Gate, f) })
		case r.Open != nil:
			s.reopen(r.Open)
			goruntime.GC()
			s.block = r.Open.Block
			err = s.each(r.Open.Files, func(f File) Result { return s.open(r.Open, f) })
		case r.Round != nil:
			end.Samples, err = s.round(r.Round)
			if err != nil {
				end.Err, err = err.Error(), nil
			}
		case r.Cycle:
			end.Cycle = s.cycle()
		}
		if err != nil && end.Err == "" {
			return err
		}
		if err := s.answers.Encode(end); err != nil {
			return err
		}
	}
	s.close()
	return lines.Err()
}

// each answers for every file.
func (s *server) each(files []File, do func(File) Result) error {
	for _, f := range files {
		if err := s.mark(f.ID); err != nil {
			return err
		}
		r := faultsAsErrors(f, do)
		if err := s.answers.Encode(Answer{Result: &r}); err != nil {
			return err
		}
	}
	return s.mark(-1)
}

// mark notes who is at work.
func (s *server) mark(id int) error {
	_, err := s.marker.WriteAt(fmt.Appendf(nil, "%8d", id), 0)
	return err
}

// faultsAsErrors makes a fault of a kernel an error of its candidate, where that can be.
func faultsAsErrors(f File, do func(File) Result) (r Result) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			r = Result{ID: f.ID, Err: fmt.Sprint(p)}
		}
	}()
	return do(f)
}

func (s *server) round(r *Round) ([]Sample, error) {
	made := false
	for _, id := range r.Order {
		c := s.contenders[id]
		if c == nil {
			return nil, fmt.Errorf("candidate %d is not open", id)
		}
		if len(c.sessions) < r.Copies { // they run
			made = true
			if err := s.mark(id); err != nil {
				return nil, err
			}
		}
		if err := c.copies(r.Copies, r.Cold); err != nil {
			return nil, err
		}
	}
	if made && r.Cold {
		s.evict(r.Cache)
	}
	samples := make([]Sample, 0, len(r.Order))
	for _, id := range r.Order {
		c := s.contenders[id]
		if err := s.mark(id); err != nil {
			return nil, err
		}
		sample, err := c.sample(s.block, r.Long, r.Cold)
		if err != nil {
			return nil, err
		}
		sample.ID = id
		samples = append(samples, sample)
	}
	return samples, s.mark(-1)
}

// evict goes through more memory than a cache of n bytes holds. It reads: what it leaves in the cache
// must not have to be written back while others are timed.
func (s *server) evict(n int) {
	if len(s.other) != 3*n {
		s.other = make([]byte, 3*n)
		for i := 0; i < len(s.other); i += 64 {
			s.other[i] = 1 // or all pages may be one
		}
	}
	for i := 0; i < len(s.other); i += 64 {
		s.chain += uint64(s.other[i])
	}
}

// reopen closes the contenders, but for the copies of those that are asked for again.
func (s *server) reopen(o *Open) {
	s.before = map[string]*contender{}
	for _, c := range s.contenders {
		if !o.Elsewhere && slices.ContainsFunc(o.Files, func(f File) bool { return f.Path == c.path }) && s.before[c.path] == nil {
			c.rest()
			s.before[c.path] = c
		} else {
			c.close()
		}
	}
	s.contenders, s.operands = map[int]*contender{}, map[string][]operands{}
}

func (s *server) close() {
	for _, c := range s.contenders {
		c.close()
	}
	s.contenders = nil
}
