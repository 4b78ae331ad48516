package arm64

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// row is one form of an instruction: a line of the table.
type row struct {
	// name is what this package calls the form.
	name string
	// operands are its fields in the order in which the package writes them: a
	// register is X (integer), V (vector), Z or P (SVE) and its field, d, n, m, a
	// or g, with = in front where it is written, + where it is read and written.
	// Others are names in fields.
	operands string
	// gnu is the text for the GNU assembler, with operands in angle brackets.
	gnu string
	// native is the text for Go 1.26's assembler, or "" where it has no such form
	// and the word itself is emitted.
	native string
	word   uint32 // without its fields
	does   semantics
}

// form is a row with its operands parsed.
type form struct {
	row
	ops  []operand
	mask uint32         // the bits of the word that are not fields
	text *regexp.Regexp // of native
}

// operand is one operand of a form.
type operand struct {
	name string
	kind byte // X, V, Z (a V of any length), P; 0 is an immediate, 'L' a label, 'S' a symbol
	read bool
	set  bool
	field
}

// field says where an operand lies in the word, and which values it has.
type field struct {
	min, max, step int64
	parts          []part
}

// part is a run of bits of the word: those of value*mul + add from bit shift on.
type part struct {
	pos, width int
	mul, add   int64
	shift      int
}

func (p part) mask() uint32 { return (1<<p.width - 1) << p.pos }

func (f field) holds(v int64) bool { return v >= f.min && v <= f.max && v%f.step == 0 }

// put is the bits of value v.
func (f field) put(v int64) uint32 {
	var w uint32
	for _, p := range f.parts {
		w |= uint32((v*p.mul/f.step+p.add)>>p.shift) << p.pos & p.mask()
	}
	return w
}

// get is the value in w, and whether it has one.
func (f field) get(w uint32) (int64, bool) {
	var v int64
	top := 0
	for _, p := range f.parts {
		top = max(top, p.shift)
	}
	for i, p := range f.parts {
		raw := int64(w & p.mask() >> p.pos)
		if i > 0 && p.shift == 0 && f.parts[0].shift == 0 {
			continue // a second copy
		}
		bits := p.width + p.shift
		raw = raw<<p.shift - p.add
		if p.mul < 0 {
			raw = -raw
		}
		if f.min < 0 && p.mul > 0 && p.shift == top && raw >= 1<<(bits-1) {
			raw -= 1 << bits
		}
		v += raw
	}
	v *= f.step
	return v, f.holds(v) && f.put(v) == w&f.mask()
}

func (f field) mask() uint32 {
	var m uint32
	for _, p := range f.parts {
		m |= p.mask()
	}
	return m
}

// encode is the instruction word of f with operands in the order of its row.
func (f *form) encode(values []int64) (uint32, error) {
	if len(values) != len(f.ops) {
		return 0, fmt.Errorf("%s: %d operands, it has %d", f.name, len(values), len(f.ops))
	}
	w := f.word
	for i, o := range f.ops {
		if o.kind == 'S' || o.kind == 'L' && values[i] == 0 {
			return 0, fmt.Errorf("%s: the assembler resolves %s", f.name, o.name)
		}
		if !o.holds(values[i]) {
			return 0, fmt.Errorf("%s: %s cannot be %d: want %d to %d in steps of %d", f.name, o.name, values[i], o.min, o.max, o.step)
		}
		w |= o.put(values[i])
	}
	return w, nil
}

// decode is the operands of word w if it is of form f.
func (f *form) decode(w uint32) ([]int64, bool) {
	if w&f.mask != f.word&f.mask {
		return nil, false
	}
	values := make([]int64, len(f.ops))
	for i, o := range f.ops {
		var ok bool
		if values[i], ok = o.get(w&^f.word&o.mask() | w&f.word&o.mask()); !ok {
			return nil, false
		}
	}
	return values, true
}

var placeholder = regexp.MustCompile(`<([a-z][a-z0-9]*)(\+[1-3])?>`)

// render fills operands into a text of f.
func (f *form) render(text string, values []int64, symbol string) string {
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		for i, o := range f.ops {
			if o.name != m[1] {
				continue
			}
			switch {
			case o.kind == 'S' || o.kind == 'L' && symbol != "":
				return symbol
			case o.kind == 'L':
				return fmt.Sprintf(".%+d", values[i])
			case m[2] != "": // the registers of a list follow one another
				n, _ := strconv.Atoi(m[2][1:])
				return strconv.Itoa((int(values[i]) + n) % 32)
			}
			return strconv.FormatInt(values[i], 10)
		}
		return s
	})
}

// line is f as a line of Go assembly.
func (f *form) line(values []int64, symbol string) (string, error) {
	w, err := f.encode(values)
	resolved := err == nil
	for _, o := range f.ops {
		resolved = resolved || symbol != "" && (o.kind == 'L' || o.kind == 'S')
	}
	switch {
	case !resolved:
		return "", err
	case f.native == "":
		return fmt.Sprintf("WORD $%#08x // %s", w, f.render(f.gnu, values, symbol)), nil
	}
	return strings.ReplaceAll(f.render(f.native, values, symbol), " 0(R", " (R"), nil
}

// parseLine reads what line prints: code without its comment.
func parseLine(code string) (*form, []int64, string, error) {
	first, rest, _ := strings.Cut(code, " ")
	if first == "WORD" {
		w, err := strconv.ParseUint(strings.TrimPrefix(rest, "$"), 0, 32)
		if err != nil {
			return nil, nil, "", err
		}
		for _, f := range forms.list {
			if f.native != "" {
				continue
			}
			if values, ok := f.decode(uint32(w)); ok {
				return f, values, "", nil
			}
		}
		return nil, nil, "", fmt.Errorf("WORD $%#08x: the table has no such form", w)
	}
	for _, f := range forms.byMnemonic[first] {
		m := f.text.FindStringSubmatch(code)
		if m == nil {
			continue
		}
		values, symbol, ok := make([]int64, len(f.ops)), "", true
		for i, o := range f.ops {
			s := m[f.text.SubexpIndex(o.name)]
			if o.kind == 'L' || o.kind == 'S' {
				symbol = s
				continue
			}
			if s != "" {
				var err error
				values[i], err = strconv.ParseInt(s, 10, 64)
				ok = ok && err == nil
			}
			ok = ok && o.holds(values[i])
		}
		if !ok {
			continue
		}
		if again, err := f.line(values, symbol); err == nil && again == code {
			return f, values, symbol, nil
		}
	}
	return nil, nil, "", fmt.Errorf("%s: the table has no such form", first)
}

// index is the table, made ready.
type index struct {
	list       []*form
	byName     map[string]*form
	byMnemonic map[string][]*form // native ones
}

var forms = makeIndex(table)

func makeIndex(rows []row) index {
	x := index{byName: map[string]*form{}, byMnemonic: map[string][]*form{}}
	for _, r := range rows {
		f := &form{row: r, mask: ^uint32(0)}
		for name := range strings.FieldsSeq(r.operands) {
			o := operand{read: true}
			switch name[0] {
			case '=':
				o.set, o.read = true, false
				name = name[1:]
			case '+':
				o.set = true
				name = name[1:]
			}
			if k := name[0]; k >= 'A' && k <= 'Z' {
				o.kind = k
				name = name[1:]
			}
			o.name = name
			var ok bool
			if o.field, ok = fields[name]; !ok {
				panic("arm64: " + r.name + ": no field " + name)
			}
			f.mask &^= o.mask()
			f.ops = append(f.ops, o)
		}
		if r.native != "" {
			f.text = nativePattern(f)
			mnemonic, _, _ := strings.Cut(r.native, " ")
			x.byMnemonic[mnemonic] = append(x.byMnemonic[mnemonic], f)
		}
		x.list = append(x.list, f)
		x.byName[r.name] = f
	}
	return x
}

// nativePattern matches f's native text.
func nativePattern(f *form) *regexp.Regexp {
	var b strings.Builder
	b.WriteByte('^')
	rest, seen := f.native, map[string]bool{}
	for rest != "" {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			b.WriteString(regexp.QuoteMeta(rest))
			break
		}
		b.WriteString(regexp.QuoteMeta(rest[:at[0]]))
		name := rest[at[2]:at[3]]
		what := `-?[0-9]+`
		switch {
		case name == "label" || name == "far":
			what = `[A-Za-z_][A-Za-z0-9_]*`
		case name == "arg":
			what = `[a-z]+\+[0-9]+`
		case name == "symbol":
			what = `[A-Za-z]+`
		case strings.HasPrefix(rest[at[1]:], "(R"):
			what = `(?:-?[0-9]+)?` // 0 is not printed
		}
		if seen[name] || at[4] >= 0 {
			b.WriteString("(?:" + what + ")")
		} else {
			b.WriteString("(?P<" + name + ">" + what + ")")
		}
		seen[name] = true
		rest = rest[at[1]:]
	}
	b.WriteByte('$')
	return regexp.MustCompile(b.String())
}
