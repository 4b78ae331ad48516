package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

type tuneOptions struct {
	rounds    int
	sustained bool           // at the clock that the power limit leaves
	kernels   *regexp.Regexp // on candidates
}

// tune times every candidate of the cases that peers.py races, in turns, and
// prints them, the fastest first. What the planner would choose is marked.
func tune(dev *cuda.Device, match *regexp.Regexp, o tuneOptions) error {
	info, err := dev.Info()
	if err != nil {
		return err
	}
	for _, s := range raced() {
		if !match.MatchString(s.String()) {
			continue
		}
		list, err := candidates(s, dtypes[s.DType], info)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(c config) bool { return !o.kernels.MatchString(c.Name()) })
		if err := tuneOne(dev, s, list, o); err != nil {
			return err
		}
	}
	return nil
}

type timed struct {
	*prepared
	chosen bool
	us     []float64
}

// tuneOne times the candidates of a case. Those that lie far behind after a round
// are left out of the later ones.
func tuneOne(dev *cuda.Device, s spec, list []config, o tuneOptions) (err error) {
	in, err := newInputs(s, 1)
	if err != nil {
		return err
	}
	var all []*timed
	defer func() {
		for _, t := range all {
			err = errors.Join(err, t.free())
		}
		err = errors.Join(err, in.free())
	}()
	for i, c := range list {
		s.Kernel = c.Name()
		p, err := in.prepare(dev, s, c)
		if err != nil {
			fmt.Println("    FAILED", c.Name(), err)
			continue
		}
		all = append(all, &timed{prepared: p, chosen: i == 0})
	}
	pause := time.Duration(0)
	if s.Copies <= 1 {
		pause = 300 * time.Millisecond // a burst: what the power limit does shows as little as it may
	}
	for round := range o.rounds {
		best := 1e18
		for _, t := range all {
			if round > 0 {
				best = min(best, slices.Min(t.us))
			}
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, t := range all {
			if round > 0 && !t.chosen && slices.Min(t.us) > 1.1*best {
				continue
			}
			if o.sustained {
				if err := t.soak(450 * time.Millisecond); err != nil {
					return err
				}
			} else {
				time.Sleep(pause)
			}
			us, err := t.time(1, 3)
			if err != nil {
				return err
			}
			t.us = append(t.us, us)
		}
	}
	slices.SortFunc(all, func(a, b *timed) int {
		return int(1e3 * (median(a.us) - median(b.us)))
	})
	fmt.Println(s)
	for i, t := range all {
		mark := " "
		if t.chosen {
			mark = "*"
		}
		if i < 6 || t.chosen {
			fmt.Printf("  %s %9.2f us  %s\n", mark, median(t.us), t.kernel.Name)
		}
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// raced are the cases of peers.py.
func raced() []spec {
	ffn := [][2]int{{4096, 4096}, {14336, 4096}, {4096, 14336}}
	var list []spec
	for _, t := range []string{"bf16", "e4m3", "s8"} {
		for _, z := range [][3]int{{8192, 8192, 8192}, {14336, 4096, 4096}, {4096, 14336, 8192}} {
			list = append(list, spec{Family: "linear", DType: t, Form: "nm24", Out: z[0], In: z[1], Tokens: z[2], Copies: 1, Launches: 6})
		}
		list = append(list, spec{Family: "linear", DType: t, Form: "dense", Out: 8192, In: 8192, Tokens: 8192, Copies: 1, Launches: 6})
	}
	rotated := func(s spec, bytes float64, rotate float64) spec {
		s.Copies = max(2, int(rotate/bytes)+1)
		s.Launches = s.Copies * max(1, 24/s.Copies)
		return s
	}
	for _, z := range ffn {
		for _, form := range []string{"nm24", "dense"} {
			for _, tokens := range []int{1, 8, 16, 32, 64, 128, 256} {
				for _, pdl := range []bool{true, false} {
					s := spec{Family: "linear", DType: "bf16", Form: form, Out: z[0], In: z[1], Tokens: tokens, PDL: pdl}
					list = append(list, rotated(s, float64(z[0]*z[1]*2), 300e6))
				}
			}
		}
		for _, t := range []string{"e4m3", "s8"} {
			for _, tokens := range []int{8, 32} {
				s := spec{Family: "linear", DType: t, Form: "nm24", Out: z[0], In: z[1], Tokens: tokens, PDL: true}
				list = append(list, rotated(s, float64(z[0]*z[1]), 300e6))
			}
		}
	}
	for _, z := range ffn[1:] {
		for _, inactive := range []float64{0, 0.5, 0.75, 0.9, 0.95} {
			s := spec{Family: "gemv", DType: "bf16", Form: "active", Out: z[0], In: z[1], Tokens: 1, PDL: true, Inactive: inactive}
			list = append(list, rotated(s, float64(z[0]*z[1]*2)*(1-inactive), 250e6))
		}
	}
	return list
}
