package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// smoke prints what the driver says, what compiling costs and what a launch does.
func smoke(dev *cuda.Device) (err error) {
	info, err := dev.Info()
	if err != nil {
		return err
	}
	fmt.Printf("%+v\n", info)
	for _, s := range []spec{
		{Family: "linear", DType: "bf16", Form: "dense", Out: 256, In: 512, Tokens: 512},
		{Family: "linear", DType: "bf16", Form: "nm24", Out: 256, In: 512, Tokens: 512},
		{Family: "gemv", DType: "bf16", Form: "active", Out: 1024, In: 1024, Tokens: 1, Inactive: 0.5},
	} {
		c, err := choose(s, dtypes[s.DType], info)
		if err != nil {
			return err
		}
		k, err := c.Build()
		if err != nil {
			return err
		}
		for _, how := range []struct {
			name string
			o    cuda.LoadOptions
		}{
			{"linked, no cache", cuda.LoadOptions{Strict: true, NoCache: true}},
			{"direct", cuda.LoadOptions{Strict: true, Compile: cuda.CompileDirect}},
			{"linked into the cache", cuda.LoadOptions{Strict: true}},
			{"from the cache", cuda.LoadOptions{Strict: true}},
		} {
			m, err := dev.Load(k.PTX, how.o)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", k.Name, how.name, err)
			}
			f, err := m.Function(k.Name)
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s: %.1f ms, %d registers, %d bytes of local memory, cached %v, %v\n",
				k.Name, how.name, m.Took.Seconds()*1e3, f.Registers, f.LocalBytes, m.Cached, m.CacheErr)
			if err := m.Close(); err != nil {
				return err
			}
		}
	}
	p, err := prepare(dev, spec{Family: "gemv", DType: "bf16", Form: "active", Out: 256, In: 256, Tokens: 1, Inactive: 0.9}, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.free(), p.inputs.free()) }()
	const n = 2000
	for range 3 {
		start := time.Now()
		for range n {
			if err := p.runs[0].Launch(p.stream); err != nil {
				return err
			}
		}
		host := time.Since(start)
		if err := p.stream.Synchronize(); err != nil {
			return err
		}
		fmt.Printf("launch: %.2f us of the host, %.2f us until done\n", host.Seconds()*1e6/n, time.Since(start).Seconds()*1e6/n)
	}
	return nil
}
