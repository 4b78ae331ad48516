package tool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudasim"
)

// RunOptions are the options of Run.
type RunOptions struct {
	Source
	Layer string   // "" is the spec's only one
	In    []string // .npy files, one for each input
	// Random, where it is not 0, is the number of rows of inputs that are drawn
	// from the normal distribution, the same every time, in place of In.
	Random int
	Out    []string // .npy files, one for each output; may be empty with Check
	ISA    string   // cap on the instruction set; "" is this machine's best
	Check  bool     // compare with the float64 reference
	GPU    OpenGPU  // for a layer that runs on one; unused where the target is a simulator's
}

// Run compiles a layer into a program of its own and runs it once, or runs it on
// a GPU, or on a simulated one where the target is ptx:sim or ptx:sim_80. With Check the error is Findings where an element lies outside its error
// bound, or on a GPU the result as a whole.
func Run(ctx context.Context, c Console, o RunOptions) error {
	var simulated bool
	o.Retarget, simulated = o.simulated()
	m, err := o.open(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.Layer == "" && len(m.Layers) > 1 {
		_, err := layers(m.Module, "?")
		return fmt.Errorf("name a layer with --layer: %w", err)
	}
	chosen, err := layers(m.Module, o.Layer)
	if err != nil {
		return err
	}
	m.Module.Layers = chosen
	l := chosen[0]
	switch {
	case o.Random < 0:
		return fmt.Errorf("--random: %d rows", o.Random)
	case o.Random > 0 && len(o.In) > 0:
		return errors.New("--in and --random exclude each other")
	case o.Random == 0 && len(o.In) != len(l.Inputs):
		return fmt.Errorf("layer %s has %d inputs, --in names %d files (or give --random ROWS)", l.Name, len(l.Inputs), len(o.In))
	}
	if len(o.Out) != len(l.Outputs) && !(o.Check && len(o.Out) == 0) {
		return fmt.Errorf("layer %s has %d outputs, --out names %d files", l.Name, len(l.Outputs), len(o.Out))
	}
	dims := map[string]int{}
	var inputs [][]float32
	for k, file := range o.In {
		x, err := readInput(file, l.Inputs[k], dims)
		if err != nil {
			return err
		}
		inputs = append(inputs, x)
	}
	for _, d := range l.Dims {
		if o.Random > 0 {
			dims[d.Name] = o.Random
		}
		if n := dims[d.Name]; n < d.Min || n > d.Max {
			return fmt.Errorf("%s is %d in the input; layer %s takes %d..%d", d.Name, n, l.Name, d.Min, d.Max)
		}
	}
	if o.Random > 0 {
		if inputs, err = randomInputs(rand.New(rand.NewPCG(1, 2)), l, dims); err != nil {
			return err
		}
	}
	sim := &simulator{}
	if simulated {
		if o.GPU, err = sim.open(m.Module, m.tuned.gpu.Choice, cudasim.Options{}); err != nil {
			return err
		}
	}
	outputs, err := o.compute(ctx, c, m, inputs, dims)
	if err != nil {
		return sim.explain(err)
	}
	for k, file := range o.Out {
		shape, err := l.Outputs[k].Size(dims)
		if err != nil {
			return err
		}
		if err := weights.WriteNPY(file, shape, outputs[k]); err != nil {
			return err
		}
		fmt.Fprintln(c.Out, "wrote", file)
	}
	if !o.Check {
		return nil
	}
	if _, gpu := runsOn(m.Module); len(gpu) > 0 {
		d, err := compareGPU(m, l, inputs, outputs, dims)
		return o.verdict(c, l, d, d.outside(), err)
	}
	worst, err := compare(m, l, inputs, outputs, dims)
	return o.verdict(c, l, worst, worst.outside > 0, err)
}

// verdict prints what a comparison found.
func (o RunOptions) verdict(c Console, l *ir.Layer, found fmt.Stringer, outside bool, err error) error {
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, found)
	if outside {
		return &Findings{Summary: fmt.Sprintf("layer %s leaves its error bound", l.Name)}
	}
	return nil
}

// compute runs the model's one layer where it runs.
func (o RunOptions) compute(ctx context.Context, c Console, m *model, inputs [][]float32, dims map[string]int) ([][]float32, error) {
	p := newProgress(c, 3)
	defer p.end()
	if _, gpu := runsOn(m.Module); len(gpu) > 0 {
		p.total = 2
		if _, _, err := plannedFor(m.Module, o.ISA); err != nil {
			return nil, err
		}
		return runGPU(ctx, p, m, o.GPU, inputs, dims)
	}
	prog, err := compile(ctx, p, m, o.ISA)
	if err != nil {
		return nil, err
	}
	defer prog.close()
	p.step("run")
	return prog.once(ctx, m.Layers[0], inputs, o.ISA)
}

// readInput reads a layer's input and notes its symbolic extents in dims.
func readInput(file string, v *ir.Value, dims map[string]int) ([]float32, error) {
	shape, x, err := weights.ReadNPY(file)
	if err != nil {
		return nil, err
	}
	fits := len(shape) == len(v.Shape)
	for i := 0; fits && i < len(shape); i++ {
		e := v.Shape[i]
		n, known := dims[e.Sym]
		switch {
		case e.Sym == "":
			fits = e.N == shape[i]
		case known:
			fits = n == shape[i]
		default:
			dims[e.Sym] = shape[i]
		}
	}
	if !fits {
		return nil, fmt.Errorf("%s: shape %v does not fit input %v", file, shape, v)
	}
	return x, nil
}

// once runs one layer.
func (p *program) once(ctx context.Context, l *ir.Layer, inputs [][]float32, isa string) ([][]float32, error) {
	j := job{Model: p.packed, ISA: isa, Layer: l.Name}
	for k, x := range inputs {
		j.In = append(j.In, p.path(fmt.Sprintf("in%d", k)))
		if err := os.WriteFile(j.In[k], weights.Float32Bytes(x), 0o600); err != nil {
			return nil, err
		}
	}
	for k := range l.Outputs {
		j.Out = append(j.Out, p.path(fmt.Sprintf("out%d", k)))
	}
	if err := p.do(ctx, j, func([]byte) error { return nil }); err != nil {
		return nil, err
	}
	var outputs [][]float32
	for _, file := range j.Out {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		y := make([]float32, len(raw)/4)
		for i := range y {
			y[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		outputs = append(outputs, y)
	}
	return outputs, nil
}

// deviation is how far results are from the reference, in error bounds.
type deviation struct {
	elements, outside int
	worst             float64 // |difference| over the bound
	where             string
}

func (d deviation) String() string {
	if d.outside == 0 {
		return fmt.Sprintf("all %d elements within the bound; the furthest, %s, at %.2g of it", d.elements, d.where, d.worst)
	}
	return fmt.Sprintf("%d of %d elements outside the bound; the furthest, %s, at %.3g of it", d.outside, d.elements, d.where, d.worst)
}

// compare evaluates a layer in float64 and compares.
func compare(m *model, l *ir.Layer, inputs, outputs [][]float32, dims map[string]int) (deviation, error) {
	want, err := eval.Layer(l, m.tensor, inputs, dims)
	if err != nil {
		return deviation{}, err
	}
	var d deviation
	for k, w := range want {
		if len(outputs[k]) != len(w.Data) {
			return d, errors.New("the compiled program gave another number of elements")
		}
		for i, y := range outputs[k] {
			diff := math.Abs(float64(y) - w.Data[i])
			share := 0.0
			if diff > 0 {
				share = diff / w.Bound[i]
			}
			d.elements++
			if !(diff <= w.Bound[i]) {
				d.outside++
			}
			if d.where == "" || share > d.worst || math.IsNaN(share) && !math.IsNaN(d.worst) {
				d.worst = share
				d.where = fmt.Sprintf("%s[%d] = %g for %g", l.Outputs[k].Name, i, y, w.Data[i])
			}
		}
	}
	return d, nil
}
