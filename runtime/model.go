package runtime

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// The errors of misuse, to compare with errors.Is.
var (
	// ErrClosed is the error of a closed Model or Session.
	ErrClosed = errors.New("closed")
	// ErrBusy is the error of a Session that runs in another goroutine, and of
	// closing a Model with such a Session.
	ErrBusy = errors.New("running in another goroutine")
	// ErrNoLayer is the error of a layer name that the file does not have.
	ErrNoLayer = errors.New("no such layer")
	// ErrBatch is the error of a batch outside the layer's or session's range.
	ErrBatch = errors.New("batch out of range")
	// ErrLength is the error of an input or output of the wrong length, or of a
	// wrong number of them.
	ErrLength = errors.New("wrong length")
	// ErrOverlap is the error of an output that shares memory with an input or
	// another output.
	ErrOverlap = errors.New("input and output overlap")
	// ErrNoContext is the error of a nil context.
	ErrNoContext = errors.New("the context is nil")
)

// Model is an open packed model with the kernels to run it. It is immutable
// and safe for concurrent use.
type Model struct {
	path string
	sets []Set

	mu       sync.Mutex
	file     *sgp.File // nil once closed
	sessions map[*Session]struct{}
}

// Open reads or maps the packed model at path, checks all of it, and checks that the
// kernels of sets, as generated packages offer them, suffice for every layer:
//
//	m, err := runtime.Open("model.sgp", model.Kernels())
//
// A damaged file gives an error with the path and the offset. A kernel that is
// missing gives a *MissingKernelError. SPARSEGEN_ISA (generic, avx2, avx512,
// neon, sve) caps the instruction set of this and later sessions; a name that this
// architecture does not have is an error.
func Open(path string, sets ...Set) (*Model, error) {
	return open(path, sets, func() (*sgp.File, error) { return sgp.Open(path) })
}

// OpenBytes is Open of a packed model that is in memory already, such as one that
// is embedded into the program. name stands for the path in errors. data must not
// change until the model is closed: weights are used where they lie in it, unless it
// fills huge pages (Linux, from 1 MiB on) and is copied into those.
func OpenBytes(name string, data []byte, sets ...Set) (*Model, error) {
	return open(name, sets, func() (*sgp.File, error) { return sgp.Parse(name, data) })
}

func open(path string, sets []Set, file func() (*sgp.File, error)) (*Model, error) {
	isa, err := capFromEnvironment()
	if err != nil {
		return nil, err
	}
	f, err := file()
	if err != nil {
		return nil, err
	}
	m := &Model{path: path, sets: slices.Clone(sets), file: f, sessions: make(map[*Session]struct{})}
	if err := m.check(isa); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func (m *Model) check(isa ISA) error {
	packed := m.file.Model
	for _, s := range m.sets {
		have, want := s.Packing, packed.Fingerprint
		if have == want && packed.GPUFingerprint != 0 && s.GPU != nil {
			have, want = s.GPUPacking, packed.GPUFingerprint
		}
		if have != want {
			return fmt.Errorf("%s: packed by another version of the packer (%016x) than the kernels are generated for (%016x); run go generate and, where that does not pack the file, go tool sparsegen pack SPEC --out %q with the flags that it was packed with (--weights, --prune)",
				m.path, want, have, m.path)
		}
	}
	k := newKernels(m.sets, isa)
	for i := range packed.Layers {
		l := &packed.Layers[i]
		if l.Target != "" {
			if _, err := gpuLayer(l, m.sets); err != nil {
				return fmt.Errorf("%s: %w", m.path, err)
			}
			continue
		}
		if _, err := bindLayer(l, k, sizes{threads: 1, batch: 1, all: true}); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return nil
}

// Layers lists the layers in the order of the file; it is empty once the model
// is closed.
func (m *Model) Layers() []Layer {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	var all []Layer
	for i := range m.file.Model.Layers {
		l := &m.file.Model.Layers[i]
		all = append(all, Layer{l.Name, l.Target, l.BatchMin, l.BatchMax, tensors(l, l.Inputs), tensors(l, l.Outputs)})
	}
	return all
}

// Layer describes what a session of a layer takes and gives.
type Layer struct {
	Name               string
	Target             string // GPU target that it is packed for, such as "sm_90a"; "" for the CPU
	BatchMin, BatchMax int    // inclusive
	Inputs, Outputs    []Tensor
}

// Tensor is one input or output of Session.Run: float32, row-major.
type Tensor struct {
	Name string
	Dims []int // extents; 0 is the batch axis
}

func tensors(l *sgp.Layer, values []int) []Tensor {
	var ts []Tensor
	for _, i := range values {
		ts = append(ts, Tensor{l.Values[i].Name, slices.Clone(l.Values[i].Dims)})
	}
	return ts
}

// Close unmaps the file and closes the model's sessions. It refuses with
// ErrBusy while one of them runs; then nothing is closed. Closing twice is not
// an error.
func (m *Model) Close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	var stopped []*Session
	for s := range m.sessions {
		if !s.state.CompareAndSwap(idle, closed) {
			for _, s := range stopped {
				s.state.Store(idle)
			}
			return fmt.Errorf("%s: close: a session of layer %q is %w", m.path, s.layer, ErrBusy)
		}
		stopped = append(stopped, s)
	}
	var errs []error
	for _, s := range stopped {
		errs = append(errs, s.release())
	}
	clear(m.sessions)
	errs = append(errs, m.file.Close())
	m.file = nil
	return errors.Join(errs...)
}
