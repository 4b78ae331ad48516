package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sparsegen/sparsegen/runtime"
)

// variants are the three forms in which use.sg has the feed-forward layers: the
// pattern of their weights and what their names end in.
var variants = [...]struct{ pattern, suffix string }{
	{"dense", ""},
	{"nm(2,4)", "_nm24"},
	{"unstructured(sparsity=0.5)", "_half"},
}

// suffixOf is what the names of the feed-forward layers with this pattern end in.
func suffixOf(pattern string) (string, error) {
	var names []string
	for _, v := range variants {
		if v.pattern == pattern {
			return v.suffix, nil
		}
		names = append(names, v.pattern)
	}
	return "", fmt.Errorf("use.sg has no feed-forward layers with the pattern %q; there are %s", pattern, strings.Join(names, ", "))
}

// Sessions runs the layers of use.sg on the generated kernels: one session a
// layer, kernels bound and memory reserved when it is made. One goroutine at a
// time may use it.
type Sessions struct {
	byLayer map[string]*runtime.Session
	in, out [1][]float32 // the arguments of a run, kept so that it allocates nothing
}

// NewSessions prepares to run an encoder whose feed-forward weights have the
// given pattern.
func NewSessions(packed *runtime.Model, pattern string) (*Sessions, error) {
	suffix, err := suffixOf(pattern)
	if err != nil {
		return nil, err
	}
	s := &Sessions{byLayer: make(map[string]*runtime.Session)}
	for _, layer := range [...]string{"widen0", "qkv0", "merge0", "ffn0", "qkv1", "merge1", "ffn1", "sentence"} {
		name := layer
		if strings.HasPrefix(layer, "ffn") {
			name += suffix
		}
		session, err := packed.NewSession(name)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.byLayer[layer] = session
	}
	return s, nil
}

// Run computes a layer; see [Layers]. It allocates nothing.
func (s *Sessions) Run(ctx context.Context, layer string, x []float32, _ int, y []float32) error {
	session, ok := s.byLayer[layer]
	if !ok {
		return fmt.Errorf("no layer %q", layer)
	}
	s.in[0], s.out[0] = x, y
	return session.Run(ctx, s.in[:], s.out[:])
}

// Close frees what the sessions reserve.
func (s *Sessions) Close() error {
	var errs []error
	for _, session := range s.byLayer {
		errs = append(errs, session.Close())
	}
	return errors.Join(errs...)
}
