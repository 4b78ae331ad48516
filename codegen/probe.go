package codegen

import (
	"math"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Probe isolates one of a core's Rates: forms of small matrices that fit the
// first-level cache, or of one that streams from another level of memory. Their
// times differ by what the rate counts and by nothing else that the model knows:
// calls, the moves of activations and the turns between rows fall out.
type Probe struct {
	Rate  string // its name, as in Rates.All
	Batch int
	Forms []ProbeForm
	// solve is the rate by the cycles that a unit takes, the difference of the forms'
	// cycles over that of their units.
	solve func(cycles float64, known Core) float64
	at    func(*Rates) *float64
	core  Core // built in
}

// ProbeForm is one matrix in one form.
type ProbeForm struct {
	Config  Config
	Problem Problem
	Variant sgp.Variant
	Cold    bool // the weights have to come from memory

	sign, units float64 // of what the rate counts
}

// Solve is known with the probe's rate, by the cycles of one run of each form. Probes
// are solved in their order: later ones know what earlier ones found. A rate that no
// core has stays what it was.
func (p Probe) Solve(cycles []float64, known Rates) Rates {
	sum, units := 0.0, 0.0
	for i, f := range p.Forms {
		sum, units = sum+f.sign*cycles[i], units+f.sign*f.units
	}
	var found Rates
	*p.at(&found) = math.Round(1000*p.solve(sum/units, p.core.With(known))) / 1000
	if found.Check() == nil && *p.at(&found) != 0 {
		*p.at(&known) = *p.at(&found)
	}
	return known
}

// shape is a probe's form before it is packed.
type shape struct {
	sign    float64
	out, in int
	keep    func(rng *rand.Rand, columns []int) []int // of the columns in random order; nil: all
	cold    bool
}

// kept stores n columns of each row.
func kept(n int) func(*rand.Rand, []int) []int {
	return func(_ *rand.Rand, columns []int) []int { return columns[:n] }
}

// Probes are those of the rates of a level, on a machine whose second-level cache and
// last one have so many bytes.
func Probes(isa runtime.ISA, l2, llc int) []Probe {
	c := Builtin(isa)
	lanes := c.lanes
	tile := max(8, lanes)
	// Half of the second-level cache; and an eighth of the last, but no less than three
	// times the second.
	half, eighth := l2/2/4/256/64*64, max(llc/8, 3*l2)/4/1024/64*64
	same := func(cycles float64, _ Core) float64 { return cycles }
	inverse := func(cycles float64, _ Core) float64 { return 1 / cycles }
	dense := Config{Op: runtime.LanesDense, S: 16}
	var ps []Probe
	add := func(rate string, k Config, tokenMajor bool, batch int, units func(ProbeForm) float64, solve func(float64, Core) float64, shapes ...shape) {
		p := Probe{Rate: rate, Batch: batch, solve: solve, core: c}
		for _, f := range rates {
			if f.name == rate {
				p.at = f.of
			}
		}
		for i, s := range shapes {
			f, err := s.pack(k, batch, tokenMajor, uint64(i))
			if err != nil {
				return // the model's figure stays
			}
			f.sign, f.units = s.sign, units(f)
			p.Forms = append(p.Forms, f)
		}
		ps = append(ps, p)
	}
	columns := func(f ProbeForm) float64 { return float64(f.Problem.In) }
	slabColumns := func(f ProbeForm) float64 { return columns(f) * float64(f.Variant.Lanes.Slabs(f.Problem.Out)) }
	groups := func(f ProbeForm) float64 {
		n := 0.0
		for _, c := range f.Variant.Lanes.Cnt {
			n += float64(c)
		}
		return n
	}
	eights := func(f ProbeForm) float64 { return 8 * groups(f) }
	bytes := func(f ProbeForm) float64 { return float64(streamBytes(f.Variant)) }

	// Panels of six rows: more independent multiply-adds than any latency needs.
	vectors := float64(max(16, 2*lanes) / lanes)
	add("fma", Config{Op: runtime.PanelDense, MR: 6, KB: 256}, false, max(16, 2*lanes),
		func(f ProbeForm) float64 { return float64(f.Problem.Out/6*f.Problem.In) * 6 * vectors }, inverse,
		shape{sign: 1, out: 96, in: 64}, shape{sign: -1, out: 24, in: 64}, shape{sign: -1, out: 96, in: 16}, shape{sign: 1, out: 24, in: 16})
	// One slab: few chains, each as long as there are columns.
	add("latency", dense, true, 1, columns, same, shape{sign: 1, out: 16, in: 320}, shape{sign: -1, out: 16, in: 64})
	// Four slabs in step: each of their vectors is an operand in memory, and each column
	// a broadcast. With the longest vectors they are too few chains to tell.
	if chains := 4 * 16 / lanes; chains >= 8 {
		add("load", dense, true, 1, columns, func(cycles float64, _ Core) float64 {
			return float64(chains+1) / cycles
		}, shape{sign: 1, out: 64, in: 96}, shape{sign: -1, out: 64, in: 16})
	}
	// Two of four, four tokens: a shuffle before each multiply-add.
	add("shuffle", Config{Op: runtime.LanesNM, S: 16, N: 2, M: 4}, true, 4, slabColumns, func(cycles float64, c Core) float64 {
		perStep := 2 * cycles // columns of which two in four are stored
		return max(perStep*c.FMA/(4*16/float64(c.lanes))-1, 0)
	}, shape{sign: 1, out: 64, in: 160, keep: twoOfFour}, shape{sign: -1, out: 64, in: 32, keep: twoOfFour})
	// Four rows in step over narrow tiles: a multiply-add for each of many other
	// instructions.
	nv := float64(tile / lanes)
	add("issue", Config{Op: runtime.PanelStep, MR: 4, KB: 256}, false, tile,
		func(f ProbeForm) float64 { return float64(len(f.Variant.Panel.Segments[0].W)) / 4 },
		func(cycles float64, _ Core) float64 { return (4*nv + 4 + 4*4 + 3) / cycles },
		shape{sign: 1, out: 64, in: 192, keep: kept(96)}, shape{sign: -1, out: 64, in: 192, keep: kept(16)})
	// Decoding.
	halfOf := func(_ *rand.Rand, columns []int) []int { return columns[:len(columns)/2] }
	mask := Config{Op: runtime.LanesMask, S: 32}
	add("expand", mask, true, 1, slabColumns, func(cycles float64, c Core) float64 {
		sv := 32 / float64(vectorLanes(c.runs(mask).isa))
		return max(cycles/sv-1/c.FMA, 0)
	}, shape{sign: 1, out: 64, in: 128, keep: halfOf}, shape{sign: -1, out: 64, in: 32, keep: halfOf})
	add("group", Config{Op: runtime.LanesRow, S: 8}, true, 1, groups, same,
		shape{sign: 1, out: 32, in: 288, keep: kept(96)}, shape{sign: -1, out: 32, in: 288, keep: kept(32)})
	add("step", Config{Op: runtime.LanesWindow, S: 16}, true, 1, eights, same,
		shape{sign: 1, out: 32, in: 160, keep: halfOf}, shape{sign: -1, out: 32, in: 32, keep: halfOf})
	add("delta", Config{Op: runtime.DeltaTile, S: 8}, false, tile, eights, same,
		shape{sign: 1, out: 32, in: 192, keep: kept(80)}, shape{sign: -1, out: 32, in: 192, keep: kept(16)})
	// Bandwidths.
	add("l2", dense, true, 1, bytes, inverse, shape{sign: 1, out: half, in: 256})
	stream := Config{Op: runtime.LanesDense, S: tokenRows}
	add("l3", stream, true, 1, bytes, inverse, shape{sign: 1, out: eighth, in: 1024})
	add("memory", stream, true, 1, bytes, inverse, shape{sign: 1, out: eighth, in: 1024, cold: true})
	return ps
}

// ProbeKernels are the kernels of all probes.
func ProbeKernels(isa runtime.ISA) []Kernel {
	var ks []Kernel
	for _, p := range Probes(isa, 64<<10, 256<<10) {
		for _, f := range p.Forms {
			ks = append(ks, f.Config.Kernels(f.Problem.TokenMajor)...)
		}
	}
	return Sort(ks)
}

// twoOfFour stores two of each four columns.
func twoOfFour(rng *rand.Rand, columns []int) []int {
	var some []int
	for c := 0; c < len(columns); c += 4 {
		pair := rng.Perm(4)
		some = append(some, c+pair[0], c+pair[1])
	}
	return some
}

// pack packs random weights.
func (s shape) pack(c Config, batch int, tokenMajor bool, seed uint64) (ProbeForm, error) {
	rng := rand.New(rand.NewPCG(seed, uint64(s.out)))
	m, mask := patterns.NewMatrix(s.out, s.in), patterns.NewMask(s.out, s.in)
	for r := range s.out {
		columns := rng.Perm(s.in)
		if s.keep != nil {
			columns = s.keep(rng, columns)
		}
		for _, k := range columns {
			mask.Set(r, k)
			m.Data[r*m.Stride+k] = float32(rng.NormFloat64())
		}
	}
	v, err := c.Pack(m, mask)
	return ProbeForm{
		Config: c, Variant: v, Cold: s.cold,
		Problem: Problem{Out: s.out, In: s.in, BatchMin: batch, BatchMax: batch, TokenMajor: tokenMajor},
	}, err
}
