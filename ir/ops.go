package ir

import "slices"

// OpDef is one row of the op table: everything that the checker, the manual
// and the builder know of an op.
type OpDef struct {
	Name    string
	Params  []ParamDef // in the order in which positional arguments fill them
	Shape   ShapeRule
	Formula string // one line; docs/ir.md shows it

	// valid tells what is wrong with the attributes together, or "".
	valid func(Attrs) string
}

// ParamDef is one parameter of an op.
type ParamDef struct {
	Name     string
	Kind     ParamKind
	Required bool
	Default  float64  // of an optional number or word
	Words    []string // what a WordParam may be; its value is the index
}

// ParamKind says what an argument may be.
type ParamKind uint8

const (
	ValueParam  ParamKind = iota // a value of the layer
	MatrixParam                  // a weight of two axes, with a pattern
	VectorParam                  // a weight of one axis
	NumberParam                  // a constant
	WordParam                    // one of a few words
	AxisParam                    // an axis of the first value; the last by default
)

// ShapeRule says how an op's shapes depend on each other.
type ShapeRule uint8

const (
	// SameShape: all values and the result y have one shape.
	SameShape ShapeRule = iota
	// AxisShape: the result has the value's shape; vectors have its extent at axis.
	AxisShape
	// LinearShape: the result has the value's shape with out features in place
	// of in features at axis.
	LinearShape
)

// String is the rule as the manual states it.
func (r ShapeRule) String() string {
	return [...]string{
		"y like x",
		"y like x; gain, bias as long as axis",
		"x [t, in], w [out, in], bias [out], y [t, out]; axis=0: x [in, t], y [out, t]",
	}[r]
}

// The values of the attribute approx of gelu.
const (
	GeluErf  = 0
	GeluTanh = 1
)

var (
	valueX   = ParamDef{Name: "x", Kind: ValueParam, Required: true}
	valueZ   = ParamDef{Name: "z", Kind: ValueParam, Required: true}
	vecGain  = ParamDef{Name: "gain", Kind: VectorParam}
	vecBias  = ParamDef{Name: "bias", Kind: VectorParam}
	axisLast = ParamDef{Name: "axis", Kind: AxisParam}
)

// opTable is the op table. It is never written to.
var opTable = []OpDef{
	{Name: "linear", Params: []ParamDef{
		valueX, {Name: "w", Kind: MatrixParam, Required: true}, vecBias, axisLast,
	}, Shape: LinearShape, Formula: "y[t,o] = Σ_i w[o,i]·x[t,i] + bias[o]"},
	{Name: "relu", Params: []ParamDef{valueX}, Shape: SameShape, Formula: "max(x, 0)"},
	{Name: "gelu", Params: []ParamDef{
		valueX, {Name: "approx", Kind: WordParam, Default: GeluErf, Words: []string{"erf", "tanh"}},
	}, Shape: SameShape, Formula: "erf: x/2·(1 + erf(x/√2)); tanh: x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))"},
	{Name: "silu", Params: []ParamDef{valueX}, Shape: SameShape, Formula: "x / (1 + exp(-x))"},
	{Name: "sigmoid", Params: []ParamDef{valueX}, Shape: SameShape, Formula: "1 / (1 + exp(-x))"},
	{Name: "tanh", Params: []ParamDef{valueX}, Shape: SameShape, Formula: "tanh(x)"},
	{Name: "clamp", Params: []ParamDef{
		valueX, {Name: "lo", Kind: NumberParam, Required: true}, {Name: "hi", Kind: NumberParam, Required: true},
	}, Shape: SameShape, Formula: "min(max(x, lo), hi)", valid: loBelowHi},
	{Name: "add", Params: []ParamDef{valueX, valueZ}, Shape: SameShape, Formula: "x + z"},
	{Name: "mul", Params: []ParamDef{valueX, valueZ}, Shape: SameShape, Formula: "x·z"},
	{Name: "softmax", Params: []ParamDef{valueX, axisLast}, Shape: AxisShape, Formula: "exp(x - max x) / Σ exp(x - max x) along axis"},
	{Name: "layernorm", Params: []ParamDef{
		valueX, vecGain, vecBias, {Name: "eps", Kind: NumberParam, Default: 1e-5}, axisLast,
	}, Shape: AxisShape, Formula: "(x - mean x) / √(mean (x - mean x)² + eps)·gain + bias along axis", valid: epsPositive},
	{Name: "rmsnorm", Params: []ParamDef{
		valueX, vecGain, {Name: "eps", Kind: NumberParam, Default: 1e-6}, axisLast,
	}, Shape: AxisShape, Formula: "x / √(mean x² + eps)·gain along axis", valid: epsPositive},
}

func loBelowHi(a Attrs) string {
	if a.Get("lo") > a.Get("hi") {
		return "lo of clamp lies above hi"
	}
	return ""
}

func epsPositive(a Attrs) string {
	if float32(a.Get("eps")) <= 0 {
		return "eps must be above 0 in f32"
	}
	return ""
}

// Ops is the op table, in the order of the manual. The result is the caller's.
func Ops() []OpDef { return slices.Clone(opTable) }

// findOp returns the op's row, or nil.
func findOp(name string) *OpDef {
	for i := range opTable {
		if opTable[i].Name == name {
			return &opTable[i]
		}
	}
	return nil
}

func opNames() []string {
	names := make([]string, len(opTable))
	for i, d := range opTable {
		names[i] = d.Name
	}
	return names
}

// param returns the index of a parameter, or -1.
func (d *OpDef) param(name string) int {
	return slices.IndexFunc(d.Params, func(p ParamDef) bool { return p.Name == name })
}

func (d *OpDef) paramNames() []string {
	names := make([]string, len(d.Params))
	for i, p := range d.Params {
		names[i] = p.Name
	}
	return names
}

// targetTable lists the instruction sets of each architecture. It is never
// written to.
var targetTable = []Target{
	{Arch: "amd64", ISAs: []string{"avx2", "avx512"}},
	{Arch: "arm64", ISAs: []string{"neon", "sve"}},
	{Arch: "ptx", ISAs: []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_120"}},
}

// KnownTargets lists the architectures with their instruction sets. The
// result is the caller's.
func KnownTargets() []Target {
	out := slices.Clone(targetTable)
	for i := range out {
		out[i].ISAs = slices.Clone(out[i].ISAs)
	}
	return out
}
