package torture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// space is what cases are drawn from.
type space struct {
	families []share
	keys     []runtime.KernelKey // every kernel there is
	configs  map[string]bool     // every configuration that a candidate can be, as coverage counts them
}

// share is a family with its weight in the draw.
type share struct {
	family string
	weight int
}

// newSpace finds out which kernels and configurations this version has.
func newSpace() (*space, error) {
	s := &space{configs: map[string]bool{}}
	configs, err := codegen.EveryConfig()
	if err != nil {
		return nil, err
	}
	kernels, err := codegen.EveryKernel()
	if err != nil {
		return nil, err
	}
	for _, k := range kernels {
		s.keys = append(s.keys, k.Key)
	}
	s.keys = slices.Compact(s.keys)
	ops := map[string]bool{}
	for _, c := range configs {
		s.configs[covers(c)] = true
		if op := c.Op.String(); !ops[op] {
			ops[op] = true
			s.families = append(s.families, share{op, 4})
		}
	}
	s.families = append(s.families,
		share{familyPlan, 8}, share{familyChain, 8}, share{familyElementwise, 2}, share{familyKernel, 32}, share{familyRefused, 2})
	return s, nil
}

// covers is the configuration without what does not name other kernels.
func covers(c codegen.Config) string {
	c.KB, c.Compact = 0, false
	return c.String()
}

// names are the families, in order.
func (s *space) names() []string {
	var names []string
	for _, f := range s.families {
		names = append(names, f.family)
	}
	return names
}

// family is that of a case: its first draw.
func (s *space) family(seed, number uint64) string { return s.drawFamily(newSource(seed, number)) }

func (s *space) drawFamily(r source) string {
	total := 0
	for _, f := range s.families {
		total += f.weight
	}
	at := r.IntN(total)
	for _, f := range s.families {
		if at -= f.weight; at < 0 {
			return f.family
		}
	}
	panic("torture: a draw beyond its range")
}

// draw is a case by its number.
func (s *space) draw(seed, number uint64) *Case {
	r := newSource(seed, number)
	c := &Case{Seed: seed, Number: number, Family: s.drawFamily(r), data: r.Uint64()}
	if c.Family == familyKernel {
		c.key = pick(r, s.keys)
		return c
	}
	c.structure, c.values, c.threads = pick(r, structures), drawValues(r), 1
	c.density = []float64{0.02, 0.1, 0.3, 0.5, 0.9, 1}[r.IntN(6)]
	c.prune, c.file = r.chance(1, 4), r.chance(1, 16)
	switch c.Family {
	case familyElementwise:
		c.elementwise(r)
	case familyChain:
		c.shape(r, 2)
		c.between(r)
		c.keep = r.Uint64()
	default:
		c.shape(r, 1)
		c.keep = r.Uint64()
		if c.Family != familyPlan {
			c.force(r)
		}
	}
	return c
}

// extent draws features or rows: mostly few, of every remainder.
func (r source) extent() int {
	switch n := r.IntN(20); {
	case n < 4:
		return 1 + r.IntN(3)
	case n < 14:
		return 1 + r.IntN(40)
	case n < 19:
		return 1 + r.IntN(130)
	}
	return 1 + r.IntN(700)
}

// batch draws the number of tokens, or of columns.
func (r source) batch() int {
	switch n := r.IntN(20); {
	case n < 5:
		return 1
	case n < 12:
		return 1 + r.IntN(20)
	case n < 19:
		return 1 + r.IntN(130)
	}
	return 1 + r.IntN(300)
}

// mostWork bounds the multiply-adds of a case's linear op at its batch, and
// mostShared those of the rare case that threads share: package runtime shares
// from 2 million on.
const (
	mostWork   = 120_000
	mostShared = 2_600_000
)

// shape draws a layer of linear ops.
func (c *Case) shape(r source, linears int) {
	c.featureMajor = r.chance(2, 5)
	c.vector = !c.featureMajor && r.chance(1, 16)
	rows, cols := 0, 0
	for i := range linears {
		f := linear{transposed: r.chance(1, 5), bias: r.chance(2, 3), act: pick(r, activations)}
		if r.chance(1, 2) {
			f.act = ""
		}
		f.pattern, rows, cols = drawPattern(r, cols)
		f.out = rows
		if i == 0 {
			c.in = cols
		}
		cols = rows
		c.linears = append(c.linears, f)
	}
	most := mostWork
	if linears == 1 && r.chance(1, 400) {
		c.threads, most = 2+r.IntN(3), mostShared
	}
	c.batchRange(r, most)
}

// batchRange draws the range of the batch and which of it run.
func (c *Case) batchRange(r source, most int) {
	largest := 1
	for at, i := c.in, 0; i < len(c.linears); i++ {
		largest = max(largest, at*c.linears[i].out)
		at = c.linears[i].out
	}
	if c.batchMin, c.batchMax = 1, 1; c.vector {
		c.batches = []int{1}
		return
	}
	b := r.batch()
	if c.threads > 1 {
		b = most/largest + 1
	}
	b = min(b, max(1, most/largest))
	c.batches, c.batchMin, c.batchMax = []int{b}, b, b
	if r.chance(3, 4) {
		c.batchMin = 1 + r.IntN(b)
	}
	if r.chance(1, 2) {
		c.batchMax = b + r.IntN(200)
	}
	if r.chance(1, 4) { // the same session runs another batch, then the first again
		c.batches = append(c.batches, c.batchMin+r.IntN(b-c.batchMin+1), b)
	}
}

// between draws what a chain has beside its linear ops.
func (c *Case) between(r source) {
	if r.chance(1, 2) {
		c.residual = pick(r, []string{"+", "*"})
	}
	if r.chance(1, 4) {
		c.norm, c.gain = pick(r, norms), r.chance(1, 2)
	}
}

// elementwise draws a layer without weights.
func (c *Case) elementwise(r source) {
	c.featureMajor = r.chance(2, 5)
	c.vector = !c.featureMajor && r.chance(1, 8)
	c.in = r.extent()
	switch r.IntN(4) {
	case 0:
		c.norm, c.gain = pick(r, norms), r.chance(1, 2)
	case 1:
		c.residual = pick(r, []string{"+", "*"})
	case 2:
		c.residual, c.act = pick(r, []string{"+", "*"}), pick(r, activations)
	default:
		c.act = pick(r, activations[1:])
	}
	c.batchRange(r, 20_000)
}

// problem is what the planner is asked for linear op i.
func (c *Case) problem(i int) codegen.Problem {
	in := c.in
	if i > 0 {
		in = c.linears[i-1].out
	}
	f := c.linears[i]
	return codegen.Problem{
		Out: f.out, In: in, BatchMin: c.batchMin, BatchMax: c.batchMax,
		TokenMajor: !c.featureMajor, Levels: f.pattern.Levels(f.out, in),
	}
}

// force draws the configuration that packs the layer, of the family's op. Where
// the space of the layer has none, it draws another layer.
func (c *Case) force(r source) {
	for {
		p := c.problem(0)
		other := func(f codegen.Config) bool { return f.Op.String() != c.Family && c.Family != familyRefused }
		if candidates := slices.DeleteFunc(codegen.Candidates(p), other); len(candidates) > 0 && c.hasForm(candidates[0]) {
			candidates = slices.DeleteFunc(codegen.Space(p), other)
			c.configs = []codegen.Config{pick(r, candidates)}
			if r.chance(1, 8) {
				c.configs = append(c.configs, pick(r, candidates))
			}
			for i := range c.configs {
				// Short K-blocks, so that small matrices have several.
				if f := &c.configs[i]; f.KB > 0 && r.chance(1, 2) {
					f.KB = 1 + r.IntN(min(40, c.in+1))
				}
			}
			return
		}
		c.layer, c.threads = layer{}, 1
		c.shape(r, 1)
	}
}

// hasForm reports whether weights that fill the first linear op's pattern can be
// packed for a configuration: groups behind a permutation have no form of n:m, few
// columns no window.
func (c *Case) hasForm(config codegen.Config) bool {
	full := patterns.NewMatrix(c.linears[0].out, c.in)
	for i := range full.Data {
		full.Data[i] = 1
	}
	mask, err := c.linears[0].pattern.Prune(full)
	if err == nil {
		_, err = config.Pack(full, mask)
	}
	return err == nil
}

// drawPattern draws a pattern and a shape that it covers. cols, where it is not 0,
// is given.
func drawPattern(r source, cols int) (p patterns.Pattern, rows, in int) {
	for {
		text, rowUnit, colUnit := patternText(r, 0)
		p, err := patterns.Parse(text)
		if err != nil {
			continue // not every two patterns combine
		}
		rows, in = (r.extent()+rowUnit-1)/rowUnit*rowUnit, cols
		if in == 0 {
			in = (r.extent() + colUnit - 1) / colUnit * colUnit
		}
		if p.Validate(rows, in) == nil {
			return p, rows, in
		}
	}
}

// patternText draws a pattern's text, and numbers of which its rows and columns
// are multiples.
func patternText(r source, depth int) (text string, rows, cols int) {
	sparsity := func(sep string) string {
		if r.chance(1, 2) {
			return ""
		}
		return fmt.Sprintf("%ssparsity=%.2g", sep, 0.05+0.9*r.Float64())
	}
	kind := r.IntN(12)
	if depth > 1 {
		kind = r.IntN(9)
	}
	switch kind {
	case 0:
		return "dense", 1, 1
	case 1, 2:
		m := 2 + r.IntN(31)
		if r.chance(3, 4) {
			m = 2 << r.IntN(5)
		}
		return fmt.Sprintf("nm(%d,%d)", 1+r.IntN(m-1), m), 1, m
	case 3:
		br, bc := []int{1, 2, 3, 4, 4, 8, 12, 16, 32}[r.IntN(9)], []int{1, 1, 2, 3, 8}[r.IntN(5)]
		return fmt.Sprintf("block(%d,%d%s)", br, bc, sparsity(",")), br, bc
	case 4, 5:
		if s := sparsity(""); s != "" {
			return "unstructured(" + s + ")", 1, 1
		}
		return "unstructured", 1, 1
	case 6:
		return fmt.Sprintf("channel(%s%s)", pick(r, []string{"rows", "cols"}), sparsity(",")), 1, 1
	case 7:
		var parts []string
		at := 0
		for range 1 + r.IntN(3) {
			a := at + r.IntN(9)
			at = a + 1 + r.IntN(9)
			parts = append(parts, fmt.Sprintf("%d:%d", a, at))
		}
		return "stripe(" + strings.Join(parts, ",") + ")", 1, 1
	case 8:
		var parts []string
		at := -r.IntN(6)
		for range 1 + r.IntN(3) {
			parts = append(parts, fmt.Sprint(at))
			at += 4 + r.IntN(9)
		}
		return fmt.Sprintf("diag(%s,width=%d)", strings.Join(parts, ","), 1+r.IntN(3)), 1, 1
	case 9: // a union has at most one part that chooses by the data
		a, rows, cols := patternText(r, 2)
		return a + " | " + pick(r, []string{"stripe(0:2)", "diag(0)", "stripe(1)", "unstructured"}), rows, cols
	case 10:
		a, ra, ca := patternText(r, 2)
		b, rb, cb := patternText(r, 2)
		return fmt.Sprintf("%s & %s", a, b), lcm(ra, rb), lcm(ca, cb)
	default:
		a, rows, cols := patternText(r, depth+1)
		return fmt.Sprintf("perm(%s,%s,seed=%d)", a, pick(r, []string{"rows", "cols"}), r.IntN(1000)), rows, cols
	}
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
