package codegen

import (
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// The static cost model. It counts, from a packed form, what limits a kernel on
// an out-of-order core: multiply-adds, loads and issue slots, chains of dependent
// multiply-adds, mispredicted loop exits, and the bytes that come from each level
// of the memory hierarchy. Its figures are cycles of one core; only their ratios
// decide. docs/tuning.md explains it.

// core describes the machine that a plan is made for. The figures are typical of
// x86-64 server cores since 2020; those of AVX2 were corrected by the benchmarks'
// grid on a Zen 3, those of AVX-512 in part by the tuner's oracle on a Xeon (tiles,
// decoding, shuffles). Those of NEON are
// what manufacturers publish of cores like Neoverse N1 and Cortex-A76; nothing of
// them was measured. Those of SVE are of cores like Neoverse V1, whose vectors have
// 256 bits, and a model as well: no plan knows the length that a machine has.
type core struct {
	lanes      int     // float32 a vector
	fma        float64 // vector multiply-adds a cycle
	load       float64 // vector loads a cycle
	shuffle    float64 // multiply-adds that one lane shuffle displaces
	issue      float64 // instructions a cycle
	latency    float64 // of a multiply-add, in cycles
	mispredict float64 // cycles lost at a loop exit that could not be foreseen
	l2, l3     float64 // bytes a cycle
	dram       float64
	l2Size     int
	l3Size     int        // what others who share it leave of it
	tile       []tileCost // ascending; see tileFactor
	decode     decodeCost
}

// decodeCost is the cycles that forms which decode their weights take for it.
type decodeCost struct {
	expand float64 // LanesMask: to expand a vector
	group  float64 // LanesRow: eight elements
	step   float64 // LanesWindow: a step of a slab
	delta  float64 // DeltaTile: an element, beside each tile
}

// typicalDecode was measured on the Zen 3.
var typicalDecode = decodeCost{expand: 2.9, group: 8.4, step: 4.6, delta: 1.1}

var cores = map[runtime.ISA]core{
	runtime.AVX2: {lanes: 8, fma: 2, load: 2, shuffle: 0.75, issue: 5, latency: 4, mispredict: 14,
		l2: 28, l3: 16, dram: 6, l2Size: 512 << 10, l3Size: 12 << 20,
		tile: []tileCost{{24 << 10, 1.1}, {28 << 10, 1.2}, {32 << 10, 1.3}, {48 << 10, 1.36}, {56 << 10, 1.75}}, decode: typicalDecode},
	runtime.NEON: {lanes: 4, fma: 2, load: 2, shuffle: 1, issue: 4, latency: 4, mispredict: 11,
		l2: 20, l3: 10, dram: 5, l2Size: 1 << 20, l3Size: 24 << 20,
		tile: []tileCost{{32 << 10, 1.1}, {56 << 10, 1.3}, {64 << 10, 1.6}}, decode: typicalDecode},
	runtime.SVE: {lanes: 8, fma: 2, load: 2, shuffle: 1, issue: 5, latency: 4, mispredict: 11,
		l2: 30, l3: 12, dram: 6, l2Size: 1 << 20, l3Size: 24 << 20,
		tile: []tileCost{{32 << 10, 1.1}, {56 << 10, 1.3}, {64 << 10, 1.6}}, decode: typicalDecode},
	runtime.AVX512: {lanes: 16, fma: 1.5, load: 1.5, shuffle: 0.84, issue: 5, latency: 4, mispredict: 16,
		l2: 30, l3: 14, dram: 6, l2Size: 1 << 20, l3Size: 24 << 20,
		tile:   []tileCost{{16 << 10, 1.2}, {32 << 10, 1.3}, {64 << 10, 1.5}, {1 << 30, 2.2}},
		decode: decodeCost{expand: 3, group: 7.4, step: 6.5, delta: 1.33}},
}

// stream is the cycles to stream n bytes of a working set of size bytes.
func (m core) stream(n, size int) float64 {
	switch {
	case size <= m.l2Size*3/4:
		return float64(n) / m.l2
	case size <= m.l3Size:
		return float64(n) / m.l3
	default:
		return float64(n) / m.dram
	}
}

// streamBytes is the size of a variant's streams.
func streamBytes(v sgp.Variant) int {
	n := 0
	if p := v.Panel; p != nil {
		for _, s := range p.Segments {
			n += 4*len(s.W) + 2*len(s.Idx) + 2*len(s.Runs)
		}
	}
	if l := v.Lanes; l != nil {
		n += 4*len(l.W) + len(l.Meta) + 4*len(l.Cnt)
	}
	return n
}

// fewTokens is the batch up to which weights that outgrow the second-level cache
// count as coming from memory: they are read once or twice a run, and between two
// runs of a layer the others' weights pass through the caches.
const fewTokens = 4

// estimate is the cycles of one run over batch columns of packed form v, whose
// configuration is c.
func estimate(c Config, v sgp.Variant, p Problem, batch int, isa runtime.ISA) float64 {
	m := cores[isa]
	if batch <= fewTokens {
		m.l3 = m.dram
	}
	return estimateOn(m, c, v, p, batch, isa)
}

// estimateWarm is estimate for weights that stay in the third-level cache, as those
// of a program with little else to run do.
func estimateWarm(c Config, v sgp.Variant, p Problem, batch int, isa runtime.ISA) float64 {
	return estimateOn(cores[isa], c, v, p, batch, isa)
}

func estimateOn(m core, c Config, v sgp.Variant, p Problem, batch int, isa runtime.ISA) float64 {
	const call = 60 // driver and argument set-up, once a kernel call
	if v.Panel != nil {
		return call + estimatePanel(c, v, p, batch, isa, m)
	}
	if c.Op == runtime.DeltaTile {
		return call + estimateDeltaTile(v, p, batch, isa, m)
	}
	return call + estimateLanes(c, v, p, batch, isa, m)
}

// cutTokens cuts batch as the lanes driver does: the widest that fits, and the
// narrowest of all for a rest below it. widths descend.
func cutTokens(batch int, widths []int) []int {
	var cut []int
	for batch > 0 {
		t := widths[len(widths)-1]
		for _, w := range widths {
			if w <= batch {
				t = w
				break
			}
		}
		cut = append(cut, t)
		batch -= t
	}
	return cut
}

// cutTiles cuts batch as the tile driver does: as few tiles as the widest width
// allows, all of about the same width. widths descend.
func cutTiles(batch int, widths []int) []int {
	var cut []int
	for n := (batch + widths[0] - 1) / widths[0]; batch > 0; n-- {
		want, t := (batch+n-1)/n, widths[0]
		for _, w := range widths {
			if w >= want {
				t = w
			}
		}
		cut = append(cut, t)
		batch -= t
	}
	return cut
}

func estimatePanel(c Config, v sgp.Variant, p Problem, batch int, isa runtime.ISA, m core) float64 {
	widths := []int{m.lanes}
	for _, l := range tileWidths[c.Op][c.MR] {
		if l.isa == isa {
			widths = l.widths
			for len(widths) > 1 && widths[0] > sgp.WidestTile(v.Panel.KB, m.lanes) {
				widths = widths[1:]
			}
		}
	}
	size := streamBytes(v)
	k := p.In
	if v.Panel.Cols != nil {
		k = len(v.Panel.Cols)
	}
	inPlace, stored := !p.TokenMajor && v.Panel.Cols == nil, 0
	for _, s := range v.Panel.Segments {
		inPlace = inPlace && s.Kind == sgp.Grouped && s.MR == 1
		stored += len(s.W)
	}
	inPlace = inPlace && sgp.ReadInPlace(k, batch, widths[0], stored)
	total := 0.0
	for _, t := range cutTiles(batch, widths) {
		nv := float64(t / m.lanes)
		work := 0.0
		for _, s := range v.Panel.Segments {
			work += segmentCycles(s, v.Panel.KB, k, t, m)
		}
		total += max(work, m.stream(size, size))
		// Packing the tile, and for token-major the transposed way back.
		moved := float64(k) * nv * 2
		if p.TokenMajor {
			moved = float64(k)*nv*5 + float64(p.Out)*nv*5
		} else if v.Panel.Cols != nil {
			moved *= 1.5
		} else if inPlace {
			moved *= 0.5 // it still has to come
		}
		total += moved/m.load + 200
	}
	return total
}

// tileFactor is what the loads from an activation tile of this size cost beyond
// the count of them: measured over the benchmarks' grid. The tile shares the
// first-level cache with the weights and the accumulators' rows.
func (m core) tileFactor(bytes int) float64 {
	for _, t := range m.tile {
		if bytes <= t.bytes {
			return t.factor
		}
	}
	return 2
}

// tileCost is the factor of tiles up to a size.
type tileCost struct {
	bytes  int
	factor float64
}

func segmentCycles(s sgp.Segment, kb, k, t int, m core) float64 {
	cycles, nv := 0.0, float64(t/m.lanes)
	mr := float64(s.MR)
	panels := float64(len(s.Rows) / s.MR)
	blocks := float64((k + kb - 1) / kb)
	turn := 20.0 // cycles between panels, and for each vector of accumulators
	perVec := 3 / m.load
	switch {
	case s.Kind == sgp.Dense:
		cycles = panels * float64(k) * max(mr*nv/m.fma, (nv+mr)/m.load, (mr*nv+nv+mr+4)/m.issue, m.latency/4)
	case s.MR == 1 || s.Kind == sgp.Step:
		cycles = runCycles(s, m.tileFactor(kb*t*4), nv, m)
		turn, perVec = 10*mr, 5/m.load
	default:
		cycles = runCycles(s, m.tileFactor(kb*t*4), nv, m)
		turn = 40
	}
	return cycles + blocks*panels*(mr*nv*perVec+turn)
}

// runCycles is the cycles of a sparse segment's runs with nv vectors a column.
func runCycles(s sgp.Segment, tile, nv float64, m core) float64 {
	type sum struct {
		runs, entries, columns float64
		shortest, longest      uint16
	}
	sums := make([]sum, s.MR+1) // by the weights of an entry
	perPanel := s.Kind.Runs(s.MR)
	for i, n := range s.Runs {
		if n > 0 {
			columns, weights := s.Kind.Entry(s.MR, i%perPanel)
			r := &sums[weights]
			if r.runs == 0 {
				r.shortest = n
			}
			r.shortest, r.longest = min(r.shortest, n), max(r.longest, n)
			r.columns = float64(columns)
			r.runs++
			r.entries += float64(n)
		}
	}
	cycles := float64(len(s.Runs))
	for weights, r := range sums {
		if r.runs == 0 {
			continue
		}
		w, c := float64(weights), r.columns
		fma, issued := 1.15*w*nv/m.fma, w*nv+w+4*c+3
		if w > c { // a shared column is loaded first
			fma, issued = 1.3*w*nv/m.fma, issued+nv
		}
		// Of a loop exit that is not foreseen, what is in flight hides a part; a
		// chain overlaps with its neighbours, the more the shorter it is.
		exit := 2.0
		if r.shortest < r.longest {
			exit += m.mispredict * 0.6
		}
		chain := m.latency * r.entries / (r.entries + 8*r.runs)
		switch {
		case s.Kind == sgp.Step && weights == 1:
			exit = 2 + m.mispredict*0.35
		case s.Kind != sgp.Step && s.MR > 1:
			chain = m.latency * 0.55
		}
		work := max(fma, tile*(c*nv+w)/m.load, issued/m.issue, chain)
		cycles += r.entries*work + r.runs*exit
	}
	return cycles
}

func estimateLanes(c Config, v sgp.Variant, p Problem, batch int, isa runtime.ISA, m core) float64 {
	l := v.Lanes
	var tokens []int
	runs := runtime.Generic // the level of the kernels, which serve higher ones too
	for _, lad := range lanesTokens(c) {
		if lad.isa.Arch() == isa.Arch() && lad.isa <= isa && lad.isa > runs {
			runs, tokens, m.lanes = lad.isa, lad.widths, cores[lad.isa].lanes
		}
	}
	k := p.In
	if l.Cols != nil {
		k = len(l.Cols)
	}
	slabs := float64(l.Slabs(p.Out))
	sv := float64(l.S / m.lanes)
	size := streamBytes(v)
	compute := 0.0
	for _, nb := range cutTokens(batch, tokens) {
		t := float64(nb)
		// Slabs in step share what a column costs once, and have their own chains.
		key := runtime.KernelKey{Op: c.Op, S: uint8(c.S), NB: uint8(nb), N: uint8(c.N), M: uint8(c.M)}
		g := float64(inStep(key, machines[runs], l.S/m.lanes))
		var steps, perStep float64 // columns a slab; cycles a column
		turn := 20.0               // between slabs
		switch c.Op {
		case runtime.LanesDense, runtime.LanesList:
			steps = float64(k)
			if c.Op == runtime.LanesList {
				sum := 0.0
				for _, n := range l.Cnt {
					sum += float64(n)
				}
				steps = sum / max(slabs, 1)
			}
			perStep = max(t*sv/m.fma, (sv+t/g)/m.load, (t*sv+sv+(t+4)/g)/m.issue, m.latency/g)
		case runtime.LanesNM:
			steps = float64(k / l.M * l.N)
			tables := max(1, float64(l.M/m.lanes))
			perStep = max(t*sv*(1+m.shuffle*tables)/m.fma, (sv+t*tables/g)/m.load,
				(t*sv*2+2*sv+(t*tables+1)/g)/m.issue, m.latency/g)
		case runtime.LanesMask:
			steps = float64(k)
			perStep = max(sv*m.decode.expand+t*sv/m.fma, m.latency)
		case runtime.LanesRow:
			sum := 0.0
			for _, n := range l.Cnt {
				sum += float64(n)
			}
			steps = sum / max(slabs, 1) // groups of eight elements
			perStep = m.decode.group
			turn = 8 * 12 // rows whose lengths could not be foreseen
		case runtime.LanesWindow:
			sum := 0.0
			for _, n := range l.Cnt {
				sum += float64(n)
			}
			steps = sum / max(slabs, 1) // groups of eight steps
			perStep = 8 * m.decode.step
			turn = 2 * 22
		}
		compute += slabs * (steps*perStep + turn)
	}
	return max(compute, m.stream(size, size))
}

func estimateDeltaTile(v sgp.Variant, p Problem, batch int, isa runtime.ISA, m core) float64 {
	t := 8
	if isa == runtime.AVX512 {
		t = 16
	}
	sum := 0.0
	for _, n := range v.Lanes.Cnt {
		sum += float64(n)
	}
	size := streamBytes(v)
	tiles := float64((batch + t - 1) / t)
	work := max(sum*8*m.decode.delta, m.stream(size, size))
	if p.In*t*4 > 28<<10 {
		work *= 1.15
	}
	moved := float64(p.In) * 2 / m.load
	if p.TokenMajor {
		moved = (float64(p.In) + float64(p.Out)) * 3 / m.load
	}
	return tiles * (work + moved)
}
