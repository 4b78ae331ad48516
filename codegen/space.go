package codegen

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// kBlocks are the K-blocks that a tuner tries: about half an octave apart, from
// one whose tile leaves most of a first-level cache free to one that few layers
// exceed.
var kBlocks = []int{32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}

// Space is every legal configuration for p that is worth a measurement, in
// canonical order: the planner's candidates and all their variations in rows of
// a panel and columns of a K-block. Its order and content follow from p alone.
func Space(p Problem) []Config {
	var cs []Config
	for _, c := range Candidates(p) {
		if !c.Panel() {
			cs = append(cs, c)
			continue
		}
		for _, mr := range slices.Sorted(maps.Keys(tileWidths[c.Op])) {
			for i, kb := range kBlocks {
				v := c
				v.MR, v.KB = mr, kb
				longer := i > 0 && kBlocks[i-1] >= p.In // the one before is a single block too
				if !longer && v.Legal(p, runtime.Generic) == nil {
					cs = append(cs, v)
				}
			}
		}
		cs = append(cs, c)
	}
	slices.SortFunc(cs, Config.Compare)
	return slices.Compact(cs)
}

// Compare orders configurations by their fields.
func (c Config) Compare(d Config) int {
	bit := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return slices.Compare(
		[]int{int(c.Op), c.MR, c.KB, c.S, c.N, c.M, bit(c.Compact), bit(c.Short)},
		[]int{int(d.Op), d.MR, d.KB, d.S, d.N, d.M, bit(d.Compact), bit(d.Short)})
}

// Legal reports why c cannot compute p with the kernels of an instruction set
// level and those below it; nil if it can. Weights may still not have its form
// (Pack says so).
func (c Config) Legal(p Problem, isa runtime.ISA) error {
	s := structureOf(p.Levels)
	allowed := false // some candidate has this op
	for _, k := range Candidates(p) {
		allowed = allowed || k.Op == c.Op && k.Compact == c.Compact && k.S == c.S && k.N == c.N && k.M == c.M
	}
	switch {
	case !allowed:
		return fmt.Errorf("codegen: %v is no form for a [%d, %d] matrix of these levels at batch %d to %d", c, p.Out, p.In, p.BatchMin, p.BatchMax)
	case c.Panel() && tileWidths[c.Op][c.MR] == nil:
		return fmt.Errorf("codegen: %v: no kernels for panels of %d rows", c, c.MR)
	case c.Panel() && (c.KB < 1 || c.KB > maxKB):
		return fmt.Errorf("codegen: %v: K-block of %d columns, want 1 to %d", c, c.KB, maxKB)
	case !c.Panel() && (c.MR != 0 || c.KB != 0):
		return fmt.Errorf("codegen: %v: panels and K-blocks belong to other forms", c)
	case c.Short && !c.hasShort() || c.Short && isa != runtime.Generic && isa != longest:
		return fmt.Errorf("codegen: %v: no kernels with longer vectors to leave out", c)
	case c.Op == runtime.PanelBlock && s.blockRows%max(c.MR, 1) != 0:
		return fmt.Errorf("codegen: %v: blocks have %d rows", c, s.blockRows)
	}
	if isa == runtime.Generic {
		return nil // every kernel has a form in Go
	}
	for _, k := range c.Kernels(p.TokenMajor) {
		if k.ISA <= isa {
			return nil
		}
	}
	return fmt.Errorf("codegen: %v: no kernels for %v", c, isa)
}

// Batches are the batches at which configurations of p are compared: the powers
// of two within its range, and the range's ends. The choice at one of them holds
// from behind the one before.
func (p Problem) Batches() []int { return p.batches() }

// Cold reports whether a run of p over batch columns has to expect its weights,
// of so many bytes when dense, in memory and not in a cache of the built-in core's
// sizes: it is part of what a measurement is of, on every machine.
func (p Problem) Cold(batch int, isa runtime.ISA) bool {
	return batch <= fewTokens && 4*p.Out*p.In > Builtin(isa).l2Size*3/4
}

// Structure is a problem's structure in words, without its extents: what has to be
// equal for a measurement of one problem to say something of another.
func (p Problem) Structure() string {
	s := structureOf(p.Levels)
	switch {
	case s.m > 0:
		return fmt.Sprintf("n-of-m %d:%d", s.n, s.m)
	case s.blockRows > 1:
		return fmt.Sprintf("blocks of %d rows", s.blockRows)
	case s.shared:
		return "shared list"
	case s.listed:
		return "list"
	}
	return patterns.Dense.String()
}

// Packed is a configuration with the weights in its form.
type Packed struct {
	Config  Config
	Variant sgp.Variant
}

// Estimate is the model's estimate of one run over batch columns, in cycles.
func (f Packed) Estimate(p Problem, batch int, core Core) float64 {
	return core.known().estimate(f.Config, f.Variant, p, batch)
}

// Bytes is the size of the streams that one run reads.
func (f Packed) Bytes() int { return streamBytes(f.Variant) }

// Effective is f's configuration as far as a run can tell: a K-block is no longer
// than there are columns. Forms of the same weights with equal ones are the same
// kernels on the same bytes.
func (f Packed) Effective() Config {
	c := f.Config
	if f.Variant.Panel != nil {
		c.KB = f.Variant.Panel.KB
	}
	return c
}

// Hopeless reports whether the density alone rules c out.
func (c Config) Hopeless(density float64) bool { return hopeless(c, density) }

// Bound is a lower bound of a run's time by one resource.
type Bound struct {
	Name   string // what is limited, in words
	Cycles float64
}

// Bounds are what the machine needs at least for one run of f, by resource,
// the largest first: its roofline. Unlike Estimate they leave out every cost of
// the kernel's own.
func (f Packed) Bounds(p Problem, batch int, core Core) []Bound {
	m := core.known()
	if batch <= fewTokens {
		m.L3 = m.Memory
	}
	stored := 0
	if v := f.Variant.Panel; v != nil {
		for _, s := range v.Segments {
			stored += len(s.W)
		}
	}
	if v := f.Variant.Lanes; v != nil {
		stored += len(v.W)
	}
	size := f.Bytes()
	where := "memory"
	switch {
	case size <= m.l2Size*3/4:
		where = "the second-level cache"
	case size <= m.l3Size && m.L3 != m.Memory:
		where = "the third-level cache"
	}
	bs := []Bound{
		{"multiply-adds", float64(stored) * float64(batch) / float64(m.lanes) / m.FMA},
		{"reading the weights from " + where, m.stream(size, size)},
		{"moving activations", float64(p.In+p.Out) * float64(batch) / float64(m.lanes) * 2 / m.Load},
	}
	slices.SortStableFunc(bs, func(a, b Bound) int {
		switch {
		case a.Cycles > b.Cycles:
			return -1
		case a.Cycles < b.Cycles:
			return 1
		}
		return 0
	})
	return bs
}

// Order is the order in which c sums an output's products, in words. Two
// configurations of the same order give the same bits.
func (c Config) Order() string {
	switch {
	case c.Op == runtime.LanesRow:
		return "eight sums and a tree"
	case c.Op == runtime.PanelGrouped && c.MR > 1: // columns in the order of the sets of rows that share them
		return c.String()
	}
	return "ascending"
}
