package codegen

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// unpacker reads a packed form as the loops of runtime/kernel.go do, and writes
// down which weight multiplies which element of the activations.
type unpacker struct {
	t    *testing.T
	m    patterns.Matrix
	seen [][]bool
	cols []uint32
	ends []int // row by row: the last column that was read, plus 1
}

func newUnpacker(t *testing.T, rows, cols int, kept []uint32) *unpacker {
	u := &unpacker{t: t, m: patterns.NewMatrix(rows, cols), cols: kept, ends: make([]int, rows)}
	for range rows {
		u.seen = append(u.seen, make([]bool, cols))
	}
	return u
}

// put says that w multiplies packed column k in output row r. A zero weight is
// padding where the format cannot leave a place empty; it may repeat a column.
func (u *unpacker) put(r, k int, w float32) {
	c := k
	if u.cols != nil {
		require.Less(u.t, k, len(u.cols))
		c = int(u.cols[k])
	}
	require.Less(u.t, c, u.m.Cols)
	if w == 0 {
		return
	}
	require.False(u.t, u.seen[r][c], "element [%d, %d] is stored twice", r, c)
	u.seen[r][c] = true
	u.m.Data[r*u.m.Stride+c] = w
}

// next is put for formats that walk each row's columns in ascending order.
func (u *unpacker) next(r, k int, w float32) {
	if w != 0 {
		require.GreaterOrEqual(u.t, k, u.ends[r], "columns of row %d do not ascend", r)
		u.ends[r] = k + 1
	}
	u.put(r, k, w)
}

// take cuts n elements off a stream.
func take[T any](t *testing.T, s *[]T, n int) []T {
	require.LessOrEqual(t, n, len(*s), "the stream is too short")
	v := (*s)[:n]
	*s = (*s)[n:]
	return v
}

func (u *unpacker) panel(p *sgp.Panel) {
	k := u.m.Cols
	if p.Cols != nil {
		k = len(p.Cols)
	}
	for _, s := range p.Segments {
		w, idx, runs := s.W, s.Idx, s.Runs
		for k0 := 0; k0 < k; k0 += p.KB {
			for panel := 0; panel < len(s.Rows); panel += s.MR {
				rows := s.Rows[panel : panel+s.MR]
				if s.Kind == sgp.Dense {
					for c := range min(p.KB, k-k0) {
						for i, v := range take(u.t, &w, s.MR) {
							u.next(int(rows[i]), k0+c, v)
						}
					}
					continue
				}
				if s.Kind == sgp.Step {
					u.steps(s.MR, rows, k0, min(p.KB, k-k0), &w, &idx, &runs)
					continue
				}
				first := uint(1)
				if s.Kind == sgp.Block {
					first = 1<<s.MR - 1
				}
				for set := first; set < 1<<s.MR; set++ {
					last := -1
					for _, c := range take(u.t, &idx, int(take(u.t, &runs, 1)[0])) {
						require.Greater(u.t, int(c), last, "columns of a run do not ascend")
						last = int(c)
						require.Less(u.t, int(c), min(p.KB, k-k0))
						for left := set; left != 0; left &= left - 1 {
							u.put(int(rows[bits.TrailingZeros(left)]), k0+int(c), take(u.t, &w, 1)[0])
						}
					}
				}
			}
		}
		require.Empty(u.t, w)
		if s.Kind != sgp.Dense {
			take(u.t, &idx, sgp.IdxAhead)
		}
		require.Empty(u.t, idx)
		require.Empty(u.t, runs)
	}
}

func (u *unpacker) lanes(l *sgp.Lanes) {
	k, rows := u.m.Cols, u.m.Rows
	if l.Cols != nil {
		k = len(l.Cols)
	}
	if l.Rows != nil {
		rows = len(l.Rows)
	}
	w, meta, cnt := l.W, l.Meta, l.Cnt
	if l.Kind == sgp.LanesMask {
		take(u.t, &w, sgp.MaskHead)
	}
	for j := range l.Slabs(u.m.Rows) {
		put := func(lane, k int, v float32) {
			switch r := j*l.S + lane; {
			case r >= rows:
				require.Zero(u.t, v, "a lane beyond the last row has a weight")
			case l.Rows != nil:
				u.next(int(l.Rows[r]), k, v)
			default:
				u.next(r, k, v)
			}
		}
		switch l.Kind {
		case sgp.LanesDense:
			for c := range k {
				for lane, v := range take(u.t, &w, l.S) {
					put(lane, c, v)
				}
			}
		case sgp.LanesList:
			for range take(u.t, &cnt, 1)[0] {
				c := int(binary.LittleEndian.Uint16(take(u.t, &meta, 2)))
				for lane, v := range take(u.t, &w, l.S) {
					put(lane, c, v)
				}
			}
		case sgp.LanesMask:
			stored := take(u.t, &cnt, 1)[0]
			before := len(w)
			for c := range k {
				mask := take(u.t, &meta, l.S/8)
				for lane := range l.S {
					if mask[lane/8]>>(lane%8)&1 != 0 {
						put(lane, c, take(u.t, &w, 1)[0])
					}
				}
			}
			require.EqualValues(u.t, stored, before-len(w), "the values of a slab")
		case sgp.LanesNM:
			b := bits.Len(uint(l.M)) - 1
			per := 32 / b
			words := take(u.t, &meta, sgp.NMWords(k, l.N, l.M)*l.S*4)
			for g := range k / l.M {
				for q := range l.N {
					word, bit := g*((l.N+per-1)/per)+q/per, q%per*b
					if l.N <= per {
						e := per / l.N
						word, bit = g/e, (g%e*l.N+q)*b
					}
					for lane, v := range take(u.t, &w, l.S) {
						x := binary.LittleEndian.Uint32(words[(word*l.S+lane)*4:])
						put(lane, g*l.M+int(x>>bit)%l.M, v)
					}
				}
			}
		case sgp.LanesRow:
			for lane, groups := range take(u.t, &cnt, l.S) {
				at := 0
				for range groups {
					index := take(u.t, &meta, 8)
					for i, v := range take(u.t, &w, 8) {
						require.Less(u.t, at+int(index[i]), k, "an index leads beyond the activations")
						put(lane, at+int(index[i]), v)
					}
					at += int(index[7])
				}
			}
		case sgp.LanesWindow:
			for unit, groups := range take(u.t, &cnt, l.S/8) {
				at := 0
				for range groups {
					group := take(u.t, &meta, sgp.WindowMeta)
					values := take(u.t, &w, sgp.WindowW)
					steps := group[sgp.WindowMeta-sgp.WindowSteps:]
					for i, v := range values {
						begin := at + int(steps[i/8])
						require.LessOrEqual(u.t, begin+sgp.WindowColumns, k, "a window ends beyond the activations")
						p := int(binary.LittleEndian.Uint32(group[i%8*4:])) >> (i / 8 * 4) & 15
						if p == 8 {
							require.Equal(u.t, math.Float32bits(negZero), math.Float32bits(v), "a step that stores nothing")
							continue
						}
						if p > 8 {
							p--
						}
						put(8*unit+i%8, begin+p, v)
					}
					at += int(steps[7])
				}
			}
		case sgp.DeltaTile:
			at := make([]int, l.S)
			for range take(u.t, &cnt, 1)[0] {
				deltas := take(u.t, &meta, l.S)
				for lane, v := range take(u.t, &w, l.S) {
					at[lane] += int(deltas[lane])
					require.Less(u.t, at[lane], k, "a delta leads beyond the activations")
					put(lane, at[lane], v)
				}
			}
		}
	}
	if l.Kind == sgp.LanesMask {
		require.Len(u.t, w, sgp.MaskTail, "the padding that a vector load may read")
		w = nil
	}
	require.Empty(u.t, w)
	require.Empty(u.t, meta)
	require.Empty(u.t, cnt)
}

// randomMask draws a mask that configuration c can pack: any elements, or for
// N:M at most N of each M.
func randomMask(rng *rand.Rand, c Config, rows, cols int) *patterns.Mask {
	mask := patterns.NewMask(rows, cols)
	density := []float64{0, 0.02, 0.1, 0.5, 1}[rng.IntN(5)]
	deadCols := rng.IntN(2) == 0
	for r := range rows {
		if rng.IntN(8) == 0 {
			continue // a row that keeps nothing
		}
		if c.Op == runtime.LanesNM {
			for g := 0; g < cols; g += c.M {
				for _, i := range rng.Perm(c.M)[:rng.IntN(c.N+1)] {
					mask.Set(r, g+i)
				}
			}
			continue
		}
		for col := range cols {
			if rng.Float64() < density && !(deadCols && col%3 == 1) {
				mask.Set(r, col)
			}
		}
	}
	return mask
}

// TestUnpack: what a packed form says, read by the contract of the kernels, is
// the masked matrix, whatever the mask and the shape; and the packed file's
// validator agrees.
func TestUnpack(t *testing.T) {
	stored := map[runtime.KernelOp]int{}
	configs, err := EveryConfig()
	require.NoError(t, err)
	for i, c := range configs {
		t.Run(c.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			tries := 10
			if c.Op == runtime.LanesNM { // there are many of them
				tries = 4
			}
			for range tries {
				rows, cols := 1+rng.IntN(70), 1+rng.IntN(150)
				if c.oneToken() || c.Op == runtime.DeltaTile {
					cols *= 8 // gaps above 255 columns
				}
				if c.Op == runtime.LanesNM {
					cols = (1 + rng.IntN(160/c.M)) * c.M
				}
				c := c
				if c.Op != runtime.LanesNM {
					c.Compact = rng.IntN(2) == 0
				}
				if c.Panel() {
					c.KB = 1 + rng.IntN(2*cols)
				}
				m := patterns.Matrix{Rows: rows, Cols: cols, Stride: cols + rng.IntN(4)}
				m.Data = make([]float32, rows*m.Stride)
				for i := range m.Data {
					m.Data[i] = float32(rng.NormFloat64())
					if rng.IntN(40) == 0 {
						m.Data[i] = []float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1)), 0x1p-149}[rng.IntN(5)]
					}
				}
				mask := randomMask(rng, c, rows, cols)
				stored[c.Op] += checkPacked(t, c, m, mask)
			}
		})
	}
	for op := range lanesKinds {
		require.NotZero(t, stored[op], op)
	}
	for op := range panelKinds {
		require.NotZero(t, stored[op], op)
	}
}

// checkPacked packs what mask keeps of m and reads it back; it gives the number
// of elements.
func checkPacked(t *testing.T, c Config, m patterns.Matrix, mask *patterns.Mask) (stored int) {
	v, err := c.Pack(m, mask)
	if c.Op == runtime.LanesWindow && newOperand(m, mask, c.Compact).k < sgp.WindowColumns {
		require.Error(t, err)
		return 0
	}
	require.NoError(t, err)
	what := fmt.Sprintf("%v, [%d, %d]", c, m.Rows, m.Cols)
	validVariant(t, v, m.Rows, m.Cols, what)
	var kept []uint32
	if v.Panel != nil {
		kept = v.Panel.Cols
	} else {
		kept = v.Lanes.Cols
	}
	if !c.Compact {
		require.Nil(t, kept, what)
	}
	u := newUnpacker(t, m.Rows, m.Cols, kept)
	if v.Panel != nil {
		u.panel(v.Panel)
	} else {
		u.lanes(v.Lanes)
	}
	for r := range m.Rows {
		for col := range m.Cols {
			want := float32(0)
			if mask.At(r, col) {
				want = m.Data[r*m.Stride+col]
				stored++
			}
			got := u.m.Data[r*m.Cols+col]
			if got != want && !(got != got && want != want) {
				require.Failf(t, "another matrix", "%s: element [%d, %d] is %v, want %v", what, r, col, got, want)
			}
		}
	}
	return stored
}

// validVariant checks v as the packed file's reader would.
func validVariant(t *testing.T, v sgp.Variant, out, in int, what string) {
	v.BatchMin, v.BatchMax = 1, 4
	model := &sgp.Model{Layers: []sgp.Layer{{
		Name: "l", BatchMin: 1, BatchMax: 4,
		Values: []sgp.Value{{Name: "x", Dims: []int{0, in}}, {Name: "y", Dims: []int{0, out}}},
		Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: &sgp.Linear{Out: out, In: in, Variants: []sgp.Variant{v}}}},
	}}}
	require.NoError(t, model.Validate(), what)
}

// TestMatrixWithoutWeights: pruned to nothing, a layer is act(bias). Once its
// lanes forms had no row, which the packed file refuses.
func TestMatrixWithoutWeights(t *testing.T) {
	for _, c := range someConfigs() {
		for _, compact := range []bool{false, true} {
			if c.Compact = compact; compact && c.Op == runtime.LanesNM {
				continue
			}
			v, err := c.Pack(patterns.NewMatrix(20, 64), patterns.NewMask(20, 64))
			if compact && c.Op == runtime.LanesWindow { // the one column left holds no window
				require.ErrorContains(t, err, "fewer than a window has")
				continue
			}
			require.NoError(t, err)
			validVariant(t, v, 20, 64, c.String())
		}
	}
}

func TestPackRefuses(t *testing.T) {
	m := patterns.NewMatrix(4, 40)
	full := patterns.NewMask(4, 40)
	for r := range 4 {
		full.SetRange(r, 0, 40)
	}
	for _, c := range []struct {
		config Config
		mask   *patterns.Mask
		want   string
	}{
		{Config{Op: runtime.LanesDense, S: 16}, patterns.NewMask(4, 39), "mask is [4, 39], matrix [4, 40]"},
		{Config{Op: runtime.PanelDense, MR: 6}, full, "K-block of 0 columns"},
		{Config{Op: runtime.PanelDense, MR: 6, KB: 1 << 16}, full, "K-block of 65536 columns"},
		{Config{Op: runtime.LanesNM, S: 16, N: 2, M: 4}, full, "keeps more than 2 of the 4 columns"},
		{Config{Op: runtime.LanesNM, S: 16, N: 2, M: 16}, full, "2:16 over 40 columns has no packed form"},
		{Config{Op: runtime.CopyTile, S: 16}, full, "no packing"},
	} {
		_, err := c.config.Pack(m, c.mask)
		require.ErrorContains(t, err, c.want)
	}
}

// steps takes one panel of one K-block of Step.
func (u *unpacker) steps(mr int, rows []uint32, k0, kb int, w *[]float32, idx, runs *[]uint16) {
	last := make([]int, mr)
	for i := range last {
		last[i] = -1
	}
	put := func(i int) {
		c := int(take(u.t, idx, 1)[0])
		require.Greater(u.t, c, last[i], "columns of a row do not ascend")
		require.Less(u.t, c, kb)
		last[i] = c
		u.put(int(rows[i]), k0+c, take(u.t, w, 1)[0])
	}
	panel := take(u.t, runs, 1+mr)
	for range panel[0] {
		for i := range mr {
			put(i)
		}
	}
	alone := 0
	for i, n := range panel[1:] {
		if n == 0 {
			alone++
		}
		for range n {
			put(i)
		}
	}
	require.Positive(u.t, alone, "a step that is none")
}
