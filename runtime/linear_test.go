package runtime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// testKernels is a set with everything the tests' packings need.
func testKernels() Set {
	var keys []KernelKey
	for _, t := range []uint8{8, 16, 24} {
		for _, op := range []KernelOp{PanelGrouped, PanelBlock, PanelStep, PanelDense} {
			keys = append(keys, KernelKey{Op: op, MR: 1, T: t}, KernelKey{Op: op, MR: 3, T: t}, KernelKey{Op: op, MR: 4, T: t})
		}
		keys = append(keys, KernelKey{Op: DeltaTile, S: 8, T: t})
	}
	for _, nb := range []uint8{1, 2, 4, 8} {
		for _, op := range []KernelOp{LanesDense, LanesList, LanesMask} {
			keys = append(keys, KernelKey{Op: op, S: 8, NB: nb}, KernelKey{Op: op, S: 16, NB: nb})
		}
		for _, nm := range [][2]uint8{{2, 4}, {1, 4}, {1, 16}, {5, 32}, {7, 32}} {
			keys = append(keys, KernelKey{Op: LanesNM, S: 8, NB: nb, N: nm[0], M: nm[1]})
		}
	}
	keys = append(keys, KernelKey{Op: LanesRow, S: 8}, KernelKey{Op: LanesWindow, S: 16}, KernelKey{Op: CopyTile}, KernelKey{Op: TransTile}, KernelKey{Op: UntransTile})
	return genericSet(keys...)
}

// openModel writes m and opens it with the test kernels.
func openModel(t testing.TB, m *sgp.Model, sets ...Set) *Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.sgp")
	require.NoError(t, sgp.WriteFile(path, m))
	if sets == nil {
		sets = []Set{testKernels()}
	}
	opened, err := Open(path, sets...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	return opened
}

// linearLayer is a layer of one linear op.
func linearLayer(lin *sgp.Linear, featureMajor bool, batchMax int) *sgp.Model {
	dims := func(n int) []int {
		if featureMajor {
			return []int{n, 0}
		}
		return []int{0, n}
	}
	return &sgp.Model{Layers: []sgp.Layer{{
		Name: "l", BatchMin: 1, BatchMax: batchMax,
		Values: []sgp.Value{{Name: "x", Dims: dims(lin.In)}, {Name: "y", Dims: dims(lin.Out)}},
		Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: lin}},
	}}}
}

// reference is y and the bound of its error, in float64, for x in either layout.
func reference(d dense, lin *sgp.Linear, x []float32, featureMajor bool, batch int) (y, bound []float64) {
	y, bound = make([]float64, d.out*batch), make([]float64, d.out*batch)
	const u = 0x1p-24
	gamma := 2 * float64(d.in+2) * u
	for b := range batch {
		for r := range d.out {
			sum, abs := 0.0, 0.0
			if lin.Bias != nil {
				sum, abs = float64(lin.Bias[r]), math.Abs(float64(lin.Bias[r]))
			}
			for c := range d.in {
				xi := b*d.in + c
				if featureMajor {
					xi = c*batch + b
				}
				p := float64(d.at(r, c)) * float64(x[xi])
				sum, abs = sum+p, abs+math.Abs(p)
			}
			i := b*d.out + r
			if featureMajor {
				i = r*batch + b
			}
			y[i], bound[i] = actReference(lin, sum), 2*gamma*abs
		}
	}
	return y, bound
}

func actReference(lin *sgp.Linear, v float64) float64 {
	switch lin.Act {
	case sgp.Relu:
		return max(v, 0)
	case sgp.Clamp:
		return min(max(v, float64(lin.Lo)), float64(lin.Hi))
	case sgp.Gelu:
		return 0.5 * v * (1 + math.Erf(v/math.Sqrt2))
	}
	return v
}

// packing is one form of a test.
type packing struct {
	name string
	make func(rng *rand.Rand) (dense, *sgp.Variant)
}

// packings covers every form, with K-blocks, kept rows and columns, partial
// slabs and rows in another order.
func packings() []packing {
	panel := func(kind sgp.SegmentKind, mr, kb int, out, in int, density float64, compact bool) packing {
		return packing{fmt.Sprintf("panel%d/mr%d/kb%d/%dx%d/%v", kind, mr, kb, out, in, compact), func(rng *rand.Rand) (dense, *sgp.Variant) {
			d := randomDense(rng, out, in, density)
			rows, cols := d.kept()
			if !compact {
				cols = nil
			}
			rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			return d, &sgp.Variant{Panel: packPanel(d, kind, mr, kb, rows, cols)}
		}}
	}
	lanes := func(kind sgp.LanesKind, s, n, m, out, in int, density float64, compact bool) packing {
		return packing{fmt.Sprintf("lanes%d/s%d/%d:%d/%dx%d/%v", kind, s, n, m, out, in, compact), func(rng *rand.Rand) (dense, *sgp.Variant) {
			d := randomDense(rng, out, in, density)
			if n != 0 {
				d = randomNM(rng, out, in, n, m)
			}
			var rows, cols []uint32
			if compact {
				rows, cols = d.kept()
				rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			}
			return d, &sgp.Variant{Lanes: packLanes(d, kind, s, n, m, rows, cols)}
		}}
	}
	return []packing{
		panel(sgp.Grouped, 4, 16, 22, 40, 0.4, false),
		panel(sgp.Grouped, 3, 7, 13, 40, 0.06, true),
		panel(sgp.Block, 4, 64, 32, 40, 0.2, false),
		panel(sgp.Step, 4, 16, 23, 40, 0.4, false),
		panel(sgp.Step, 3, 7, 13, 40, 0.06, true),
		panel(sgp.Dense, 4, 16, 19, 33, 1, false),
		panel(sgp.Dense, 3, 50, 9, 33, 0.04, true),
		panel(sgp.Dense, 4, 16, 900, 8, 1, false), // more than callMoves in a tile
		panel(sgp.Grouped, 4, 16, 5, 4, 0, false),
		lanes(sgp.LanesDense, 8, 0, 0, 21, 33, 1, false),
		lanes(sgp.LanesDense, 16, 0, 0, 48, 33, 0.05, true),
		lanes(sgp.LanesList, 8, 0, 0, 21, 300, 0.05, false),
		lanes(sgp.LanesList, 16, 0, 0, 64, 40, 0.02, true),
		lanes(sgp.LanesNM, 8, 2, 4, 24, 40, 0, false),
		lanes(sgp.LanesNM, 8, 1, 4, 21, 36, 0, false),
		lanes(sgp.LanesNM, 8, 1, 16, 8, 144, 0, false),
		lanes(sgp.LanesNM, 8, 5, 32, 16, 96, 0, false),
		lanes(sgp.LanesNM, 8, 7, 32, 17, 96, 0, false),
		lanes(sgp.LanesMask, 8, 0, 0, 24, 33, 0.4, false),
		lanes(sgp.LanesMask, 16, 0, 0, 41, 33, 0.03, true),
		lanes(sgp.LanesRow, 8, 0, 0, 24, 700, 0.01, false),
		lanes(sgp.LanesRow, 8, 0, 0, 29, 60, 0.03, true),
		lanes(sgp.LanesWindow, 16, 0, 0, 24, 700, 0.01, false),
		lanes(sgp.LanesWindow, 16, 0, 0, 37, 60, 0.3, true),
		lanes(sgp.DeltaTile, 8, 0, 0, 24, 700, 0.01, false),
		lanes(sgp.DeltaTile, 8, 0, 0, 29, 60, 0.03, true),
	}
}

// TestLinear runs every form, in both layouts, with each activation, over
// batches that leave every kind of tail, against the float64 reference.
func TestLinear(t *testing.T) {
	const batchMax = 17
	for pi, p := range packings() {
		t.Run(p.name, func(t *testing.T) {
			for _, featureMajor := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(uint64(pi), 7))
				d, v := p.make(rng)
				act := []sgp.OpKind{sgp.None, sgp.Relu, sgp.Clamp, sgp.Gelu}[rng.IntN(4)]
				lin := &sgp.Linear{Out: d.out, In: d.in, Act: act, Lo: -2, Hi: 3.5}
				if rng.IntN(3) > 0 {
					lin.Bias = randomFloats(rng, d.out)
				}
				v.BatchMin, v.BatchMax = 1, batchMax
				lin.Variants = []sgp.Variant{*v}
				s, err := openModel(t, linearLayer(lin, featureMajor, batchMax)).NewSession("l")
				require.NoError(t, err)
				for batch := 1; batch <= batchMax; batch++ {
					x := randomFloats(rng, d.in*batch)
					y := randomFloats(rng, d.out*batch)
					require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
					want, bound := reference(d, lin, x, featureMajor, batch)
					for i := range y {
						// The map activations add a few units in the last place.
						if diff := math.Abs(float64(y[i]) - want[i]); !(diff <= 1.2*bound[i]+1e-6*math.Abs(want[i])) {
							t.Fatalf("batch %d, feature-major %v, act %d: y[%d] = %v, want %v, off by %g of %g", batch, featureMajor, act, i, y[i], want[i], diff, bound[i])
						}
					}
				}
			}
		})
	}
}

// TestThreads: any number of threads gives the bits of one.
func TestThreads(t *testing.T) {
	const batchMax = 37
	for pi, p := range packings() {
		t.Run(p.name, func(t *testing.T) {
			for _, featureMajor := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(uint64(pi), 8))
				d, v := p.make(rng)
				lin := &sgp.Linear{Out: d.out, In: d.in, Act: sgp.Tanh, Bias: randomFloats(rng, d.out)}
				v.BatchMin, v.BatchMax = 1, batchMax
				lin.Variants = []sgp.Variant{*v}
				m := openModel(t, linearLayer(lin, featureMajor, batchMax))
				one, err := m.NewSession("l")
				require.NoError(t, err)
				for _, threads := range []int{2, 4} {
					s, err := m.NewSession("l", Threads(threads))
					require.NoError(t, err)
					s.control.share = 0
					for _, batch := range []int{1, 37, 5} {
						x := randomFloats(rng, d.in*batch)
						want, got := make([]float32, d.out*batch), randomFloats(rng, d.out*batch)
						require.NoError(t, one.Run(context.Background(), [][]float32{x}, [][]float32{want}))
						for range 2 {
							require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{got}))
							require.Equal(t, want, got)
							clear(got)
						}
					}
					require.NoError(t, s.Close())
				}
			}
		})
	}
}

func randomFloats(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// TestReadInPlace: panels that read x where it lies give the bits of panels that
// read packed tiles, which a token-major x always is, and so do threads.
func TestReadInPlace(t *testing.T) {
	const in, out, kb, widest, batchMax = 24, 9, 10, 24, 16 * 343
	rng := rand.New(rand.NewPCG(3, 4))
	d := randomDense(rng, out, in, 0.3)
	rows, _ := d.kept()
	v := sgp.Variant{BatchMin: 1, BatchMax: batchMax, Panel: packPanel(d, sgp.Grouped, 1, kb, rows, nil)}
	lin := &sgp.Linear{Out: out, In: in, Act: sgp.Relu, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
	run := func(featureMajor bool, x []float32, batch int, opts ...Option) []float32 {
		s, err := openModel(t, linearLayer(lin, featureMajor, batchMax)).NewSession("l", opts...)
		require.NoError(t, err)
		defer s.Close()
		y := randomFloats(rng, out*batch)
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
		return y
	}
	for _, b := range []struct {
		batch   int
		inPlace bool
	}{{batchMax, true}, {batchMax - 16, false}, {batchMax - 3, false}} {
		require.Equal(t, b.inPlace, v.Panel.InPlaceTile(in, b.batch, 8, widest) > 0)
		tokens := randomFloats(rng, in*b.batch)
		x, want := transposed(tokens, b.batch, in), transposed(run(false, tokens, b.batch), b.batch, out)
		require.Equal(t, want, run(true, x, b.batch))
		require.Equal(t, want, run(true, x, b.batch, Threads(3)))
	}
}

// TestReadInPlaceLongVectors: with vectors of 16 lanes panels of several rows, too, read x
// where it lies, and give the bits of packed tiles.
func TestReadInPlaceLongVectors(t *testing.T) {
	const in, out, kb, batch = 24, 11, 10, 16 * 343
	rng := rand.New(rand.NewPCG(5, 6))
	d := randomDense(rng, out, in, 0.3)
	rows, _ := d.kept()
	tokens := randomFloats(rng, in*batch)
	x := transposed(tokens, batch, in)
	for _, f := range []struct {
		kind sgp.SegmentKind
		mr   int
	}{{sgp.Grouped, 1}, {sgp.Grouped, 4}, {sgp.Step, 3}, {sgp.Block, 4}} {
		v := sgp.Variant{BatchMin: 1, BatchMax: batch, Panel: packPanel(d, f.kind, f.mr, kb, rows, nil)}
		lin := &sgp.Linear{Out: out, In: in, Act: sgp.Relu, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
		s, err := openModel(t, linearLayer(lin, true, batch)).NewSession("l")
		require.NoError(t, err)
		want, got := randomFloats(rng, out*batch), randomFloats(rng, out*batch)
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{want}))
		of := s.steps[0].now.(*tileLinear)
		require.Equal(t, f.mr == 1, of.inPlace, "%v: short vectors", f)
		of.inPlace = false
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{want}))
		require.False(t, of.inPlace)
		of.lanes = 16
		of.prepare(batch)
		require.True(t, of.inPlace, "%v", f)
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{got}))
		require.True(t, slices.Equal(want, got), "%v", f)
		require.NoError(t, s.Close())
	}
}

// TestFetchAhead: dense kernels are told where the rows lie that are packed next, if x
// outgrows the second-level cache, and give the bits of a token-major run.
func TestFetchAhead(t *testing.T) {
	const in, out, mr, kb, wide, batchMax = 24, 9, 4, 10, 24, 5472
	type call struct{ at, stride int } // in x; no stride is no hint
	var calls []call
	var first *float32 // x
	set := testKernels()
	for i, k := range set.Kernels {
		if f, ok := k.Fn.(PanelDenseFunc); ok {
			set.Kernels[i].Fn = PanelDenseFunc(func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w, bias *float32, lo, hi float32, n, kb int, ahead *float32, lda uintptr) {
				if c := (call{}); lda == 0 {
					calls = append(calls, c)
				} else {
					at := uintptr(unsafe.Pointer(ahead)) - uintptr(unsafe.Pointer(first))
					calls = append(calls, call{int(at) / 4, int(lda) / 4})
				}
				f(y, ldy, sums, lds, rows, x, ldx, w, bias, lo, hi, n, kb, ahead, lda)
			})
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	d := randomDense(rng, out, in, 1)
	rows, _ := d.kept()
	v := sgp.Variant{BatchMin: 1, BatchMax: batchMax, Panel: packPanel(d, sgp.Dense, mr, kb, rows, nil)}
	lin := &sgp.Linear{Out: out, In: in, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
	run := func(set Set, featureMajor bool, x []float32, batch int, opts ...Option) []float32 {
		s, err := openModel(t, linearLayer(lin, featureMajor, batchMax), set).NewSession("l", opts...)
		require.NoError(t, err)
		defer s.Close()
		y := randomFloats(rng, out*batch)
		calls, first = nil, &x[0]
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
		return y
	}
	for batch, fetches := range map[int]bool{batchMax: true, batchMax - 11: false, batchMax - 1: true} {
		require.Equal(t, fetches, sgp.FetchAhead(in, batch))
		tokens := randomFloats(rng, in*batch)
		want := transposed(run(set, false, tokens, batch), batch, out)
		for _, c := range calls {
			require.Zero(t, c)
		}
		x := transposed(tokens, batch, in)
		require.Equal(t, want, run(testKernels(), true, x, batch, Threads(3)))
		require.Equal(t, want, run(set, true, x, batch))
		var told []call
		for first := 0; first < batch; first += wide {
			for k := 0; k < in; k += kb {
				next, column := k+kb, first
				if next >= in {
					next, column = 0, first+wide
				}
				whole := call{next*batch + column, batch}
				rest := call{(next+8)*batch + column, batch}
				if column >= batch || !fetches {
					whole = call{}
				}
				if whole == (call{}) || next+8 >= in { // the last block has four rows
					rest = call{}
				}
				told = append(told, whole, rest)
			}
		}
		require.Equal(t, told, calls)
	}
}

// TestTilesShareWeights: where weights outgrow the third-level cache, tiles of tokens
// that share each part of them give the bits of tiles by themselves. Kernels take the
// first column of each K-block only: there are many weights.
func TestTilesShareWeights(t *testing.T) {
	const in, out, kb, batch = 1300, 2500, 1000, 27
	require.Greater(t, 4*in*out, manyWeights)
	set := testKernels()
	for i, k := range set.Kernels {
		if _, ok := k.Fn.(PanelDenseFunc); ok {
			short := interpretPanelDense(k.Key)
			set.Kernels[i].Fn = PanelDenseFunc(func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w, bias *float32, lo, hi float32, n, kb int, ahead *float32, lda uintptr) {
				mr := int(k.Key.MR)
				for p := range n {
					short(y, ldy, sums, lds, at(rows, p*mr), x, ldx, at(w, p*kb*mr), bias, lo, hi, 1, 1, ahead, lda)
					if bias != nil {
						bias = at(bias, mr)
					}
				}
			})
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	d := randomDense(rng, out, in, 1)
	rows, _ := d.kept()
	v := sgp.Variant{BatchMin: 1, BatchMax: 200, Panel: packPanel(d, sgp.Dense, 4, kb, rows, nil)}
	lin := &sgp.Linear{Out: out, In: in, Act: sgp.Relu, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
	run := func(featureMajor bool, x []float32) ([]float32, *tileLinear) {
		s, err := openModel(t, linearLayer(lin, featureMajor, 200), set).NewSession("l")
		require.NoError(t, err)
		defer s.Close()
		y := randomFloats(rng, out*batch)
		require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
		return y, s.steps[0].now.(*tileLinear)
	}
	tokens := randomFloats(rng, in*batch)
	got, of := run(false, tokens)
	require.Len(t, of.tiles, 2)
	require.Equal(t, 8, of.together)
	want, of := run(true, transposed(tokens, batch, in))
	require.Equal(t, 1, of.together)
	require.True(t, slices.Equal(transposed(want, out, batch), got))
}

// TestSumsOfBlocks: what K-blocks before the last have summed up lies in tiles of their
// own where a tile of y outgrows the first-level cache, and the bits are those of a
// token-major run.
func TestSumsOfBlocks(t *testing.T) {
	const in, kb, wide, batch = 24, 10, 24, 3 * 24
	var apart atomic.Int32 // calls whose sums do not lie in y
	set := testKernels()
	for i, k := range set.Kernels {
		if f, ok := k.Fn.(PanelFunc); ok {
			set.Kernels[i].Fn = PanelFunc(func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w *float32, idx, runs *uint16, bias *float32, lo, hi float32, n int, ahead *float32, lda uintptr) {
				if lds != ldy {
					apart.Add(1)
				}
				f(y, ldy, sums, lds, rows, x, ldx, w, idx, runs, bias, lo, hi, n, ahead, lda)
			})
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for out, want := range map[int]bool{l1 / (4 * wide): false, l1/(4*wide) + 1: true} {
		d := randomDense(rng, out, in, 0.3)
		rows, _ := d.kept()
		v := sgp.Variant{BatchMin: 1, BatchMax: batch, Panel: packPanel(d, sgp.Grouped, 1, kb, rows, nil)}
		lin := &sgp.Linear{Out: out, In: in, Act: sgp.Relu, Bias: randomFloats(rng, out), Variants: []sgp.Variant{v}}
		run := func(featureMajor bool, x []float32, opts ...Option) []float32 {
			s, err := openModel(t, linearLayer(lin, featureMajor, batch), set).NewSession("l", opts...)
			require.NoError(t, err)
			defer s.Close()
			s.control.share = 0
			y := randomFloats(rng, out*batch)
			require.NoError(t, s.Run(context.Background(), [][]float32{x}, [][]float32{y}))
			return y
		}
		tokens := randomFloats(rng, in*batch)
		x, y := transposed(tokens, batch, in), transposed(run(false, tokens), batch, out)
		apart.Store(0)
		require.Equal(t, y, run(true, x))
		require.Equal(t, want, apart.Load() > 0, out)
		require.Equal(t, y, run(true, x, Threads(3)))
	}
}

// transposed is a [rows, cols] matrix as [cols, rows].
func transposed(m []float32, rows, cols int) []float32 {
	out := make([]float32, len(m))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = m[r*cols+c]
		}
	}
	return out
}

// TestBiasIsReadWhereItIs: slabs in the order of the output read the file's bias, those without one the
// zeros of all layers; only where lanes are in another order, or beyond the last row, there is a copy.
func TestBiasIsReadWhereItIs(t *testing.T) {
	bias := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for _, c := range []struct {
		name  string
		bias  []float32
		rows  []uint32
		out   int
		place *float32 // nil: a copy
		want  []float32
	}{
		{"in order", bias, nil, 16, &bias[0], bias},
		{"none", nil, nil, 16, &zeros[0], make([]float32, 16)},
		{"none, padded", nil, nil, 13, &zeros[0], make([]float32, 16)},
		{"padded", bias[:13], nil, 13, nil, append(slices.Clone(bias[:13]), 0, 0, 0)},
		{"other rows", bias, []uint32{3, 1, 0, 2, 4, 5, 6, 7}, 16, nil, []float32{4, 2, 1, 3, 5, 6, 7, 8}},
		{"none, of more rows than there are zeros", nil, nil, len(zeros) + 8, nil, make([]float32, len(zeros)+8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &linear{out: c.out, bias: c.bias}
			f := &sgp.Lanes{S: 8, Rows: c.rows}
			got, covered := d.slabBias(f, f.Slabs(c.out))
			require.Equal(t, c.want, got)
			if c.place != nil {
				require.Same(t, c.place, &got[0])
			} else {
				require.NotSame(t, &zeros[0], &got[0])
				require.NotSame(t, &bias[0], &got[0])
			}
			for r, is := range covered {
				require.Equal(t, c.rows == nil || slices.Contains(c.rows, uint32(r)), is)
			}
		})
	}
	require.Zero(t, zeros)
}
