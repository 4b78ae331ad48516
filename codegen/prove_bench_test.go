package codegen

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkProve is the time of a proof, on average over every kernel of a level.
// A kernel for SVE is proved once for each vector length, and a proof is of one.
func BenchmarkProve(b *testing.B) {
	for _, isa := range ISAs() {
		b.Run(isa.String(), func(b *testing.B) {
			var kernels []Kernel
			for _, k := range everyKernel(b) {
				if k.ISA == isa {
					kernels = append(kernels, k)
				}
			}
			files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "every.sg"})
			require.NoError(b, err)
			at := slices.IndexFunc(architectures, func(a architecture) bool { return a.name == isa.Arch() })
			l, err := architectures[at].parse(files[0].Data)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, err := prove(l.Funcs, l.Tables, kernels)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(l.Funcs)), "µs/proof")
		})
	}
}
