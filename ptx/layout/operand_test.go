package layout

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// The operands that kernels use: the words of their descriptors and what one
// instruction's columns (32 bytes of K, 16 columns when MN-major) add to lo.
func TestDescriptorWords(t *testing.T) {
	for _, c := range []struct {
		name         string
		o            Operand
		start        uint32
		lo, hi, step uint32
	}{
		{"bf16 B", Operand{KMajor, Swizzle128B, 256, 64, 2}, 0x2400, 1<<16 | 0x240, 1<<30 | 64, 2},
		{"e4m3 B", Operand{KMajor, Swizzle128B, 128, 128, 1}, 0x400, 1<<16 | 0x40, 1<<30 | 64, 2},
		{"compressed bf16 A", Operand{KMajor, Swizzle64B, 128, 32, 2}, 0x200, 1<<16 | 0x20, 2<<30 | 32, 2},
		{"32-byte rows", Operand{KMajor, Swizzle32B, 64, 16, 2}, 0x100, 1<<16 | 0x10, 3<<30 | 16, 0},
		{"core matrices", Operand{KMajor, SwizzleNone, 64, 64, 2}, 0x80, 64<<16 | 8, 8, 128},
		{"MN-major B", Operand{MNMajor, Swizzle128B, 128, 128, 2}, 0x800, 1024<<16 | 0x80, 1<<30 | 64, 128},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := c.o.Descriptor(c.start)
			require.NoError(t, err)
			lo, hi := d.Words()
			require.Equal(t, c.lo, lo)
			require.Equal(t, c.hi, hi)
			back, err := ParseDescriptor(d.Uint64())
			require.NoError(t, err)
			require.Equal(t, d, back)
			if c.step != 0 {
				k := 32 / c.o.Size
				if c.o.Major == MNMajor {
					k = 16
				}
				step, err := c.o.Advance(0, k)
				require.NoError(t, err)
				require.Equal(t, c.step, step)
			}
		})
	}
}

// Through the descriptor of any part the tensor core finds what Offset placed.
func TestDescriptorAddressesWhatOffsetPlaced(t *testing.T) {
	var operands []Operand
	for _, s := range swizzles {
		for _, size := range []int{1, 2} {
			for _, n := range []int{1, 2, 4} { // boxes side by side
				operands = append(operands, Operand{KMajor, s, 64, n * max(32, s.Span()) / size, size})
			}
		}
		if s != SwizzleNone {
			operands = append(operands, Operand{MNMajor, s, s.Span(), 64, 2}, Operand{MNMajor, s, 2 * s.Span(), 40, 2})
		}
	}
	for _, o := range operands {
		t.Run(fmt.Sprintf("%d_%v_%dx%d_%d", o.Major, o.Swizzle, o.Rows, o.K, o.Size), func(t *testing.T) {
			const start = 3 * 1024
			whole, err := o.Descriptor(start)
			require.NoError(t, err)
			seen := map[int]bool{}
			for row := range o.Rows {
				for k := range o.K {
					at := o.Offset(row, k)
					if at < 0 || at >= o.Bytes() || seen[at] {
						t.Fatalf("element (%d, %d) at %d", row, k, at)
					}
					seen[at] = true
				}
			}
			rows, ks, box := 8, 32/o.Size, max(32, o.Swizzle.Span())/o.Size
			if o.Major == MNMajor {
				rows, ks, box = o.Swizzle.Span()/o.Size, 8, o.K
			}
			for row := 0; row < o.Rows; row += rows {
				for k := 0; k < o.K; k += ks {
					step, err := o.Advance(row, k)
					require.NoError(t, err)
					lo, hi := whole.Words()
					part, err := ParseDescriptor(uint64(hi)<<32 | uint64(lo+step))
					require.NoError(t, err)
					// All that an instruction could read: every further row, and
					// columns up to the end of the box.
					for r := row; r < o.Rows; r++ {
						for c := k; c < k-k%box+box; c++ {
							for b := range o.Size {
								if at := part.Address(o.Major, r-row, c-k, o.Size, b); at != start+o.Offset(r, c)+b {
									t.Fatalf("element (%d, %d) is read at %d, placed at %d", r, c, at, start+o.Offset(r, c)+b)
								}
							}
						}
					}
				}
			}
		})
	}
}

func TestOperandErrors(t *testing.T) {
	good := Operand{KMajor, Swizzle128B, 64, 64, 2}
	for want, change := range map[string]func(*Operand){
		"elements of 4 bytes":        func(o *Operand) { o.Size = 4 },
		"swizzle 9":                  func(o *Operand) { o.Swizzle = 9 },
		"major 2":                    func(o *Operand) { o.Major = 2 },
		"of 12 rows":                 func(o *Operand) { o.Rows = 12 },
		"operand of 64 bytes of K":   func(o *Operand) { o.K = 32 },
		"operand of 0 bytes of K":    func(o *Operand) { o.K = 0 },
		"MN-major operand of 1-byte": func(o *Operand) { o.Major, o.Size = MNMajor, 1 },
		"MN-major operand without":   func(o *Operand) { o.Major, o.Swizzle = MNMajor, SwizzleNone },
		"64 bytes of M or N":         func(o *Operand) { o.Major, o.Rows = MNMajor, 32 },
		"4 columns of K":             func(o *Operand) { o.Major, o.K = MNMajor, 4 },
		"is too large":               func(o *Operand) { o.Rows = 1 << 40 },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.Check(), want)
		_, err := o.Descriptor(0)
		require.ErrorContains(t, err, want)
		_, err = o.Advance(0, 0)
		require.ErrorContains(t, err, want)
	}
	_, err := good.Descriptor(512)
	require.ErrorContains(t, err, "address 512, want a multiple of 1024")
	_, err = good.Descriptor(1 << 18)
	require.ErrorContains(t, err, "start address 262144")
	_, err = Operand{KMajor, SwizzleNone, 1 << 15, 32, 1}.Descriptor(0)
	require.ErrorContains(t, err, "leading-dimension offset")
	_, err = good.Advance(64, 0)
	require.ErrorContains(t, err, "(64, 0)")
	_, err = good.Advance(0, 8)
	require.ErrorContains(t, err, "multiples of (8, 16)")
	for _, bit := range []int{14, 30, 46, 49, 51, 61} {
		_, err = ParseDescriptor(1 << bit)
		require.ErrorContains(t, err, "outside its fields")
	}
}
