package kernels

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

func gathers() []Gather {
	return []Gather{
		{Target: ptx.SM90a(), DType: gpu.BF16, PDL: true}, {Target: ptx.SM90a(), DType: gpu.F16, Residual: true, PDL: true},
		{Target: ptx.SM90a(), DType: gpu.BF16}, {Target: ptx.SM80(), DType: gpu.F16}, {Target: ptx.SM80(), DType: gpu.BF16, Residual: true},
	}
}

func TestGatherGolden(t *testing.T) {
	k, err := gathers()[1].Build()
	require.NoError(t, err)
	golden(t, "gather.ptx", k.PTX)
}

func TestGatherManifest(t *testing.T) {
	var ks []*gpu.Kernel
	for _, c := range gathers() {
		k, err := c.Build()
		require.NoError(t, err)
		ks = append(ks, k)
	}
	for i, got := range manifest(t, "gather_manifest.txt", ks) {
		require.LessOrEqual(t, got.Registers, 96, ks[i].Name)
	}
}

func TestGatherErrors(t *testing.T) {
	_, err := Gather{Target: ptx.SM90a(), DType: gpu.F32}.Build()
	require.ErrorContains(t, err, "elements of f32")
	_, err = Gather{Target: ptx.SM80(), DType: gpu.BF16, PDL: true}.Build()
	require.ErrorContains(t, err, "needs sm_90, not sm_80")
}

// TestGatherComputes simulates whole and part groups of outputs and of tokens,
// pitches wider than rows, and a grid with fewer rows of blocks than tiles.
func TestGatherComputes(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, c := range gathers() {
		for _, p := range []gpu.Problem{
			{Out: 1, In: 1, Tokens: 1, YPitch: 8}, {Out: 8, In: 40, Tokens: 4}, {Out: 13, In: 100, Tokens: 3, XPitch: 104, YPitch: 24},
			{Out: 1024, In: 33, Tokens: 5}, {Out: 1031, In: 2048, Tokens: 9, YPitch: 1032}, {Out: 56, In: 7, Tokens: 21, XPitch: 9},
		} {
			d := h200
			if c.Target == ptx.SM80() {
				d = a100
			}
			k, err := c.Build()
			require.NoError(t, err)
			l, err := k.Plan(p, d)
			require.NoError(t, err)
			l.Grid[1] = min(l.Grid[1], 2)
			need, err := l.Needs()
			require.NoError(t, err)
			xPitch, yPitch := max(p.XPitch, p.In), max(p.YPitch, p.Out)
			x, fill := random(r, c.DType, p.Tokens*xPitch), random(r, c.DType, p.Out)
			residual := random(r, c.DType, p.Tokens*yPitch)
			index := make([]uint32, p.Out)
			var raw []byte
			for i := range index {
				if index[i] = uint32(r.IntN(p.In)); r.IntN(4) == 0 {
					index[i] = gpu.NoInput
				}
				raw = binary.LittleEndian.AppendUint32(raw, index[i])
			}
			mem := ptxsim.Memory{
				gpu.Weights: encode(c.DType, fill), gpu.Meta: raw, gpu.X: encode(c.DType, x)[:need[gpu.X]], gpu.Y: garbage(need[gpu.Y] + 2),
			}
			if c.Residual {
				mem[gpu.Residual] = encode(c.DType, residual)[:need[gpu.Residual]]
			}
			require.EqualValues(t, len(mem[gpu.Weights]), k.WeightBytes(p))
			require.EqualValues(t, len(raw), need[gpu.Meta])
			require.NoError(t, ptxsim.Run(k, l, mem, r.Uint64()), "%s %+v", k.Name, p)
			for i := range len(mem[gpu.Y]) / 2 {
				n, o := i/yPitch, i%yPitch
				if n >= p.Tokens || o >= p.Out {
					require.EqualValues(t, 0xffff, binary.LittleEndian.Uint16(mem[gpu.Y][2*i:]), "padding is left alone")
					continue
				}
				want := fill[o]
				if index[o] != gpu.NoInput {
					want = x[n*xPitch+int(index[o])]
				}
				if c.Residual {
					want = narrowFormats[c.DType].Round(want + residual[n*yPitch+o])
				}
				require.EqualValues(t, want, decoded(c.DType, mem[gpu.Y], i), fmt.Sprint(k.Name, p, n, o))
			}
		}
	}
}

// TestGatherCycles: bytes cost, and a launch does.
func TestGatherCycles(t *testing.T) {
	for _, c := range gathers() {
		d := Reference(c.Target)
		one := c.Cycles(gpu.Problem{Out: 64, In: 64, Tokens: 1}, d)
		many := c.Cycles(gpu.Problem{Out: 4096, In: 4096, Tokens: 4096}, d)
		require.Greater(t, one, 500.)
		require.Greater(t, many, 4*one)
	}
}
