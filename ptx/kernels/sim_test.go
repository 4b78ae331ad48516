package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	formats "github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/ptx/ptxsim"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var narrowFormats = map[gpu.DType]formats.Format{gpu.BF16: formats.BF16, gpu.F16: formats.F16, gpu.E4M3: formats.E4M3, gpu.S8: formats.S8}

// encode writes numbers as elements of type t.
func encode(t gpu.DType, vs []float32) []byte {
	var b []byte
	for _, v := range vs {
		switch t {
		case gpu.F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		default:
			c := narrowFormats[t].Encode(v)
			if b = append(b, byte(c)); t.Size() == 2 {
				b = append(b, byte(c>>8))
			}
		}
	}
	return b
}

// decoded reads element i of type t.
func decoded(t gpu.DType, b []byte, i int) float64 {
	switch t {
	case gpu.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	case gpu.S32:
		return float64(int32(binary.LittleEndian.Uint32(b[4*i:])))
	}
	if t.Size() == 1 {
		return float64(narrowFormats[t].Decode(uint16(b[i])))
	}
	return float64(narrowFormats[t].Decode(binary.LittleEndian.Uint16(b[2*i:])))
}

// random returns n numbers that type t holds exactly.
func random(r *rand.Rand, t gpu.DType, n int) []float32 {
	vs := make([]float32, n)
	for i := range vs {
		vs[i] = float32(r.NormFloat64())
		if t == gpu.S8 {
			vs[i] = float32(r.IntN(255) - 127)
		} else if t != gpu.F32 {
			vs[i] = narrowFormats[t].Round(vs[i])
		}
	}
	return vs
}

// near checks a result in type t against the exact sum of terms that add up to
// size in magnitude.
func near(t *testing.T, dt gpu.DType, want, got, size float64, at ...any) {
	t.Helper()
	rounding := map[gpu.DType]float64{gpu.BF16: 1 / 256., gpu.F16: 1 / 2048.}[dt]
	switch {
	case dt == gpu.S32:
		require.Equal(t, want, got, at...)
		return
	case dt == gpu.F16 && math.Abs(want) > 65000: // may be infinite
		require.Greater(t, got*want, 0., at...)
		return
	}
	if bound := rounding*math.Abs(want) + 2e-5*size + 1e-6; math.Abs(want-got) <= bound {
		return
	}
	require.InDelta(t, want, got, rounding*math.Abs(want)+2e-5*size+1e-6, at...)
}

func garbage(n uint64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff // NaN in every type
	}
	return b
}

func activation(a Activation, x float64) float64 {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	switch a {
	case ReLU:
		return max(0, x)
	case Sigmoid:
		return sigmoid(x)
	case SiLU:
		return x * sigmoid(x)
	case Tanh:
		return math.Tanh(x)
	case GELU:
		return x * math.Erfc(-x/math.Sqrt2) / 2
	case GELUTanh:
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	return x
}

// linearCase is a matrix product with everything that an epilogue can do.
type linearCase struct {
	config  Config
	problem gpu.Problem
	l       Linear // the epilogue
	seed    uint64
	mistake func(text string) string // nil, or what spoils the kernel
}

// runLinear simulates a kernel on random inputs and checks every element, or
// returns what the simulator says of a spoilt one.
func runLinear(t *testing.T, c linearCase, d gpu.Device) error {
	t.Helper()
	k, err := c.config.Build()
	require.NoError(t, err)
	p, r := c.problem, rand.New(rand.NewPCG(c.seed, 2))
	if c.l.TensorScale {
		p.Scale = 0.125
	}
	xPitch, yPitch := max(p.XPitch, p.In), max(p.YPitch, p.Out)
	w, x := random(r, c.l.DType, p.Out*p.In), random(r, c.l.DType, p.Tokens*xPitch)
	var mask *patterns.Mask
	if c.l.Form == gpu.NM24 || c.l.Listed {
		mask = patterns.NewMask(p.Out, p.In)
		blocks := make([]int, 1+p.In/64) // which of 32 by 64 are dropped whole
		for o := range p.Out {
			for g := 0; g < p.In; g += 4 {
				if o%32 == 0 && g%64 == 0 {
					blocks[g/64] = r.IntN(4)
				}
				perm, n := r.Perm(4), 4
				switch {
				case c.l.Listed && (blocks[g/64] > 0 || o < 32):
					n = 0
				case c.l.Form == gpu.NM24:
					n = r.IntN(3)
				}
				for _, i := range perm[:n] {
					mask.Set(o, g+i)
				}
			}
		}
		for i := range w {
			if !mask.At(i/p.In, i%p.In) {
				w[i] = 0
			}
		}
	}
	var lists []byte
	dense := layout.Matrix{Rows: p.Out, Cols: p.In, Size: c.l.DType.Size(), Data: encode(c.l.DType, w)}
	packed, err := c.config.Format().Pack(dense, mask)
	require.NoError(t, err)
	if c.l.Listed {
		b, err := c.config.Format().PackBlocks(dense, mask)
		require.NoError(t, err)
		packed, lists, p.Blocks = b.Packed, b.ListBytes(), len(b.Columns)
	}
	l, err := k.Plan(p, d)
	require.NoError(t, err)
	need, err := l.Needs()
	require.NoError(t, err)
	bias, outScale, tokenScale := random(r, gpu.F32, p.Out), random(r, gpu.F32, p.Out), random(r, gpu.F32, p.Tokens)
	if c.l.Bias == gpu.BF16 {
		bias = random(r, gpu.BF16, p.Out)
	}
	var residual []float32
	if c.l.Residual {
		residual = random(r, k.Y, p.Tokens*yPitch)
	}
	mem := ptxsim.Memory{
		gpu.Weights: packed, gpu.X: encode(c.l.DType, x)[:need[gpu.X]], gpu.Y: garbage(need[gpu.Y]),
		gpu.Bias: encode(max(c.l.Bias, gpu.F32), bias), gpu.Scales: encode(gpu.F32, outScale), gpu.XScales: encode(gpu.F32, tokenScale),
		gpu.Workspace: make([]byte, need[gpu.Workspace]), gpu.Meta: lists,
	}
	if c.l.Residual {
		mem[gpu.Residual] = encode(k.Y, residual)[:need[gpu.Residual]]
	}
	o := ptxsim.Options{Seed: c.seed, Fresh: []gpu.Buffer{gpu.Y}}
	if c.l.Form == gpu.NM24 {
		f := c.config.Format()
		o.Weights = &f
	}
	if c.mistake != nil {
		k.PTX = c.mistake(k.PTX)
		_, err = ptxsim.Simulate(k, l, mem, o)
		return err
	}
	_, err = ptxsim.Simulate(k, l, mem, o)
	require.NoError(t, err, k.Name)
	for n := range p.Tokens {
		for o := range p.Out {
			var sum, size float64
			for i := range p.In {
				v := float64(w[o*p.In+i]) * float64(x[n*xPitch+i])
				sum, size = sum+v, size+math.Abs(v)
			}
			scale := 1.
			if c.l.TensorScale {
				scale *= float64(p.Scale)
			}
			if c.l.OutScale {
				scale *= float64(outScale[o])
			}
			if c.l.TokenScale {
				scale *= float64(tokenScale[n])
			}
			v := sum * scale
			size *= math.Abs(scale)
			if c.l.Bias != 0 {
				v += float64(bias[o])
				size += math.Abs(float64(bias[o]))
			}
			v = activation(c.l.Activation, v)
			if c.l.Residual {
				v += float64(residual[n*yPitch+o])
			}
			near(t, k.Y, v, decoded(k.Y, mem[gpu.Y], n*yPitch+o), size, "%s: token %d, output %d", k.Name, n, o)
		}
	}
	for _, b := range mem[gpu.Workspace][:min(len(mem[gpu.Workspace]), 16)] {
		require.Zero(t, b, "counters are zero again")
	}
	return nil
}

// TestCostlyMistakesAreNamed plants into a kernel the three mistakes that cost the
// most time where a GPU was all that there was to find them.
func TestCostlyMistakesAreNamed(t *testing.T) {
	replace := func(from, to string) func(string) string {
		return func(text string) string {
			spoilt := regexp.MustCompile(from).ReplaceAllString(text, to)
			require.NotEqual(t, text, spoilt)
			return spoilt
		}
	}
	oneMore := func(text string) string {
		return regexp.MustCompile(`(expect_tx\S* _, \[\S+\], )(\d+)`).ReplaceAllStringFunc(text, func(s string) string {
			at := strings.LastIndex(s, " ")
			n, err := strconv.Atoi(s[at+1:])
			require.NoError(t, err)
			return s[:at+1] + strconv.Itoa(n+1)
		})
	}
	configs := []struct {
		c Config
		p gpu.Problem
		l Linear
	}{
		{GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 64, Stages: 3, Y: gpu.BF16}, gpu.Problem{Out: 136, In: 520, Tokens: 70}, Linear{DType: gpu.BF16, Form: gpu.NM24}},
		{Decode{DType: gpu.S8, Form: gpu.NM24, TileM: 64, TileN: 16, Y: gpu.S32}, gpu.Problem{Out: 64, In: 544, Tokens: 16}, Linear{DType: gpu.S8, Form: gpu.NM24}},
	}
	for _, m := range []struct {
		kind    ptxsim.Kind
		detail  string
		mistake func(string) string
		of      int // configurations
	}{
		{ptxsim.Metadata, "metadata in the wrong lane", replace(`(ld\.shared\S* \S+, \[%r\d+\+)8192\]`, "${1}8196]"), 1},
		{ptxsim.MissingProxyFence, "needs a fence.proxy.async after the write of line", replace(`fence\.proxy\.async\.shared::cta;`, ""), 1},
		{ptxsim.Transactions, "expects 1 more bytes than its copies bring", oneMore, 2},
	} {
		for _, c := range configs[:m.of] {
			for seed := range uint64(3) {
				err := runLinear(t, linearCase{config: c.c, problem: c.p, l: c.l, seed: seed, mistake: m.mistake}, h200)
				var f *ptxsim.Fault
				require.ErrorAs(t, err, &f)
				require.Equal(t, m.kind, f.Kind, "%v", err)
				require.ErrorContains(t, err, m.detail)
			}
		}
	}
}

func TestAmpereComputes(t *testing.T) {
	for i, x := range []struct {
		c Ampere
		p gpu.Problem
	}{
		{Ampere{DType: gpu.BF16, Form: gpu.Dense, TileM: 64, TileN: 16, WarpsM: 4, WarpsN: 1, Y: gpu.BF16}, gpu.Problem{Out: 64, In: 128, Tokens: 16}},
		{Ampere{DType: gpu.F16, Form: gpu.NM24, TileM: 64, TileN: 8, WarpsM: 4, WarpsN: 1, Blocks: 2, Y: gpu.F32, Bias: gpu.F32, Activation: GELU}, gpu.Problem{Out: 104, In: 200, Tokens: 5}},
		{Ampere{DType: gpu.S8, Form: gpu.Dense, TileM: 32, TileN: 16, WarpsM: 1, WarpsN: 2, Split: 3, Y: gpu.S32}, gpu.Problem{Out: 40, In: 528, Tokens: 19}},
		{Ampere{DType: gpu.S8, Form: gpu.NM24, TileM: 64, TileN: 32, WarpsM: 2, WarpsN: 2, Split: 2, Y: gpu.F16, TensorScale: true, OutScale: true, TokenScale: true, Bias: gpu.BF16, Activation: SiLU, Residual: true}, gpu.Problem{Out: 72, In: 272, Tokens: 33, XPitch: 288, YPitch: 80}},
		{Ampere{DType: gpu.BF16, Form: gpu.NM24, TileM: 128, TileN: 64, WarpsM: 2, WarpsN: 2, Stages: 2, Y: gpu.BF16, Residual: true}, gpu.Problem{Out: 128, In: 192, Tokens: 70}},
		{Ampere{DType: gpu.BF16, Form: gpu.Dense, TileM: 64, TileN: 8, WarpsM: 4, WarpsN: 1, Listed: true, Y: gpu.BF16}, gpu.Problem{Out: 200, In: 1000, Tokens: 8}},
		{Ampere{DType: gpu.F16, Form: gpu.NM24, TileM: 64, TileN: 32, WarpsM: 2, WarpsN: 2, Stages: 3, Split: 3, Listed: true, Y: gpu.F16}, gpu.Problem{Out: 136, In: 1000, Tokens: 30}},
	} {
		x.c.Target = ptx.SM80()
		require.NoError(t, runLinear(t, linearCase{config: x.c, problem: x.p, l: x.c.linear(), seed: uint64(i)}, a100))
	}
}

func (c Ampere) linear() Linear {
	return Linear{DType: c.DType, Form: c.Form, Listed: c.Listed, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale, Bias: c.Bias, Activation: c.Activation, Residual: c.Residual}
}

func (c Decode) linear() Linear {
	return Linear{DType: c.DType, Form: c.Form, Listed: c.Listed, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale, Bias: c.Bias, Activation: c.Activation, Residual: c.Residual}
}

func (c GEMM) linear() Linear {
	return Linear{DType: c.DType, Form: c.Form, Listed: c.Listed, TensorScale: c.TensorScale, OutScale: c.OutScale, TokenScale: c.TokenScale, Bias: c.Bias, Activation: c.Activation, Residual: c.Residual}
}

func TestDecodeComputes(t *testing.T) {
	for i, x := range []struct {
		c Decode
		p gpu.Problem
	}{
		{Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 8, PDL: true, Y: gpu.BF16}, gpu.Problem{Out: 64, In: 256, Tokens: 8}},
		{Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 8, Stages: 2, Split: 2, PDL: true, Y: gpu.BF16, Bias: gpu.F32, Activation: ReLU}, gpu.Problem{Out: 72, In: 1000, Tokens: 3}},
		{Decode{DType: gpu.F16, Form: gpu.Dense, TileM: 128, TileN: 16, Blocks: 1, Stages: 3, Split: 2, Y: gpu.F16, Residual: true}, gpu.Problem{Out: 136, In: 320, Tokens: 19}},
		{Decode{DType: gpu.E4M3, Form: gpu.NM24, TileM: 128, TileN: 32, Stages: 2, PDL: true, Y: gpu.F32, TensorScale: true, OutScale: true, TokenScale: true}, gpu.Problem{Out: 128, In: 560, Tokens: 30}},
		{Decode{DType: gpu.S8, Form: gpu.NM24, TileM: 64, TileN: 16, Split: 4, Y: gpu.S32}, gpu.Problem{Out: 64, In: 544, Tokens: 16}},
		{Decode{DType: gpu.S8, Form: gpu.Dense, TileM: 128, TileN: 8, Split: 2, PDL: true, Y: gpu.BF16, TokenScale: true, Residual: true, Bias: gpu.BF16, Activation: GELUTanh}, gpu.Problem{Out: 200, In: 272, Tokens: 7, XPitch: 288, YPitch: 208}},
		{Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 64, Split: 2, Y: gpu.F32, Residual: true}, gpu.Problem{Out: 64, In: 64, Tokens: 50}}, // one stage for two blocks
		{Decode{DType: gpu.BF16, Form: gpu.Dense, TileM: 64, TileN: 8, Stages: 3, Split: 2, Listed: true, PDL: true, Y: gpu.BF16}, gpu.Problem{Out: 200, In: 1000, Tokens: 8}},
		{Decode{DType: gpu.S8, Form: gpu.NM24, TileM: 128, TileN: 16, Listed: true, Y: gpu.S32}, gpu.Problem{Out: 200, In: 1088, Tokens: 16}},
	} {
		require.NoError(t, runLinear(t, linearCase{config: x.c, problem: x.p, l: x.c.linear(), seed: uint64(i)}, h200))
	}
}

func TestGEMMComputes(t *testing.T) {
	for i, x := range []struct {
		c GEMM
		p gpu.Problem
	}{
		{GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 64, Stages: 3, Y: gpu.BF16}, gpu.Problem{Out: 136, In: 520, Tokens: 70}},
		{GEMM{DType: gpu.F16, Form: gpu.NM24, TileN: 64, Stages: 3, Loop: hopper.Overlap, Y: gpu.F16, Residual: true, Bias: gpu.F32}, gpu.Problem{Out: 128, In: 448, Tokens: 64}},
		{GEMM{DType: gpu.S8, Form: gpu.Dense, TileN: 128, Stages: 2, Cluster: 2, Band: 2, Loop: hopper.Overlap, Y: gpu.S32}, gpu.Problem{Out: 300, In: 272, Tokens: 130}},
		{GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 64, Stages: 3, Listed: true, Y: gpu.BF16}, gpu.Problem{Out: 304, In: 1000, Tokens: 64}},
	} {
		require.NoError(t, runLinear(t, linearCase{config: x.c, problem: x.p, l: x.c.linear(), seed: uint64(i)}, h200))
	}
}

func TestGEMVComputes(t *testing.T) {
	for i, x := range []struct {
		c        GEMV
		p        gpu.Problem
		inactive bool
	}{
		{GEMV{Target: ptx.SM90a(), W: gpu.BF16, X: gpu.BF16, Y: gpu.BF16, Lanes: 32, Warps: 4, Rows: 8, Items: 2, Split: 4, PDL: true}, gpu.Problem{Out: 300, In: 1001, Tokens: 1, Threshold: 0.7}, false},
		{GEMV{Target: ptx.SM90a(), W: gpu.BF16, X: gpu.F32, Y: gpu.F32, Lanes: 16, Warps: 8, Rows: 4, Items: 1, Split: 8, Bias: true, Activation: SiLU}, gpu.Problem{Out: 128, In: 3000, Tokens: 1, Threshold: -1}, false},
		{GEMV{Target: ptx.SM90a(), W: gpu.F16, X: gpu.F16, Y: gpu.F16, Lanes: 8, Warps: 2, Rows: 2, Items: 4, Split: 1, Inclusive: true, PerChannel: true}, gpu.Problem{Out: 96, In: 700, Tokens: 3, XPitch: 710, YPitch: 100}, false},
		{GEMV{Target: ptx.SM80(), W: gpu.F32, X: gpu.F32, Y: gpu.F32, Lanes: 32, Warps: 4, Rows: 4, Items: 2, Split: 5, Combine: ByCounter}, gpu.Problem{Out: 250, In: 640, Tokens: 2, Threshold: 1}, false},
		{GEMV{Target: ptx.SM80(), W: gpu.BF16, X: gpu.BF16, Y: gpu.F32, Lanes: 16, Warps: 4, Rows: 8, Items: 2, Split: 3, Combine: ByCounter, Bias: true}, gpu.Problem{Out: 65, In: 64, Tokens: 8}, true},
	} {
		runGEMV(t, x.c, x.p, uint64(i), x.inactive)
	}
}

// runGEMV simulates a kernel on random inputs, or on inputs that are all zero, and
// checks every element.
func runGEMV(t *testing.T, c GEMV, p gpu.Problem, seed uint64, inactive bool) {
	c.Tokens = p.Tokens
	k, err := c.Build()
	require.NoError(t, err)
	d := a100
	if c.Target == ptx.SM90a() {
		d = h200
	}
	l, err := k.Plan(p, d)
	require.NoError(t, err)
	need, err := l.Needs()
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(seed, 3))
	xPitch, yPitch := max(p.XPitch, p.In), max(p.YPitch, p.Out)
	w, x := random(r, c.W, p.Out*p.In), random(r, c.X, p.Tokens*xPitch)
	for i := range x {
		if inactive || i%7 == 0 {
			x[i] = 0
		}
	}
	thresholds := make([]float32, p.In)
	for i := range thresholds {
		thresholds[i] = p.Threshold
		if c.PerChannel { // sometimes the value itself
			thresholds[i] = float32(math.Abs(float64(x[i]))) * []float32{0.5, 1, 1.5}[i%3]
		}
	}
	bias := random(r, gpu.F32, p.Out)
	// Rows of weights by input, padded to 16 bytes with garbage.
	var packed []byte
	pitch := int(k.WeightBytes(p)) / p.In
	for i := range p.In {
		row := garbage(uint64(pitch))
		copy(row, encode(c.W, w[i*p.Out:(i+1)*p.Out]))
		packed = append(packed, row...)
	}
	mem := ptxsim.Memory{
		gpu.Weights: packed, gpu.X: encode(c.X, x)[:need[gpu.X]], gpu.Y: garbage(need[gpu.Y]), gpu.Bias: encode(gpu.F32, bias),
		gpu.Meta: encode(gpu.F32, thresholds), gpu.Workspace: make([]byte, need[gpu.Workspace]),
	}
	require.NoError(t, ptxsim.Run(k, l, mem, seed), k.Name)
	for n := range p.Tokens {
		for o := range p.Out {
			var sum, size float64
			for i := range p.In {
				a := float32(math.Abs(float64(x[n*xPitch+i])))
				if a > thresholds[i] || c.Inclusive && a == thresholds[i] {
					v := float64(w[i*p.Out+o]) * float64(x[n*xPitch+i])
					sum, size = sum+v, size+math.Abs(v)
				}
			}
			if c.Bias {
				sum, size = sum+float64(bias[o]), size+math.Abs(float64(bias[o]))
			}
			near(t, c.Y, activation(c.Activation, sum), decoded(c.Y, mem[gpu.Y], n*yPitch+o), size, "%s: token %d, output %d", k.Name, n, o)
		}
	}
	for _, b := range mem[gpu.Workspace][:min(len(mem[gpu.Workspace]), 16)] {
		require.Zero(t, b, "counters are zero again")
	}
	// The order of sums does not depend on timing.
	first := mem[gpu.Y]
	mem[gpu.Y] = garbage(need[gpu.Y])
	require.NoError(t, ptxsim.Run(k, l, mem, seed+100))
	require.Equal(t, first, mem[gpu.Y], "results are reproducible")
}
