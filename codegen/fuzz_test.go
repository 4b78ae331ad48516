package codegen

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// FuzzPackedForm packs masks of any bits, over weights of any bits, into any
// packed form, and reads the form back as the kernels' contract says.
func FuzzPackedForm(f *testing.F) {
	configs, err := EveryConfig()
	require.NoError(f, err)
	for i := range configs {
		f.Add(uint16(i), uint8(7*i+20), uint16(13*i+40), uint16(11*i+5), []byte{byte(i), 0x5a, 0xff, 1}, []byte{0, 0, 0x80, 0x3f, 1, byte(i), 0x10, 0xc0})
	}
	f.Fuzz(func(t *testing.T, which uint16, rows uint8, cols, kb uint16, keep, data []byte) {
		c := configs[int(which)%len(configs)]
		m := patterns.NewMatrix(1+int(rows)%40, 1+int(cols)%150)
		switch c.Compact = which>>15 == 1; c.Op {
		case runtime.LanesNM:
			c.Compact = false
			m = patterns.NewMatrix(m.Rows, (1+int(cols)%(150/c.M))*c.M)
		case runtime.LanesRow, runtime.DeltaTile:
			m = patterns.NewMatrix(m.Rows, 1+int(cols)%600) // gaps above 255 columns
		}
		if c.Panel() {
			c.KB = 1 + int(kb)%(2*m.Cols)
		}
		for i := range m.Data {
			if n := len(data) / 4; n > 0 {
				m.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[i%n*4:]))
			}
		}
		mask := patterns.NewMask(m.Rows, m.Cols)
		for r := range m.Rows {
			group := 0
			for col := range m.Cols {
				if c.Op == runtime.LanesNM && col%c.M == 0 {
					group = 0
				}
				i := r*m.Cols + col
				if len(keep) == 0 || keep[i/8%len(keep)]>>(i%8)&1 == 0 || c.Op == runtime.LanesNM && group == c.N {
					continue
				}
				mask.Set(r, col)
				group++
			}
		}
		checkPacked(t, c, m, mask)
	})
}
