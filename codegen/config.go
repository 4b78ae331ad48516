package codegen

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/runtime"
)

// Config is one way to compute a linear layer: small integers, all of them
// enumerable. The fields that Op does not use are 0.
type Config struct {
	Op runtime.KernelOp // PanelGrouped … DeltaTile
	MR int              // panel: rows a panel
	KB int              // panel: columns a K-block
	S  int              // lanes: rows a slab
	N  int              // LanesNM
	M  int              // LanesNM
	// Compact drops the input columns in which no row keeps anything, and
	// gathers the others from the activations.
	Compact bool
	// Short has kernels with vectors of 32 bytes where there are longer ones.
	Short bool
}

// String is the configuration in words, such as "panelGrouped mr=4 kb=256".
func (c Config) String() string {
	s := c.Op.String()
	for _, f := range []struct {
		name string
		v    int
	}{{"mr", c.MR}, {"kb", c.KB}, {"s", c.S}, {"n", c.N}, {"m", c.M}} {
		if f.v != 0 {
			s += fmt.Sprintf(" %s=%d", f.name, f.v)
		}
	}
	if c.Compact {
		s += " compact"
	}
	if c.Short {
		s += " short"
	}
	return s
}

// ParseConfig reads what String prints.
func ParseConfig(text string) (Config, error) {
	var c Config
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return c, fmt.Errorf("codegen: an empty configuration")
	}
	for op := range families {
		if op.String() == fields[0] {
			c.Op = op
		}
	}
	if panelKinds[c.Op] == 0 && lanesKinds[c.Op] == 0 {
		return c, fmt.Errorf("codegen: configuration %q: no form %q", text, fields[0])
	}
	values := map[string]*int{"mr": &c.MR, "kb": &c.KB, "s": &c.S, "n": &c.N, "m": &c.M}
	flags := map[string]*bool{"compact": &c.Compact, "short": &c.Short}
	for _, f := range fields[1:] {
		if flags[f] != nil {
			*flags[f] = true
			continue
		}
		name, value, _ := strings.Cut(f, "=")
		n, err := strconv.Atoi(value)
		if values[name] == nil || err != nil || n < 1 || n > maxKB {
			return c, fmt.Errorf("codegen: configuration %q: %q is not understood", text, f)
		}
		*values[name] = n
	}
	return c, nil
}

// Panel reports whether the lanes of c's kernels are batch columns and its
// form a panel form.
func (c Config) Panel() bool { return panelKinds[c.Op] != 0 }

// ladder is the kernels of one ISA for one configuration: the tile widths or
// token counts among which the driver chooses, widest first.
type ladder struct {
	isa    runtime.ISA
	widths []int
}

// tileWidths are the T for which panel kernels of mr rows exist. A tile of
// accumulators must fit the vector registers; those of SVE are for vectors of 256
// bits, and shorter ones go over a wide tile in two strips.
var tileWidths = map[runtime.KernelOp]map[int][]ladder{
	runtime.PanelGrouped: {
		1: {{runtime.AVX512, upTo(224, 16)}, {runtime.AVX2, upTo(112, 8)}, {runtime.NEON, upTo(112, 8)}, {runtime.SVE, upTo(112, 8)}},
		4: {{runtime.AVX512, upTo(80, 16)}, {runtime.AVX2, upTo(24, 8)}, {runtime.NEON, upTo(24, 8)}, {runtime.SVE, []int{48, 32, 24, 16, 8}}},
	},
	runtime.PanelBlock: {
		4: {{runtime.AVX512, upTo(80, 16)}, {runtime.AVX2, upTo(24, 8)}, {runtime.NEON, upTo(24, 8)}, {runtime.SVE, []int{48, 32, 24, 16, 8}}},
		8: {{runtime.AVX512, upTo(48, 16)}, {runtime.AVX2, upTo(8, 8)}, {runtime.NEON, upTo(8, 8)}, {runtime.SVE, []int{24, 16, 8}}},
	},
	runtime.PanelStep: {
		2: {{runtime.AVX512, upTo(112, 16)}, {runtime.AVX2, upTo(56, 8)}, {runtime.NEON, upTo(56, 8)}, {runtime.SVE, []int{112, 96, 80, 64, 56, 48, 40, 32, 24, 16, 8}}},
		4: {{runtime.AVX512, upTo(96, 16)}, {runtime.AVX2, upTo(24, 8)}, {runtime.NEON, upTo(24, 8)}, {runtime.SVE, []int{48, 32, 24, 16, 8}}},
	},
	runtime.PanelDense: {
		1: {{runtime.AVX512, upTo(64, 8)}, {runtime.AVX2, upTo(24, 8)}, {runtime.NEON, upTo(32, 8)}, {runtime.SVE, []int{64, 48, 32, 24, 16, 8}}},
		4: {{runtime.AVX512, upTo(80, 8)}, {runtime.AVX2, upTo(24, 8)}, {runtime.NEON, upTo(24, 8)}, {runtime.SVE, []int{48, 32, 24, 16, 8}}},
		6: {{runtime.AVX512, upTo(64, 8)}, {runtime.AVX2, upTo(16, 8)}, {runtime.NEON, upTo(16, 8)}, {runtime.SVE, []int{32, 16, 8}}},
	},
}

// upTo is the multiples of step up to most, descending.
func upTo(most, step int) []int {
	var ws []int
	for w := most; w > 0; w -= step {
		ws = append(ws, w)
	}
	return ws
}

// lanesTokens are the NB for which lanes kernels of c exist: with AVX2, the
// accumulators of a slab of 16 rows times NB tokens are 2*NB of 16 registers.
func lanesTokens(c Config) []ladder {
	wide, narrow, short := []int{8, 4, 2, 1}, []int{4, 2, 1}, []int{4, 2, 1}
	switch {
	case c.S == tokenRows && c.Op != runtime.LanesMask:
		wide, narrow, short = []int{1}, []int{1}, []int{1}
	case c.Op == runtime.LanesDense:
		wide, narrow, short = []int{12, 8, 4, 2, 1}, []int{6, 4, 2, 1}, []int{6, 4, 2, 1}
	case c.Op == runtime.LanesMask:
		narrow, short = []int{2, 1}, []int{2, 1}
	case c.Op == runtime.LanesNM && c.M == 16:
		narrow = []int{2, 1}
	case c.Op == runtime.LanesNM && c.M > 16: // the table alone takes four registers
		narrow, short = []int{1}, []int{2, 1}
	case c.oneToken():
		return []ladder{{runtime.AVX2, []int{1}}, {runtime.NEON, []int{1}}}
	}
	ladders := []ladder{{runtime.AVX512, wide}, {runtime.AVX2, narrow}, {runtime.NEON, short}}
	if c.Op != runtime.LanesMask && c.M <= leastLanes {
		ladders = append(ladders, ladder{runtime.SVE, short})
	}
	return ladders
}

// oneToken reports whether c's kernels are for one token at a time, and vectors of eight
// lanes or less.
func (c Config) oneToken() bool {
	return c.Op == runtime.LanesRow || c.Op == runtime.LanesWindow
}

// longest is the level whose kernels a short form leaves out.
const longest = runtime.AVX512

// hasShort reports whether c's form has kernels with long vectors and others with short ones.
func (c Config) hasShort() bool {
	c.Short = false
	long, short := false, false
	for _, k := range c.Kernels(true) {
		long, short = long || k.ISA == longest, short || shorter(k.ISA)
	}
	return long && short
}

// shorter reports whether a level has shorter vectors than the longest of its architecture.
func shorter(isa runtime.ISA) bool { return isa.Arch() == longest.Arch() && isa < longest }

// Kernel is one kernel to emit: its key and the instruction set level.
type Kernel struct {
	Key runtime.KernelKey
	ISA runtime.ISA
}

// Kernels are the kernels that a layer with this configuration may call, for
// all instruction sets. A level that has none of some form runs those of the level
// below: SVE has none whose work is on a fixed number of lanes, such as squares of
// vectors. tokenMajor says how its activations lie.
func (c Config) Kernels(tokenMajor bool) []Kernel {
	var ks []Kernel
	add := func(isa runtime.ISA, k runtime.KernelKey) {
		if !c.Short || isa != longest {
			ks = append(ks, Kernel{k, isa})
		}
	}
	tiles := func(isa runtime.ISA) {
		switch {
		case tokenMajor && !machines[isa].Scalable:
			add(isa, runtime.KernelKey{Op: runtime.TransTile})
			add(isa, runtime.KernelKey{Op: runtime.UntransTile})
		case !tokenMajor:
			add(isa, runtime.KernelKey{Op: runtime.CopyTile})
		}
	}
	panels := func(op runtime.KernelOp, mr int) {
		for _, l := range tileWidths[op][mr] {
			for _, t := range l.widths {
				add(l.isa, runtime.KernelKey{Op: op, MR: uint8(mr), T: uint8(t)})
			}
			tiles(l.isa)
		}
	}
	switch {
	case c.Panel():
		panels(c.Op, c.MR)
		if c.MR > 1 { // rows that fill no panel
			rest := c.Op
			if rest != runtime.PanelDense {
				rest = runtime.PanelGrouped
			}
			panels(rest, 1)
		}
	case c.Op == runtime.DeltaTile:
		for isa, t := range map[runtime.ISA]int{runtime.AVX512: 16, runtime.AVX2: 8, runtime.NEON: 8, runtime.SVE: 8} {
			add(isa, runtime.KernelKey{Op: c.Op, S: uint8(c.S), T: uint8(t)})
			tiles(isa)
		}
	default:
		for _, l := range lanesTokens(c) {
			for _, nb := range l.widths {
				k := runtime.KernelKey{Op: c.Op, S: uint8(c.S), NB: uint8(nb), N: uint8(c.N), M: uint8(c.M)}
				if c.oneToken() {
					k.NB = 0
				}
				add(l.isa, k)
			}
		}
	}
	return ks
}

// powerOfTwo reports whether m is one.
func powerOfTwo(m int) bool { return m > 0 && bits.OnesCount(uint(m)) == 1 }
