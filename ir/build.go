package ir

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
)

// Builder makes a spec from Go:
//
//	b := ir.Build("ffn.sg").Weights("model.safetensors").Target("amd64", "avx2")
//	l := b.Layer("ffn").Dim("t", 1, 128)
//	x := l.Input("x", ir.F32, "t", 512)
//	l.Output("y", ir.F32, "t", 512)
//	h := l.Let("h", l.Op("linear", x, ir.W("up").Shape(1536, 512).Pattern("nm(2,4)")).Pipe("relu"))
//	l.Let("y", l.Op("linear", h, ir.W("down")))
//	m, err := b.Module(ir.Options{})
//
// Mistakes are kept and returned by Source and Module, with the Go line that
// made them. A Builder serves one goroutine.
type Builder struct {
	f    File
	errs []error
}

// Build starts a spec; the path serves messages alone.
func Build(path string) *Builder {
	return &Builder{f: File{Path: path, Version: version}}
}

// Weights adds a weight file.
func (b *Builder) Weights(file string) *Builder {
	b.f.Decls = append(b.f.Decls, &WeightsDecl{File: file})
	return b
}

// Target adds an architecture; without instruction sets it has all of them.
func (b *Builder) Target(arch string, isas ...string) *Builder {
	t := &TargetSpec{Arch: Ident{Name: b.name(arch)}}
	for _, isa := range isas {
		t.ISAs = append(t.ISAs, Ident{Name: b.name(isa)})
	}
	b.f.Decls = append(b.f.Decls, &TargetDecl{Targets: []*TargetSpec{t}})
	return b
}

// Layer adds a layer.
func (b *Builder) Layer(name string) *LayerBuilder {
	d := &LayerDecl{Name: b.name(name)}
	b.f.Decls = append(b.f.Decls, d)
	return &LayerBuilder{b, d}
}

// Source is the spec as canonical text.
func (b *Builder) Source() (string, error) {
	if len(b.errs) > 0 {
		return "", errors.Join(b.errs...)
	}
	f, err := Parse(b.f.Path, []byte(Print(&b.f))) // adds the empty lines
	if err != nil {
		return "", err
	}
	return Print(f), nil
}

// Module checks the spec. Its positions refer to the text of Source.
func (b *Builder) Module(opt Options) (*Module, error) {
	src, err := b.Source()
	if err != nil {
		return nil, err
	}
	return Load(b.f.Path, []byte(src), opt)
}

// errorf keeps a mistake, with the place of the call into this package.
func (b *Builder) errorf(format string, args ...any) {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	place := b.f.Path
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/sparsegen/sparsegen/ir.") {
			place = fmt.Sprintf("%s:%d", f.File, f.Line)
			break
		}
		if !more {
			break
		}
	}
	b.errs = append(b.errs, fmt.Errorf("%s: %w", place, fmt.Errorf(format, args...)))
}

// name checks that s can be a name in a spec.
func (b *Builder) name(s string) string {
	if s == "" || !isLetter(s[0]) || nameEnd(s, 0) != len(s) || isKeyword(s) {
		b.errorf("%q cannot be a name in a spec", s)
	}
	return s
}

// LayerBuilder makes one layer.
type LayerBuilder struct {
	b *Builder
	d *LayerDecl
}

// Dim gives a symbolic extent its range, both ends included.
func (l *LayerBuilder) Dim(name string, lo, hi int) *LayerBuilder {
	if lo < 0 || hi < 0 {
		l.b.errorf("the range %d..%d of %s is negative", lo, hi, name)
	}
	l.d.Where = append(l.d.Where, &Range{
		Dim: Ident{Name: l.b.name(name)},
		Min: &Number{Text: strconv.Itoa(lo)},
		Max: &Number{Text: strconv.Itoa(hi)},
	})
	return l
}

// Input declares an input and returns it. The shape is made of int and of
// string, the name of a symbolic extent.
func (l *LayerBuilder) Input(name string, d DType, shape ...any) *Ref {
	l.d.Inputs = append(l.d.Inputs, l.param(name, d, shape))
	return &Ref{b: l.b, e: &Name{Name: name}, named: true}
}

// Output declares an output; Let gives it its value.
func (l *LayerBuilder) Output(name string, d DType, shape ...any) *LayerBuilder {
	l.d.Outputs = append(l.d.Outputs, l.param(name, d, shape))
	return l
}

func (l *LayerBuilder) param(name string, d DType, shape []any) *Param {
	p := &Param{Names: []Ident{{Name: l.b.name(name)}}, Type: Type{DType: Ident{Name: d.String()}}}
	if d == 0 || int(d) >= len(dtypeNames) {
		l.b.errorf("%s of %s is no element type", d, name)
	}
	if len(shape) == 0 {
		l.b.errorf("%s has no shape", name)
	}
	for _, e := range shape {
		switch e := e.(type) {
		case int:
			if e < 0 {
				l.b.errorf("the extent %d of %s is negative", e, name)
			}
			p.Type.Shape = append(p.Type.Shape, &Number{Text: strconv.Itoa(e)})
		case string:
			p.Type.Shape = append(p.Type.Shape, &Name{Name: l.b.name(e)})
		default:
			l.b.errorf("an extent of %s is a %T, not an int or a string", name, e)
		}
	}
	return p
}

// Let names a value, which may then be used any number of times.
func (l *LayerBuilder) Let(name string, value *Ref) *Ref {
	s := &Stmt{Names: []Ident{{Name: l.b.name(name)}}, Value: l.b.use(value)}
	l.d.Body.Stmts = append(l.d.Body.Stmts, s)
	return &Ref{b: l.b, e: &Name{Name: name}, named: true}
}

// Op calls an op. An argument is a *Ref, a Tensor (see W), an int, a float64, a
// Word, or one of these with a name (see Named).
func (l *LayerBuilder) Op(op string, args ...any) *Ref {
	return &Ref{b: l.b, e: &Call{Fun: &Name{Name: l.b.name(op)}, Args: l.b.args(op, args)}}
}

// Ref is a value of a layer under construction.
type Ref struct {
	b     *Builder
	e     Expr
	named bool
	used  bool
}

// Pipe passes the value through an op: x | op(args).
func (r *Ref) Pipe(op string, args ...any) *Ref {
	if r == nil || r.b == nil {
		return &Ref{}
	}
	var y Expr = &Name{Name: r.b.name(op)}
	if len(args) > 0 {
		y = &Call{Fun: y, Args: r.b.args(op, args)}
	}
	return &Ref{b: r.b, e: &Binary{Op: "|", X: r.b.use(r), Y: y}}
}

// use takes the expression of a value. One without a name is an op: writing it
// twice would run it twice.
func (b *Builder) use(r *Ref) Expr {
	switch {
	case r == nil || r.b == nil:
		b.errorf("a value is nil")
		return &Name{Name: "nil"}
	case r.b != b:
		b.errorf("a value belongs to another Builder")
	case r.used && !r.named:
		b.errorf("a value without a name is used twice; name it with Let")
	}
	r.used = true
	return r.e
}

// Word is an argument that is a word of its op: gelu's "tanh".
type Word string

type named struct {
	name  string
	value any
}

// Named gives an argument of Op or Pipe the name of its parameter.
func Named(name string, value any) any { return named{name, value} }

// Tensor is a weight under construction.
type Tensor struct {
	tensor     string
	shape      []int
	transposed bool
	pattern    string
}

// W is the tensor of that name in the weight files, which hold it as [out, in].
func W(tensor string) Tensor { return Tensor{tensor: tensor} }

// T says that the weight files hold the tensor as [in, out].
func (t Tensor) T() Tensor { t.transposed = true; return t }

// Shape states the tensor's shape as the weight files hold it.
func (t Tensor) Shape(shape ...int) Tensor { t.shape = shape; return t }

// Pattern says where the non-zeros are, in the language of package patterns.
func (t Tensor) Pattern(p string) Tensor { t.pattern = p; return t }

func (b *Builder) args(op string, args []any) []*Arg {
	var out []*Arg
	for _, x := range args {
		a := &Arg{}
		if n, ok := x.(named); ok {
			a.Name.Name = b.name(n.name)
			x = n.value
		}
		switch x := x.(type) {
		case *Ref:
			a.Value = b.use(x)
		case Tensor:
			b.tensor(a, x)
		case int:
			a.Value = number(float64(x))
		case float64:
			if math.IsNaN(x) || math.IsInf(x, 0) {
				b.errorf("an argument of %s is %g", op, x)
			}
			a.Value = number(x)
		case Word:
			a.Value = &Name{Name: b.name(string(x))}
		default:
			b.errorf("an argument of %s is a %T", op, x)
			continue
		}
		out = append(out, a)
	}
	return out
}

func number(x float64) Expr {
	n := &Number{Text: strconv.FormatFloat(math.Abs(x), 'g', -1, 64)}
	if math.Signbit(x) {
		return &Unary{X: n}
	}
	return n
}

func (b *Builder) tensor(a *Arg, t Tensor) {
	a.Value = &WeightRef{Tensor: t.tensor}
	if len(t.shape) > 0 {
		index := &Index{X: a.Value}
		for _, n := range t.shape {
			if n < 0 {
				b.errorf("the shape %v of %q is negative", t.shape, t.tensor)
			}
			index.Items = append(index.Items, &Number{Text: strconv.Itoa(n)})
		}
		a.Value = index
	}
	if t.transposed {
		a.Value = &Field{X: a.Value, Name: "T"}
	}
	if t.pattern != "" {
		var err error
		if a.Pattern, err = parsePattern(t.pattern); err != nil {
			b.errorf("the pattern of %q: %w", t.tensor, err)
		}
	}
}

// parsePattern reads a pattern that stands alone.
func parsePattern(text string) (Expr, error) {
	p := &parser{src: newSource("pattern", text), inPattern: true}
	p.tokens, p.comments = lex(p.src, p.report)
	e := p.expr()
	if t := p.tok(); t.kind != tokEOF {
		p.unexpected("the end of the pattern", "")
	}
	return e, p.errs.err()
}
