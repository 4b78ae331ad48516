package ptxsim

import (
	"fmt"
	"strconv"
	"strings"
)

// program is a parsed kernel.
type program struct {
	target    string
	params    []param
	regs      int // 32- and 64-bit registers of a thread, all classes together
	preds     int
	code      []instr
	arrays    []array // in shared memory, the dynamic one last
	static    int     // bytes of the arrays of known size
	threads   int
	cluster   int // blocks, 0 where the text does not say
	maxRegs   int // of .maxnreg, 0 without
	minBlocks bool

	scopes []map[string]class
	labels map[string]int
}

type param struct {
	name string
	size int
}

// array is memory in the shared window at an offset.
type array struct {
	name string
	at   int
}

// class is the registers %name0, %name1, and so on, or one register.
type class struct {
	first, n int
	pred     bool
	single   bool
	bytes    int
}

// instr is one instruction; a row of the table compiles it into exec.
type instr struct {
	line   int
	text   string
	name   string
	parts  []string // of the name, split at its dots
	picks  []string // what the braces of its row chose
	args   []operand
	guard  int // predicate register, or -1
	neg    bool
	label  string
	target int // of a branch
	pc     int // of itself

	kind  instrKind
	pure  bool // only computes: from what has no value comes what has none
	spins bool // may be all that a thread does while it waits
	shows bool // in a trace
	exec  func(w *warp, m uint32)
	lanes src // the mask operand of a collective instruction
}

type instrKind uint8

const (
	plain      instrKind = iota
	branch               // bra
	leave                // ret, exit
	aligned              // all lanes that are left execute it together
	collective           // those of a mask do
)

type operandKind uint8

const (
	opReg operandKind = iota + 1
	opPred
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
	bytes  int  // of a register
	neg    bool // !p
	imm    uint64
	name   string
	list   []operand // of a vector, the two of a pair, the base of an address
	off    int64     // of an address
	coords []operand // of a tensor address
}

// sourceError is an error at a line of the text.
type sourceError struct {
	line int
	text string
	err  error
}

func (e *sourceError) Error() string {
	return fmt.Sprintf("line %d: %s: %v", e.line, strings.TrimSpace(e.text), e.err)
}

func (e *sourceError) Unwrap() error { return e.err }

// parse reads the entry of a module.
func parse(text, entry string) (*program, error) {
	p := &program{labels: map[string]int{}, scopes: []map[string]class{{}}}
	s := &scanner{lines: strings.Split(text, "\n")}
	for s.next() {
		err := p.directive(s, entry)
		if err == errFound {
			err = p.entry(s)
			if err == nil {
				return p, p.link(s)
			}
		}
		if err != nil {
			return nil, s.wrap(err)
		}
	}
	return nil, fmt.Errorf("no entry %s", entry)
}

// scanner gives the lines of a text without comments.
type scanner struct {
	lines []string
	at    int // number of the present line
	line  string
}

func (s *scanner) next() bool {
	for s.at < len(s.lines) {
		line, _, _ := strings.Cut(s.lines[s.at], "//")
		s.at++
		if s.line = strings.TrimSpace(line); s.line != "" {
			return true
		}
	}
	return false
}

func (s *scanner) wrap(err error) error {
	return &sourceError{s.at, s.lines[min(s.at, len(s.lines))-1], err}
}

var errFound = fmt.Errorf("the entry")

// directive reads a line at the top of the module.
func (p *program) directive(s *scanner, entry string) error {
	f := strings.Fields(s.line)
	switch {
	case f[0] == ".version" || f[0] == ".address_size":
	case f[0] == ".target" && len(f) > 1:
		p.target = strings.TrimSuffix(f[1], ",")
	case strings.Contains(s.line, ".shared"):
		return p.shared(s.line)
	case strings.Contains(s.line, ".entry "+entry+"("):
		return errFound
	case strings.Contains(s.line, ".entry ") || strings.Contains(s.line, ".func"): // another kernel
		for s.line != "}" && s.next() {
		}
	default:
		return fmt.Errorf("unknown directive")
	}
	return nil
}

// shared reads ".shared .align 16 .b8 name[64];", the .extern form with [], or
// ".shared .align 8 .b64 name;".
func (p *program) shared(line string) error {
	f := strings.Fields(strings.TrimPrefix(strings.TrimSuffix(line, ";"), ".extern "))
	bad := fmt.Errorf("want .shared .align N .type name[count]")
	if len(f) != 5 || f[0] != ".shared" || f[1] != ".align" {
		return bad
	}
	align, err := strconv.Atoi(f[2])
	element := sizes[strings.TrimPrefix(f[3], ".")]
	if err != nil || align < 1 || align > 1<<16 || align&(align-1) != 0 || element == 0 {
		return bad
	}
	name, count, indexed := strings.Cut(strings.TrimSuffix(f[4], "]"), "[")
	n := 1
	switch {
	case indexed && count == "": // as many as the launch gives
		n = 0
	case indexed:
		if n, err = strconv.Atoi(count); err != nil || n < 1 || n > 1<<24 {
			return bad
		}
	}
	at := (p.static + align - 1) / align * align
	p.arrays = append(p.arrays, array{name, at})
	p.static = at + n*element
	return nil
}

// entry reads parameters, directives and the body; the present line is the entry's.
func (p *program) entry(s *scanner) error {
	head := ""
	for s.line != "{" {
		head += s.line + "\n"
		if !s.next() {
			return fmt.Errorf("no body")
		}
	}
	if err := p.head(head); err != nil {
		return err
	}
	depth := 1
	for depth > 0 {
		if !s.next() {
			return fmt.Errorf("the body has no end")
		}
		switch s.line {
		case "{":
			depth++
			p.scopes = append(p.scopes, map[string]class{})
		case "}":
			depth--
			p.scopes = p.scopes[:len(p.scopes)-1]
		default:
			if err := p.statement(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// head reads what stands before the body: the entry's name, parameters in
// parentheses, and directives in lines.
func (p *program) head(text string) error {
	_, text, _ = strings.Cut(text, "(")
	params, directives, ok := strings.Cut(text, ")")
	if !ok {
		return fmt.Errorf("no end of the parameters")
	}
	for _, line := range append(strings.Split(params, ","), strings.Split(directives, "\n")...) {
		if err := p.header(line); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) header(line string) error {
	f := strings.Fields(strings.ReplaceAll(line, ",", " "))
	if len(f) == 0 {
		return nil
	}
	number := func(i int) int {
		if i >= len(f) {
			return 0
		}
		n, _ := strconv.Atoi(f[i])
		return n
	}
	switch f[0] {
	case ".param":
		q := param{name: f[len(f)-1]}
		if name, count, ok := strings.Cut(q.name, "["); ok {
			q.name = name
			q.size, _ = strconv.Atoi(strings.TrimSuffix(count, "]"))
		} else if len(f) > 1 {
			q.size = sizes[strings.TrimPrefix(f[1], ".")]
		}
		if q.size == 0 {
			return fmt.Errorf("a parameter of no size")
		}
		p.params = append(p.params, q)
	case ".reqntid":
		p.threads = number(1) * max(1, number(2)) * max(1, number(3))
	case ".reqnctapercluster":
		p.cluster = number(1) * max(1, number(2)) * max(1, number(3))
	case ".maxnreg":
		p.maxRegs = number(1)
	case ".minnctapersm":
		p.minBlocks = true
	case ".explicitcluster", ".maxntid":
	default:
		return fmt.Errorf("unknown directive")
	}
	return nil
}

// statement reads a line of the body.
func (p *program) statement(s *scanner) error {
	switch line := s.line; {
	case strings.HasPrefix(line, ".pragma"), strings.HasPrefix(line, ".loc"):
		return nil
	case strings.HasPrefix(line, ".reg "):
		return p.declare(strings.TrimSuffix(line, ";"))
	case strings.HasPrefix(line, ".shared"):
		return p.shared(line)
	case strings.HasSuffix(line, ":"):
		name := strings.TrimSuffix(line, ":")
		if _, twice := p.labels[name]; twice {
			return fmt.Errorf("a label that is there already")
		}
		p.labels[name] = len(p.code)
		return nil
	case !strings.HasSuffix(line, ";"):
		return fmt.Errorf("no semicolon")
	default:
		i, err := p.instruction(strings.TrimSuffix(line, ";"))
		if err != nil {
			return err
		}
		i.line = s.at
		p.code = append(p.code, i)
		return nil
	}
}

// maxRegisters bounds what a text declares.
const maxRegisters = 1 << 16

// declare reads ".reg .b32 %r<12>" or ".reg .pred %p, %q".
func (p *program) declare(line string) error {
	f := strings.SplitN(line, " ", 3)
	if len(f) != 3 || sizes[strings.TrimPrefix(f[1], ".")] == 0 {
		return fmt.Errorf("want .reg .type name<count>")
	}
	for _, name := range strings.Split(f[2], ",") {
		name = strings.TrimSpace(name)
		c := class{n: 1, single: true, pred: f[1] == ".pred", bytes: sizes[strings.TrimPrefix(f[1], ".")]}
		if prefix, count, ok := strings.Cut(strings.TrimSuffix(name, ">"), "<"); ok {
			n, err := strconv.Atoi(count)
			if err != nil || n < 1 || n > maxRegisters {
				return fmt.Errorf("%q registers", count)
			}
			name, c.n, c.single = prefix, n, false
		}
		next := &p.regs
		if c.pred {
			next = &p.preds
		}
		c.first = *next
		*next += c.n
		if *next > maxRegisters {
			return fmt.Errorf("more than %d registers", maxRegisters)
		}
		p.scopes[len(p.scopes)-1][name] = c
	}
	return nil
}

// link finds the branches' targets and compiles.
func (p *program) link(s *scanner) error {
	for i := range p.code {
		c := &p.code[i]
		err := compile(p, c)
		if err == nil && c.kind == branch {
			at, ok := p.labels[c.label]
			if !ok {
				err = fmt.Errorf("no label %s", c.label)
			}
			c.target = at
		}
		if err != nil {
			s.at = c.line
			return s.wrap(err)
		}
	}
	return nil
}
