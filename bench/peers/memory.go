package peers

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// slack is readable memory after every buffer: XNNPACK's kernels may read
	// 16 bytes beyond the end.
	slack    = 4096
	hugePage = 2 << 20
)

// Buffer is float32 memory outside Go's heap: aligned to a page, in huge pages
// where it is large, so that C code may keep its address.
type Buffer struct {
	Data []float32
	raw  []byte
}

// NewBuffer returns a zeroed buffer of n values.
func NewBuffer(n int) (*Buffer, error) {
	if n <= 0 {
		return nil, fmt.Errorf("buffer of %d values", n)
	}
	size := n*4 + slack
	large := size >= hugePage
	if large {
		size += hugePage
	}
	raw, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	offset := 0
	if large {
		// Without huge pages the buffer works all the same.
		_ = unix.Madvise(raw, unix.MADV_HUGEPAGE)
		if r := int(uintptr(unsafe.Pointer(&raw[0])) % hugePage); r != 0 {
			offset = hugePage - r
		}
	}
	return &Buffer{unsafe.Slice((*float32)(unsafe.Pointer(&raw[offset])), n), raw}, nil
}

// Free unmaps the buffer; Data must not be used afterwards.
func (b *Buffer) Free() {
	if b.raw != nil {
		_ = unix.Munmap(b.raw)
		b.raw, b.Data = nil, nil
	}
}
