package layout

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// randomWeights are codes none of which is zero, so that a lost one shows.
func randomWeights(r *rand.Rand, rows, cols, size int) Matrix {
	w := NewMatrix(rows, cols, size)
	for i := range w.Data {
		w.Data[i] = byte(1 + r.IntN(255))
	}
	return w
}

// randomMask keeps a random set of at most two of each four columns, also one and
// none.
func randomMask(r *rand.Rand, rows, cols int) *patterns.Mask {
	k := patterns.NewMask(rows, cols)
	for row := range rows {
		for c := 0; c < cols; c += 4 {
			pos := r.Perm(4)
			for _, p := range pos[:r.IntN(3)] {
				k.Set(row, c+p)
			}
		}
	}
	return k
}

func masked(w Matrix, mask *patterns.Mask) Matrix {
	out := NewMatrix(w.Rows, w.Cols, w.Size)
	for r := range w.Rows {
		for c := range w.Cols {
			if mask == nil || mask.At(r, c) {
				copy(out.Row(r)[c*w.Size:][:w.Size], w.Row(r)[c*w.Size:])
			}
		}
	}
	return out
}

func TestCompressIsInvertible(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		rows, cols, size := 1+r.IntN(20), 4*(1+r.IntN(50)), 1+r.IntN(2)
		w, mask := randomWeights(r, rows, cols, size), randomMask(r, rows, cols)
		c, err := Compress(w, mask)
		require.NoError(t, err)
		require.Equal(t, cols/2, c.Values.Cols)
		back, err := c.Decompress()
		require.NoError(t, err)
		require.Equal(t, masked(w, mask), back)
	}
}

// Every set of kept columns: the nibble and which column each value comes from
// (-1: a zero of padding).
func TestNibbleOfEverySet(t *testing.T) {
	want := []struct {
		set    string
		nibble uint8
		from   [2]int
	}{
		{"....", 0x4, [2]int{-1, -1}},
		{"x...", 0xc, [2]int{0, -1}}, {".x..", 0xd, [2]int{1, -1}}, {"..x.", 0xe, [2]int{2, -1}}, {"...x", 0xc, [2]int{-1, 3}},
		{"xx..", 0x4, [2]int{0, 1}}, {"x.x.", 0x8, [2]int{0, 2}}, {"x..x", 0xc, [2]int{0, 3}},
		{".xx.", 0x9, [2]int{1, 2}}, {".x.x", 0xd, [2]int{1, 3}}, {"..xx", 0xe, [2]int{2, 3}},
	}
	for _, c := range want {
		w, mask := Matrix{1, 4, 1, []byte{10, 11, 12, 13}}, patterns.NewMask(1, 4)
		for i, k := range c.set {
			if k == 'x' {
				mask.Set(0, i)
			}
		}
		got, err := Compress(w, mask)
		require.NoError(t, err)
		require.Equal(t, []uint8{c.nibble}, got.Nibbles, c.set)
		for i, from := range c.from {
			v := byte(0)
			if from >= 0 {
				v = byte(10 + from)
			}
			require.Equal(t, v, got.Values.Data[i], c.set)
		}
	}
}

func TestCompressErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 2))
	w, mask := randomWeights(r, 5, 72, 2), randomMask(r, 5, 72)
	mask.SetRange(3, 68, 71)
	_, err := Compress(w, mask)
	require.EqualError(t, err, "layout: row 3 keeps more than 2 of columns 68..71, not 2:4")
	require.False(t, patterns.MustParse("nm(2,4)").Fits(mask))

	_, err = Compress(w, nil)
	require.ErrorContains(t, err, "without a mask")
	_, err = Compress(w, patterns.NewMask(5, 68))
	require.ErrorContains(t, err, "mask [5, 68] for weights [5, 72]")
	_, err = Compress(NewMatrix(2, 6, 2), patterns.NewMask(2, 6))
	require.ErrorContains(t, err, "6 columns do not divide into groups of 4")
	_, err = Compress(Matrix{2, 4, 2, make([]byte, 15)}, patterns.NewMask(2, 4))
	require.ErrorContains(t, err, "holds 15 bytes, want 16")
	_, err = Compress(Matrix{2, 4, 3, make([]byte, 24)}, patterns.NewMask(2, 4))
	require.ErrorContains(t, err, "elements of 3 bytes")
	_, err = Compress(Matrix{0, 4, 2, nil}, patterns.NewMask(0, 4))
	require.ErrorContains(t, err, "shape [0, 4]")

	for _, n := range []uint8{0, 1, 2, 3, 5, 6, 7, 0xa, 0xb, 0xf, 0x14} {
		c := &Compressed{NewMatrix(2, 4, 1), []uint8{4, 4, 4, n}}
		_, err = c.Decompress()
		require.EqualError(t, err, fmt.Sprintf("layout: row 1, columns 4..7: metadata %#x is not an ordered pair of positions", n))
	}
	_, err = (&Compressed{NewMatrix(2, 4, 1), []uint8{4}}).Decompress()
	require.ErrorContains(t, err, "with 1 nibbles")
}

// The hardware's rule, restated independently of the fragment tables: where a
// warpgroup of wgmma.sp finds the nibble of row r (0..63) and logical column k of
// 128 logical bytes, as found by flipping each nibble on an H200.
func hardwareNibble(size, r, k int) (thread, reg, bit int) {
	g, hi8, warp := r%8, r%16/8, r/16
	if size == 2 {
		step, h := k/32, k%32/16 // step: which instruction, and its selector
		return 32*warp + 4*g + 2*step + h, 0, 16*hi8 + 4*(k%16/4)
	}
	j, h := k/64, k%64/32 // j: which instruction, and its register
	return 32*warp + 4*g + 2*h + hi8, j, 4 * (k % 32 / 4)
}

func TestMetadataFollowsTheHardwareRule(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, size := range []int{1, 2} {
		f := Metadata(size).Warps(4)
		require.Equal(t, 64, f.Rows)
		require.Equal(t, 128/size, f.Cols*4)
		require.Equal(t, 128, f.Threads)
		cols := 128 / size
		stride := cols/4 + 3
		nib := make([]uint8, 64*stride)
		for i := range nib {
			nib[i] = uint8(r.IntN(16))
		}
		want := make([]uint32, 128*f.Regs())
		for row := range 64 {
			for k := 0; k < cols; k += 4 {
				thread, reg, bit := hardwareNibble(size, row, k)
				want[thread*f.Regs()+reg] |= uint32(nib[row*stride+k/4]) << bit
				reg0, sel := MetadataOperand(size, k/(cols/2))
				require.Equal(t, reg, reg0)
				if size == 2 {
					require.Equal(t, thread%4/2, sel, "lanes that the selector reads")
				} else {
					require.Zero(t, sel)
				}
			}
		}
		require.Equal(t, want, MetadataWords(f, nib, stride))
	}
}
