package narrow

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
)

// definition is a float format as its standard defines it, in float64, where
// every value and every midpoint of the formats here is exact.
type definition struct {
	Format
	exponent, mantissa int
	max                float64
	infinity           bool // overflow is infinity, else the largest finite value
	nan                uint16
	values             []float64 // of the codes from 0 on, finite, ascending
}

func definitions() []definition {
	all := []definition{
		{Format: BF16, exponent: 8, mantissa: 7, max: math.Ldexp(255, 120), infinity: true, nan: 0x7fff},
		{Format: F16, exponent: 5, mantissa: 10, max: 65504, infinity: true, nan: 0x7fff},
		{Format: E4M3, exponent: 4, mantissa: 3, max: 448, nan: 0x7f},
		{Format: E5M2, exponent: 5, mantissa: 2, max: 57344, nan: 0x7f},
	}
	for i := range all {
		d := &all[i]
		for code := 0; ; code++ {
			if v := d.value(code); v <= d.max {
				d.values = append(d.values, v)
				continue
			}
			break
		}
	}
	return all
}

// value is the magnitude of a code as if all exponents were of numbers.
func (d definition) value(code int) float64 {
	e, m := code>>d.mantissa, code&(1<<d.mantissa-1)
	bias := 1<<(d.exponent-1) - 1
	if e == 0 {
		return math.Ldexp(float64(m), 1-bias-d.mantissa)
	}
	return math.Ldexp(float64(m+1<<d.mantissa), e-bias-d.mantissa)
}

// encode is the reference: the nearest value, the even code of two.
func (d definition) encode(v float32) uint16 {
	if v != v {
		return d.nan
	}
	sign := uint16(math.Float32bits(v) >> 31 << (8*d.Size() - 1))
	abs := math.Abs(float64(v))
	n := len(d.values)
	code := sort.SearchFloat64s(d.values, abs) // the first value >= abs
	if code == n || d.values[code] != abs {
		// Between code-1 and code; the value after the largest is the one that
		// rounding without a limit would give.
		mid := (d.values[code-1] + d.value(code)) / 2
		if abs < mid || abs == mid && (code-1)%2 == 0 {
			code--
		}
	}
	if code >= n {
		code = n - 1
		if d.infinity {
			code = n
		}
	}
	return sign | uint16(code)
}

func TestEveryCode(t *testing.T) {
	for _, d := range definitions() {
		t.Run(d.String(), func(t *testing.T) {
			require.Equal(t, d.max, float64(d.Max()))
			finite, nans := 0, 0
			top := 1 << (8*d.Size() - 1)
			for code := range 2 * top {
				v := d.Decode(uint16(code))
				abs := code & (top - 1)
				if math.Signbit(float64(v)) != (code >= top) {
					t.Fatalf("code %#x is %v", code, v)
				}
				switch {
				case abs < len(d.values):
					if math.Abs(float64(v)) != d.values[abs] || int(d.Encode(v)) != code {
						t.Fatalf("code %#x is %v, back to %#x", code, v, d.Encode(v))
					}
					finite++
				case abs == len(d.values) && d.infinity || d.Format == E5M2 && abs == 0x7c:
					require.True(t, math.IsInf(float64(v), 0))
				default:
					require.True(t, v != v)
					require.Equal(t, d.nan, d.Encode(v))
					nans++
				}
			}
			require.Equal(t, 2*len(d.values), finite)
			require.Equal(t, map[Format]int{BF16: 2 * 127, F16: 2 * 1023, E4M3: 2, E5M2: 6}[d.Format], nans)
		})
	}
}

// Around every value and every midpoint, the float32 itself and its neighbours;
// and random bits.
func TestRoundingAgainstTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	for _, d := range definitions() {
		t.Run(d.String(), func(t *testing.T) {
			check := func(v float32) {
				for _, v := range []float32{v, -v} {
					if got, want := d.Encode(v), d.encode(v); got != want {
						t.Fatalf("%v (%#08x): code %#x, want %#x", v, math.Float32bits(v), got, want)
					}
				}
			}
			around := func(x float64) {
				v := float32(x)
				check(v)
				check(math.Nextafter32(v, 0))
				check(math.Nextafter32(v, float32(math.Inf(1))))
			}
			for code := range d.values {
				around(d.values[code])
				around((d.values[code] + d.value(code+1)) / 2)
			}
			for range 1 << 18 {
				check(math.Float32frombits(r.Uint32()))
			}
			low, high := math.Log2(d.values[1])-2, math.Log2(d.max)+2
			for range 1 << 18 {
				check(float32(math.Exp2(low + (high-low)*r.Float64())))
			}
			for _, v := range []float32{0, math.SmallestNonzeroFloat32, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN())} {
				check(v)
			}
		})
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		f    Format
		v    float32
		code uint16
	}{
		{BF16, inf, 0x7f80}, {BF16, -inf, 0xff80}, {BF16, nan, 0x7fff}, {BF16, math.MaxFloat32, 0x7f80},
		{BF16, 1, 0x3f80}, {BF16, math.SmallestNonzeroFloat32, 0},
		{F16, inf, 0x7c00}, {F16, 65519, 0x7bff}, {F16, 65520, 0x7c00}, {F16, -nan, 0x7fff}, {F16, 1, 0x3c00},
		{E4M3, inf, 0x7e}, {E4M3, -inf, 0xfe}, {E4M3, 1e9, 0x7e}, {E4M3, 464, 0x7e}, {E4M3, nan, 0x7f}, {E4M3, 1, 0x38},
		{E5M2, inf, 0x7b}, {E5M2, -1e9, 0xfb}, {E5M2, nan, 0x7f}, {E5M2, 1, 0x3c},
		{S8, inf, 127}, {S8, -inf, 0x80}, {S8, nan, 0}, {S8, 127.5, 127}, {S8, -128.5, 0x80}, {S8, 0.5, 0}, {S8, 1.5, 2}, {S8, -2.5, 0xfe},
	} {
		require.Equal(t, c.code, c.f.Encode(c.v), "%v of %v", c.f, c.v)
	}
}

func TestS8(t *testing.T) {
	for code := range 256 {
		v := S8.Decode(uint16(code))
		require.Equal(t, float32(int8(code)), v)
		require.EqualValues(t, code, S8.Encode(v))
		for _, d := range []float32{-0.5, -0.49, 0.49, 0.5} {
			want := min(max(math.RoundToEven(float64(v+d)), -128), 127)
			require.Equal(t, float32(want), S8.Round(v+d))
		}
	}
	require.EqualValues(t, 127, S8.Max())
}

func TestSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 2))
	src := make([]float32, 1001)
	for i := range src {
		src[i] = float32(r.NormFloat64()) * 40
	}
	for f := range count {
		codes := f.Append([]byte{9}, src)
		require.Len(t, codes, 1+len(src)*f.Size())
		require.Equal(t, byte(9), codes[0])
		back := make([]float32, len(src))
		require.NoError(t, f.Floats(back, codes[1:]))
		for i, v := range src {
			require.Equal(t, f.Round(v), back[i])
		}
		if f.Size() == 2 {
			require.Equal(t, f.Encode(src[3]), binary.LittleEndian.Uint16(codes[1+2*3:]))
		}
		require.ErrorContains(t, f.Floats(back, codes), "are not 1001 values of "+f.String())

		named, err := Parse(f.String())
		require.NoError(t, err)
		require.Equal(t, f, named)
	}
	_, err := Parse("f8")
	require.ErrorContains(t, err, `"f8"`)
	require.Equal(t, "narrow.Format(77)", Format(77).String())
}

func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 3))
	type bound struct{ relative, absolute float64 } // of a quotient's rounding
	for f, b := range map[Format]bound{
		E4M3: {math.Pow(2, -4), math.Pow(2, -10)},
		E5M2: {math.Pow(2, -3), math.Pow(2, -17)},
		S8:   {0, 0.5},
	} {
		for _, size := range []float64{1e-44, 1e-38, 1e-3, 1, 1e30, 3e38} {
			src := make([]float32, 300)
			for i := range src {
				src[i] = float32(size * (2*r.Float64() - 1))
			}
			codes, scale, err := f.Quantize(nil, src)
			require.NoError(t, err)
			require.Positive(t, scale)
			for i, v := range src {
				got := float64(f.Decode(uint16(codes[i]))) * float64(scale)
				// The quotient itself is rounded too, to 24 bits.
				tolerance := (b.relative+math.Pow(2, -23))*math.Abs(float64(v)) + b.absolute*float64(scale)
				require.InDelta(t, float64(v), got, tolerance, "%v, %v", f, size)
			}
		}
		_, scale, err := f.Quantize(nil, make([]float32, 4))
		require.NoError(t, err)
		require.EqualValues(t, 1, scale)
		_, _, err = f.Quantize(nil, []float32{1, float32(math.Inf(-1))})
		require.EqualError(t, err, "narrow: element 1 is -Inf")
		_, _, err = f.Quantize(nil, []float32{float32(math.NaN())})
		require.EqualError(t, err, "narrow: element 0 is NaN")
	}
}

// A scale that is subnormal itself made the quotients exceed the largest code.
func TestQuantizeOfSubnormalRow(t *testing.T) {
	src := []float32{190 * math.SmallestNonzeroFloat32, -90 * math.SmallestNonzeroFloat32}
	codes, scale, err := E4M3.Quantize(nil, src)
	require.NoError(t, err)
	require.Less(t, math.Abs(float64(E4M3.Decode(uint16(codes[0])))), float64(E4M3.Max()))
	require.InDelta(t, 0, float64(E4M3.Decode(uint16(codes[0])))*float64(scale)-float64(src[0]), float64(scale)/512)
}

func BenchmarkAppend(b *testing.B) {
	src := make([]float32, 1<<16)
	for i := range src {
		src[i] = float32(i%1001) - 500
	}
	dst := make([]byte, 0, 2*len(src))
	for f := range count {
		b.Run(f.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				f.Append(dst, src)
			}
		})
	}
}
