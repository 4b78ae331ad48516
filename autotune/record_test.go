package autotune

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/internal/records"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// someRecord is a record of an op at a batch that this version takes for current.
func someRecord(t *testing.T, l Linear, batch int, microarch, config string) Record {
	c, err := codegen.ParseConfig(config)
	require.NoError(t, err)
	hash, err := NewLookup(Load(t.TempDir()), microarch).kernelHash(c, l.Problem.TokenMajor, runtime.AVX2)
	require.NoError(t, err)
	return Record{
		Problem: problemOf(l.Problem, l.Mask.Density(), batch, runtime.AVX2), Config: config, Default: config, P: 1, Quality: "ok",
		Timings: []Entry{{config, 100, 110, 58, 300}, {"panelStep mr=2 kb=64", 101.5, 112, 58, 250}, {"panelDense mr=4 kb=64", 140, 150, 4, 400}},
		Kernels: hash, Generator: generator(), Machine: Environment{Microarch: microarch},
	}
}

// TestLookupCascade: its own record, then the nearest shape on the same kind of
// machine, then another kind, then the model; never what is further than twice.
func TestLookupCascade(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 1, 64)
	double := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 128, 96, 1, 64)
	far := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 384, 96, 1, 64)
	blocks := linearOf(t, "ffn", "block(4,1,sparsity=0.8)", 64, 96, 1, 64)
	r := Load(dir)
	for _, rec := range []Record{
		someRecord(t, l, 16, "here", "panelStep mr=4 kb=96"),
		someRecord(t, double, 32, "here", "panelStep mr=2 kb=48"),
		someRecord(t, far, 4, "here", "lanesDense s=16"),
		someRecord(t, l, 4, "there", "deltaTile s=8"),
	} {
		require.NoError(t, r.Save(rec))
	}
	r = Load(dir)
	require.Empty(t, r.Notes)
	require.Equal(t, []string{"here", "there"}, r.Machines())
	lookup := NewLookup(r, "here")
	find := func(l Linear, batch int) (Source, string) {
		f := lookup.Find(l.Problem, l.Mask.Density(), batch, runtime.AVX2)
		if len(f.Measured) == 0 {
			return f.Source, ""
		}
		return f.Source, f.Measured[0].Config.String()
	}
	for _, c := range []struct {
		l      Linear
		batch  int
		source Source
		config string
	}{
		{l, 16, Exact, "panelStep mr=4 kb=96"},
		{l, 8, Nearby, "panelStep mr=4 kb=96"},
		{l, 32, Nearby, "panelStep mr=4 kb=96"}, // and not the double's, which is as far
		{l, 64, Nearby, "panelStep mr=2 kb=48"},
		{double, 64, Nearby, "panelStep mr=2 kb=48"},
		{l, 4, OtherCPU, "deltaTile s=8"},
		{l, 1, Model, ""},
		{blocks, 16, Model, ""},
		{far, 16, Model, ""},
	} {
		source, config := find(c.l, c.batch)
		require.Equal(t, c.source, source, "batch %d", c.batch)
		require.Equal(t, c.config, config, "batch %d", c.batch)
	}
	// The rivals of an exact record come with their times, and those that left early do
	// not. Those of another shape come with what they say of the model's estimates.
	f := lookup.Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2)
	require.Len(t, f.Measured, 2)
	require.InDelta(t, 1.0181818181818181, f.Measured[1].Ratio, 1e-9)
	f = lookup.Find(l.Problem, l.Mask.Density(), 8, runtime.AVX2)
	require.Len(t, f.Measured, 3)
	for i, want := range []float64{1, 112.0 / 250 / (110.0 / 300), 150.0 / 400 / (110.0 / 300)} {
		require.InDelta(t, math.Pow(want, 0.75), f.Measured[i].Ratio, 1e-9) // half the batch is as far as may be
		require.True(t, f.Measured[i].Elsewhere)
		require.EqualValues(t, Nearby, f.Measured[i].From)
	}
}

// TestRecordsWithoutEstimates: they say nothing of other shapes.
func TestRecordsWithoutEstimates(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 1, 64)
	rec := someRecord(t, l, 16, "here", "panelStep mr=4 kb=96")
	for i := range rec.Timings {
		rec.Timings[i].Cycles = 0
	}
	require.NoError(t, Load(dir).Save(rec))
	lookup := NewLookup(Load(dir), "here")
	require.Equal(t, Exact, lookup.Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2).Source)
	require.Equal(t, Model, lookup.Find(l.Problem, l.Mask.Density(), 8, runtime.AVX2).Source)
}

// TestRecordsThatHoldNoLonger: a damaged line, a foreign, stale or illegal record is
// left out with one line that says why; what is beside it counts.
func TestRecordsThatHoldNoLonger(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 1, 64)
	good := someRecord(t, l, 16, "here", "panelStep mr=4 kb=96")
	line := func(change func(*Record)) string {
		rec := good
		change(&rec)
		text, err := json.Marshal(rec)
		require.NoError(t, err)
		return string(text)
	}
	for name, c := range map[string]struct {
		line string
		note string // of Load
		why  string // of Find
	}{
		"good":              {line(func(*Record) {}), "", ""},
		"torn":              {line(func(*Record) {})[:200], "not a record", ""},
		"conflict":          {"<<<<<<< ours", "not a record", ""},
		"wrong type":        {`{"op":7}`, "not a record", ""},
		"no problem":        {`{}`, "a record of no problem", ""},
		"other folder":      {line(func(r *Record) { r.Machine.Microarch = "there" }), `measured on "there"`, ""},
		"unknown form":      {line(func(r *Record) { r.Config = "panelRound mr=4" }), `no form "panelRound"`, ""},
		"no time":           {line(func(r *Record) { r.Timings = []Entry{{Config: good.Config}} }), "a time of 0 ns", ""},
		"no timings":        {line(func(r *Record) { r.Timings = nil }), "without timings", ""},
		"other kernels":     {line(func(r *Record) { r.Kernels = "x" + r.Kernels[1:] }), "", "stale: panelStep mr=4 kb=96 was measured with other kernels"},
		"other packer":      {line(func(r *Record) { r.Kernels = r.Kernels[:20] + "xxxxxxxxxxxxx" }), "", "stale"},
		"illegal":           {line(func(r *Record) { r.Config = "panelStep mr=7 kb=96" }), "", "no longer legal"},
		"form of another":   {line(func(r *Record) { r.Config = "panelBlock mr=4 kb=96" }), "", "no longer legal"},
		"too long to be so": {`{"op":"` + strings.Repeat("x", records.MaxLine+10) + `"}`, "token too long", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "here"), 0o777))
			other := line(func(r *Record) { r.Batch = 8 })
			require.NoError(t, os.WriteFile(filepath.Join(dir, "here", "linear.jsonl"), []byte(other+"\n\n"+c.line+"\n"), 0o666))
			r := Load(dir)
			if c.note == "" {
				require.Empty(t, r.Notes)
			} else {
				require.Len(t, r.Notes, 1)
				require.Contains(t, r.Notes[0], c.note)
				require.Contains(t, r.Notes[0], "linear.jsonl:3: ")
			}
			f := NewLookup(r, "here").Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2)
			if name == "good" {
				require.Equal(t, Exact, f.Source)
				return
			}
			require.Equal(t, Nearby, f.Source)
			if c.why == "" {
				require.Empty(t, f.Why)
			} else {
				require.Contains(t, f.Why, c.why)
			}
		})
	}
}

// TestStaleRecordsSeed: what a stale record chose races, though the model would
// leave it out, and the new record takes its place.
func TestStaleRecordsSeed(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 16, 16)
	const hopeless = "lanesDense s=16"
	old := someRecord(t, l, 16, "test-1", hopeless)
	old.Kernels = "0"
	require.NoError(t, Load(dir).Save(old))
	_, notes, err := tuned(t, dir, &fake{}, Options{}, l)
	require.NoError(t, err)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "stale")
	r := Load(dir)
	require.Len(t, r.All("test-1"), 1)
	rec := r.All("test-1")[0]
	require.NotEqual(t, hopeless, rec.Config)
	require.Equal(t, Exact, NewLookup(r, "test-1").Find(l.Problem, l.Mask.Density(), 16, runtime.AVX2).Source)
}

// TestRecordsMerge: one line a problem, in order, whatever the order of saving; of
// two lines for a problem, as a union merge leaves them, the later counts.
func TestRecordsMerge(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 1, 64)
	var texts []string
	for _, order := range [][]int{{8, 16, 32}, {32, 8, 16}} {
		dir := t.TempDir()
		r := Load(dir)
		for _, b := range order {
			require.NoError(t, r.Save(someRecord(t, l, b, "test-1", "panelStep mr=4 kb=96")))
		}
		texts = append(texts, read(t, dir, "linear.jsonl"))
	}
	require.Equal(t, texts[0], texts[1])
	require.Equal(t, 3, strings.Count(texts[0], "\n"))

	dir := t.TempDir()
	twice := texts[0] + strings.ReplaceAll(texts[0], `"config":"panelStep mr=4 kb=96","default"`, `"config":"panelStep mr=2 kb=96","default"`)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "test-1"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test-1", "linear.jsonl"), []byte(twice), 0o666))
	r := Load(dir)
	require.Empty(t, r.Notes)
	require.Len(t, r.All("test-1"), 3)
	for _, rec := range r.All("test-1") {
		require.Equal(t, "panelStep mr=2 kb=96", rec.Config)
	}
}

// FuzzRecords: no text makes reading records fail, and what is read is a record.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"op":"linear","out":1,"in":1,"batch":1,"config":"lanesDense s=16","machine":{"microarch":"m"},"timings":[{"config":"lanesDense s=16","min":1,"median":1}]}`))
	f.Add([]byte("{}\n[1,2]\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newRecords("")
		r.read("linear.jsonl", "m", text)
		for _, rec := range r.All("m") {
			require.NoError(t, rec.check("m"))
			require.NotEmpty(t, rec.chosen().Config)
			require.NotEmpty(t, rec.planned())
		}
	})
}

func TestDistance(t *testing.T) {
	p := Problem{Op: "linear", Out: 64, In: 64, Batch: 8, Density: 0.2, ISA: "avx2"}
	q := p
	require.Zero(t, p.distance(q))
	q.Batch, q.In = 16, 32
	require.Equal(t, 1.0, p.distance(q))
	q.Density = 0.05
	require.InDelta(t, 2.0, p.distance(q), 1e-12)
	q.Weights = "cold" // follows from the shape
	require.InDelta(t, 2.0, p.distance(q), 1e-12)
	q.ISA = "avx512"
	require.Greater(t, p.distance(q), 1e9)
	p.Density, q = 0, p
	q.Density = 0
	require.Zero(t, p.distance(q), "two empty matrices")
}

func TestTwoDigits(t *testing.T) {
	for x, want := range map[float64]float64{0.5: 0.5, 0.0984: 0.098, 1: 1, 0.00123: 0.0012, 0: 0} {
		require.Equal(t, want, twoDigits(x))
	}
}

// TestCheckFindsDrift: a committed choice that a rival beats by now is reported, one
// that still holds is not, and a stale record is reported without a race.
func TestCheckFindsDrift(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 16, 16)
	for name, c := range map[string]struct {
		change func(*Record)
		ns     func(sgp.Variant) float64
		drift  string
	}{
		"holds": {func(*Record) {}, func(v sgp.Variant) float64 {
			if v.Panel != nil && v.Panel.Segments[0].Kind == sgp.Step && v.Panel.Segments[0].MR == 4 {
				return 900
			}
			return 1000
		}, ""},
		"drifted": {func(*Record) {}, func(v sgp.Variant) float64 {
			if v.Panel != nil && v.Panel.Segments[0].Kind == sgp.Step && v.Panel.Segments[0].MR == 2 {
				return 900
			}
			return 1000
		}, "layer ffn, batch 16: panelStep mr=2 kb=64 is now "},
		"stale": {func(r *Record) { r.Kernels = "0" }, nil, "layer ffn, batch 16: the record is stale"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rec := someRecord(t, l, 16, "test-1", "panelStep mr=4 kb=96")
			c.change(&rec)
			require.NoError(t, Load(dir).Save(rec))
			before := read(t, dir, "linear.jsonl")
			b := &fake{t: t, ns: c.ns, rng: rand.New(rand.NewPCG(1, 2))}
			tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}})
			tn.env.Microarch, tn.bench, tn.worker = "test-1", b, "fake"
			drifts, checked, err := tn.check(context.Background(), []Linear{l, l})
			require.NoError(t, err)
			require.Equal(t, before, read(t, dir, "linear.jsonl"), "checking changes nothing")
			if c.drift == "" {
				require.Empty(t, drifts)
				require.Equal(t, 1, checked)
				return
			}
			require.NotEmpty(t, drifts)
			require.Contains(t, drifts[0].String(), c.drift)
		})
	}
}

// TestExplainSaysWhy: the race as a table, and what the rivals do more of.
func TestExplainSaysWhy(t *testing.T) {
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 64, 96, 1, 16)
	dir := t.TempDir()
	rec := someRecord(t, l, 16, "test-1", "panelStep mr=4 kb=96")
	rec.Default, rec.Gain, rec.P, rec.Raced, rec.Date = "panelDense mr=4 kb=64", 0.28, 1e-9, 31, "2026-11-25"
	require.NoError(t, Load(dir).Save(rec))
	var out strings.Builder
	require.NoError(t, Explain(&out, l, Load(dir), "test-1", codegen.Builtin(runtime.AVX2)))
	text := out.String()
	for _, want := range []string{
		"layer ffn, ffn.weight: [64, 96] list, 20.0% stored, avx2 on test-1\n",
		"\nbatch 1: no record; the cost model decides\n",
		"\nbatch 8: panelStep mr=4 kb=96, by the record of a similar shape: ",
		"\nbatch 16: panelStep mr=4 kb=96, warm weights, measured 2026-11-25, noise 0.0 %\n",
		"  of 31 candidates it takes 28.0 % less time than the plan without records, panelDense mr=4 kb=64 (sign test p = 1e-09)\n",
		"  panelDense mr=4 kb=64  0.14 µs  0.15 µs  1.40×          4        25 kB   multiply-adds, 6144 cycles\n",
		"  why: panelStep mr=4 kb=96 is bound by multiply-adds, at least ",
	} {
		require.Contains(t, text, want)
	}
	for _, c := range []struct {
		config, before string
		gain           float64
		want           string
	}{
		{rec.Config, rec.Config, 0.28, "the choice of before stays: of 31 candidates none was faster beyond doubt; it takes 28.0 % less time than the plan without records, panelDense mr=4 kb=64 (sign test p = 1e-09)\n"},
		{rec.Config, rec.Config, -0.003, "none was faster beyond doubt; it takes 0.3 % more time than the plan without records"},
		{rec.Config, "deltaTile s=8", 0.28, "(sign test p = 1e-09)\n  it took the place of the choice of before, deltaTile s=8\n"},
		{rec.Default, "deltaTile s=8", 0, "of 31 candidates the plan without records is the fastest\n  it took the place of the choice of before, deltaTile s=8\n"},
	} {
		again := rec
		again.Config, again.Before, again.Gain, again.Kernels = c.config, c.before, c.gain, someRecord(t, l, 16, "test-1", c.config).Kernels
		require.NoError(t, Load(dir).Save(again))
		out.Reset()
		require.NoError(t, Explain(&out, l, Load(dir), "test-1", codegen.Builtin(runtime.AVX2)))
		require.Contains(t, out.String(), c.want)
	}
}
