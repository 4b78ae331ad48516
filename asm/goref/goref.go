// Package goref prints kernels in pure Go: for each runtime.KernelKey a
// function that is the loop in the contract of its type (runtime/kernel.go),
// written out with the key's coordinates.
//
// The functions are emitted into every user's package. They run where no
// assembly kernel fits, they are the specification that an assembly kernel of
// the same key is read against, and they are the oracle of its tests, which
// compare with ==.
//
// It must not import ir, codegen, asm or ptx.
package goref

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"go/token"
	"math/bits"
	"slices"
	"strings"
	"text/template"

	"github.com/sparsegen/sparsegen/runtime"
)

// FileName is the name under which File's result is written.
const FileName = "sparsegen_generic.go"

const runtimePath = "github.com/sparsegen/sparsegen/runtime"

// files holds the functions' text, one template for each op, in files by the
// family of function types; templates is the same, parsed.
//
//go:embed *.tmpl
var files embed.FS
var templates = template.Must(template.ParseFS(files, "*.tmpl"))

// Name is the name of the function that Func prints for key: the key's name
// with the suffix _go, such as panelGrouped_f32_m4_t64_go.
func Name(key runtime.KernelKey) string { return key.Name() + "_go" }

// Func prints the function of one key, with its doc comment, gofmt-ed. The
// source refers to the packages unsafe, math/bits and sparsegen's runtime. It
// returns an error for a key that key.Check rejects.
func Func(key runtime.KernelKey) (name string, source []byte, err error) {
	source, err = function(key)
	if err != nil {
		return "", nil, err
	}
	return Name(key), source, nil
}

// File prints package pkg's generic kernels: the function of each key, once,
// in the order of ops and then coordinates, and
//
//	func genericKernels() []runtime.Kernel
//
// which lists them in that order. The result is gofmt-ed and depends on the set
// of keys only. header is the comment above the package clause; each of its
// lines begins with // or is empty.
func File(pkg, header string, keys []runtime.KernelKey) ([]byte, error) {
	if !token.IsIdentifier(pkg) {
		return nil, fmt.Errorf("goref: %q is not a package name", pkg)
	}
	for line := range strings.Lines(header) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			return nil, fmt.Errorf("goref: header line %q is not a comment", line)
		}
	}
	keys = slices.Clone(keys)
	slices.SortFunc(keys, runtime.KernelKey.Compare)
	keys = slices.Compact(keys)

	var body bytes.Buffer
	body.WriteString("// genericKernels lists the kernels of this file; they run on every platform.\n")
	body.WriteString("func genericKernels() []runtime.Kernel {\n\treturn []runtime.Kernel{\n")
	for _, key := range keys {
		fmt.Fprintf(&body, "{Key: %s, ISA: runtime.Generic, Fn: runtime.%s(%s)},\n", KeyLiteral(key), FuncType(key.Op), Name(key))
	}
	body.WriteString("\t}\n}\n")
	for _, key := range keys {
		source, err := function(key)
		if err != nil {
			return nil, err
		}
		body.WriteByte('\n')
		body.Write(source)
	}

	var file bytes.Buffer
	if header = strings.TrimSpace(header); header != "" {
		file.WriteString(header + "\n\n")
	}
	fmt.Fprintf(&file, "package %s\n\nimport (\n", pkg)
	if bytes.Contains(body.Bytes(), []byte("bits.OnesCount")) {
		file.WriteString("\t\"math/bits\"\n")
	}
	if len(keys) > 0 {
		file.WriteString("\t\"unsafe\"\n\n")
	}
	fmt.Fprintf(&file, "\t%q\n)\n\n", runtimePath)
	file.Write(body.Bytes())
	return gofmt(file.Bytes())
}

// KeyLiteral is key as a Go composite literal in a file that imports runtime.
func KeyLiteral(key runtime.KernelKey) string {
	op := key.Op.String()
	var b strings.Builder
	fmt.Fprintf(&b, "runtime.KernelKey{Op: runtime.%s", strings.ToUpper(op[:1])+op[1:])
	for _, field := range strings.Fields(key.String())[1:] {
		b.WriteString(", " + strings.Replace(field, "=", ": ", 1))
	}
	b.WriteByte('}')
	return b.String()
}

// FuncType names the type in package runtime that an op's kernels have, such as
// PanelFunc.
func FuncType(op runtime.KernelOp) string {
	switch op {
	case runtime.PanelGrouped, runtime.PanelBlock, runtime.PanelStep:
		return "PanelFunc"
	case runtime.PanelDense:
		return "PanelDenseFunc"
	case runtime.LanesDense, runtime.LanesList, runtime.LanesNM, runtime.LanesMask, runtime.LanesRow, runtime.LanesWindow:
		return "LanesFunc"
	case runtime.DeltaTile:
		return "DeltaTileFunc"
	case runtime.CopyTile, runtime.TransTile, runtime.UntransTile:
		return "TileFunc"
	default:
		return "MapFunc"
	}
}

// function prints the function of one key.
func function(key runtime.KernelKey) ([]byte, error) {
	if err := key.Check(); err != nil {
		return nil, fmt.Errorf("goref: %w", err)
	}
	stem := key.Op.String()
	if strings.HasPrefix(stem, "map") {
		stem = "map"
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, stem, argumentsOf(key)); err != nil {
		return nil, fmt.Errorf("goref: %v: %w", key, err)
	}
	return gofmt(append(bytes.TrimSpace(b.Bytes()), '\n'))
}

func gofmt(source []byte) ([]byte, error) {
	out, err := format.Source(source)
	if err != nil {
		return nil, fmt.Errorf("goref: printed source does not parse: %w", err)
	}
	return out, nil
}

// arguments is what the templates name.
type arguments struct {
	runtime.KernelKey
	Func string // the function's name
	Runs int    // PanelGrouped: runs a panel

	// LanesNM: bits an index, indices a word, and either groups a word or, where
	// a group does not fit one, words a group.
	B, P, Groups, Words int

	Act string // Map ops: the function in package runtime
}

func argumentsOf(key runtime.KernelKey) arguments {
	a := arguments{KernelKey: key, Func: Name(key)}
	switch key.Op {
	case runtime.PanelGrouped:
		a.Runs = 1<<key.MR - 1
	case runtime.LanesNM:
		a.B = bits.Len8(key.M) - 1
		a.P = 32 / a.B
		if n := int(key.N); n <= a.P {
			a.Groups = a.P / n
		} else {
			a.Words = (n + a.P - 1) / a.P
		}
	default:
		a.Act = strings.TrimPrefix(key.Op.String(), "map")
	}
	return a
}
