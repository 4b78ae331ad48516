package ir

import (
	"fmt"
	"slices"
)

// Options are what Check may use beyond the spec.
type Options struct {
	// Shapes gives the shape of a tensor of the weight files, as stored; ok is
	// false when they have no such tensor. With it Check reports tensors that are
	// missing or have another shape, and finds the shapes that the spec leaves
	// open. It may be nil: then the spec must say all by itself.
	Shapes func(tensor string) (shape []int, ok bool)

	// Tensors lists the names of the tensors for "did you mean" hints; may be nil.
	Tensors func() []string
}

// Limits on sizes in a spec.
const (
	maxExtent   = 1 << 30 // of one axis
	maxElements = 1 << 40 // of one tensor
)

// Load parses and checks a spec. The error, when not nil, is an ErrorList that
// holds the mistakes of both.
func Load(path string, src []byte, opt Options) (*Module, error) {
	f, _ := Parse(path, src)
	return Check(f, opt)
}

// Check gives a spec its meaning. The error, when not nil, is an ErrorList that
// also holds what Parse reported.
func Check(f *File, opt Options) (*Module, error) {
	if f.src == nil { // made by hand: places are those of its text
		g, err := Parse(f.Path, []byte(Print(f)))
		if err != nil {
			return nil, err
		}
		f = g
	}
	m, errs := check(f, opt)
	if err := append(slices.Clone(f.errs), errs...).err(); err != nil {
		return nil, err
	}
	return m, nil
}

// checker holds what the checks of one file share.
type checker struct {
	src  *source
	opt  Options
	m    *Module
	errs ErrorList

	files map[string]fileShape // what opt.Shapes said
	pats  map[string]parsedPattern

	lc  layerChecker
	mem struct {
		layers  slab[Layer]
		dims    slab[Dim]
		values  slab[Value]
		valuePs slab[*Value]
		weights slab[Weight]
		ops     slab[Op]
		opPs    slab[*Op]
		attrs   slab[Attr]
		cells   slab[int]
		extents slab[Extent]
	}
	// What one layer needs while it is checked.
	layerMem struct {
		vals pool[value]
		uses pool[weightUse]
	}
}

// newValue makes a value with room for the cells of its shape.
func (c *checker) newValue(name string, d DType, at, rank int) *value {
	v := c.layerMem.vals.one()
	v.v = c.mem.values.one()
	v.v.Name, v.v.DType = name, d
	v.at, v.ext = at, c.mem.cells.some(rank)
	return v
}

type fileShape struct {
	shape []int
	ok    bool
}

func (c *checker) report(at int, code Code, msg, hint string) {
	if len(c.errs) >= maxReported {
		return
	}
	c.errs = append(c.errs, c.src.newError(at, code, msg, hint))
}

func (c *checker) reportf(at int, code Code, hint, format string, args ...any) {
	c.report(at, code, fmt.Sprintf(format, args...), hint)
}

func check(f *File, opt Options) (*Module, ErrorList) {
	c := &checker{
		src: f.src, opt: opt,
		m:     &Module{Path: f.Path},
		files: map[string]fileShape{},
		pats:  map[string]parsedPattern{},
		lc:    layerChecker{values: map[string]*value{}},
	}
	layers := make(map[string]bool, len(f.Decls))
	c.m.Layers = make([]*Layer, 0, len(f.Decls))
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *WeightsDecl:
			if d.File == "" && len(f.errs) == 0 {
				c.report(d.At, codeArgs, "the name of the weight file is empty", "")
			}
			c.m.Weights = append(c.m.Weights, d.File)
		case *TargetDecl:
			c.targets(d)
		case *LayerDecl:
			if layers[d.Name] && d.Name != "" {
				c.reportf(d.At, codeTwice, "rename one of them", "layer %s is defined twice", d.Name)
			}
			layers[d.Name] = true
			c.layer(d)
		}
	}
	if len(layers) == 0 && len(f.errs) == 0 {
		c.report(len(f.src.text), codeEmpty, "the spec has no layer",
			`for instance: layer ffn(x f32[t, 512]) (y f32[t, 512]) where t in 1..128 { y = linear(x, w"ffn.weight") }`)
	}
	return c.m, c.errs
}

// value is a tensor of a layer while the layer is checked.
type value struct {
	v    *Value
	ext  []int // cells of its shape
	at   int
	used bool
	bad  bool // made by something that was reported: says nothing more
	out  int  // of an output that is not computed yet: its index in Outputs + 1
}

// weightUse is a weight of an op while the layer is checked.
type weightUse struct {
	w   *Weight
	at  int
	ext []int // cells [out, in], or [out] of a vector
	pat *Arg  // the argument that holds a matrix and its pattern; nil of a vector
}

// layerChecker checks one layer. Shapes are found in two steps: first the
// statements are read in order and equate extents, then the weight file, where
// there is one, is compared with what they say and fills what is still open.
// So a disagreement with the file is reported where the tensor stands.
type layerChecker struct {
	*checker
	l       *Layer
	x       extents
	values  map[string]*value
	order   []*value // as declared, for stable messages
	made    []*value // every value of the layer
	weights []*weightUse
	ranged  []string // symbolic extents that have a range
	seen    []string // symbolic extents of the inputs
	partial bool     // parts of the layer are missing: syntax errors
	unnamed bool     // among them names that the layer defines
	before  int      // errors before this layer
}

func (c *checker) layer(d *LayerDecl) {
	lc := &c.lc
	clear(lc.values)
	c.layerMem.vals.reset()
	c.layerMem.uses.reset()
	*lc = layerChecker{
		checker: c,
		l:       c.mem.layers.one(),
		partial: d.bad,
		unnamed: d.bad,
		before:  len(c.errs),
		// The rest is memory of the layer before.
		x:       extents{cells: lc.x.cells[:0]},
		values:  lc.values,
		order:   lc.order[:0],
		made:    lc.made[:0],
		weights: lc.weights[:0],
		ranged:  lc.ranged[:0],
		seen:    lc.seen[:0],
	}
	lc.l.Name, lc.l.Pos = d.Name, c.src.pos(d.At)
	lc.l.Dims = c.mem.dims.some(len(d.Where))
	lc.l.Inputs = c.mem.valuePs.some(len(d.Inputs))
	lc.l.Outputs = c.mem.valuePs.some(len(d.Outputs))
	lc.l.Ops = c.mem.opPs.some(2 * len(d.Body.Stmts)) // such as linear(...) | relu
	lc.signature(d)
	for _, s := range d.Body.Stmts {
		lc.stmt(s)
	}
	lc.finish(d)
	c.m.Layers = append(c.m.Layers, lc.l)
}

func (lc *layerChecker) stmt(s *Stmt) {
	if s.bad {
		lc.partial = true
		lc.unnamed = lc.unnamed || len(s.Names) == 0
		if s.Value != nil {
			lc.markUsed(s.Value)
		}
		for _, id := range s.Names {
			lc.assign(id, &value{v: &Value{}, at: id.At, bad: true})
		}
		return
	}
	switch {
	case s.Body != nil:
		lc.report(s.At, codeConstruct, "blocks of statements have no meaning in language version 1", "write the statements of a layer without a block")
		lc.partial = true
		return
	case len(s.Names) == 0:
		lc.report(s.At, codeConstruct, "the result of this statement has no name", "write name = ...")
		lc.markUsed(s.Value)
		return
	}
	ops := len(lc.l.Ops)
	v := lc.expr(s.Value)
	if len(s.Names) > 1 && !v.bad {
		lc.reportf(s.Names[1].At, codeConstruct, "give it one name", "an op of language version 1 has one result, not %d", len(s.Names))
		v.bad = true
	}
	if !v.bad && len(lc.l.Ops) == ops {
		lc.reportf(s.Value.at(), codeConstruct, fmt.Sprintf("use %s itself", v.v.Name), "this statement computes nothing: %s is another name for %s", s.Names[0].Name, v.v.Name)
		v = &value{v: &Value{}, bad: true}
	}
	v.at = s.Names[0].At
	for i, id := range s.Names {
		if i > 0 || v.bad {
			lc.assign(id, &value{v: &Value{}, at: id.At, bad: true})
			continue
		}
		lc.assign(id, v)
	}
}

// assign names the result of a statement; for an output it is compared with
// its declaration.
func (lc *layerChecker) assign(id Ident, v *value) {
	decl := lc.values[id.Name]
	if decl == nil || decl.out == 0 {
		if !v.bad {
			v.v.Name = id.Name
		}
		lc.define(id, v)
		return
	}
	i := decl.out - 1
	decl.out, decl.used, v.used = 0, true, true
	lc.values[id.Name] = v
	if v.bad {
		return
	}
	v.v.Name = id.Name
	lc.l.Outputs[i] = v.v
	switch {
	case decl.bad:
	case decl.v.DType != v.v.DType:
		lc.reportf(id.At, codeDType, "", "%s is declared as %s but computed as %s", id.Name, decl.v.DType, v.v.DType)
	case !lc.x.equateAll(v.ext, decl.ext):
		lc.reportf(id.At, codeShape, "", "%s is declared as %s but computed as %s", id.Name, lc.x.string(decl.ext), lc.x.string(v.ext))
	}
}

// finish compares the weights with the files, closes open extents and reports
// what is missing.
func (lc *layerChecker) finish(d *LayerDecl) {
	if !lc.partial {
		for _, v := range lc.order {
			if v.out > 0 {
				lc.reportf(v.at, codeOutput, fmt.Sprintf("add a statement: %s = ...", v.v.Name), "output %s is never computed", v.v.Name)
			} else if !v.used && !v.bad {
				lc.reportf(v.at, codeUnused, "remove it, or use it", "%s is never used", v.v.Name)
			}
		}
	}
	for _, u := range lc.weights {
		lc.compareWithFile(u)
	}
	var open []int
	for _, u := range lc.weights {
		open = lc.closeWeight(u, open)
	}
	for _, v := range lc.made {
		if !lc.closeValue(v) {
			return
		}
	}
}

// closeValue fills in the shape of a value; false when it is too large.
func (lc *layerChecker) closeValue(v *value) bool {
	if v.bad {
		return true
	}
	v.v.Shape = lc.mem.extents.some(len(v.ext))[:len(v.ext)]
	elements := int64(1)
	for i, c := range v.ext {
		e, _ := lc.x.get(c)
		v.v.Shape[i] = e
		n := int64(e.N)
		for _, d := range lc.l.Dims {
			if d.Name == e.Sym && e.Sym != "" {
				n = int64(d.Max)
			}
		}
		if n > 0 && elements > maxElements/n {
			lc.reportf(v.at, codeExtent, "", "a value of shape %s has more than %d elements", lc.x.string(v.ext), int64(maxElements))
			return false
		}
		elements *= max(n, 1)
	}
	return true
}
