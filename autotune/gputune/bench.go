package gputune

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// bench is a device that is ready to time launches.
type bench struct {
	dev        *cuda.Device
	stream     *cuda.Stream
	start, end *cuda.Event
	flush      *cuda.Buffer // more than the second-level cache holds
}

func newBench(dev *cuda.Device) (b *bench, err error) {
	info, err := dev.Info()
	if err != nil {
		return nil, err
	}
	b = &bench{dev: dev}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.stream, err = dev.NewStream(); err != nil {
		return b, err
	}
	if b.start, err = dev.NewEvent(); err != nil {
		return b, err
	}
	if b.end, err = dev.NewEvent(); err != nil {
		return b, err
	}
	b.flush, err = dev.Alloc(max(2*info.L2Bytes, 1<<20))
	return b, err
}

func (b *bench) close() error {
	var errs []error
	if b.flush != nil {
		errs = append(errs, b.flush.Free())
	}
	for _, e := range []*cuda.Event{b.start, b.end} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	if b.stream != nil {
		errs = append(errs, b.stream.Close())
	}
	return errors.Join(errs...)
}

// sample is the time of one replay with cold caches, in nanoseconds.
func (b *bench) sample(g *cuda.Graph) (float64, error) {
	if err := errors.Join(b.stream.Memset(b.flush, 1), b.stream.Record(b.start), g.Launch(b.stream), b.stream.Record(b.end), b.stream.Synchronize()); err != nil {
		return 0, err
	}
	took, err := b.end.Since(b.start)
	return float64(took), err
}

// operands are a trial's inputs and its expected result at some elements.
type operands struct {
	in    [][]byte // x and, where it is another value, the residual
	check []element
	norm  float64 // of the expected elements
}

type element struct {
	token, out int
	want       float64
}

// entrant is a candidate on the device.
type entrant struct {
	config  kernels.Config
	kernel  *gpu.Kernel
	model   *runtime.Model
	session *cuda.Session
	buffers []*cuda.Buffer
	y       *cuda.Buffer
	bound   *cuda.Bound
	graph   *cuda.Graph
}

func (e *entrant) close() error {
	var errs []error
	if e.graph != nil {
		errs = append(errs, e.graph.Close())
	}
	if e.session != nil {
		errs = append(errs, e.session.Close())
	}
	for _, b := range e.buffers {
		errs = append(errs, b.Free())
	}
	if e.model != nil {
		errs = append(errs, e.model.Close())
	}
	return errors.Join(errs...)
}

// packing packs a step once for each layout of its weights.
type packing struct {
	tensor  string
	weights codegen.Weights
	prune   bool
	layers  map[layout.Format]*sgp.Layer
}

// layer is the trial's layer with the weights as a candidate reads them.
func (p *packing) layer(t *gpuplan.Trial, c kernels.Config) (*sgp.Layer, error) {
	if p.tensor != t.Name() {
		p.tensor, p.layers = t.Name(), map[layout.Format]*sgp.Layer{}
	}
	l, ok := p.layers[c.Format()]
	if !ok {
		var err error
		if l, _, err = t.Layer(c).Pack(p.weights, p.prune); err != nil {
			return nil, err
		}
		p.layers[c.Format()] = l
	}
	out := *l
	out.Ops = make([]sgp.Op, len(l.Ops))
	for i, op := range l.Ops {
		lin := *op.Linear
		lin.Variants = []sgp.Variant{lin.Variants[0]}
		g := *lin.Variants[0].GPU
		g.Kernel = c.Name()
		lin.Variants[0].GPU = &g
		op.Linear = &lin
		out.Ops[i] = op
	}
	return &out, nil
}

// enter brings a candidate to the device.
func (b *bench) enter(t *gpuplan.Trial, c kernels.Config, p *packing, x operands, dir string) (e *entrant, err error) {
	e = &entrant{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if e.kernel, err = c.Build(); err != nil {
		return e, err
	}
	l, err := p.layer(t, c)
	if err != nil {
		return e, err
	}
	packed := &sgp.Model{Fingerprint: codegen.Fingerprint(), GPUFingerprint: gpuplan.Fingerprint(), Layers: []sgp.Layer{*l}}
	path := filepath.Join(dir, "trial.sgp")
	if err := sgp.WriteFile(path, packed); err != nil {
		return e, err
	}
	set := runtime.Set{Packing: packed.Fingerprint, GPUPacking: packed.GPUFingerprint, GPU: []gpu.Kernel{*e.kernel}}
	if e.model, err = runtime.Open(path, set); err != nil {
		return e, err
	}
	if e.session, err = cuda.NewSession(e.model, l.Name, b.dev, runtime.MaxBatch(t.Problem.Tokens)); err != nil {
		return e, err
	}
	alloc := func(m cuda.Matrix) (*cuda.Buffer, error) {
		buf, err := b.dev.Alloc(m.Bytes(t.Problem.Tokens))
		if err == nil {
			e.buffers = append(e.buffers, buf)
		}
		return buf, err
	}
	var in, out []*cuda.Buffer
	for i, m := range e.session.Inputs() {
		buf, err := alloc(m)
		if err != nil {
			return e, err
		}
		if err := cuda.Upload(b.stream, buf, pitched(x.in[i], m, t.Problem.Tokens)); err != nil {
			return e, err
		}
		in = append(in, buf)
	}
	y := e.session.Outputs()[0]
	if e.y, err = alloc(y); err != nil {
		return e, err
	}
	out = append(out, e.y)
	if e.bound, err = e.session.Bind(t.Problem.Tokens, in, out); err != nil {
		return e, err
	}
	if err := b.gate(t, e, y, x); err != nil {
		return e, err
	}
	e.graph, err = b.stream.Capture(func() error { return e.bound.Launch(b.stream) })
	return e, err
}

// pitched is a dense matrix with its rows m.Pitch elements apart.
func pitched(data []byte, m cuda.Matrix, tokens int) []byte {
	row := m.Features * m.ElemBytes
	out := make([]byte, m.Bytes(tokens))
	for t := range tokens {
		copy(out[t*m.Pitch*m.ElemBytes:], data[t*row:][:row])
	}
	return out
}

// poison is NaN in bf16 and in f16.
const poison = 0x7fff7fff

// deviation is what a result may differ from float64 of the rounded operands, as a
// share of the norm: what it takes to round it once.
var deviation = map[gpu.DType]float64{gpu.BF16: 3e-3, gpu.F16: 1e-3}

// gate runs a candidate once, over a result full of NaN, and compares elements with
// float64.
func (b *bench) gate(t *gpuplan.Trial, e *entrant, y cuda.Matrix, x operands) error {
	if err := errors.Join(b.stream.Memset32(e.y, poison), e.bound.Launch(b.stream), b.stream.Synchronize()); err != nil {
		return err
	}
	raw := make([]byte, e.y.Size())
	if err := cuda.Download(b.stream, raw, e.y); err != nil {
		return err
	}
	f, diff := t.Format(), 0.0
	for _, c := range x.check {
		got := float64(f.Decode(binary.LittleEndian.Uint16(raw[(c.token*y.Pitch+c.out)*y.ElemBytes:])))
		diff += (got - c.want) * (got - c.want)
	}
	if share := math.Sqrt(diff) / x.norm; !(share <= deviation[t.Linear.DType]) {
		return &wrongError{fmt.Sprintf("its result is off by %.2g of the norm, at most %.0e is rounding", share, deviation[t.Linear.DType])}
	}
	return nil
}

// wrongError is the error of a candidate that computes something else.
type wrongError struct{ msg string }

func (e *wrongError) Error() string { return e.msg }

// Elements that the gate compares: so many outputs of so many tokens.
const (
	checkedOuts   = 64
	checkedTokens = 16
)

// operandsOf are random inputs of a trial, with the result at random places.
func operandsOf(t *gpuplan.Trial, p *packing) (operands, error) {
	weight, bias := t.Weight()
	m, err := codegen.Matrix(weight, p.weights)
	if err != nil {
		return operands{}, err
	}
	mask, err := codegen.MaskFor(weight, m, p.prune)
	if err != nil {
		return operands{}, err
	}
	var b []float32
	if bias != nil {
		if b, err = codegen.Vector(bias, p.weights); err != nil {
			return operands{}, err
		}
	}
	f, n := t.Format(), t.Problem
	rng := rand.New(rand.NewPCG(uint64(n.Out), uint64(n.In)))
	random := func(width int) ([]float32, []byte) {
		v := make([]float32, n.Tokens*width)
		for i := range v {
			v[i] = f.Round(float32(rng.NormFloat64()))
		}
		return v, f.Append(nil, v)
	}
	x, raw := random(n.In)
	o := operands{in: [][]byte{raw}}
	var res []float32
	if t.Linear.Residual {
		res = x
		if !t.ResidualIsInput() {
			res, raw = random(n.Out)
			o.in = append(o.in, raw)
		}
	}
	for range min(checkedOuts, n.Out) {
		out := rng.IntN(n.Out)
		for range min(checkedTokens, n.Tokens) {
			token, sum := rng.IntN(n.Tokens), 0.0
			for i := range n.In {
				if mask.At(out, i) {
					sum += float64(f.Round(m.Data[out*m.Stride+i])) * float64(x[token*n.In+i])
				}
			}
			if b != nil {
				sum += float64(b[out])
			}
			r := 0.0
			if res != nil {
				r = float64(res[token*n.Out+out])
			}
			want := t.Of(sum, r)
			o.check = append(o.check, element{token, out, want})
			o.norm += want * want
		}
	}
	o.norm = math.Sqrt(o.norm)
	return o, nil
}
