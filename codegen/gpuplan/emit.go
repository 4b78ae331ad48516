package gpuplan

import (
	"bytes"
	"fmt"
	"go/format"
	"reflect"
	"strconv"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Emit prints the part of a generated package that holds GPU kernels: the text of
// each in a file of its own, and the list of what the host has to know of them.
// Options are those of codegen.Emit, which prints the rest of the package.
func Emit(ks []gpu.Kernel, o codegen.EmitOptions) ([]codegen.File, error) {
	var files []codegen.File
	var list, texts bytes.Buffer
	for _, k := range ks {
		name := k.Target + "_" + k.Name
		file := o.Prefix() + "_" + name + ".ptx"
		files = append(files, codegen.File{Name: file, Data: fmt.Appendf(nil, "// %s\n%s%s", o.Header(), Heading(&k), k.PTX)})
		fmt.Fprintf(&texts, "//go:embed %s\nvar ptx_%s string\n\n", file, name)
		list.WriteString("{\n")
		literalFields(&list, reflect.ValueOf(k), "\n", func(field string) string {
			if field == "PTX" {
				return "ptx_" + name
			}
			return ""
		})
		list.WriteString("},\n")
	}
	src := fmt.Appendf(nil, "// %s\n\npackage %s\n\nimport (\n_ \"embed\"\n\n\"github.com/sparsegen/sparsegen/runtime/gpu\"\n)\n\n"+
		"%s// gpuKernels are the kernels for GPUs.\nfunc gpuKernels() []gpu.Kernel {\nreturn []gpu.Kernel{\n%s}\n}\n",
		o.Header(), o.Package, texts.Bytes(), list.Bytes())
	text, err := format.Source(src)
	if err != nil {
		return nil, fmt.Errorf("gpuplan: generated list: %w", err)
	}
	return append(files, codegen.File{Name: o.Prefix() + "_ptx.go", Data: text}), nil
}

// Heading says in comments what a kernel computes, in which tiles and stages.
func Heading(k *gpu.Kernel) string {
	weights := fmt.Sprintf("%v weights of %v", k.Form, k.DType)
	if k.Form == gpu.Picked {
		weights = fmt.Sprintf("picks features of %v", k.DType)
	}
	tile := fmt.Sprintf("a tile of %d output features by %d tokens", k.Tile.Out, k.Tile.Tokens)
	if k.Tile.Split > 1 {
		tile += fmt.Sprintf(", shared by %d blocks that each sum over a part of the inputs", k.Tile.Split)
	}
	stage := ""
	if k.Tile.In > 0 {
		stage = fmt.Sprintf("// a stage of the pipeline: %d inputs, %d bytes of packed weights\n", k.Tile.In, k.Tile.Bytes)
	}
	block := fmt.Sprintf("%d threads and %d bytes of shared memory", k.Threads, k.Shared)
	if k.Cluster > 1 {
		block += fmt.Sprintf(", in clusters of %d", k.Cluster)
	}
	return fmt.Sprintf("// %s for %s: %s, result of %v\n// a block: %s, %s\n%s", k.Name, k.Target, weights, k.Y, tile, block, stage)
}

// literalFields prints the fields of a struct that are not zero, as Go source. In
// place of a field's value it prints what other returns for its name, unless that
// is "".
func literalFields(b *bytes.Buffer, v reflect.Value, end string, other func(field string) string) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		fmt.Fprintf(b, "%s: ", v.Type().Field(i).Name)
		if text := other(v.Type().Field(i).Name); text != "" {
			b.WriteString(text)
		} else {
			literal(b, f)
		}
		b.WriteString("," + end)
	}
}

// literal prints a value of the kinds that a gpu.Kernel is made of.
func literal(b *bytes.Buffer, v reflect.Value) {
	none := func(string) string { return "" }
	if v.Comparable() {
		if name, ok := constants[v.Interface()]; ok {
			b.WriteString("gpu." + name)
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		fmt.Fprintf(b, "gpu.%s{", v.Type().Name())
		literalFields(b, v, " ", none)
		b.WriteString("}")
	case reflect.Slice, reflect.Array:
		elem := v.Type().Elem()
		if elem.Kind() == reflect.Struct {
			fmt.Fprintf(b, "[]gpu.%s{\n", elem.Name())
		} else {
			fmt.Fprintf(b, "%v{", v.Type())
		}
		for i := range v.Len() {
			if elem.Kind() == reflect.Struct {
				b.WriteString("{")
				literalFields(b, v.Index(i), " ", none)
				b.WriteString("},\n")
				continue
			}
			literal(b, v.Index(i))
			b.WriteString(", ")
		}
		b.WriteString("}")
	case reflect.String:
		b.WriteString(strconv.Quote(v.String()))
	default:
		fmt.Fprint(b, v.Interface())
	}
}

// constants are the names of the numbers that have one in package gpu.
var constants = map[any]string{
	gpu.F32: "F32", gpu.BF16: "BF16", gpu.F16: "F16", gpu.E4M3: "E4M3", gpu.E5M2: "E5M2", gpu.S8: "S8", gpu.S32: "S32", gpu.U32: "U32", gpu.U8: "U8",
	gpu.Weights: "Weights", gpu.Meta: "Meta", gpu.X: "X", gpu.Y: "Y", gpu.Bias: "Bias", gpu.Residual: "Residual", gpu.Scales: "Scales",
	gpu.XScales: "XScales", gpu.Workspace: "Workspace",
	gpu.Swizzle32: "Swizzle32", gpu.Swizzle64: "Swizzle64", gpu.Swizzle128: "Swizzle128",
	gpu.L2Promotion64: "L2Promotion64", gpu.L2Promotion128: "L2Promotion128", gpu.L2Promotion256: "L2Promotion256",
	gpu.ArgMap: "ArgMap", gpu.ArgPtr: "ArgPtr", gpu.ArgU32: "ArgU32", gpu.ArgU64: "ArgU64", gpu.ArgF32: "ArgF32",
	gpu.Dense: "Dense", gpu.NM24: "NM24", gpu.ByInput: "ByInput", gpu.Picked: "Picked", gpu.OneTile: "OneTile",
	gpu.QOut: "QOut", gpu.QIn: "QIn", gpu.QTokens: "QTokens", gpu.QSteps: "QSteps", gpu.QOutTiles: "QOutTiles", gpu.QTokTiles: "QTokTiles",
	gpu.QScale: "QScale", gpu.QThreshold: "QThreshold", gpu.QSlice: "QSlice", gpu.QWeightPitch: "QWeightPitch",
	gpu.QXPitch: "QXPitch", gpu.QYPitch: "QYPitch", gpu.QLists: "QLists",
}
