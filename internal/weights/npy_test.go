package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func npyFile(version byte, header string, data []byte) []byte {
	b := append([]byte(npyMagic), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}

func TestNPYReadsEveryType(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	for _, c := range []struct {
		descr string
		data  []byte
		want  []float32
	}{
		{"<f4", le.AppendUint32(le.AppendUint32(nil, math.Float32bits(0.1)), math.Float32bits(-3)), []float32{0.1, -3}},
		{">f4", be.AppendUint32(be.AppendUint32(nil, math.Float32bits(0.1)), math.Float32bits(-3)), []float32{0.1, -3}},
		{"<f8", le.AppendUint64(le.AppendUint64(nil, math.Float64bits(0.5)), math.Float64bits(1e300)), []float32{0.5, float32(math.Inf(1))}},
		{">f8", be.AppendUint64(be.AppendUint64(nil, math.Float64bits(0.5)), math.Float64bits(-2)), []float32{0.5, -2}},
		{"<f2", []byte{0, 0x3c, 0, 0xc0}, []float32{1, -2}},
		{">f2", []byte{0x3c, 0, 0xc0, 0}, []float32{1, -2}},
		{"|i1", []byte{0x80, 5}, []float32{-128, 5}},
		{"|u1", []byte{0x80, 5}, []float32{128, 5}},
		{"|b1", []byte{0, 1}, []float32{0, 1}},
		{"<i2", []byte{0xff, 0xff, 2, 0}, []float32{-1, 2}},
		{"<i4", []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0}, []float32{-1, 1}},
		{">i4", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1}, []float32{-1, 1}},
		{">i8", be.AppendUint64(be.AppendUint64(nil, 7), math.MaxUint64), []float32{7, -1}},
	} {
		for version := byte(1); version <= 3; version++ {
			head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (2,), }  \n", c.descr)
			f, err := openTemp(t, "w.npy", npyFile(version, head, c.data))
			require.NoError(t, err, c.descr)
			got, err := f.Float32("w")
			require.NoError(t, err, c.descr)
			require.Equal(t, c.want, got, c.descr)
		}
	}
}

func TestNPYFortranOrder(t *testing.T) {
	// Element (i, j, k) of shape 2×3×4 holds 100i+10j+k; the first axis is fastest.
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var data []byte
		for k := range 4 {
			for j := range 3 {
				for i := range 2 {
					data = order.AppendUint16(data, uint16(100*i+10*j+k))
				}
			}
		}
		descr := "<i2"
		if order == binary.BigEndian {
			descr = ">i2"
		}
		f, err := openTemp(t, "w.npy", npyFile(1, `{"shape": (2, 3, 4), "fortran_order": True, "descr": "`+descr+`"}`, data))
		require.NoError(t, err)
		got, err := f.Float32("w")
		require.NoError(t, err)
		var want []float32
		for i := range 2 {
			for j := range 3 {
				for k := range 4 {
					want = append(want, float32(100*i+10*j+k))
				}
			}
		}
		require.Equal(t, want, got)
	}
}

func TestNPYFaults(t *testing.T) {
	head := func(s string) []byte { return npyFile(1, s, []byte{1, 2, 3, 4}) }
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"magic":        {[]byte("\x93NUMPX\x01\x00\x00\x00"), "byte 0: not an npy file"},
		"truncated":    {[]byte(npyMagic + "\x01"), "truncated npy header"},
		"version":      {npyFile(9, "{}", nil), "byte 6: npy version 9"},
		"header past":  {[]byte(npyMagic + "\x02\x00\xff\xff\xff\xff{}"), "exceeds the file"},
		"list":         {head("[]"), "byte 10: npy header: a dictionary"},
		"missing":      {head("{'descr': '<f4'}"), "descr, fortran_order and shape are expected"},
		"twice":        {head("{'descr': '<f4', 'descr': '<f4'}"), "occurs twice"},
		"unknown key":  {head("{'name': 'x'}"), `unknown key "name"`},
		"object dtype": {head("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), `dtype "|O" is unknown`},
		"structured":   {head("{'descr': [('a', '<f4')]}"), "structured dtypes"},
		"no order":     {head("{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}"), `dtype "|f4" is unknown`},
		"fortran":      {head("{'fortran_order': 1}"), "neither True nor False"},
		"negative":     {head("{'shape': (-1,)}"), "not a size"},
		"huge number":  {head("{'shape': (99999999999999999999,)}"), "not a size"},
		"overflow":     {head("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"), "overflows"},
		"short data":   {head("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"), "takes 8 bytes, but 4 follow"},
		"long data":    {head("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}"), "takes 2 bytes, but 4 follow"},
		"open string":  {head("{'descr"), "the string does not end"},
		"trailing":     {head("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x"), "something follows"},
	} {
		path := writeTemp(t, "w.npy", c.content)
		_, err := Open(path)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, path+": byte ", name)
	}
}

func TestNPYRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, shape := range [][]int{{}, {7}, {3, 5}, {2, 3, 4}, {0, 3}} {
		values := make([]float32, product(shape))
		for i := range values {
			values[i] = math.Float32frombits(rng.Uint32()&^0x7f800000 | 0x3f000000)
		}
		path := filepath.Join(t.TempDir(), "x.npy")
		require.NoError(t, WriteNPY(path, shape, values))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Zero(t, (len(b)-4*len(values))%64, "the data is aligned")
		gotShape, got, err := ReadNPY(path)
		require.NoError(t, err)
		require.True(t, slices.Equal(shape, gotShape))
		require.Equal(t, values, got)
	}
}
