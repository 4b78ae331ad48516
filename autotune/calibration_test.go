package autotune

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// perFloat is a bench on which each stored float32 takes so many nanoseconds, and a
// run a microsecond more.
func perFloat(t *testing.T, ns float64) *fake {
	return &fake{t: t, rng: rand.New(rand.NewPCG(1, 1)), exact: true, ns: func(v sgp.Variant) float64 {
		n := 0
		if v.Panel != nil {
			for _, s := range v.Panel.Segments {
				n += len(s.W)
			}
		} else {
			n = len(v.Lanes.W)
		}
		return 1000 + ns*float64(n)
	}}
}

// TestFirstTuningCalibrates: figures are differences of times in cycles, the next
// tuning takes them from the file unless it is told to measure, and plans follow.
func TestFirstTuningCalibrates(t *testing.T) {
	dir := t.TempDir()
	l := linearOf(t, "ffn", "unstructured(sparsity=0.8)", 48, 64, 16, 16)
	run := func(ns float64, calibrate bool) (*Summary, *tuner) {
		tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Levels: []runtime.ISA{runtime.AVX2}, Calibrate: calibrate})
		tn.env = Environment{Microarch: "test-1", L2: "256K", L3: "4096K"}
		tn.bench, tn.worker = perFloat(t, ns), "fake"
		sum, err := tn.run(context.Background(), []Linear{l})
		require.NoError(t, err)
		return sum, tn
	}
	sum, tn := run(0.25, false) // half a cycle
	c := sum.Calibration
	require.NotNil(t, c)
	require.Equal(t, 2.0, c.Clock)
	require.Equal(t, 4.0, c.FMA, "two multiply-adds of vectors for each weight")
	require.Equal(t, 8.0, c.Latency, "sixteen weights a column")
	require.Equal(t, 4.0, c.Group, "eight weights a group")
	require.Equal(t, 4.0, c.Step)
	require.Equal(t, 0.5, c.Delta)
	require.InDelta(t, 128.0*1024/(2*(1000+0.25*32*1024)), c.L2, 0.01, "bytes over cycles")
	require.Zero(t, c.Mispredict)
	require.Equal(t, codegen.Builtin(runtime.AVX2).With(c.Rates), tn.core)

	loaded, err := LoadCalibration(dir, "test-1", runtime.AVX2)
	require.NoError(t, err)
	require.Equal(t, c, loaded)
	require.Equal(t, Roofs{GFlops: 128, L2: round1(2 * c.L2), L3: round1(2 * c.L3), Memory: round1(2 * c.Memory)}, c.Roofs(runtime.AVX2))

	sum, tn = run(0.5, false)
	require.Nil(t, sum.Calibration)
	require.Equal(t, 4.0, tn.core.FMA)
	sum, tn = run(0.5, true)
	require.Equal(t, 2.0, sum.Calibration.FMA)
	require.Equal(t, 2.0, tn.core.FMA)
	require.Equal(t, []string{"test-1"}, Calibrated(dir))
}

// TestDamagedCalibrations: each is left out with one line, and the built-in figures
// count.
func TestDamagedCalibrations(t *testing.T) {
	dir := t.TempDir()
	c, err := LoadCalibration(dir, "test-1", runtime.AVX2)
	require.NoError(t, err)
	require.Nil(t, c)
	path := filepath.Join(dir, "test-1", "core-avx2.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	for text, want := range map[string]string{
		`{"isa":"avx2","ghz":3`: "not a calibration (unexpected end of JSON input)",
		`[]`:                    "not a calibration (",
		`{"isa":"avx512","ghz":3,"machine":{"microarch":"test-1"}}`:               `of level "avx512"`,
		`{"isa":"avx2","ghz":3,"machine":{"microarch":"test-2"}}`:                 `measured on "test-2", which is not this folder's kind of machine`,
		`{"isa":"avx2","ghz":0,"machine":{"microarch":"test-1"}}`:                 "a clock of 0 GHz",
		`{"isa":"avx2","ghz":3,"fma":-2,"machine":{"microarch":"test-1"}}`:        "fma is -2 (vector multiply-adds a cycle), and can be 0.1 to 16",
		`{"isa":"avx2","ghz":3,"memory":"fast","machine":{"microarch":"test-1"}}`: "not a calibration (",
		`{"isa":"avx2","ghz":3,"memory":1e9,"machine":{"microarch":"test-1"}}`:    "memory is 1e+09",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		c, err := LoadCalibration(dir, "test-1", runtime.AVX2)
		require.Nil(t, c, text)
		require.ErrorContains(t, err, path+": "+want)
		require.ErrorContains(t, err, "; left out, the built-in figures count")
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, codegen.Builtin(runtime.AVX2), c.Core(runtime.AVX2, ""))
	}
}

// TestBusyCalibration: figures on which no passes agree stay built in, with one line.
func TestBusyCalibration(t *testing.T) {
	dir := t.TempDir()
	var notes []string
	tn := newTuner(Options{Dir: dir, ISA: runtime.AVX2, Calibrate: true, Note: func(line string) { notes = append(notes, line) }})
	tn.env = Environment{Microarch: "test-1", L2: "256K", L3: "4096K"}
	slower := 1.0
	b := perFloat(t, 0.25)
	quiet := b.ns
	b.ns = func(v sgp.Variant) float64 { slower *= 1.01; return slower * quiet(v) }
	tn.bench, tn.worker = b, "fake"
	sum, err := tn.run(context.Background(), nil)
	require.NoError(t, err)
	require.Equal(t, codegen.Rates{}, sum.Calibration.Rates)
	require.Equal(t, codegen.Builtin(runtime.AVX2), tn.core)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "calibration: of 10 passes no 3 agree on fma, latency, load, shuffle, ")
}
