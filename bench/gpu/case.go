package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// spec is a case: a product of random weights and activations.
type spec struct {
	Family   string  `json:"family"` // linear, gemv or gather
	DType    string  `json:"dtype"`
	Form     string  `json:"form"` // dense, nm24; active for gemv, picked for gather
	Out      int     `json:"out"`
	In       int     `json:"k"`
	Tokens   int     `json:"tokens"`
	Inactive float64 `json:"inactive"` // share of inputs below the threshold, gemv
	PDL      bool    `json:"pdl"`
	Copies   int     `json:"copies"`   // of the weights in memory, used in turn
	Launches int     `json:"launches"` // in the graph
	Kernel   string  `json:"kernel"`   // a candidate's name; "" for what the plan chooses
	Target   string  `json:"target"`   // sm_80; "" for sm_90a
	Kept     float64 `json:"kept"`     // share of 128 by 128 blocks that weights keep; 0 for all, and no list
	Y        string  `json:"y"`        // type of the result; "" for f16 of f16, bf16 of others
	epilogue
}

// epilogue is what a linear case does to its sums before it stores them.
type epilogue struct {
	Bias        string `json:"bias"`       // f32, bf16 or ""
	Activation  string `json:"activation"` // relu and so on, or ""
	OutScale    bool   `json:"out_scale"`
	TokenScale  bool   `json:"token_scale"`
	TensorScale bool   `json:"tensor_scale"`
	Residual    bool   `json:"residual"`
}

func (s spec) String() string {
	n := fmt.Sprintf("%s%s %s %s %dx%d tokens %d", s.Family, s.Target, s.DType, s.Form, s.Out, s.In, s.Tokens)
	if s.Kept > 0 {
		n += fmt.Sprintf(" of %g blocks", s.Kept)
	}
	if s.Family == "gemv" {
		n += fmt.Sprintf(" inactive %g", s.Inactive)
	}
	if s.epilogue != (epilogue{}) || s.Y != "" {
		n += fmt.Sprintf(" to %s with %+v", s.Y, s.epilogue)
	}
	return n
}

var dtypes = map[string]gpu.DType{"bf16": gpu.BF16, "f16": gpu.F16, "e4m3": gpu.E4M3, "s8": gpu.S8, "f32": gpu.F32, "s32": gpu.S32}

// result is the type of the case's result.
func (s spec) result() gpu.DType {
	switch {
	case s.Y != "":
		return dtypes[s.Y]
	case s.DType == "f16":
		return gpu.F16
	}
	return gpu.BF16
}

// inputs are a case's random operands, which several configurations may share.
type inputs struct {
	seed    uint64
	x, w    layout.Matrix // as the reference sees them: w is [Out, In], pruned
	mask    *patterns.Mask
	listed  bool
	active  []bool // gemv: which inputs count
	fill    []byte // gather: the constants
	problem gpu.Problem
	dtype   gpu.DType
	ref     reference
	extra   map[gpu.Buffer][]byte // what the epilogue reads
	after   func(sum float64, token, out int) float64

	packed map[any]packed         // by layout
	copies map[any][]*cuda.Buffer // of the packed weights on the device
}

func newInputs(s spec, seed uint64) (*inputs, error) {
	t, ok := dtypes[s.DType]
	if !ok {
		return nil, fmt.Errorf("no type %q", s.DType)
	}
	in := &inputs{seed: seed, listed: s.Kept > 0, problem: gpu.Problem{Out: s.Out, In: s.In, Tokens: s.Tokens}, dtype: t, packed: map[any]packed{}, copies: map[any][]*cuda.Buffer{}}
	in.x = randomMatrix(seed+1, s.Tokens, s.In, t)
	in.w = randomMatrix(seed, s.Out, s.In, t)
	switch {
	case s.Family == "gemv":
		in.silence(s, t)
	case s.Form == "nm24":
		in.mask = prune24(seed, in.w, t)
	}
	if s.Kept > 0 {
		in.mask = pruneBlocks(seed, in.w, in.mask, s.Kept)
	}
	if err := in.finish(s); err != nil || s.Family != "gather" {
		return in, err
	}
	in.pick(t)
	return in, nil
}

// prepared is a case on the device.
type prepared struct {
	spec
	*inputs
	dev    *cuda.Device
	kernel *gpu.Kernel
	fn     *cuda.Function
	mod    *cuda.Module

	buffers []*cuda.Buffer
	y       *cuda.Buffer
	runs    []*cuda.Prepared
	graph   *cuda.Graph
	stream  *cuda.Stream
}

// prepare makes the inputs of a case and brings it to the device.
func prepare(dev *cuda.Device, s spec, seed uint64) (*prepared, error) {
	in, err := newInputs(s, seed)
	if err != nil {
		return nil, err
	}
	info, err := dev.Info()
	if err != nil {
		return nil, err
	}
	c, err := choose(s, dtypes[s.DType], info)
	if err != nil {
		return nil, err
	}
	p, err := in.prepare(dev, s, c)
	if err != nil {
		return nil, errors.Join(err, in.free())
	}
	return p, nil
}

// prepare compiles a configuration, packs and uploads the weights and captures
// the graph.
func (in *inputs) prepare(dev *cuda.Device, s spec, c config) (_ *prepared, err error) {
	p := &prepared{spec: s, inputs: in, dev: dev}
	p.Copies, p.Launches = max(s.Copies, 1), max(s.Launches, 1)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%v: %w", s, errors.Join(err, p.free()))
		}
	}()
	info, err := dev.Info()
	if err != nil {
		return nil, err
	}
	if p.kernel, err = c.Build(); err != nil {
		return nil, err
	}
	if p.mod, err = dev.Load(p.kernel.PTX, cuda.LoadOptions{Strict: true}); err != nil {
		return nil, err
	}
	if p.fn, err = p.mod.Function(p.kernel.Name); err != nil {
		return nil, err
	}
	problem := p.problem
	if s.Kept > 0 {
		packed, _, err := in.pack(c)
		if err != nil {
			return nil, err
		}
		problem.Blocks = len(packed.blocks.Columns)
	}
	launch, err := p.kernel.Plan(problem, info)
	if err != nil {
		return nil, err
	}
	return p, p.upload(launch, c)
}

// weights are copies of the packed weights on the device, at least n, shared by
// the configurations that read the same layout.
func (in *inputs) weights(dev *cuda.Device, c config, n int) ([]*cuda.Buffer, error) {
	packed, key, err := in.pack(c)
	if err != nil {
		return nil, err
	}
	for len(in.copies[key]) < n {
		b, err := dev.Alloc(int64(len(packed.bytes)))
		if err != nil {
			return nil, err
		}
		in.copies[key] = append(in.copies[key], b)
		if err := cuda.Upload(nil, b, packed.bytes); err != nil {
			return nil, err
		}
	}
	return in.copies[key], nil
}

// free gives the weights back, after all cases that share them.
func (in *inputs) free() error {
	var errs []error
	for _, copies := range in.copies {
		for _, b := range copies {
			errs = append(errs, b.Free())
		}
	}
	return errors.Join(errs...)
}

// alloc gives device memory that free takes back.
func (p *prepared) alloc(bytes uint64) (*cuda.Buffer, error) {
	b, err := p.dev.Alloc(int64(bytes))
	if err == nil {
		p.buffers = append(p.buffers, b)
	}
	return b, err
}

func (p *prepared) upload(launch gpu.Launch, c config) (err error) {
	if p.stream, err = p.dev.NewStream(); err != nil {
		return err
	}
	weights, err := p.weights(p.dev, c, p.Copies)
	if err != nil {
		return err
	}
	needs, err := launch.Needs()
	if err != nil {
		return err
	}
	if int64(needs[gpu.Weights]) > weights[0].Size() {
		return fmt.Errorf("kernel %s reads %d bytes of weights, %d are packed", p.kernel.Name, needs[gpu.Weights], weights[0].Size())
	}
	if packed, _, err := p.pack(c); err != nil {
		return err
	} else if packed.blocks != nil {
		p.extra[gpu.Meta] = packed.blocks.ListBytes()
	}
	var bound cuda.Buffers
	for role, n := range needs {
		if n == 0 || gpu.Buffer(role) == gpu.Weights {
			continue
		}
		if bound[role], err = p.alloc(n); err != nil {
			return err
		}
		if err := p.stream.Memset(bound[role], 0); err != nil {
			return err
		}
		if data := p.extra[gpu.Buffer(role)]; data != nil {
			if err := cuda.Upload(p.stream, bound[role], data); err != nil {
				return err
			}
		}
	}
	p.y = bound[gpu.Y]
	if err := cuda.Upload(p.stream, bound[gpu.X], p.x.Data); err != nil {
		return err
	}
	for i := range p.Copies {
		bound[gpu.Weights] = weights[i]
		run, err := p.dev.Prepare(p.fn, launch, bound)
		if err != nil {
			return err
		}
		p.runs = append(p.runs, run)
	}
	p.graph, err = p.stream.Capture(func() error {
		for i := range p.Launches {
			if err := p.runs[i%len(p.runs)].Launch(p.stream); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// free gives everything back.
func (p *prepared) free() error {
	var errs []error
	if p.graph != nil {
		errs = append(errs, p.graph.Close())
	}
	for _, b := range p.buffers {
		errs = append(errs, b.Free())
	}
	if p.stream != nil {
		errs = append(errs, p.stream.Close())
	}
	if p.mod != nil {
		errs = append(errs, p.mod.Close())
	}
	return errors.Join(errs...)
}

// time runs the graph warm times, then replays times, and returns the median
// microseconds of one launch in it.
func (p *prepared) time(warm, replays int) (float64, error) {
	start, err := p.dev.NewEvent()
	if err != nil {
		return 0, err
	}
	defer start.Close()
	end, err := p.dev.NewEvent()
	if err != nil {
		return 0, err
	}
	defer end.Close()
	for range warm {
		if err := p.graph.Launch(p.stream); err != nil {
			return 0, err
		}
	}
	var times []float64
	for range replays {
		if err := errors.Join(p.stream.Record(start), p.graph.Launch(p.stream), p.stream.Record(end), p.stream.Synchronize()); err != nil {
			return 0, err
		}
		took, err := end.Since(start)
		if err != nil {
			return 0, err
		}
		times = append(times, float64(took)/float64(time.Microsecond)/float64(p.Launches))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// soak keeps the device busy for a while, which takes its clock to where the
// power limit holds it.
func (p *prepared) soak(d time.Duration) error {
	for until := time.Now().Add(d); time.Now().Before(until); {
		if err := errors.Join(p.graph.Launch(p.stream), p.stream.Synchronize()); err != nil {
			return err
		}
	}
	return nil
}

// deviation is how far a result is from float64.
type deviation struct {
	Norm    float64 `json:"error_norm"` // ‖y - reference‖ / ‖reference‖
	Max     float64 `json:"error_max"`  // largest difference over the largest reference
	Checked int     `json:"checked"`    // elements
}

// poison is NaN in bf16, f16 and f32 alike.
const poison = 0x7fff7fff

// check runs the kernel once per copy of the weights, each time over a poisoned
// result, and compares with float64: all elements of a small case, a random
// choice of rows and columns of a large one.
func (p *prepared) check() (deviation, error) {
	ref := p.reference()
	var worst deviation
	for _, run := range p.runs {
		if err := errors.Join(p.stream.Memset32(p.y, poison), run.Launch(p.stream), p.stream.Synchronize()); err != nil {
			return worst, err
		}
		raw := make([]byte, p.y.Size())
		if err := cuda.Download(p.stream, raw, p.y); err != nil {
			return worst, err
		}
		d, err := ref.compare(p.result(raw))
		if err != nil {
			return worst, fmt.Errorf("%v with %s: %w", p.spec, p.kernel.Name, err)
		}
		worst.Norm, worst.Max = max(worst.Norm, d.Norm), max(worst.Max, d.Max)
		worst.Checked += d.Checked
	}
	return worst, nil
}

// result reads an element of the output.
func (p *prepared) result(raw []byte) func(token, out int) float64 {
	return func(token, out int) float64 { return decode(raw, token*p.Out+out, p.kernel.Y) }
}
