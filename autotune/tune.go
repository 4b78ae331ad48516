package autotune

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// Options steer Tune.
type Options struct {
	Dir    string        // the folder of the records
	ISA    runtime.ISA   // the level to tune for
	Levels []runtime.ISA // the levels that the program will have kernels of
	Budget time.Duration // no race starts after it; 0: none
	Again  bool          // measure what has a record already
	// Only, where it is set, says which layers to tune. The others' candidates are
	// compiled too: however a model is tuned, its worker is the same program.
	Only func(layer string) bool
	// Calibrate measures the core's figures even where they were measured before.
	Calibrate bool
	Cache     string // folder of compiled workers
	// Between has Oracle look at batches between those that the planner compares too.
	Between bool
	// Report, where it is set, is told how far the tuning is, and Note what went
	// wrong on the way, a line each.
	Report func(Progress)
	Note   func(string)
}

// Progress is how far a tuning is.
type Progress struct {
	Done, Total int    // problems
	What        string // in words
}

// Summary is what a tuning did.
type Summary struct {
	Machine  Environment
	Problems int // distinct ones
	Known    int // had a record
	Tuned    int
	Changed  int // of these, where the default was replaced
	Noisy    int
	Refused  int // too noisy to conclude anything
	Left     int // beyond the budget
	Bugs     []string
	Gain     float64       // geometric mean over the tuned ones of the time before over the time after
	Build    time.Duration // of the worker
	// Calibration is what this tuning measured of the core; nil: it did not.
	Calibration *Calibration
	Races       []time.Duration
}

// Scratch is the name, as os.MkdirTemp takes it, of a tuning's folder of temporary
// files. Those that killed tunings left are removed by the next Lock.
const Scratch = "sparsegen-race-*"

// blockTime is the least time of a sample.
const blockTime = 20 * time.Microsecond

// In how many places of memory a candidate's weights lie while they are timed in the
// caches: the smaller they are, the more of them, as many as share so many bytes.
const (
	fewestCopies = 4
	mostCopies   = 16
	copyBytes    = 4 << 20
)

func warmCopies(c *candidate) int {
	return min(max(copyBytes/max(c.Bytes(), 1), fewestCopies), mostCopies)
}

// rotation is how many times the last cache all copies in turn would fill, where
// they are to be read from memory: caches that replace at random keep some lines
// for more than one round through them.
const rotation = 3

// job is a problem of one op to be tuned.
type job struct {
	batch   int
	problem Problem
	between int // the next compared batch, of one that is not; 0
}

// tuner is a tuning under way.
type tuner struct {
	Options
	env  Environment
	llc  int
	core codegen.Core
	// calibrated says that core was measured.
	calibrated bool
	records    *Records
	lookup     *Lookup
	journal    *journal
	bench      bench
	worker     string // name of the worker program
	begin      time.Time
	now        func() time.Time
	sum        *Summary
	done       int
	gains      []float64
	crashed    map[string]bool // op and configuration
	// elsewhere has the weights of each race lie elsewhere in memory.
	elsewhere bool
	temp      string
}

// Tune races the candidates of each linear op at each batch that the planner
// compares, and keeps records of the choices. It goes on where an earlier one was
// stopped. Another tuning on this machine is waited for.
func Tune(ctx context.Context, linears []Linear, o Options) (*Summary, error) {
	unlock, err := Lock(ctx, o.note)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return newTuner(o).run(ctx, linears)
}

func newTuner(o Options) *tuner { return &tuner{Options: o, env: Machine(), now: time.Now} }

func (o Options) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(fmt.Sprintf(format, args...))
	}
}

// load reads the records and what is known of the machine.
func (t *tuner) load() {
	t.begin = t.now()
	if t.llc = max(bytesOf(t.env.L3), bytesOf(t.env.L2)); t.llc == 0 {
		t.llc = 32 << 20
	}
	t.records = Load(t.Dir)
	for _, n := range t.records.Notes {
		t.note("%s", n)
	}
	t.lookup = NewLookup(t.records, t.env.Microarch)
	c, err := LoadCalibration(t.Dir, t.env.Microarch, t.ISA)
	if err != nil {
		t.note("%v", err)
	}
	t.core, t.calibrated = c.Core(t.ISA), c != nil
	t.crashed = map[string]bool{}
	t.sum = &Summary{Machine: t.env, Gain: 1}
}

// start compiles the candidates of all ops and makes the bench ready.
func (t *tuner) start(ctx context.Context, linears []Linear) (err error) {
	if t.temp, err = os.MkdirTemp("", Scratch); err != nil {
		return err
	}
	if t.bench == nil {
		t.report("compile the candidates")
		start := time.Now()
		binary, err := Compile(ctx, linears, t.Options)
		if err != nil {
			return err
		}
		t.sum.Build = time.Since(start)
		t.begin = t.now() // the budget is for races
		t.worker = filepath.Base(binary)
		t.bench = newProcess(binary, t.temp)
	}
	return nil
}

// stop releases what start made.
func (t *tuner) stop() (err error) {
	if t.bench != nil {
		err = t.bench.close()
	}
	if t.temp != "" {
		err = errors.Join(err, os.RemoveAll(t.temp))
	}
	return err
}

func (t *tuner) run(ctx context.Context, linears []Linear) (sum *Summary, err error) {
	t.load()
	jobs := t.jobs(linears)
	if len(jobs) == 0 && !t.Calibrate {
		return t.sum, nil
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.start(ctx, linears); err != nil {
		return nil, err
	}
	if t.journal, err = openJournal(journalPath(t.Dir, t.env.Microarch)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.journal.close(err == nil && t.sum.Left == 0)) }()
	if t.Calibrate || !t.calibrated {
		t.report("measure what the core can do")
		if t.sum.Calibration, err = t.calibrate(ctx); err != nil {
			return t.sum, err
		}
		t.core = t.sum.Calibration.Core(t.ISA)
	}
	for i, l := range linears {
		if err == nil && len(jobs[i]) > 0 {
			err = t.tuneLinear(ctx, l, jobs[i])
		}
	}
	if len(t.gains) > 0 {
		t.sum.Gain = geomean(t.gains)
	}
	return t.sum, err
}

// jobs are the problems that need a race, by op.
func (t *tuner) jobs(linears []Linear) map[int][]job {
	jobs := map[int][]job{}
	seen := map[Problem]bool{}
	var stale []string
	for i, l := range linears {
		if t.Only != nil && !t.Only(l.Layer) {
			continue
		}
		for _, b := range l.Problem.Batches() {
			q := problemOf(l.Problem, l.Mask.Density(), b, t.ISA)
			if seen[q] {
				continue
			}
			seen[q] = true
			t.sum.Problems++
			found := t.lookup.Find(l.Problem, l.Mask.Density(), b, t.ISA)
			if found.Why != "" {
				stale = append(stale, found.Why)
			}
			if found.Source == Exact && !t.Again {
				t.sum.Known++
				continue
			}
			jobs[i] = append(jobs[i], job{batch: b, problem: q})
		}
	}
	switch len(stale) {
	case 0:
	case 1:
		t.note("%s", stale[0])
	default: // all of them are measured anew
		t.note("%s; and %d more like it", stale[0], len(stale)-1)
	}
	t.done = t.sum.Known
	return jobs
}

func (t *tuner) report(format string, args ...any) {
	if t.Report != nil {
		t.Report(Progress{t.done, t.sum.Problems, fmt.Sprintf(format, args...)})
	}
}

// overBudget reports whether no further race may start.
func (t *tuner) overBudget() bool { return t.Budget > 0 && t.now().Sub(t.begin) > t.Budget }

func (t *tuner) tuneLinear(ctx context.Context, l Linear, jobs []job) error {
	if t.overBudget() {
		t.sum.Left += len(jobs)
		return nil
	}
	f, err := t.enter(ctx, l, jobs)
	if err != nil {
		return err
	}
	defer f.remove()
	for i, j := range jobs {
		if t.overBudget() {
			t.sum.Left += len(jobs) - i
			return nil
		}
		t.report("race %s at batch %d", l.Layer, j.batch)
		start := time.Now()
		if err := t.tuneJob(ctx, f, j); err != nil {
			return err
		}
		t.sum.Races = append(t.sum.Races, time.Since(start))
		t.done++
	}
	return nil
}

// enter packs the candidates of an op and checks those that its races need.
func (t *tuner) enter(ctx context.Context, l Linear, jobs []job) (*field, error) {
	t.report("pack %s", l.Layer)
	var seeds []codegen.Config
	for _, j := range jobs {
		seeds = append(seeds, t.seeds(l, j)...)
	}
	f, err := newField(ctx, l, t.core, t.temp, raced, seeds)
	if err != nil {
		return nil, err
	}
	entered := map[*candidate]bool{}
	for _, j := range jobs {
		for _, c := range f.at(j.batch, t.seeds(l, j)) {
			entered[c] = true
		}
	}
	t.report("check %s", l.Layer)
	return f, t.gate(ctx, f, entered)
}

// seeds are the choices that are known of the same or similar problems, stale ones
// among them.
func (t *tuner) seeds(l Linear, j job) []codegen.Config {
	var seeds []codegen.Config
	for _, name := range t.records.Machines() {
		for _, rec := range t.records.All(name) {
			if j.problem.distance(rec.Problem) > nearest {
				continue
			}
			if c, err := codegen.ParseConfig(rec.Config); err == nil && c.Legal(l.Problem, t.ISA) == nil {
				seeds = append(seeds, c)
			}
		}
	}
	return seeds
}

// bug notes a candidate that must not happen: it crashed, or gave other bits.
func (t *tuner) bug(l Linear, c *candidate, what string) {
	t.crashed[l.Tensor+" "+c.Config.String()] = true
	text := fmt.Sprintf("a bug in sparsegen: layer %s, %q [%d, %d], %s, density %.3g, %v for %v: %s; it is left out, please report this line",
		l.Layer, l.Tensor, l.Problem.Out, l.Problem.In, l.Problem.Structure(), l.Mask.Density(), c.Config, t.ISA, what)
	t.sum.Bugs = append(t.sum.Bugs, text)
	t.note("%s", text)
}

// gate checks candidates on a corner of the matrix.
func (t *tuner) gate(ctx context.Context, f *field, entered map[*candidate]bool) error {
	small := f.linear.small()
	corner := &field{linear: small, core: f.core, dir: f.dir, files: 1 << 20}
	var files []worker.File
	var who []*candidate
	for _, c := range f.candidates {
		if !entered[c] {
			continue
		}
		v, err := c.Config.Pack(small.Matrix, small.Mask)
		if err != nil {
			continue // the corner does not have this form; all of the matrix is compared later
		}
		path, err := corner.writeModel(v, small.Problem)
		if err != nil {
			return err
		}
		defer os.Remove(path)
		files = append(files, worker.File{ID: len(who), Path: path})
		who = append(who, c)
	}
	for len(files) > 0 {
		results, err := t.bench.gate(ctx, worker.Gate{Files: files, Batches: gateBatches, ISA: t.ISA.String()})
		for _, r := range results {
			if r.Err != "" {
				t.bug(f.linear, who[r.ID], r.Err)
			}
		}
		var c *crash
		if !errors.As(err, &c) {
			return err
		}
		at := slices.IndexFunc(files, func(f worker.File) bool { return f.ID == c.ID })
		if at < 0 {
			return err
		}
		t.bug(f.linear, who[c.ID], c.Msg)
		files = files[at+1:]
	}
	return nil
}

// tuneJob races the candidates of one problem and keeps the record.
func (t *tuner) tuneJob(ctx context.Context, f *field, j job) error {
	const crashes = 5 // of different candidates
	for range crashes {
		var entrants []*candidate
		for _, c := range f.at(j.batch, t.seeds(f.linear, j)) {
			if !t.crashed[f.linear.Tensor+" "+c.Config.String()] {
				entrants = append(entrants, c)
			}
		}
		if len(entrants) == 0 || entrants[0].Config != f.planned(j.batch) {
			return fmt.Errorf("layer %s: the planner's own choice, %v, does not run on this machine", f.linear.Layer, f.planned(j.batch))
		}
		meter := startMeter()
		r, lost, err := t.race(ctx, f, j, entrants)
		if err != nil {
			return err
		}
		if lost != nil {
			t.bug(f.linear, lost.candidate, lost.why)
			continue
		}
		return t.conclude(f, j, entrants, r, meter.conditions())
	}
	return fmt.Errorf("layer %s, batch %d: one candidate after the other fails; nothing is tuned", f.linear.Layer, j.batch)
}

// loss is a candidate that a race cannot go on with.
type loss struct {
	candidate *candidate
	why       string
}

// attempts is how often a race is run whose noise refuses a conclusion: each time the
// weights lie elsewhere in memory.
const attempts = 2

// race races entrants until a conclusion is allowed, but no more than attempts times.
func (t *tuner) race(ctx context.Context, f *field, j job, entrants []*candidate) (*Race, *loss, error) {
	for k := 1; ; k++ {
		r, lost, err := t.raceOnce(ctx, f, j, entrants, k > 1 || t.elsewhere)
		if err != nil || lost != nil || !r.Verdict().Refused || k == attempts {
			return r, lost, err
		}
		if t.journal != nil {
			if err := t.journal.forget(j.problem); err != nil {
				return nil, nil, err
			}
		}
	}
}

// raceOnce runs one race, from where the journal has it on. Entrant len(entrants) is
// the default once more. What the race before left of the candidates' weights in memory is
// used, unless they are to lie elsewhere.
func (t *tuner) raceOnce(ctx context.Context, f *field, j job, entrants []*candidate, elsewhere bool) (*Race, *loss, error) {
	alias := len(entrants)
	files, err := f.filesOf(entrants) // the alias is in memory of its own
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(entrants))
	for i, c := range entrants {
		names[i] = c.Config.String()
	}
	candidateOf := func(id int) *candidate {
		if id == alias {
			return entrants[0]
		}
		return entrants[id]
	}
	lost := func(err error) (*Race, *loss, error) {
		var c *crash
		if errors.As(err, &c) && c.ID >= 0 && c.ID <= alias {
			return nil, &loss{candidateOf(c.ID), c.Msg}, nil
		}
		return nil, nil, err
	}

	race := NewRace(len(entrants)+1, 0, alias, seedOf(j.problem))
	if t.journal != nil {
		behind, err := t.journal.begin(j.problem, t.worker, names)
		if err != nil {
			return nil, nil, err
		}
		for _, samples := range behind {
			race.Add(samples)
		}
	}
	if race.Next() == nil {
		return race, nil, nil
	}
	results, err := t.bench.open(ctx, worker.Open{Files: files, Batch: j.batch, ISA: t.ISA.String(), Block: int64(blockTime), Elsewhere: elsewhere})
	if err != nil {
		return lost(err)
	}
	if l := t.compareOutputs(results, candidateOf); l != nil {
		return nil, l, nil
	}
	for order := race.Next(); order != nil; order = race.Next() {
		bytes := 0
		for _, e := range order[:race.Alive()] {
			bytes += candidateOf(e).Bytes()
		}
		samples, err := t.settled(ctx, j, order, bytes, warmCopies(entrants[0]), race.stage().settle)
		if err != nil {
			return lost(err)
		}
		if t.journal != nil {
			if err := t.journal.round(samples); err != nil {
				return nil, nil, err
			}
		}
		race.Add(samples)
		if done, _ := race.Round(); done%8 == 0 {
			t.report("race %s at batch %d: round %d, %d candidates left", f.linear.Layer, j.batch, done, race.Alive())
		}
	}
	return race, nil, nil
}

// round times a round of entrants, whose weights have so many bytes together, with
// so many copies where they stay in the caches.
func (t *tuner) round(ctx context.Context, j job, order []int, bytes, copies int) ([]Sample, error) {
	return t.settled(ctx, j, order, bytes, copies, settleTime)
}

// settled is round where each candidate runs for some time before its clock starts.
func (t *tuner) settled(ctx context.Context, j job, order []int, bytes, copies int, settle time.Duration) ([]Sample, error) {
	r := worker.Round{Order: order, Copies: copies, Settle: int64(settle)}
	if j.problem.Weights == "cold" { // so many that they push each other out of the last cache
		r.Cold, r.Cache = true, t.llc
		r.Copies = 1 + int(math.Ceil(rotation*float64(t.llc)/float64(max(bytes, 1))))
	}
	measured, err := t.bench.round(ctx, r)
	samples := make([]Sample, len(measured))
	for i, s := range measured {
		samples[i] = Sample{s.ID, s.NS, s.Runs}
	}
	return samples, err
}

// compareOutputs finds a candidate that failed, or whose output on the whole problem
// differs from that of the first one of its order of summation.
func (t *tuner) compareOutputs(results []worker.Result, of func(int) *candidate) *loss {
	first := map[string]worker.Result{}
	for _, r := range results {
		c := of(r.ID)
		if r.Err != "" {
			return &loss{c, r.Err}
		}
		order := c.Config.Order()
		if a, ok := first[order]; ok && a.Hash != r.Hash {
			return &loss{c, fmt.Sprintf("its output differs from that of %v", of(a.ID).Config)}
		} else if !ok {
			first[order] = r
		}
	}
	return nil
}

// seedOf is a race's seed: the same problem races in the same order.
func seedOf(p Problem) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, p)
	return h.Sum64()
}

// conclude keeps the record of a race.
func (t *tuner) conclude(f *field, j job, entrants []*candidate, r *Race, load Conditions) error {
	v := r.Verdict()
	if v.Refused {
		t.sum.Refused++
		t.note("%v: two runs of the same kernels differ by %.1f %%, which is too much for a record; try again when the machine is quiet", j.problem, 100*v.Noise)
		if t.journal == nil {
			return nil
		}
		return t.journal.forget(j.problem)
	}
	winner := entrants[v.Winner]
	hash, err := t.lookup.kernelHash(winner.Config, f.linear.Problem.TokenMajor, t.ISA)
	if err != nil {
		return err
	}
	rec := Record{
		Problem: j.problem, Config: winner.Config.String(), Default: entrants[0].Config.String(), P: 1, Noise: round4(v.Noise), Quality: "ok",
		Raced: len(entrants), Kernels: hash, Generator: generator(), Date: t.now().UTC().Format(time.DateOnly), Machine: t.env, Load: load,
	}
	if p, ok := t.bench.(*process); ok {
		rec.Machine.Clock = p.clock
	}
	if v.Noisy {
		rec.Quality = "noisy"
		t.sum.Noisy++
	}
	gain := 1.0
	if v.Winner != 0 {
		rec.Gain, rec.P = round4(v.Gain), round4(v.P)
		gain = 1 / (1 - v.Gain)
		t.sum.Changed++
	}
	rec.Timings = f.timings(j.batch, entrants, r)
	t.gains = append(t.gains, gain)
	t.sum.Tuned++
	return t.records.Save(rec)
}

// timings are the lines of a race.
func (f *field) timings(batch int, entrants []*candidate, r *Race) (list []Entry) {
	for _, e := range r.Ranking()[:min(mostKept, len(r.Ranking()))] {
		at := r.Timing(e)
		cycles := entrants[e].Estimate(f.linear.Problem, batch, f.core)
		list = append(list, Entry{entrants[e].Config.String(), round1(at.Min), round1(at.Median), at.Samples, round1(cycles)})
	}
	return list
}

// mostKept is how many of a race's entrants its record names.
const mostKept = 12

func round1(x float64) float64 { return math.Round(x*10) / 10 }

// round4 keeps four digits behind the point, and something of what is smaller.
func round4(x float64) float64 {
	if r := math.Round(x*1e4) / 1e4; r != 0 {
		return r
	}
	return twoDigits(x)
}
