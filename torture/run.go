package torture

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/guard"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/runtime"
)

// Verdict is what a case found at one instruction set level.
type Verdict string

// The verdicts. A mistrusted case agrees, but so it would without the kernels' work:
// no output depends on the inputs by more than the error bound.
const (
	Passed     Verdict = "passed"
	Mistrusted Verdict = "mistrusted"
	Failed     Verdict = "failed"
)

// Faults are mistakes that are planted on purpose, to see that they are found. The
// zero value plants none.
type Faults struct {
	Weights func(streams [][]float32) // the packed weights, before they are written
	Bounds  func(bounds []float64)    // of the float64 reference
}

// engine runs cases on a program's kernels.
type engine struct {
	space   *space
	packing uint64
	kernels map[runtime.KernelKey][]runtime.Kernel
	levels  []runtime.ISA // to compare with Generic, which always runs
	faults  Faults
}

// newEngine is an engine of the kernels in set, for the levels of isas.
func newEngine(set runtime.Set, isas []runtime.ISA, faults Faults) (*engine, error) {
	s, err := newSpace()
	if err != nil {
		return nil, err
	}
	e := &engine{space: s, packing: set.Packing, kernels: map[runtime.KernelKey][]runtime.Kernel{}, faults: faults}
	for _, k := range set.Kernels {
		e.kernels[k.Key] = append(e.kernels[k.Key], k)
	}
	for _, isa := range isas {
		if isa != runtime.Generic {
			e.levels = append(e.levels, isa)
		}
	}
	return e, nil
}

// available are the levels of a set's kernels that this machine can run.
func available(set runtime.Set) []runtime.ISA {
	var isas []runtime.ISA
	for _, k := range set.Kernels {
		if k.ISA.Available() && !slices.Contains(isas, k.ISA) {
			isas = append(isas, k.ISA)
		}
	}
	slices.Sort(isas)
	return isas
}

// runs reports whether cases run at a level.
func (e *engine) runs(isa runtime.ISA) bool {
	return isa == runtime.Generic || slices.Contains(e.levels, isa)
}

// finding is what is wrong at a level.
type finding struct {
	isa  runtime.ISA
	what string
}

func (f *finding) Error() string { return f.isa.String() + ": " + f.what }

func wrong(isa runtime.ISA, format string, args ...any) *finding {
	return &finding{isa, fmt.Sprintf(format, args...)}
}

// run runs a case. It says whether the case proves something, and the first thing
// that it finds at each level. An error is a defect of the case or of what comes
// before kernels.
func (e *engine) run(c *Case) (proves bool, found []*finding, err error) {
	switch c.Family {
	case familyKernel:
		return e.kernel(c)
	case familyRefused:
		proves, found, err = e.refused(c)
	default:
		proves, found, err = e.session(c)
	}
	if errors.Is(err, errNoForm) {
		return false, nil, nil
	}
	return proves, found, err
}

// session runs a case in a session.
func (e *engine) session(c *Case) (proves bool, found []*finding, err error) {
	module, err := c.module()
	if err != nil {
		return false, nil, err
	}
	l := module.Layers[0]
	weights, err := c.weights(l)
	if err != nil {
		return false, nil, err
	}
	packed, err := c.pack(module, weights)
	if err != nil {
		return false, nil, err
	}
	if e.faults.Weights != nil {
		e.faults.Weights(streams(packed))
	}
	set, err := e.set(c, module)
	if err != nil {
		return false, nil, err
	}
	m, memory, free, err := c.open(packed, set)
	if err != nil {
		return false, nil, err
	}
	defer free()

	runs := map[int]*batchRun{}
	for _, b := range c.batches {
		if runs[b] == nil {
			if runs[b], err = newBatchRun(c, l, b, weights); err != nil {
				return false, nil, err
			}
			defer runs[b].free()
			runs[b].model = memory
		}
	}
	want, fault, err := c.outputs(m, runtime.Generic, runs)
	if err != nil {
		return false, nil, err
	}
	if fault != nil {
		return true, []*finding{fault}, nil
	}
	proves, fault, err = e.judge(c, l, weights, runs, want)
	if err != nil {
		return false, nil, err
	}
	if fault != nil {
		found = append(found, fault)
	}
	for _, isa := range e.levels {
		got, fault, err := c.outputs(m, isa, runs)
		if err != nil {
			return false, nil, err
		}
		if fault == nil {
			fault = c.same(isa, got, want)
		}
		if fault != nil {
			found = append(found, fault)
		}
	}
	return proves, found, nil
}

// errNoForm says that a case's weights cannot be packed for its configuration, as
// those of a layer may not for a candidate. The case proves nothing then.
var errNoForm = errors.New("no form")

// pack packs the case's layer as its configurations say.
func (c *Case) pack(module *ir.Module, weights tensors) (*sgp.Model, error) {
	isas := append(codegen.ISAs(), runtime.Generic)
	o := codegen.PackOptions{Core: codegen.Builtin(isas[c.keep%uint64(len(isas))]), Prune: c.prune, Only: c.only()}
	if c.configs != nil {
		o.Only = func(f codegen.Config) bool { return f == c.configs[0] || !sparse(f) }
	}
	packed, _, err := codegen.Pack(module, weights.lookup, o)
	if err != nil || c.configs == nil {
		return packed, err
	}
	w := module.Layers[0].Ops[0].Weight
	m, err := codegen.Matrix(w, weights.lookup)
	if err != nil {
		return nil, err
	}
	mask, err := codegen.MaskFor(w, m, c.prune)
	if err != nil {
		return nil, err
	}
	lin := packed.Layers[0].Ops[0].Linear
	lin.Variants = nil
	first := c.batchMin
	for i, config := range c.configs {
		v, err := config.Pack(m, mask)
		if err != nil {
			return nil, fmt.Errorf("%w: %v: %w", errNoForm, config, err)
		}
		last := c.batchMin + (c.batchMax-c.batchMin+1)*(i+1)/len(c.configs) - 1
		if last < first {
			continue
		}
		v.BatchMin, v.BatchMax = first, last
		lin.Variants = append(lin.Variants, v)
		first = last + 1
	}
	return packed, nil
}

// sparse reports whether a configuration leaves something out.
func sparse(f codegen.Config) bool {
	return f.Compact || f.Op != runtime.LanesDense && f.Op != runtime.PanelDense
}

// streams are the weights of a packed model as kernels walk them.
func streams(m *sgp.Model) [][]float32 {
	var all [][]float32
	for _, l := range m.Layers {
		for _, op := range l.Ops {
			if op.Linear == nil {
				continue
			}
			for _, v := range op.Linear.Variants {
				if v.Lanes != nil {
					all = append(all, v.Lanes.W)
					continue
				}
				for _, s := range v.Panel.Segments {
					all = append(all, s.W)
				}
			}
		}
	}
	return all
}

// set is the kernels that gen would emit for the case.
func (e *engine) set(c *Case, module *ir.Module) (runtime.Set, error) {
	set := runtime.Set{Packing: e.packing}
	var ks []codegen.Kernel
	var err error
	if c.configs == nil {
		if ks, err = codegen.Kernels(module); err != nil {
			return set, err
		}
	} else {
		for _, config := range c.configs {
			ks = append(ks, config.Kernels(!c.featureMajor)...)
		}
		for _, k := range e.space.keys {
			if strings.HasPrefix(k.Op.String(), "map") {
				ks = append(ks, codegen.Kernel{Key: k})
			}
		}
	}
	seen := map[runtime.KernelKey]bool{}
	for _, k := range ks {
		if seen[k.Key] {
			continue
		}
		seen[k.Key] = true
		if e.kernels[k.Key] == nil {
			return set, fmt.Errorf("this program has no kernel %s: it was built by another version", k.Key.Name())
		}
		set.Kernels = append(set.Kernels, e.kernels[k.Key]...)
	}
	return set, nil
}

// open opens the packed model: from a file, or from memory that cannot be written,
// where the weights end at a page that cannot be accessed.
func (c *Case) open(packed *sgp.Model, set runtime.Set) (m *runtime.Model, memory guard.Memory, free func(), err error) {
	if c.file {
		m, free, err = openFile(packed, set)
		return m, memory, free, err
	}
	var b bytes.Buffer
	if err := sgp.Write(&b, packed); err != nil {
		return nil, memory, nil, err
	}
	if memory, err = placed(b.Bytes(), false); err != nil {
		return nil, memory, nil, err
	}
	if m, err = runtime.OpenBytes("case.sgp", memory.Bytes, set); err != nil {
		memory.Free()
		return nil, memory, nil, err
	}
	return m, memory, func() {
		if m.Close() == nil { // it never is in use here
			memory.Free()
		}
	}, nil
}

func openFile(packed *sgp.Model, set runtime.Set) (m *runtime.Model, free func(), err error) {
	dir, err := os.MkdirTemp("", "sparsegen-torture-*")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // what is left of it hurts nobody
	file := filepath.Join(dir, "case.sgp")
	if err = sgp.WriteFile(file, packed); err == nil {
		m, err = runtime.Open(file, set)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return m, func() { _ = m.Close(); remove() }, nil
}

// placed copies data into guarded memory that can only be read.
func placed(data []byte, start bool) (guard.Memory, error) {
	m, err := guard.New(len(data), 4, start)
	if err != nil {
		return m, err
	}
	copy(m.Bytes, data)
	if err := m.Protect(); err != nil {
		m.Free()
		return m, err
	}
	return m, nil
}

// batchRun is what a run at one batch takes, and what it should give.
type batchRun struct {
	batch  int
	in     [][]float32    // in guarded memory
	risks  []risk         // by token
	length int            // of the output
	start  bool           // the inaccessible pages are before inputs and outputs
	guards []guard.Memory // of in
	model  guard.Memory   // of the packed model, where it is in memory
}

func newBatchRun(c *Case, l *ir.Layer, batch int, weights tensors) (*batchRun, error) {
	r := &batchRun{batch: batch, length: c.out() * batch, start: newSource(c.data, 1<<32+uint64(batch)).chance(1, 4)}
	var in [][]float32
	in, r.risks = c.inputs(l, batch, weights)
	for _, x := range in {
		m, err := placed(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x)), r.start)
		if err != nil {
			r.free()
			return nil, err
		}
		r.guards = append(r.guards, m)
		r.in = append(r.in, floats(m.Bytes))
	}
	return r, nil
}

func (r *batchRun) free() {
	for _, m := range r.guards {
		m.Free()
	}
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// outputs runs the case's batches in turn in one session at a level: one output each.
func (c *Case) outputs(m *runtime.Model, isa runtime.ISA, runs map[int]*batchRun) (all [][]float32, fault *finding, err error) {
	s, err := m.NewSession("l", runtime.WithISA(isa), runtime.Threads(c.threads), runtime.MaxBatch(slices.Max(c.batches)))
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	for _, b := range c.batches {
		y, fault, err := runs[b].run(s, isa)
		if fault != nil || err != nil {
			return nil, fault, err
		}
		all = append(all, y)
	}
	return all, nil, nil
}

func (r *batchRun) run(s *runtime.Session, isa runtime.ISA) (y []float32, fault *finding, err error) {
	out, err := guard.New(4*r.length, 4, r.start)
	if err != nil {
		return nil, nil, err
	}
	defer out.Free()
	// A panic is a memory fault outside of what Run watches, or a defect.
	defer func() {
		if p := recover(); p != nil {
			fault = wrong(isa, "batch %d: panic: %v", r.batch, p)
		}
	}()
	if err := s.Run(context.Background(), r.in, [][]float32{floats(out.Bytes)}); err != nil {
		return nil, wrong(isa, "batch %d: %s", r.batch, r.explain(err, out)), nil
	}
	before := uintptr(unsafe.Pointer(unsafe.SliceData(out.Bytes))) - uintptr(unsafe.Pointer(unsafe.SliceData(out.Around)))
	for i, b := range out.Around {
		if at := i - int(before); b != 0xff && (at < 0 || at >= len(out.Bytes)) {
			return nil, wrong(isa, "batch %d: the byte at %d of an output of %d bytes is written", r.batch, at, len(out.Bytes)), nil
		}
	}
	return slices.Clone(floats(out.Bytes)), nil, nil
}

var faultAddress = regexp.MustCompile(`memory fault at 0x([0-9a-f]{1,16}):`)

// explain is a run's error, where it is a memory fault by the argument that it is
// near: an address differs from run to run.
func (r *batchRun) explain(err error, out guard.Memory) string {
	found := faultAddress.FindStringSubmatch(err.Error())
	if found == nil {
		return err.Error()
	}
	n, _ := strconv.ParseUint(found[1], 16, 64)
	at := uintptr(n)
	near := func(name string, m guard.Memory) string {
		if base, size := m.Base(); at < base || at >= base+uintptr(size) {
			return ""
		}
		return fmt.Sprintf("memory fault at byte %d of %s, which has %d", int(at-uintptr(unsafe.Pointer(unsafe.SliceData(m.Bytes)))), name, len(m.Bytes))
	}
	for i, m := range r.guards {
		if s := near(fmt.Sprintf("input %d", i), m); s != "" {
			return s
		}
	}
	return cmp.Or(near("the output", out), near("the packed model", r.model), "memory fault far from inputs, output and model")
}
