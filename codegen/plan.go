package codegen

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Problem is one linear layer as the planner sees it: a [Out, In] matrix with
// the levels of its pattern, over BatchMin..BatchMax columns.
type Problem struct {
	Out, In            int
	BatchMin, BatchMax int
	TokenMajor         bool // x is [t, In]; otherwise [In, t]
	Levels             []patterns.Level
	// Model is the size of all weights of the spec, in bytes, stored densely: beyond
	// lastCache they come from memory at each run. 0 is a layer by itself.
	Model int
}

// lastCache is the part of a third-level cache, in bytes, that a program may count on.
const lastCache = 32 << 20

// structure is what the planner reads from a pattern's levels.
type structure struct {
	n, m      int  // an n-of-m level along the input axis
	blockRows int  // rows that share a list of columns
	listed    bool // some level is not dense
	shared    bool // a list of whole rows or columns
}

func structureOf(levels []patterns.Level) structure {
	var s structure
	afterList := false
	for _, l := range levels {
		switch {
		case l.Kind == patterns.NofM && l.Axis == patterns.ColAxis:
			s.n, s.m, s.listed = l.N, l.M, true
		case l.Kind == patterns.Dense:
			if afterList && l.Axis == patterns.RowAxis {
				s.blockRows = l.Size
			}
		default:
			s.listed = true
			s.shared = s.shared || l.Shared
			afterList = true
		}
	}
	return s
}

// Smallest and largest batch for which a form can pay.
const (
	panelFrom = 5  // below, most lanes of a tile are empty
	lanesTo   = 16 // above, a feature-major batch would be transposed for nothing
)

// Rows of a slab of LanesDense and LanesNM. For a token alone there are slabs with chains of
// multiply-adds enough for themselves, so that weights are one stream: narrower ones go in
// step, in a stream each, and where streams begin the memory may be waited for.
const (
	slabRows  = 16
	tokenRows = 32
)

// Candidates are the configurations among which the planner chooses: dense
// first, then every form that the levels allow. They follow from the spec alone.
func Candidates(p Problem) []Config {
	s := structureOf(p.Levels)
	var cs []Config
	lanes := p.TokenMajor || p.BatchMin <= lanesTo
	var slabs []int // of LanesDense and LanesNM
	if lanes && p.BatchMin == 1 {
		slabs = append(slabs, tokenRows)
	}
	if lanes {
		slabs = append(slabs, slabRows)
	}
	panels := p.BatchMax >= panelFrom
	small := p.BatchMin <= lanesTo
	compact := []bool{false}
	if s.shared {
		compact = []bool{false, true}
	}
	for _, co := range compact {
		for _, slab := range slabs {
			cs = append(cs, Config{Op: runtime.LanesDense, S: slab, Compact: co})
		}
		if panels {
			cs = append(cs, Config{Op: runtime.PanelDense, MR: 6, KB: 256, Compact: co},
				Config{Op: runtime.PanelDense, MR: 4, KB: 256, Compact: co})
		}
	}
	if !s.listed {
		return cs
	}
	if s.m > 0 && s.m <= 32 && powerOfTwo(s.m) {
		for _, slab := range slabs {
			cs = append(cs, Config{Op: runtime.LanesNM, S: slab, N: s.n, M: s.m})
		}
	}
	for _, r := range []int{8, 4} {
		if s.blockRows%r == 0 && s.blockRows > 0 && panels {
			for _, kb := range []int{256, 512} {
				cs = append(cs, Config{Op: runtime.PanelBlock, MR: r, KB: kb})
			}
		}
	}
	if s.blockRows%16 == 0 && s.blockRows > 0 && lanes {
		cs = append(cs, Config{Op: runtime.LanesList, S: 16})
	}
	if panels {
		for _, kb := range []int{64, 128, 256, 512} {
			cs = append(cs, Config{Op: runtime.PanelGrouped, MR: 1, KB: kb}, Config{Op: runtime.PanelGrouped, MR: 4, KB: kb})
		}
		for _, kb := range []int{128, 256, 512} {
			cs = append(cs, Config{Op: runtime.PanelStep, MR: 2, KB: kb}, Config{Op: runtime.PanelStep, MR: 4, KB: kb})
		}
	}
	if small {
		if p.BatchMin <= 4 {
			cs = append(cs, Config{Op: runtime.LanesMask, S: 32}, Config{Op: runtime.LanesRow, S: 8}, Config{Op: runtime.LanesWindow, S: 16})
		}
		if p.BatchMax > 1 {
			cs = append(cs, Config{Op: runtime.DeltaTile, S: 8})
		}
	}
	return cs
}

// Kernels are the kernels that a layer with this problem may need, whichever
// candidate its weights make best: what gen emits, from the spec alone.
func (p Problem) Kernels() []Kernel {
	var ks []Kernel
	for _, c := range Candidates(p) {
		ks = append(ks, c.Kernels(p.TokenMajor)...)
	}
	return Sort(ks)
}

// Choice is what the planner decided for a range of the batch.
type Choice struct {
	BatchMin, BatchMax int
	Config             Config
	Measured           bool    // by a tuner; otherwise the model chose
	Cycles             float64 // the model's estimate at BatchMax
	DenseCycles        float64 // and that of the best dense form
	Bytes              int     // of the packed form
}

// LayerPlan is the planner's decision and what it weighed.
type LayerPlan struct {
	Problem    Problem
	Density    float64
	Choices    []Choice
	Considered []Considered
	Objected   []Measured // what was measured elsewhere and passed over, one for each batch
}

// Considered is one candidate with its estimates.
type Considered struct {
	Config Config
	Bytes  int
	Batch  []int // at these batches
	Cycles []float64
	Err    string // why it cannot be packed, if so
}

// margin is what a sparse form must save, by the model, before it replaces the
// dense one: the model is not exact, and a plan must not lose.
const margin = 0.97

// worthPacking is how much slower the form of the next smaller batch may be
// before another form is packed beside it.
const worthPacking = 1.08

// batches are the batches at which candidates are compared: powers of two
// within the range, and its ends.
func (p Problem) batches() []int {
	bs := []int{p.BatchMin}
	for b := 1; b < p.BatchMax; b *= 2 {
		if b > p.BatchMin {
			bs = append(bs, b)
		}
	}
	if p.BatchMax > p.BatchMin {
		bs = append(bs, p.BatchMax)
	}
	return bs
}

// Measured is a configuration that was measured, with its time over that of the
// fastest.
type Measured struct {
	Config Config
	Ratio  float64
	// Elsewhere says that it was measured for another shape or machine. Ratio is then what
	// corrects the model's estimates: its time over its estimate there, in units of the
	// first one's, and closer to 1 the further away that is.
	Elsewhere bool
	From      string // where it was found, for LayerPlan.Objected
}

const (
	// objection is how much slower than its own choice the model may expect what is
	// better by a correction.
	objection = 1.15
	// worthCorrecting is what that has to save at least.
	worthCorrecting = 0.98
)

// Transfer is the choice for a problem by what was measured elsewhere: the configuration
// with the least corrected estimate, if the model's own choice was measured there too, is
// clearly slower by its corrected one, and not much faster by the model alone. estimate gives
// the cycles of those that the problem can have.
func Transfer(own Config, elsewhere []Measured, estimate func(Config) (cycles float64, ok bool)) Config {
	corrected := func(m Measured) float64 {
		cycles, ok := estimate(m.Config)
		if !ok {
			return math.Inf(1)
		}
		return cycles * m.Ratio
	}
	i := slices.IndexFunc(elsewhere, func(m Measured) bool { return m.Config == own })
	if i < 0 {
		return own
	}
	choice, least := own, worthCorrecting*corrected(elsewhere[i])
	most, _ := estimate(own)
	for _, m := range elsewhere {
		cycles, ok := estimate(m.Config)
		if c := corrected(m); ok && cycles <= objection*most && c < least {
			choice, least = m.Config, c
		}
	}
	return choice
}

// Tuned finds what was measured for a problem at a batch: the choice first. Without
// measurements it gives nothing, and the model decides.
type Tuned func(p Problem, density float64, batch int, isa runtime.ISA) []Measured

// worthTuning is how much slower a measured form may be before another is
// packed beside it.
const worthTuning = 1.02

// Plan chooses a configuration for each part of the batch range, and packs.
// only limits the choice (nil allows all); core is what the plan is made for.
func Plan(p Problem, m patterns.Matrix, mask *patterns.Mask, core Core, only func(Config) bool) ([]sgp.Variant, *LayerPlan, error) {
	return PlanTuned(p, m, mask, core, only, nil)
}

// PlanTuned is Plan with measurements, which decide where there are any.
func PlanTuned(p Problem, m patterns.Matrix, mask *patterns.Mask, core Core, only func(Config) bool, tuned Tuned) ([]sgp.Variant, *LayerPlan, error) {
	return NewForms(m, mask).Plan(p, core, only, tuned)
}

// Plan is PlanTuned among the forms of p's weights.
func (all *Forms) Plan(p Problem, core Core, only func(Config) bool, tuned Tuned) ([]sgp.Variant, *LayerPlan, error) {
	core = core.known()
	plan := &LayerPlan{Problem: p, Density: all.mask.Density()}
	bs := p.batches()
	candidates := core.Widened(Candidates(p))
	measured := make([][]Measured, len(bs))
	for i, b := range bs {
		if tuned == nil {
			break
		}
		measured[i] = tuned(p, plan.Density, b, core.isa)
		for k, t := range measured[i] {
			wanted := t.Ratio <= worthTuning
			if t.Elsewhere {
				wanted = k == 0
			}
			if wanted && !slices.Contains(candidates, t.Config) {
				candidates = append(candidates, t.Config)
			}
		}
	}
	type packed struct {
		c Config
		v sgp.Variant
		t []float64 // cycles at each batch

		warm []float64 // with the weights in a cache
	}
	var forms []packed
	for _, c := range candidates {
		if only != nil && !only(c) {
			continue
		}
		if hopeless(c, plan.Density) {
			continue
		}
		v, err := all.Pack(c)
		if err != nil {
			plan.Considered = append(plan.Considered, Considered{Config: c, Err: err.Error()})
			continue
		}
		f := packed{c, v, make([]float64, len(bs)), make([]float64, len(bs))}
		for i, b := range bs {
			f.t[i] = core.estimate(c, v, p, b)
			f.warm[i] = core.estimateWarm(c, v, p, b)
		}
		forms = append(forms, f)
		plan.Considered = append(plan.Considered, Considered{Config: c, Bytes: streamBytes(v), Batch: bs, Cycles: f.t})
	}
	if len(forms) == 0 {
		return nil, nil, fmt.Errorf("codegen: no form for a [%d, %d] matrix at batch %d to %d", p.Out, p.In, p.BatchMin, p.BatchMax)
	}
	pick := make([]int, len(bs)) // the form at each batch
	base := make([]float64, len(bs))
	warmBase := make([]float64, len(bs))
	// What gains on weights from memory must gain on weights in a cache too, if that can
	// hold them.
	pays := func(j, i int) bool {
		return forms[j].t[i] <= margin*base[i] && (p.Model > lastCache || forms[j].warm[i] <= margin*warmBase[i])
	}
	for i := range bs {
		best := -1
		base[i], warmBase[i] = math.Inf(1), math.Inf(1)
		for j, f := range forms {
			if f.c.dense() {
				warmBase[i] = min(warmBase[i], f.warm[i])
				if f.t[i] < base[i] {
					best, base[i] = j, f.t[i]
				}
			}
		}
		for j, f := range forms {
			if pays(j, i) && (best < 0 || f.t[i] < forms[best].t[i]) {
				best = j
			}
		}
		pick[i] = best
	}
	of := func(c Config) int {
		return slices.IndexFunc(forms, func(f packed) bool { return f.c == c })
	}
	isMeasured := make([]bool, len(bs))
	for i := range bs {
		switch {
		case len(measured[i]) == 0:
		case measured[i][0].Elsewhere:
			first := measured[i][0]
			c := Transfer(forms[pick[i]].c, measured[i], func(c Config) (float64, bool) {
				j := of(c)
				if j < 0 {
					return 0, false
				}
				return forms[j].t[i], true
			})
			isMeasured[i] = c != forms[pick[i]].c || c == first.Config
			if !isMeasured[i] {
				plan.Objected = append(plan.Objected, first)
			}
			pick[i], measured[i] = of(c), []Measured{{Config: c, Ratio: 1}}
		default:
			if j := of(measured[i][0].Config); j >= 0 {
				pick[i], isMeasured[i] = j, true
			}
		}
	}
	fewest(pick, measured, isMeasured, of)
	// A packed form is worth its memory only where the neighbouring one is
	// clearly slower, and never slower than the dense one.
	for i := 1; i < len(bs); i++ {
		if isMeasured[i] {
			continue // fewest saw to it
		}
		stay, change := forms[pick[i-1]].t[i], forms[pick[i]].t[i]
		if stay <= change*worthPacking && (pick[i] == pick[i-1] || pays(pick[i-1], i)) {
			pick[i] = pick[i-1]
		}
	}
	// So does it share one with the batches behind it.
	for last := len(bs) - 2; last >= 0; last-- {
		first, next := last, pick[last+1]
		for first > 0 && pick[first-1] == pick[last] {
			first--
		}
		shares := true
		for i := first; i <= last; i++ {
			shares = shares && !isMeasured[i] && forms[next].t[i] <= forms[pick[i]].t[i]*worthPacking &&
				(pays(next, i) || forms[next].c.dense() && forms[next].t[i] <= base[i])
		}
		for i := first; i <= last && shares; i++ {
			pick[i] = next
		}
		last = first
	}
	var vs []sgp.Variant
	low := p.BatchMin
	for i, b := range bs {
		f := forms[pick[i]]
		ch := Choice{BatchMin: low, BatchMax: b, Config: f.c, Measured: isMeasured[i], Cycles: f.t[i], Bytes: streamBytes(f.v)}
		if !math.IsInf(base[i], 1) {
			ch.DenseCycles = base[i]
		}
		if last := len(vs) - 1; last >= 0 && pick[i] == pick[i-1] {
			ch.BatchMin = plan.Choices[last].BatchMin
			ch.Measured = ch.Measured && plan.Choices[last].Measured
			plan.Choices[last] = ch
			vs[last].BatchMax = b
		} else {
			v := f.v
			v.BatchMin, v.BatchMax = low, b
			plan.Choices = append(plan.Choices, ch)
			vs = append(vs, v)
		}
		low = b + 1
	}
	return vs, plan, nil
}

// fewest lets the measured batches share forms: it cuts them into as few runs of
// neighbours as can have one form each that is within worthTuning of the best at
// every batch of the run. Taking the form that reaches furthest, again and again,
// gives the fewest: no other cut can be further on after as many runs.
func fewest(pick []int, measured [][]Measured, isMeasured []bool, of func(Config) int) {
	within := func(i int, c Config) bool {
		return isMeasured[i] && slices.ContainsFunc(measured[i], func(m Measured) bool { return m.Config == c && m.Ratio <= worthTuning })
	}
	for i := 0; i < len(pick); {
		if !isMeasured[i] {
			i++
			continue
		}
		form, end := pick[i], i
		for _, m := range measured[i] { // the fastest first: it stays where none reaches further
			j := of(m.Config)
			last := i
			for last < len(pick) && within(last, m.Config) {
				last++
			}
			if j >= 0 && last > end {
				form, end = j, last
			}
		}
		for end = max(end, i+1); i < end; i++ {
			pick[i] = form
		}
	}
}

// dense reports whether c stores every element of the kept rows and columns.
func (c Config) dense() bool {
	return (c.Op == runtime.LanesDense || c.Op == runtime.PanelDense) && !c.Compact
}

// hopeless spares packing a form that its density rules out.
func hopeless(c Config, density float64) bool {
	switch c.Op {
	case runtime.LanesMask:
		return density > 0.7
	case runtime.LanesRow, runtime.DeltaTile:
		return density > 0.5
	case runtime.LanesWindow:
		return density > 0.7
	case runtime.PanelGrouped, runtime.PanelStep:
		return density > 0.9
	}
	return false
}

// ISAs are the instruction set levels that kernels are emitted for.
func ISAs() []runtime.ISA {
	var isas []runtime.ISA
	for isa := range machines {
		isas = append(isas, isa)
	}
	slices.Sort(isas)
	return isas
}
