package main

import (
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// Floor is a promise: on every case that it selects, the contender is at least
// Min times as fast as the fastest of the references.
type Floor struct {
	Title     string
	Select    Selector
	Contender string
	Reference []string
	Min       float64
	Stretch   float64 // 0: none
}

// Selector picks cases; a zero field picks all.
type Selector struct {
	Layouts  []peers.Layout
	Patterns []string // labels, or spellings of the language
	Batch    [2]int   // from, to
	Channels [2]int   // from, to, for inputs and outputs alike
	Family   string
	Shape    [2]int // in, out
}

func (s Selector) matches(c Case) bool {
	within := func(v int, r [2]int) bool { return v >= r[0] && (r[1] == 0 || v <= r[1]) }
	p := c.Problem
	return (s.Layouts == nil || slices.Contains(s.Layouts, p.Layout)) &&
		(s.Patterns == nil || slices.Contains(s.Patterns, c.Pattern.Label) || slices.Contains(s.Patterns, c.Pattern.Spec)) &&
		within(p.Batch, s.Batch) && within(p.In, s.Channels) && within(p.Out, s.Channels) &&
		(s.Family == "" || s.Family == c.Family) &&
		(s.Shape == [2]int{} || s.Shape == [2]int{p.In, p.Out})
}

var (
	openBLAS  = []string{"openblas"}
	denseLibs = []string{"openblas", "onednn"}
	bestDense = []string{"openblas", "onednn", "xnnpack-fc", oursDenseName}
	ownDense  = []string{oursDenseName}

	midChannels = [2]int{128, 512}
	manyTokens  = [2]int{32, 0}
)

func mobile(percent string) Selector {
	return Selector{Family: "mobilenet", Channels: midChannels, Patterns: []string{"unstructured@" + percent}}
}

func linear(pattern string, batch [2]int) Selector {
	return Selector{Family: "linear", Patterns: []string{pattern}, Batch: batch}
}

func cold(pattern string) Selector {
	return Selector{Family: "linear", Shape: [2]int{4096, 4096}, Batch: [2]int{1, 1}, Patterns: []string{pattern}}
}

// floors are the project's promises for one thread.
var floors = []Floor{
	{"own dense, batch ≥ 32, vs the better of OpenBLAS and oneDNN", Selector{Patterns: []string{"dense"}, Batch: manyTokens}, oursDenseName, denseLibs, 0.9, 0},
	{"unstructured 70 %, 1×1 with 128–512 channels, vs OpenBLAS", mobile("70"), oursName, openBLAS, 2.2, 3},
	{"unstructured 80 %, 1×1 with 128–512 channels, vs OpenBLAS", mobile("80"), oursName, openBLAS, 3.2, 4.5},
	{"unstructured 90 %, 1×1 with 128–512 channels, vs OpenBLAS", mobile("90"), oursName, openBLAS, 6, 8.8},
	{"unstructured 95 %, 1×1 with 128–512 channels, vs OpenBLAS", mobile("95"), oursName, openBLAS, 10, 15},
	{"unstructured, feature-major, vs XNNPACK's sparse kernel", Selector{Layouts: []peers.Layout{peers.FeatureMajor}, Patterns: []string{"unstructured"}}, oursName, []string{"xnnpack-spmm"}, 2, 0},
	{"2:4, batch ≥ 32, vs best dense", linear("nm(2,4)", manyTokens), oursName, bestDense, 1.3, 1.9},
	{"1:4, batch ≥ 32, vs best dense", linear("nm(1,4)", manyTokens), oursName, bestDense, 2, 3.3},
	{"block 4×1 at 90 %, batch ≥ 32, vs best dense", linear("block(4,1)@90", manyTokens), oursName, bestDense, 7, 10},
	{"2:4, batch 8, vs best dense", linear("nm(2,4)", [2]int{8, 8}), oursName, bestDense, 1.1, 1.5},
	{"unstructured 90 %, batch 8, vs best dense", linear("unstructured@90", [2]int{8, 8}), oursName, bestDense, 2.5, 4},
	{"2:4, cold batch 1, 4096×4096, vs OpenBLAS", cold("nm(2,4)"), oursName, openBLAS, 1.6, 1.85},
	{"unstructured 70 %, cold batch 1, 4096×4096, vs OpenBLAS", cold("unstructured@70"), oursName, openBLAS, 2.4, 2.9},
	{"unstructured 90 %, cold batch 1, 4096×4096, vs OpenBLAS", cold("unstructured@90"), oursName, openBLAS, 5, 7},
	{"channel 50 %, vs own dense", linear("channel(cols)@50", [2]int{}), oursName, ownDense, 1.9, 0},
	{"everywhere, vs own dense", Selector{}, oursName, ownDense, 0.97, 0},
}

// Verdict is a floor with what was measured.
type Verdict struct {
	Title   string      `json:"title"`
	Min     float64     `json:"min"`
	Stretch float64     `json:"stretch,omitempty"`
	Cases   []FloorCase `json:"cases"`
	// Reached says that every case reaches Min; false where there is none.
	Reached      bool    `json:"reached"`
	ReachedCount int     `json:"reached_count"`
	StretchCount int     `json:"stretch_count"`
	Geomean      float64 `json:"geomean,omitempty"`
}

// FloorCase is a floor on one case.
type FloorCase struct {
	Case      string `json:"case"`
	Reference string `json:"reference"`
	Ratio     Spread `json:"ratio"`
	Reached   bool   `json:"reached"`
}

// judge compares every floor with the results.
func judge(floors []Floor, results []Result) []Verdict {
	var all []Verdict
	for _, f := range floors {
		v := Verdict{Title: f.Title, Min: f.Min, Stretch: f.Stretch}
		var medians []float64
		for i := range results {
			r := &results[i]
			ref := r.fastest(f.Reference)
			if !f.Select.matches(r.c) || ref == nil || !r.entered(f.Contender) {
				continue
			}
			ratio := Spread{} // a contender that failed keeps no promise
			if e := r.entry(f.Contender); e != nil {
				ratio = speedup(e.samples, ref.samples)
			}
			v.Cases = append(v.Cases, FloorCase{r.Name, ref.Name, ratio, ratio.Median >= f.Min})
			medians = append(medians, ratio.Median)
			if ratio.Median >= f.Min {
				v.ReachedCount++
			}
			if f.Stretch > 0 && ratio.Median >= f.Stretch {
				v.StretchCount++
			}
		}
		v.Reached = len(v.Cases) > 0 && v.ReachedCount == len(v.Cases)
		if len(medians) > 0 {
			v.Geomean = geomean(medians)
		}
		all = append(all, v)
	}
	return all
}

// worstCase is the case with the lowest ratio.
func (v *Verdict) worstCase() FloorCase {
	worst := FloorCase{Ratio: Spread{Median: math.Inf(1)}}
	for _, c := range v.Cases {
		if c.Ratio.Median < worst.Ratio.Median {
			worst = c
		}
	}
	return worst
}
