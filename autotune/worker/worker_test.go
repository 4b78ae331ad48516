package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// dense is a kernel for slabs of 16 rows and one token, written in Go.
func dense(y *float32, _ uintptr, x *float32, _ uintptr, w *float32, _ *byte, _ *uint32, k int, bias *float32, lo, hi float32, n int) {
	ys, xs, ws, bs := unsafe.Slice(y, 16*n), unsafe.Slice(x, k), unsafe.Slice(w, 16*k*n), unsafe.Slice(bias, 16*n)
	for i := range ys {
		acc := bs[i]
		for j, v := range xs {
			acc += float32(ws[i/16*16*k+j*16+i%16] * v)
		}
		ys[i] = min(max(acc, lo), hi)
	}
}

// wrong is dense with another last element.
func wrong(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, m *byte, c *uint32, k int, bias *float32, lo, hi float32, n int) {
	dense(y, ldy, x, ldx, w, m, c, k, bias, lo, hi, n)
	unsafe.Slice(y, 16*n)[16*n-1]++
}

// beyond is dense with a read behind the end of x.
func beyond(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, m *byte, c *uint32, k int, bias *float32, lo, hi float32, n int) {
	dense(y, ldy, x, ldx, w, m, c, k, bias, lo, hi, n)
	sink = unsafe.Slice(x, k+1)[k]
}

var sink float32

// serve answers requests with dense as the Go kernel and f as the one for AVX2.
func serve(t *testing.T, f runtime.LanesFunc, requests ...Request) []Answer {
	s := serving(t, f)
	var in, out bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, r := range requests {
		require.NoError(t, enc.Encode(r))
	}
	require.NoError(t, s.serve(&in, &out))
	var answers []Answer
	for dec := json.NewDecoder(&out); ; {
		var a Answer
		err := dec.Decode(&a)
		if err == io.EOF {
			return answers
		}
		require.NoError(t, err)
		answers = append(answers, a)
	}
}

// serving is the server with these kernels.
func serving(t *testing.T, f runtime.LanesFunc) *server {
	if goruntime.GOARCH != "amd64" || !runtime.AVX2.Available() {
		t.Skip("the levels of this machine are others")
	}
	key := runtime.KernelKey{Op: runtime.LanesDense, S: 16, NB: 1}
	marker, err := os.Create(filepath.Join(t.TempDir(), "marker"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, marker.Close()) })
	return &server{marker: marker, kernels: runtime.Set{Packing: 7, Kernels: []runtime.Kernel{
		{Key: key, ISA: runtime.Generic, Fn: runtime.LanesFunc(dense)}, {Key: key, ISA: runtime.AVX2, Fn: f},
	}}}
}

// model writes a packed dense layer.
func model(t *testing.T, out, in int, first float32) string {
	w := make([]float32, out*in)
	fill(w)
	w[0] = first
	v := sgp.Variant{BatchMin: 1, BatchMax: 8, Lanes: &sgp.Lanes{Kind: sgp.LanesDense, S: 16, W: w}}
	path := filepath.Join(t.TempDir(), "c.sgp")
	require.NoError(t, sgp.WriteFile(path, &sgp.Model{Fingerprint: 7, Layers: []sgp.Layer{{
		Name: "l", BatchMin: 1, BatchMax: 8, Values: []sgp.Value{{Name: "x", Dims: []int{0, in}}, {Name: "y", Dims: []int{0, out}}},
		Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: &sgp.Linear{Out: out, In: in, Variants: []sgp.Variant{v}}}},
	}}}))
	return path
}

func TestGate(t *testing.T) {
	gate := func(f runtime.LanesFunc) string {
		answers := serve(t, f, Request{Gate: &Gate{Files: []File{{ID: 5, Path: model(t, 32, 20, 1)}}, Batches: []int{1, 3, 9}, ISA: "avx2"}})
		require.Len(t, answers, 2)
		require.Equal(t, 5, answers[0].Result.ID)
		require.True(t, answers[1].End)
		return answers[0].Result.Err
	}
	require.Empty(t, gate(dense))
	require.Contains(t, gate(wrong), "batch 1: output 0, element 31 is ")
	require.Contains(t, gate(beyond), "fault", "a read behind the arguments is an error of the candidate, not the end of the process")
}

func TestRounds(t *testing.T) {
	a, b := model(t, 32, 20, 1), model(t, 32, 20, 2)
	answers := serve(t, dense,
		Request{Round: &Round{Order: []int{0}, Copies: 1}}, // nothing is open
		Request{Open: &Open{Files: []File{{0, a}, {1, b}, {2, a}, {3, filepath.Join(filepath.Dir(a), "none")}}, Batch: 2, ISA: "avx2", Block: 20000}},
		Request{Round: &Round{Order: []int{1, 0, 0, 2}, Copies: 3}},
		Request{Round: &Round{Order: []int{2, 1}, Copies: 40, Cold: true, Cache: 1 << 16}},
		Request{Round: &Round{Order: []int{1}, Copies: 1}},
	)
	var ends []Answer
	var results []Result
	for _, a := range answers {
		if a.End {
			ends = append(ends, a)
		} else {
			results = append(results, *a.Result)
		}
	}
	require.Len(t, ends, 5)
	require.Equal(t, "candidate 0 is not open", ends[0].Err)
	require.Len(t, results, 4)
	require.Equal(t, results[0].Hash, results[2].Hash, "the same weights give the same bits")
	require.NotEqual(t, results[0].Hash, results[1].Hash)
	require.NotEmpty(t, results[3].Err)
	for i, order := range [][]int{{1, 0, 0, 2}, {2, 1}, {1}} {
		require.Empty(t, ends[2+i].Err)
		require.Equal(t, clockName, ends[2+i].Clock)
		var ids []int
		for _, s := range ends[2+i].Samples {
			ids = append(ids, s.ID)
			require.Positive(t, s.NS)
			require.Positive(t, s.Runs)
		}
		require.Equal(t, order, ids)
	}
}

// TestSamples: warm ones have one copy of the weights and are as long as they are to be; cold ones take each copy once; one block is a
// sample where nothing is said of its length.
func TestSamples(t *testing.T) {
	s := serving(t, dense)
	path := model(t, 32, 20, 1)
	o := &Open{Batch: 1, ISA: "avx2"}
	s.reopen(o)
	require.Empty(t, s.open(o, File{0, path}).Err)
	defer s.close()
	c := s.contenders[0]
	require.NoError(t, c.copies(5, false))

	const long = 300_000
	sample, err := c.sample(20_000, long, false)
	require.NoError(t, err)
	require.Equal(t, 1, c.next)
	require.GreaterOrEqual(t, sample.NS*float64(sample.Runs), 0.1*long, "the fastest block, times all runs")
	require.Greater(t, sample.Runs, 2)

	_, err = c.sample(20_000, 0, false)
	require.NoError(t, err)
	require.Equal(t, 2, c.next)

	c.runs = 1
	sample, err = c.sample(1, 1<<60, true)
	require.NoError(t, err)
	require.Equal(t, coldBlocks, sample.Runs)
	require.Equal(t, (2+coldBlocks)%5, c.next)
	require.NoError(t, c.copies(3, false))
	sample, err = c.sample(1, 1<<60, true)
	require.NoError(t, err)
	require.Equal(t, 3, sample.Runs, "no copy twice")

	c.runs = 7
	sample, err = c.sample(1, 0, false)
	require.NoError(t, err)
	require.Equal(t, 7, sample.Runs)
	sample, err = c.sample(1, 1, false)
	require.NoError(t, err)
	require.Equal(t, 14, sample.Runs, "two blocks at least")
}

// TestFirstRunsWereSamples: a session's first run, which prepares for its batch, was timed: of copies whose runs are cold
// each has hardly more than one.
func TestFirstRunsWereSamples(t *testing.T) {
	at := map[*float32]int{} // calls, by where the weights are
	s := serving(t, func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, m *byte, c *uint32, k int, bias *float32, lo, hi float32, n int) {
		at[w]++
		dense(y, ldy, x, ldx, w, m, c, k, bias, lo, hi, n)
	})
	defer s.close()
	path := model(t, 32, 20, 1)
	for _, batch := range []int{1, 2} { // the second one is on copies of the first
		o := &Open{Files: []File{{0, path}}, Batch: batch, ISA: "avx2"}
		s.reopen(o)
		require.Empty(t, s.open(o, o.Files[0]).Err)
		clear(at)
		c := s.contenders[0]
		require.NoError(t, c.copies(5, false))
		require.Len(t, at, 4, "of the first one the output was compared")
		require.NoError(t, c.copies(3, false))
		require.NoError(t, c.copies(5, false))
		require.Len(t, at, 4)
		for _, calls := range at {
			require.Equal(t, batch, calls, "one a token")
		}
	}
}

// TestSessionsShareLargeCopies: two sessions of large weights share a copy, unless these are to come from memory; each has one of
// its own of small ones.
func TestSessionsShareLargeCopies(t *testing.T) {
	if !sgp.Copies(1 << 20) {
		t.Skip("this system has no large pages for weights")
	}
	for _, c := range []struct {
		in     int
		cold   bool
		copies int
	}{{512, false, 3}, {512, true, 5}, {32, false, 5}} {
		at := map[*float32]bool{}
		s := serving(t, func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, m *byte, c *uint32, k int, bias *float32, lo, hi float32, n int) {
			at[w] = true
			dense(y, ldy, x, ldx, w, m, c, k, bias, lo, hi, n)
		})
		o := &Open{Files: []File{{0, model(t, c.in, 512, 1)}}, Batch: 1, ISA: "avx2"}
		s.reopen(o)
		require.Empty(t, s.open(o, o.Files[0]).Err)
		calls := len(at)
		require.NoError(t, s.contenders[0].copies(5, c.cold))
		require.Len(t, s.contenders[0].sessions, 5)
		require.Len(t, at, c.copies*calls)
		s.close()
	}
}

// TestReopened: a candidate that is opened again, at another batch or with other weights
// in its file, computes what one that was opened for the first time does.
func TestReopened(t *testing.T) {
	a, b := model(t, 32, 20, 1), model(t, 32, 20, 2)
	other, err := os.ReadFile(b)
	require.NoError(t, err)
	open := func(batch int, elsewhere bool, paths ...string) Request {
		o := &Open{Batch: batch, ISA: "avx2", Block: 1000, Elsewhere: elsewhere}
		for i, p := range paths {
			o.Files = append(o.Files, File{i, p})
		}
		return Request{Open: o}
	}
	round := Request{Round: &Round{Order: []int{0}, Copies: 5}}
	hashes := func(requests ...Request) (all []string) {
		for _, a := range serve(t, dense, requests...) {
			if r := a.Result; r != nil {
				require.Empty(t, r.Err)
				all = append(all, r.Hash)
			}
			require.Empty(t, a.Err)
		}
		return all
	}
	once := hashes(open(1, false, a), open(3, false, b))
	again := hashes(open(3, false, a, b), round, open(1, false, b, a), round, open(3, true, b, a))
	require.Equal(t, once[0], again[3])
	require.Equal(t, once[1], again[1])
	require.Equal(t, again[:2], []string{again[5], again[4]})

	s := serving(t, dense)
	o := open(1, false, a, b).Open
	s.reopen(o)
	first, second := s.open(o, o.Files[0]), s.open(o, o.Files[1])
	require.NotEqual(t, first.Hash, second.Hash)
	require.NoError(t, os.WriteFile(a, other, 0o666))
	s.reopen(o)
	require.Len(t, s.before, 2)
	require.Equal(t, second.Hash, s.open(o, o.Files[0]).Hash, "by what is in the file, not by its name")
	s.close()
}

func TestRequestsThatAreNone(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, (&server{}).serve(strings.NewReader("{\n[]\n"), &out))
	require.Equal(t, 2, strings.Count(out.String(), `"err":`), fmt.Sprint(out.String()))
}
