package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// Session runs one layer. It owns the memory and the helper goroutines that
// this takes; kernels are bound when it is made. One goroutine may use it at a
// time: a second one gets ErrBusy.
type Session struct {
	model  *Model
	state  atomic.Uint32
	runner Runner // of a layer on a GPU, in place of the plan's steps
	plan
	control control
	layer   string
}

const (
	idle uint32 = iota
	running
	closed
)

// Option is a choice for NewSession.
type Option func(*options) error

type options struct {
	threads, maxBatch int
	isa               ISA
	capped            bool
	device            Device
}

// Threads lets n goroutines, the caller's among them, share a run: n-1 helpers
// that sleep between runs. The default is 1. Work that is too small to share
// runs on the caller's alone. Results do not depend on n.
func Threads(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 1024 {
			return fmt.Errorf("threads: %d is not in 1..1024", n)
		}
		o.threads = n
		return nil
	}
}

// WithISA caps the instruction set, in place of SPARSEGEN_ISA. Results do not
// depend on it.
func WithISA(cap ISA) Option {
	return func(o *options) error {
		if _, err := ParseISA(cap.String()); err != nil {
			return err
		}
		o.isa, o.capped = cap, true
		return nil
	}
}

// MaxBatch is the largest batch that the session will be given; memory is
// reserved for it. The default is the layer's largest.
func MaxBatch(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("max batch %d: %w", n, ErrBatch)
		}
		o.maxBatch = n
		return nil
	}
}

// NewSession prepares to run a layer. Close the session to stop its helpers and
// to free its memory before the model is closed.
func (m *Model) NewSession(layer string, opts ...Option) (*Session, error) {
	if m == nil {
		return nil, fmt.Errorf("session of layer %q: no model: %w", layer, ErrClosed)
	}
	var o options
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("session of layer %q: option %d is nil", layer, i)
		}
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("session of layer %q: %w", layer, err)
		}
	}
	if o.device != nil && (o.threads > 0 || o.capped) {
		return nil, fmt.Errorf("session of layer %q: threads and instruction sets are choices for the CPU, and the session has a device", layer)
	}
	o.threads = max(1, o.threads)
	if !o.capped {
		var err error
		if o.isa, err = capFromEnvironment(); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil, fmt.Errorf("%s: model is %w", m.path, ErrClosed)
	}
	var l *sgp.Layer
	for i := range m.file.Model.Layers {
		if m.file.Model.Layers[i].Name == layer {
			l = &m.file.Model.Layers[i]
		}
	}
	if l == nil {
		return nil, fmt.Errorf("%s: %w: %q", m.path, ErrNoLayer, layer)
	}
	if o.maxBatch == 0 {
		o.maxBatch = l.BatchMax
	}
	if o.maxBatch < l.BatchMin || o.maxBatch > l.BatchMax {
		return nil, fmt.Errorf("session of layer %q: max batch %d: %w: the layer takes %d..%d", layer, o.maxBatch, ErrBatch, l.BatchMin, l.BatchMax)
	}
	if l.Target != "" || o.device != nil {
		return m.newDeviceSession(l, o)
	}
	p, err := bindLayer(l, newKernels(m.sets, o.isa), sizes{threads: o.threads, batch: o.maxBatch})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	s := &Session{model: m, layer: layer, plan: *p}
	if s.control.scratch, err = s.allocate(); err != nil {
		return nil, fmt.Errorf("session of layer %q for batch %d: %w", layer, o.maxBatch, err)
	}
	s.control.share = shareFMA
	if o.threads > 1 {
		s.control.team = newTeam(o.threads)
	}
	m.sessions[s] = struct{}{}
	return s, nil
}

// Close stops the helpers and frees the session's memory, also that on a device.
// It gives ErrBusy while the session runs; closing twice is not an error.
func (s *Session) Close() error {
	if s == nil || s.model == nil {
		return nil
	}
	if !s.state.CompareAndSwap(idle, closed) {
		if s.state.Load() == closed {
			return nil
		}
		return fmt.Errorf("session of layer %q: close: %w", s.layer, ErrBusy)
	}
	s.model.mu.Lock()
	delete(s.model.sessions, s)
	s.model.mu.Unlock()
	return s.release()
}

func (s *Session) release() (err error) {
	if s.control.team != nil {
		s.control.team.stop()
	}
	if s.runner != nil {
		err = s.runner.Close()
	}
	s.plan, s.control, s.runner = plan{}, control{}, nil
	return err
}

// Run computes the layer: one slice for each input and each output, in the
// layer's order, row-major. The batch is inferred from the lengths. Outputs must
// not overlap inputs or each other. Run allocates nothing; the session refers to
// the slices until its next run.
//
// A mistake in the arguments gives an error (ErrLength, ErrBatch, ErrOverlap,
// ErrBusy, ErrClosed) before anything is written. When ctx ends, Run returns its
// error within about a tile's time; outputs then hold anything. So they do when
// the model's file was made shorter while it is mapped, which is an error too.
//
// On a GPU, Run copies and rounds the inputs to the layer's element type, waits for
// the result and widens it; a run that has begun there is not cut short by ctx.
func (s *Session) Run(ctx context.Context, in, out [][]float32) (err error) {
	switch {
	case s == nil || s.model == nil:
		return fmt.Errorf("a session that NewSession has not made is %w", ErrClosed)
	case ctx == nil:
		return fmt.Errorf("session of layer %q: %w", s.layer, ErrNoContext)
	}
	if !s.state.CompareAndSwap(idle, running) {
		return s.refusal()
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		p := recover()
		s.state.Store(idle)
		if p != nil {
			err = fmt.Errorf("%s: layer %q: %w", s.model.path, s.layer, faultError(p))
		}
	}()
	if !s.fits(in, out) {
		if err := s.check(in, out); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.runner != nil {
		return s.runner.Run(ctx, s.batch, in, out)
	}
	if s.single.f != nil {
		s.single.call(in[0], out[0])
		return nil
	}
	s.control.done = ctx.Done()
	s.bind(in, out)
	for i := range s.steps {
		if s.control.stopped() {
			return ctx.Err()
		}
		st := &s.steps[i]
		if err := st.now.run(&s.control, s.values[st.x], s.values[st.y], s.values[st.out], s.batch); err != nil {
			return s.failure(ctx, err)
		}
	}
	return nil
}

// failure is the error of a run whose op gave err.
func (s *Session) failure(ctx context.Context, err error) error {
	if errors.Is(err, errStopped) {
		return ctx.Err()
	}
	return fmt.Errorf("%s: layer %q: %w", s.model.path, s.layer, err)
}

func (s *Session) refusal() error {
	if s.state.Load() == closed {
		return fmt.Errorf("session of layer %q is %w", s.layer, ErrClosed)
	}
	return fmt.Errorf("session of layer %q is %w", s.layer, ErrBusy)
}

// faultError is the error of a recovered panic that is a memory fault; any
// other panic is a defect and goes on.
func faultError(p any) error {
	if !sgp.IsFault(p) {
		panic(p)
	}
	at := p.(interface{ Addr() uintptr }).Addr()
	return fmt.Errorf("memory fault at %#x: was the file made shorter while it is mapped? (%v)", at, p)
}
