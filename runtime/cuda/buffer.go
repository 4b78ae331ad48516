package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Buffer is device memory, or a part of it. It belongs to the device that made
// it: another device refuses it, and so does every use after Free.
type Buffer struct {
	mem  *object
	addr uint64
	size int64
	part bool
}

// Alloc returns device memory of the given bytes, aligned to 256 at least. Its
// contents are not defined. It fails with ErrOutOfMemory.
func (d *Device) Alloc(bytes int64) (*Buffer, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: allocate %d bytes: the size must be positive", bytes)
	}
	var addr uint64
	if err := d.do(fmt.Sprintf("allocate %d bytes", bytes), func() driver.Result { return d.drv.MemAlloc(&addr, uint64(bytes)) }); err != nil {
		return nil, err
	}
	return d.buffer(addr, bytes, func(h uintptr) driver.Result { return d.drv.MemFree(uint64(h)) }), nil
}

// AdoptBuffer wraps device memory that something else owns. Free ends the use of
// the Buffer, not the memory.
func (d *Device) AdoptBuffer(addr uint64, bytes int64) (*Buffer, error) {
	if addr == 0 || bytes <= 0 || addr+uint64(bytes) < addr {
		return nil, fmt.Errorf("cuda: adopt %d bytes at address %#x: no memory", bytes, addr)
	}
	return d.buffer(addr, bytes, func(uintptr) driver.Result { return driver.Success }), nil
}

func (d *Device) buffer(addr uint64, bytes int64, free func(uintptr) driver.Result) *Buffer {
	o := &object{dev: d, what: fmt.Sprintf("buffer of %d bytes", bytes), handle: uintptr(addr), destroy: free, gone: ErrFreed}
	d.own(o)
	return &Buffer{mem: o, addr: addr, size: bytes}
}

// Free gives the memory back, and waits for the work that may use it. Parts made
// by Slice end with it; freeing a part is an error.
func (b *Buffer) Free() error {
	if b.part {
		return fmt.Errorf("cuda: free a part of a %s: free the whole", b.mem.what)
	}
	return b.mem.end()
}

// Size returns the bytes.
func (b *Buffer) Size() int64 { return b.size }

// Addr returns the device address, for interoperation.
func (b *Buffer) Addr() uint64 { return b.addr }

// Slice returns the part [offset, offset+bytes), which shares the memory.
func (b *Buffer) Slice(offset, bytes int64) (*Buffer, error) {
	if offset < 0 || bytes <= 0 || bytes > b.size || offset > b.size-bytes {
		return nil, fmt.Errorf("cuda: slice %d bytes at %d of a buffer of %d", bytes, offset, b.size)
	}
	return &Buffer{mem: b.mem, addr: b.addr + uint64(offset), size: bytes, part: true}, nil
}

// Elem is a type whose slices can be copied to a device as they are.
type Elem interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~uint32 | ~int64 | ~uint64 | ~float32 | ~float64
}

// Upload copies a slice to the start of a buffer, after the work that the stream
// has, and returns when the bytes are there. A nil stream is that of the device.
func Upload[T Elem](s *Stream, dst *Buffer, src []T) error {
	p, n := bytesOf(src)
	return dst.copyHost(s, "upload", p, n, func(s uintptr) driver.Result {
		return dst.mem.dev.drv.MemcpyHtoD(dst.addr, p, uint64(n), s)
	})
}

// Download copies the start of a buffer into a slice, after the work that the
// stream has, and returns when the bytes are there. A nil stream is that of the
// device.
func Download[T Elem](s *Stream, dst []T, src *Buffer) error {
	p, n := bytesOf(dst)
	return src.copyHost(s, "download", p, n, func(s uintptr) driver.Result {
		return src.mem.dev.drv.MemcpyDtoH(p, src.addr, uint64(n), s)
	})
}

func bytesOf[T Elem](s []T) (unsafe.Pointer, int64) {
	var t T
	return unsafe.Pointer(unsafe.SliceData(s)), int64(len(s)) * int64(unsafe.Sizeof(t))
}

// copyHost runs a copy between Go memory and b and waits for it, since the
// collector may reuse the memory afterwards.
func (b *Buffer) copyHost(s *Stream, what string, p unsafe.Pointer, n int64, start func(stream uintptr) driver.Result) error {
	d := b.mem.dev
	s = d.streamOr(s)
	if err := b.fits(n, what); err != nil || n == 0 {
		return err
	}
	if err := s.ready(b); err != nil {
		return err
	}
	if s.capture.Load() != nil {
		return fmt.Errorf("cuda: %s while %s is captured: Go memory cannot be part of a graph, use a HostBuffer", what, s.what)
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	call := fmt.Sprintf("%s %d bytes", what, n)
	if err := d.check(call, start(s.handle)); err != nil {
		return err
	}
	return d.check(call, d.drv.StreamSynchronize(s.handle))
}

func (b *Buffer) fits(n int64, what string) error {
	if n > b.size {
		return fmt.Errorf("cuda: %s %d bytes: the buffer has %d", what, n, b.size)
	}
	return nil
}

// HostBuffer is page-locked host memory, which the device copies from and to
// while the program goes on.
type HostBuffer struct {
	object
	bytes []byte
}

// AllocHost returns page-locked host memory.
func (d *Device) AllocHost(bytes int64) (*HostBuffer, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: allocate %d bytes of host memory: the size must be positive", bytes)
	}
	h := new(HostBuffer)
	var p unsafe.Pointer
	if err := d.do(fmt.Sprintf("allocate %d bytes of page-locked host memory", bytes), func() driver.Result {
		return d.drv.MemAllocHost(&p, uint64(bytes))
	}); err != nil {
		return nil, err
	}
	h.bytes = unsafe.Slice((*byte)(p), bytes)
	h.dev, h.what, h.gone = d, fmt.Sprintf("host buffer of %d bytes", bytes), ErrFreed
	h.destroy = func(uintptr) driver.Result { return d.drv.MemFreeHost(p) }
	d.own(&h.object)
	return h, nil
}

// Bytes returns the memory. It must not be touched after Free, nor while a copy
// is under way.
func (h *HostBuffer) Bytes() []byte { return h.bytes }

// Free gives the memory back; no copy may be under way.
func (h *HostBuffer) Free() error { return h.end() }
