package arm64

import (
	"bytes"
	"fmt"
	"go/format"
	"math/bits"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/asm"
)

// Options says how the emitted files present themselves.
type Options struct {
	Package string
	Header  string // first line of both files, without the comment slashes
	// Constraint is the files' build constraint, such as "!noasm"; the
	// architecture is in their names.
	Constraint string
}

// Emit lowers funcs and prints one assembly file and the Go file that declares
// its functions. Both are deterministic.
func Emit(funcs []*asm.Func, o Options) (asmText, stubs []byte, err error) {
	data := newTables(funcs)
	var text, decl bytes.Buffer
	for _, b := range []*bytes.Buffer{&text, &decl} {
		fmt.Fprintf(b, "// %s\n\n", o.Header)
		if o.Constraint != "" {
			fmt.Fprintf(b, "//go:build %s\n\n", o.Constraint)
		}
	}
	text.WriteString("#include \"textflag.h\"\n")
	fmt.Fprintf(&decl, "package %s\n", o.Package)
	for _, f := range funcs {
		l, err := lower(f, data)
		if err != nil {
			return nil, nil, err
		}
		if err := l.allocate(); err != nil {
			return nil, nil, fmt.Errorf("arm64: %s: %w", f.Name, err)
		}
		if err := l.print(&text); err != nil {
			return nil, nil, fmt.Errorf("arm64: %s: %w", f.Name, err)
		}
		fmt.Fprintf(&decl, "\n")
		for _, d := range f.Doc {
			fmt.Fprintf(&decl, "// %s\n", d)
		}
		fmt.Fprintf(&decl, "//\n//go:noescape\nfunc %s(%s)\n", f.Name, signature(f))
	}
	data.print(&text)
	stubs, err = format.Source(decl.Bytes())
	return text.Bytes(), stubs, err
}

func signature(f *asm.Func) string {
	params := make([]string, len(f.Args))
	for i, a := range f.Args {
		params[i] = a.Name + " " + a.Type
	}
	return strings.Join(params, ", ")
}

// print writes the function after register allocation.
func (l *lowerer) print(b *bytes.Buffer) error {
	fmt.Fprintf(b, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", l.f.Name, signature(l.f), l.f.Name, l.frame)
	for _, i := range l.out {
		if i.comment != "" {
			fmt.Fprintf(b, "\t// %s\n", i.comment)
		}
		if i.form == nil {
			fmt.Fprintf(b, "\n%s:\n", i.symbol)
			continue
		}
		line, err := i.line(i.values, i.symbol)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\t%s\n", line)
	}
	return nil
}

// Names of the tables of a file.
const (
	expandTable   = "sparsegenExpand"
	countTable    = "sparsegenCounts"
	constantTable = "sparsegenConstants"
	wordTable     = "sparsegenWords"
)

// tables are read-only data shared by the functions of a file.
type tables struct {
	used  map[string]bool
	words []uint32 // constants
}

// newTables has the constants that funcs broadcast, and those of lowering.
func newTables(funcs []*asm.Func) *tables {
	t := &tables{used: map[string]bool{}}
	for _, f := range funcs {
		for i := range f.Insts {
			switch in := &f.Insts[i]; in.Op {
			case asm.OpBcastConst:
				t.words = append(t.words, uint32(in.Imm))
			case asm.OpSelect:
				if f.Machine.Scalable {
					continue
				}
				t.words = append(t.words, 0x03020100, 0x04040404, 0x40404040)
			}
		}
	}
	slices.Sort(t.words)
	t.words = slices.Compact(t.words)
	return t
}

// need is the name of a table, which the file then has.
func (t *tables) need(name string) string {
	t.used[name] = true
	return name
}

// constant is where word lies in the table of constants: each four times.
func (t *tables) constant(word uint32) int64 {
	at, _ := slices.BinarySearch(t.words, word)
	return 16 * int64(at)
}

// word is where word lies in the table of words: each once.
func (t *tables) word(word uint32) int64 { return t.constant(word) / 4 }

func (t *tables) print(b *bytes.Buffer) {
	if t.used[constantTable] {
		var words []uint64
		for _, w := range t.words {
			words = append(words, uint64(w)<<32|uint64(w), uint64(w)<<32|uint64(w))
		}
		printTable(b, constantTable, words)
	}
	if t.used[wordTable] {
		words := make([]uint64, (len(t.words)+1)/2)
		for i, w := range t.words {
			words[i/2] |= uint64(w) << (i % 2 * 32)
		}
		printTable(b, wordTable, words)
	}
	if t.used[expandTable] {
		printTable(b, expandTable, expandRows())
	}
	if t.used[countTable] {
		words := make([]uint64, 32)
		for v := range 256 {
			words[v/8] |= uint64(bits.OnesCount(uint(v))) << (v % 8 * 8)
		}
		printTable(b, countTable, words)
	}
}

// expandRows are, for each set of four lanes, sixteen bytes: where the bytes of
// each lane lie among the values that are stored, or 255.
func expandRows() []uint64 {
	var words []uint64
	for set := range uint(16) {
		for half := range 2 {
			var w uint64
			for at := range 8 {
				lane := 2*half + at/4
				v := uint64(255)
				if set>>lane&1 != 0 {
					v = uint64(4*bits.OnesCount(set&(1<<lane-1)) + at%4)
				}
				w |= v << (8 * at)
			}
			words = append(words, w)
		}
	}
	return words
}

func printTable(b *bytes.Buffer, name string, words []uint64) {
	fmt.Fprintln(b)
	for i, w := range words {
		fmt.Fprintf(b, "DATA %s<>+%d(SB)/8, $%#016x\n", name, 8*i, w)
	}
	fmt.Fprintf(b, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", name, 8*len(words))
}
