package kernels

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Config is a configuration of a family whose weights are packed by a
// layout.Format.
type Config interface {
	Name() string
	Check() error
	Build() (*gpu.Kernel, error)
	Format() layout.Format
}

// Linear says what a linear layer computes, not how:
//
//	y[t, o] = act(Σ_i x[t, i]·w[o, i] · scales + bias[o]) + residual[t, o]
type Linear struct {
	Target ptx.Target
	DType  gpu.DType // of weights and activations
	Form   gpu.Form  // Dense or NM24
	Listed bool      // only blocks in which the pattern keeps something are stored (layout.Blocks), Problem.Blocks of them
	Y      gpu.DType

	TensorScale bool
	OutScale    bool
	TokenScale  bool
	Bias        gpu.DType // 0 for none
	Activation  Activation
	Residual    bool

	Serial bool // starts when its predecessor in the stream has ended, not before
}

// Candidate is a configuration with what its family expects of it.
type Candidate struct {
	Config
	Cycles float64 // of the multiprocessors' clock, from the launch's first block to its last
}

// families offer configurations of a linear layer for a problem on a device; each
// leaves out what it cannot compute.
var families = []func(l Linear, p gpu.Problem, d gpu.Device) []Candidate{
	gemmCandidates,
	decodeCandidates,
	ampereCandidates,
}

// Candidates lists the configurations worth timing for a problem on a device, the
// best first as far as the families' models can tell. The error says why there
// are none.
func (l Linear) Candidates(p gpu.Problem, d gpu.Device) ([]Candidate, error) {
	var all []Candidate
	for _, f := range families {
		all = append(all, f(l, p, d)...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no kernel for %v: %w", l.Target, l.whyNone())
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(a.Cycles, b.Cycles) })
	return all, nil
}

// whyNone is the reason for which the family nearest to the layer has no kernel.
func (l Linear) whyNone() error {
	if !l.Target.Has(ptx.SM90a()) {
		t := ampereTiles[0]
		return l.ampere(t.m, t.n, t.warpsM, t.warpsN, t.blocks).Check()
	}
	return l.gemm(gemmTiles[0].tokens).Check()
}

// Choose returns the best of the candidates.
func (l Linear) Choose(p gpu.Problem, d gpu.Device) (Config, error) {
	all, err := l.Candidates(p, d)
	if err != nil {
		return nil, err
	}
	return all[0].Config, nil
}

// Reference is the device for which a choice is made that has to serve every
// device of the target: of sm_90a the H100 and H200 in their SXM form, of older
// targets the A100.
func Reference(t ptx.Target) gpu.Device {
	if t.Has(ptx.SM90()) {
		return gpu.Device{Name: "H200", CC: [2]int{9, 0}, SMs: 132, SharedMax: 227 << 10, L2Bytes: 50 << 20, MaxClusters2: 66, MaxClusters4: 30}
	}
	return gpu.Device{Name: "A100", CC: [2]int{8, 0}, SMs: 108, SharedMax: 163 << 10, L2Bytes: 40 << 20}
}
