package kernels

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var sweep = flag.Int("sweep", 24, "random configurations that are simulated")

func anyOf[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// TestRandomConfigurationsCompute simulates configurations that nobody thought of.
func TestRandomConfigurationsCompute(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(*sweep), 77))
	for done := 0; done < *sweep; {
		l := Linear{
			DType: anyOf(r, gpu.BF16, gpu.F16, gpu.S8, gpu.E4M3), Form: anyOf(r, gpu.Dense, gpu.NM24), Y: anyOf(r, gpu.BF16, gpu.F16, gpu.F32),
			Listed: r.IntN(4) == 0, TensorScale: r.IntN(4) == 0, OutScale: r.IntN(4) == 0, TokenScale: r.IntN(4) == 0,
			Bias: anyOf(r, 0, gpu.F32, gpu.BF16), Activation: Activation(r.IntN(len(activations))), Residual: r.IntN(3) == 0, Serial: r.IntN(2) == 0,
		}
		if l.DType == gpu.S8 && r.IntN(3) == 0 {
			l = Linear{DType: l.DType, Form: l.Form, Y: gpu.S32, Listed: l.Listed, Serial: l.Serial}
		}
		p := gpu.Problem{Out: 16 * (1 + r.IntN(17)), In: 16 * (1 + r.IntN(30)), Tokens: 1 + r.IntN(40)}
		if r.IntN(3) == 0 {
			p.Out -= r.IntN(8)
			p.YPitch = (p.Out + 16) / 16 * 16
		}
		var c Config
		d := h200
		switch r.IntN(4) {
		case 0:
			l.Target, d = ptx.SM80(), a100
			a := l.ampere(anyOf(r, 32, 64, 128), anyOf(r, 8, 16, 32, 64), anyOf(r, 1, 2, 4), anyOf(r, 1, 2, 4), anyOf(r, 1, 2, 4))
			a.Stages, a.Split = anyOf(r, 2, 3, 5), 1+r.IntN(4)
			c = a
		case 1:
			a := l.decode(anyOf(r, 64, 128), anyOf(r, 8, 16, 32, 64))
			a.Blocks, a.Stages, a.Split = anyOf(r, 1, 2, 4), anyOf(r, 2, 3, 5), anyOf(r, 1, 2, 4)
			c = a
		case 2:
			a := l.gemm(64).with(anyOf(r, 1, 2), anyOf(r, hopper.Drain, hopper.Overlap))
			a.Stages, a.Buffers = anyOf(r, 2, 3, 5), anyOf(r, 1, 2)
			c = a
		case 3:
			float := []gpu.DType{gpu.BF16, gpu.F16, gpu.F32}
			g := GEMV{
				Target: anyOf(r, ptx.SM80(), ptx.SM90a()), W: anyOf(r, float...), X: anyOf(r, float...), Y: anyOf(r, float...), Tokens: 1 + r.IntN(8),
				Lanes: anyOf(r, 8, 16, 32), Warps: 1 + r.IntN(8), Rows: 1 + r.IntN(8), Items: 1 + r.IntN(4), Split: anyOf(r, 1, 2, 3, 4, 5, 8), Combine: anyOf(r, ByCluster, ByCounter),
				Inclusive: r.IntN(2) == 0, PerChannel: r.IntN(2) == 0, Bias: r.IntN(2) == 0, Activation: l.Activation,
			}
			if g.Check() != nil {
				continue
			}
			p.Tokens, p.In = g.Tokens, p.In+r.IntN(16)
			if !g.PerChannel {
				p.Threshold = float32(r.Float64()*3 - 0.5)
			}
			t.Logf("%s %+v", g.Name(), p)
			runGEMV(t, g, p, r.Uint64(), r.IntN(8) == 0)
			done++
			continue
		}
		if c.Check() != nil {
			continue
		}
		t.Logf("%s %+v", c.Name(), p)
		require.NoError(t, runLinear(t, linearCase{config: c, problem: p, l: l, seed: r.Uint64()}, d))
		done++
	}
}
