package ptx

import (
	"fmt"
	"strings"
)

// Text checks the kernels' data flow and is the module's PTX, or all misuses
// that were found, each an *Error joined into one error.
func (m *Module) Text() (string, error) {
	if len(m.kernels) == 0 {
		m.errs.add(callerPos(), "a module without a kernel")
	}
	errs := errorList{list: m.errs.list[:len(m.errs.list):len(m.errs.list)]}
	if len(errs.list) == 0 {
		for _, k := range m.kernels {
			k.check(&errs)
		}
	}
	if err := errs.err(); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, ".version %s\n.target %s\n.address_size 64\n", m.ISA(), m.target)
	for _, s := range m.shared {
		fmt.Fprintf(&b, "\n.extern .shared .align %d .b8 %s[];\n", s.align, s.name)
	}
	for _, k := range m.kernels {
		k.write(&b)
	}
	return b.String(), nil
}

func (k *Kernel) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n.visible .entry %s(", k.name)
	for i, p := range k.params {
		sep := ","
		if i == len(k.params)-1 {
			sep = ""
		}
		if p.typ == 0 {
			fmt.Fprintf(b, "\n\t.param .align 64 .b8 %s[%d]%s", p.name, TensorMapBytes, sep)
		} else {
			fmt.Fprintf(b, "\n\t.param .%s %s%s", p.typ, p.name, sep)
		}
	}
	if len(k.params) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(")\n")
	dims := func(directive string, d [3]int) {
		if d[0] > 0 {
			fmt.Fprintf(b, "%s %d, %d, %d\n", directive, d[0], d[1], d[2])
		}
	}
	if k.cluster[0] > 0 {
		b.WriteString(".explicitcluster\n")
	}
	dims(".reqnctapercluster", k.cluster)
	dims(".reqntid", k.threads)
	if k.minCTAs > 0 {
		fmt.Fprintf(b, ".minnctapersm %d\n", k.minCTAs)
	}
	if k.maxRegs > 0 {
		fmt.Fprintf(b, ".maxnreg %d\n", k.maxRegs)
	}
	b.WriteString("{\n")
	for _, s := range k.shared {
		fmt.Fprintf(b, "\t.shared .align %d .b8 %s[%d];\n", s.align, s.name, s.bytes)
	}
	for c, n := range k.count {
		if n > 0 {
			typ, prefix := class(c).decl()
			fmt.Fprintf(b, "\t.reg %s %s<%d>;\n", typ, prefix, n)
		}
	}
	b.WriteByte('\n')
	depth := 1
	for _, list := range [][]inst{k.entry, k.code} {
		for i := range list {
			depth = k.writeInst(b, &list[i], depth)
		}
	}
	if n := len(k.code); n == 0 || k.code[n-1].kind != instReturn || k.code[n-1].pred.k != nil {
		b.WriteString("\tret;\n")
	}
	b.WriteString("}\n")
}

func (k *Kernel) writeInst(b *strings.Builder, i *inst, depth int) int {
	if i.kind == instAnyValue {
		return depth
	}
	if i.kind == instClose {
		depth--
	}
	if i.kind == instLabel {
		if k.labels[i.label].used {
			fmt.Fprintf(b, "%s:\n", k.labels[i.label].name)
		}
		return depth
	}
	for range depth {
		b.WriteByte('\t')
	}
	if !i.pred.IsZero() {
		b.WriteByte('@')
		if i.neg {
			b.WriteByte('!')
		}
		b.WriteString(i.pred.String())
		b.WriteByte(' ')
	}
	switch i.kind {
	case instOp:
		b.WriteString(i.text + ";\n")
	case instBranch:
		b.WriteString("bra " + k.labels[i.label].name + ";\n")
	case instReturn:
		b.WriteString("ret;\n")
	case instComment:
		b.WriteString("// " + i.text + "\n")
	case instPragma:
		b.WriteString(".pragma \"" + i.text + "\";\n")
	case instOpen:
		b.WriteString("{\n")
		depth++
	case instClose:
		b.WriteString("}\n")
	}
	return depth
}
