package cuda

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// executor makes runners on a device, for one session each.
type executor struct {
	dev  *Device
	made *runner
}

func (e *executor) NewRunner(l gpu.Layer, maxBatch int) (runtime.Runner, error) {
	r := &runner{dev: e.dev, layer: l, maxTokens: maxBatch, format: formats[l.DType]}
	done := false
	defer func() { // also where the file with the weights faults
		if !done {
			_ = r.Close() // what failed first is what there is to say
		}
	}()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	done = true
	e.made = r
	return r, nil
}

var formats = map[gpu.DType]narrow.Format{gpu.BF16: narrow.BF16, gpu.F16: narrow.F16}

// runner is a layer on a device.
type runner struct {
	dev       *Device
	info      gpu.Device
	layer     gpu.Layer
	maxTokens int
	format    narrow.Format
	stream    *Stream
	steps     []deviceStep
	values    []*Buffer // those between steps; nil for inputs and outputs
	host      staging
	release   []func() error
	closed    atomic.Bool

	mu    sync.Mutex
	bound []*Bound // the last few, the newest last
}

// deviceStep is a step's memory and kernels.
type deviceStep struct {
	bias     *Buffer
	weights  []*Buffer // by packing, as far as the session's tokens go
	lists    []*Buffer // the same; nil where all blocks are stored
	function []*Function
}

// staging is where Run's arguments pass through: device memory for each, and
// page-locked memory for one at a time.
type staging struct {
	inputs, outputs []Matrix
	in, out         []*Buffer
	memory          *HostBuffer
}

func (r *runner) prepare() (err error) {
	if r.info, err = r.dev.Info(); err != nil {
		return err
	}
	if r.stream, err = r.dev.NewStream(); err != nil {
		return err
	}
	for i := range r.layer.Steps {
		if err := r.prepareStep(&r.layer.Steps[i]); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return r.placeValues()
}

// prepareStep loads a step's kernels and copies its weights.
func (r *runner) prepareStep(s *gpu.Step) error {
	var d deviceStep
	keep := func(release func() error) { r.release = append(r.release, release) }
	if s.Bias != nil {
		b, release, err := r.dev.copyOf(bytesOfWords(s.Bias))
		if err != nil {
			return fmt.Errorf("bias: %w", err)
		}
		keep(release)
		d.bias = b
	}
	for i := range s.Packings {
		p := &s.Packings[i]
		if p.TokensMin > r.maxTokens {
			break
		}
		// The plan first: its errors name a device that does not suit the kernel.
		if _, err := p.Kernel.Plan(r.layer.Problem(s, p, p.TokensMin), r.info); err != nil {
			return err
		}
		m, release, err := r.dev.module(p.Kernel.PTX)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", p.Kernel.Name, err)
		}
		keep(release)
		f, err := m.Function(p.Kernel.Name)
		if err != nil {
			return err
		}
		w, release, err := r.dev.copyOf(p.Weights)
		if err != nil {
			return fmt.Errorf("weights [%d, %d]: %w", s.Out, s.In, err)
		}
		keep(release)
		var lists *Buffer
		if p.Lists != nil {
			if lists, release, err = r.dev.copyOf(bytesOfWords(p.Lists)); err != nil {
				return fmt.Errorf("lists of blocks: %w", err)
			}
			keep(release)
		}
		d.function, d.weights, d.lists = append(d.function, f), append(d.weights, w), append(d.lists, lists)
	}
	r.steps = append(r.steps, d)
	return nil
}

// bytesOfWords is the memory of a slice of 4-byte elements.
func bytesOfWords[T float32 | uint32](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

// placeValues gives each value between steps device memory. Two values share it
// where the one is read for the last time before the other is written.
func (r *runner) placeValues() error {
	l := &r.layer
	r.values = make([]*Buffer, len(l.Values))
	lastUse := make(map[int]int)
	for i, s := range l.Steps {
		lastUse[s.X] = i
		if s.Residual != gpu.NoValue {
			lastUse[s.Residual] = i
		}
	}
	type slot struct {
		bytes  int64
		until  int // step that reads its value last
		values []int
	}
	var slots []slot
	for i, s := range l.Steps {
		if slices.Contains(l.Outputs, s.Y) {
			continue
		}
		at := slices.IndexFunc(slots, func(x slot) bool { return x.until < i })
		if at < 0 {
			at = len(slots)
			slots = append(slots, slot{})
		}
		x := &slots[at]
		x.bytes = max(x.bytes, r.matrix(s.Y).Bytes(r.maxTokens))
		x.until = max(lastUse[s.Y], i)
		x.values = append(x.values, s.Y)
	}
	for _, x := range slots {
		b, err := r.dev.Alloc(x.bytes)
		if err != nil {
			return fmt.Errorf("values between ops: %w", err)
		}
		r.release = append(r.release, b.Free)
		for _, v := range x.values {
			r.values[v] = b
		}
	}
	return nil
}

// Close frees what the runner holds, after the work on it.
func (r *runner) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	if err := r.dev.Synchronize(); errors.Is(err, ErrClosed) || errors.Is(err, ErrDeviceLost) {
		return nil // the device's Close has freed it, or the end of the process will
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, b := range r.bound {
		errs = append(errs, b.free())
	}
	for _, release := range slices.Backward(r.release) {
		errs = append(errs, release())
	}
	if r.stream != nil {
		errs = append(errs, r.stream.Close())
	}
	return errors.Join(errs...)
}

func (r *runner) matrix(value int) Matrix {
	v := r.layer.Values[value]
	return Matrix{Name: v.Name, Features: v.Features, Pitch: r.layer.Pitch(value), ElemBytes: r.layer.DType.Size()}
}

func (r *runner) matrices(values []int) []Matrix {
	ms := make([]Matrix, len(values))
	for i, v := range values {
		ms[i] = r.matrix(v)
	}
	return ms
}

// stage gives Run's arguments memory, once.
func (r *runner) stage() (err error) {
	h := &r.host
	if h.memory != nil {
		return nil
	}
	h.inputs, h.outputs = r.matrices(r.layer.Inputs), r.matrices(r.layer.Outputs)
	h.in, h.out = nil, nil
	most := int64(0)
	for _, side := range []struct {
		ms []Matrix
		to *[]*Buffer
	}{{h.inputs, &h.in}, {h.outputs, &h.out}} {
		for _, m := range side.ms {
			n := m.Bytes(r.maxTokens)
			b, err := r.dev.Alloc(n)
			if err != nil {
				return err
			}
			r.release = append(r.release, b.Free)
			*side.to = append(*side.to, b)
			most = max(most, n)
		}
	}
	memory, err := r.dev.AllocHost(most)
	if err != nil {
		return err
	}
	r.release = append(r.release, memory.Free)
	h.memory = memory
	return nil
}

// maxBound is how many bindings a session keeps.
const maxBound = 16

// recent returns the binding of the last few that fits, or makes it.
func (r *runner) recent(tokens int, in, out []*Buffer) (*Bound, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range slices.Backward(r.bound) {
		if b.tokens == tokens && slices.Equal(b.in, in) && slices.Equal(b.out, out) {
			return b, nil
		}
	}
	b, err := r.bind(tokens, in, out)
	if err != nil {
		return nil, err
	}
	if len(r.bound) == maxBound {
		if old := r.bound[0]; len(old.scratch) > 0 {
			// Its launches may be under way in a stream that only the caller knows.
			if err := errors.Join(r.dev.Synchronize(), old.free()); err != nil {
				return nil, err
			}
		}
		r.bound = slices.Delete(r.bound, 0, 1)
	}
	r.bound = append(r.bound, b)
	return b, nil
}

// bind prepares every launch.
func (r *runner) bind(tokens int, in, out []*Buffer) (_ *Bound, err error) {
	l := &r.layer
	switch {
	case r.closed.Load():
		return nil, fmt.Errorf("cuda: the session is %w", ErrClosed)
	case tokens < l.TokensMin || tokens > r.maxTokens:
		return nil, fmt.Errorf("%w: %d where the session takes %d..%d", runtime.ErrBatch, tokens, l.TokensMin, r.maxTokens)
	case len(in) != len(l.Inputs) || len(out) != len(l.Outputs):
		return nil, fmt.Errorf("%w: %d inputs and %d outputs where the layer has %d and %d", runtime.ErrLength, len(in), len(out), len(l.Inputs), len(l.Outputs))
	}
	values := slices.Clone(r.values)
	for i, v := range l.Inputs {
		values[v] = in[i]
	}
	for i, v := range l.Outputs {
		values[v] = out[i]
	}
	if err := r.checkBuffers(tokens, in, out); err != nil {
		return nil, err
	}
	b := &Bound{r: r, tokens: tokens, in: slices.Clone(in), out: slices.Clone(out)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.free())
		}
	}()
	for i := range l.Steps {
		if err := b.add(&l.Steps[i], &r.steps[i], values); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// add prepares the launch of one step.
func (b *Bound) add(s *gpu.Step, d *deviceStep, values []*Buffer) error {
	r := b.r
	at := s.Packing(b.tokens)
	packing := &s.Packings[at]
	launch, err := packing.Kernel.Plan(r.layer.Problem(s, packing, b.tokens), r.info)
	if err != nil {
		return err
	}
	buffers := Buffers{gpu.Weights: d.weights[at], gpu.Meta: d.lists[at], gpu.Bias: d.bias, gpu.X: values[s.X], gpu.Y: values[s.Y]}
	if s.Residual != gpu.NoValue {
		buffers[gpu.Residual] = values[s.Residual]
	}
	need, err := launch.Needs()
	if err != nil {
		return err
	}
	if n := need[gpu.Workspace]; n > 0 {
		w, err := r.dev.Alloc(int64(n))
		if err != nil {
			return fmt.Errorf("workspace: %w", err)
		}
		b.scratch = append(b.scratch, w)
		// Counters must be zero before the first launch, which leaves them so.
		if err := errors.Join(r.stream.Memset(w, 0), r.stream.Synchronize()); err != nil {
			return err
		}
		buffers[gpu.Workspace] = w
	}
	p, err := r.dev.Prepare(d.function[at], launch, buffers)
	if err != nil {
		return err
	}
	b.launches = append(b.launches, p)
	return nil
}

// checkBuffers checks a caller's buffers.
func (r *runner) checkBuffers(tokens int, in, out []*Buffer) error {
	type named struct {
		what string
		b    *Buffer
		n    int64
	}
	var all []named
	add := func(what string, ms []Matrix, bs []*Buffer) {
		for i, m := range ms {
			all = append(all, named{fmt.Sprintf("%s %d (%q)", what, i, m.Name), bs[i], m.Bytes(tokens)})
		}
	}
	add("input", r.matrices(r.layer.Inputs), in)
	add("output", r.matrices(r.layer.Outputs), out)
	for i, x := range all {
		if x.b == nil {
			return fmt.Errorf("%w: %s is nil", runtime.ErrLength, x.what)
		}
		if x.b.size < x.n {
			return fmt.Errorf("%w: %s has %d bytes, %d tokens need %d", runtime.ErrLength, x.what, x.b.size, tokens, x.n)
		}
		if i < len(in) {
			continue // inputs may be the same memory
		}
		for _, y := range all[:i] {
			if x.b.addr < y.b.addr+uint64(y.n) && y.b.addr < x.b.addr+uint64(x.n) {
				return fmt.Errorf("%w: %s, %s", runtime.ErrOverlap, x.what, y.what)
			}
		}
	}
	return nil
}

// narrow rounds [tokens, Features] floats into rows of a device matrix.
func (m Matrix) narrow(f narrow.Format, to []byte, from []float32) {
	width, pitch := m.Features*m.ElemBytes, m.Pitch*m.ElemBytes
	for len(from) > 0 {
		row := f.Append(to[:0:width], from[:m.Features])
		clear(to[len(row):pitch])
		to, from = to[pitch:], from[m.Features:]
	}
}

// widen is the inverse of narrow.
func (m Matrix) widen(f narrow.Format, to []float32, from []byte) error {
	width, pitch := m.Features*m.ElemBytes, m.Pitch*m.ElemBytes
	for len(to) > 0 {
		if err := f.Floats(to[:m.Features], from[:width]); err != nil {
			return err
		}
		to, from = to[m.Features:], from[pitch:]
	}
	return nil
}

// upload copies page-locked memory to the device and waits. Unlike Upload it
// allocates nothing.
func (r *runner) upload(to *Buffer, raw []byte) error {
	d := r.dev
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if err := d.check("upload an input", d.drv.MemcpyHtoD(to.addr, unsafe.Pointer(&raw[0]), uint64(len(raw)), r.stream.handle)); err != nil {
		return err
	}
	return d.check("upload an input", d.drv.StreamSynchronize(r.stream.handle))
}

// download is the way back.
func (r *runner) download(raw []byte, from *Buffer) error {
	d := r.dev
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if err := d.check("download an output", d.drv.MemcpyDtoH(unsafe.Pointer(&raw[0]), from.addr, uint64(len(raw)), r.stream.handle)); err != nil {
		return err
	}
	return d.check("download an output", d.drv.StreamSynchronize(r.stream.handle))
}
