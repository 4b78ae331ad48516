package ir

import (
	"fmt"
	"strconv"
	"strings"
)

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

func (lc *layerChecker) signature(d *LayerDecl) {
	for _, r := range d.Where {
		lc.dim(r)
	}
	for _, g := range d.Inputs {
		for _, id := range g.Names {
			v := lc.declare(g, id, true)
			lc.l.Inputs = append(lc.l.Inputs, v.v)
			lc.define(id, v)
		}
	}
	for _, r := range d.Where {
		if r.Dim.Name != "" && !contains(lc.seen, r.Dim.Name) && !lc.partial {
			lc.reportf(r.Dim.At, codeRange, "a symbolic extent is known from an input", "no input has the extent %s", r.Dim.Name)
		}
	}
	for _, g := range d.Outputs {
		for _, id := range g.Names {
			v := lc.declare(g, id, false)
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
func (lc *layerChecker) dim(r *Range) {
	if r.Dim.Name == "" || r.Min.Text == "" || r.Max.Text == "" {
		return // a syntax error, reported
	}
	if contains(lc.ranged, r.Dim.Name) {
		lc.reportf(r.Dim.At, codeTwice, "", "the extent %s has two ranges", r.Dim.Name)
		return
	}
	lc.ranged = append(lc.ranged, r.Dim.Name)
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
func (lc *layerChecker) declare(g *Param, id Ident, input bool) *value {
	v := lc.newValue(id.Name, parseDType(g.Type.DType.Name), id.At, len(g.Type.Shape))
	first := id == g.Names[0] // what is wrong with the type is said once
	if v.v.DType == 0 {
		v.bad = true
		if first && g.Type.DType.Name != "" {
			hint := suggest(g.Type.DType.Name, dtypeNames[1:])
			if short, ok := strings.CutPrefix(g.Type.DType.Name, "float"); ok && parseDType("f"+short) != 0 {
				hint = "write f" + short
			}
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
			if input {
				lc.seen = append(lc.seen, e.Name)
			}
			if !contains(lc.ranged, e.Name) && first && e.Name != "" && !lc.partial {
				lc.reportf(e.At, codeRange, fmt.Sprintf("add to the layer's first line: where %s in 1..128", e.Name), "the extent %s has no range", e.Name)
				lc.ranged = append(lc.ranged, e.Name) // said once a layer
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
