package codegen

import (
	"bytes"
	"fmt"
	"go/format"
	"strings"

	"github.com/sparsegen/sparsegen/asm/goref"
)

// nativeList prints the list of an architecture's kernels.
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

const imports = "import \"github.com/sparsegen/sparsegen/runtime\"\n\n"

// setFile prints the file that offers the whole set; kernels is the expression
// for those of the CPU, "" for none.
func setFile(header string, o EmitOptions, kernels string) ([]byte, error) {
	fields := fmt.Sprintf("Packing: %#x,\n", Fingerprint())
	if kernels != "" {
		fields += "Kernels: " + kernels + ",\n"
	}
	if o.GPUPacking != 0 {
		fields += fmt.Sprintf("GPUPacking: %#x,\nGPU: gpuKernels(),\n", o.GPUPacking)
	}
	return format.Source(fmt.Appendf(nil, "// %s\n\npackage %s\n\n%s"+
		"// Kernels is what runtime.Open needs to run the layers of this package's spec.\n"+
		"func Kernels() runtime.Set {\nreturn runtime.Set{\n%s}\n}\n", header, o.Package, imports, fields))
}

// standIn prints the file that stands in for assembly where none is: on other
// architectures than has.
func standIn(has []string, header, pkg string) ([]byte, error) {
	constraint := ""
	if len(has) > 0 {
		constraint = "//go:build !" + strings.Join(has, " && !") + " || noasm\n\n"
	}
	return format.Source(fmt.Appendf(nil, "// %s\n\n%spackage %s\n\n%s"+
		"// nativeKernels is empty: this build runs on the pure-Go kernels.\n"+
		"func nativeKernels() []runtime.Kernel { return nil }\n", header, constraint, pkg, imports))
}
