package ir

import (
	"fmt"
	"slices"
	"strconv"
)

func (p *parser) file(f *File) {
	f.Header.Above = p.above(true)
	f.Version = p.header()
	f.Header.Above = append(f.Header.Above, p.inner()...)
	f.Header.After = p.after()
	afterLayer := true // the header, too, has an empty line after it
	for p.tokens[p.i].kind != tokEOF {
		above := p.above(false)
		start := p.i
		d := p.decl()
		if p.failed {
			p.failed, p.depth = false, 0
			p.i = max(p.i, start+1)
			p.skipTo(func() bool { return p.atDecl() })
			if _, isLayer := d.(*LayerDecl); !isLayer {
				continue
			}
		}
		if d == nil {
			continue
		}
		_, isLayer := d.(*LayerDecl)
		if (isLayer || afterLayer) && (len(above) == 0 || above[0] != "") {
			above = append(append(p.mem.lines.some(1+len(above)), ""), above...)
		}
		afterLayer = isLayer
		c := d.comments()
		c.Above = append(above, c.Above...)
		f.Decls = append(f.Decls, d)
	}
	f.Trailing = p.above(false)
}

// skipTo takes tokens up to one for which stop holds, or to the end.
func (p *parser) skipTo(stop func() bool) {
	for p.tokens[p.i].kind != tokEOF && !stop() {
		p.next()
	}
}

// atDecl reports whether a declaration starts at the current token.
func (p *parser) atDecl() bool {
	return p.tok().nl && (p.isWord("weights") || p.isWord("layer") || p.isWord("target"))
}

func (p *parser) header() int {
	const hint = "start the spec with the line: sparsegen 1"
	t := p.tok()
	if !p.isWord("sparsegen") {
		p.report(t.at(), codeHeader, "the spec does not start with its language version", hint)
		return version
	}
	p.next()
	n := p.tok()
	v, err := strconv.Atoi(p.text(n))
	switch {
	case n.kind != tokNumber || n.nl || err != nil:
		p.report(p.end, codeHeader, "the language version is missing", hint)
		p.skipTo(func() bool { return p.tok().nl })
		return version
	case v != version:
		p.report(n.at(), codeHeader, fmt.Sprintf("the spec is written in language version %d; this sparsegen reads version %d", v, version), "")
	}
	p.next()
	p.endOfLine()
	if p.failed {
		p.failed = false
		p.skipTo(func() bool { return p.tok().nl })
	}
	return version
}

// endOfLine checks that a declaration or statement ends here.
func (p *parser) endOfLine() {
	if p.accept(';') {
		return
	}
	if t := p.tok(); !t.nl && !p.is('}') {
		hint := ""
		if p.is(':') {
			hint = "a value is named with =; a pattern stands inside the call: linear(x, w\"name\" : nm(2,4))"
		}
		p.unexpected("the end of the line", hint)
	}
}

// decl parses a declaration; nil when there is none to speak of.
func (p *parser) decl() Decl {
	t := p.tok()
	switch word := p.text(t); {
	case t.kind == tokName && word == "layer":
		return p.layer()
	case t.kind == tokName && word == "weights":
		p.next()
		d := &WeightsDecl{At: t.at()}
		if s := p.tok(); s.kind == tokString && !s.nl {
			d.At = s.at()
			d.File = p.unquote(p.next())
		} else {
			p.unexpected(`a file name such as "model.safetensors"`, "")
		}
		p.finish(&d.Comments)
		return d
	case t.kind == tokName && word == "target":
		p.next()
		d := &TargetDecl{At: t.at()}
		for ok := true; ok; ok = p.accept(',') {
			d.Targets = append(d.Targets, p.target())
		}
		p.finish(&d.Comments)
		return d
	default:
		hint := ""
		if t.kind == tokName {
			hint = suggest(word, []string{"weights", "layer", "target"})
		}
		p.fail(t.at(), codeSyntax, "expected weights, layer or target, found "+word, hint)
		return nil
	}
}

// finish ends a declaration of one line.
func (p *parser) finish(c *Comments) {
	p.endOfLine()
	c.Above = p.inner()
	c.After = p.after()
}

func (p *parser) target() *TargetSpec {
	t := &TargetSpec{Arch: p.targetWord("a target such as amd64")}
	if open := p.tok(); p.accept('(') {
		for ok := true; ok; ok = p.accept(',') {
			t.ISAs = append(t.ISAs, p.targetWord("an instruction set such as avx2"))
		}
		p.expectClose(open, ')')
	}
	return t
}

func (p *parser) targetWord(what string) Ident {
	t := p.tok()
	if t.kind != tokName {
		p.unexpected(what, "")
	}
	p.next()
	return Ident{At: t.at(), Name: p.text(t)}
}

func (p *parser) unquote(t token) string {
	s := p.text(t)
	if t.kind == tokWeight {
		s = s[1:]
	}
	v, _ := unquote(s) // the lexer lets well-formed strings through only
	return v
}

func (p *parser) layer() *LayerDecl {
	p.next()
	d := p.mem.layers.one()
	name := p.ident("the name of a layer")
	d.At, d.Name = name.At, name.Name
	d.Inputs = p.params("the inputs of a layer stand in parentheses, each with a type: (x f32[t, 512])")
	d.Outputs = p.params("the outputs of a layer stand in parentheses, each with a type: (y f32[t, 512])")
	if p.isWord("where") {
		p.next()
		d.Where = p.mem.rangePs.some(1)
		for ok := true; ok; ok = p.accept(',') {
			d.Where = append(d.Where, p.dimRange())
		}
	}
	if !p.failed && !p.is('{') {
		p.unexpected("{", "the statements of a layer stand in braces")
	}
	if p.failed {
		p.failed, p.depth, d.bad = false, 0, true
		start := p.i
		p.skipTo(func() bool { return p.is('{') || p.i > start && p.atDecl() })
		if !p.is('{') {
			return d
		}
	}
	inner := p.inner()
	d.Body = p.block()
	d.Above = inner
	return d
}

// params parses `(x f32[t, 512], q, k bf16[t, 64])`.
func (p *parser) params(hint string) []*Param {
	open := p.expect('(', hint)
	p.enter()
	defer p.leave()
	out := p.mem.paramPs.some(1)
	for !p.failed && !p.is(')') {
		g := p.mem.params.one()
		g.Names = p.mem.idents.some(1)
		for {
			g.Names = append(g.Names, p.ident("the name of a value"))
			if !p.accept(',') {
				break
			}
		}
		if p.tok().kind != tokName {
			name := g.Names[len(g.Names)-1].Name
			p.unexpected("a type after "+name, "write "+name+" f32[t, 512]")
			break
		}
		g.Type = p.typ()
		out = append(out, g)
		if !p.accept(',') {
			break
		}
	}
	p.expectClose(open, ')')
	return out
}

func (p *parser) typ() Type {
	t := p.next()
	ty := Type{DType: Ident{At: t.at(), Name: p.text(t)}, Shape: p.mem.exprs.some(2)}
	open := p.expect('[', "a type has a shape: f32[t, 512]")
	for !p.failed {
		switch e := p.tok(); e.kind {
		case tokNumber:
			ty.Shape = append(ty.Shape, p.newNumber(p.next()))
		case tokName:
			id := p.ident("an extent")
			ty.Shape = append(ty.Shape, p.newName(id))
		default:
			p.unexpected("an extent: a number or a name", "")
		}
		if !p.accept(',') {
			break
		}
	}
	p.expectClose(open, ']')
	return ty
}

func (p *parser) dimRange() *Range {
	r := p.mem.ranges.one()
	r.Dim = p.ident("the name of an extent")
	if !p.isWord("in") {
		p.unexpected("in", "write the range of an extent as: where t in 1..128")
	}
	p.next()
	r.Min = p.rangeEnd()
	p.expect(tokRange, "write the range of an extent as: where t in 1..128")
	r.Max = p.rangeEnd()
	return r
}

func (p *parser) rangeEnd() *Number {
	t := p.tok()
	if t.kind != tokNumber {
		p.unexpected("a number", "write the range of an extent as: where t in 1..128")
	}
	p.next()
	return p.newNumber(t)
}

// block parses `{ statements }`; the current token is the brace.
func (p *parser) block() Block {
	open := p.next()
	p.enter()
	defer p.leave()
	b := Block{Open: p.after(), Stmts: p.mem.stmtPs.some(4)}
	for {
		if p.failed { // the nesting limit
			return b
		}
		above := p.above(len(b.Stmts) == 0)
		if t := p.tokens[p.i]; p.is('}') || t.kind == tokEOF || p.atDecl() {
			if p.is('}') {
				p.next()
			} else {
				p.report(open.at(), codeUnclosed, "{ is not closed", "end the block with }")
			}
			b.Trailing = above
			b.Close = p.after()
			return b
		}
		start, depth := p.i, p.depth
		s := p.stmt()
		s.bad = p.hasError(s.At, p.end) // the lexer left out a token
		if p.failed {
			p.failed, p.depth, s.bad = false, depth, true
			p.i = max(p.i, start+1)
			p.skipTo(func() bool { return p.tok().nl || p.is('}') })
		}
		s.Above = append(above, s.Above...)
		b.Stmts = append(b.Stmts, s)
	}
}

// hasError reports whether a line of the bytes from at to end has an error.
func (p *parser) hasError(at, end int) bool {
	if len(p.errs) == 0 {
		return false
	}
	first, last := p.src.pos(at).Line, p.src.pos(end).Line
	return slices.ContainsFunc(p.errs, func(e *Error) bool { return first <= e.Pos.Line && e.Pos.Line <= last })
}

func (p *parser) stmt() *Stmt {
	s := p.mem.stmts.one()
	s.At = p.tok().at()
	if p.atAssignment() {
		s.Names = p.mem.idents.some(1)
		for ok := true; ok; ok = p.accept(',') {
			s.Names = append(s.Names, p.stmtName())
		}
		p.expect('=', "")
		if p.tok().nl {
			p.unexpected("a value", "")
		}
	}
	s.Value = p.expr()
	if p.is('{') && !p.tok().nl {
		s.Above = p.inner()
		b := p.block()
		s.Body = &b
		return s
	}
	p.endOfLine()
	s.Above = p.inner()
	s.After = p.after()
	return s
}

// atAssignment reports whether `name, name, ... =` stands here.
func (p *parser) atAssignment() bool {
	for i := p.i; ; i += 2 {
		if p.tokens[i].kind != tokName || i+1 >= len(p.tokens) {
			return false
		}
		switch p.tokens[i+1].kind {
		case '=':
			return true
		case ',':
		default:
			return false
		}
	}
}

func (p *parser) stmtName() Ident {
	t := p.next()
	name := p.text(t)
	if isKeyword(name) {
		p.fail(t.at(), codeSyntax, fmt.Sprintf("%q is a word of the language and cannot name a value", name), "choose another name")
	}
	return Ident{At: t.at(), Name: name}
}
