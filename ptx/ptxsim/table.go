package ptxsim

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// row is a family of instructions: a form with alternatives in braces, "#" for a
// number, and what compiles one of them: it reads the operands and says what the
// instruction does to a warp.
type row struct {
	form string
	make func(p *program, i *instr) error
}

// tables are all rows, by the first part of their names.
var tables = sync.OnceValue(func() map[string][]row {
	t := map[string][]row{}
	for _, rows := range [][]row{integerRows, floatRows, halfRows, compareRows, convertRows, moveRows, controlRows, memoryRows, copyRows, warpRows, barrierRows, matrixRows, wgmmaRows} {
		for _, r := range rows {
			seen := map[string]bool{}
			for _, name := range alternatives(head(r.form)) {
				if op, _, _ := strings.Cut(name, "."); !seen[op] {
					seen[op] = true
					t[op] = append(t[op], r)
				}
			}
		}
	}
	return t
})

// head is a form up to its first dot outside braces.
func head(form string) string {
	depth := 0
	for i, c := range form {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '.' && depth == 0:
			return form[:i]
		}
	}
	return form
}

// alternatives expands the braces of a form.
func alternatives(s string) []string {
	from := strings.Index(s, "{")
	if from < 0 {
		return []string{s}
	}
	to := from + strings.Index(s[from:], "}")
	var out []string
	for _, alt := range strings.Split(s[from+1:to], ",") {
		out = append(out, alternatives(s[:from]+alt+s[to+1:])...)
	}
	return out
}

// compile finds the row of an instruction and has it compiled.
func compile(p *program, i *instr) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case runtime.Error: // an operand that is not there
			err = fmt.Errorf("%d operands that do not fit: %w", len(i.args), r)
		default:
			panic(r)
		}
	}()
	i.spins = i.parts[0] == "bra" || i.parts[0] == "nanosleep"
	for _, r := range tables()[i.parts[0]] {
		if picks, ok := match(r.form, i.name); ok {
			i.picks = picks
			return r.make(p, i)
		}
	}
	return fmt.Errorf("unknown instruction")
}

// match compares a name with a form and returns what its braces and numbers stand
// for.
func match(form, name string) ([]string, bool) {
	at := strings.IndexAny(form, "{#")
	if at < 0 {
		return nil, form == name
	}
	if !strings.HasPrefix(name, form[:at]) {
		return nil, false
	}
	name = name[at:]
	if form[at] == '#' {
		n := 0
		for n < len(name) && name[n] >= '0' && name[n] <= '9' {
			n++
		}
		if n == 0 {
			return nil, false
		}
		rest, ok := match(form[at+1:], name[n:])
		return append([]string{name[:n]}, rest...), ok
	}
	end := at + strings.Index(form[at:], "}")
	for _, alt := range strings.Split(form[at+1:end], ",") {
		if strings.HasPrefix(name, alt) {
			if rest, ok := match(form[end+1:], name[len(alt):]); ok {
				return append([]string{alt}, rest...), true
			}
		}
	}
	return nil, false
}

// each calls f for the lanes of a mask.
func each(m uint32, f func(l int)) {
	for l := range 32 {
		if m>>l&1 != 0 {
			f(l)
		}
	}
}

// map1, map2 and map3 are instructions that compute a register from one, two or
// three in each lane by itself. The results are cut to size bytes.
func map1(p *program, i *instr, size int, f func(a uint64) uint64) error {
	return mapN(p, i, 1, size, func(a, _, _ uint64) uint64 { return f(a) })
}

func map2(p *program, i *instr, size int, f func(a, b uint64) uint64) error {
	d, s, err := p.operands(i, 2)
	if err != nil {
		return err
	}
	cut := mask(size)
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		a, b := s[0](w, m), s[1](w, m)
		to := d(w, m)
		if m == fullMask {
			for l := range to {
				to[l] = f(a[l], b[l]) & cut
			}
			return
		}
		for l := range to {
			if m>>l&1 != 0 {
				to[l] = f(a[l], b[l]) & cut
			}
		}
	}
	return nil
}

func map3(p *program, i *instr, size int, f func(a, b, c uint64) uint64) error {
	return mapN(p, i, 3, size, f)
}

func mapN(p *program, i *instr, n, size int, f func(a, b, c uint64) uint64) error {
	d, s, err := p.operands(i, n)
	if err != nil {
		return err
	}
	cut := mask(size)
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		a := s[0](w, m)
		b, c := a, a
		if n > 1 {
			b = s[1](w, m)
		}
		if n > 2 {
			c = s[2](w, m)
		}
		to := d(w, m)
		for l := range to {
			if m>>l&1 != 0 {
				to[l] = f(a[l], b[l], c[l]) & cut
			}
		}
	}
	return nil
}

// Knows reports whether there is a row for an instruction's name.
func Knows(name string) bool {
	op, _, _ := strings.Cut(name, ".")
	for _, r := range tables()[op] {
		if _, ok := match(r.form, name); ok {
			return true
		}
	}
	return false
}
