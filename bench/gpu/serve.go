package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// request is one line that peers.py sends.
type request struct {
	Op string `json:"op"` // machine, candidates, prepare, time, soak, check, free
	spec
	ID      int     `json:"id"`
	Warm    int     `json:"warm"`
	Replays int     `json:"replays"`
	Seconds float64 `json:"seconds"`
}

// serve answers requests, a line each, until the input ends. An error of one is
// its answer; the next may succeed.
func serve(dev *cuda.Device, driver string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	s := server{dev: dev, driver: driver, cases: map[int]*prepared{}}
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var r request
		answer, err := map[string]any{}, json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			answer, err = s.answer(r)
		}
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

type server struct {
	dev    *cuda.Device
	driver string // its version
	cases  map[int]*prepared
	last   int
}

func (s *server) answer(r request) (map[string]any, error) {
	switch r.Op {
	case "machine":
		info, err := s.dev.Info()
		return map[string]any{"device": info, "driver": s.driver, "revision": revision()}, err
	case "candidates":
		names, err := s.candidates(r.spec)
		return map[string]any{"names": names}, err
	case "prepare":
		s.last++
		p, err := prepare(s.dev, r.spec, uint64(s.last))
		if err != nil {
			return nil, err
		}
		s.cases[s.last] = p
		return map[string]any{"id": s.last, "kernel": p.kernel.Name, "registers": p.fn.Registers, "compile_ms": p.mod.Took.Seconds() * 1e3, "cached": p.mod.Cached}, nil
	}
	p := s.cases[r.ID]
	if p == nil {
		return nil, fmt.Errorf("no case %d for %q", r.ID, r.Op)
	}
	switch r.Op {
	case "time":
		us, err := p.time(r.Warm, max(r.Replays, 1))
		return map[string]any{"us": us}, err
	case "soak":
		return map[string]any{}, p.soak(time.Duration(r.Seconds * float64(time.Second)))
	case "check":
		d, err := p.check()
		return map[string]any{"error_norm": d.Norm, "error_max": d.Max, "checked": d.Checked}, err
	case "free":
		delete(s.cases, r.ID)
		return map[string]any{}, errors.Join(p.free(), p.inputs.free())
	}
	return nil, fmt.Errorf("no request %q", r.Op)
}

func (s *server) candidates(c spec) ([]string, error) {
	t, ok := dtypes[c.DType]
	if !ok {
		return nil, fmt.Errorf("no type %q", c.DType)
	}
	info, err := s.dev.Info()
	if err != nil {
		return nil, err
	}
	list, err := candidates(c, t, info)
	var names []string
	for _, k := range list {
		names = append(names, k.Name())
	}
	return names, err
}
