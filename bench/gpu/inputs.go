package main

import (
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

var formats = map[gpu.DType]narrow.Format{
	gpu.BF16: narrow.BF16, gpu.F16: narrow.F16, gpu.E4M3: narrow.E4M3, gpu.E5M2: narrow.E5M2, gpu.S8: narrow.S8,
}

// parallel calls f for every i below n on all processors.
func parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// randomMatrix is a [rows, cols] matrix of codes of normal numbers, of deviation
// 1 for floats and 20 for s8, so that nothing saturates often.
func randomMatrix(seed uint64, rows, cols int, t gpu.DType) layout.Matrix {
	m := layout.NewMatrix(rows, cols, t.Size())
	scale := float32(1)
	if t == gpu.S8 {
		scale = 20
	}
	parallel(rows, func(r int) {
		rng := rand.New(rand.NewPCG(seed, uint64(r)))
		row := m.Row(r)
		for c := range cols {
			put(row, c, t, scale*float32(rng.NormFloat64()))
		}
	})
	return m
}

// put encodes v as element c of a row.
func put(row []byte, c int, t gpu.DType, v float32) {
	code := formats[t].Encode(v)
	if t.Size() == 1 {
		row[c] = byte(code)
		return
	}
	row[2*c], row[2*c+1] = byte(code), byte(code>>8)
}

// get is the value of element c of a row.
func get(row []byte, c int, t gpu.DType) float32 {
	if t.Size() == 1 {
		return formats[t].Decode(uint16(row[c]))
	}
	return formats[t].Decode(uint16(row[2*c]) | uint16(row[2*c+1])<<8)
}

// prune24 zeroes the two smallest of every four along a row, ties to the lowest
// index, and returns what is kept. A few groups lose one or two more, so that
// kernels see groups that are not full.
func prune24(seed uint64, m layout.Matrix, t gpu.DType) *patterns.Mask {
	mask := patterns.NewMask(m.Rows, m.Cols)
	parallel(m.Rows, func(r int) {
		rng := rand.New(rand.NewPCG(seed, uint64(r)))
		row := m.Row(r)
		var v [4]float32
		for g := 0; g+4 <= m.Cols; g += 4 {
			for i := range v {
				v[i] = max(get(row, g+i, t), -get(row, g+i, t))
			}
			keep := 2
			if rng.IntN(64) == 0 {
				keep = rng.IntN(2)
			}
			for i := range v {
				larger := 0
				for j := range v {
					if v[j] > v[i] || v[j] == v[i] && j < i {
						larger++
					}
				}
				if larger < keep {
					mask.Set(r, g+i)
				} else {
					put(row, g+i, t, 0)
				}
			}
		}
	})
	return mask
}

// pruneBlocks drops whole 128 by 128 blocks, all but about a share of them, and of
// the others what mask drops; nil keeps all.
func pruneBlocks(seed uint64, m layout.Matrix, mask *patterns.Mask, share float64) *patterns.Mask {
	const side = 128
	kept := patterns.NewMask(m.Rows, m.Cols)
	for r0 := 0; r0 < m.Rows; r0 += side {
		rng := rand.New(rand.NewPCG(seed, uint64(r0)))
		for c0 := 0; c0 < m.Cols; c0 += side {
			keep := rng.Float64() < share || r0 == 0 && c0 == 0 // not all zero
			for r := r0; r < min(r0+side, m.Rows); r++ {
				hi := min(c0+side, m.Cols)
				if keep {
					kept.SetRange(r, c0, hi)
				} else {
					clear(m.Row(r)[c0*m.Size : hi*m.Size])
				}
			}
		}
	}
	if mask != nil {
		kept.And(mask)
	}
	return kept
}
