package codegen

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// The contracts of runtime/kernel.go as data for package verify: the memory that
// each argument leads to, by the integers of the call and the key's coordinates,
// and what internal/sgp has checked of the streams before a kernel sees them.
// An expression may use the coordinates MR, T, S, NB, N and M.

// contract is an op's.
type contract struct {
	memory   memory
	integers integers // arguments
	symbols  integers // that are no argument, but tied to them
	constant map[string]int
	facts    []string
	sums     []verify.Sum
	walks    []verify.Walk
	steps    []string
}

type (
	memory   map[string]verify.Region
	integers map[string]verify.Integer
)

var (
	atLeastOne = verify.Integer{Min: 1}
	stride     = verify.Integer{}
	nothing    = verify.Region{Len: "0"}
)

// entries is the sum of the counts of n slabs.
var entries = verify.Sum{Name: "entries", Of: "cnt", Rows: "n", Width: 4, Weights: []int64{1}}

// counts is a count for each of n slabs.
var counts = verify.Region{Len: "4*n", Elem: 4}

// contracts has a row for each op with machine code.
var contracts = map[runtime.KernelOp]func(runtime.KernelKey) contract{
	runtime.PanelGrouped: func(k runtime.KernelKey) contract {
		var one, rows []int64
		for s := 1; s < 1<<k.MR; s++ {
			one, rows = append(one, 1), append(rows, int64(bits.OnesCount(uint(s))))
		}
		c := runsContract("values", len(one))
		c.sums = []verify.Sum{
			{Name: "columns", Of: "runs", Rows: "n", Width: 2, Weights: one},
			{Name: "values", Of: "runs", Rows: "n", Width: 2, Weights: rows},
		}
		return c
	},
	runtime.PanelBlock: func(runtime.KernelKey) contract {
		c := runsContract("MR*columns", 1)
		c.sums = []verify.Sum{{Name: "columns", Of: "runs", Rows: "n", Width: 2, Weights: []int64{1}}}
		return c
	},
	runtime.PanelStep: func(k runtime.KernelKey) contract {
		weights := []int64{int64(k.MR)} // in step, then row by row
		for range k.MR {
			weights = append(weights, 1)
		}
		c := runsContract("columns", len(weights))
		c.sums = []verify.Sum{{Name: "columns", Of: "runs", Rows: "n", Width: 2, Weights: weights}}
		return c
	},
	runtime.PanelDense: func(runtime.KernelKey) contract {
		return panelContract(contract{
			memory:   memory{"x": {Rows: "kb", Stride: "ldx", Len: "4*T"}, "w": {Len: "4*MR*kb*n"}, "ahead": nothing},
			integers: integers{"kb": atLeastOne, "ldx": stride, "lda": stride},
		})
	},
	runtime.LanesDense: func(runtime.KernelKey) contract {
		return lanesContract(contract{
			memory: memory{"w": {Len: "4*S*n*k"}, "meta": nothing, "cnt": nothing},
		})
	},
	runtime.LanesList: func(runtime.KernelKey) contract {
		return lanesContract(contract{
			memory: memory{"w": {Len: "4*S*entries"}, "meta": {Len: "2*entries", Elem: 2, Below: "k"}, "cnt": counts},
			sums:   []verify.Sum{entries},
		})
	},
	runtime.LanesNM: func(k runtime.KernelKey) contract {
		indices := 32 / max(1, bits.Len8(k.M)-1) // a word
		c := contract{
			memory:   memory{"w": {Len: "4*S*n*groups*N"}, "meta": {Len: "4*S*n*words"}, "cnt": nothing},
			integers: integers{"k": {Value: "M*groups"}},
			symbols:  integers{"groups": atLeastOne},
			facts:    []string{"0x7fffffff - k"}, // the longest extent of a file
			steps:    []string{"4*S*words", "4*S*N*groups"},
		}
		if per := indices / int(k.N); per > 0 { // groups a word, the last word of a lane perhaps fewer
			c.constant = map[string]int{"per": per}
			c.symbols["words"] = verify.Integer{Value: "(groups + per - 1) / per"}
		} else {
			c.constant = map[string]int{"each": (int(k.N) + indices - 1) / indices}
			c.symbols["words"] = verify.Integer{Value: "groups * each"}
		}
		return lanesContract(c)
	},
	runtime.LanesMask: func(k runtime.KernelKey) contract {
		return lanesContract(contract{
			memory:   memory{"w": {Len: "4*(HEAD + stored + TAIL)"}, "meta": {Len: "n*k*bytes"}, "cnt": counts},
			constant: map[string]int{"bytes": int(k.S) / 8, "HEAD": sgp.MaskHead, "TAIL": sgp.MaskTail},
			sums: []verify.Sum{
				{Name: "stored", Of: "meta", Rows: "n*k*bytes", Bits: true},
				{Name: "values", Of: "cnt", Rows: "n", Width: 4, Weights: []int64{1}, Same: "stored", Each: "k*bytes"},
			},
		})
	},
	runtime.LanesRow: func(runtime.KernelKey) contract {
		return lanesContract(contract{
			memory: memory{
				"w": {Len: "32*groups"}, "meta": {Len: "8*groups", Elem: 1}, "cnt": {Len: "4*S*n", Elem: 4},
			},
			sums:  []verify.Sum{{Name: "groups", Of: "cnt", Rows: "S*n", Width: 4, Weights: []int64{1}}},
			walks: []verify.Walk{{Of: "meta", Rows: "groups", Period: 8, One: true, Carry: 7, Below: "k"}},
		})
	},
	runtime.LanesWindow: func(runtime.KernelKey) contract {
		const meta = sgp.WindowMeta
		return lanesContract(contract{
			memory: memory{
				"w": {Len: "4*W*groups"}, "meta": {Len: "META*groups", Elem: 1}, "cnt": {Len: "8*n", Elem: 4},
			},
			constant: map[string]int{"W": sgp.WindowW, "META": meta, "C": sgp.WindowColumns},
			sums:     []verify.Sum{{Name: "groups", Of: "cnt", Rows: "2*n", Width: 4, Weights: []int64{1}}},
			walks:    []verify.Walk{{Of: "meta", Rows: "groups", Period: meta, From: meta - sgp.WindowSteps, One: true, Carry: meta - 1, Below: "k - C + 1"}},
		})
	},
	runtime.DeltaTile: func(runtime.KernelKey) contract {
		return deltaContract(contract{
			memory: memory{
				"y": {Rows: "S*n", Stride: "ldy", Len: "4*T", Write: true}, "x": {Len: "4*T*k", Align: 64},
				"bias": {Len: "4*S*n"},
			},
			integers: integers{"n": atLeastOne, "ldy": stride},
			symbols:  integers{"k": atLeastOne},
		})
	},
	runtime.CopyTile: func(runtime.KernelKey) contract {
		return tileContract(contract{memory: memory{
			"tile": {Rows: "rows", Stride: "4*t", Len: "4*t", Write: true, Align: 64}, "m": {Rows: "rows", Stride: "ld", Len: "4*cols"},
		}})
	},
	runtime.TransTile: func(runtime.KernelKey) contract {
		// Rows up to the next multiple of 16 are the kernel's to write.
		return squaresContract(memory{
			"tile": {Rows: "16*squares", Stride: "4*t", Len: "4*t", Write: true, Cover: "rows", Align: 64},
			"m":    {Rows: "cols", Stride: "ld", Len: "4*rows"},
		})
	},
	runtime.UntransTile: func(runtime.KernelKey) contract {
		// Rows up to the next multiple of 16 are the kernel's to read.
		return squaresContract(memory{
			"tile": {Len: "4*t*16*squares", Align: 64}, "m": {Rows: "cols", Stride: "ld", Len: "4*rows", Write: true},
		})
	},
	runtime.MapGelu:     mapContract,
	runtime.MapGeluTanh: mapContract,
	runtime.MapSilu:     mapContract,
	runtime.MapSigmoid:  mapContract,
	runtime.MapTanh:     mapContract,
}

// panelContract adds what the panel ops share. outs is the rows that y and sums
// have, which may be the same memory; rows names each at most once.
func panelContract(c contract) contract {
	c.memory.add(memory{
		"y":    {Rows: "outs", Stride: "ldy", Len: "4*T", Write: true, Cover: "MR*n", By: "rows"},
		"sums": {Rows: "outs", Stride: "lds", Len: "4*T"},
		"rows": {Len: "4*MR*n", Elem: 4, Below: "outs"},
		"bias": {Len: "4*MR*n", Optional: true},
	})
	c.integers.add(integers{"n": atLeastOne, "ldy": stride, "lds": stride})
	if c.symbols == nil {
		c.symbols = integers{}
	}
	c.symbols.add(integers{"outs": atLeastOne})
	return c
}

// runsContract is that of panels whose columns are listed, in runs counts a
// panel. k is the columns of the K-block.
func runsContract(values string, runs int) contract {
	return panelContract(contract{
		memory: memory{
			"x": {Rows: "k", Stride: "ldx", Len: "4*T"}, "w": {Len: "4*" + values},
			// Some indices behind the last may be read, and mean nothing.
			"idx":  {Len: "2*(columns + AHEAD)", Elem: 2, Below: "k", Checked: "2*columns"},
			"runs": {Len: "2*sets*n", Elem: 2}, "ahead": nothing,
		},
		integers: integers{"ldx": stride, "lda": stride},
		symbols:  integers{"k": atLeastOne},
		constant: map[string]int{"sets": runs, "AHEAD": sgp.IdxAhead},
	})
}

// lanesContract adds what the lanes ops share.
func lanesContract(c contract) contract {
	c.memory.add(memory{
		"y":    {Rows: "NB", Stride: "ldy", Len: "4*S*n", Write: true},
		"x":    {Rows: "NB", Stride: "ldx", Len: "4*k"},
		"bias": {Len: "4*S*n"},
	})
	if c.integers == nil {
		c.integers = integers{}
	}
	c.integers.add(integers{"n": atLeastOne, "k": atLeastOne, "ldx": stride, "ldy": stride})
	return c
}

// deltaContract adds the streams of byte deltas: those of a lane, summed up from
// the beginning of its slab, are columns.
func deltaContract(c contract) contract {
	if c.memory == nil {
		c.memory = memory{}
	}
	c.memory.add(memory{"w": {Len: "4*S*entries"}, "meta": {Len: "S*entries", Elem: 1}, "cnt": counts})
	c.sums = []verify.Sum{entries}
	c.walks = []verify.Walk{{Of: "meta", Rows: "entries", Period: 8, Below: "k"}}
	return c
}

func tileContract(c contract) contract {
	c.integers = integers{"t": {Value: "8*eighths"}, "rows": atLeastOne, "cols": atLeastOne, "ld": stride}
	if c.symbols == nil {
		c.symbols = integers{}
	}
	c.symbols.add(integers{"eighths": atLeastOne})
	c.facts = append(c.facts, "t - cols")
	return c
}

// squaresContract is that of the tile moves that transpose: the tile has room for
// whole squares of 16 rows.
func squaresContract(m memory) contract {
	return tileContract(contract{
		memory:  m,
		symbols: integers{"squares": atLeastOne},
		facts:   []string{"16*squares - rows", "rows + 15 - 16*squares"},
	})
}

func mapContract(runtime.KernelKey) contract {
	return contract{
		memory:   memory{"y": {Len: "4*n", Write: true}},
		integers: integers{"n": atLeastOne},
	}
}

// add adds what m does not have yet.
func (m memory) add(more memory) {
	for name, r := range more {
		if _, ok := m[name]; !ok {
			m[name] = r
		}
	}
}

func (m integers) add(more integers) {
	for name, i := range more {
		if _, ok := m[name]; !ok {
			m[name] = i
		}
	}
}

// Contract is what package verify proves of the kernels of key k.
func Contract(k runtime.KernelKey) (*verify.Contract, error) {
	f, ok := families[k.Op]
	of, ok2 := contracts[k.Op]
	if !ok || !ok2 {
		return nil, fmt.Errorf("codegen: %s has no contract", k.Name())
	}
	c := of(k)
	out := &verify.Contract{
		Const: map[string]int64{
			"MR": int64(k.MR), "T": int64(k.T), "S": int64(k.S), "NB": int64(max(1, k.NB)), "N": int64(k.N), "M": int64(k.M),
		},
		Facts: c.facts, Sums: c.sums, Walks: c.walks, Steps: c.steps,
	}
	for name, v := range c.constant {
		out.Const[name] = int64(v)
	}
	for _, name := range sortedKeys(c.symbols) {
		i := c.symbols[name]
		i.Name = name
		out.Symbols = append(out.Symbols, i)
	}
	for _, a := range f.args {
		g := verify.Arg{Name: a.Name, Size: 8}
		if m, ok := c.memory[a.Name]; ok {
			g.Memory = &m
		}
		if i, ok := c.integers[a.Name]; ok {
			g.Integer = &i
		}
		if a.Type == "float32" {
			g.Size = 4
		}
		out.Args = append(out.Args, g)
	}
	return out, nil
}

func sortedKeys(m integers) []string { return slices.Sorted(maps.Keys(m)) }
