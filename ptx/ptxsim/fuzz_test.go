package ptxsim

import (
	"strings"
	"testing"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// FuzzText parses and runs texts that nobody wrote: they end with an error or
// without, never with a panic.
func FuzzText(f *testing.F) {
	for _, c := range plantedFaults() {
		f.Add(kernel(32, 1, c.body))
	}
	f.Add(kernel(32, 1, bulk("128", "128")))
	f.Add(".visible .entry k(\n)\n{\n")
	f.Add(".shared .align 0 .b8 x[1];\n.entry k(\n{\n.reg .pred %p<0>;\n}")
	f.Fuzz(func(_ *testing.T, text string) {
		l := gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}, Shared: 4096, Args: []gpu.Arg{
			gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0), gpu.MapArg(gpu.TensorMap{DType: gpu.BF16, Of: gpu.Y, Dims: []uint64{64, 16}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: gpu.Swizzle128})}}
		mem := Memory{gpu.X: make([]byte, 4096), gpu.Y: make([]byte, 4096)}
		_, _ = Simulate(&gpu.Kernel{Name: "k", PTX: text}, l, mem, Options{Limit: 2000})
		for _, seed := range []uint64{1} {
			_, _ = Simulate(&gpu.Kernel{Name: "k", PTX: strings.ReplaceAll(text, "\t", " ")}, l, mem, Options{Limit: 2000, Seed: seed})
		}
	})
}
