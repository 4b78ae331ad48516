package ptxsim_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/ptx/ptxsim/probe"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// TestAgreesWithHardware runs the probes, whose results on a GPU are recorded:
// bit for bit, but for sums and functions that the ISA leaves to the hardware.
func TestAgreesWithHardware(t *testing.T) {
	programs, err := probe.All()
	require.NoError(t, err)
	recorded, err := probe.Recorded()
	require.NoError(t, err)
	for n, p := range programs {
		t.Run(p.Family+"/"+p.Name, func(t *testing.T) {
			mem, err := p.Memory()
			require.NoError(t, err)
			require.NoError(t, ptxsim.Run(&gpu.Kernel{Name: p.Entry, PTX: p.PTX}, p.Launch, mem, uint64(n%3)))
			require.Contains(t, slices.Collect(maps.Keys(recorded.Result)), p.Name)
			want, err := probe.Decode(recorded.Result[p.Name])
			require.NoError(t, err)
			compare(t, &p, want, mem[gpu.Y])
		})
	}
}

// compare checks a result against a GPU's.
func compare(t *testing.T, p *probe.Program, want, got []byte) {
	t.Helper()
	require.Len(t, got, len(want))
	if p.Near == nil {
		for i := 0; i+4 <= len(want); i += 4 {
			w, g := binary.LittleEndian.Uint32(want[i:]), binary.LittleEndian.Uint32(got[i:])
			if w != g {
				require.Fail(t, "differs", "word %d: the GPU gives %#08x, the simulator %#08x", i/4, w, g)
			}
		}
		require.Equal(t, want, got)
		return
	}
	format := map[gpu.DType]narrow.Format{gpu.BF16: narrow.BF16, gpu.F16: narrow.F16}
	size := p.Near.DType.Size()
	number := func(b []byte) float64 {
		if size == 4 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return float64(format[p.Near.DType].Decode(binary.LittleEndian.Uint16(b)))
	}
	for i := 0; i < len(want); i += size {
		w, g := number(want[i:]), number(got[i:])
		if w == g || w != w && g != g || math.Abs(w-g) <= p.Near.Absolute+p.Near.Relative*max(math.Abs(w), math.Abs(g)) {
			continue
		}
		require.Fail(t, "differs", fmt.Sprintf("number %d: the GPU gives %v, the simulator %v", i/size, w, g))
	}
}
