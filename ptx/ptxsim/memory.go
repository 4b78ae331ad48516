package ptxsim

import (
	"encoding/binary"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Addresses: a global one has its buffer's role above bufferBits; a shared one has
// the block's rank above windowBits, and begins at sharedStart, which no alignment
// mistakes for nothing; the address of a tensor map is its parameter's number.
const (
	bufferBits    = 40
	paramSpace    = uint64(1) << 62
	genericShared = uint64(1) << 61
	windowBits    = 24
	sharedStart   = 1024
)

// early are the buffers that a kernel may not touch before its predecessor in the
// stream is done.
var early = [gpu.NumBuffers]bool{gpu.X: true, gpu.XScales: true, gpu.Residual: true, gpu.Y: true, gpu.Workspace: true}

// global is n bytes of device memory.
func (w *warp) global(addr uint64, n, align int, write bool) []byte {
	m := w.cta.cl.m
	of, off := gpu.Buffer(addr>>bufferBits), addr&(1<<bufferBits-1)
	b, known := m.memory[of]
	if !known {
		fail(OutOfBounds, "%d bytes at %#x, where no buffer is", n, addr)
	}
	if off > uint64(len(b)) || uint64(n) > uint64(len(b))-off {
		fail(OutOfBounds, "%d bytes at %d of %v, which has %d", n, off, of, len(b))
	}
	if off%uint64(align) != 0 {
		fail(Misaligned, "%d bytes at %d of %v, which is no multiple of %d", n, off, of, align)
	}
	if m.launch.PDL && (write || early[of]) && w.view.happened.at(gridAgent) == 0 {
		fail(BeforeGridWait, "%v may still be in use by the kernel before", of)
	}
	if fresh := m.fresh[of]; fresh != nil {
		for at := off; at < off+uint64(n); at++ {
			if write {
				fresh[at] = true
			} else if !fresh[at] {
				fail(Uninitialised, "byte %d of %v was never written", at, of)
			}
		}
	}
	return b[off : off+uint64(n)]
}

// space is where an instruction's addresses point.
type space uint8

const (
	globalSpace space = iota
	sharedSpace
	clusterSpace
	genericSpace
)

func (i *instr) space() space {
	switch {
	case i.has("shared::cluster"):
		return clusterSpace
	case i.has("shared"), i.has("shared::cta"):
		return sharedSpace
	case i.has("global"):
		return globalSpace
	}
	return genericSpace
}

// touch returns n bytes at an address, checked and recorded, and whether they have
// a value to read.
func (w *warp) touch(s space, addr uint64, n, align int, write bool, a access) (b []byte, known bool) {
	if s == genericSpace {
		if s = globalSpace; addr&genericShared != 0 {
			s, addr = clusterSpace, addr&^genericShared
		}
	}
	if s == globalSpace {
		if a.unknown {
			fail(Uninitialised, "a value that is none goes to device memory")
		}
		return w.global(addr, n, align, write), true
	}
	c, off := w.cta.place(addr, n, align, s == clusterSpace)
	if write {
		c.writes(off, n, a)
	} else {
		known = c.reads(off, n, a)
	}
	return c.shared[off : off+n], known
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
