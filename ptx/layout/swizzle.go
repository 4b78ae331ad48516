package layout

import "fmt"

// Swizzle is how 16-byte chunks are permuted within shared memory so that both
// rows and columns of a tile are read without bank conflicts (PTX ISA 5.5.7).
// It is a permutation of addresses that is its own inverse.
type Swizzle uint8

const (
	SwizzleNone Swizzle = iota // chunks stay where they are
	Swizzle32B                 // rows of 32 bytes, pattern repeats after 256 bytes
	Swizzle64B                 // rows of 64 bytes, pattern repeats after 512 bytes
	Swizzle128B                // rows of 128 bytes, pattern repeats after 1024 bytes
)

// chunk is the unit of every swizzle and of every matrix descriptor.
const chunk = 16

// SwizzleOf is the swizzle whose span is n bytes: 16, 32, 64 or 128.
func SwizzleOf(n int) (Swizzle, error) {
	for s := SwizzleNone; s <= Swizzle128B; s++ {
		if s.Span() == n {
			return s, nil
		}
	}
	return 0, fmt.Errorf("layout: no swizzle has rows of %d bytes", n)
}

func (s Swizzle) String() string {
	if s == SwizzleNone {
		return "none"
	}
	return fmt.Sprintf("%dB", s.Span())
}

// Span is the bytes of one row of the pattern. Without a swizzle that is one
// chunk, the width of a core matrix.
func (s Swizzle) Span() int { return chunk << s }

// Align is the bytes after which the pattern repeats; the base of a tile must be
// a multiple of it. Without a swizzle it is the 128 bytes that a tensor copy
// asks of its destination.
func (s Swizzle) Align() int { return 8 * s.Span() }

// mask is the chunk-address bits that the swizzle changes; they are XORed with
// the bits three places higher.
func (s Swizzle) mask() int { return (1<<s - 1) << 4 }

// Addr is where the byte of linear address addr lies.
func (s Swizzle) Addr(addr int) int { return addr ^ addr>>3&s.mask() }

// Chunk is where the 16-byte chunk c of row r lies among the Span()/16 chunks of
// that row.
func (s Swizzle) Chunk(r, c int) int { return s.Addr(r*s.Span()+c*chunk) % s.Span() / chunk }

// Offset is where byte b of row r lies, from the base of a tile with rows of
// Span() bytes.
func (s Swizzle) Offset(r, b int) int { return s.Addr(r*s.Span() + b) }
