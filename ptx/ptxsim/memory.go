package ptxsim

import (
	"encoding/binary"

	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Addresses: a global one has its buffer's role above bufferBits; a shared one has
// the block's rank above windowBits, and begins at sharedStart, which no alignment
// mistakes for nothing.
const (
	bufferBits  = 40
	paramSpace  = uint64(1) << 62
	windowBits  = 24
	sharedStart = 1024
)

// global is n bytes of device memory.
func (m *machine) global(addr uint64, n, align int) []byte {
	of, off := gpu.Buffer(addr>>bufferBits), addr&(1<<bufferBits-1)
	b := m.memory[of]
	if off > uint64(len(b)) || uint64(n) > uint64(len(b))-off {
		fail("%d bytes at %d of %v, which has %d", n, off, of, len(b))
	}
	if off%uint64(align) != 0 {
		fail("%d bytes at %d of %v, which is no multiple of %d", n, off, of, align)
	}
	return b[off : off+uint64(n)]
}

// sharedAddr is where the block's dynamic shared memory begins.
func (c *cta) sharedAddr() uint64 { return uint64(c.rank)<<windowBits + sharedStart }

// place finds the block and the offset of a shared address.
func (c *cta) place(addr uint64, anyBlock bool) (*cta, int) {
	rank := int(addr >> windowBits & 0xff)
	if rank != c.rank && !anyBlock || rank >= len(c.cl.ctas) {
		fail("address %#x is in the shared memory of block %d of the cluster, this is %d of %d", addr, rank, c.rank, len(c.cl.ctas))
	}
	return c.cl.ctas[rank], int(addr&(1<<windowBits-1)) - sharedStart
}

// window is n bytes of shared memory.
func (c *cta) window(addr uint64, n, align int, anyBlock bool) []byte {
	to, off := c.place(addr, anyBlock)
	if off < 0 || n < 0 || off > len(to.shared)-n {
		fail("%d bytes at %d of %d of shared memory", n, off, len(to.shared))
	}
	if off%align != 0 {
		fail("%d bytes at %d of shared memory, which is no multiple of %d", n, off, align)
	}
	return to.shared[off : off+n]
}

func load(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func store(b []byte, v uint64) {
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

// box calls f for each 16-byte chunk of a box of a tensor map at a coordinate,
// with the chunk's place in shared memory, from addr on, and in the tensor; in is
// false where it lies outside. A chunk at the edge is cut by f's n bytes.
func (c *cta) box(m *gpu.TensorMap, addr uint64, coord []int64, f func(shared []byte, global []byte)) {
	size := m.DType.Size()
	inner := int(m.Box[0]) * size
	swizzle := layout.Swizzle(m.Swizzle)
	_, off := c.place(addr, true)
	if align := max(128, 8*m.Swizzle.Span()); off%align != 0 {
		fail("a box at %d of shared memory, want a multiple of %d", off, align)
	}
	rows := 1
	for _, b := range m.Box[1:] {
		rows *= int(b)
	}
	for r := range rows {
		inside, at, rest := true, m.Offset, r
		for d := 1; d < len(m.Dims); d++ {
			i := coord[d] + int64(rest%int(m.Box[d]))
			rest /= int(m.Box[d])
			inside = inside && i >= 0 && i < int64(m.Dims[d])
			at += uint64(i) * m.Strides[d-1]
		}
		for b := 0; b < inner; b += 16 {
			place := uint64(r*inner + b)
			if m.Swizzle != gpu.SwizzleNone {
				place = uint64(swizzle.Addr(int(place)))
			}
			first := coord[0]*int64(size) + int64(b)
			left := int64(m.Dims[0])*int64(size) - first
			var g []byte
			if inside && first >= 0 && left > 0 {
				g = c.cl.m.global(uint64(m.Of)<<bufferBits+at+uint64(first), int(min(16, left)), 1)
			}
			f(c.window(addr+place, 16, 16, true), g)
		}
	}
}
