package patterns

import (
	"fmt"
	"strconv"
)

// SyntaxError is a pattern that cannot be read.
type SyntaxError struct {
	Offset int // byte offset of the mistake in the pattern's text
	Msg    string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pattern, offset %d: %s", e.Offset, e.Msg)
}

// Parse reads one pattern in the syntax of the package comment. An error is a
// *SyntaxError.
func Parse(s string) (Pattern, error) {
	p, n, err := ParsePrefix(s)
	if err == nil && n < len(s) {
		return nil, &SyntaxError{n, fmt.Sprintf("unexpected %q after the pattern", s[n])}
	}
	return p, err
}

// ParsePrefix reads the longest pattern at the start of s and returns how many
// bytes of s it and the blanks around it take. An error is a *SyntaxError.
func ParsePrefix(s string) (p Pattern, n int, err error) {
	// Errors leave the recursion as a panic of one private type, so that each
	// rule below reads as the grammar does.
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			p, n, err = nil, 0, e
		}
	}()
	ps := &parser{s: s}
	ps.blank()
	root := ps.union()
	return build(root), ps.i, nil
}

// MustParse is Parse for patterns in source code; it panics on an error.
func MustParse(s string) Pattern {
	p, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return p
}

// node is a pattern as written: a name, or an operator, with its arguments.
type node struct {
	pos  int
	name string
	args []arg
}

// arg is one argument: KEY=value or value, where the value is a nested node, a
// number or a range of numbers.
type arg struct {
	pos    int
	key    string
	node   *node
	lo, hi string // number, and the range's end where there is one
}

// maxDepth bounds the nesting, and so the stack.
const maxDepth = 64

type parser struct {
	s     string
	i     int
	depth int
}

func fail(pos int, format string, a ...any) { panic(&SyntaxError{pos, fmt.Sprintf(format, a...)}) }

func (p *parser) blank() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == '\n' || p.s[p.i] == '\r') {
		p.i++
	}
}

// accept takes byte c and the blanks after it, if it is next.
func (p *parser) accept(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		p.blank()
		return true
	}
	return false
}

func (p *parser) expect(c byte, after string) {
	if !p.accept(c) {
		fail(p.i, "expected %q %s, found %s", c, after, p.next())
	}
}

// next describes what is ahead, for messages.
func (p *parser) next() string {
	if p.i >= len(p.s) {
		return "the end"
	}
	return strconv.QuoteRune([]rune(p.s[p.i:min(p.i+4, len(p.s))])[0])
}

// union = intersection { "|" intersection }
func (p *parser) union() *node { return p.binary('|', p.intersection) }

// intersection = primary { "&" primary }
func (p *parser) intersection() *node { return p.binary('&', p.primary) }

func (p *parser) binary(op byte, operand func() *node) *node {
	n := operand()
	for pos := p.i; p.accept(op); pos = p.i {
		r := operand()
		if n.name != string(op) {
			n = &node{pos, string(op), []arg{{pos: n.pos, node: n}}}
		}
		n.args = append(n.args, arg{pos: r.pos, node: r})
	}
	return n
}

// primary = "(" union ")" | name [ "(" arg { "," arg } ")" ]
func (p *parser) primary() *node {
	if p.depth++; p.depth > maxDepth {
		fail(p.i, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	if p.accept('(') {
		n := p.union()
		p.expect(')', "after the pattern in parentheses")
		return n
	}
	n := &node{pos: p.i}
	if n.name = p.word(); n.name == "" {
		fail(p.i, "expected a pattern (%s), found %s", kindNames(), p.next())
	}
	if p.accept('(') {
		n.args = []arg{p.arg()}
		for p.accept(',') {
			n.args = append(n.args, p.arg())
		}
		p.expect(')', "after the arguments of "+n.name)
	}
	return n
}

// arg = [ name "=" ] ( number [ ":" number ] | union )
func (p *parser) arg() arg {
	a := arg{pos: p.i}
	if a.key = p.word(); a.key != "" && !p.accept('=') {
		a.key, p.i = "", a.pos
	}
	if a.lo = p.number(); a.lo == "" {
		a.node = p.union()
	} else if p.accept(':') {
		if a.hi = p.number(); a.hi == "" {
			fail(p.i, "expected the end of the range, found %s", p.next())
		}
	}
	return a
}

func (p *parser) word() string {
	return p.while(func(c byte, at int) bool { return c >= 'a' && c <= 'z' || c == '_' })
}

func (p *parser) number() string {
	return p.while(func(c byte, at int) bool {
		return c >= '0' && c <= '9' || c == '.' || c == '-' && at == 0
	})
}

// while takes the bytes for which ok holds, and the blanks after them.
func (p *parser) while(ok func(c byte, at int) bool) string {
	from := p.i
	for p.i < len(p.s) && ok(p.s[p.i], p.i-from) {
		p.i++
	}
	s := p.s[from:p.i]
	p.blank()
	return s
}
