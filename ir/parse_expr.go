package ir

import "fmt"

// precedence orders the binary operators; a pipe binds loosest. It is 0 of
// other tokens.
func precedence(op tokenKind) int {
	switch op {
	case '|':
		return 1
	case '&':
		return 2
	case tokEq, tokNe, '<', tokLe, '>', tokGe:
		return 3
	case '+', '-':
		return 4
	case '*', '/':
		return 5
	}
	return 0
}

// unaryPrecedence lies above every binary operator.
const unaryPrecedence = 6

func (p *parser) expr() Expr { return p.binary(1) }

func (p *parser) binary(least int) Expr {
	p.enter()
	defer p.leave()
	x := p.unary()
	for n := 0; ; n++ {
		t := p.tok()
		prec := precedence(t.kind)
		if prec < least || prec == 0 {
			return x
		}
		p.limitChain(n, t)
		p.next()
		b := p.mem.binaries.one()
		b.At, b.Op, b.X, b.Y = t.at(), p.text(t), x, p.binary(prec+1)
		x = b
	}
}

func (p *parser) limitChain(n int, t token) {
	if n >= maxChain {
		p.fail(t.at(), codeLimit, fmt.Sprintf("more than %d operators in a row", maxChain), "split the expression into statements")
	}
}

func (p *parser) unary() Expr {
	if t := p.tok(); p.accept('-') {
		p.enter()
		defer p.leave()
		return &Unary{At: t.at(), X: p.unary()}
	}
	return p.postfix(p.primary())
}

func (p *parser) primary() Expr {
	switch t := p.tok(); t.kind {
	case tokName:
		if isKeyword(p.text(t)) {
			break
		}
		p.next()
		return p.newName(Ident{At: t.at(), Name: p.text(t)})
	case tokNumber:
		p.next()
		return p.newNumber(t)
	case tokString:
		p.next()
		return &String{At: t.at(), Value: p.unquote(t)}
	case tokWeight:
		p.next()
		w := p.mem.weights.one()
		w.At, w.Tensor = t.at(), p.unquote(t)
		return w
	case tokList:
		p.next()
		return &ListRef{At: t.at(), Name: p.text(t)[1:]}
	case '(':
		p.next()
		x := p.expr()
		p.expectClose(t, ')')
		return x
	case '[':
		p.next()
		x := &Seq{At: t.at()}
		p.list(t, ']', func() { x.Items = append(x.Items, p.expr()) })
		return x
	case '.':
		p.unexpected("a value", "a number below one starts with a zero: 0.5")
	}
	p.unexpected("a value", "")
	return &Name{At: p.end}
}

// list parses items with commas between them up to the bracket that closes
// open; a comma after the last item is fine.
func (p *parser) list(open token, closing tokenKind, item func()) {
	p.enter()
	defer p.leave()
	for !p.failed && !p.is(closing) {
		if p.tok().kind == tokEOF {
			break
		}
		item()
		if !p.accept(',') {
			break
		}
	}
	p.expectClose(open, closing)
}

// postfix parses calls, indices and fields, which start on the line of their
// operand.
func (p *parser) postfix(x Expr) Expr {
	for n := 0; ; n++ {
		t := p.tok()
		if t.nl {
			return x
		}
		switch t.kind {
		case '(':
			p.limitChain(n, t)
			p.next()
			call := p.mem.calls.one()
			call.At, call.Fun, call.Args = x.at(), x, p.mem.argPs.some(3)
			p.list(t, ')', func() { call.Args = append(call.Args, p.arg()) })
			x = call
		case '[':
			p.limitChain(n, t)
			p.next()
			index := p.mem.indices.one()
			index.At, index.X, index.Items = t.at(), x, p.mem.exprs.some(2)
			p.list(t, ']', func() { index.Items = append(index.Items, p.indexItem()) })
			if len(index.Items) == 0 {
				p.fail(t.at(), codeSyntax, "the index is empty", "")
			}
			x = index
		case '.':
			p.limitChain(n, t)
			p.next()
			f := p.tok()
			if f.kind != tokName || f.nl {
				p.unexpected("a name after the point", "")
			}
			p.next()
			x = &Field{At: f.at(), X: x, Name: p.text(f)}
		default:
			return x
		}
	}
}

func (p *parser) arg() *Arg {
	a := p.mem.args.one()
	if t := p.tok(); t.kind == tokName && p.peekIs('=') {
		a.Name = Ident{At: t.at(), Name: p.text(t)}
		p.next()
		p.next()
	}
	if p.inPattern { // its arguments may be ranges: diag(-1:2)
		a.Value = p.indexItem()
		return a
	}
	a.Value = p.expr()
	if p.accept(':') {
		a.patAt = p.tok().at()
		p.inPattern = true
		a.Pattern = p.expr()
		p.inPattern = false
		a.patEnd = p.end
	}
	return a
}

func (p *parser) indexItem() Expr {
	var lo Expr
	if !p.is(':') {
		lo = p.expr()
	}
	t := p.tok()
	if !p.accept(':') {
		return lo
	}
	s := &Slice{At: t.at(), Lo: lo}
	if !p.is(',') && !p.is(']') && !p.is(')') {
		s.Hi = p.expr()
	}
	return s
}
