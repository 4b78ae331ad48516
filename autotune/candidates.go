package autotune

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Estimates by which candidates are left out of a race: slower than the best by
// more than hopelessly, or not among the first so many.
const (
	hopelessly = 3
	mostRaced  = 46
)

// candidate is a packed configuration of a linear op.
type candidate struct {
	codegen.Packed
	same []codegen.Config // that give the same kernels on the same bytes
	file string           // where it is written, or ""
}

// field is the candidates of one linear op.
type field struct {
	linear     Linear
	isa        runtime.ISA
	candidates []*candidate
	defaults   map[int]codegen.Config // by batch: the plan without records
	dir        string
	files      int
}

// newField packs every configuration of the op's space that its weights allow, and
// leaves out those that are the same kernels on the same bytes as another.
func newField(ctx context.Context, l Linear, isa runtime.ISA, dir string) (*field, error) {
	f := &field{linear: l, isa: isa, dir: dir, defaults: map[int]codegen.Config{}}
	_, plan, err := codegen.Plan(l.Problem, l.Matrix, l.Mask, isa, nil)
	if err != nil {
		return nil, err
	}
	chosen := map[codegen.Config]bool{}
	for _, b := range l.Problem.Batches() {
		for _, c := range plan.Choices {
			if c.BatchMin <= b && b <= c.BatchMax {
				f.defaults[b] = c.Config
				chosen[c.Config] = true
			}
		}
	}
	space := codegen.Space(l.Problem)
	slices.SortStableFunc(space, func(a, b codegen.Config) int { // of equal ones the default stays
		return cmp.Compare(btoi(chosen[b]), btoi(chosen[a]))
	})
	seen := map[uint64]*candidate{}
	for _, c := range space {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.Hopeless(plan.Density) || c.Legal(l.Problem, isa) != nil {
			continue
		}
		v, err := c.Pack(l.Matrix, l.Mask)
		if err != nil {
			continue // the weights do not have this form
		}
		packed := codegen.Packed{Config: c, Variant: v}
		h := packed.Hash(l.Problem)
		if first := seen[h]; first != nil {
			first.same = append(first.same, c)
			continue
		}
		seen[h] = &candidate{Packed: packed}
		f.candidates = append(f.candidates, seen[h])
	}
	return f, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// at is the candidates worth a race at a batch: by the model's estimate, and in any
// case the default, which is the first, and the seeds.
func (f *field) at(batch int, seeds []codegen.Config) []*candidate {
	type estimated struct {
		c      *candidate
		cycles float64
	}
	var all []estimated
	for _, c := range f.candidates {
		all = append(all, estimated{c, c.Estimate(f.linear.Problem, batch, f.isa)})
	}
	slices.SortStableFunc(all, func(a, b estimated) int { return cmp.Compare(a.cycles, b.cycles) })
	var list []*candidate
	for i, e := range all {
		isDefault := e.c.Config == f.defaults[batch]
		if !isDefault && !slices.Contains(seeds, e.c.Config) && (i >= mostRaced || e.cycles > hopelessly*all[0].cycles) {
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
	f.files++
	path := filepath.Join(f.dir, fmt.Sprintf("c%d.sgp", f.files))
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
	out, err := os.Create(path) // in a folder of ours that is gone after a crash: nothing to be whole
	if err != nil {
		return "", err
	}
	err = sgp.Write(out, m)
	if e := out.Close(); err == nil {
		err = e
	}
	return path, err
}

// remove deletes the candidates' files.
func (f *field) remove() {
	for _, c := range f.candidates {
		if c.file != "" {
			_ = os.Remove(c.file) // its folder goes too, later
		}
	}
}

// small is the op cut down to what the kernels in Go compute at once: a corner of
// the matrix with partial slabs, panels and blocks as the whole has them.
func (l Linear) small() Linear {
	rows, cols := l.Matrix.Rows, l.Matrix.Cols
	if rows > 80 {
		rows = 64 + rows%16
	}
	if cols > 576 {
		cols = 512 + cols%32
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
	return s
}

// gateBatches are batches of p that leave partial tiles and groups of tokens.
func gateBatches(p codegen.Problem) []int {
	var bs []int
	for _, b := range []int{1, 7, 27} {
		b = min(max(b, p.BatchMin), p.BatchMax, p.BatchMin+26)
		if !slices.Contains(bs, b) {
			bs = append(bs, b)
		}
	}
	return bs
}
