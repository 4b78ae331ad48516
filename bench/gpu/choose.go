package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// config is a configuration of any family of ptx/kernels.
type config interface {
	Name() string
	Build() (*gpu.Kernel, error)
}

// candidates are the configurations that a case may run, the planner's choice
// first.
func candidates(s spec, t gpu.DType, d gpu.Device) ([]config, error) {
	p := gpu.Problem{Out: s.Out, In: s.In, Tokens: s.Tokens}
	y := s.result()
	var list []config
	switch {
	case s.Family == "gemv":
		base := kernels.GEMV{Target: ptx.SM90a(), W: t, X: t, Y: y, Tokens: s.Tokens, PDL: s.PDL}
		for _, c := range kernels.GEMVSpace(base, p, d) {
			list = append(list, c)
		}
		return list, nil
	case s.Family == "gather":
		target := ptx.SM90a()
		if s.Target == "sm_80" {
			target = ptx.SM80()
		}
		return []config{kernels.Gather{Target: target, DType: t, Residual: s.Residual, PDL: s.PDL}}, nil
	case s.Family == "linear" && forms[s.Form] != 0:
		target := ptx.SM90a()
		if s.Target == "sm_80" {
			target = ptx.SM80()
		}
		if s.Kept > 0 {
			p.Blocks = max(1, int(s.Kept*float64(s.Out*s.In)/(128*64)))
		}
		layer := kernels.Linear{Target: target, Listed: s.Kept > 0, DType: t, Form: forms[s.Form], Y: y, Serial: !s.PDL,
			Bias: dtypes[s.Bias], Activation: activations[s.Activation].kernel, Residual: s.Residual,
			OutScale: s.OutScale, TokenScale: s.TokenScale, TensorScale: s.TensorScale}
		found, err := layer.Candidates(p, d)
		for _, c := range found {
			list = append(list, c.Config)
		}
		return list, err
	}
	return nil, fmt.Errorf("no kernel for %v", s)
}

var forms = map[string]gpu.Form{"dense": gpu.Dense, "nm24": gpu.NM24}

// choose is the candidate that the case names, or the first.
func choose(s spec, t gpu.DType, d gpu.Device) (config, error) {
	list, err := candidates(s, t, d)
	if err != nil {
		return nil, err
	}
	if s.Kernel == "" {
		return list[0], nil
	}
	i := slices.IndexFunc(list, func(c config) bool { return c.Name() == s.Kernel })
	if i < 0 {
		return nil, fmt.Errorf("no candidate %q for %v", s.Kernel, s)
	}
	return list[i], nil
}

// packed is weights in a layout.
type packed struct {
	bytes  []byte
	blocks *layout.Blocks // of listed weights
}

// pack lays the weights out for a configuration, once. The key names the layout.
func (in *inputs) pack(c config) (packed, any, error) {
	if in.fill != nil {
		return packed{bytes: in.fill}, "picked", nil
	}
	l, ok := c.(kernels.Config)
	if !ok {
		const key = "by input"
		if _, ok := in.packed[key]; !ok {
			in.packed[key] = packed{bytes: byInput(in.w)}
		}
		return in.packed[key], key, nil
	}
	key := l.Format()
	if p, ok := in.packed[key]; ok {
		return p, key, nil
	}
	var p packed
	var err error
	if in.listed {
		if p.blocks, err = key.PackBlocks(in.w, in.mask); err == nil {
			p.bytes = p.blocks.Packed
		}
	} else {
		p.bytes, err = key.Pack(in.w, in.mask)
	}
	in.packed[key] = p
	return p, key, err
}

// byInput is w transposed, [In, Out], rows padded to 16 bytes.
func byInput(w layout.Matrix) []byte {
	pitch := (w.Rows*w.Size + 15) / 16 * 16
	packed := make([]byte, w.Cols*pitch)
	parallel(w.Cols, func(i int) {
		row := packed[i*pitch:]
		for o := range w.Rows {
			copy(row[o*w.Size:(o+1)*w.Size], w.Data[(o*w.Cols+i)*w.Size:])
		}
	})
	return packed
}

// pick makes the weights such that each output is one input, or in a third of the
// outputs a constant.
func (in *inputs) pick(t gpu.DType) {
	rng := rand.New(rand.NewPCG(in.seed, 4))
	clear(in.w.Data)
	in.fill = randomMatrix(in.seed+4, 1, in.w.Rows, t).Data
	var index []byte
	constant := make([]float64, in.w.Rows)
	for o := range in.w.Rows {
		at := uint32(rng.IntN(in.w.Cols))
		if rng.IntN(3) == 0 {
			at, constant[o] = gpu.NoInput, float64(get(in.fill, o, t))
		} else {
			put(in.w.Row(o), int(at), t, 1)
		}
		index = binary.LittleEndian.AppendUint32(index, at)
	}
	in.extra[gpu.Meta] = index
	after := in.after
	in.after = func(sum float64, token, out int) float64 { return after(sum+constant[out], token, out) }
}

// silence makes exactly the share Inactive of the inputs inactive: below the
// threshold in every token, the others above it.
func (in *inputs) silence(s spec, t gpu.DType) {
	in.problem.Threshold = 0.5
	rng := rand.New(rand.NewPCG(in.seed, 3))
	in.active = make([]bool, s.In)
	for n, i := range rng.Perm(s.In) {
		in.active[i] = n >= int(s.Inactive*float64(s.In))
		for token := range s.Tokens {
			v := 0.45 * rng.Float32()
			if in.active[i] {
				v = 0.55 + rng.Float32()
			}
			if rng.IntN(2) == 0 {
				v = -v
			}
			put(in.x.Row(token), i, t, v)
		}
	}
}
