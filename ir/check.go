package ir

import (
	"fmt"
	"strconv"
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
	f, errs := parse(path, src)
	m, more := check(f, opt)
	if err := append(errs, more...).err(); err != nil {
		return nil, err
	}
	return m, nil
}

// Check gives a parsed spec its meaning. The error, when not nil, is an
// ErrorList.
func Check(f *File, opt Options) (*Module, error) {
	m, errs := check(f, opt)
	if err := errs.err(); err != nil {
		return nil, err
	}
	return m, nil
}

// checker holds what the checks of one file share.
type checker struct {
	f    *File
	src  *source
	opt  Options
	m    *Module
	errs ErrorList

	files map[string]fileShape // what opt.Shapes said
	pats  map[string]parsedPattern

	lc  layerChecker
	mem struct {
		vals    slab[value]
		values  slab[Value]
		uses    slab[weightUse]
		weights slab[Weight]
		ops     slab[Op]
		cells   slab[int]
		extents slab[Extent]
		args    slab[*Value]
	}
}

// newValue makes a value with room for the cells of its shape.
func (c *checker) newValue(name string, d DType, at, rank int) *value {
	v := c.mem.vals.one()
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
	if f.src == nil { // made by hand: check what it prints as
		text := Print(f)
		g, errs := parse(f.Path, []byte(text))
		if len(errs) > 0 {
			return nil, errs
		}
		f = g
	}
	c := &checker{
		f: f, src: f.src, opt: opt,
		m:     &Module{Path: f.Path},
		files: map[string]fileShape{},
		pats:  map[string]parsedPattern{},
		lc:    layerChecker{values: map[string]*value{}},
	}
	layers := map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *WeightsDecl:
			if d.File == "" && !f.bad {
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
	if len(layers) == 0 && !f.bad {
		c.report(len(f.src.text), codeEmpty, "the spec has no layer",
			`for instance: layer ffn(x f32[t, 512]) (y f32[t, 512]) where t in 1..128 { y = linear(x, w"ffn.weight") }`)
	}
	return c.m, c.errs
}

func (c *checker) targets(d *TargetDecl) {
	for _, t := range d.Targets {
		known := findTarget(targetTable, t.Arch.Name)
		if known == nil {
			if t.Arch.Name != "" {
				c.reportf(t.Arch.At, codeTarget, targetHint(t.Arch.Name), "unknown target %s", t.Arch.Name)
			}
			continue
		}
		isas := []string{}
		for _, id := range t.ISAs {
			switch {
			case id.Name == "":
			case !contains(known.ISAs, id.Name):
				hint := suggest(id.Name, known.ISAs)
				if hint == "" {
					hint = t.Arch.Name + " has " + list(known.ISAs)
				}
				c.reportf(id.At, codeTarget, hint, "target %s has no instruction set %s", t.Arch.Name, id.Name)
			case contains(isas, id.Name):
				c.reportf(id.At, codeTwice, "", "instruction set %s is named twice", id.Name)
			default:
				isas = append(isas, id.Name)
			}
		}
		if len(t.ISAs) == 0 {
			isas = append(isas, known.ISAs...)
		}
		if findTarget(c.m.Targets, t.Arch.Name) != nil {
			c.reportf(t.Arch.At, codeTwice, "name all its instruction sets in one place", "target %s is named twice", t.Arch.Name)
			continue
		}
		c.m.Targets = append(c.m.Targets, Target{Arch: t.Arch.Name, ISAs: isas})
	}
}

func findTarget(ts []Target, arch string) *Target {
	for i := range ts {
		if ts[i].Arch == arch {
			return &ts[i]
		}
	}
	return nil
}

func targetHint(name string) string {
	var archs []string
	for _, t := range targetTable {
		archs = append(archs, t.Arch)
		if contains(t.ISAs, name) {
			return fmt.Sprintf("write target %s(%s)", t.Arch, name)
		}
	}
	if hint := suggest(name, archs); hint != "" {
		return hint
	}
	return "the targets are " + list(archs)
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
	w     *Weight
	at    int
	ext   []int // cells [out, in], or [out] of a vector
	pat   *Arg  // of a matrix; nil where the argument has no pattern
	given bool  // the spec states the shape
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
	partial bool // parts of the layer are missing: syntax errors
	unnamed bool // among them names that the layer defines
	before  int  // errors before this layer
}

func (c *checker) layer(d *LayerDecl) {
	lc := &c.lc
	clear(lc.values)
	*lc = layerChecker{
		checker: c,
		l:       &Layer{Name: d.Name, Pos: c.src.pos(d.At)},
		partial: d.bad,
		unnamed: d.bad,
		before:  len(c.errs),
		// The rest is memory of the layer before.
		x:       extents{cells: lc.x.cells[:0]},
		values:  lc.values,
		order:   lc.order[:0],
		made:    lc.made[:0],
		weights: lc.weights[:0],
	}
	lc.signature(d)
	for _, s := range d.Body.Stmts {
		lc.stmt(s)
	}
	lc.finish(d)
	c.m.Layers = append(c.m.Layers, lc.l)
}

func (lc *layerChecker) signature(d *LayerDecl) {
	// Few extents: the maps are small enough for the stack.
	dims := make(map[string]bool, 4)
	for _, r := range d.Where {
		lc.dim(r, dims)
	}
	usedDims := make(map[string]bool, 4)
	for _, g := range d.Inputs {
		for _, id := range g.Names {
			v := lc.declare(g, id, dims, usedDims)
			lc.l.Inputs = append(lc.l.Inputs, v.v)
			lc.define(id, v)
		}
	}
	for _, r := range d.Where {
		if r.Dim.Name != "" && !usedDims[r.Dim.Name] && !lc.partial {
			lc.reportf(r.Dim.At, codeRange, "a symbolic extent is known from an input", "no input has the extent %s", r.Dim.Name)
		}
	}
	for _, g := range d.Outputs {
		for _, id := range g.Names {
			v := lc.declare(g, id, dims, nil)
			if lc.values[id.Name] != nil {
				lc.reportf(id.At, codeTwice, "inputs and outputs have names of their own", "%s is declared twice", id.Name)
				continue
			}
			lc.l.Outputs = append(lc.l.Outputs, v.v)
			v.out = len(lc.l.Outputs)
			lc.values[id.Name] = v
			lc.order = append(lc.order, v)
		}
	}
	if len(lc.l.Outputs) == 0 && !lc.partial {
		lc.reportf(d.At, codeOutput, "write its outputs in a second pair of parentheses: (y f32[t, 512])", "layer %s has no output", d.Name)
	}
}

// dim reads `t in 1..128`.
func (lc *layerChecker) dim(r *Range, dims map[string]bool) {
	if r.Dim.Name == "" || r.Min.Text == "" || r.Max.Text == "" {
		return // a syntax error, reported
	}
	if dims[r.Dim.Name] {
		lc.reportf(r.Dim.At, codeTwice, "", "the extent %s has two ranges", r.Dim.Name)
		return
	}
	dims[r.Dim.Name] = true
	lo, ok1 := lc.extent(r.Min)
	hi, ok2 := lc.extent(r.Max)
	if !ok1 || !ok2 {
		return
	}
	if lo > hi {
		lc.reportf(r.Min.At, codeRange, "both ends belong to the range; the smaller comes first", "the range %d..%d of %s is empty", lo, hi, r.Dim.Name)
		return
	}
	lc.l.Dims = append(lc.l.Dims, Dim{Name: r.Dim.Name, Min: lo, Max: hi})
}

// extent reads an extent that is a number.
func (lc *layerChecker) extent(n *Number) (int, bool) {
	v, err := strconv.Atoi(n.Text)
	if err != nil || v < 1 || v > maxExtent {
		lc.reportf(n.At, codeExtent, fmt.Sprintf("an extent is a whole number from 1 to %d", maxExtent), "%s is no extent", n.Text)
		return 0, false
	}
	return v, true
}

// declare makes the value of a parameter.
func (lc *layerChecker) declare(g *Param, id Ident, dims, used map[string]bool) *value {
	v := lc.newValue(id.Name, parseDType(g.Type.DType.Name), id.At, len(g.Type.Shape))
	first := id == g.Names[0] // what is wrong with the type is said once
	if v.v.DType == 0 {
		v.bad = true
		if first && g.Type.DType.Name != "" {
			hint := suggest(g.Type.DType.Name, dtypeNames[1:])
			if hint == "" {
				hint = "the element types are " + list(dtypeNames[1:])
			}
			lc.reportf(g.Type.DType.At, codeDType, hint, "unknown element type %s", g.Type.DType.Name)
		}
	}
	for _, e := range g.Type.Shape {
		switch e := e.(type) {
		case *Number:
			if first {
				n, ok := lc.extent(e)
				v.bad = v.bad || !ok
				v.ext = append(v.ext, lc.x.fixed(Extent{N: n}))
			} else {
				n, err := strconv.Atoi(e.Text)
				v.bad = v.bad || err != nil
				v.ext = append(v.ext, lc.x.fixed(Extent{N: n}))
			}
		case *Name:
			if used != nil {
				used[e.Name] = true
			}
			if !dims[e.Name] && first && e.Name != "" && !lc.partial {
				lc.reportf(e.At, codeRange, fmt.Sprintf("add to the layer's first line: where %s in 1..128", e.Name), "the extent %s has no range", e.Name)
				dims[e.Name] = true // said once a layer
			}
			v.ext = append(v.ext, lc.x.fixed(Extent{Sym: e.Name}))
		}
	}
	v.bad = v.bad || len(v.ext) == 0
	lc.made = append(lc.made, v)
	return v
}

// define gives a value its name.
func (lc *layerChecker) define(id Ident, v *value) {
	if id.Name == "" {
		return
	}
	if old := lc.values[id.Name]; old != nil {
		lc.reportf(id.At, codeTwice, fmt.Sprintf("every name is given once; %s has one since line %d", id.Name, lc.src.pos(old.at).Line), "%s is defined twice", id.Name)
		return
	}
	lc.values[id.Name] = v
	lc.order = append(lc.order, v)
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
