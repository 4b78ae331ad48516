// Package narrow converts between float32 and the narrow number formats of the
// tensor cores: bf16, f16, e4m3 (the variant without infinities), e5m2 and s8.
//
// Conversions are those of PTX, bit for bit, so that what the host quantises and
// what a kernel converts agree: cvt.rn for bf16 and f16, cvt.rn.satfinite for
// e4m3 and e5m2, cvt.rni.sat for s8 (PTX ISA, cvt). All round to nearest,
// ties to even, and keep subnormal numbers.
//
// This package must not import any other package of this module.
package narrow

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Format is a number format of one or two bytes.
type Format uint8

const (
	BF16 Format = iota // 8 bits of exponent, 7 of mantissa
	F16                // IEEE 754 binary16
	E4M3               // OCP FP8 E4M3: no infinities, NaN is S.1111.111
	E5M2               // OCP FP8 E5M2
	S8                 // two's complement
	count
)

// float is a binary floating-point format with subnormal numbers.
type float struct {
	name     string
	size     int // bytes
	exponent int // bits
	mantissa int // bits
	max      uint32
	overflow uint32 // code of what rounds beyond max
	special  uint32 // code of the first magnitude that is not finite
	nan      uint32 // code that conversions give
}

// floats holds the formats by Format; S8 is not among them.
var floats = [...]float{
	BF16: {"bf16", 2, 8, 7, 0x7f7f, 0x7f80, 0x7f80, 0x7fff},
	F16:  {"f16", 2, 5, 10, 0x7bff, 0x7c00, 0x7c00, 0x7fff},
	E4M3: {"e4m3", 1, 4, 3, 0x7e, 0x7e, 0x7f, 0x7f},
	E5M2: {"e5m2", 1, 5, 2, 0x7b, 0x7b, 0x7c, 0x7f},
}

const (
	f32Mantissa = 23
	f32Bias     = 127
	f32Inf      = 0xff << f32Mantissa
)

func (f *float) bias() int { return 1<<(f.exponent-1) - 1 }

// rounding is what encode needs of a format, as bits of a float32.
type rounding struct {
	drop      uint8  // mantissa bits that are rounded away
	signShift uint8  // from the sign of a float32
	half      uint32 // of the last mantissa bit that is kept, less one
	rebias    uint32 // what a normal number's exponent shrinks by
	normal    uint32 // smallest normal number
	unit      uint32 // number whose unit in the last place is the smallest number
	max       uint32
	overflow  uint32
	nan       uint32
}

func (f *float) rounding() rounding {
	drop := f32Mantissa - f.mantissa
	bias := f32Bias - f.bias()
	return rounding{
		drop:      uint8(drop),
		signShift: uint8(31 - f.exponent - f.mantissa),
		half:      1<<(drop-1) - 1,
		rebias:    uint32(bias) << f32Mantissa,
		normal:    uint32(bias+1) << f32Mantissa,
		unit:      uint32(bias+1+drop) << f32Mantissa,
		max:       f.max,
		overflow:  f.overflow,
		nan:       f.nan,
	}
}

// encode is the code of v.
func (r *rounding) encode(v float32) uint32 {
	const signBit = 1 << 31
	abs := math.Float32bits(v) &^ signBit
	if abs > f32Inf {
		return r.nan
	}
	var code uint32
	if abs < r.normal {
		// The addition rounds to the unit, ties to even.
		code = math.Float32bits(math.Float32frombits(abs)+math.Float32frombits(r.unit)) - r.unit
	} else {
		// A carry out of the mantissa is the next exponent. The half, made whole
		// where the kept part is odd, rounds ties to even.
		drop := r.drop & 31
		code = (abs - r.rebias + r.half + abs>>drop&1) >> drop
	}
	if code > r.max {
		code = r.overflow
	}
	return math.Float32bits(v)&signBit>>(r.signShift&31) | code
}

// decode is the value of a code; exact.
func (f *float) decode(code uint32) float32 {
	width := f.exponent + f.mantissa
	sign := code >> width << 31
	abs := code & (1<<width - 1)
	bits := abs << (f32Mantissa - f.mantissa)
	if abs >= f.special {
		if f.special == f.nan { // no infinity
			return math.Float32frombits(sign | 0x7fc00000)
		}
		return math.Float32frombits(sign | f32Inf | bits)
	}
	// The same bits with the wrong bias; a power of two corrects normal and
	// subnormal numbers alike.
	scale := math.Float32frombits(uint32(2*f32Bias-f.bias()) << f32Mantissa)
	return math.Float32frombits(sign|bits) * scale
}

// String is the name that PTX and weight files use: "bf16", "e4m3".
func (f Format) String() string {
	switch {
	case f < S8:
		return floats[f].name
	case f == S8:
		return "s8"
	}
	return fmt.Sprintf("narrow.Format(%d)", uint8(f))
}

// Size is the bytes of a code.
func (f Format) Size() int {
	if f < S8 {
		return floats[f].size
	}
	return 1
}

// Max is the largest finite value.
func (f Format) Max() float32 {
	if f < S8 {
		return floats[f].decode(floats[f].max)
	}
	return math.MaxInt8
}

// Encode is the code of v, in the low Size bytes.
//
// bf16 and f16 overflow to infinity, e4m3 and e5m2 to the largest finite value,
// also from an infinity. NaN gives 0x7fff in two bytes and 0x7f in one. s8 rounds
// to an integer and clamps to [-128, 127]; NaN gives 0.
func (f Format) Encode(v float32) uint16 {
	if f < S8 {
		r := floats[f].rounding()
		return uint16(r.encode(v))
	}
	return uint16(uint8(toS8(v)))
}

// Decode is the value of a code; exact. Bits above Size bytes are ignored.
func (f Format) Decode(code uint16) float32 {
	if f < S8 {
		return floats[f].decode(uint32(code) & (1<<(8*floats[f].size) - 1))
	}
	return float32(int8(code))
}

// Round is the value nearest to v that the format has: Decode(Encode(v)).
func (f Format) Round(v float32) float32 { return f.Decode(f.Encode(v)) }

func toS8(v float32) int8 {
	if v != v {
		return 0
	}
	return int8(math.RoundToEven(float64(min(max(v, math.MinInt8), math.MaxInt8))))
}

// Append appends the little-endian codes of src to dst.
func (f Format) Append(dst []byte, src []float32) []byte {
	dst = slices.Grow(dst, len(src)*f.Size())
	if f == S8 {
		for _, v := range src {
			dst = append(dst, byte(toS8(v)))
		}
		return dst
	}
	r := floats[f].rounding()
	if floats[f].size == 2 {
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(r.encode(v)))
		}
		return dst
	}
	for _, v := range src {
		dst = append(dst, byte(r.encode(v)))
	}
	return dst
}

// Floats fills dst with the values of the little-endian codes src, which is as
// long as len(dst) codes.
func (f Format) Floats(dst []float32, src []byte) error {
	if len(src) != len(dst)*f.Size() {
		return fmt.Errorf("narrow: %d bytes are not %d values of %v", len(src), len(dst), f)
	}
	for i := range dst {
		if f.Size() == 2 {
			dst[i] = f.Decode(binary.LittleEndian.Uint16(src[2*i:]))
		} else {
			dst[i] = f.Decode(uint16(src[i]))
		}
	}
	return nil
}

// Quantize appends the codes of src/scale to dst, with the scale that maps the
// largest magnitude of src to Max, as e4m3, e5m2 and s8 weights want per row:
// v ≈ scale * Decode(code). A row of zeros has scale 1. A value that is not finite
// is an error.
func (f Format) Quantize(dst []byte, src []float32) ([]byte, float32, error) {
	var top float32
	for i, v := range src {
		if v-v != 0 {
			return dst, 0, fmt.Errorf("narrow: element %d is %v", i, v)
		}
		top = max(top, -v, v)
	}
	// A subnormal scale would be too coarse for the quotients to stay below Max.
	scale := max(top/f.Max(), math.SmallestNonzeroFloat32*(1<<f32Mantissa))
	if top == 0 {
		scale = 1
	}
	scaled := make([]float32, len(src))
	for i, v := range src {
		scaled[i] = v / scale
	}
	return f.Append(dst, scaled), scale, nil
}

// Parse is the format of a name that String gives.
func Parse(name string) (Format, error) {
	for f := range count {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("narrow: no format is called %q", name)
}
