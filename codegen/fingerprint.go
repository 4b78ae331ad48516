package codegen

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Fingerprint identifies the packers of this version: a hash over what they
// make of a fixed pseudo-random matrix. It changes by itself when a layout does,
// so that a packed file and kernels that do not belong together are refused.
func Fingerprint() uint64 { return fingerprint() }

// fingerprint is computed once: it never changes, and every packed model has it.
var fingerprint = sync.OnceValue(func() uint64 {
	m, mask := packSample()
	h := fnv.New64a()
	for _, c := range []Config{
		{Op: runtime.PanelGrouped, MR: 4, KB: 40}, {Op: runtime.PanelBlock, MR: 4, KB: 40}, {Op: runtime.PanelStep, MR: 2, KB: 40}, {Op: runtime.PanelDense, MR: 6, KB: 40},
		{Op: runtime.LanesDense, S: 16}, {Op: runtime.LanesList, S: 16}, {Op: runtime.LanesNM, S: 16, N: 2, M: 4},
		{Op: runtime.LanesMask, S: 32}, {Op: runtime.LanesRow, S: 8}, {Op: runtime.LanesWindow, S: 16},
	} {
		v, err := c.Pack(m, mask)
		if err != nil {
			// The input is fixed and legal for every packer.
			panic("codegen: fingerprint: " + err.Error())
		}
		hashVariant(h, v)
	}
	return h.Sum64()
})

// PackingHash identifies what c's packer makes of the same matrix, or, where it
// cannot pack that, all packers.
func (c Config) PackingHash() uint64 {
	m, mask := packSample()
	v, err := c.Pack(m, mask)
	if err != nil {
		return Fingerprint()
	}
	h := fnv.New64a()
	hashVariant(h, v)
	return h.Sum64()
}

// packSample is a fixed pseudo-random matrix that every packer takes.
func packSample() (patterns.Matrix, *patterns.Mask) {
	const rows, cols = 37, 96
	rng := rand.New(rand.NewPCG(2026, 11))
	m := patterns.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
	mask := patterns.NewMask(rows, cols)
	for r := range rows {
		for g := 0; g < cols; g += 4 {
			for _, c := range rng.Perm(4)[:2] { // every packer takes 2:4
				m.Data[r*cols+g+c] = rng.Float32() - 0.5
				mask.Set(r, g+c)
			}
		}
	}
	return m, mask
}

func hashVariant(h io.Writer, v sgp.Variant) {
	put := func(data any) { _ = binary.Write(h, binary.LittleEndian, data) } // a hash takes every write
	if v.Panel != nil {
		put(int64(v.Panel.KB))
		for _, s := range v.Panel.Segments {
			put([]int64{int64(s.Kind), int64(s.MR)})
			put(s.Rows)
			put(s.W)
			put(s.Idx)
			put(s.Runs)
		}
	}
	if l := v.Lanes; l != nil {
		put([]int64{int64(l.Kind), int64(l.S), int64(l.N), int64(l.M)})
		put(l.W)
		put(l.Meta)
		put(l.Cnt)
	}
}
