package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on what a spec may ask of the parser.
const (
	maxSource   = 4 << 20 // bytes of a spec
	maxNesting  = 100     // brackets and blocks inside each other
	maxChain    = 1000    // operators, calls and indices in a row
	maxReported = 100     // errors kept of one run
)

// version is the language version that this package reads.
const version = 1

// Parse reads a spec. The path serves the messages alone. When the error is
// not nil it is an ErrorList, and the File holds what could be read.
func Parse(path string, src []byte) (*File, error) {
	f, errs := parse(path, src)
	return f, errs.err()
}

func parse(path string, src []byte) (*File, ErrorList) {
	text := strings.TrimPrefix(string(src), "\ufeff")
	p := &parser{src: newSource(path, text)}
	f := &File{Path: path, Version: version, src: p.src}
	switch bad := firstInvalid(text); {
	case len(text) > maxSource:
		p.report(0, codeLimit, fmt.Sprintf("the spec has %d bytes; the limit is %d", len(text), maxSource), "split it into several specs")
	case bad >= 0:
		p.report(bad, codeChar, "the spec is not UTF-8 text", "save it with the encoding UTF-8")
	default:
		p.tokens, p.comments = lex(p.src, p.report)
		p.file(f)
	}
	f.bad = len(p.errs) > 0
	return f, p.errs
}

// firstInvalid is the offset of the first byte that is not UTF-8, or -1.
func firstInvalid(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return i
		}
	}
	return -1
}

// parser is a recursive-descent parser. After an error, failed makes every
// token look like the end of the file until the statement or declaration that
// holds it has been left, which resets it: one mistake gives one error.
type parser struct {
	src      *source
	tokens   []token
	comments []comment
	i        int // the current token
	c        int // the first comment that belongs to nothing yet
	end      int // where the last token or comment that was taken ended
	depth    int
	failed   bool
	errs     ErrorList

	inPattern bool // within a pattern, where a:b is a range

	mem struct {
		names    slab[Name]
		numbers  slab[Number]
		weights  slab[WeightRef]
		calls    slab[Call]
		args     slab[Arg]
		argLists slab[*Arg]
		idents   slab[Ident]
		shapes   slab[Expr]
	}
}

func (p *parser) newName(t token) *Name {
	n := p.mem.names.one()
	n.At, n.Name = t.at(), p.text(t)
	return n
}

func (p *parser) newNumber(t token) *Number {
	n := p.mem.numbers.one()
	n.At, n.Text = t.at(), p.text(t)
	return n
}

// report keeps an error, unless its line has one already.
func (p *parser) report(at int, code Code, msg, hint string) {
	if len(p.errs) >= maxReported {
		return
	}
	e := p.src.newError(at, code, msg, hint)
	for _, old := range p.errs {
		if old.Pos.Line == e.Pos.Line {
			return
		}
	}
	p.errs = append(p.errs, e)
}

func (p *parser) fail(at int, code Code, msg, hint string) {
	if !p.failed {
		p.report(at, code, msg, hint)
		p.failed = true
	}
}

// tok is the current token.
func (p *parser) tok() token {
	if p.failed {
		n := len(p.src.text)
		return token{kind: tokEOF, nl: true, start: int32(n), stop: int32(n)}
	}
	return p.tokens[p.i]
}

func (p *parser) text(t token) string { return p.src.text[t.at():t.end()] }

// next takes the current token.
func (p *parser) next() token {
	t := p.tok()
	if t.kind != tokEOF {
		p.end = t.end()
		p.i++
	}
	return t
}

// is reports whether the current token is an operator.
func (p *parser) is(op string) bool {
	t := p.tok()
	return t.kind == tokOp && p.text(t) == op
}

// accept takes the operator if it is the current token.
func (p *parser) accept(op string) bool {
	if p.is(op) {
		p.next()
		return true
	}
	return false
}

// isWord reports whether the current token is a name with this text.
func (p *parser) isWord(word string) bool {
	t := p.tok()
	return t.kind == tokName && p.text(t) == word
}

// peekIs reports whether the token after the current one is an operator.
func (p *parser) peekIs(op string) bool {
	if p.failed || p.i+1 >= len(p.tokens) {
		return false
	}
	t := p.tokens[p.i+1]
	return t.kind == tokOp && p.text(t) == op
}

// unexpected reports that something else stands where want was expected.
func (p *parser) unexpected(want, hint string) {
	if p.failed {
		return
	}
	t := p.tok()
	at, found := t.at(), p.text(t)
	switch {
	case t.kind == tokEOF && p.i == 0:
		at, found = 0, "an empty spec"
	case t.kind == tokEOF:
		at, found = p.end, "the end of the file"
	case t.nl && p.i > 0:
		at, found = p.end, "the end of the line"
	}
	p.fail(at, codeSyntax, fmt.Sprintf("expected %s, found %s", want, found), hint)
}

// expect takes an operator that must come next.
func (p *parser) expect(op, hint string) token {
	if !p.is(op) {
		p.unexpected(op, hint)
	}
	return p.next()
}

// expectClose takes the bracket that closes open.
func (p *parser) expectClose(open token, op string) {
	if p.accept(op) || p.failed {
		return
	}
	if t := p.tok(); t.nl {
		p.fail(open.at(), codeUnclosed, p.text(open)+" is not closed",
			fmt.Sprintf("add %s, or a comma if the list goes on in the next line", op))
		return
	}
	p.unexpected(", or "+op, "")
}

// keywords cannot name values, layers or extents.
var keywords = [...]string{"sparsegen", "weights", "layer", "target", "where", "in"}

func isKeyword(name string) bool { return slices.Contains(keywords[:], name) }

// ident takes a name that the spec declares.
func (p *parser) ident(what string) Ident {
	t := p.tok()
	if t.kind != tokName || p.i > 0 && t.nl && p.depth == 0 {
		p.unexpected(what, "")
		return Ident{At: p.end}
	}
	name := p.text(t)
	if isKeyword(name) {
		p.fail(t.at(), codeSyntax, fmt.Sprintf("%q is a word of the language and cannot be %s", name, what), "choose another name")
	}
	p.next()
	return Ident{At: t.at(), Name: name}
}

// enter counts one level of nesting; leave undoes it.
func (p *parser) enter() {
	p.depth++
	if p.depth > maxNesting {
		p.fail(p.tok().at(), codeLimit, fmt.Sprintf("more than %d brackets inside each other", maxNesting), "split the expression into statements")
	}
}

func (p *parser) leave() { p.depth-- }

// above takes the comments before the current token; "" stands for an empty
// line. The first item of a block drops leading empty lines.
func (p *parser) above(first bool) []string {
	var out []string
	t := p.tokens[p.i]
	gap := func(to int) {
		skipped := p.end > to // by an error in front of the comment
		if !(first && len(out) == 0) && !skipped && strings.Count(p.src.text[p.end:to], "\n") > 1 {
			out = append(out, "")
		}
	}
	for p.c < len(p.comments) && p.comments[p.c].at < t.at() {
		c := p.comments[p.c]
		gap(c.at)
		out = append(out, p.commentText(c))
		p.end = max(p.end, c.end)
		p.c++
	}
	if t.kind != tokEOF && !p.is("}") {
		gap(t.at())
	}
	return out
}

// inner takes the comments inside what has just been parsed.
func (p *parser) inner() []string {
	var out []string
	for p.c < len(p.comments) && p.comments[p.c].at < p.end {
		out = append(out, p.commentText(p.comments[p.c]))
		p.c++
	}
	return out
}

// after takes a comment that follows the last token on its line.
func (p *parser) after() string {
	if p.c >= len(p.comments) {
		return ""
	}
	c := p.comments[p.c]
	if c.at < p.end || strings.Contains(p.src.text[p.end:c.at], "\n") || c.at > p.tokens[p.i].at() {
		return ""
	}
	p.end = c.end
	p.c++
	return p.commentText(c)
}

func (p *parser) commentText(c comment) string {
	return strings.TrimRight(p.src.text[c.at:c.end], " \t\r")
}

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
			above = append([]string{""}, above...)
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
	if p.accept(";") {
		return
	}
	if t := p.tok(); !t.nl && !p.is("}") {
		p.unexpected("the end of the line", "")
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
		for ok := true; ok; ok = p.accept(",") {
			d.Targets = append(d.Targets, p.target())
		}
		p.finish(&d.Comments)
		return d
	default:
		hint := ""
		if t.kind == tokName {
			hint = suggest(word, keywords[1:4])
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
	if open := p.tok(); p.accept("(") {
		for ok := true; ok; ok = p.accept(",") {
			t.ISAs = append(t.ISAs, p.targetWord("an instruction set such as avx2"))
		}
		p.expectClose(open, ")")
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
	v, _ := strconv.Unquote(s) // the lexer lets well-formed strings through only
	return v
}

func (p *parser) layer() *LayerDecl {
	p.next()
	d := &LayerDecl{}
	name := p.ident("the name of a layer")
	d.At, d.Name = name.At, name.Name
	d.Inputs = p.params("the inputs of a layer stand in parentheses, each with a type: (x f32[t, 512])")
	d.Outputs = p.params("the outputs of a layer stand in parentheses, each with a type: (y f32[t, 512])")
	if p.isWord("where") {
		p.next()
		for ok := true; ok; ok = p.accept(",") {
			d.Where = append(d.Where, p.dimRange())
		}
	}
	if !p.failed && !p.is("{") {
		p.unexpected("{", "the statements of a layer stand in braces")
	}
	if p.failed {
		p.failed, p.depth, d.bad = false, 0, true
		start := p.i
		p.skipTo(func() bool { return p.is("{") || p.i > start && p.atDecl() })
		if !p.is("{") {
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
	open := p.expect("(", hint)
	p.enter()
	defer p.leave()
	var out []*Param
	for !p.failed && !p.is(")") {
		g := &Param{Names: p.mem.idents.some(1)}
		for {
			g.Names = append(g.Names, p.ident("the name of a value"))
			if !p.accept(",") {
				break
			}
		}
		if p.tok().kind != tokName {
			p.unexpected("a type such as f32[t, 512] after "+g.Names[len(g.Names)-1].Name, "")
			break
		}
		g.Type = p.typ()
		out = append(out, g)
		if !p.accept(",") {
			break
		}
	}
	p.expectClose(open, ")")
	return out
}

func (p *parser) typ() Type {
	t := p.next()
	ty := Type{DType: Ident{At: t.at(), Name: p.text(t)}, Shape: p.mem.shapes.some(2)}
	open := p.expect("[", "a type has a shape: f32[t, 512]")
	for !p.failed {
		switch e := p.tok(); e.kind {
		case tokNumber:
			ty.Shape = append(ty.Shape, p.newNumber(p.next()))
		case tokName:
			id := p.ident("an extent")
			ty.Shape = append(ty.Shape, &Name{At: id.At, Name: id.Name})
		default:
			p.unexpected("an extent: a number or a name", "")
		}
		if !p.accept(",") {
			break
		}
	}
	p.expectClose(open, "]")
	return ty
}

func (p *parser) dimRange() *Range {
	r := &Range{Dim: p.ident("the name of an extent")}
	if !p.isWord("in") {
		p.unexpected("in", "write the range of an extent as: where t in 1..128")
	}
	p.next()
	r.Min = p.rangeEnd()
	p.expect("..", "write the range of an extent as: where t in 1..128")
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
	var b Block
	b.Open = p.after()
	for {
		if p.failed { // the nesting limit
			return b
		}
		above := p.above(len(b.Stmts) == 0)
		if t := p.tokens[p.i]; p.is("}") || t.kind == tokEOF || p.atDecl() {
			if p.is("}") {
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
			p.skipTo(func() bool { return p.tok().nl || p.is("}") })
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
	s := &Stmt{At: p.tok().at()}
	if p.atAssignment() {
		s.Names = p.mem.idents.some(1)
		for ok := true; ok; ok = p.accept(",") {
			s.Names = append(s.Names, p.stmtName())
		}
		p.expect("=", "")
		if p.tok().nl {
			p.unexpected("a value", "")
		}
	}
	s.Value = p.expr()
	if p.is("{") && !p.tok().nl {
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
		if p.tokens[i].kind != tokName || i+1 >= len(p.tokens) || p.tokens[i+1].kind != tokOp {
			return false
		}
		switch p.text(p.tokens[i+1]) {
		case "=":
			return true
		case ",":
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
