package gputune

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/autotune/internal/records"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Problem is what a record is about: a linear step at one number of tokens.
type Problem struct {
	Op         string `json:"op"` // the family: linear
	Target     string `json:"target"`
	Out        int    `json:"out"`
	In         int    `json:"in"`
	Tokens     int    `json:"tokens"`
	DType      string `json:"dtype"`
	Form       string `json:"form"`
	Bias       bool   `json:"bias,omitempty"`
	Activation string `json:"activation"`
	Residual   bool   `json:"residual,omitempty"`
}

func problemOf(l kernels.Linear, p gpu.Problem) Problem {
	return Problem{
		Op: "linear", Target: l.Target.String(), Out: p.Out, In: p.In, Tokens: p.Tokens, DType: l.DType.String(),
		Form: l.Form.String(), Bias: l.Bias != 0, Activation: l.Activation.String(), Residual: l.Residual,
	}
}

// String is the problem in a line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s [%d, %d] %s, %s, %d tokens, %s", p.Op, p.Out, p.In, p.Form, p.DType, p.Tokens, p.Activation)
	if p.Bias {
		s += ", bias"
	}
	if p.Residual {
		s += ", residual"
	}
	return s + ", " + p.Target
}

func (p Problem) compare(q Problem) int {
	return cmp.Or(strings.Compare(p.Target, q.Target), cmp.Compare(p.Out, q.Out), cmp.Compare(p.In, q.In), cmp.Compare(p.Tokens, q.Tokens),
		strings.Compare(p.String(), q.String()))
}

// distance is the largest |log2| of the ratio of two extents, infinite where
// anything else differs.
func (p Problem) distance(q Problem) float64 {
	a := p
	a.Out, a.In, a.Tokens = q.Out, q.In, q.Tokens
	if a != q {
		return math.Inf(1)
	}
	d := 0.0
	for _, r := range [][2]int{{p.Out, q.Out}, {p.In, q.In}, {p.Tokens, q.Tokens}} {
		d = max(d, math.Abs(math.Log2(float64(r[0])/float64(r[1]))))
	}
	return d
}

// Record is what was found for one problem on one kind of GPU.
type Record struct {
	Problem
	Config  string           `json:"config"`           // name of the kernel chosen
	Default string           `json:"default"`          // that of the plan without records
	Before  string           `json:"before,omitempty"` // as in autotune.Record
	Gain    float64          `json:"gain"`             // share of the default's time that the choice saves
	P       float64          `json:"p"`                // of the sign test; 1 where the default stays
	Noise   float64          `json:"noise"`            // gap between the default, or the choice of before, and itself
	Quality string           `json:"quality"`          // ok, or noisy
	Timings []autotune.Entry `json:"timings"`
	Raced   int              `json:"raced"`
	Kernel  string           `json:"kernel"` // hash of the choice's PTX
	Date    string           `json:"date"`
	GPU     GPU              `json:"gpu"`
}

// GPU is the device that a record was measured on.
type GPU struct {
	Name   string `json:"name"`
	SMs    int    `json:"sms"`
	Driver int    `json:"driver"`           // CUDA version: 1000·major + 10·minor
	Clocks string `json:"clocks,omitempty"` // of the multiprocessors, the memory, with temperature and power, before and after, where nvidia-smi tells
}

// File is the name of the records' file in the folder of a kind of GPU.
const File = "gpu.jsonl"

// Records are the records of a spec for GPUs, by kind.
type Records struct {
	dir    string
	byGPU  map[string]*records.List[Record]
	hashes map[string]string // of the candidates' PTX, by target and name
	// Notes has a line for each record that was left out, and why.
	Notes []string
}

// kindOf is the name of the folder of a kind of GPU.
func kindOf(name string) string {
	kind := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(kind, "-")
}

// Load reads the records in the folders of dir. Damaged lines are left out with a
// note.
func Load(dir string) *Records {
	r := &Records{dir: dir, byGPU: map[string]*records.List[Record]{}, hashes: map[string]string{}}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return r // no records
	}
	for _, f := range folders {
		path := filepath.Join(dir, f.Name(), File)
		text, err := os.ReadFile(path)
		if err != nil {
			continue // of a CPU
		}
		kind := f.Name()
		r.Notes = append(r.Notes, r.of(kind).Read(path, text, func(rec Record) error { return rec.check(kind) })...)
	}
	return r
}

func (rec Record) check(kind string) error {
	switch {
	case rec.Op != "linear" || rec.Out < 1 || rec.In < 1 || rec.Tokens < 1 || rec.Config == "":
		return fmt.Errorf("a record of no problem")
	case kindOf(rec.GPU.Name) != kind:
		return fmt.Errorf("measured on %q, which is not this folder's kind of GPU", rec.GPU.Name)
	}
	return nil
}

// of is the list of a kind of GPU.
func (r *Records) of(kind string) *records.List[Record] {
	l := r.byGPU[kind]
	if l == nil {
		l = records.New(func(a, b Record) int { return a.Problem.compare(b.Problem) })
		r.byGPU[kind] = l
	}
	return l
}

// Kinds are the kinds of GPU that there are records of, by name.
func (r *Records) Kinds() []string {
	var names []string
	for name, l := range r.byGPU {
		if len(l.Records) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// save adds a record and writes its file anew.
func (r *Records) save(rec Record) error {
	kind := kindOf(rec.GPU.Name)
	r.of(kind).Put(rec)
	return records.Write(filepath.Join(r.dir, kind, File), r.of(kind).Records)
}

// exact is a kind's record of a problem, if the choice is still what was measured.
func (r *Records) exact(kind string, l kernels.Linear, p gpu.Problem) (Record, bool) {
	rec, found := r.byGPU[kind].Find(Record{Problem: problemOf(l, p)})
	if !found || r.stale(rec, l, p) != "" {
		return Record{}, false
	}
	return rec, true
}

// Choice is the kernel that was measured for a problem: by its record, else by that
// of the nearest shape, at most twice or half as large in each extent; "" without.
// Of several kinds of GPU the first by name counts, so that a plan is the same on
// every machine.
func (r *Records) Choice(l kernels.Linear, p gpu.Problem) string {
	q := problemOf(l, p)
	for _, kind := range r.Kinds() {
		best, at := "", math.Inf(1)
		for _, rec := range r.byGPU[kind].Records {
			if d := q.distance(rec.Problem); d <= 1 && d < at && r.stale(rec, l, p) == "" {
				best, at = rec.Config, d
			}
		}
		if best != "" {
			return best
		}
	}
	return ""
}

// stale says why a record's choice does not hold for a problem, "" if it does.
func (r *Records) stale(rec Record, l kernels.Linear, p gpu.Problem) string {
	key := l.Target.String() + " " + rec.Config
	h, ok := r.hashes[key]
	if !ok {
		cs, err := l.Candidates(p, kernels.Reference(l.Target))
		if err != nil {
			return err.Error()
		}
		i := slices.IndexFunc(cs, func(c kernels.Candidate) bool { return c.Name() == rec.Config })
		if i < 0 {
			return fmt.Sprintf("%s is no candidate any more", rec.Config)
		}
		k, err := cs[i].Build()
		if err != nil {
			return err.Error()
		}
		h = hashOf(k)
		r.hashes[key] = h
	}
	if h != rec.Kernel {
		return fmt.Sprintf("%s was measured with another text than this version writes", rec.Config)
	}
	return ""
}

func hashOf(k *gpu.Kernel) string {
	h := fnv.New64a()
	fmt.Fprint(h, k.PTX)
	return fmt.Sprintf("%016x", h.Sum64())
}
