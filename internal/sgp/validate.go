package sgp

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// MaxExtent is the largest extent of any axis: features, batch, rows, columns.
const MaxExtent = math.MaxInt32

// maxUnreached is how many output rows of a model may have no weight. A reader
// takes memory for each, and the file does not.
const maxUnreached = 1 << 26

// Validate reports the first thing in m that a kernel could not run safely, or
// that says nothing a runtime could do. Its error names the layer, op and form.
func (m *Model) Validate() error {
	seen := make(map[string]bool, len(m.Layers))
	unreached := 0
	for i := range m.Layers {
		l := &m.Layers[i]
		if l.Name == "" {
			return fmt.Errorf("layer %d has no name", i)
		}
		if seen[l.Name] {
			return fmt.Errorf("layer %q occurs twice", l.Name)
		}
		seen[l.Name] = true
		if err := l.validate(); err != nil {
			return fmt.Errorf("layer %q: %w", l.Name, err)
		}
		for j := range l.Ops {
			if lin := l.Ops[j].Linear; lin != nil {
				unreached += lin.unreached()
			}
			if unreached > maxUnreached {
				return fmt.Errorf("layer %q: op %d: more than %d output rows without a weight", l.Name, j, maxUnreached)
			}
		}
	}
	return nil
}

// unreached is the number of output rows that no weight reaches, in all variants
// together.
func (lin *Linear) unreached() int {
	n := 0
	for i := range lin.Variants {
		switch v := &lin.Variants[i]; {
		case v.Panel != nil:
			n += lin.Out
			for j := range v.Panel.Segments {
				n -= len(v.Panel.Segments[j].Rows)
			}
		case v.Lanes != nil && v.Lanes.Rows != nil:
			n += lin.Out - len(v.Lanes.Rows)
		}
	}
	return n
}

// gpuTypes are the element types of layers with a target; the others have none.
var gpuTypes = []string{BF16, F16}

func (l *Layer) validate() error {
	switch {
	case l.Target == "" && l.Type != "":
		return fmt.Errorf("values of %q without a target", l.Type)
	case l.Target != "" && !slices.Contains(gpuTypes, l.Type):
		return fmt.Errorf("values of %q for target %s", l.Type, l.Target)
	}
	if l.BatchMin < 1 || l.BatchMax < l.BatchMin || l.BatchMax > MaxExtent {
		return fmt.Errorf("batch range %d..%d", l.BatchMin, l.BatchMax)
	}
	for i, v := range l.Values {
		if err := v.validate(); err != nil {
			return fmt.Errorf("value %d (%q): %w", i, v.Name, err)
		}
		if _, ok := mul(v.Features(), l.BatchMax); !ok {
			return fmt.Errorf("value %d (%q): more than %d elements", i, v.Name, math.MaxInt)
		}
	}
	written := make([]bool, len(l.Values))
	for _, i := range l.Inputs {
		if i < 0 || i >= len(l.Values) {
			return fmt.Errorf("input: no value %d", i)
		}
		if written[i] {
			return fmt.Errorf("value %d is an input twice", i)
		}
		written[i] = true
	}
	for i := range l.Ops {
		if err := l.validateOp(&l.Ops[i], written); err != nil {
			return fmt.Errorf("op %d: %w", i, err)
		}
	}
	if len(l.Inputs) == 0 || len(l.Outputs) == 0 {
		return errors.New("no input or no output")
	}
	input := make(map[int]bool, len(l.Inputs))
	for _, i := range l.Inputs {
		input[i] = true
	}
	given := make(map[int]bool, len(l.Outputs))
	for _, i := range l.Outputs {
		if i < 0 || i >= len(l.Values) || !written[i] || input[i] {
			return fmt.Errorf("output: value %d is not the result of an op", i)
		}
		if given[i] {
			return fmt.Errorf("value %d is an output twice", i)
		}
		given[i] = true
	}
	return nil
}

func (v Value) validate() error {
	if len(v.Dims) < 1 || len(v.Dims) > 8 {
		return fmt.Errorf("rank %d is not in 1..8", len(v.Dims))
	}
	n, batch := 1, 0
	for i, d := range v.Dims {
		if d == 0 {
			batch++
			if i != 0 && i != len(v.Dims)-1 {
				return errors.New("the batch axis is neither first nor last")
			}
			continue
		}
		var ok bool
		if n, ok = mul(n, d); d < 0 || !ok || n > MaxExtent {
			return fmt.Errorf("extents %v are out of range", v.Dims)
		}
	}
	if batch != 1 {
		return fmt.Errorf("%d batch axes", batch)
	}
	return nil
}

// opArgs is the number of arguments of each kind.
var opArgs = [numKinds]int{
	LinearOp: 1, Relu: 1, Clamp: 1, Gelu: 1, GeluTanh: 1, Silu: 1, Sigmoid: 1, Tanh: 1,
	Add: 2, Mul: 2, Softmax: 1, LayerNorm: 1, RMSNorm: 1,
}

func (l *Layer) validateOp(op *Op, written []bool) error {
	if op.Kind >= numKinds || opArgs[op.Kind] == 0 {
		return fmt.Errorf("unknown kind %d", op.Kind)
	}
	residual := 0 // a linear op on a GPU may have one
	if l.Target != "" {
		if op.Kind != LinearOp {
			return fmt.Errorf("kind %d in a layer for %s, which has linear ops alone", op.Kind, l.Target)
		}
		residual = max(0, len(op.Args)-1)
	}
	if len(op.Args) != opArgs[op.Kind]+residual || residual > 1 {
		return fmt.Errorf("%d arguments where its kind has %d", len(op.Args), opArgs[op.Kind])
	}
	for _, a := range op.Args {
		if a < 0 || a >= len(l.Values) || !written[a] {
			return fmt.Errorf("argument: value %d is not known yet", a)
		}
	}
	if op.Out < 0 || op.Out >= len(l.Values) || written[op.Out] {
		return fmt.Errorf("result: value %d does not exist or is written already", op.Out)
	}
	written[op.Out] = true
	out := l.Values[op.Out]
	for i, a := range op.Args {
		x := l.Values[a]
		if x.FeatureMajor() != out.FeatureMajor() || l.Target != "" && x.FeatureMajor() {
			return errors.New("an argument has another layout than the result")
		}
		if (op.Kind != LinearOp || i > 0) && x.Features() != out.Features() {
			return fmt.Errorf("an argument has %d features, the result %d", x.Features(), out.Features())
		}
	}
	if (op.Kind == LinearOp) != (op.Linear != nil) {
		return errors.New("a linear op and its weights belong together")
	}
	switch op.Kind {
	case LinearOp:
		x := l.Values[op.Args[0]]
		if op.Linear.In != x.Features() || op.Linear.Out != out.Features() {
			return fmt.Errorf("linear [%d, %d] between %d and %d features", op.Linear.Out, op.Linear.In, x.Features(), out.Features())
		}
		return op.Linear.validate(l)
	case Softmax, LayerNorm, RMSNorm:
		if op.Group < 1 || out.Features()%op.Group != 0 {
			return fmt.Errorf("group of %d among %d features", op.Group, out.Features())
		}
		if (op.Gain != nil && len(op.Gain) != op.Group) || (op.Bias != nil && len(op.Bias) != op.Group) {
			return fmt.Errorf("gain of %d, bias of %d for groups of %d", len(op.Gain), len(op.Bias), op.Group)
		}
	}
	return nil
}

func (lin *Linear) validate(l *Layer) error {
	if lin.Bias != nil && len(lin.Bias) != lin.Out {
		return fmt.Errorf("bias of %d for %d outputs", len(lin.Bias), lin.Out)
	}
	switch lin.Act {
	case None, Relu, Clamp, Gelu, GeluTanh, Silu, Sigmoid, Tanh:
	default:
		return fmt.Errorf("kind %d is no activation", lin.Act)
	}
	if len(lin.Variants) == 0 {
		return errors.New("no variant")
	}
	next := l.BatchMin
	for i := range lin.Variants {
		v := &lin.Variants[i]
		if v.BatchMin != next || v.BatchMax < v.BatchMin {
			return fmt.Errorf("variant %d covers batch %d..%d, after %d", i, v.BatchMin, v.BatchMax, next-1)
		}
		next = v.BatchMax + 1
		var err error
		switch {
		case count(v.Panel != nil, v.Lanes != nil, v.GPU != nil) != 1:
			err = errors.New("not exactly one form")
		case (v.GPU != nil) != (l.Target != ""):
			err = fmt.Errorf("a form of another processor in a layer for %s", cmp.Or(l.Target, "the CPU"))
		case v.GPU != nil:
			err = v.GPU.validate(lin)
		case v.Panel != nil:
			err = v.Panel.validate(lin)
		default:
			err = v.Lanes.validate(lin)
		}
		if err != nil {
			return fmt.Errorf("variant for batch %d..%d: %w", v.BatchMin, v.BatchMax, err)
		}
	}
	if next != l.BatchMax+1 {
		return fmt.Errorf("variants end at batch %d of %d", next-1, l.BatchMax)
	}
	return nil
}

// count is how many are true.
func count(bs ...bool) int {
	n := 0
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}

// maxKernelName bounds the name of a kernel, in bytes.
const maxKernelName = 1 << 10

func (f *GPU) validate(lin *Linear) error {
	switch {
	case f.Kernel == "" || len(f.Kernel) > maxKernelName:
		return fmt.Errorf("a kernel's name of %d bytes", len(f.Kernel))
	case len(f.Weights) == 0:
		return errors.New("no weights")
	case lin.Act == Clamp:
		return errors.New("no GPU kernel clamps")
	}
	return nil
}

// keptColumns checks cols and returns K.
func keptColumns(cols []uint32, in int) (int, error) {
	if cols == nil {
		return in, nil
	}
	if len(cols) == 0 || len(cols) > MaxExtent {
		return 0, fmt.Errorf("cols: %d kept columns", len(cols))
	}
	for i, c := range cols {
		if int64(c) >= int64(in) {
			return 0, fmt.Errorf("cols[%d] = %d is not below %d", i, c, in)
		}
	}
	return len(cols), nil
}

// distinctRows reports a row that is out of range or occurs twice.
func distinctRows(rows []uint32, out int) error {
	sorted := slices.Clone(rows)
	slices.Sort(sorted)
	for i, r := range sorted {
		if int64(r) >= int64(out) {
			return fmt.Errorf("rows: %d is not below %d", r, out)
		}
		if i > 0 && r == sorted[i-1] {
			return fmt.Errorf("rows: %d occurs twice", r)
		}
	}
	return nil
}

func (p *Panel) validate(lin *Linear) error {
	k, err := keptColumns(p.Cols, lin.In)
	if err != nil {
		return err
	}
	if p.KB < 1 || p.KB > 1<<16 {
		return fmt.Errorf("a K-block of %d is not in 1..65536", p.KB)
	}
	var rows []uint32
	for i := range p.Segments {
		s := &p.Segments[i]
		// A grouped panel has 2^MR-1 runs.
		if most := map[bool]int{true: 8, false: 64}[s.Kind == Grouped]; s.MR < 1 || s.MR > most {
			return fmt.Errorf("segment %d: panels of %d rows are not in 1..%d", i, s.MR, most)
		}
		if len(s.Rows) == 0 || len(s.Rows)%s.MR != 0 {
			return fmt.Errorf("segment %d: %d rows in panels of %d", i, len(s.Rows), s.MR)
		}
		rows = append(rows, s.Rows...)
		if err := s.validate(k, p.KB); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
	}
	return distinctRows(rows, lin.Out)
}

func (s *Segment) validate(k, kb int) error {
	blocks, panels := (k+kb-1)/kb, len(s.Rows)/s.MR
	if s.Kind == Dense {
		if want, ok := mul(len(s.Rows), k); !ok || want != len(s.W) || len(s.Idx) != 0 || len(s.Runs) != 0 {
			return fmt.Errorf("dense panels of %d rows, K = %d, with %d weights, %d indices, %d runs", len(s.Rows), k, len(s.W), len(s.Idx), len(s.Runs))
		}
		return nil
	}
	if s.Kind != Grouped && s.Kind != Block && s.Kind != Step {
		return fmt.Errorf("unknown kind %d", s.Kind)
	}
	perPanel := s.Kind.Runs(s.MR)
	if want, ok := mul(blocks, panels, perPanel); !ok || want != len(s.Runs) {
		return fmt.Errorf("%d runs for %d blocks of %d panels", len(s.Runs), blocks, panels)
	}
	// Both sums stay below 2^16 * len(Runs) * 64, far from overflow.
	idx, w := 0, 0
	for b := range blocks {
		end := idx
		for i, n := range s.Runs[b*panels*perPanel : (b+1)*panels*perPanel] {
			columns, weights := s.Kind.Entry(s.MR, i%perPanel)
			end += int(n) * columns
			w += int(n) * weights
		}
		if end+IdxAhead > len(s.Idx) {
			return fmt.Errorf("runs need more than the %d indices", len(s.Idx))
		}
		length := min(kb, k-b*kb)
		for i, c := range s.Idx[idx:end] {
			if int(c) >= length {
				return fmt.Errorf("idx[%d] = %d is not below the K-block's %d", idx+i, c, length)
			}
		}
		idx = end
	}
	if idx+IdxAhead != len(s.Idx) || w != len(s.W) {
		return fmt.Errorf("runs need %d indices and %d more, and %d weights; there are %d and %d", idx, IdxAhead, w, len(s.Idx), len(s.W))
	}
	return nil
}

func onesCount(b []byte) int {
	n := 0
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56)
	}
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}

// mul multiplies non-negative factors; ok is false when the product is not an int.
func mul(factors ...int) (p int, ok bool) {
	p = 1
	for _, f := range factors {
		hi, lo := bits.Mul64(uint64(p), uint64(f))
		if f < 0 || hi != 0 || lo > math.MaxInt {
			return 0, false
		}
		p = int(lo)
	}
	return p, true
}
