package ptxsim

import (
	"fmt"
	"strconv"
	"strings"
)

// instruction reads one instruction without its semicolon.
func (p *program) instruction(text string) (instr, error) {
	i := instr{text: text, guard: -1}
	s := text
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		guard, rest, _ := strings.Cut(rest, " ")
		guard, i.neg = strings.CutPrefix(guard, "!")
		o, ok := p.register(guard)
		if !ok || o.kind != opPred {
			return i, fmt.Errorf("%q is no predicate", guard)
		}
		i.guard, s = o.reg, strings.TrimSpace(rest)
	}
	name, rest, _ := strings.Cut(s, " ")
	i.name, i.parts = name, strings.Split(name, ".")
	if name == "bra" || name == "bra.uni" {
		i.label = strings.TrimSpace(rest)
		return i, nil
	}
	for _, a := range splitTop(rest) {
		o, err := p.operand(a)
		if err != nil {
			return i, err
		}
		i.args = append(i.args, o)
	}
	return i, nil
}

// splitTop splits at commas outside brackets.
func splitTop(s string) []string {
	var parts []string
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[from:]); last != "" {
		parts = append(parts, last)
	}
	return parts
}

// register finds a register by its name, in the innermost scope that has it.
func (p *program) register(s string) (operand, bool) {
	digits := len(s)
	for digits > 0 && s[digits-1] >= '0' && s[digits-1] <= '9' {
		digits--
	}
	n, err := strconv.Atoi(s[digits:])
	for i := len(p.scopes) - 1; i >= 0; i-- {
		c, ok := p.scopes[i][s]
		at := c.first
		if !ok || !c.single {
			if c, ok = p.scopes[i][s[:digits]]; !ok || c.single || err != nil || n >= c.n {
				continue
			}
			at = c.first + n
		}
		kind := opReg
		if c.pred {
			kind = opPred
		}
		return operand{kind: kind, reg: at, bytes: c.bytes, name: s}, true
	}
	return operand{}, false
}

func (p *program) operand(s string) (operand, error) {
	if s == "" {
		return operand{}, fmt.Errorf("an operand is missing")
	}
	inside := s[1:max(1, len(s)-1)]
	switch {
	case s == "_":
		return operand{kind: opSink}, nil
	case s[0] == '{':
		o := operand{kind: opVec}
		for _, e := range splitTop(inside) {
			r, err := p.operand(e)
			if err != nil {
				return o, err
			}
			o.list = append(o.list, r)
		}
		return o, nil
	case s[0] == '[':
		return p.address(inside)
	case strings.Contains(s, "|"):
		a, b, _ := strings.Cut(s, "|")
		first, err := p.operand(a)
		if err != nil {
			return first, err
		}
		second, err := p.operand(b)
		return operand{kind: opPair, list: []operand{first, second}}, err
	case s[0] == '!':
		o, err := p.operand(s[1:])
		o.neg = true
		return o, err
	case s[0] == '%':
		if o, ok := p.register(s); ok {
			return o, nil
		}
		if _, ok := specials[s]; ok {
			return operand{kind: opSymbol, name: s}, nil
		}
		return operand{}, fmt.Errorf("no register %s", s)
	case s[0] == '-' || s[0] >= '0' && s[0] <= '9':
		v, err := immediate(s)
		return operand{kind: opImm, imm: v}, err
	}
	for _, q := range p.params {
		if q.name == s {
			return operand{kind: opSymbol, name: s}, nil
		}
	}
	for _, a := range p.arrays {
		if a.name == s {
			return operand{kind: opSymbol, name: s}, nil
		}
	}
	return operand{}, fmt.Errorf("unknown symbol %s", s)
}

func immediate(s string) (uint64, error) {
	switch {
	case strings.HasPrefix(s, "0f"), strings.HasPrefix(s, "0d"):
		return strconv.ParseUint(s[2:], 16, 64)
	case strings.HasPrefix(s, "-"):
		v, err := strconv.ParseInt(s, 0, 64)
		return uint64(v), err
	}
	return strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
}

// address reads what is between brackets: base, base+off, or map, {coordinates}.
func (p *program) address(s string) (operand, error) {
	o := operand{kind: opMem}
	parts := splitTop(s)
	if len(parts) == 0 || parts[0] == "" {
		return o, fmt.Errorf("an empty address")
	}
	if len(parts) == 2 {
		c, err := p.operand(parts[1])
		if err != nil {
			return o, err
		}
		o.coords = c.list
	}
	base := parts[0]
	if i := strings.IndexAny(base[1:], "+-"); i >= 0 {
		off, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(base[i+1:], "+")), 0, 64)
		if err != nil {
			return o, err
		}
		o.off, base = off, strings.TrimSpace(base[:i+1])
	}
	b, err := p.operand(base)
	o.list = []operand{b}
	return o, err
}

var sizes = map[string]int{
	"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "e4m3x2": 2, "e5m2x2": 2,
	"b32": 4, "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8, "pred": 1,
}
