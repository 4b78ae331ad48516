package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/sparsegen/sparsegen/ptx/ptxsim/probe"
	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// record runs the simulator's probes and writes their results to a file. It goes
// on where the file ends: a program that took the device with it, or that did not
// come to an end, stands in the file as failed, and the next run leaves it out.
func record(dev *cuda.Device, driver, file string) error {
	if file == "" {
		return errors.New("record: name a file")
	}
	programs, err := probe.All()
	if err != nil {
		return err
	}
	info, err := dev.Info()
	if err != nil {
		return err
	}
	r := probe.Record{Result: map[string]string{}, Failed: map[string]string{}}
	switch text, err := os.ReadFile(file); {
	case err == nil:
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	case !os.IsNotExist(err):
		return err
	}
	r.Device, r.Driver = info.Name, driver
	save := func() error {
		text, err := json.MarshalIndent(&r, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(file, append(text, '\n'), 0o644)
	}
	for _, p := range programs {
		if r.Result[p.Name] != "" || r.Failed[p.Name] != "" {
			continue
		}
		r.Failed[p.Name] = "no result"
		if err := save(); err != nil {
			return err
		}
		y, err := probeOne(dev, &p)
		if err != nil {
			r.Failed[p.Name] = err.Error()
			fmt.Printf("%s: %v\n", p.Name, err)
			if errors.Is(err, cuda.ErrDeviceLost) {
				return errors.Join(err, save())
			}
			continue
		}
		if r.Result[p.Name], err = probe.Encode(y); err != nil {
			return err
		}
		delete(r.Failed, p.Name)
	}
	fmt.Printf("%d programs, %d failed\n", len(programs), len(r.Failed))
	return save()
}

// probeOne runs a program and returns its Y.
func probeOne(dev *cuda.Device, p *probe.Program) (y []byte, err error) {
	m, err := dev.Load(p.PTX, cuda.LoadOptions{Compile: cuda.CompileDirect, NoCache: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	fn, err := m.Function(p.Entry)
	if err != nil {
		return nil, err
	}
	memory, err := p.Memory()
	if err != nil {
		return nil, err
	}
	var buffers cuda.Buffers
	for role, data := range memory {
		b, err := dev.Alloc(int64(len(data)))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.Free()) }()
		if err := cuda.Upload(nil, b, data); err != nil {
			return nil, err
		}
		buffers[role] = b
	}
	if err := dev.Launch(nil, fn, p.Launch, buffers); err != nil {
		return nil, err
	}
	y = memory[gpu.Y]
	return y, cuda.Download(nil, y, buffers[gpu.Y])
}
