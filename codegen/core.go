package codegen

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/runtime"
)

// Core describes the core that a plan is made for: what the cost model knows of the
// machine. The zero value is that of AVX2.
type Core struct {
	isa     runtime.ISA // level of the kernels; Generic: that of the zero value
	name    string      // the kind of machine; "": any
	short   bool        // plans weigh kernels with shorter vectors too
	lanes   int         // float32 a vector
	l2Size  int         // bytes
	l3Size  int         // what others who share it leave of it
	tile    []tileCost  // ascending; see tileCost
	packing float64     // where packing tiles tells: over what else it would take
	lists   listCost
	streams float64 // time to read weights from beyond the second-level cache in four streams over that in one
	Rates
}

// Rates are a core's figures that can be measured: of kernels of ours over weights
// and activations in the first-level cache, but for the bandwidths.
type Rates struct {
	FMA        float64 `json:"fma,omitempty"`        // vector multiply-adds a cycle
	Load       float64 `json:"load,omitempty"`       // vector loads a cycle, broadcasts among them
	Shuffle    float64 `json:"shuffle,omitempty"`    // multiply-adds that one lane shuffle displaces
	Issue      float64 `json:"issue,omitempty"`      // instructions a cycle
	Latency    float64 `json:"latency,omitempty"`    // cycles of a multiply-add
	Mispredict float64 `json:"mispredict,omitempty"` // cycles lost at a loop exit that could not be foreseen
	Expand     float64 `json:"expand,omitempty"`     // LanesMask: cycles to expand a vector
	Group      float64 `json:"group,omitempty"`      // LanesRow: cycles for eight elements
	Step       float64 `json:"step,omitempty"`       // LanesWindow: cycles for a step of a slab
	Delta      float64 `json:"delta,omitempty"`      // DeltaTile: cycles for an element, beside each tile
	L2         float64 `json:"l2,omitempty"`         // bytes a cycle from the second-level cache
	L3         float64 `json:"l3,omitempty"`         // from the third-level cache
	Memory     float64 `json:"memory,omitempty"`     // from memory
}

// Rate is one of the figures of Rates.
type Rate struct {
	Name, Unit string // as in JSON; in words
	Value      float64
	Fitted     bool // plans are made with the built-in figure, whatever was measured
}

// rate is a field of Rates, with what it can be on a core that exists.
type rate struct {
	name, unit string
	of         func(*Rates) *float64
	least      float64
	most       float64
	fitted     bool
}

// rates are the fields of Rates. The fitted ones stand for more than what their names say: forms
// that expand or permute run one token, mostly over weights from memory, a core that
// runs ahead through a loop exit hides a part of it, and the third-level cache serves
// other cores too.
var rates = []rate{
	{"fma", "vector multiply-adds a cycle", func(r *Rates) *float64 { return &r.FMA }, 0.1, 16, false},
	{"load", "vector loads a cycle", func(r *Rates) *float64 { return &r.Load }, 0.1, 16, false},
	{"shuffle", "multiply-adds that a shuffle displaces", func(r *Rates) *float64 { return &r.Shuffle }, 0.01, 16, false},
	{"issue", "instructions a cycle", func(r *Rates) *float64 { return &r.Issue }, 0.1, 32, false},
	{"latency", "cycles of a multiply-add", func(r *Rates) *float64 { return &r.Latency }, 0.5, 64, false},
	{"mispredict", "cycles lost at a loop exit not foreseen", func(r *Rates) *float64 { return &r.Mispredict }, 0.5, 200, true},
	{"expand", "lanesMask: cycles to expand a vector", func(r *Rates) *float64 { return &r.Expand }, 0.05, 200, true},
	{"group", "lanesRow: cycles for eight elements", func(r *Rates) *float64 { return &r.Group }, 0.5, 500, false},
	{"step", "lanesWindow: cycles for a step", func(r *Rates) *float64 { return &r.Step }, 0.1, 500, true},
	{"delta", "deltaTile: cycles for an element", func(r *Rates) *float64 { return &r.Delta }, 0.05, 200, false},
	{"l2", "bytes a cycle from L2", func(r *Rates) *float64 { return &r.L2 }, 0.5, 1024, false},
	{"l3", "bytes a cycle from L3", func(r *Rates) *float64 { return &r.L3 }, 0.1, 1024, true},
	{"memory", "bytes a cycle from memory", func(r *Rates) *float64 { return &r.Memory }, 0.01, 1024, false},
}

// All are the figures of r in the order of its fields.
func (r Rates) All() []Rate {
	var all []Rate
	used := r.used()
	for _, f := range rates {
		v := *f.of(&r)
		all = append(all, Rate{f.name, f.unit, v, f.fitted || v != 0 && *f.of(&used) == 0})
	}
	return all
}

// Check reports a figure that no core has. One that is 0 was not measured.
func (r Rates) Check() error {
	for _, f := range rates {
		if v := *f.of(&r); v != 0 && !(v >= f.least && v <= f.most) {
			return fmt.Errorf("%s is %v (%s), and can be %v to %v", f.name, v, f.unit, f.least, f.most)
		}
	}
	return nil
}

// ISA is the level of the kernels that are planned.
func (c Core) ISA() runtime.ISA { return c.known().isa }

// used are the figures that plans are made with: not the fitted ones. Multiply-adds, loads and
// shuffles are weighed against one another: measured figures of them count together or not at
// all. (With the longest vectors no probe tells the loads.)
func (r Rates) used() Rates {
	if r.FMA == 0 || r.Load == 0 {
		r.FMA, r.Load, r.Shuffle = 0, 0, 0
	}
	for _, f := range rates {
		if f.fitted {
			*f.of(&r) = 0
		}
	}
	return r
}

// With is c with those figures of r that were measured, not 0, and that plans are made with.
func (c Core) With(r Rates) Core {
	c = c.known()
	r = r.used()
	for _, f := range rates {
		if v := *f.of(&r); v != 0 {
			*f.of(&c.Rates) = v
		}
	}
	return c
}

// Flops is the floating-point operations that c starts in a cycle, two a
// multiply-add.
func (c Core) Flops() float64 { c = c.known(); return 2 * c.FMA * float64(c.lanes) }

// known is c, or the core that its zero value stands for.
func (c Core) known() Core {
	if c.lanes == 0 {
		return cores[runtime.AVX2]
	}
	return c
}

// Builtin is a core that is typical of an instruction set level, AVX2 where the model knows no
// such level; On has what is known of kinds of machines. The figures are those of x86-64 server cores since 2020; those of AVX2 were
// corrected by the benchmarks' grid on a Zen 3, those of AVX-512 in part by the
// tuner's oracle on a Xeon (tiles, decoding, shuffles). Those of NEON are what
// manufacturers publish of cores like Neoverse N1 and Cortex-A76; nothing of them
// was measured. Those of SVE are of cores like Neoverse V1, whose vectors have 256
// bits, and a model as well: no plan knows the length that a machine has.
func Builtin(isa runtime.ISA) Core { return cores[isa].known() }

// On is c, or the built-in core of its level on a kind of machine, by vendor, family and model
// (amd-25-17), that the model knows.
func (c Core) On(machine string) Core {
	c = c.known()
	if k, ok := zen4Cores[c.isa]; ok && zen4(machine) {
		return k
	}
	return c
}

// Among is c for a program that has kernels of these levels only.
func (c Core) Among(levels []runtime.ISA) Core {
	c = c.known()
	c.short = c.short && slices.ContainsFunc(levels, shorter)
	return c
}

// shortened is c with shorter vectors: a core of the level that has them, with the caches and the jumps of c.
func (c Core) shortened() Core {
	s := cores[runtime.AVX2]
	s.l2Size, s.l3Size, s.streams = c.l2Size, c.l3Size, c.streams
	s.L2, s.L3, s.Memory, s.Mispredict = c.L2, c.L3, c.Memory, c.Mispredict
	return s
}

// Widened is cs and, on a core that gains by some of them, the same with short vectors.
func (c Core) Widened(cs []Config) []Config {
	if !c.known().short {
		return cs
	}
	all := slices.Clone(cs)
	for _, k := range cs {
		if k.hasShort() {
			k.Short = true
			all = append(all, k)
		}
	}
	return all
}

// String is the level of c, and what kind of machine it is of where it is not the level's typical core.
func (c Core) String() string {
	c = c.known()
	if c.name == "" {
		return c.isa.String()
	}
	return c.isa.String() + " on " + c.name
}

// zen4 reports whether a kind of machine is a Zen 4: AMD's family 25 has Zen 3 and its
// successor.
func zen4(machine string) bool {
	var model int
	_, err := fmt.Sscanf(machine, "amd-25-%d", &model)
	return err == nil && (model >= 16 && model < 32 || model >= 96)
}

// zen4Cores are a Zen 4's. It runs a vector of 64 bytes in two halves: a multiply-add and a load a
// cycle, and what AVX2 needs for as many bytes. Its third-level cache is fast. Panels of AVX-512 are
// fitted to the tuner's oracle and the benchmark's grid, as is what decodes one token's weights with AVX2; the
// rest of AVX2 is a Zen 3's.
var zen4Cores = map[runtime.ISA]Core{
	runtime.AVX512: {isa: runtime.AVX512, name: "Zen 4", short: true, lanes: 16, packing: 1.4, streams: 1.1, l2Size: 1 << 20, l3Size: 8 << 20,
		tile:  []tileCost{{32 << 10, 1, 0}, {40 << 10, 1.15, 0}, {64 << 10, 1.31, 0}, {1 << 30, 1.75, 0}},
		lists: listCost{fma: 0.8, sharedFMA: 0.8, repeat: 0.2, chain: 0.58, alone: 0.5, step: -4, empty: 8, weight: 0.29, shared: 0.69},
		Rates: Rates{FMA: 1, Load: 0.95, Shuffle: 0.42, Issue: 3.8, Latency: 4, Mispredict: 4.7,
			Expand: 2.4, Group: 6.5, Step: 6.5, Delta: 1.9, L2: 31, L3: 25, Memory: 8.6}},
	runtime.AVX2: {isa: runtime.AVX2, name: "Zen 4", lanes: 8, streams: 1.1, l2Size: 1 << 20, l3Size: 8 << 20,
		tile: cores[runtime.AVX2].tile, lists: cores[runtime.AVX2].lists,
		Rates: Rates{FMA: 2, Load: 2, Shuffle: 0.75, Issue: 5, Latency: 4, Mispredict: 14,
			Expand: 2, Group: 6, Step: 6, Delta: 0.93, L2: 31, L3: 25, Memory: 8.6}},
}

// cores are the built-in ones.
var cores = map[runtime.ISA]Core{
	runtime.AVX2: {isa: runtime.AVX2, lanes: 8, streams: 0.95, l2Size: 512 << 10, l3Size: 12 << 20,
		tile:  []tileCost{{28 << 10, 1.1, 0}, {32 << 10, 1.1, 0.18}, {40 << 10, 1.1, 0.36}, {48 << 10, 1.1, 0.84}, {56 << 10, 1.1, 1.6}, {64 << 10, 1.1, 2.25}, {1 << 30, 1.1, 3.2}},
		lists: listCost{fma: 1.15, sharedFMA: 1.3, chain: 0.87, alone: 0.5, step: 10, weight: 0.25, shared: 1},
		Rates: Rates{FMA: 2, Load: 2, Shuffle: 0.75, Issue: 5, Latency: 4, Mispredict: 14,
			Expand: 2.4, Group: 8.4, Step: 4.6, Delta: 1.0, L2: 28, L3: 16, Memory: 6}},
	runtime.AVX512: {isa: runtime.AVX512, lanes: 16, packing: 4, streams: 0.95, l2Size: 1 << 20, l3Size: 24 << 20,
		tile:  []tileCost{{16 << 10, 1.2, 0}, {32 << 10, 1.35, 0}, {40 << 10, 1.5, 0}, {64 << 10, 1.7, 0}, {1 << 30, 2.2, 0}},
		lists: listCost{fma: 1.15, sharedFMA: 1.3, chain: 1, alone: 0.35, weight: 0.5, shared: 0.5},
		Rates: Rates{FMA: 1.5, Load: 1.5, Shuffle: 0.84, Issue: 5, Latency: 4, Mispredict: 16,
			Expand: 3, Group: 7.4, Step: 6.5, Delta: 1.33, L2: 30, L3: 14, Memory: 6}},
	runtime.NEON: {isa: runtime.NEON, lanes: 4, streams: 0.95, l2Size: 1 << 20, l3Size: 24 << 20,
		tile:  []tileCost{{32 << 10, 1.1, 0}, {56 << 10, 1.3, 0}, {64 << 10, 1.6, 0}, {1 << 30, 2, 0}},
		lists: listCost{fma: 1.15, sharedFMA: 1.3, chain: 1, alone: 0.35, weight: 1, shared: 1},
		Rates: Rates{FMA: 2, Load: 2, Shuffle: 1, Issue: 4, Latency: 4, Mispredict: 11,
			Expand: 2.9, Group: 8.4, Step: 4.6, Delta: 1.1, L2: 20, L3: 10, Memory: 5}},
	runtime.SVE: {isa: runtime.SVE, lanes: 8, streams: 0.95, l2Size: 1 << 20, l3Size: 24 << 20,
		tile:  []tileCost{{32 << 10, 1.1, 0}, {56 << 10, 1.3, 0}, {64 << 10, 1.6, 0}, {1 << 30, 2, 0}},
		lists: listCost{fma: 1.15, sharedFMA: 1.3, chain: 1, alone: 0.35, weight: 1, shared: 1},
		Rates: Rates{FMA: 2, Load: 2, Shuffle: 1, Issue: 5, Latency: 4, Mispredict: 11,
			Expand: 2.9, Group: 8.4, Step: 4.6, Delta: 1.1, L2: 30, L3: 12, Memory: 6}},
}

// vectorLanes is float32 a vector of a level, which the kernels of another may be
// planned at.
func vectorLanes(isa runtime.ISA) int { return cores[isa].lanes }

// listCost is what lists of columns cost beside what each column does, fitted to races.
type listCost struct {
	// fma and sharedFMA are the time of a multiply-add over that in a dense kernel, in lists and in
	// panels whose rows share columns.
	fma, sharedFMA float64
	chain          float64 // of the latency of multiply-adds: what is seen of it
	alone          float64 // of a loop exit not foreseen: what the columns cost that one row of a PanelStep has more than another
	step           float64 // cycles of a panel of a PanelStep, beside those of its rows
	empty          float64 // cycles lost where one panel has a run of columns that another does not have
	// weight and shared are what the load of a weight is, of one of a vector, in lists and
	// in panels whose rows share columns: a load has the weights of a round of four where copies of
	// lanes cost nothing beside multiply-adds, and where vectors of 64 bytes have two
	// ports of three it may take the other one.
	weight, shared float64
	// repeat is the time that copying a weight to all lanes takes from multiply-adds, in cycles.
	repeat float64
}

// tileCost is what loads from activation tiles up to a size cost: a factor on the
// count of them, and cycles for each column, whose lines come in turn. Measured over
// the benchmarks' grid. The tile shares the first-level cache with the weights and
// the accumulators' rows.
type tileCost struct {
	bytes          int
	factor, column float64
}

// tileCost is that of tiles of so many bytes.
func (c Core) tileCost(bytes int) tileCost {
	for _, t := range c.tile {
		if bytes <= t.bytes {
			return t
		}
	}
	return tileCost{factor: 1}
}

// stream is the cycles to stream n bytes of a working set of size bytes.
func (c Core) stream(n, size int) float64 {
	switch {
	case size <= c.l2Size*3/4:
		return float64(n) / c.L2
	case size <= c.l3Size:
		return float64(n) / c.L3
	default:
		return float64(n) / c.Memory
	}
}
