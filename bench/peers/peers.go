// Package peers wraps the C libraries that the benchmarks compare with, one
// file a library: OpenBLAS, oneDNN, XNNPACK and libxsmm as Debian ships them.
//
// Every wrapper computes the same product, y = x·wᵀ, on one thread, with
// everything that a serving program does once (packing, code generation,
// creation of operators) in Prepare and nothing but the product in Run.
//
// This package must not import any other package of this project: a peer
// cannot lean on what it is compared with.
package peers

import "errors"

// Layout says how the activations lie in memory.
type Layout uint8

const (
	// TokenMajor: x is [batch, in], y is [batch, out], row-major.
	TokenMajor Layout = iota
	// FeatureMajor: x is [in, batch], y is [out, batch], row-major; a batch
	// column is a pixel of a 1×1 convolution over NCHW.
	FeatureMajor
)

func (l Layout) String() string {
	if l == FeatureMajor {
		return "feature-major"
	}
	return "token-major"
}

// Problem is the shape of one product y = x·wᵀ with w [Out, In], float32.
type Problem struct {
	Out, In, Batch int
	Layout         Layout
}

// Runner computes one prepared product. It belongs to the thread that made it.
type Runner interface {
	// Run computes y from x, both of the problem's layout and size. It
	// allocates nothing.
	Run(x, y []float32)
	// Describe names the kernel that runs.
	Describe() string
	// Bytes is what one Run reads of weights and their metadata.
	Bytes() int64
	// Close frees what Prepare made outside Go's heap.
	Close()
}

// Staged is a Runner with its own activation layout, such as channels in
// blocks or pixels padded to the vector length. The harness times Execute
// alone: between two layers of a network the layout would stay.
type Staged interface {
	Runner
	Load(x []float32)
	Execute()
	Store(y []float32)
}

// Reweighted is a Runner that cannot take arbitrary weights. Weights returns
// the [out, in] matrix that it computes with instead.
type Reweighted interface {
	Runner
	Weights() []float32
}

// Peer is one contender.
type Peer struct {
	Name    string
	Library string // with its version
	Note    string // what a reader must know to read its figures
	// Sparse says that it is meant to skip zeros; it then runs once a pattern,
	// and on patterns with zeros only.
	Sparse bool
	Layout Layout
	// Prepare packs w [out, in], row-major, in which a pruned weight is 0. It
	// does not keep w. The error is ErrUnsupported where the library has no
	// kernel for the problem on this machine.
	Prepare func(w []float32, p Problem) (Runner, error)
}

// ErrUnsupported says that a library has no kernel for a problem.
var ErrUnsupported = errors.New("no kernel for this problem on this machine")

// All lists the peers in the order in which tables show them. Pin must have
// been called on the thread that uses them.
func All() []Peer {
	var all []Peer
	for _, l := range []Layout{TokenMajor, FeatureMajor} {
		all = append(all, openBLAS(l), oneDNN(l))
	}
	return append(all, oneDNNConv(), xnnpackFC(), xnnpackSpMM(), fsspmdm())
}
