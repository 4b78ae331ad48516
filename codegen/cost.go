package codegen

import (
	"math"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// The static cost model. It counts, from a packed form, what limits a kernel on
// an out-of-order core: multiply-adds, loads and issue slots, chains of dependent
// multiply-adds, mispredicted loop exits, and the bytes that come from each level
// of the memory hierarchy. Its figures are cycles of one core; only their ratios
// decide. docs/tuning.md explains it.

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
func (m Core) estimate(c Config, v sgp.Variant, p Problem, batch int) float64 {
	if batch <= fewTokens {
		m.L3 = m.Memory
	}
	return m.estimateWarm(c, v, p, batch)
}

// estimateWarm is estimate for weights that stay in the third-level cache, as those
// of a program with little else to run do.
func (m Core) estimateWarm(c Config, v sgp.Variant, p Problem, batch int) float64 {
	const call = 60 // driver and argument set-up, once a kernel call
	if c.Short {
		m = m.shortened()
	}
	if v.Panel != nil {
		return call + estimatePanel(c, v, p, batch, m)
	}
	if c.Op == runtime.DeltaTile {
		return call + estimateDeltaTile(v, p, batch, m)
	}
	return call + estimateLanes(c, v, p, batch, m)
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
// allows, all of about the same width, and all but the last of whole vectors. widths descend.
func cutTiles(batch int, widths []int, lanes int) []int {
	var cut []int
	for n := (batch + widths[0] - 1) / widths[0]; batch > 0; n-- {
		want, t := (batch+n-1)/n, widths[0]
		for _, w := range widths {
			if w >= want && (n == 1 || w%lanes == 0) {
				t = w
			}
		}
		cut = append(cut, t)
		batch -= t
	}
	return cut
}

func estimatePanel(c Config, v sgp.Variant, p Problem, batch int, m Core) float64 {
	size := streamBytes(v)
	k := p.In
	if v.Panel.Cols != nil {
		k = len(v.Panel.Cols)
	}
	widths := []int{m.lanes}
	for _, l := range tileWidths[c.Op][c.MR] {
		if l.isa == m.isa {
			widths = l.widths
		}
	}
	widest, inPlace := v.Panel.WidestTile(k, m.lanes, batch), false
	if !p.TokenMajor {
		if t := v.Panel.InPlaceTile(k, batch, m.lanes, widths[0]); t > 0 {
			widest, inPlace = t, true
		}
	}
	for len(widths) > 1 && widths[0] > widest {
		widths = widths[1:]
	}
	total := 0.0
	for _, t := range cutTiles(batch, widths, m.lanes) {
		nv := float64(t) / float64(m.lanes)
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
		} else if sgp.PackingTells(k, batch, m.lanes) {
			moved *= m.packing
		}
		total += moved/m.Load + 200
	}
	return total
}

func segmentCycles(s sgp.Segment, kb, k, t int, m Core) float64 {
	cycles, nv := 0.0, float64(t/m.lanes)
	mr := float64(s.MR)
	panels := float64(len(s.Rows) / s.MR)
	blocks := float64((k + kb - 1) / kb)
	turn := 20.0 // cycles between panels, and for each vector of accumulators
	perVec := 3 / m.Load
	switch {
	case s.Kind == sgp.Dense:
		cycles = panels * float64(k) * max(mr*nv/m.FMA, (nv+mr)/m.Load, (mr*nv+nv+mr+4)/m.Issue, m.Latency)
	case s.MR == 1 || s.Kind == sgp.Step:
		cycles = runCycles(s, m.tileCost(kb*t*4), nv, m)
		turn, perVec = 10*mr, 5/m.Load
		if s.Kind == sgp.Step {
			turn += m.lists.step
		}
	default:
		cycles = runCycles(s, m.tileCost(kb*t*4), nv, m)
		turn = 40
	}
	return cycles + blocks*panels*(mr*nv*perVec+turn)
}

// runCycles is the cycles of a sparse segment's runs with nv vectors a column.
func runCycles(s sgp.Segment, tile tileCost, nv float64, m Core) float64 {
	type sum struct {
		runs, entries, columns float64
		shortest, longest      uint16
	}
	sums := make([]sum, s.MR+1) // by the weights of an entry
	perPanel := s.Kind.Runs(s.MR)
	some := make([]float64, perPanel) // panels with entries in each run
	for i, n := range s.Runs {
		if n > 0 {
			some[i%perPanel]++
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
	if s.Kind != sgp.Step && s.MR > 1 {
		for _, n := range some {
			cycles += m.lists.empty * min(n, float64(len(s.Runs)/perPanel)-n)
		}
	}
	for weights, r := range sums {
		if r.runs == 0 {
			continue
		}
		w, c := float64(weights), r.columns
		fma, loads, issued := m.lists.fma*w*nv/m.FMA, c*nv+w*m.lists.shared, w*nv+w+4*c+3
		switch {
		case w > c: // a shared column is loaded first
			fma, issued = m.lists.sharedFMA*w*nv/m.FMA, issued+nv
			if weights == s.MR {
				fma = max(fma, w*nv/m.FMA) // no other set's work hides any
			}
		case s.Kind == sgp.Step || s.MR == 1:
			fma, loads = fma+w*m.lists.repeat, c*nv+w*m.lists.weight
		}
		// Of a loop exit that is not foreseen, what is in flight hides a part; a
		// chain overlaps with its neighbours, the more the shorter it is, and
		// begins to tell before it alone would decide.
		exit := 2.0
		if r.shortest < r.longest {
			exit += m.Mispredict * 0.6
		}
		chain := m.lists.chain * m.Latency * r.entries / (r.entries + 4*r.runs)
		switch {
		case s.Kind == sgp.Step && weights == 1:
			exit = 2 + m.Mispredict*m.lists.alone
		case s.Kind != sgp.Step && s.MR > 1:
			chain = m.Latency * 0.55
		}
		work := max(fma, tile.factor*loads/m.Load+tile.column*c, issued/m.Issue)
		work = math.Pow(math.Pow(work, 8)+math.Pow(chain, 8), 1./8)
		cycles += r.entries*work + r.runs*exit
	}
	return cycles
}

// runs is the lanes kernels of c that m runs: those of its level, or of one below.
func (m Core) runs(c Config) (l ladder) {
	for _, lad := range lanesTokens(c) {
		if lad.isa.Arch() == m.isa.Arch() && lad.isa <= m.isa && lad.isa > l.isa {
			l = lad
		}
	}
	return l
}

func estimateLanes(c Config, v sgp.Variant, p Problem, batch int, m Core) float64 {
	l := v.Lanes
	runs := m.runs(c)
	tokens := runs.widths
	m.lanes = vectorLanes(runs.isa)
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
		g := max(1, min(float64(inStep(key, machines[runs.isa], l.S/m.lanes)), slabs))
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
			perStep = max(t*sv/m.FMA, (sv+t/g)/m.Load, (t*sv+sv+(t+4)/g)/m.Issue, m.Latency/g)
		case runtime.LanesNM:
			steps = float64(k / l.M * l.N)
			tables := max(1, float64(l.M/m.lanes))
			loads := t * tables // of activations, which may serve more than a step
			if mc := machines[runs.isa]; sharesTokens(key, mc, l.S/m.lanes) {
				loads /= float64(layoutNM(key, mc, l.S/m.lanes).side * l.N)
			}
			perStep = max(t*sv*(1+m.Shuffle*tables)/m.FMA, (sv+loads/g)/m.Load,
				(t*sv*2+2*sv+(loads+1)/g)/m.Issue, m.Latency/g)
		case runtime.LanesMask:
			steps = float64(k)
			perStep = max(sv*m.Expand+t*sv/m.FMA, m.Latency)
		case runtime.LanesRow:
			sum := 0.0
			for _, n := range l.Cnt {
				sum += float64(n)
			}
			steps = sum / max(slabs, 1) // groups of eight elements
			perStep = m.Group
			turn = 8 * 12 // rows whose lengths could not be foreseen
		case runtime.LanesWindow:
			sum := 0.0
			for _, n := range l.Cnt {
				sum += float64(n)
			}
			steps = sum / max(slabs, 1) // groups of eight steps
			perStep = 8 * m.Step
			turn = 2 * 22
		}
		compute += slabs * (steps*perStep + turn)
	}
	read := m.stream(size, size)
	if batch == 1 && c.S == slabRows && size > m.l2Size*3/4 {
		switch c.Op {
		case runtime.LanesDense:
			read *= m.streams
		case runtime.LanesNM: // indices come in as many
			read *= m.streams + 0.1
		}
	}
	return max(compute, read)
}

func estimateDeltaTile(v sgp.Variant, p Problem, batch int, m Core) float64 {
	t, outgrown := 8, 1.15 // the tile, the first-level cache
	if m.isa == runtime.AVX512 {
		t, outgrown = 16, 1.3
	}
	sum := 0.0
	for _, n := range v.Lanes.Cnt {
		sum += float64(n)
	}
	size := streamBytes(v)
	tiles := float64((batch + t - 1) / t)
	const turn = 8 // between rows: of loop exits not foreseen what the next row does not hide
	work := max(sum*8*m.Delta+turn*float64(p.Out), m.stream(size, size))
	if p.In*t*4 > 28<<10 {
		work *= outgrown
	}
	moved := float64(p.In) * 2 / m.Load
	if p.TokenMajor {
		moved = (float64(p.In) + float64(p.Out)) * 3 / m.Load
	}
	return tiles * (work + moved)
}
