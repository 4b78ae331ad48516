package codegen

import (
	"bytes"
	"fmt"
	"go/format"
	"strings"

	"github.com/sparsegen/sparsegen/asm/goref"
)

// nativeList prints the list of the amd64 kernels.
func nativeList(ks []Kernel, header, pkg string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\n//go:build !noasm\n\npackage %s\n\n", header, pkg)
	b.WriteString("import \"github.com/sparsegen/sparsegen/runtime\"\n\n")
	b.WriteString("// nativeKernels are the kernels in assembly.\nfunc nativeKernels() []runtime.Kernel {\n\treturn []runtime.Kernel{\n")
	for _, k := range ks {
		m := machines[k.ISA]
		fmt.Fprintf(&b, "{Key: %s, ISA: runtime.%s, Fn: runtime.%s(%s_%s)},\n",
			goref.KeyLiteral(k.Key), strings.ToUpper(m.Name), goref.FuncType(k.Key.Op), k.Key.Name(), m.Name)
	}
	b.WriteString("}\n}\n")
	return format.Source(b.Bytes())
}

// setFiles prints the file that offers the whole set and the one that stands in
// for assembly elsewhere.
func setFiles(header, pkg string) (set, other []byte, err error) {
	const imp = "import \"github.com/sparsegen/sparsegen/runtime\"\n\n"
	set, err = format.Source(fmt.Appendf(nil, "// %s\n\npackage %s\n\n%s"+
		"// Kernels is what runtime.Open needs to run the layers of this package's spec.\n"+
		"func Kernels() runtime.Set {\nreturn runtime.Set{\nPacking: %#x,\nKernels: append(genericKernels(), nativeKernels()...),\n}\n}\n", header, pkg, imp, Fingerprint()))
	if err != nil {
		return nil, nil, err
	}
	other, err = format.Source(fmt.Appendf(nil, "// %s\n\n//go:build !amd64 || noasm\n\npackage %s\n\n%s"+
		"// nativeKernels is empty: this build runs on the pure-Go kernels.\n"+
		"func nativeKernels() []runtime.Kernel { return nil }\n", header, pkg, imp))
	return set, other, err
}
