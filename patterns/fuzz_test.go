package patterns

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// matrixOf is a matrix whose elements are the bits in data, over and over.
func matrixOf(data []byte, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	var word [4]byte
	for i := range m.Data {
		for j := range word {
			if len(data) > 0 {
				word[j] = data[(4*i+j)%len(data)]
			}
		}
		m.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(word[:]))
	}
	return m
}

// FuzzPackUnpack prunes and packs matrices of any bits with any pattern that
// can be written; drop picks what the mask leaves out of what Prune keeps.
func FuzzPackUnpack(f *testing.F) {
	for i, s := range shaped {
		shape := s.shapes[0]
		f.Add(s.pattern, uint8(shape[0]), uint8(shape[1]), []byte{0, 0, 0x80, 0x3f, byte(i), 3, 7, 0xc1, 0, 0, 0, 0}, []byte{byte(i), 1})
	}
	f.Fuzz(func(t *testing.T, text string, rows, cols uint8, data, drop []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		m := matrixOf(data, 1+int(rows)%48, 1+int(cols)%140)
		if p.Validate(m.Rows, m.Cols) != nil {
			_, err := p.Prune(m)
			require.Error(t, err)
			return
		}
		k, err := p.Prune(m)
		require.NoError(t, err)
		require.True(t, p.Fits(k))
		require.LessOrEqual(t, k.Density(), p.Density(m.Rows, m.Cols)+1e-12)
		if len(drop) > 0 {
			i := 0
			for r, c := range k.Clone().All() {
				if drop[i/8%len(drop)]>>(i%8)&1 != 0 {
					k.Clear(r, c)
				}
				i++
			}
			require.True(t, p.Fits(k))
		}
		packed, err := Pack(p, m, k)
		require.NoError(t, err)
		got, mask := packed.Unpack()
		require.True(t, k.Equal(mask))
		sameBits(t, m, got, k)
		slots := 0
		for range packed.Iterate() {
			slots++
		}
		require.Len(t, packed.Values, slots)
		fits, err := Detect(m)
		require.NoError(t, err)
		for _, fit := range fits {
			require.NoError(t, fit.Pattern.Validate(m.Rows, m.Cols))
			require.True(t, !fit.Exact || fit.Pattern.Fits(MaskOf(m)), fit.Pattern)
		}
	})
}
