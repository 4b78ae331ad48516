package autotune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// fake is a bench without a process: a candidate's time is a function of its
// packed form.
type fake struct {
	t      *testing.T
	ns     func(v sgp.Variant) float64
	broken func(v sgp.Variant) error // of one that crashes when it is opened
	stop   int                       // rounds after which the bench fails; 0: none
	exact  bool                      // no noise
	rng    *rand.Rand

	open_  map[int]float64
	rounds int
	gated  int
}

var errStop = errors.New("killed")

func (f *fake) variant(path string) sgp.Variant {
	m, err := sgp.Open(path)
	require.NoError(f.t, err)
	defer m.Close()
	return m.Model.Layers[0].Ops[0].Linear.Variants[0]
}

func (f *fake) gate(_ context.Context, g worker.Gate) (rs []worker.Result, err error) {
	f.gated += len(g.Files)
	for _, file := range g.Files {
		rs = append(rs, worker.Result{ID: file.ID})
	}
	return rs, nil
}

func (f *fake) open(_ context.Context, o worker.Open) (rs []worker.Result, err error) {
	f.open_ = map[int]float64{}
	for _, file := range o.Files {
		v := f.variant(file.Path)
		if f.broken != nil {
			if err := f.broken(v); err != nil {
				return nil, &crash{file.ID, err.Error()}
			}
		}
		f.open_[file.ID] = f.ns(v)
		rs = append(rs, worker.Result{ID: file.ID, Hash: "same"})
	}
	return rs, nil
}

func (f *fake) round(_ context.Context, r worker.Round) (ss []worker.Sample, err error) {
	if f.stop > 0 && f.rounds >= f.stop {
		return nil, errStop
	}
	f.rounds++
	for _, id := range r.Order {
		noise := 0.01 * f.rng.ExpFloat64()
		if f.exact {
			noise = 0
		}
		ss = append(ss, worker.Sample{ID: id, NS: f.open_[id] * (1 + noise), Runs: 3})
	}
	return ss, nil
}

// cycle is that of two gigahertz.
func (f *fake) cycle(context.Context) (float64, error) { return 0.5, nil }

func (f *fake) close() error { return nil }

// linearOf is an op with a random matrix of a pattern.
func linearOf(t *testing.T, layer, pattern string, out, in, from, to int) Linear {
	p, err := patterns.Parse(pattern)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(uint64(out), uint64(in)))
	m := patterns.NewMatrix(out, in)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	mask, err := p.Prune(m)
	require.NoError(t, err)
	return Linear{
		Layer: layer, Tensor: layer + ".weight", Matrix: m, Mask: mask,
		Problem: codegen.Problem{Out: out, In: in, BatchMin: from, BatchMax: to, TokenMajor: true, Levels: p.Levels(out, in)},
	}
}

// preferPanels is the time of panels of four rows, a third of all others'.
func preferPanels(v sgp.Variant) float64 {
	if v.Panel != nil && v.Panel.Segments[0].MR == 4 && v.Panel.KB == 96 {
		return 1000
	}
	return 3000
}

// tuned runs a tuning with a fake bench and gives what was noted.
func tuned(t *testing.T, dir string, b *fake, o Options, linears ...Linear) (*Summary, []string, error) {
	var notes []string
	b.t, b.rng = t, rand.New(rand.NewPCG(4, 4))
	if b.ns == nil {
		b.ns = preferPanels
	}
	o.Dir, o.ISA, o.Levels = dir, runtime.AVX2, []runtime.ISA{runtime.AVX2}
	o.Note = func(line string) { notes = append(notes, line) }
	env := Machine()
	env.Microarch = "test-1"
	require.NoError(t, (&Calibration{ISA: "avx2", Clock: 2, Machine: env}).save(dir, runtime.AVX2)) // nothing is to be measured
	tn := &tuner{Options: o, env: env, bench: b, worker: "fake", room: shelfBytes, now: func() time.Time { return time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC) }}
	sum, err := tn.run(context.Background(), linears)
	return sum, notes, err
}

func read(t *testing.T, dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, "test-1", name))
	require.NoError(t, err)
	return string(text)
}

func TestTunedPlanFollowsTheRace(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 8, 16)
	sum, notes, err := tuned(t, dir, &fake{}, Options{}, l, l)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, []int{2, 2}, []int{sum.Problems, sum.Tuned}, "two equal layers are two batches")
	records := Load(dir)
	require.Empty(t, records.Notes)
	require.NoFileExists(t, filepath.Join(dir, "test-1", ".journal.jsonl"))

	lookup := NewLookup(records, "test-1")
	f := lookup.Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2)
	require.Equal(t, Exact, f.Source)
	require.Equal(t, 4, f.Measured[0].Config.MR)
	require.GreaterOrEqual(t, f.Measured[0].Config.KB, 96, "of 96 columns")
	require.Contains(t, records.Configs(l.Problem, []runtime.ISA{runtime.AVX2}), f.Measured[0].Config)

	// Nothing is measured again, and what is written is the same.
	before := read(t, dir, "linear.jsonl")
	b := &fake{}
	sum, _, err = tuned(t, dir, b, Options{}, l)
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 0}, []int{sum.Problems, sum.Known, b.rounds})
	require.Equal(t, before, read(t, dir, "linear.jsonl"))
}

// TestStoppedTuningGoesOn: whenever a tuning is stopped, the next one measures only
// what is missing, and finds what one without a stop finds.
func TestStoppedTuningGoesOn(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 64, 8, 16)
	whole := &fake{exact: true}
	dir := t.TempDir()
	_, _, err := tuned(t, dir, whole, Options{}, l)
	require.NoError(t, err)
	for _, stop := range []int{1, 9, 20} {
		dir := t.TempDir()
		first := &fake{exact: true, stop: stop}
		_, _, err := tuned(t, dir, first, Options{}, l)
		require.ErrorIs(t, err, errStop)
		require.Equal(t, stop, first.rounds)
		// A process that is killed may leave half a line.
		f, err := os.OpenFile(filepath.Join(dir, "test-1", ".journal.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString(`{"round":[{"Entrant":0,"NS":1`)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		second := &fake{exact: true}
		sum, notes, err := tuned(t, dir, second, Options{}, l)
		require.NoError(t, err)
		require.Empty(t, notes)
		require.Equal(t, whole.rounds-stop, second.rounds, "stopped after %d", stop)
		require.Equal(t, 2, sum.Tuned+sum.Known)
	}
}

// panels is the time of panels of four rows over 64 columns, and of such over all 96, 3000 of all others.
func panels(kb64, kb96 float64) func(v sgp.Variant) float64 {
	return func(v sgp.Variant) float64 {
		if v.Panel == nil || v.Panel.Segments[0].MR != 4 || v.Panel.Segments[0].Kind != sgp.Step {
			return 3000
		}
		switch v.Panel.KB {
		case 64:
			return kb64
		case 96:
			return kb96
		}
		return 3000
	}
}

// TestTunedAgainTheChoiceStays: unless another is faster beyond doubt, the default among them. What is said of the default is
// measured anew.
func TestTunedAgainTheChoiceStays(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 16, 16)
	again := func(kb64, kb96 float64, changed int) Record {
		sum, notes, err := tuned(t, dir, &fake{ns: panels(kb64, kb96), exact: true}, Options{Again: true}, l)
		require.NoError(t, err)
		require.Empty(t, notes)
		require.Equal(t, []int{1, changed}, []int{sum.Tuned, sum.Changed})
		return Load(dir).All("test-1")[0]
	}
	const kb64, kb96 = "panelStep mr=4 kb=64", "panelStep mr=4 kb=96"
	rec := again(1000, 1005, 1)
	require.Equal(t, []string{kb64, ""}, []string{rec.Config, rec.Before})
	require.NotContains(t, []string{kb64, kb96}, rec.Default)

	rec = again(1000, 995, 0) // which is too little
	require.Equal(t, []string{kb64, kb64}, []string{rec.Config, rec.Before})
	require.InDelta(t, 2./3, rec.Gain, 1e-4)
	require.Less(t, rec.P, significance)
	i := slices.IndexFunc(rec.Timings, func(e Entry) bool { return e.Config == rec.Default })
	require.Equal(t, rec.chosen().Samples, rec.Timings[i].Samples, "the default runs in every round")

	rec = again(1000, 950, 1)
	require.Equal(t, []string{kb96, kb64}, []string{rec.Config, rec.Before})
	require.InDelta(t, 1-950./3000, rec.Gain, 1e-4)

	rec = again(3010, 3015, 0) // slower than the default, but not by what counts
	require.Equal(t, []string{kb96, kb96}, []string{rec.Config, rec.Before})
	require.InDelta(t, -15./3000, rec.Gain, 1e-4)
	require.InDelta(t, 1, rec.P, 1e-4)

	rec = again(3100, 3100, 1)
	require.Equal(t, []string{rec.Default, kb96}, []string{rec.Config, rec.Before})
	require.Zero(t, rec.Gain)
	rec = again(3100, 3100, 0)
	require.Equal(t, []string{rec.Default, ""}, []string{rec.Config, rec.Before})
}

// TestTunedAgainWithoutWhatHolds: a record that is stale or provisional has its choice take part, and no more.
func TestTunedAgainWithoutWhatHolds(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 16, 16)
	for _, spoil := range []func(*Record){
		func(r *Record) { r.Kernels = "other" },
		func(r *Record) { r.Provisional = true },
	} {
		dir := t.TempDir()
		_, _, err := tuned(t, dir, &fake{ns: panels(1000, 1005), exact: true}, Options{}, l)
		require.NoError(t, err)
		rec := Load(dir).All("test-1")[0]
		spoil(&rec)
		require.NoError(t, Load(dir).Save(rec))
		_, _, err = tuned(t, dir, &fake{ns: panels(1000, 995), exact: true}, Options{Again: true}, l)
		require.NoError(t, err)
		now := Load(dir).All("test-1")[0]
		require.Equal(t, []string{"panelStep mr=4 kb=96", ""}, []string{now.Config, now.Before})
	}
}

// TestStoppedTuningAgainGoesOn: what was measured anew before a stop is not measured once more, though its record has another
// choice by then.
func TestStoppedTuningAgainGoesOn(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 8, 16)
	first := func() string {
		dir := t.TempDir()
		_, _, err := tuned(t, dir, &fake{ns: panels(1000, 1005), exact: true}, Options{}, l)
		require.NoError(t, err)
		return dir
	}
	whole, dir := &fake{ns: panels(1000, 900), exact: true}, first()
	_, _, err := tuned(t, dir, whole, Options{Again: true}, l)
	require.NoError(t, err)
	want := Load(dir).All("test-1")
	for stop := 1; stop < whole.rounds; stop += 11 {
		dir := first()
		_, _, err := tuned(t, dir, &fake{ns: panels(1000, 900), exact: true, stop: stop}, Options{Again: true}, l)
		require.ErrorIs(t, err, errStop)
		rest := &fake{ns: panels(1000, 900), exact: true}
		_, notes, err := tuned(t, dir, rest, Options{Again: true}, l)
		require.NoError(t, err)
		require.Empty(t, notes)
		require.Equal(t, whole.rounds-stop, rest.rounds, "stopped after %d", stop)
		for i, rec := range Load(dir).All("test-1") {
			require.Equal(t, []string{want[i].Config, want[i].Before}, []string{rec.Config, rec.Before}, "stopped after %d", stop)
		}
	}
}

// TestRefusedRaceStartsAnew: what was too noisy is not taken from the journal by the
// next tuning.
func TestRefusedRaceStartsAnew(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 64, 16, 16)
	other := linearOf(t, "out", "unstructured(sparsity=0.8)", 64, 64, 16, 16)
	opened := 0
	noisy := &fake{ns: func(v sgp.Variant) float64 { opened++; return 1000 * math.Pow(1.1, float64(opened%16)) }, stop: 12 + 13*mostPlayoff + 10}
	_, notes, err := tuned(t, dir, noisy, Options{}, l, other)
	require.ErrorIs(t, err, errStop, "in the last sitting of the other")
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "which is too much for a record")
	quiet := &fake{}
	sum, notes, err := tuned(t, dir, quiet, Options{}, l)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, 1, sum.Tuned)
	require.GreaterOrEqual(t, quiet.rounds, 6, "none of them was there")
}

// TestTornJournals: a journal cut at any byte is read as far as it goes.
func TestTornJournals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m", ".journal.jsonl")
	j, err := openJournal(path)
	require.NoError(t, err)
	p := Problem{Op: "linear", Out: 3}
	require.NoError(t, j.begin(p, "w", []string{"a", "b"}))
	for i := range 3 {
		require.NoError(t, j.round([]Sample{{0, float64(i + 1), 2}}))
	}
	require.NoError(t, j.close(false))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range len(text) + 1 {
		require.NoError(t, os.WriteFile(path, text[:n], 0o666))
		j, err := openJournal(path)
		require.NoError(t, err)
		rounds := j.behind(p, "w", []string{"a", "b"})
		require.NoError(t, j.begin(p, "w", []string{"a", "b"}))
		require.Len(t, rounds, max(strings.Count(string(text[:n]), "\n")-1, 0), "cut at %d", n)
		require.NoError(t, j.close(false))
		again, err := openJournal(path)
		require.NoError(t, err)
		require.Len(t, again.races[p].rounds, len(rounds))
		require.NoError(t, again.close(false))
	}
	// Another program, or other candidates, make another race.
	for _, c := range []struct {
		worker   string
		entrants []string
	}{{"v", []string{"a", "b"}}, {"w", []string{"a"}}} {
		require.NoError(t, os.WriteFile(path, text, 0o666))
		j, err := openJournal(path)
		require.NoError(t, err)
		require.Empty(t, j.behind(p, c.worker, c.entrants))
		require.NoError(t, j.close(true))
		require.NoFileExists(t, path)
	}
}

// TestCrashIsABug: a candidate that takes the process down is left out, with a line
// that says what to report; the race goes on without it.
func TestCrashIsABug(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 16, 16)
	b := &fake{broken: func(v sgp.Variant) error {
		if preferPanels(v) == 1000 && v.Panel.Segments[0].Kind == sgp.Grouped {
			return fmt.Errorf("signal: illegal instruction")
		}
		return nil
	}}
	sum, notes, err := tuned(t, dir, b, Options{}, l)
	require.NoError(t, err)
	require.Len(t, sum.Bugs, 1)
	require.Equal(t, sum.Bugs, notes)
	require.Contains(t, notes[0], `a bug in sparsegen: layer ffn, "ffn.weight" [64, 96], list, density 0.2, panelGrouped mr=4 kb=96 for avx2: signal: illegal instruction`)
	require.Equal(t, 1, sum.Tuned)
	require.NotContains(t, read(t, dir, "linear.jsonl"), "panelGrouped mr=4 kb=96")
}

func TestBudgetEndsATuning(t *testing.T) {
	dir := t.TempDir()
	ls := []Linear{
		linearOf(t, "a", "unstructured(sparsity=0.8)", 48, 64, 8, 16),
		linearOf(t, "b", "unstructured(sparsity=0.8)", 64, 64, 8, 16),
	}
	var notes []string
	b := &fake{t: t, ns: preferPanels, rng: rand.New(rand.NewPCG(4, 4))}
	clock := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	tn := &tuner{
		Options: Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}, Budget: 3 * time.Second, Note: func(s string) { notes = append(notes, s) }},
		env:     Environment{Microarch: "test-1"}, bench: b, worker: "fake",
		now: func() time.Time { clock = clock.Add(time.Second); return clock },
	}
	sum, err := tn.run(context.Background(), ls)
	require.NoError(t, err)
	require.Equal(t, 4, sum.Tuned+sum.Left)
	require.NotZero(t, sum.Tuned)
	require.NotZero(t, sum.Left)
	require.FileExists(t, filepath.Join(dir, "test-1", ".journal.jsonl"))
}
