package ptxsim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// program is a parsed kernel.
type program struct {
	params  []param
	paramAt map[string]int
	regs    int // registers of a thread, all classes together
	first   map[string]int
	code    []instr
	shared  string // name of the dynamic shared array
	align   int
	threads int
}

type param struct {
	name  string
	size  int
	isMap bool
}

// instr is one instruction; run is what compile makes of it.
type instr struct {
	text     string
	op       []string // the name, split at its dots
	args     []operand
	pred     int // register, or -1
	neg      bool
	target   int // of bra
	label    string
	spins    bool // may be all that a thread does while it waits
	run      func(*thread)
	together func(*warp, []*thread) // instead of run: all lanes at once
}

type operandKind uint8

const (
	opReg operandKind = iota + 1
	opImm
	opVec
	opMem
	opSymbol
	opSink
	opPair
)

// operand is a register, an immediate, a vector, an address, or a|b.
type operand struct {
	kind   operandKind
	reg    int
	neg    bool // !p
	imm    uint64
	name   string
	list   []operand // of a vector, or the two of a pair
	off    int64     // of an address
	coords []operand // of a tensor address
}

func parse(text, entry string) (*program, error) {
	p := &program{paramAt: map[string]int{}, first: map[string]int{}, align: 16}
	_, body, ok := strings.Cut(text, ".entry "+entry+"(")
	if !ok {
		return nil, fmt.Errorf("no entry %s", entry)
	}
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), ".extern .shared .align "); ok {
			if _, err := fmt.Sscanf(rest, "%d .b8 %s", &p.align, &p.shared); err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			p.shared = strings.TrimSuffix(p.shared, "[];")
		}
	}
	head, body, _ := strings.Cut(body, "{\n")
	if err := p.header(head); err != nil {
		return nil, err
	}
	labels := map[string]int{}
	for _, line := range strings.Split(body, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "//")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "{" || line == "}" || strings.HasPrefix(line, ".pragma"):
		case strings.HasPrefix(line, ".reg "):
			if err := p.declare(line); err != nil {
				return nil, err
			}
		case strings.HasSuffix(line, ":"):
			labels[strings.TrimSuffix(line, ":")] = len(p.code)
		default:
			i, err := p.instruction(strings.TrimSuffix(line, ";"))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			p.code = append(p.code, i)
		}
	}
	for i := range p.code {
		c := &p.code[i]
		if c.op[0] == "bra" {
			at, ok := labels[c.label]
			if !ok {
				return nil, fmt.Errorf("%s: no such label", c.text)
			}
			c.target = at
		}
	}
	return p, nil
}

// header reads parameters and directives.
func (p *program) header(head string) error {
	for _, line := range strings.Split(head, "\n") {
		f := strings.Fields(strings.Trim(strings.TrimSpace(line), ",()"))
		switch {
		case len(f) == 0:
		case f[0] == ".param":
			q := param{name: f[len(f)-1]}
			if name, ok := strings.CutSuffix(q.name, "[128]"); ok {
				q.name, q.size, q.isMap = name, 128, true
			} else if bits, err := strconv.Atoi(f[1][2:]); err == nil {
				q.size = bits / 8
			} else {
				return fmt.Errorf("parameter %s", line)
			}
			p.paramAt[q.name] = len(p.params)
			p.params = append(p.params, q)
		case f[0] == ".reqntid":
			n, err := strconv.Atoi(strings.TrimSuffix(f[1], ","))
			if err != nil {
				return err
			}
			p.threads = n
		}
	}
	return nil
}

// declare reads ".reg .b32 %r<12>;".
func (p *program) declare(line string) error {
	f := strings.Fields(strings.TrimSuffix(line, ";"))
	if len(f) != 3 {
		return fmt.Errorf("%s", line)
	}
	prefix, count, ok := strings.Cut(strings.TrimSuffix(f[2], ">"), "<")
	n, err := strconv.Atoi(count)
	if !ok || err != nil {
		return fmt.Errorf("%s", line)
	}
	p.first[prefix] = p.regs
	p.regs += n
	return nil
}

func (p *program) instruction(s string) (instr, error) {
	i := instr{text: s, pred: -1}
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		guard, rest, _ := strings.Cut(rest, " ")
		guard, i.neg = strings.CutPrefix(guard, "!")
		r, err := p.register(guard)
		if err != nil {
			return i, err
		}
		i.pred, s = r, strings.TrimSpace(rest)
	}
	name, rest, _ := strings.Cut(s, " ")
	i.op = strings.Split(strings.ReplaceAll(name, "::", "_"), ".")
	i.spins = i.op[0] == "bra" || i.op[0] == "mbarrier" && i.op[1] == "try_wait"
	if i.op[0] == "bra" {
		i.label = strings.TrimSpace(rest)
		return i, nil
	}
	for _, a := range splitTop(rest, ',') {
		o, err := p.operand(a)
		if err != nil {
			return i, err
		}
		i.args = append(i.args, o)
	}
	return i, nil
}

// splitTop splits at separators outside brackets.
func splitTop(s string, sep byte) []string {
	var parts []string
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case sep:
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

func (p *program) register(s string) (int, error) {
	digits := len(s)
	for digits > 0 && s[digits-1] >= '0' && s[digits-1] <= '9' {
		digits--
	}
	first, ok := p.first[s[:digits]]
	n, err := strconv.Atoi(s[digits:])
	if !ok || err != nil {
		return 0, fmt.Errorf("register %q", s)
	}
	return first + n, nil
}

func (p *program) operand(s string) (operand, error) {
	inside := s[1:max(1, len(s)-1)]
	switch {
	case s == "_":
		return operand{kind: opSink}, nil
	case s[0] == '{':
		o := operand{kind: opVec}
		for _, e := range splitTop(inside, ',') {
			r, err := p.operand(e)
			if err != nil {
				return o, err
			}
			o.list = append(o.list, r)
		}
		return o, nil
	case s[0] == '[':
		return p.memory(inside)
	case strings.Contains(s, "|"):
		a, b, _ := strings.Cut(s, "|")
		first, err := p.operand(a)
		if err != nil {
			return first, err
		}
		second, err := p.operand(b)
		return operand{kind: opPair, list: []operand{first, second}}, err
	case s[0] == '!':
		r, err := p.register(s[1:])
		return operand{kind: opReg, reg: r, neg: true}, err
	case s[0] == '%':
		if r, err := p.register(s); err == nil {
			return operand{kind: opReg, reg: r}, nil
		}
		return operand{kind: opSymbol, name: s}, nil
	case s[0] == '-' || s[0] >= '0' && s[0] <= '9':
		v, err := immediate(s)
		return operand{kind: opImm, imm: v}, err
	}
	return operand{kind: opSymbol, name: s}, nil
}

func immediate(s string) (uint64, error) {
	switch {
	case strings.HasPrefix(s, "0f"), strings.HasPrefix(s, "0d"):
		return strconv.ParseUint(s[2:], 16, 64)
	case strings.HasPrefix(s, "-"):
		v, err := strconv.ParseInt(s, 0, 64)
		return uint64(v), err
	}
	return strconv.ParseUint(s, 0, 64)
}

// memory reads what is between brackets: base, base+off, or map, {coordinates}.
func (p *program) memory(s string) (operand, error) {
	o := operand{kind: opMem}
	parts := splitTop(s, ',')
	if len(parts) == 2 {
		c, err := p.operand(parts[1])
		if err != nil {
			return o, err
		}
		o.coords = c.list
	}
	base := parts[0]
	if i := strings.IndexAny(base[1:], "+-"); i >= 0 {
		off, err := strconv.ParseInt(strings.TrimPrefix(base[i+1:], "+"), 0, 64)
		if err != nil {
			return o, err
		}
		o.off, base = off, base[:i+1]
	}
	b, err := p.operand(base)
	o.list = []operand{b}
	return o, err
}

func f32(v uint64) float32    { return math.Float32frombits(uint32(v)) }
func bits32(f float32) uint64 { return uint64(math.Float32bits(f)) }
