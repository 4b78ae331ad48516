package verify

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
)

// Contract is what the caller of a kernel promises and what it gets: the integers
// that are arguments, and the memory that pointers lead to. Extents are
// expressions over integer arguments, Symbols, Const and the names of Sums, with
// + - *, / by a constant (rounded down) and parentheses, such as "4*S*n*k".
type Contract struct {
	Args    []Arg
	Const   map[string]int64
	Symbols []Integer // integers that are no argument, but tied to them
	Facts   []string  // expressions that are at least 0
	Sums    []Sum
	Walks   []Walk
	// Steps are amounts by which a pointer or a counter moves where ways meet on
	// which it moved differently in form, but not in fact.
	Steps []string
}

// Arg is an argument. Arguments lie one behind the other, each aligned to its
// size.
type Arg struct {
	Name    string
	Size    int64
	Integer *Integer // of 8 bytes
	Memory  *Region  // where it is a pointer
}

// Integer is an integer that is at least Min, or exactly Value.
type Integer struct {
	Name  string
	Min   int64
	Value string
}

// Region is the memory at a pointer: Rows rows of Len bytes, Stride bytes apart.
// Stride is an argument, or a multiple of a symbol.
type Region struct {
	Rows, Stride string // "" is a single row
	Len          string // bytes
	// Write says that the region is an output. Each of its elements must be
	// written, and once: of the rows below Cover ("" is all), or of those that the
	// integers of the region By name, of which there are Cover.
	Write    bool
	Cover    string
	By       string
	Optional bool // the pointer may be nil, and then leads nowhere
	Align    int64
	// Elem is the size of the integers in the region; each is below Below, where
	// that is set, or those of the first Checked bytes.
	Elem    int64
	Below   string
	Checked string
}

// Sum names a sum over the integers of a region: Rows rows of len(Weights)
// integers of Width bytes each. With Bits it is the number of bits set in Rows
// bytes. Where Same names a Sum of bits further up, the sum over the first rows, however
// many, is that one's over Each bytes a row.
type Sum struct {
	Name    string
	Of      string
	Rows    string
	Width   int64
	Weights []int64
	Bits    bool
	Same    string
	Each    string
}

// Walk says of a region of rows of Period bytes: each byte from place From on, added
// to those at its place in the rows before, stays below Below; where One is set, to
// those at place Carry instead. The sums begin anew after as many rows as the next integer
// of the region summed by Rows says.
type Walk struct {
	Of     string
	Rows   string // the name of a Sum
	Period int64
	From   int64
	One    bool
	Carry  int64
	Below  string
}

// region is a Region, or a table, as the analysis sees it.
type region struct {
	name     string
	arg      bool
	rows     poly // nil is one
	stride   symbol
	pitch    int64 // the stride is this many of its symbol
	length   poly
	cover    poly // rows to be covered
	by       int  // region that names them, or -1
	write    bool
	optional bool
	align    int64
	elem     int64
	below    poly
	hasMax   bool
	until    poly // bytes in which below holds
	data     []byte
}

type walk struct {
	region, rows int
	period, from int64
	carry        int64 // -1 where each place is summed by itself
	below        poly
}

// slot is an argument in the caller's frame.
type slot struct {
	name   string
	at     int64
	size   int64
	region int // -1: no pointer
}

// bind makes symbols and regions of the contract. absent is the pointer that is
// nil this time, if any.
func (a *analysis) bind(c *Contract, absent string) error {
	a.names = map[string]poly{}
	for name, v := range c.Const {
		a.names[name] = a.syms.constant(v)
	}
	integer := func(i *Integer) error {
		if i.Value != "" {
			p, err := a.expr(i.Value)
			a.names[i.Name] = p
			return err
		}
		s := a.syms.fresh(i.Name)
		a.names[i.Name] = a.syms.poly(s)
		if i.Min > 0 {
			a.base = a.base.with(a.syms.poly(s).plusConst(-i.Min))
			a.syms.info[s].positive = true
		}
		return nil
	}
	for i := range c.Symbols {
		if err := integer(&c.Symbols[i]); err != nil {
			return err
		}
	}
	for _, g := range c.Args {
		if g.Integer != nil {
			i := *g.Integer
			i.Name = g.Name
			if err := integer(&i); err != nil {
				return err
			}
		}
	}
	at, regions := int64(0), map[string]int{}
	for _, g := range c.Args {
		at = (at + g.Size - 1) / g.Size * g.Size
		s := slot{g.Name, at, g.Size, -1}
		v := value{k: vAny}
		switch {
		case g.Integer != nil:
			v = value{k: vInt, p: a.names[g.Name]}
		case g.Memory != nil && absent == g.Name:
			v = value{k: vInt}
		case g.Memory != nil:
			s.region = len(a.regions)
			v = value{k: vPtr, region: s.region}
		}
		if g.Memory != nil {
			regions[g.Name] = len(a.regions)
			a.regions = append(a.regions, region{name: g.Name, arg: true, write: g.Memory.Write, optional: g.Memory.Optional, align: g.Memory.Align, elem: g.Memory.Elem, by: -1})
		}
		a.slots = append(a.slots, s)
		a.initial = append(a.initial, v)
		at += g.Size
	}
	a.frame = at
	for _, u := range c.Sums {
		r, ok := regions[u.Of]
		if !ok {
			return fmt.Errorf("sum %s of %s, which is no pointer", u.Name, u.Of)
		}
		rows, err := a.expr(u.Rows)
		if err != nil {
			return err
		}
		s := sum{name: u.Name, region: r, bits: u.Bits}
		end := rows
		if !u.Bits {
			s.period = u.Width * int64(len(u.Weights))
			end = rows.scaled(s.period)
			for i, w := range u.Weights {
				if w != 0 {
					s.terms = append(s.terms, sumTerm{u.Width * int64(i), u.Width, w})
				}
			}
		}
		s.ends = []poly{end}
		if u.Same != "" {
			t, ok := a.names[u.Same].isSymbol()
			if !ok {
				return fmt.Errorf("sum %s is the same as %q, which is no sum", u.Name, u.Same)
			}
			if s.each, err = a.expr(u.Each); err != nil {
				return err
			}
			s.same = a.syms.info[t].sum
		}
		i := a.syms.sumIndex(s)
		a.names[u.Name] = a.syms.prefixAt(i, end)
	}
	var err error
	expr := func(s string) poly {
		p, e := a.expr(s)
		if e != nil && err == nil {
			err = e
		}
		return p
	}
	for _, g := range c.Args {
		m := g.Memory
		if m == nil {
			continue
		}
		r := &a.regions[regions[g.Name]]
		r.length = expr(m.Len)
		r.cover = a.syms.constant(1)
		if m.Rows != "" {
			r.rows = expr(m.Rows)
			r.cover = r.rows
			stride := expr(m.Stride)
			r.pitch = stride.content(true)
			one, _ := stride.divided(max(1, r.pitch))
			var ok bool
			if r.stride, ok = one.isSymbol(); !ok {
				return fmt.Errorf("%s: the stride %q is no multiple of a symbol", g.Name, m.Stride)
			}
		}
		if m.Cover != "" {
			r.cover = expr(m.Cover)
		}
		if m.By != "" {
			r.by = regions[m.By]
		}
		if m.Below != "" {
			r.below, r.hasMax, r.until = expr(m.Below), true, r.length
			if m.Checked != "" {
				r.until = expr(m.Checked)
			}
		}
	}
	for _, w := range c.Walks {
		s, ok := a.names[w.Rows].isSymbol()
		if !ok {
			return fmt.Errorf("walk by %q, which is no sum", w.Rows)
		}
		carry := int64(-1)
		if w.One {
			carry = w.Carry
		}
		a.walks = append(a.walks, walk{regions[w.Of], a.syms.info[s].sum, w.Period, w.From, carry, expr(w.Below)})
	}
	for _, f := range c.Facts {
		a.base = a.base.with(expr(f))
	}
	return err
}

// expr evaluates an expression of the contract.
func (a *analysis) expr(text string) (poly, error) {
	e, ok := a.parsed[text]
	if !ok {
		var err error
		if e, err = parser.ParseExpr(text); err != nil {
			return nil, fmt.Errorf("expression %q: %w", text, err)
		}
		a.parsed[text] = e
	}
	var eval func(ast.Expr) (poly, error)
	eval = func(e ast.Expr) (poly, error) {
		switch e := e.(type) {
		case *ast.ParenExpr:
			return eval(e.X)
		case *ast.BasicLit:
			v, err := strconv.ParseInt(e.Value, 0, 32)
			return a.syms.constant(v), err
		case *ast.Ident:
			if p, ok := a.names[e.Name]; ok {
				return p, nil
			}
			return nil, fmt.Errorf("expression %q: nothing is called %s", text, e.Name)
		case *ast.BinaryExpr:
			x, err := eval(e.X)
			if err != nil {
				return nil, err
			}
			y, err := eval(e.Y)
			if err != nil {
				return nil, err
			}
			switch e.Op {
			case token.ADD:
				return x.plus(y), nil
			case token.SUB:
				return x.minus(y), nil
			case token.MUL:
				return x.times(y), nil
			case token.QUO:
				if d, ok := y.isConst(); ok && d > 0 {
					return a.syms.floorOf(x, d), nil
				}
			}
		}
		return nil, fmt.Errorf("expression %q: only + - *, / by a constant, and parentheses", text)
	}
	return eval(e)
}
