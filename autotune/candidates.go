package autotune

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// limits are the estimates by which candidates are left out of a race: those slower
// than the best by more than a factor, or not among the first so many.
type limits struct {
	slower float64
	most   int
}

// Of 1104 measurements of the oracle, which looks further, on AVX2 and AVX-512, 19 had a candidate
// beyond these limits that was more than 1 % faster than the best within them, 7 % at most: 0.06 % on
// average over all. Sixteen candidates spare all but 0.01 % of that, and take a third more time.
var (
	raced  = limits{2, 12}
	judged = limits{3, 46}
)

// candidate is a packed configuration of a linear op.
type candidate struct {
	codegen.Packed
	same []codegen.Config // that give the same kernels on the same bytes
	file string           // where it is written, or ""
	twin string           // another one with the same content, or ""
}

// is reports whether c has the kernels and the bytes of a configuration.
func (c *candidate) is(config string) bool {
	return c.Config.String() == config || slices.ContainsFunc(c.same, func(s codegen.Config) bool { return s.String() == config })
}

// field is the candidates of one linear op.
type field struct {
	linear     Linear
	core       codegen.Core
	limits     limits
	candidates []*candidate
	plan       []codegen.Choice // without records
	dir        string
}

// newField packs the configurations of the op's space that its weights allow, and
// leaves out those that are the same kernels on the same bytes as another, and those
// that a sample of the rows shows to be beyond the limits at every batch. The
// configurations in must stay.
func newField(ctx context.Context, l Linear, core codegen.Core, dir string, lim limits, must []codegen.Config) (*field, error) {
	f := &field{linear: l, core: core, limits: lim, dir: dir}
	forms := codegen.NewForms(l.Matrix, l.Mask)
	_, plan, err := forms.Plan(l.Problem, core, nil, nil)
	if err != nil {
		return nil, err
	}
	f.plan = plan.Choices
	chosen := map[codegen.Config]bool{}
	for _, c := range plan.Choices {
		chosen[c.Config] = true
	}
	var space []codegen.Config
	for _, c := range core.Widened(codegen.Space(l.Problem)) {
		if !c.Hopeless(plan.Density) && c.Legal(l.Problem, core.ISA()) == nil {
			space = append(space, c)
		}
	}
	if space, err = f.promising(ctx, space, func(c codegen.Config) bool { return chosen[c] || slices.Contains(must, c) }); err != nil {
		return nil, err
	}
	slices.SortStableFunc(space, func(a, b codegen.Config) int { // of equal ones the default stays
		return cmp.Compare(btoi(chosen[b]), btoi(chosen[a]))
	})
	packed, err := packAll(ctx, forms, space)
	if err != nil {
		return nil, err
	}
	seen := map[codegen.Config]*candidate{}
	for _, p := range packed {
		if p == nil {
			continue // the weights do not have this form
		}
		key := p.Effective()
		if first := seen[key]; first != nil {
			first.same = append(first.same, p.Config)
			continue
		}
		seen[key] = &candidate{Packed: *p}
		f.candidates = append(f.candidates, seen[key])
	}
	return f, nil
}

// packAll packs several forms, on as many cores as there are; nil is a form
// that the weights do not have.
func packAll(ctx context.Context, forms *codegen.Forms, space []codegen.Config) ([]*codegen.Packed, error) {
	packed := make([]*codegen.Packed, len(space))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), len(space)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(space) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if v, err := forms.Pack(space[i]); err == nil {
					packed[i] = &codegen.Packed{Config: space[i], Variant: v}
				}
			}
		})
	}
	all.Wait()
	return packed, ctx.Err()
}

// What a sample of the rows says of panels is good to a factor: those beyond the
// limits by more are left out.
const sampleError = 1.25

// promising leaves out panels that cannot come into a race, by their estimates on a
// sample of the rows, but none for which stays is true.
func (f *field) promising(ctx context.Context, space []codegen.Config, stays func(codegen.Config) bool) ([]codegen.Config, error) {
	s, ok := f.linear.sample()
	if !ok || len(space) <= f.limits.most {
		return space, nil
	}
	packed, err := packAll(ctx, codegen.NewForms(s.Matrix, s.Mask), space)
	if err != nil {
		return nil, err
	}
	in := make([]bool, len(space))
	for _, b := range f.linear.Problem.Batches() {
		var cycles []float64
		for _, p := range packed {
			if p != nil {
				cycles = append(cycles, p.Estimate(s.Problem, b, f.core))
			}
		}
		if len(cycles) == 0 {
			continue
		}
		slices.Sort(cycles)
		last := min(int(sampleError*float64(f.limits.most)), len(cycles)) - 1
		for i, p := range packed {
			if p != nil {
				e := p.Estimate(s.Problem, b, f.core)
				in[i] = in[i] || e <= cycles[last] && e <= sampleError*f.limits.slower*cycles[0]
			}
		}
	}
	var rest []codegen.Config
	for i, c := range space {
		if in[i] || !c.Panel() || stays(c) {
			rest = append(rest, c)
		}
	}
	return rest, nil
}

// sample is the op cut down to some of its rows, in groups that keep what neighbours
// share, or false where that spares little.
func (l Linear) sample() (Linear, bool) {
	const groups, rows = 4, 32
	if l.Matrix.Rows < 2*groups*rows {
		return l, false
	}
	s := l
	s.Matrix = patterns.NewMatrix(groups*rows, l.Matrix.Cols)
	s.Mask = patterns.NewMask(groups*rows, l.Matrix.Cols)
	s.Problem.Out = groups * rows
	for i := range groups * rows {
		r := l.Matrix.Rows/groups/rows*rows*(i/rows) + i%rows
		copy(s.Matrix.Data[i*s.Matrix.Stride:], l.Matrix.Data[r*l.Matrix.Stride:][:l.Matrix.Cols])
		copy(s.Mask.Row(i), l.Mask.Row(r))
	}
	return s, true
}

// planned is the choice at a batch of the plan without records.
func (f *field) planned(batch int) codegen.Config { return choiceAt(f.plan, batch) }

// choiceAt is the configuration of a plan at a batch.
func choiceAt(plan []codegen.Choice, batch int) codegen.Config {
	i := slices.IndexFunc(plan, func(c codegen.Choice) bool { return batch <= c.BatchMax })
	return plan[i].Config
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// at is the candidates worth a race at a batch: of each form the one that is best by the
// model's estimate, unless it is far behind, then the others by theirs, and in any case the
// default, which is the first, and the seeds.
func (f *field) at(batch int, seeds []codegen.Config) []*candidate {
	type estimated struct {
		c      *candidate
		cycles float64
	}
	var all []estimated
	for _, c := range f.candidates {
		all = append(all, estimated{c, c.Estimate(f.linear.Problem, batch, f.core)})
	}
	slices.SortStableFunc(all, func(a, b estimated) int { return cmp.Compare(a.cycles, b.cycles) })
	near := func(e estimated) bool { return e.cycles <= f.limits.slower*all[0].cycles }
	enters, forms := map[*candidate]bool{}, map[runtime.KernelOp]bool{}
	for _, e := range all {
		if near(e) && !forms[e.c.Config.Op] {
			forms[e.c.Config.Op], enters[e.c] = true, true
		}
	}
	for _, e := range all {
		if near(e) && len(enters) < f.limits.most {
			enters[e.c] = true
		}
	}
	var list []*candidate
	for _, e := range all {
		isDefault := e.c.Config == f.planned(batch)
		if !isDefault && !enters[e.c] && !slices.Contains(seeds, e.c.Config) {
			continue
		}
		if isDefault {
			list = slices.Insert(list, 0, e.c)
		} else {
			list = append(list, e.c)
		}
	}
	return list
}

// write puts a candidate into a file of its own, once.
func (f *field) write(c *candidate) (string, error) {
	if c.file != "" {
		return c.file, nil
	}
	path, err := f.writeModel(c.Variant, f.linear.Problem)
	if err == nil {
		c.file = path
	}
	return path, err
}

// writeModel writes a packed model of one layer, the op with a random bias.
func (f *field) writeModel(v sgp.Variant, p codegen.Problem) (string, error) {
	v.BatchMin, v.BatchMax = p.BatchMin, p.BatchMax
	x, y := []int{0, p.In}, []int{0, p.Out}
	if !p.TokenMajor {
		x, y = []int{p.In, 0}, []int{p.Out, 0}
	}
	bias := make([]float32, p.Out)
	rng := rand.New(rand.NewPCG(11, uint64(p.Out)))
	for i := range bias {
		bias[i] = float32(rng.NormFloat64())
	}
	m := &sgp.Model{Fingerprint: codegen.Fingerprint(), Layers: []sgp.Layer{{
		Name: "l", BatchMin: p.BatchMin, BatchMax: p.BatchMax,
		Values: []sgp.Value{{Name: "x", Dims: x}, {Name: "y", Dims: y}}, Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: &sgp.Linear{
			Out: p.Out, In: p.In, Bias: bias, Variants: []sgp.Variant{v},
		}}},
	}}}
	out, err := os.CreateTemp(f.dir, "c*.sgp") // in a folder of ours that is gone after a crash: nothing to be whole
	if err != nil {
		return "", err
	}
	err = sgp.Write(out, m)
	if e := out.Close(); err == nil {
		err = e
	}
	return out.Name(), err
}

// remove deletes the candidates' files.
func (f *field) remove() {
	for _, c := range f.candidates {
		c.remove()
	}
}

func (c *candidate) remove() {
	for _, file := range []string{c.file, c.twin} {
		if file != "" {
			_ = os.Remove(file) // its folder goes too, later
		}
	}
	c.file, c.twin = "", ""
}

// small is the op cut down to what the kernels in Go compute at once: a corner of
// the matrix with partial slabs, panels and blocks as the whole has them, at batches
// that leave partial tiles and groups of tokens.
func (l Linear) small() Linear {
	rows, cols := l.Matrix.Rows, l.Matrix.Cols
	if rows > 64 {
		rows = 48 + rows%16
	}
	if cols > 288 {
		cols = 256 + cols%32
	}
	mask := patterns.NewMask(rows, cols)
	for r := range rows {
		for c := range cols {
			if l.Mask.At(r, c) {
				mask.Set(r, c)
			}
		}
	}
	s := l
	s.Matrix.Rows, s.Matrix.Cols, s.Mask = rows, cols, mask
	s.Problem.Out, s.Problem.In = rows, cols
	s.Problem.BatchMin, s.Problem.BatchMax = 1, slices.Max(gateBatches)
	return s
}

var gateBatches = []int{1, 7, 27}
