package torture

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// The families of cases beside those that are named after a kernel op, in which
// each linear op is packed for a configuration of that op's.
const (
	familyPlan        = "plan"        // one linear op, as the planner packs it
	familyChain       = "chain"       // two linear ops with what may lie between and behind
	familyElementwise = "elementwise" // activations, sums, products and norms alone
	familyKernel      = "kernel"      // one call of one kernel, against its contract
	familyRefused     = "refused"     // models that must not be opened
)

// Case is one random case. What it computes follows from its fields alone.
type Case struct {
	Seed, Number uint64
	Family       string
	data         uint64 // seeds weights and inputs

	key runtime.KernelKey // of familyKernel

	layer
	batches []int
	threads int
	// configs packs the first linear op, in equal parts of the batch range; nil:
	// the planner does, with the candidates that keep lets pass.
	configs []codegen.Config
	keep    uint64
	prune   bool // weights are pruned as they are packed, not before
	file    bool // the model is opened from a file, not from memory

	structure structure
	density   float64
	values    valueKind
}

// layer is what the case's spec says.
type layer struct {
	featureMajor       bool
	vector             bool // values have one axis: a batch of one
	batchMin, batchMax int
	linears            []linear // none: elementwise
	in                 int
	residual           string // "+" or "*": the result meets a second input, z
	norm               string // what follows, or ""
	gain               bool
	act                string // of an elementwise layer
}

// linear is one linear op.
type linear struct {
	out        int
	pattern    patterns.Pattern
	transposed bool
	bias       bool
	act        string // as a spec writes it, or ""
}

var activations = []string{"", "relu", "clamp(-0.5, 0.75)", "gelu", "gelu(tanh)", "silu", "sigmoid", "tanh"}

var norms = []string{"softmax", "layernorm", "rmsnorm"}

// out is the features of the result.
func (l *layer) out() int {
	if n := len(l.linears); n > 0 {
		return l.linears[n-1].out
	}
	return l.in
}

// shape is a value's shape in the spec.
func (l *layer) shape(features int) string {
	switch {
	case l.vector:
		return fmt.Sprintf("f32[%d]", features)
	case l.featureMajor:
		return fmt.Sprintf("f32[%d, t]", features)
	}
	return fmt.Sprintf("f32[t, %d]", features)
}

// Spec is the case's spec.
func (l *layer) Spec() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sparsegen 1\n\nlayer l(x %s", l.shape(l.in))
	if l.residual != "" {
		fmt.Fprintf(&b, ", z %s", l.shape(l.out()))
	}
	fmt.Fprintf(&b, ") (y %s)", l.shape(l.out()))
	if !l.vector {
		fmt.Fprintf(&b, " where t in %d..%d", l.batchMin, l.batchMax)
	}
	b.WriteString(" {\n")
	axis := ""
	if l.featureMajor {
		axis = ", axis=0"
	}
	at, in := "x", l.in
	for i, f := range l.linears {
		shape, suffix := fmt.Sprintf("%d, %d", f.out, in), ""
		if f.transposed {
			shape, suffix = fmt.Sprintf("%d, %d", in, f.out), ".T"
		}
		e := fmt.Sprintf("linear(%s, w\"w%d\"[%s]%s : %s", at, i, shape, suffix, f.pattern)
		if f.bias {
			e += fmt.Sprintf(", bias=w\"b%d\"", i)
		}
		e += axis + ")"
		if f.act != "" {
			e += " | " + f.act
		}
		at, in = e, f.out
		if i+1 < len(l.linears) {
			fmt.Fprintf(&b, "    h%d = %s\n", i, e)
			at = fmt.Sprintf("h%d", i)
		}
	}
	if l.act != "" {
		at += " | " + l.act
	}
	if l.residual != "" {
		at = fmt.Sprintf("z %s (%s)", l.residual, at)
	}
	if l.norm != "" {
		gain := ""
		if l.gain && l.norm != "softmax" {
			gain = ", gain=w\"g\""
		}
		if l.gain && l.norm == "layernorm" {
			gain += ", bias=w\"n\""
		}
		at = fmt.Sprintf("%s(%s%s%s)", l.norm, at, gain, axis)
	}
	fmt.Fprintf(&b, "    y = %s\n}\n", at)
	return b.String()
}

// module is the checked spec.
func (l *layer) module() (*ir.Module, error) {
	return ir.Load("case.sg", []byte(l.Spec()), ir.Options{})
}

// String explains the case, in a few lines.
func (c *Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, case %d: %s", c.Seed, c.Number, c.Family)
	if c.Family == familyKernel {
		fmt.Fprintf(&b, ", kernel %s\n", c.key.Name())
		return b.String()
	}
	fmt.Fprintf(&b, ", batch %s, %d threads, %s weights at density %.3g, %s values", joined(c.batches), c.threads, c.structure, c.density, c.values)
	if c.prune {
		b.WriteString(", pruned when packed")
	}
	if c.file {
		b.WriteString(", from a file")
	}
	for _, config := range c.configs {
		fmt.Fprintf(&b, "\nconfiguration %s", config)
	}
	b.WriteString("\n" + c.Spec())
	return b.String()
}

func joined(ns []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ns), " ", ", "), "[]")
}

// source is the random numbers of one purpose.
type source struct{ *rand.Rand }

func newSource(a, b uint64) source { return source{rand.New(rand.NewPCG(a, b))} }

// chance is true n times in of.
func (s source) chance(n, of int) bool { return s.IntN(of) < n }

func pick[T any](s source, from []T) T { return from[s.IntN(len(from))] }
