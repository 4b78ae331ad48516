package codegen

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
)

// BenchmarkProve is the time of a proof, on average over every kernel.
func BenchmarkProve(b *testing.B) {
	kernels := kernelsFor("amd64", everyKernel(b))
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "every.sg"})
	require.NoError(b, err)
	l, err := amd64.ParseListing(files[0].Data)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, err := prove(l.Funcs, l.Tables, kernels)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(kernels)), "µs/kernel")
}
