package ir

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/patterns"
)

// parsedPattern is what package patterns said of a pattern's text.
type parsedPattern struct {
	p   patterns.Pattern
	err error
}

// weightRoot finds the weight under the fields and indices of an expression.
func weightRoot(e Expr) (*WeightRef, bool) {
	for {
		switch x := e.(type) {
		case *WeightRef:
			return x, true
		case *Index:
			e = x.X
		case *Field:
			e = x.X
		default:
			return nil, false
		}
	}
}

// weight checks an argument that must be a weight. It returns nil when it is
// none; a malformed pattern is reported and left out.
func (lc *layerChecker) weight(def *OpDef, p ParamDef, a *Arg) *weightUse {
	ref, ok := weightRoot(a.Value)
	if !ok {
		lc.markUsed(a.Value)
		hint := ""
		switch e := a.Value.(type) {
		case *Name:
			hint = "a tensor of the weight file is written w" + strconv.Quote(e.Name)
		case *String:
			hint = "a tensor of the weight file is written w" + strconv.Quote(e.Value)
		}
		lc.reportf(a.Value.at(), codeWeightRole, hint, "%s of %s must be a weight", p.Name, def.Name)
		return nil
	}
	u := lc.layerMem.uses.one()
	u.at, u.w = ref.At, lc.mem.weights.one()
	u.w.Tensor, u.w.Pos = ref.Tensor, lc.src.pos(ref.At)
	if ref.Tensor == "" {
		lc.report(ref.At, codeWeightRole, "the name of the tensor is empty", "")
		return nil
	}
	var stated []int
	for e := a.Value; e != Expr(ref); {
		switch x := e.(type) {
		case *Field:
			if x.Name != "T" || u.w.Transposed {
				lc.reportf(x.At, codeConstruct, "a weight that the file holds as [in, out] is written w\"name\".T", "a weight has no .%s here", x.Name)
				return nil
			}
			u.w.Transposed = true
			e = x.X
		case *Index:
			if stated != nil {
				lc.report(x.At, codeConstruct, "the weight has two shapes", "")
				return nil
			}
			if stated = lc.statedShape(x); stated == nil {
				return nil
			}
			e = x.X
		}
	}
	if p.Kind == VectorParam {
		if u.w.Transposed {
			lc.reportf(ref.At, codeWeightRole, "remove .T", "%s of %s is a vector and cannot be transposed", p.Name, def.Name)
			return nil
		}
		u.ext = append(lc.mem.cells.some(1), lc.x.open())
	} else {
		u.ext = append(lc.mem.cells.some(2), lc.x.open(), lc.x.open())
		lc.pattern(u, a)
	}
	if stated != nil {
		want, problem := u.fromFile(stated)
		if problem != "" {
			lc.reportf(ref.At, codeShape, "", "%s of %s is %s, but %s", p.Name, def.Name, u.kind(), problem)
			return nil
		}
		for i, n := range want {
			lc.x.equate(u.ext[i], lc.x.fixed(Extent{N: n}))
		}
	}
	return u
}

// statedShape reads the numbers of w"name"[1536, 512].
func (lc *layerChecker) statedShape(x *Index) []int {
	shape := lc.mem.cells.some(len(x.Items))
	for _, item := range x.Items {
		n, ok := item.(*Number)
		if !ok {
			lc.report(item.at(), codeExtent, "the shape of a weight is made of numbers", "")
			return nil
		}
		v, ok := lc.extent(n)
		if !ok {
			return nil
		}
		shape = append(shape, v)
	}
	return shape
}

func (u *weightUse) kind() string {
	if len(u.ext) == 1 {
		return "a vector"
	}
	return "a matrix"
}

// fromFile turns a shape as the file holds it into [out, in], or [out] of a
// vector. Extents of one that a 1×1 convolution leaves at the end ([out, in, 1,
// 1], torch) or, transposed, at the start ([1, 1, in, out], tf.js) are dropped.
func (u *weightUse) fromFile(shape []int) (want []int, problem string) {
	rank := len(u.ext)
	s := shape
	for len(s) > rank {
		switch {
		case rank == 2 && u.w.Transposed && s[0] == 1, rank == 1 && s[0] == 1:
			s = s[1:]
		case s[len(s)-1] == 1 && !u.w.Transposed:
			s = s[:len(s)-1]
		default:
			return nil, fmt.Sprintf("its shape is %s", shapeText(shape))
		}
	}
	if len(s) != rank {
		return nil, fmt.Sprintf("its shape is %s", shapeText(shape))
	}
	for _, n := range s {
		if n < 1 || n > maxExtent {
			return nil, fmt.Sprintf("its shape is %s", shapeText(shape))
		}
	}
	if u.w.Transposed {
		s = []int{s[1], s[0]}
	}
	return s, ""
}

func shapeText(shape []int) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = strconv.Itoa(n)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// pattern reads the pattern of a matrix; without one the matrix is dense.
func (lc *layerChecker) pattern(u *weightUse, a *Arg) {
	u.pat = a
	text := "dense"
	if a.Pattern != nil {
		text = patternText(lc.src.text[a.patAt:a.patEnd])
	}
	pp, ok := lc.pats[text]
	if !ok {
		pp.p, pp.err = patterns.Parse(text)
		lc.pats[text] = pp
	}
	u.w.Pattern = pp.p
	if pp.err == nil {
		return
	}
	at, msg := a.patAt, pp.err.Error()
	var syntax *patterns.SyntaxError
	if errors.As(pp.err, &syntax) {
		at, msg = a.patAt+min(max(syntax.Offset, 0), len(text)), syntax.Msg
	}
	hint := "docs/ir.md lists the patterns"
	if i := at - a.patAt; findOp(text[i:nameEnd(text, i)]) != nil {
		hint = "inside a call | joins patterns; an op follows the call: linear(...) | " + text[i:nameEnd(text, i)]
	}
	lc.report(at, codePattern, msg, hint)
}

// patternText blanks the comments in the source of a pattern, so that offsets
// stay.
func patternText(s string) string {
	if !strings.Contains(s, "//") {
		return s
	}
	b := []byte(s)
	for i := 0; i < len(b); i++ {
		if b[i] == '/' && i+1 < len(b) && b[i+1] == '/' {
			for ; i < len(b) && b[i] != '\n'; i++ {
				b[i] = ' '
			}
		}
	}
	return string(b)
}

// shape applies the op's shape rule, appends the op and returns its result.
func (lc *layerChecker) shape(def *OpDef, op *Op, at int, vals []*value, matrix *weightUse, vectors []*weightUse, axisArg *Arg) *value {
	x := vals[0]
	op.Args = lc.mem.valuePs.some(len(vals))
	for _, v := range vals {
		if !v.v.DType.Float() {
			lc.reportf(at, codeDType, "it works on f32, f16 and bf16", "%s has no form for %s", def.Name, v.v.DType)
			return bad()
		}
		if v.v.DType != x.v.DType {
			lc.reportf(at, codeDType, "", "%s needs values of one element type, not %s and %s", def.Name, x.v.DType, v.v.DType)
			return bad()
		}
		op.Args = append(op.Args, v.v)
	}
	if def.valid != nil {
		if problem := def.valid(op.Attrs); problem != "" {
			lc.report(at, codeAttr, problem, "")
			return bad()
		}
	}
	rank := len(x.ext)
	if def.Shape == LinearShape && rank > 2 {
		lc.reportf(at, codeShape, "linear takes x f32[t, in], x f32[in, t] with axis=0, or x f32[in]", "linear takes a value of one or two axes, not %s", lc.x.string(x.ext))
		return bad()
	}
	axis := rank - 1
	if axisArg != nil {
		n, err := constant(axisArg.Value)
		if err != nil || n != math.Trunc(n) || n < 0 || n >= float64(rank) {
			lc.reportf(axisArg.Value.at(), codeAttr, "axes count from 0", "axis of %s must be a whole number from 0 to %d", def.Name, rank-1)
			return bad()
		}
		axis = int(n)
	}
	y := lc.newValue("", x.v.DType, at, rank)
	ext := append(y.ext, x.ext...)
	feature := x.ext[axis] // what the vectors have one element for
	switch def.Shape {
	case SameShape:
		for _, v := range vals[1:] {
			if !lc.x.equateAll(x.ext, v.ext) {
				lc.reportf(at, codeShape, "", "%s needs values of one shape, not %s and %s", def.Name, lc.x.string(x.ext), lc.x.string(v.ext))
				return bad()
			}
		}
	case AxisShape:
		lc.setAttr(op, "axis", float64(axis))
	case LinearShape:
		if !lc.x.equate(feature, matrix.ext[1]) {
			in, _ := lc.x.get(feature)
			lc.reportf(matrix.at, codeShape, "without .T a weight is [out, in]; with .T it is [in, out]", "the value has %s features, but w%s is [out, in] = %s", in, strconv.Quote(matrix.w.Tensor), lc.x.string(matrix.ext))
			return bad()
		}
		feature = matrix.ext[0]
		ext[axis] = feature
		if rank == 1 {
			axis = 1 // x [in] is one row of x [t, in]
		}
		lc.setAttr(op, "axis", float64(axis))
	}
	for _, u := range vectors {
		if !lc.x.equate(feature, u.ext[0]) {
			n, _ := lc.x.get(feature)
			lc.reportf(u.at, codeShape, "", "%s needs %s elements here, but w%s is %s", def.Name, n, strconv.Quote(u.w.Tensor), lc.x.string(u.ext))
			return bad()
		}
	}
	if matrix != nil {
		lc.weights = append(lc.weights, matrix)
	}
	lc.weights = append(lc.weights, vectors...)
	y.ext = ext
	op.Out = y.v
	lc.made = append(lc.made, y)
	lc.l.Ops = append(lc.l.Ops, op)
	return y
}

// compareWithFile reports a tensor that the weight files lack or hold in
// another shape, and learns the extents that are still open.
func (lc *layerChecker) compareWithFile(u *weightUse) {
	if lc.opt.Shapes == nil {
		return
	}
	name := u.w.Tensor
	fs, ok := lc.files[name]
	if !ok {
		fs.shape, fs.ok = lc.opt.Shapes(name)
		lc.files[name] = fs
	}
	if !fs.ok {
		hint := ""
		if lc.opt.Tensors != nil {
			hint = suggest(name, lc.opt.Tensors())
		}
		if hint == "" {
			hint = "sparsegen inspect lists the tensors of a file"
		}
		lc.reportf(u.at, codeTensor, hint, "the weight files have no tensor %q", name)
		return
	}
	want, problem := u.fromFile(fs.shape)
	if problem != "" {
		lc.reportf(u.at, codeFileShape, "", "%q must be %s, but in the file %s", name, u.kind(), problem)
		return
	}
	if lc.x.take(u.ext, want) {
		return
	}
	here := lc.x.string(u.ext)
	if len(u.ext) == 1 {
		lc.reportf(u.at, codeFileShape, "", "%q has shape %s in the file, but here it must be %s", name, shapeText(fs.shape), here)
		return
	}
	hint := fmt.Sprintf("the file's tensor is read as [out, in] = %s", shapeText(want))
	if lc.x.take(u.ext, []int{want[1], want[0]}) {
		hint = fmt.Sprintf("the file holds [in, out]: write w%s.T", strconv.Quote(name))
		if u.w.Transposed {
			hint = "the file holds [out, in]: remove .T"
		}
	}
	lc.reportf(u.at, codeFileShape, hint, "%q has shape %s in the file, but here [out, in] must be %s", name, shapeText(fs.shape), here)
}

// closeWeight fills in the features of a weight and checks its pattern. open
// holds the extents that have been reported as unknown; the result adds to it.
func (lc *layerChecker) closeWeight(u *weightUse, open []int) []int {
	var n [2]int
	for i, c := range u.ext {
		e, known := lc.x.get(c)
		if !known {
			if !slices.Contains(open, lc.x.root(c)) && !lc.partial && len(lc.errs) == lc.before {
				lc.unknownExtent(u)
			}
			for _, c := range u.ext {
				open = append(open, lc.x.root(c))
			}
			return open
		}
		if e.Sym != "" {
			lc.reportf(u.at, codeShape, "", "a weight has fixed extents, but here w%s must be %s", strconv.Quote(u.w.Tensor), lc.x.string(u.ext))
			return open
		}
		n[i] = e.N
	}
	u.w.Out, u.w.In = n[0], n[1]
	if u.pat == nil || u.w.Pattern == nil {
		return open
	}
	if int64(n[0])*int64(n[1]) > maxElements {
		lc.reportf(u.at, codeExtent, "", "w%s has more than %d elements", strconv.Quote(u.w.Tensor), int64(maxElements))
		return open
	}
	if err := u.w.Pattern.Validate(n[0], n[1]); err != nil {
		at := u.at
		if u.pat.Pattern != nil {
			at = u.pat.patAt
		}
		lc.report(at, codeDivide, err.Error(), fmt.Sprintf("the pattern lies on w%s as [out, in] = %s", strconv.Quote(u.w.Tensor), lc.x.string(u.ext)))
	}
	return open
}

// unknownExtent reports a weight whose shape nothing tells.
func (lc *layerChecker) unknownExtent(u *weightUse) {
	parts := make([]string, len(u.ext))
	for i, c := range u.ext {
		if e, known := lc.x.get(c); known {
			parts[i] = e.String()
		} else {
			parts[i] = [...]string{"OUT", "IN"}[i]
		}
	}
	suffix := ""
	if u.w.Transposed {
		parts[0], parts[1] = parts[1], parts[0]
		suffix = ".T"
	}
	q := strconv.Quote(u.w.Tensor)
	lc.reportf(u.at, codeNoShape,
		fmt.Sprintf("write its shape as the file has it, w%s[%s]%s, or let the weight file tell it", q, strings.Join(parts, ", "), suffix),
		"the spec does not tell the shape of w%s", q)
}
