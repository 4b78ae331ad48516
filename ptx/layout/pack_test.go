package layout

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// formats are all combinations that Check accepts, of a few stages and clusters.
func formats() []Format {
	var out []Format
	for _, size := range []int{1, 2} {
		for _, sparse := range []bool{false, true} {
			for _, order := range []Order{Swizzled, FragmentMajor} {
				for _, rows := range []int{16, 64, 128} {
					for _, bytes := range []int{64, 128} {
						for _, sc := range [][2]int{{1, 1}, {2, 1}, {1, 2}, {3, 4}} {
							f := Format{size, sparse, order, rows, bytes, sc[0], sc[1]}
							if f.Check() == nil {
								out = append(out, f)
							}
						}
					}
				}
			}
		}
	}
	return out
}

func formatName(f Format) string {
	return fmt.Sprintf("size%d_sparse%v_order%d_%dx%d_stage%d_cluster%d", f.Size, f.Sparse, f.Order, f.TileRows, f.RowBytes, f.StageBlocks, f.Cluster)
}

func TestPackIsInvertible(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	all := formats()
	require.Greater(t, len(all), 80)
	for _, f := range all {
		t.Run(formatName(f), func(t *testing.T) {
			for range 3 {
				out, in := 1+r.IntN(3*f.TileRows), 4*(1+r.IntN(100))
				w, mask := randomWeights(r, out, in, f.Size), randomMask(r, out, in)
				if !f.Sparse && r.IntN(2) == 0 {
					mask = nil
				}
				packed, err := f.Pack(w, mask)
				require.NoError(t, err)
				n, err := f.Bytes(out, in)
				require.NoError(t, err)
				require.Len(t, packed, int(n))
				back, err := f.Unpack(packed, out, in)
				require.NoError(t, err)
				require.Equal(t, masked(w, mask), back)
			}
		})
	}
}

// hardwareView reads one k-block of one tile as the tensor core does: A through
// wgmma's descriptor, metadata by the rule found on hardware, and multiplies by
// the identity. The result is [TileRows, KBlock] codes.
func hardwareView(t *testing.T, f Format, block []byte) Matrix {
	o := f.Operand()
	d, err := o.Descriptor(0)
	require.NoError(t, err)
	view := NewMatrix(f.TileRows, f.KBlock(), f.Size)
	code := func(row, col int) []byte {
		v := make([]byte, f.Size)
		for b := range v {
			v[b] = block[d.Address(KMajor, row, col, f.Size, b)]
		}
		return v
	}
	// The descriptor covers one box of K; all formats here have one box.
	require.LessOrEqual(t, f.RowBytes, o.Swizzle.Span())
	if !f.Sparse {
		for r := range f.TileRows {
			for c := range f.KBlock() {
				copy(view.Row(r)[c*f.Size:], code(r, c))
			}
		}
		return view
	}
	regs := map[int]int{1: 2, 2: 1}[f.Size]
	unit := 128 / f.Size // logical columns
	for r := range f.TileRows {
		for k := 0; k < f.KBlock(); k += 4 {
			thread, reg, bit := hardwareNibble(f.Size, r%64, k%unit)
			// [unit][warpgroup][thread][register], behind A
			word := ((k/unit*(f.TileRows/64)+r/64)*128+thread)*regs + reg
			e := binary.LittleEndian.Uint32(block[f.ABytes()+4*word:]) >> bit
			first, second := int(e&3), int(e>>2&3)
			if first >= second {
				t.Fatalf("row %d, column %d: code %#x is not ordered", r, k, e&15)
			}
			copy(view.Row(r)[(k+first)*f.Size:], code(r, k/2))
			copy(view.Row(r)[(k+second)*f.Size:], code(r, k/2+1))
		}
	}
	return view
}

func TestHardwareReadsWhatWasPacked(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	tried := 0
	for _, f := range formats() {
		if f.Order != Swizzled || f.TileRows%64 != 0 {
			continue
		}
		tried++
		t.Run(formatName(f), func(t *testing.T) {
			out, in := f.TileRows+5, 2*f.KBlock()+12
			w, mask := randomWeights(r, out, in, f.Size), randomMask(r, out, in)
			if !f.Sparse {
				mask = nil
			}
			packed, err := f.Pack(w, mask)
			require.NoError(t, err)
			want := masked(w, mask)
			for tile := range f.Tiles(out) {
				for k := range f.Blocks(in) {
					at := tile*int(f.TileBytes(in)) + k*f.BlockBytes()
					require.Zero(t, at%f.Align())
					part := NewMatrix(f.TileRows, f.KBlock(), f.Size)
					c := k * f.KBlock()
					for row := range max(0, min(f.TileRows, out-tile*f.TileRows)) {
						if c < in {
							copy(part.Row(row), want.Row(tile*f.TileRows + row)[c*f.Size:])
						}
					}
					require.Equal(t, part, hardwareView(t, f, packed[at:][:f.BlockBytes()]))
				}
			}
		})
	}
	require.Greater(t, tried, 40)
}

// In fragment-major order a lane's 16 bytes are its four registers of A, and its
// metadata words are those of mma.sp: what mma computes from them with B the
// identity is the weights.
func TestFragmentMajorOrderIsTheRegistersOfMMA(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 3))
	for _, size := range []int{1, 2} {
		f := Format{size, true, FragmentMajor, 32, 64, 1, 1}
		out, in := 32, f.KBlock()
		w, mask := randomWeights(r, out, in, size), randomMask(r, out, in)
		packed, err := f.Pack(w, mask)
		require.NoError(t, err)
		got := NewMatrix(out, in, size)
		a := FragmentA(size)
		for m := range 2 { // 16 rows
			for step := range 2 { // instruction: 32 stored bytes
				reg, sel := MetadataOperand(size, step)
				for lane := range 32 {
					regs := packed[((m*2+step)*32+lane)*16:][:16]
					for i := range 16 / size {
						row, col := a.At(lane, i)
						logical := 64/size*step + col/2*4
						thread, hreg, bit := hardwareNibble(size, row, logical)
						require.Equal(t, reg, hreg)
						if size == 2 {
							require.Equal(t, sel, thread%4/2)
						}
						at := f.ABytes() + (m*32+thread)*Metadata(size).Regs()*4 + reg*4
						nib := binary.LittleEndian.Uint32(packed[at:]) >> bit & 15
						pos := int(nib >> (2 * (col % 2)) & 3)
						copy(got.Row(m*16 + row)[(logical+pos)*size:][:size], regs[i*size:])
					}
				}
			}
		}
		require.Equal(t, masked(w, mask), got)
	}
}

// Groups without a value, of padding or not, have the one code that the ISA
// allows for them here.
func TestEmptyGroupsAreOrderedPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	for _, f := range formats() {
		if !f.Sparse {
			continue
		}
		w := randomWeights(r, 5, 12, f.Size)
		packed, err := f.Pack(w, patterns.NewMask(5, 12))
		require.NoError(t, err)
		for at := 0; at < len(packed); at += f.BlockBytes() {
			require.Equal(t, make([]byte, f.ABytes()), packed[at:][:f.ABytes()])
			require.Equal(t, bytes.Repeat([]byte{0x44}, f.MetaBytes()), packed[at+f.ABytes():at+f.BlockBytes()])
		}
	}
}

func TestFormatSizes(t *testing.T) {
	bf16 := Format{2, true, Swizzled, 128, 64, 2, 2}
	require.NoError(t, bf16.Check())
	require.Equal(t, 64, bf16.KBlock())
	require.Equal(t, 8192, bf16.ABytes())
	require.Equal(t, 1024, bf16.MetaBytes())
	require.Equal(t, 2*9216, bf16.StageBytes())
	require.Equal(t, 34, bf16.Tiles(33*128-1))
	require.Equal(t, 4, bf16.Blocks(129))
	n, err := bf16.Bytes(8192, 8192)
	require.NoError(t, err)
	require.EqualValues(t, 8192*8192*9/8, n)
	require.Equal(t, 8192+128*4, bf16.MetaOffset(0, 128))

	e4m3 := Format{1, true, Swizzled, 128, 64, 1, 1}
	require.Equal(t, 128, e4m3.KBlock())
	require.Equal(t, 2048, e4m3.MetaBytes())
	require.Equal(t, 8192+5*8, e4m3.MetaOffset(0, 5))

	dense := Format{2, false, Swizzled, 64, 128, 1, 1}
	require.Equal(t, 64, dense.KBlock())
	require.Equal(t, 8192, dense.BlockBytes())
	require.Equal(t, Swizzle128B, dense.Swizzle())

	big := Format{2, true, Swizzled, 256, 128, 64, 16}
	n, err = big.Bytes(maxExtent, maxExtent)
	require.NoError(t, err)
	require.Positive(t, n)
	require.InEpsilon(t, math.Pow(2, 56)*9/8, float64(n), 1e-3)
}

func TestFormatErrors(t *testing.T) {
	good := Format{2, true, Swizzled, 128, 64, 2, 2}
	for want, change := range map[string]func(*Format){
		"elements of 4 bytes":    func(f *Format) { f.Size = 4 },
		"order 2":                func(f *Format) { f.Order = 2 },
		"tiles of 72 rows":       func(f *Format) { f.TileRows = 72 },
		"tiles of 512 rows":      func(f *Format) { f.TileRows = 512 },
		"k-blocks of 32 bytes":   func(f *Format) { f.RowBytes = 32 },
		"stages of 0 k-blocks":   func(f *Format) { f.StageBlocks = 0 },
		"clusters of 17 tiles":   func(f *Format) { f.Cluster = 17 },
		"k-blocks of 1152 bytes": func(f *Format) { f.TileRows = 16 },
	} {
		f := good
		change(&f)
		require.ErrorContains(t, f.Check(), want)
		_, err := f.Pack(NewMatrix(4, 4, f.Size), patterns.NewMask(4, 4))
		require.ErrorContains(t, err, want)
		_, err = f.Unpack(nil, 4, 4)
		require.ErrorContains(t, err, want)
	}
	_, err := good.Bytes(1<<29, 4)
	require.ErrorContains(t, err, "shape [536870912, 4]")
	_, err = good.Pack(NewMatrix(4, 4, 1), patterns.NewMask(4, 4))
	require.ErrorContains(t, err, "1-byte elements for a format of 2")
	_, err = good.Pack(NewMatrix(4, 4, 2), nil)
	require.ErrorContains(t, err, "without a mask")
	mask := patterns.NewMask(4, 8)
	mask.SetRange(2, 4, 8)
	_, err = good.Pack(NewMatrix(4, 8, 2), mask)
	require.EqualError(t, err, "layout: row 2 keeps more than 2 of columns 4..7, not 2:4")
	dense := good
	dense.Sparse = false
	_, err = dense.Pack(NewMatrix(4, 8, 2), patterns.NewMask(4, 4))
	require.ErrorContains(t, err, "mask [4, 4]")
}

func TestUnpackErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	f := Format{2, true, Swizzled, 64, 64, 1, 1}
	packed, err := f.Pack(randomWeights(r, 60, 60, 2), randomMask(r, 60, 60))
	require.NoError(t, err)
	_, err = f.Unpack(packed[1:], 60, 60)
	require.ErrorContains(t, err, "want 4608")
	_, err = f.Unpack(packed, 60, 58)
	require.ErrorContains(t, err, "2:4 weights with 58 columns")
	change := func(at int, v byte) error {
		was := packed[at]
		packed[at] = v
		_, err := f.Unpack(packed, 60, 60)
		packed[at] = was
		return err
	}
	require.EqualError(t, change(f.MetaOffset(0, 4*7), 0x45), "layout: row 7, columns 0..3: metadata 0x5 is not an ordered pair of positions")
	require.ErrorContains(t, change(f.AOffset(61, 3), 9), "padding of row 61, from column 0 on")
	require.ErrorContains(t, change(f.AOffset(3, 61), 9), "padding of row 3, from column 60 on")
}

// One 16 by 64 tile in fragment-major order whose bytes can be followed by hand:
// row r keeps columns r%2 and 3 of each group, its value is the row's number in
// the high byte and the column's in the low one.
func TestGoldenTile(t *testing.T) {
	f := Format{2, true, FragmentMajor, 16, 64, 1, 1}
	w, mask := NewMatrix(16, 64, 2), patterns.NewMask(16, 64)
	for r := range 16 {
		for c := range 64 {
			w.Row(r)[2*c], w.Row(r)[2*c+1] = byte(c), byte(r)
			if c%4 == r%2 || c%4 == 3 {
				mask.Set(r, c)
			}
		}
	}
	packed, err := f.Pack(w, mask)
	require.NoError(t, err)
	require.Len(t, packed, 1024+128)
	line := func(at, n int) string { return strings.ToUpper(hex.EncodeToString(packed[at:][:n])) }
	// Lane 5 of the first instruction: rows 1 and 9, columns of group 1, then 5.
	require.Equal(t, "0501"+"0701"+"0509"+"0709"+"1501"+"1701"+"1509"+"1709", line(5*16, 16))
	// Lane 0 of the second instruction: rows 0 and 8, groups 8 and 12.
	require.Equal(t, "2000"+"2300"+"2008"+"2308"+"3000"+"3300"+"3008"+"3308", line(512, 16))
	// Even rows hold positions 0 and 3, odd rows 1 and 3.
	require.Equal(t, strings.Repeat("CC", 16)+strings.Repeat("DD", 16), line(1024, 32))
}

func FuzzPack(f *testing.F) {
	f.Add(uint64(1), uint16(130), uint16(300), uint8(1))
	f.Add(uint64(2), uint16(1), uint16(1), uint8(250))
	all := formats()
	f.Fuzz(func(t *testing.T, seed uint64, out, in uint16, which uint8) {
		r := rand.New(rand.NewPCG(seed, 7))
		format := all[int(which)%len(all)]
		rows, cols := 1+int(out)%400, 4*(1+int(in)%200)
		w, mask := randomWeights(r, rows, cols, format.Size), randomMask(r, rows, cols)
		packed, err := format.Pack(w, mask)
		require.NoError(t, err)
		back, err := format.Unpack(packed, rows, cols)
		require.NoError(t, err)
		require.Equal(t, masked(w, mask), back)
		// Damaged, it is an error or other weights of the same shape, never a panic.
		for range 8 {
			packed[r.IntN(len(packed))] ^= byte(1 + r.IntN(255))
		}
		if other, err := format.Unpack(packed, rows, cols); err == nil {
			require.Len(t, other.Data, len(back.Data))
		}
	})
}
