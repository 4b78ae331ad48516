package ir

import (
	"strconv"
	"strings"
)

// Format returns a spec in its canonical form, comments kept. When the spec
// cannot be parsed the error is an ErrorList.
func Format(path string, src []byte) ([]byte, error) {
	f, err := Parse(path, src)
	if err != nil {
		return nil, err
	}
	return []byte(Print(f)), nil
}

// Print is the canonical text of a File: parsing it gives the same File but
// for its positions, and printing that gives the same text.
func Print(f *File) string {
	p := &printer{}
	p.above(f.Header.Above)
	p.line("sparsegen "+strconv.Itoa(f.Version), f.Header.After)
	for _, d := range f.Decls {
		p.decl(d)
	}
	p.above(f.Trailing)
	return p.b.String()
}

// wrapColumn is the width beyond which a chain of pipes gets a line each.
const wrapColumn = 100

type printer struct {
	b     strings.Builder
	depth int
}

func (p *printer) indent() {
	for range p.depth {
		p.b.WriteString("    ")
	}
}

func (p *printer) above(lines []string) {
	for _, l := range lines {
		if l != "" {
			p.indent()
			p.b.WriteString(l)
		}
		p.b.WriteByte('\n')
	}
}

// line writes a line with an optional comment at its end.
func (p *printer) line(text, after string) {
	p.indent()
	p.b.WriteString(text)
	p.endLine(after)
}

func (p *printer) endLine(after string) {
	if after != "" {
		p.b.WriteString(" " + after)
	}
	p.b.WriteByte('\n')
}

func (p *printer) decl(d Decl) {
	c := d.comments()
	p.above(c.Above)
	switch d := d.(type) {
	case *WeightsDecl:
		p.line("weights "+strconv.Quote(d.File), c.After)
	case *TargetDecl:
		var parts []string
		for _, t := range d.Targets {
			s := t.Arch.Name
			if len(t.ISAs) > 0 {
				s += "(" + joinNames(t.ISAs) + ")"
			}
			parts = append(parts, s)
		}
		p.line("target "+strings.Join(parts, ", "), c.After)
	case *LayerDecl:
		var b strings.Builder
		b.WriteString("layer " + d.Name)
		writeParams(&b, d.Inputs)
		b.WriteByte(' ')
		writeParams(&b, d.Outputs)
		for i, r := range d.Where {
			b.WriteString([...]string{" where ", ", "}[min(i, 1)])
			b.WriteString(r.Dim.Name + " in " + r.Min.Text + ".." + r.Max.Text)
		}
		p.indent()
		p.b.WriteString(b.String() + " ")
		p.block(&d.Body)
	}
}

func joinNames(ids []Ident) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.Name
	}
	return strings.Join(names, ", ")
}

func writeParams(b *strings.Builder, ps []*Param) {
	b.WriteByte('(')
	for i, g := range ps {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(joinNames(g.Names) + " " + g.Type.DType.Name + "[")
		for j, e := range g.Type.Shape {
			if j > 0 {
				b.WriteString(", ")
			}
			writeExpr(b, e, 0, ", ")
		}
		b.WriteByte(']')
	}
	b.WriteByte(')')
}

// block writes a block whose brace goes at the end of the current line.
func (p *printer) block(b *Block) {
	p.b.WriteByte('{')
	p.endLine(b.Open)
	p.depth++
	for _, s := range b.Stmts {
		p.stmt(s)
	}
	p.above(b.Trailing)
	p.depth--
	p.line("}", b.Close)
}

func (p *printer) stmt(s *Stmt) {
	p.above(s.Above)
	var b strings.Builder
	if len(s.Names) > 0 {
		b.WriteString(joinNames(s.Names) + " = ")
	}
	head := b.Len()
	writeExpr(&b, s.Value, 0, ", ")
	text := b.String()
	if 4*p.depth+len(text) > wrapColumn {
		text = text[:head] + p.wrapped(s.Value)
	}
	p.indent()
	p.b.WriteString(text)
	if s.Body != nil {
		p.b.WriteByte(' ')
		p.block(s.Body)
		return
	}
	p.endLine(s.After)
}

// wrapped writes a chain of pipes with a line for each stage.
func (p *printer) wrapped(e Expr) string {
	var stages []string
	for {
		pipe, ok := e.(*Binary)
		if !ok || pipe.Op != "|" {
			break
		}
		var b strings.Builder
		writeExpr(&b, pipe.Y, precedence('|')+1, ", ")
		stages = append(stages, b.String())
		e = pipe.X
	}
	var b strings.Builder
	writeExpr(&b, e, precedence('|'), ", ")
	for i := len(stages) - 1; i >= 0; i-- {
		b.WriteByte('\n')
		b.WriteString(strings.Repeat("    ", p.depth+1) + "| " + stages[i])
	}
	return b.String()
}

// writeExpr writes an expression, in parentheses when it binds looser than
// least. The comma separates the arguments of calls: ", " but "," in patterns,
// as patterns write themselves.
func writeExpr(b *strings.Builder, e Expr, least int, comma string) {
	switch e := e.(type) {
	case *Name:
		b.WriteString(e.Name)
	case *Number:
		b.WriteString(e.Text)
	case *String:
		b.WriteString(strconv.Quote(e.Value))
	case *WeightRef:
		b.WriteString("w" + strconv.Quote(e.Tensor))
	case *ListRef:
		b.WriteString("@" + e.Name)
	case *Seq:
		b.WriteByte('[')
		writeList(b, e.Items, comma)
		b.WriteByte(']')
	case *Call:
		writeExpr(b, e.Fun, unaryPrecedence+1, comma)
		b.WriteByte('(')
		for i, a := range e.Args {
			if i > 0 {
				b.WriteString(comma)
			}
			writeArg(b, a, comma)
		}
		b.WriteByte(')')
	case *Index:
		writeExpr(b, e.X, unaryPrecedence+1, comma)
		b.WriteByte('[')
		writeList(b, e.Items, comma)
		b.WriteByte(']')
	case *Slice:
		if e.Lo != nil {
			writeExpr(b, e.Lo, 0, comma)
		}
		b.WriteByte(':')
		if e.Hi != nil {
			writeExpr(b, e.Hi, 0, comma)
		}
	case *Field:
		writeExpr(b, e.X, unaryPrecedence+1, comma)
		b.WriteString("." + e.Name)
	case *Unary:
		inParens(b, unaryPrecedence < least, func() {
			b.WriteByte('-')
			writeExpr(b, e.X, unaryPrecedence, comma)
		})
	case *Binary:
		op, _ := operatorAt(e.Op)
		prec := precedence(op)
		inParens(b, prec < least, func() {
			writeExpr(b, e.X, prec, comma)
			b.WriteString(" " + e.Op + " ")
			writeExpr(b, e.Y, prec+1, comma)
		})
	}
}

func writeList(b *strings.Builder, items []Expr, comma string) {
	for i, x := range items {
		if i > 0 {
			b.WriteString(comma)
		}
		writeExpr(b, x, 0, comma)
	}
}

func writeArg(b *strings.Builder, a *Arg, comma string) {
	if a.Name.Name != "" {
		b.WriteString(a.Name.Name + "=")
	}
	writeExpr(b, a.Value, 0, comma)
	if a.Pattern != nil {
		b.WriteString(" : ")
		writeExpr(b, a.Pattern, 0, ",")
	}
}

func inParens(b *strings.Builder, parens bool, body func()) {
	if parens {
		b.WriteByte('(')
	}
	body()
	if parens {
		b.WriteByte(')')
	}
}
