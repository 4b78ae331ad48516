package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// plain is Ours in plain Go: rows of non-zeros, and for "dense" all elements.
type plain struct{ wrong bool }

func (plain) Library() string { return "plain Go" }

func (plain) Tune([]Case, uint64, string, io.Writer) error { return nil }
func (plain) UseRecords(folder string) error               { return fmt.Errorf("%s has no records", folder) }
func (plain) Untuned() Ours                                { return nil }

func (o plain) Prepare(w []float32, out, in int, pattern string, layout peers.Layout, batch int) (OursRunner, error) {
	r := &plainRunner{p: peers.Problem{Out: out, In: in, Batch: batch, Layout: layout}, pattern: pattern, wrong: o.wrong}
	for i, v := range w {
		if v != 0 || pattern == "dense" {
			r.at, r.w = append(r.at, i), append(r.w, v)
		}
	}
	return r, nil
}

type plainRunner struct {
	p       peers.Problem
	pattern string
	at      []int // index in [out, in]
	w       []float32
	wrong   bool
}

func (r *plainRunner) Run(x, y []float32) {
	clear(y)
	for i, at := range r.at {
		o, k := at/r.p.In, at%r.p.In
		for b := range r.p.Batch {
			if r.p.Layout == peers.FeatureMajor {
				y[o*r.p.Batch+b] += r.w[i] * x[k*r.p.Batch+b]
			} else {
				y[b*r.p.Out+o] += r.w[i] * x[b*r.p.In+k]
			}
		}
	}
	if r.wrong {
		y[0]++
	}
}

func (r *plainRunner) Describe() string { return "rows of " + r.pattern }
func (r *plainRunner) Bytes() int64     { return int64(12 * len(r.w)) }
func (r *plainRunner) Close()           {}
func (r *plainRunner) Variants() []Variant {
	return []Variant{{"same again", r}}
}

func TestRunWritesTableReportAndFloors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	var out, progress bytes.Buffer
	code := run([]string{"-dlmc", "none", "-rounds", "1", "-budget", "0", "-variants", "-json", path,
		"-run", `1024x1024@49/(dense|unstructured@90)|linear/384x1536/b8/(dense|nm\(2,4\))`}, &out, &progress, plain{})
	require.Equal(t, ok, code, progress.String())
	require.Contains(t, progress.String(), "[2/2] linear/384x1536/b8: 2 cases")
	for _, want := range []string{
		"mobilenet/1024x1024@49/unstructured@90", "linear/384x1536/b8/nm(2,4)", "xnnpack-spmm", "ours:same-again",
		"rows of nm(2,4)", "2:4, batch 8, vs best dense", "not measured",
	} {
		require.Contains(t, out.String(), want)
	}

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var report Report
	require.NoError(t, json.Unmarshal(data, &report))
	require.Equal(t, schema, report.Schema)
	require.Len(t, report.Results, 4)
	for _, r := range report.Results {
		sparse := r.Pattern != "dense"
		require.Equal(t, sparse, r.Density < 1, r.Name)
		for _, e := range r.Contenders {
			require.Empty(t, e.Error, "%s %s", r.Name, e.Name)
			require.Positive(t, e.Micros.Median)
			require.LessOrEqual(t, e.Micros.P10, e.Micros.P90)
			require.LessOrEqual(t, e.ErrorShare, 1.0)
			if e.Name == oursName && sparse {
				require.Equal(t, 1.0, *e.SkipsZeros)
			}
		}
	}
	require.Len(t, report.Floors, len(floors))
}

// A contender with a wrong result gets no time, and the run fails.
func TestRunRejectsWrongResults(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"-dlmc", "none", "-rounds", "1", "-budget", "0", "-run", `linear/384x1536/b8/nm\(2,4\)`}, &out, &errs, plain{wrong: true})
	require.Equal(t, findings, code)
	require.Contains(t, out.String(), "FAILED")
	require.Contains(t, errs.String(), "linear/384x1536/b8/nm(2,4): ours: wrong result: feature 0, batch 0:")
}

func TestFloorsFlagSetsTheExitCode(t *testing.T) {
	args := []string{"-dlmc", "none", "-rounds", "1", "-budget", "0", "-run", `linear/384x1536/b8/nm\(2,4\)`}
	var out, errs bytes.Buffer
	require.Equal(t, ok, run(args, &out, &errs, plain{}))
	require.Equal(t, findings, run(append(args, "-floors"), &out, &errs, plain{}))
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-run (", "error parsing regexp"},
		{"-run nothing-of-this-name", "no case matches"},
		{"-rounds 0", "-rounds 0: want 1 to"},
		{"-block 1us", "want at least 50µs"},
		{"-pool 0", "-pool 0: want 1"},
		{"extra", `unexpected argument "extra"`},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, usage, run(append([]string{"-dlmc", "none"}, strings.Fields(c.args)...), &out, &errs, nil), c.args)
		require.Contains(t, errs.String(), c.want)
	}
}

func TestColdCasesRotateCopies(t *testing.T) {
	cases, err := grid("none")
	require.NoError(t, err)
	for _, g := range groups(cases) {
		if g.cases[0].shape() != "linear/384x1536/b1-cold" {
			continue
		}
		require.NoError(t, peers.Pin())
		small := &group{g.cases[:2]} // dense, nm(2,4)
		results, err := small.race(plain{}, settings{Rounds: 1, Block: 1, PoolBytes: 5 << 20, Seed: 1})
		require.NoError(t, err)
		for _, e := range results[1].Contenders {
			require.Empty(t, e.Error)
			require.GreaterOrEqual(t, int64(e.Copies)*e.Bytes, int64(5<<20), e.Name)
			require.Less(t, int64(e.Copies-1)*e.Bytes, int64(5<<20), e.Name)
		}
		return
	}
	t.Fatal("the grid has no cold case of that shape")
}

// TestFirstRunsWereTimed: in cold cases, a contender has about as many copies as timed runs, and many of these were the
// first run of theirs, which prepares for its batch.
func TestFirstRunsWereTimed(t *testing.T) {
	p := peers.Problem{Out: 8, In: 16, Batch: 1, Layout: peers.TokenMajor}
	w, err := drawWeights(rngFor("first", 1), dense, p.Out, p.In)
	require.NoError(t, err)
	a := &arena{p: p}
	a.x, err = peers.NewBuffer(p.In)
	require.NoError(t, err)
	defer a.x.Free()
	a.y, err = peers.NewBuffer(p.Out)
	require.NoError(t, err)
	defer a.y.Free()
	values(rngFor("first", 2), a.x.Data)
	var made []*counted
	c := a.enter(source{oursName, func() (peers.Runner, error) {
		r, err := plain{}.Prepare(w, p.Out, p.In, dense.Spec, p.Layout, p.Batch)
		made = append(made, &counted{OursRunner: r})
		return made[len(made)-1], err
	}}, "", w, newReference(w, a.x.Data, p), 10*12*int64(len(w)))
	require.NoError(t, c.err)
	require.Len(t, made, 10)
	for i, r := range made {
		require.Positive(t, r.runs, "copy %d", i)
	}
}

// counted counts its runs.
type counted struct {
	OursRunner
	runs int
}

func (c *counted) Run(x, y []float32) {
	c.runs++
	c.OursRunner.Run(x, y)
}

func TestReportIsReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.json")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o644))
	bad := &Report{Floors: []Verdict{{Geomean: math.NaN()}}} // JSON has no NaN
	require.Error(t, bad.write(path))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(data))
	require.NoError(t, (&Report{Schema: schema}).write(path))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
}

// crowd does its work on another thread, where the clock does not see it.
type crowd struct{ plain }

func (c crowd) Prepare(w []float32, out, in int, pattern string, layout peers.Layout, batch int) (OursRunner, error) {
	r, err := c.plain.Prepare(w, out, in, pattern, layout, batch)
	return crowdRunner{r}, err
}

type crowdRunner struct{ OursRunner }

func (r crowdRunner) Run(x, y []float32) {
	done := make(chan struct{})
	go func() { r.OursRunner.Run(x, y); close(done) }()
	<-done
}

func TestRunRefusesOtherThreads(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"-dlmc", "none", "-rounds", "1", "-budget", "0", "-run", `linear/384x1536/b8/nm\(2,4\)`}, &out, &errs, crowd{})
	require.Equal(t, findings, code)
	require.Contains(t, errs.String(), "linear/384x1536/b8/nm(2,4): ours: uses other threads")
}

// TestTunedNeedsRecords: plans do not silently fall back to the model.
func TestTunedNeedsRecords(t *testing.T) {
	var log bytes.Buffer
	require.Equal(t, usage, run([]string{"-tune"}, io.Discard, &log, plain{}))
	require.Contains(t, log.String(), "-tuned")
	log.Reset()
	require.Equal(t, usage, run([]string{"-quick", "-run", "linear/384x1536/b8/dense", "-dlmc", "", "-tune", "-tuned", "empty"}, io.Discard, &log, plain{}))
	require.Contains(t, log.String(), "empty has no records")
	g, err := newGenerated()
	require.NoError(t, err)
	require.ErrorContains(t, g.UseRecords(t.TempDir()), "has no records of")
}
