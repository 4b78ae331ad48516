package ir

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// bad is the result of an expression that has been reported.
func bad() *value { return &value{v: &Value{}, bad: true} }

// expr checks an expression that must be a value, and appends its ops.
func (lc *layerChecker) expr(e Expr) *value {
	switch e := e.(type) {
	case *Name:
		return lc.lookup(e)
	case *Call:
		return lc.call(e, nil)
	case *Binary:
		return lc.infix(e)
	case *WeightRef:
		lc.reportf(e.At, codeWeightRole, fmt.Sprintf("pass it to an op: linear(x, w%s)", strconv.Quote(e.Tensor)), "weight %q stands where a value is expected", e.Tensor)
	case *Number:
		lc.reportf(e.At, codeWeightRole, "ops combine values of the layer; numbers are attributes, as in clamp(x, 0, 6)", "number %s stands where a value is expected", e.Text)
	case *String:
		lc.reportf(e.At, codeConstruct, fmt.Sprintf("a weight is written w%s", strconv.Quote(e.Value)), "a string is no value")
	case *ListRef:
		lc.reportf(e.At, codeConstruct, "", "run-time lists such as @%s have no meaning in language version 1", e.Name)
	case *Index:
		if _, isWeight := weightRoot(e); isWeight {
			return lc.expr(e.X)
		}
		lc.report(e.At, codeConstruct, "indices and slices have no meaning in language version 1", "")
		lc.markUsed(e)
	case *Field:
		if _, isWeight := weightRoot(e); isWeight {
			return lc.expr(e.X)
		}
		lc.reportf(e.At, codeConstruct, "", "a value has no field %s in language version 1", e.Name)
		lc.markUsed(e)
	case *Unary:
		lc.report(e.At, codeConstruct, "language version 1 cannot negate a value", "")
		lc.markUsed(e)
	case *Seq:
		lc.report(e.At, codeConstruct, "a list [...] is no value in language version 1", "")
		lc.markUsed(e)
	case *Slice:
		lc.report(e.At, codeConstruct, "a slice is no value", "")
	}
	return bad()
}

func (lc *layerChecker) lookup(e *Name) *value {
	v := lc.values[e.Name]
	if v != nil && v.out == 0 {
		v.used = true
		return v
	}
	if e.Name == "" || lc.unnamed {
		return bad()
	}
	hint := ""
	if v != nil {
		hint = fmt.Sprintf("output %s is computed further down", e.Name)
	} else if findOp(e.Name) != nil {
		hint = fmt.Sprintf("%s is an op: write %s(...) or x | %s", e.Name, e.Name, e.Name)
	} else {
		var names []string
		for _, v := range lc.order {
			names = append(names, v.v.Name)
		}
		hint = suggest(e.Name, names)
	}
	lc.reportf(e.At, codeUnknown, hint, "unknown name %s", e.Name)
	return bad()
}

// markUsed notes the values in an expression that has no meaning, so that they
// are not reported a second time as unused.
func (lc *layerChecker) markUsed(e Expr) {
	walk(e, func(e Expr) {
		if n, ok := e.(*Name); ok {
			if v := lc.values[n.Name]; v != nil {
				v.used = true
			}
		}
	})
}

// walk calls visit for an expression and everything inside it.
func walk(e Expr, visit func(Expr)) {
	if e == nil {
		return
	}
	visit(e)
	switch e := e.(type) {
	case *Call:
		walk(e.Fun, visit)
		for _, a := range e.Args {
			walk(a.Value, visit)
		}
	case *Index:
		walk(e.X, visit)
		for _, x := range e.Items {
			walk(x, visit)
		}
	case *Slice:
		if e.Lo != nil {
			walk(e.Lo, visit)
		}
		if e.Hi != nil {
			walk(e.Hi, visit)
		}
	case *Field:
		walk(e.X, visit)
	case *Unary:
		walk(e.X, visit)
	case *Binary:
		walk(e.X, visit)
		walk(e.Y, visit)
	case *Seq:
		for _, x := range e.Items {
			walk(x, visit)
		}
	}
}

func (lc *layerChecker) infix(e *Binary) *value {
	switch e.Op {
	case "+", "*":
		name := "add"
		if e.Op == "*" {
			name = "mul"
		}
		return lc.op(findOp(name), e.At, nil, []*Arg{{Value: e.X}, {Value: e.Y}})
	case "|":
		x := lc.expr(e.X)
		switch y := e.Y.(type) {
		case *Name:
			return lc.namedOp(y, e.At, x, nil)
		case *Call:
			return lc.call(y, x)
		}
		if !x.bad {
			lc.report(e.Y.at(), codeConstruct, "what follows a pipe must be an op", "for instance: linear(x, w\"name\") | relu")
		}
		lc.markUsed(e.Y)
		return bad()
	}
	lc.reportf(e.At, codeConstruct, "values are combined with + and *", "operator %s has no meaning for values in language version 1", e.Op)
	lc.markUsed(e)
	return bad()
}

// call checks a call; piped, when not nil, is its first argument.
func (lc *layerChecker) call(e *Call, piped *value) *value {
	if name, ok := e.Fun.(*Name); ok {
		return lc.namedOp(name, e.At, piped, e.Args)
	}
	lc.report(e.At, codeConstruct, "only an op can be called in language version 1", "")
	lc.markUsed(e)
	return bad()
}

func (lc *layerChecker) namedOp(name *Name, at int, piped *value, args []*Arg) *value {
	def := findOp(name.Name)
	if def == nil {
		hint := suggest(name.Name, opNames())
		if hint == "" {
			hint = "the ops of language version 1 are " + list(opNames())
		}
		lc.reportf(name.At, codeOp, hint, "unknown op %s", name.Name)
		for _, a := range args {
			lc.markUsed(a.Value)
		}
		return bad()
	}
	return lc.op(def, name.At, piped, args)
}

// op binds the arguments of an op to its parameters, checks them and appends
// the op.
func (lc *layerChecker) op(def *OpDef, at int, piped *value, args []*Arg) *value {
	var boundBuf [8]*Arg
	bound := boundBuf[:len(def.Params)]
	ok := lc.bind(def, piped != nil, args, bound)
	if !ok {
		for _, a := range args {
			lc.markUsed(a.Value)
		}
		return bad()
	}
	op := lc.mem.ops.one()
	op.Kind, op.Pos = def.Name, lc.src.pos(at)
	var valsBuf [2]*value
	var vectorsBuf [2]*weightUse
	vals, vectors := valsBuf[:0], vectorsBuf[:0]
	var matrix *weightUse
	for i, p := range def.Params {
		a := bound[i]
		if a == nil && !(i == 0 && piped != nil) {
			if p.Required {
				lc.reportf(at, codeArgs, signature(def), "%s needs its argument %s", def.Name, p.Name)
				ok = false
				continue
			}
			if p.Kind == NumberParam || p.Kind == WordParam {
				lc.setAttr(op, p.Name, p.Default)
			}
			continue
		}
		if a != nil && a.Pattern != nil && p.Kind != MatrixParam {
			lc.reportf(a.Pattern.at(), codeWeightRole, "", "only the matrix of linear has a pattern, not %s of %s", p.Name, def.Name)
			ok = false
		}
		switch p.Kind {
		case ValueParam:
			v := piped
			if a != nil {
				v = lc.expr(a.Value)
			}
			ok = ok && !v.bad
			vals = append(vals, v)
		case MatrixParam, VectorParam:
			u := lc.weight(def, p, a)
			if u == nil {
				ok = false
				continue
			}
			switch {
			case p.Kind == MatrixParam:
				matrix, op.Weight = u, u.w
			case p.Name == vecBias.Name:
				op.Bias = u.w
				vectors = append(vectors, u)
			default:
				op.Gain = u.w
				vectors = append(vectors, u)
			}
		case NumberParam:
			x, err := constant(a.Value)
			if err != nil {
				lc.reportf(err.at, codeAttr, "", "%s of %s must be a number: %s", p.Name, def.Name, err.msg)
				ok = false
				continue
			}
			lc.setAttr(op, p.Name, x)
		case WordParam:
			word, _ := a.Value.(*Name)
			n := -1
			if word != nil {
				n = slices.Index(p.Words, word.Name)
			}
			if n < 0 {
				lc.reportf(a.Value.at(), codeAttr, "", "%s of %s must be %s", p.Name, def.Name, alternatives(p.Words))
				ok = false
				continue
			}
			lc.setAttr(op, p.Name, float64(n))
		}
	}
	if !ok {
		return bad()
	}
	axisArg := (*Arg)(nil)
	if i := def.param(axisLast.Name); i >= 0 {
		axisArg = bound[i]
	}
	return lc.shape(def, op, at, vals, matrix, vectors, axisArg)
}

// bind gives each parameter its argument.
func (lc *layerChecker) bind(def *OpDef, piped bool, args []*Arg, bound []*Arg) bool {
	next, named := 0, false
	if piped {
		next = 1
	}
	for _, a := range args {
		i := next
		switch {
		case a.Name.Name != "":
			named = true
			if i = def.param(a.Name.Name); i < 0 {
				hint := suggest(a.Name.Name, def.paramNames())
				if hint == "" {
					hint = signature(def)
				}
				lc.reportf(a.Name.At, codeArgs, hint, "%s has no argument %s in language version 1", def.Name, a.Name.Name)
				return false
			}
		case named:
			lc.reportf(a.Value.at(), codeArgs, "", "an argument without a name follows one with a name")
			return false
		case i >= len(def.Params):
			lc.reportf(a.Value.at(), codeArgs, signature(def), "%s has too many arguments", def.Name)
			return false
		default:
			next++
		}
		if bound[i] != nil || piped && i == 0 {
			at := a.Value.at()
			if a.Name.Name != "" {
				at = a.Name.At
			}
			hint := ""
			if piped && i == 0 {
				hint = "the pipe gives it already"
			}
			lc.reportf(at, codeArgs, hint, "argument %s of %s is given twice", def.Params[i].Name, def.Name)
			return false
		}
		bound[i] = a
	}
	return true
}

// signature is a hint that shows how an op is called.
func signature(def *OpDef) string {
	parts := make([]string, len(def.Params))
	for i, p := range def.Params {
		switch {
		case p.Required:
			parts[i] = p.Name
		case p.Kind == NumberParam:
			parts[i] = p.Name + "=" + strconv.FormatFloat(p.Default, 'g', -1, 64)
		case p.Kind == WordParam:
			parts[i] = p.Name + "=" + p.Words[int(p.Default)]
		default:
			parts[i] = "[" + p.Name + "=...]"
		}
	}
	return "it is called as " + def.Name + "(" + strings.Join(parts, ", ") + ")"
}

func (lc *layerChecker) setAttr(op *Op, name string, x float64) {
	if op.Attrs == nil {
		op.Attrs = lc.mem.attrs.some(2)
	}
	op.Attrs = append(op.Attrs, Attr{name, x})
}

type constError struct {
	at  int
	msg string
}

// constant computes an expression of numbers. The result is finite as float32,
// in which kernels hold it.
func constant(e Expr) (float64, *constError) {
	x, err := constantOf(e)
	if err == nil && (math.IsNaN(x) || math.Abs(x) > math.MaxFloat32) {
		err = &constError{e.at(), "it is not finite in f32"}
	}
	return x, err
}

func constantOf(e Expr) (float64, *constError) {
	switch e := e.(type) {
	case *Number:
		x, err := strconv.ParseFloat(e.Text, 64)
		if err != nil {
			return 0, &constError{e.At, "cannot read " + e.Text}
		}
		return x, nil
	case *Unary:
		x, err := constantOf(e.X)
		return -x, err
	case *Binary:
		x, err := constantOf(e.X)
		if err != nil {
			return 0, err
		}
		y, err := constantOf(e.Y)
		if err != nil {
			return 0, err
		}
		switch e.Op {
		case "+":
			return x + y, nil
		case "-":
			return x - y, nil
		case "*":
			return x * y, nil
		case "/":
			return x / y, nil
		}
		return 0, &constError{e.At, "numbers have no operator " + e.Op}
	}
	return 0, &constError{e.at(), "it is none"}
}

// list is "a, b and c".
func list(names []string) string { return enumerate(names, "and") }

// alternatives is "a, b or c".
func alternatives(names []string) string { return enumerate(names, "or") }

func enumerate(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	n := len(names) - 1
	return strings.Join(names[:n], ", ") + " " + last + " " + names[n]
}

func contains(names []string, name string) bool { return slices.Contains(names, name) }
