package arm64

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// vectorLengths are the bytes that a scalable vector may have: the powers of two
// from 128 to 2048 bits (Arm Architecture Reference Manual for A-profile, B1.2.2).
var vectorLengths = []int64{16, 32, 64, 128, 256}

// A Listing is emitted assembly, read back for verification.
type Listing struct {
	// Funcs are the functions in their order; one whose vectors have no fixed length
	// is there once for each length.
	Funcs  []*verify.Func
	Tables []verify.Table
}

// ParseListing reads the assembly that Emit prints; instruction words it decodes
// by the table. What it does not understand is an error with its line.
func ParseListing(text []byte) (*Listing, error) {
	p := &parser{tables: map[string]*verify.Table{}, seen: map[string]decoded{}}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if err := p.line(n, strings.TrimRight(line, "\n")); err != nil {
			return nil, fmt.Errorf("arm64: line %d: %w", n, err)
		}
	}
	l := &Listing{}
	seen := map[sighting][]verify.Inst{}
	for _, f := range p.funcs {
		funcs, err := f.meaning(seen)
		if err != nil {
			return nil, err
		}
		l.Funcs = append(l.Funcs, funcs...)
	}
	for _, name := range p.order {
		l.Tables = append(l.Tables, *p.tables[name])
	}
	return l, nil
}

type parser struct {
	funcs  []*function
	tables map[string]*verify.Table
	order  []string
	seen   map[string]decoded // by their text: kernels repeat themselves
}

// sighting is an instruction at a length of vectors.
type sighting struct {
	text   string
	length int64
}

// function is a function of the listing before it is known how long vectors are.
type function struct {
	verify.Func
	insts []listed
}

// listed is an instruction with its place in the listing.
type listed struct {
	decoded
	line int
	text string
}

// meaning is what f does: of a function with vectors of any length, what it does
// at each that there is. What was seen before is not made out again.
func (f *function) meaning(seen map[sighting][]verify.Inst) ([]*verify.Func, error) {
	lengths := []int64{0}
	if slices.ContainsFunc(f.insts, func(i listed) bool { return i.scalable() }) {
		lengths = vectorLengths
	}
	var funcs []*verify.Func
	for _, length := range lengths {
		g := f.Func
		g.Bits, g.Labels = 8*length, map[string]int{}
		meanings := make([][]verify.Inst, len(f.insts))
		at := make([]int, len(f.insts)+1)
		for i, d := range f.insts {
			meaning, ok := seen[sighting{d.text, length}]
			if !ok {
				d.length = length
				var err error
				if meaning, err = d.meaning(); err != nil {
					return nil, fmt.Errorf("arm64: line %d: %s: %w", d.line, d.name, err)
				}
				seen[sighting{d.text, length}] = meaning
			}
			meanings[i], at[i+1] = meaning, at[i]+len(meaning)
		}
		g.Insts = make([]verify.Inst, 0, at[len(f.insts)])
		for i, d := range f.insts {
			for _, in := range meanings[i] {
				in.Line, in.Text = d.line, d.text
				g.Insts = append(g.Insts, in)
			}
		}
		for name, i := range f.Labels {
			g.Labels[name] = at[i]
		}
		funcs = append(funcs, &g)
	}
	return funcs, nil
}

func (p *parser) line(n int, line string) error {
	code, _, _ := strings.Cut(line, "//")
	code = strings.TrimSpace(code)
	first, rest, _ := strings.Cut(code, " ")
	switch {
	case first == "" || strings.HasPrefix(first, "#"):
		return nil
	case first == "TEXT":
		return p.text(n, rest)
	case first == "DATA":
		return p.data(rest)
	case first == "GLOBL":
		return p.globl(rest)
	}
	if len(p.funcs) == 0 {
		return fmt.Errorf("%s before any function", first)
	}
	f := p.funcs[len(p.funcs)-1]
	if name, ok := strings.CutSuffix(first, ":"); ok {
		if _, twice := f.Labels[name]; twice {
			return fmt.Errorf("label %s a second time", name)
		}
		f.Labels[name] = len(f.insts)
		return nil
	}
	d, ok := p.seen[code]
	if !ok {
		var err error
		if d.form, d.values, d.symbol, err = parseLine(code); err != nil {
			return err
		}
		p.seen[code] = d
	}
	f.insts = append(f.insts, listed{d, n, strings.TrimSpace(line)})
	return nil
}

// text reads what follows TEXT: ·name(SB), NOSPLIT, $frame-args.
func (p *parser) text(n int, rest string) error {
	f := &function{Func: verify.Func{Line: n, Labels: map[string]int{}, RegName: regName, Reserved: reserved}}
	fields := strings.Split(rest, ", ")
	name, ok := strings.CutSuffix(strings.TrimPrefix(fields[0], "·"), "(SB)")
	frame, args, ok2 := strings.Cut(strings.TrimPrefix(fields[len(fields)-1], "$"), "-")
	if !ok || !ok2 || len(fields) < 2 {
		return fmt.Errorf("TEXT %s: want ·name(SB), flags, $frame-arguments", rest)
	}
	f.Name = name
	var err error
	if f.Frame, err = strconv.ParseInt(frame, 10, 32); err != nil {
		return err
	}
	f.Args, err = strconv.ParseInt(args, 10, 32)
	p.funcs = append(p.funcs, f)
	return err
}

// splitSymbol splits name+8 or name<>+8.
func splitSymbol(s string) (name string, at int64, err error) {
	name, offset, ok := strings.Cut(s, "+")
	if !ok {
		return "", 0, fmt.Errorf("%s: want name+offset", s)
	}
	at, err = strconv.ParseInt(offset, 10, 32)
	return strings.TrimSuffix(name, "<>"), at, err
}

// data reads name<>+8(SB)/8, $0x3f800000.
func (p *parser) data(rest string) error {
	symbol, word, ok := strings.Cut(rest, "(SB)/8, $")
	if !ok {
		return fmt.Errorf("DATA %s: want a symbol of 8 bytes", rest)
	}
	name, at, err := splitSymbol(symbol)
	if err != nil {
		return err
	}
	t := p.tables[name]
	if t == nil {
		t = &verify.Table{Name: name}
		p.tables[name] = t
		p.order = append(p.order, name)
	}
	w, err := strconv.ParseUint(word, 0, 64)
	if err != nil {
		return err
	}
	if at != int64(len(t.Data)) {
		return fmt.Errorf("DATA %s: does not follow what lies before it", symbol)
	}
	for range 8 {
		t.Data = append(t.Data, byte(w))
		w >>= 8
	}
	return nil
}

// globl reads name<>(SB), flags, $size.
func (p *parser) globl(rest string) error {
	fields := strings.Split(rest, ", ")
	name := strings.TrimSuffix(fields[0], "<>(SB)")
	t := p.tables[name]
	if t == nil {
		return fmt.Errorf("GLOBL %s: there is no data", name)
	}
	size, err := strconv.Atoi(strings.TrimPrefix(fields[len(fields)-1], "$"))
	if err != nil || size != len(t.Data) {
		return fmt.Errorf("GLOBL %s: %d bytes of data, declared %s", name, len(t.Data), fields[len(fields)-1])
	}
	return nil
}
