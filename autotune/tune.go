package autotune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/runtime"
)

// Options steer Tune.
type Options struct {
	Dir    string        // the folder of the records
	ISA    runtime.ISA   // the level to tune for
	Levels []runtime.ISA // the levels that the program will have kernels of
	Budget time.Duration // no race starts after it; 0: none
	Again  bool          // measure what has a record already, whose choice stays unless another is faster
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
	Changed  int // of these, where the default, or an earlier choice, was replaced
	Noisy    int
	Refused  int // too noisy to conclude anything
	Left     int // beyond the budget
	// Provisional are those whose records are of a first sitting that was not confirmed within
	// the budget.
	Provisional int
	Bugs        []string
	Gain        float64       // geometric mean over the tuned ones of the time before over the time after
	Build       time.Duration // of the worker
	// Calibration is what this tuning measured of the core; nil: it did not.
	Calibration *Calibration
	Races       []time.Duration
}

// Scratch is the name, as os.MkdirTemp takes it, of a tuning's folder of temporary
// files. Those that killed tunings left are removed by the next Lock.
const Scratch = "sparsegen-race-*"

// blockTime is the least time of a sample.
const blockTime = 20 * time.Microsecond

// How many sessions a candidate has while its weights are timed in the caches, with copies as
// worker.Round says: the smaller they are, the more of them, as many as share so many bytes.
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
	outcomes   []outcome
	unsettled  []*contest      // races that want another sitting
	shelf      []*field        // what these have of candidates, the latest last
	room       int             // bytes on it, at most
	apart      time.Duration   // at least, between two sittings of a race
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

func newTuner(o Options) *tuner {
	return &tuner{Options: o, env: Machine(), now: time.Now, apart: apart, room: shelfBytes}
}

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
	t.core, t.calibrated = t.coreOf(c), c != nil
	t.crashed = map[string]bool{}
	t.sum = &Summary{Machine: t.env, Gain: 1}
}

// coreOf is what plans for the kernels at hand are made for, by a calibration or, where it is nil, without.
func (t *tuner) coreOf(c *Calibration) codegen.Core {
	return c.Core(t.ISA, t.env.Microarch).Among(t.Levels)
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
	if err := atomicfile.Sweep(filepath.Join(t.Dir, t.env.Microarch)); err != nil {
		return nil, err
	}
	if t.journal, err = openJournal(journalPath(t.Dir, t.env.Microarch)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.journal.close(err == nil && t.sum.Left+t.sum.Provisional == 0)) }()
	if t.Calibrate || !t.calibrated {
		t.report("measure what the core can do")
		if t.sum.Calibration, err = t.calibrate(ctx); err != nil {
			return t.sum, err
		}
		t.core = t.coreOf(t.sum.Calibration)
	}
	t.unsettled = t.provisional(linears, jobs)
	for i, l := range linears {
		if err == nil && len(jobs[i]) > 0 {
			err = t.tuneLinear(ctx, l, jobs[i])
		}
	}
	for err == nil && len(t.unsettled) > 0 {
		err = t.confirm(ctx)
	}
	t.sumUp()
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
			if found.Source == Exact && !found.Record.Provisional && !t.Again {
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
	defer func() {
		t.tidy(f)
		t.shelve(f)
	}()
	for i, j := range jobs {
		if t.overBudget() {
			t.sum.Left += len(jobs) - i
			return nil
		}
		t.report("race %s at batch %d", l.Layer, j.batch)
		if err := t.tuneJob(ctx, f, j); err != nil {
			return err
		}
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
	corner := &field{linear: small, core: f.core, dir: f.dir}
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

// lead moves the entrant to the front that stays unless another is faster: the choice of a record that
// counts, in the place of the default. Where the journal has the race, its order counts, since the record may
// be of this race already.
func (t *tuner) lead(l Linear, j job, entrants []*candidate) {
	first := func(name string) {
		if i := slices.IndexFunc(entrants, func(c *candidate) bool { return c.is(name) }); i > 0 {
			c := entrants[i]
			copy(entrants[1:], entrants[:i])
			entrants[0] = c
		}
	}
	if t.journal != nil {
		if old := t.journal.races[j.problem]; old != nil && old.worker == t.worker && len(old.entrants) > 0 {
			first(old.entrants[0])
			return
		}
	}
	rec, ok := t.records.exact(t.env.Microarch, j.problem)
	if !ok || rec.Provisional {
		return
	}
	if _, err := t.lookup.validate(rec, l.Problem, t.ISA); err == nil {
		first(rec.Config)
	}
}

// tuneJob holds the first sitting of one problem's race and keeps the record.
func (t *tuner) tuneJob(ctx context.Context, f *field, j job) error {
	const crashes = 5 // of different candidates
	for range crashes {
		var entrants []*candidate
		for _, c := range f.at(j.batch, t.seeds(f.linear, j)) {
			if !t.crashed[f.linear.Tensor+" "+c.Config.String()] {
				entrants = append(entrants, c)
			}
		}
		t.lead(f.linear, j, entrants)
		s, lost, err := t.race(ctx, f, j, entrants)
		if err != nil {
			return err
		}
		if lost != nil {
			t.bug(f.linear, lost.candidate, lost.why)
			continue
		}
		return t.conclude(s)
	}
	return fmt.Errorf("layer %s, batch %d: one candidate after the other fails; nothing is tuned", f.linear.Layer, j.batch)
}
