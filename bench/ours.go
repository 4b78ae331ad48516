package main

import (
	"io"
	"strings"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// Ours is what is measured: generated kernels, chosen by the planner, driven
// by the runtime on one thread.
type Ours interface {
	// Library names the build and the instruction set it uses.
	Library() string
	// Prepare packs w [out, in], row-major, in which a pruned weight is 0, for
	// y = x·wᵀ at one batch. pattern is the language's spelling; "dense" asks
	// for our own dense kernel, the baseline that sparsity must not lose to.
	// Prepare is called several times for one matrix where the weights are to
	// come from memory; each call packs its own copy. It does not keep w.
	Prepare(w []float32, out, in int, pattern string, layout peers.Layout, batch int) (OursRunner, error)
	// Tune measures the candidates of cases that have no record in folder yet, and
	// keeps what it finds there.
	Tune(cases []Case, seed uint64, folder string, log io.Writer) error
	// UseRecords lets later calls of Prepare follow the records in folder.
	UseRecords(folder string) error
	// Untuned plans without records. It is nil where there are none.
	Untuned() Ours
}

// OursRunner is one prepared product.
type OursRunner interface {
	peers.Runner
	// Variants are further kernels over the same weights, which -variants
	// races beside the planned one: those that the planner did not choose.
	Variants() []Variant
}

// Variant is a kernel that the planner did not choose.
type Variant struct {
	Name string
	peers.Runner
}

const (
	oursName        = "ours"
	oursDenseName   = "ours-dense"
	oursUntunedName = "ours-untuned"
)

// variantName is the contender's name of a variant.
func variantName(v string) string { return oursName + ":" + strings.ReplaceAll(v, " ", "-") }
