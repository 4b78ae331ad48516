package probe

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// device is what launches are planned for, whatever runs them.
var device = gpu.Device{Name: "H100", CC: [2]int{9, 0}, SMs: 132, SharedMax: 232448, MaxClusters2: 66, MaxClusters4: 30}

// builder is a kernel's configuration.
type builder interface {
	Name() string
	Build() (*gpu.Kernel, error)
}

// shipped are kernels of every family on problems with tails.
var shipped = []struct {
	config  builder
	problem gpu.Problem
}{
	{kernels.Ampere{DType: gpu.BF16, Form: gpu.Dense, TileM: 64, TileN: 16, WarpsM: 4, WarpsN: 1, Y: gpu.BF16}, gpu.Problem{Out: 72, In: 136, Tokens: 13}},
	{kernels.Ampere{DType: gpu.F16, Form: gpu.NM24, TileM: 64, TileN: 8, WarpsM: 4, WarpsN: 1, Blocks: 2, Y: gpu.F32, Bias: gpu.F32, Activation: kernels.GELU}, gpu.Problem{Out: 104, In: 200, Tokens: 5}},
	{kernels.Ampere{DType: gpu.S8, Form: gpu.Dense, TileM: 32, TileN: 16, WarpsM: 1, WarpsN: 2, Split: 3, Y: gpu.S32}, gpu.Problem{Out: 40, In: 528, Tokens: 19}},
	{kernels.Ampere{DType: gpu.S8, Form: gpu.NM24, TileM: 64, TileN: 32, WarpsM: 2, WarpsN: 2, Y: gpu.S32}, gpu.Problem{Out: 72, In: 272, Tokens: 13}},
	{kernels.Decode{DType: gpu.BF16, Form: gpu.NM24, TileM: 64, TileN: 8, Stages: 2, Split: 2, PDL: true, Y: gpu.BF16, Bias: gpu.F32, Activation: kernels.ReLU}, gpu.Problem{Out: 72, In: 1000, Tokens: 3}},
	{kernels.Decode{DType: gpu.F16, Form: gpu.Dense, TileM: 128, TileN: 16, Blocks: 1, Stages: 3, Split: 2, Y: gpu.F16}, gpu.Problem{Out: 136, In: 320, Tokens: 11}},
	{kernels.Decode{DType: gpu.E4M3, Form: gpu.NM24, TileM: 128, TileN: 32, Stages: 2, PDL: true, Y: gpu.F32}, gpu.Problem{Out: 72, In: 560, Tokens: 13}},
	{kernels.Decode{DType: gpu.S8, Form: gpu.NM24, TileM: 64, TileN: 16, Split: 4, Y: gpu.S32}, gpu.Problem{Out: 64, In: 544, Tokens: 16}},
	{kernels.Decode{DType: gpu.S8, Form: gpu.Dense, TileM: 128, TileN: 8, Split: 2, PDL: true, Y: gpu.S32}, gpu.Problem{Out: 200, In: 272, Tokens: 7, XPitch: 288, YPitch: 208}},
	{kernels.GEMM{DType: gpu.BF16, Form: gpu.NM24, TileN: 64, Stages: 3, Y: gpu.BF16}, gpu.Problem{Out: 40, In: 520, Tokens: 66}},
	{kernels.GEMM{DType: gpu.F16, Form: gpu.NM24, TileN: 64, Stages: 3, Loop: hopper.Overlap, Y: gpu.F16, Bias: gpu.F32}, gpu.Problem{Out: 136, In: 448, Tokens: 17}},
	{kernels.GEMM{DType: gpu.S8, Form: gpu.Dense, TileN: 128, Stages: 2, Cluster: 2, Band: 2, Loop: hopper.Overlap, Y: gpu.S32}, gpu.Problem{Out: 136, In: 272, Tokens: 13}},
	{kernels.GEMM{DType: gpu.S8, Form: gpu.NM24, TileN: 64, Stages: 3, Y: gpu.S32}, gpu.Problem{Out: 136, In: 400, Tokens: 11}},
	{kernels.GEMV{Target: ptx.SM90a(), W: gpu.BF16, X: gpu.BF16, Y: gpu.F32, Lanes: 32, Warps: 4, Rows: 8, Items: 2, Split: 4, PDL: true, Tokens: 1}, gpu.Problem{Out: 300, In: 1001, Tokens: 1, Threshold: 0.7}},
	{kernels.GEMV{Target: ptx.SM80(), W: gpu.F32, X: gpu.F32, Y: gpu.F32, Lanes: 32, Warps: 4, Rows: 4, Items: 2, Split: 5, Combine: kernels.ByCounter, Tokens: 2}, gpu.Problem{Out: 250, In: 640, Tokens: 2, Threshold: 1}},
}

var narrows = map[gpu.DType]narrow.Format{gpu.BF16: narrow.BF16, gpu.F16: narrow.F16, gpu.E4M3: narrow.E4M3, gpu.S8: narrow.S8}

// numbers are n random elements of a type.
func numbers(r *rand.Rand, t gpu.DType, n int) []byte {
	var b []byte
	for range n {
		v := float32(r.NormFloat64())
		if t == gpu.S8 {
			v = float32(r.IntN(255) - 127)
		}
		switch t.Size() {
		case 4:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case 2:
			b = binary.LittleEndian.AppendUint16(b, narrows[t].Encode(v))
		default:
			b = append(b, byte(narrows[t].Encode(v)))
		}
	}
	return b
}

func shippedPrograms() ([]Program, error) {
	var ps []Program
	for _, s := range shipped {
		c := s.config
		if a, ok := c.(kernels.Ampere); ok {
			a.Target = ptx.SM80()
			c = a
		}
		p, err := shippedProgram(c, s.problem)
		if err != nil {
			return nil, fmt.Errorf("probe: %s: %w", c.Name(), err)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

func shippedProgram(c builder, problem gpu.Problem) (p Program, err error) {
	k, err := c.Build()
	if err != nil {
		return p, err
	}
	name := fmt.Sprintf("%s %dx%dx%d", k.Name, problem.Out, problem.In, problem.Tokens)
	r := random(name)
	w := layout.Matrix{Rows: problem.Out, Cols: problem.In, Size: k.DType.Size()}
	w.Data = numbers(r, k.DType, w.Rows*w.Cols)
	in := map[gpu.Buffer][]byte{}
	switch {
	case k.Form == gpu.ByInput:
		pitch := int(k.WeightBytes(problem)) / problem.In
		in[gpu.Weights] = numbers(r, k.DType, problem.In*pitch/k.DType.Size())
	default:
		var mask *patterns.Mask
		if k.Form == gpu.NM24 {
			mask = patterns.NewMask(w.Rows, w.Cols)
			for o := range w.Rows {
				for g := 0; g < w.Cols; g += 4 {
					for _, i := range r.Perm(4)[:r.IntN(3)] {
						mask.Set(o, g+i)
					}
				}
			}
		}
		f, ok := c.(interface{ Format() layout.Format })
		if !ok {
			return p, fmt.Errorf("no format")
		}
		if in[gpu.Weights], err = f.Format().Pack(w, mask); err != nil {
			return p, err
		}
	}
	l, err := k.Plan(problem, device)
	if err != nil {
		return p, err
	}
	need, err := l.Needs()
	if err != nil {
		return p, err
	}
	x := k.X
	if x == 0 {
		x = k.DType
	}
	in[gpu.X] = numbers(r, x, int(need[gpu.X])/x.Size())
	in[gpu.Bias] = numbers(r, gpu.F32, int(need[gpu.Bias])/4)
	p = Program{Name: name, Entry: k.Name, Family: "shipped", PTX: k.PTX, Launch: l, In: in}
	if k.Y != gpu.S32 {
		bits := map[gpu.DType]int{gpu.BF16: 7, gpu.F16: 10, gpu.F32: 17}[k.Y]
		p.Near = &Near{DType: k.Y, Relative: math.Ldexp(1, -bits), Absolute: 2e-5 * float64(problem.In)}
		if k.DType == gpu.E4M3 { // the tensor cores' sums are shorter
			p.Near.Absolute *= 8
		}
	}
	return p, nil
}
