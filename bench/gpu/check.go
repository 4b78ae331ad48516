package main

import (
	"fmt"
	"regexp"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// limits are the deviations, as a share of the norm, that a kernel may have from
// float64 of the rounded inputs: what rounding the result takes, and for e4m3 the
// shorter sums of the tensor cores.
var limits = map[string]float64{"bf16": 3e-3, "f16": 3e-3, "e4m3": 3e-3, "s8": 3e-3}

// shapes are out, in, tokens: small ones, tails in every dimension, one of many
// tiles.
var shapes = [][3]int{
	{128, 128, 8}, {128, 256, 1}, {256, 512, 512}, {384, 1984, 1000}, {1000, 640, 136},
	{1024, 1024, 1024}, {8, 128, 3}, {136, 192, 200}, {2048, 4096, 1536}, {4096, 1024, 16},
	{520, 2048, 77}, {64, 8192, 256},
}

// check runs every candidate of every kind of case.
func check(dev *cuda.Device, small bool, match *regexp.Regexp) error {
	info, err := dev.Info()
	if err != nil {
		return err
	}
	cases, failed, worst := 0, 0, map[string]float64{}
	for n, s := range checks(small) {
		list, err := candidates(s, dtypes[s.DType], info)
		if err != nil {
			return err
		}
		in, err := newInputs(s, uint64(n))
		if err != nil {
			return err
		}
		for i, c := range list {
			name := s.String() + " " + c.Name()
			if !match.MatchString(name) || small && i%3 != 0 {
				continue
			}
			s.Kernel = c.Name()
			d, err := checkOne(dev, in, s, c)
			cases++
			kind := s.Family + " " + s.DType + " " + s.Form
			switch {
			case err != nil:
				fmt.Println("FAIL", name, err)
			case d.Norm > limits[s.DType]:
				err = fmt.Errorf("deviation %.2e, at most %.0e", d.Norm, limits[s.DType])
				fmt.Println("FAIL", name, err)
			}
			if err != nil {
				failed++
				continue
			}
			worst[kind] = max(worst[kind], d.Norm)
		}
	}
	for kind, d := range worst {
		fmt.Printf("%s: worst deviation %.2e\n", kind, d)
	}
	fmt.Printf("%d cases, %d failed\n", cases, failed)
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
	defer func() {
		if e := p.free(); err == nil {
			err = e
		}
	}()
	return p.check()
}

// checks are the cases of check.
func checks(small bool) []spec {
	var list []spec
	for _, shape := range shapes {
		out, in, tokens := shape[0], shape[1], shape[2]
		if small && out*in*tokens > 1<<26 {
			continue
		}
		for _, t := range []gpu.DType{gpu.BF16, gpu.F16, gpu.E4M3, gpu.S8} {
			for _, form := range []string{"dense", "nm24"} {
				// TMA wants rows of a multiple of 16 bytes.
				list = append(list, spec{Family: "linear", DType: t.String(), Form: form, Out: (out + 7) / 8 * 8, In: in, Tokens: tokens, Copies: 1})
			}
		}
		for n := 1; n <= 8; n *= 2 {
			list = append(list, spec{Family: "gemv", DType: "bf16", Form: "active", Out: out, In: in, Tokens: n, Inactive: 0.3 * float64(n%4), Copies: 1, PDL: n == 1})
		}
	}
	return list
}
