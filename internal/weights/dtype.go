package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DType is the type of a stored element.
type DType uint8

const (
	Invalid DType = iota
	Bool
	U8
	I8
	U16
	I16
	U32
	I32
	U64
	I64
	F8E5M2
	F8E4M3
	F16
	BF16
	F32
	F64
	C64
	F8E8M0
	F6E2M3
	F6E3M2
	F4
	String
)

// dtypes has one row a DType. decode turns little-endian elements into
// float32; it is nil where an element has no float32 value here, and such
// tensors can be listed and copied but not converted.
var dtypes = [...]struct {
	name   string // as safetensors writes it
	bits   int
	decode func(dst []float32, src []byte)
}{
	Invalid: {name: "invalid"},
	Bool:    {"BOOL", 8, decodeBool},
	U8:      {"U8", 8, func(dst []float32, src []byte) { each(dst, src, 1, func(b []byte) float32 { return float32(b[0]) }) }},
	I8: {"I8", 8, func(dst []float32, src []byte) {
		each(dst, src, 1, func(b []byte) float32 { return float32(int8(b[0])) })
	}},
	U16: {"U16", 16, func(dst []float32, src []byte) { each(dst, src, 2, func(b []byte) float32 { return float32(le16(b)) }) }},
	I16: {"I16", 16, func(dst []float32, src []byte) {
		each(dst, src, 2, func(b []byte) float32 { return float32(int16(le16(b))) })
	}},
	U32: {"U32", 32, func(dst []float32, src []byte) { each(dst, src, 4, func(b []byte) float32 { return float32(le32(b)) }) }},
	I32: {"I32", 32, func(dst []float32, src []byte) {
		each(dst, src, 4, func(b []byte) float32 { return float32(int32(le32(b))) })
	}},
	U64: {"U64", 64, func(dst []float32, src []byte) { each(dst, src, 8, func(b []byte) float32 { return float32(le64(b)) }) }},
	I64: {"I64", 64, func(dst []float32, src []byte) {
		each(dst, src, 8, func(b []byte) float32 { return float32(int64(le64(b))) })
	}},
	F8E5M2: {"F8_E5M2", 8, func(dst []float32, src []byte) {
		each(dst, src, 1, func(b []byte) float32 { return float16(uint16(b[0]) << 8) })
	}},
	F8E4M3: {"F8_E4M3", 8, func(dst []float32, src []byte) { each(dst, src, 1, func(b []byte) float32 { return float8e4m3(b[0]) }) }},
	F16:    {"F16", 16, func(dst []float32, src []byte) { each(dst, src, 2, func(b []byte) float32 { return float16(le16(b)) }) }},
	BF16: {"BF16", 16, func(dst []float32, src []byte) {
		each(dst, src, 2, func(b []byte) float32 { return math.Float32frombits(uint32(le16(b)) << 16) })
	}},
	F32: {"F32", 32, func(dst []float32, src []byte) {
		each(dst, src, 4, func(b []byte) float32 { return math.Float32frombits(le32(b)) })
	}},
	F64: {"F64", 64, func(dst []float32, src []byte) {
		each(dst, src, 8, func(b []byte) float32 { return float32(math.Float64frombits(le64(b))) })
	}},
	C64:    {name: "C64", bits: 64},
	F8E8M0: {name: "F8_E8M0", bits: 8},
	F6E2M3: {name: "F6_E2M3", bits: 6},
	F6E3M2: {name: "F6_E3M2", bits: 6},
	F4:     {name: "F4", bits: 4},
	String: {name: "STRING", bits: 8},
}

// String is the name that safetensors gives the type.
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Size is the bytes of one element; 0 for types of less than a byte.
func (d DType) Size() int { return dtypes[d].bits / 8 }

// IsFloat reports whether the elements are floating-point numbers that Float32
// converts.
func (d DType) IsFloat() bool {
	return d == F8E5M2 || d == F8E4M3 || d == F16 || d == BF16 || d == F32 || d == F64
}

// Convertible reports whether Float32 converts the elements.
func (d DType) Convertible() bool { return dtypes[d].decode != nil }

// parseDType reads safetensors' name of a type. String is ours alone.
func parseDType(s string) (DType, bool) {
	for d := Bool; d < String; d++ {
		if dtypes[d].name == s {
			return d, true
		}
	}
	return Invalid, false
}

var (
	le16 = binary.LittleEndian.Uint16
	le32 = binary.LittleEndian.Uint32
	le64 = binary.LittleEndian.Uint64
)

func each(dst []float32, src []byte, size int, value func([]byte) float32) {
	for i := range dst {
		dst[i] = value(src[i*size : (i+1)*size])
	}
}

func decodeBool(dst []float32, src []byte) {
	for i := range dst {
		if src[i] != 0 {
			dst[i] = 1
		}
	}
}

func decodeAffine(dst []float32, src []byte, dt DType, q Affine) {
	for i := range dst {
		var n uint16
		if dt == U8 {
			n = uint16(src[i])
		} else {
			n = le16(src[2*i:])
		}
		// The conversion keeps the product from being fused into the sum.
		v := float64(float64(n)*q.Scale) + q.Min
		if q.Integer {
			v = math.Floor(v + 0.5)
		}
		dst[i] = float32(v)
	}
}

// float16 widens an IEEE 754 binary16; exact, NaN payloads kept.
func float16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac * 2^-24
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// float8e4m3 widens an OCP E4M3 value (bias 7, no infinities, S.1111.111 is
// NaN); exact.
func float8e4m3(b uint8) float32 {
	sign := uint32(b&0x80) << 24
	exp, frac := uint32(b>>3&15), uint32(b&7)
	switch {
	case b&0x7f == 0x7f:
		return math.Float32frombits(sign | 0x7fc00000)
	case exp == 0: // frac * 2^-9
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-9) | sign)
	}
	return math.Float32frombits(sign | (exp+120)<<23 | frac<<20)
}
