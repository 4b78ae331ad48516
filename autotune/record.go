package autotune

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/autotune/internal/records"
	"github.com/sparsegen/sparsegen/codegen"
)

// Record is what was found for one problem on one kind of machine.
type Record struct {
	Problem
	Config  string `json:"config"`  // the choice
	Default string `json:"default"` // the plan without records
	// Before is the choice of an earlier race, which had the default's place in this one and stays unless
	// another is faster beyond doubt; "" where there was none.
	Before  string  `json:"before,omitempty"`
	Gain    float64 `json:"gain"`    // share of the default's time that the choice saves
	P       float64 `json:"p"`       // of the sign test; 1 where the default stays
	Noise   float64 `json:"noise"`   // gap between the default, or the choice of before, and itself
	Quality string  `json:"quality"` // ok, or noisy
	// Sittings is in how many of them the race was; Provisional says that it wants one more.
	Sittings    int         `json:"sittings,omitempty"`
	Provisional bool        `json:"provisional,omitempty"`
	Timings     []Entry     `json:"timings"`   // those that stayed longest, then the fastest, first
	Raced       int         `json:"raced"`     // candidates
	Kernels     string      `json:"kernels"`   // hashes of the choice's kernels and of its packer
	Generator   string      `json:"generator"` // fingerprint of all packers, for people
	Date        string      `json:"date"`
	Machine     Environment `json:"machine"`
	Load        Conditions  `json:"load"`
}

// Entry is a candidate's line in a race: nanoseconds a run, the number of
// samples, which is the same for all that ran to the end, and the model's estimate.
type Entry struct {
	Config  string  `json:"config"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Samples int     `json:"samples"`
	Cycles  float64 `json:"cycles,omitempty"` // 0 on a GPU, and in records of earlier versions
}

// Folder is the folder beside a spec that holds its records.
const Folder = "tuned"

// Records are the records of a spec, by kind of machine.
type Records struct {
	dir  string
	byMA map[string]*records.List[Record]
	// Notes has a line for each record that was left out, and why.
	Notes []string
}

func newRecords(dir string) *Records {
	return &Records{dir: dir, byMA: map[string]*records.List[Record]{}}
}

// Load reads the records beside a spec. Lines that are damaged are left out with a
// note, and so are files that cannot be read.
func Load(dir string) *Records {
	r := newRecords(dir)
	files, err := filepath.Glob(filepath.Join(escape(dir), "*", "*.jsonl"))
	if err != nil {
		r.note("%s: %v", dir, err)
	}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), ".") {
			continue // a journal
		}
		if filepath.Base(file) == "gpu.jsonl" {
			continue // of a GPU: package gputune
		}
		text, err := os.ReadFile(file)
		if err != nil {
			r.note("%v; its records are left out", err)
			continue
		}
		r.read(file, filepath.Base(filepath.Dir(file)), text)
	}
	return r
}

// escape makes every byte of a folder's name stand for itself in a pattern.
func escape(dir string) string {
	if filepath.Separator == '\\' {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func (r *Records) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// of is the list of a kind of machine.
func (r *Records) of(microarch string) *records.List[Record] {
	l := r.byMA[microarch]
	if l == nil {
		l = records.New(func(a, b Record) int { return a.Problem.compare(b.Problem) })
		r.byMA[microarch] = l
	}
	return l
}

// read takes the records of a file.
func (r *Records) read(file, microarch string, text []byte) {
	r.Notes = append(r.Notes, r.of(microarch).Read(file, text, func(rec Record) error { return rec.check(microarch) })...)
}

// check reports what is wrong with a record by itself.
func (rec Record) check(microarch string) error {
	switch {
	case rec.Op != "linear" || rec.Out < 1 || rec.In < 1 || rec.Batch < 1:
		return fmt.Errorf("a record of no problem")
	case rec.Machine.Microarch != microarch:
		return fmt.Errorf("measured on %q, which is not this folder's kind of machine", rec.Machine.Microarch)
	case len(rec.Timings) == 0:
		return fmt.Errorf("a record without timings")
	}
	for _, f := range rec.Timings {
		if _, err := codegen.ParseConfig(f.Config); err != nil {
			return err
		}
		if t := min(f.Min, f.Median); !(t > 0) {
			return fmt.Errorf("a time of %v ns", t)
		}
	}
	_, err := codegen.ParseConfig(rec.Config)
	return err
}

// chosen is the line of the choice, or the first where it has none.
func (rec Record) chosen() Entry {
	for _, t := range rec.Timings {
		if t.Config == rec.Config {
			return t
		}
	}
	return rec.Timings[0]
}

// corrections are what a race says of the model's estimates for a problem at a distance,
// as the planner takes them: the choice first. It is empty without estimates.
func corrections(choice string, timings []Entry, distance float64) []codegen.Measured {
	var ms []codegen.Measured
	unit := 0.0
	for _, t := range timings {
		c, err := codegen.ParseConfig(t.Config)
		if err != nil || !(t.Cycles > 0) {
			continue
		}
		m := codegen.Measured{Config: c, Ratio: t.Median / t.Cycles, Elsewhere: true}
		if t.Config == choice {
			unit, ms = m.Ratio, slices.Insert(ms, 0, m)
		} else {
			ms = append(ms, m)
		}
	}
	if unit == 0 {
		return nil
	}
	for i := range ms {
		ms[i].Ratio = math.Pow(ms[i].Ratio/unit, 1/(1+distance/3)) // further away it says less
	}
	return ms
}

// finalists are the candidates that ran to the end.
func (rec Record) finalists() []Entry {
	var fs []Entry
	for _, t := range rec.Timings {
		if t.Samples == rec.Timings[0].Samples {
			fs = append(fs, t)
		}
	}
	return fs
}

// planned are the configurations that a plan by this record may hold.
func (rec Record) planned() []string {
	cs := []string{rec.Config}
	for _, f := range rec.finalists() {
		cs = append(cs, f.Config)
	}
	return cs
}

// exact is the record of a problem on a kind of machine.
func (r *Records) exact(microarch string, p Problem) (Record, bool) {
	return r.byMA[microarch].Find(Record{Problem: p})
}

// Machines are the kinds of machine that there are records of, by name.
func (r *Records) Machines() []string {
	var names []string
	for name, l := range r.byMA {
		if len(l.Records) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// All are the records of a kind of machine, in order.
func (r *Records) All(microarch string) []Record {
	if l := r.byMA[microarch]; l != nil {
		return l.Records
	}
	return nil
}

// Save adds a record and writes its file anew: it holds either the records of
// before or those of now, whatever happens.
func (r *Records) Save(rec Record) error {
	microarch := rec.Machine.Microarch
	r.of(microarch).Put(rec)
	same := slices.DeleteFunc(slices.Clone(r.All(microarch)), func(one Record) bool { return one.Op != rec.Op })
	return records.Write(filepath.Join(r.dir, microarch, rec.Op+".jsonl"), same)
}
