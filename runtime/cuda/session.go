package cuda

import (
	"context"
	"errors"
	"fmt"

	"github.com/sparsegen/sparsegen/runtime"
)

// On lets a session of package runtime run on the device:
//
//	m, err := runtime.Open("model.sgp", kernels.Kernels())
//	s, err := m.NewSession("ffn", cuda.On(dev))
//	err = s.Run(ctx, in, out)
//
// Making the session compiles the kernels for every number of tokens up to
// runtime.MaxBatch, unless the cache has them, and allocates the layer's values for
// that number; give MaxBatch where the layer takes more than will come. Sessions
// share a layer's weights and compiled kernels on the device. NewSession gives a
// session whose inputs and outputs may stay on the device.
func On(d *Device) runtime.Option { return runtime.On(&executor{dev: d}) }

// Session is a session of package runtime on a device. Beside Run, which copies
// from and to host memory, Bind and RunDevice work on device memory. All of them
// use the session's memory for what lies between ops: at most one of its runs may
// be under way at a time, which one stream sees to.
type Session struct {
	*runtime.Session
	r *runner
}

// NewSession prepares to run a layer of a model on the device. Close it before the
// model and the device.
func NewSession(m *runtime.Model, layer string, d *Device, opts ...runtime.Option) (*Session, error) {
	e := &executor{dev: d}
	s, err := m.NewSession(layer, append(opts[:len(opts):len(opts)], runtime.On(e))...)
	if err != nil {
		return nil, err
	}
	return &Session{Session: s, r: e.made}, nil
}

// Matrix is the form of an input or output in device memory: [tokens, Features]
// elements in row-major order whose rows start Pitch elements apart.
type Matrix struct {
	Name            string
	Features, Pitch int
	ElemBytes       int
}

// Bytes returns the size of the matrix for a number of tokens.
func (m Matrix) Bytes(tokens int) int64 { return int64(tokens) * int64(m.Pitch) * int64(m.ElemBytes) }

// Inputs returns what Bind and RunDevice take.
func (s *Session) Inputs() []Matrix { return s.r.matrices(s.r.layer.Inputs) }

// Outputs returns what they fill.
func (s *Session) Outputs() []Matrix { return s.r.matrices(s.r.layer.Outputs) }

// Bind prepares the layer for a number of tokens on given memory: one buffer for
// each input and output, of at least Matrix.Bytes, which must not overlap.
func (s *Session) Bind(tokens int, in, out []*Buffer) (*Bound, error) {
	b, err := s.r.bind(tokens, in, out)
	if err != nil {
		return nil, fmt.Errorf("layer %q: %w", s.r.layer.Name, err)
	}
	return b, nil
}

// RunDevice puts the layer into a stream, nil for the device's own, and does not
// wait. It binds where tokens or buffers differ from those of the last few calls,
// and allocates nothing otherwise.
func (s *Session) RunDevice(stream *Stream, tokens int, in, out []*Buffer) error {
	b, err := s.r.recent(tokens, in, out)
	if err != nil {
		return fmt.Errorf("layer %q: %w", s.r.layer.Name, err)
	}
	return b.Launch(stream)
}

// Bound is a layer that is ready to run on given memory.
type Bound struct {
	r        *runner
	tokens   int
	in, out  []*Buffer
	launches []*Prepared
	scratch  []*Buffer // workspaces of its launches
}

// Launch puts the layer into a stream, nil for the device's own, and does not wait.
// It does not allocate, and may be captured into a graph.
func (b *Bound) Launch(s *Stream) error {
	if b.r.closed.Load() {
		return fmt.Errorf("cuda: layer %q: the session is %w", b.r.layer.Name, ErrClosed)
	}
	for _, p := range b.launches {
		if err := p.Launch(s); err != nil {
			return err
		}
	}
	return nil
}

// free gives the workspaces back; the work on them is done.
func (b *Bound) free() error {
	var errs []error
	for _, w := range b.scratch {
		errs = append(errs, w.Free())
	}
	b.scratch = nil
	return errors.Join(errs...)
}

// Run computes the layer with inputs and outputs in host memory.
func (r *runner) Run(ctx context.Context, tokens int, in, out [][]float32) error {
	if err := r.stage(); err != nil {
		return err
	}
	b, err := r.recent(tokens, r.host.in, r.host.out)
	if err != nil {
		return err
	}
	for i, m := range r.host.inputs {
		raw := r.host.memory.Bytes()[:m.Bytes(tokens)]
		m.narrow(r.format, raw, in[i])
		if err := r.upload(r.host.in[i], raw); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.Launch(r.stream); err != nil {
		return err
	}
	for i, m := range r.host.outputs {
		raw := r.host.memory.Bytes()[:m.Bytes(tokens)]
		if err := r.download(raw, r.host.out[i]); err != nil {
			return err
		}
		if err := m.widen(r.format, out[i], raw); err != nil {
			return err
		}
	}
	return nil
}
