package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Listing is a file of assembly, read back for verification.
type Listing struct {
	Funcs  []*Func
	Tables []Table
}

// ReadListing reads a file in the syntax of Go's assembler as far as it is the same
// for every target: the headings of functions, labels, and tables. Each other line
// goes to instruction, with the function it is in, its number, its code, which is
// the line up to a comment, and the line as it stands. Labels count these lines. What
// neither understands is an error with its line.
func ReadListing(text []byte, instruction func(f *Func, n int, code, line string) error) (*Listing, error) {
	r := &reader{instruction: instruction}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if err := r.line(n, strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return &r.Listing, nil
}

type reader struct {
	Listing
	instruction func(f *Func, n int, code, line string) error
	count       int // of the last function's instructions
}

func (r *reader) line(n int, line string) error {
	code, _, _ := strings.Cut(line, "//")
	code = strings.TrimSpace(code)
	first, rest, _ := strings.Cut(code, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case code == "", code == `#include "textflag.h"`:
		return nil
	case first == "TEXT":
		return r.text(n, rest)
	case first == "DATA":
		return r.data(rest)
	case first == "GLOBL":
		return r.globl(rest)
	}
	if len(r.Funcs) == 0 {
		return fmt.Errorf("%s before any function", first)
	}
	f := r.Funcs[len(r.Funcs)-1]
	if name, ok := strings.CutSuffix(first, ":"); ok {
		if _, twice := f.Labels[name]; twice {
			return fmt.Errorf("label %s a second time", name)
		}
		if rest != "" {
			return fmt.Errorf("%s behind a label", rest)
		}
		f.Labels[name] = r.count
		return nil
	}
	r.count++
	return r.instruction(f, n, code, line)
}

// text reads what follows TEXT: ·name(SB), NOSPLIT, $frame-args.
func (r *reader) text(n int, rest string) error {
	f := &Func{Line: n, Labels: map[string]int{}}
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
	if f.Args, err = strconv.ParseInt(args, 10, 32); err != nil {
		return err
	}
	r.Funcs = append(r.Funcs, f)
	r.count = 0
	return nil
}

// SplitSymbol splits name+8 or name<>+8; no offset is 0.
func SplitSymbol(s string) (name string, offset int64, err error) {
	name, digits, ok := strings.Cut(s, "+")
	if ok {
		offset, err = strconv.ParseInt(digits, 10, 32)
	}
	if name = strings.TrimSuffix(name, "<>"); name == "" {
		return "", 0, fmt.Errorf("%s: want name+offset", s)
	}
	return name, offset, err
}

// table finds a table by its name.
func (r *reader) table(name string) *Table {
	i := slices.IndexFunc(r.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		i = len(r.Tables)
		r.Tables = append(r.Tables, Table{Name: name})
	}
	return &r.Tables[i]
}

// data reads name<>+8(SB)/4, $0x3f800000.
func (r *reader) data(rest string) error {
	symbol, value, ok := strings.Cut(rest, "(SB)/")
	size, word, ok2 := strings.Cut(value, ", $")
	n, err := strconv.Atoi(size)
	if !ok || !ok2 || err != nil || n != 4 && n != 8 {
		return fmt.Errorf("DATA %s: want a symbol of 4 or 8 bytes", rest)
	}
	name, at, err := SplitSymbol(symbol)
	if err != nil {
		return err
	}
	w, err := strconv.ParseUint(word, 0, 64)
	if err != nil {
		return err
	}
	t := r.table(name)
	if at != int64(len(t.Data)) {
		return fmt.Errorf("DATA %s: does not follow what lies before it", symbol)
	}
	for range n {
		t.Data = append(t.Data, byte(w))
		w >>= 8
	}
	return nil
}

// globl reads name<>(SB), flags, $size.
func (r *reader) globl(rest string) error {
	fields := strings.Split(rest, ", ")
	name, at, err := SplitSymbol(strings.TrimSuffix(fields[0], "(SB)"))
	if err != nil || at != 0 {
		return fmt.Errorf("GLOBL %s: want name<>(SB), flags, $size", rest)
	}
	t := r.table(name)
	size, err := strconv.Atoi(strings.TrimPrefix(fields[len(fields)-1], "$"))
	if err != nil || size != len(t.Data) {
		return fmt.Errorf("GLOBL %s: %d bytes of data, declared %s", name, len(t.Data), fields[len(fields)-1])
	}
	return nil
}
