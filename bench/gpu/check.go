package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// limits are the deviations, as a share of the norm, that a result may have from
// float64 of the rounded inputs: what rounding it takes and, of e4m3, what the
// tensor cores' shorter sums do.
func limit(s spec) float64 {
	switch {
	case s.DType == "s8" && s.Y == "s32":
		return 0
	case s.DType == "e4m3" || s.result() == gpu.BF16:
		return 3e-3
	case s.result() == gpu.F16:
		return 1e-3
	}
	return 1e-5
}

// shapes are out, in, tokens: tails in every dimension, one tile and many.
var shapes = [][3]int{
	{8, 128, 1}, {8, 128, 3}, {64, 64, 1}, {64, 256, 8}, {128, 128, 8}, {128, 256, 1}, {128, 64, 64}, {136, 192, 200},
	{200, 320, 7}, {256, 512, 512}, {264, 576, 17}, {384, 1984, 1000}, {392, 640, 33}, {512, 4096, 1}, {512, 4096, 16},
	{520, 2048, 77}, {640, 1024, 129}, {64, 8192, 256}, {768, 3072, 32}, {776, 192, 257}, {896, 768, 12}, {904, 704, 65},
	{1000, 640, 136}, {1024, 1024, 1024}, {1032, 1088, 48}, {1152, 2176, 250}, {1280, 256, 300}, {1288, 384, 5},
	{1536, 512, 96}, {1544, 1216, 24}, {2048, 128, 2}, {2048, 4096, 1536}, {2056, 960, 128}, {2560, 640, 72},
	{3072, 768, 4}, {3080, 448, 100}, {4096, 1024, 16}, {4096, 4096, 64}, {4104, 320, 31}, {5120, 512, 513}, {8192, 192, 9},
	{14336, 256, 40},
}

// epilogues cover every part, alone and together.
var epilogues = []spec{
	{DType: "bf16", epilogue: epilogue{Bias: "f32"}},
	{DType: "bf16", epilogue: epilogue{Bias: "bf16", Activation: "relu"}},
	{DType: "bf16", epilogue: epilogue{TensorScale: true, Activation: "gelu"}},
	{DType: "bf16", epilogue: epilogue{TensorScale: true, Bias: "f32", Activation: "gelu_tanh", Residual: true}},
	{DType: "f16", epilogue: epilogue{TensorScale: true, Bias: "f32", Activation: "silu"}},
	{DType: "f16", epilogue: epilogue{OutScale: true, Activation: "tanh", Residual: true}},
	{DType: "bf16", Y: "f32", epilogue: epilogue{OutScale: true, Activation: "sigmoid"}},
	{DType: "e4m3", epilogue: epilogue{OutScale: true, TokenScale: true, Bias: "f32"}},
	{DType: "e4m3", Y: "f32", epilogue: epilogue{TensorScale: true}},
	{DType: "s8", epilogue: epilogue{OutScale: true, TokenScale: true, Bias: "bf16", Activation: "relu", Residual: true}},
	{DType: "s8", Y: "s32"},
}

// check runs the planner's choice for every case and two other candidates, which
// rotate so that all have their turn.
func check(dev *cuda.Device, small bool, match *regexp.Regexp) error {
	info, err := dev.Info()
	if err != nil {
		return err
	}
	cases, failed, worst, kernels := 0, 0, map[string]float64{}, map[string]bool{}
	for n, s := range checks(small) {
		list, err := candidates(s, dtypes[s.DType], info)
		if err != nil {
			return err
		}
		picks := []int{0, (2*n + 1) % len(list), (2*n + 2) % len(list)}
		slices.Sort(picks)
		in, err := newInputs(s, uint64(n))
		if err != nil {
			return err
		}
		for _, i := range slices.Compact(picks) {
			c := list[i]
			name := s.String() + " " + c.Name()
			if !match.MatchString(name) {
				continue
			}
			cases++
			kernels[c.Name()] = true
			d, err := checkOne(dev, in, s, c)
			if err == nil && !(d.Norm <= limit(s)) {
				err = fmt.Errorf("deviation %.2e, at most %.0e", d.Norm, limit(s))
			}
			if err != nil {
				fmt.Println("FAIL", name, err)
				failed++
				continue
			}
			kind := fmt.Sprintf("%s %s %s to %v", s.Family, s.DType, s.Form, s.result())
			worst[kind] = max(worst[kind], d.Norm)
		}
		if err := in.free(); err != nil {
			return err
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(worst)) {
		fmt.Printf("%s: worst deviation %.2e\n", kind, worst[kind])
	}
	fmt.Printf("%d cases, %d kernels, %d failed\n", cases, len(kernels), failed)
	if failed > 0 || cases == 0 {
		return fmt.Errorf("%d of %d cases failed", failed, cases)
	}
	return nil
}

func checkOne(dev *cuda.Device, in *inputs, s spec, c config) (_ deviation, err error) {
	p, err := in.prepare(dev, s, c)
	if err != nil {
		return deviation{}, err
	}
	defer func() { err = errors.Join(err, p.free()) }()
	return p.check()
}

// checks are the cases of check.
func checks(small bool) []spec {
	var list []spec
	for n, shape := range shapes {
		if small && (n%4 != 0 || shape[0]*shape[1]*shape[2] > 1<<26) {
			continue
		}
		sized := func(s spec) spec {
			s.Out, s.In, s.Tokens, s.Copies = shape[0], shape[1], shape[2], 1
			return s
		}
		for _, form := range []string{"dense", "nm24"} {
			for _, t := range []string{"bf16", "f16", "e4m3", "s8"} {
				list = append(list, sized(spec{Family: "linear", DType: t, Form: form, PDL: n%2 == 0}))
			}
			s := epilogues[n%len(epilogues)]
			s.Family, s.Form = "linear", form
			list = append(list, sized(s))
		}
		// The target of every GPU since Ampere, and weights of which blocks are missing.
		old := sized(spec{Family: "linear", Target: "sm_80", DType: []string{"bf16", "f16", "s8"}[n%3], Form: []string{"dense", "nm24"}[n%2]})
		list = append(list, old)
		if e := epilogues[n%len(epilogues)]; e.DType != "e4m3" {
			e.Family, e.Target, e.Form = "linear", "sm_80", old.Form
			list = append(list, sized(e))
		}
		listed := sized(spec{Family: "linear", DType: []string{"bf16", "e4m3"}[n%2], Form: []string{"dense", "nm24"}[n/2%2], Kept: 0.1 + 0.2*float64(n%4)})
		if listed.Out*listed.In > 128*128 {
			list = append(list, listed)
		}
		gather := sized(spec{Family: "gather", DType: []string{"bf16", "f16"}[n%2], Form: "picked", Target: []string{"", "sm_80"}[n/2%2], epilogue: epilogue{Residual: n%3 == 0}})
		gather.PDL = gather.Target == "" && n%8 < 4
		list = append(list, gather)
		s := sized(spec{Family: "gemv", DType: []string{"bf16", "f16"}[n%2], Form: "active", Inactive: float64(n%5) / 5, PDL: n%2 == 0})
		s.Tokens = 1 + n%8
		list = append(list, s)
	}
	return list
}
