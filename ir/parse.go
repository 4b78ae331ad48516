package ir

import (
	"fmt"
	"slices"
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
// not nil it is an ErrorList, and the File holds what could be read; Check then
// reports these errors with its own.
func Parse(path string, src []byte) (*File, error) {
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
	f.errs = p.errs
	return f, slices.Clone(p.errs).err()
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
		layers   slab[LayerDecl]
		params   slab[Param]
		paramPs  slab[*Param]
		ranges   slab[Range]
		rangePs  slab[*Range]
		stmts    slab[Stmt]
		stmtPs   slab[*Stmt]
		names    slab[Name]
		numbers  slab[Number]
		weights  slab[WeightRef]
		calls    slab[Call]
		binaries slab[Binary]
		indices  slab[Index]
		args     slab[Arg]
		argPs    slab[*Arg]
		idents   slab[Ident]
		exprs    slab[Expr]
		lines    slab[string]
	}
}

func (p *parser) newName(id Ident) *Name {
	n := p.mem.names.one()
	n.At, n.Name = id.At, id.Name
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
func (p *parser) is(op tokenKind) bool { return p.tok().kind == op }

// accept takes the operator if it is the current token.
func (p *parser) accept(op tokenKind) bool {
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
func (p *parser) peekIs(op tokenKind) bool {
	if p.failed || p.i+1 >= len(p.tokens) {
		return false
	}
	return p.tokens[p.i+1].kind == op
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
func (p *parser) expect(op tokenKind, hint string) token {
	if !p.is(op) {
		p.unexpected(op.String(), hint)
	}
	return p.next()
}

// expectClose takes the bracket that closes open.
func (p *parser) expectClose(open token, op tokenKind) {
	if p.accept(op) || p.failed {
		return
	}
	if t := p.tok(); t.nl {
		p.fail(open.at(), codeUnclosed, p.text(open)+" is not closed",
			fmt.Sprintf("add %s, or a comma if the list goes on in the next line", op))
		return
	}
	p.unexpected(", or "+op.String(), "")
}

// isKeyword reports whether a word of the language cannot name values, layers
// or extents.
func isKeyword(name string) bool {
	switch name {
	case "sparsegen", "weights", "layer", "target", "where", "in":
		return true
	}
	return false
}

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
	if t.kind != tokEOF && !p.is('}') {
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
