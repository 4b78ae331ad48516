package cudatest

import (
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// block is device memory: bytes of the program behind addresses of its own.
type block struct {
	addr  uint64
	bytes []byte
}

const (
	firstAddr = 0x7f00_0000_0000
	alignment = 256
)

// Mem returns the n bytes of device memory at an address, or nil where they are
// not all within one allocation.
func (c *context) mem(addr, n uint64) []byte {
	for _, b := range c.memory {
		if off := addr - b.addr; addr >= b.addr && off <= uint64(len(b.bytes)) && n <= uint64(len(b.bytes))-off {
			return b.bytes[off : off+n : off+n]
		}
	}
	return nil
}

func (f *Fake) bindMemory(d *driver.Driver) {
	d.MemGetInfo = func(free, total *uint64) driver.Result {
		return f.run("cuMemGetInfo_v2", func(c *context) driver.Result {
			*free, *total = c.dev.Memory-c.used, c.dev.Memory
			return driver.Success
		})
	}
	d.MemAlloc = func(addr *uint64, bytes uint64) driver.Result {
		return f.run("cuMemAlloc_v2", func(c *context) driver.Result {
			if bytes == 0 {
				return driver.ErrInvalidValue
			}
			if bytes > c.dev.Memory-c.used {
				return driver.ErrOutOfMemory
			}
			b := &block{addr: firstAddr, bytes: make([]byte, bytes)}
			if n := len(c.memory); n > 0 {
				last := c.memory[n-1]
				b.addr = (last.addr + uint64(len(last.bytes)) + 2*alignment) &^ (alignment - 1)
			}
			for i := range b.bytes {
				b.bytes[i] = 0xA5 // new memory is not zero
			}
			c.used += bytes
			c.memory = append(c.memory, b)
			*addr = b.addr
			return driver.Success
		})
	}
	d.MemFree = func(addr uint64) driver.Result {
		return f.run("cuMemFree_v2", func(c *context) driver.Result {
			for i, b := range c.memory {
				if b.addr == addr {
					c.used -= uint64(len(b.bytes))
					c.memory = append(c.memory[:i:i], c.memory[i+1:]...)
					return driver.Success
				}
			}
			return driver.ErrInvalidValue
		})
	}
	d.MemAllocHost = func(p *unsafe.Pointer, bytes uint64) driver.Result {
		return f.run("cuMemAllocHost_v2", func(*context) driver.Result {
			b := make([]byte, bytes)
			*p = unsafe.Pointer(&b[0])
			f.keep[*p] = b
			return driver.Success
		})
	}
	d.MemFreeHost = func(p unsafe.Pointer) driver.Result {
		return f.run("cuMemFreeHost", func(*context) driver.Result {
			if f.keep[p] == nil {
				return driver.ErrInvalidValue
			}
			delete(f.keep, p)
			return driver.Success
		})
	}
	d.MemcpyHtoD = func(dst uint64, src unsafe.Pointer, bytes uint64, s uintptr) driver.Result {
		return f.enqueue("cuMemcpyHtoDAsync_v2", s, func(c *context) driver.Result {
			return copyBytes(c.mem(dst, bytes), unsafe.Slice((*byte)(src), bytes))
		})
	}
	d.MemcpyDtoH = func(dst unsafe.Pointer, src, bytes uint64, s uintptr) driver.Result {
		return f.enqueue("cuMemcpyDtoHAsync_v2", s, func(c *context) driver.Result {
			from := c.mem(src, bytes)
			return copyBytes(unsafe.Slice((*byte)(dst), bytes)[:len(from)], from)
		})
	}
	d.MemcpyDtoD = func(dst, src, bytes uint64, s uintptr) driver.Result {
		return f.enqueue("cuMemcpyDtoDAsync_v2", s, func(c *context) driver.Result {
			return copyBytes(c.mem(dst, bytes), c.mem(src, bytes))
		})
	}
	d.MemsetD8 = func(dst uint64, v uint8, n uint64, s uintptr) driver.Result {
		return f.enqueue("cuMemsetD8Async", s, func(c *context) driver.Result {
			to := c.mem(dst, n)
			for i := range to {
				to[i] = v
			}
			return found(to)
		})
	}
	d.MemsetD32 = func(dst uint64, v uint32, n uint64, s uintptr) driver.Result {
		return f.enqueue("cuMemsetD32Async", s, func(c *context) driver.Result {
			to := c.mem(dst, 4*n)
			for i := range to {
				to[i] = byte(v >> (8 * (i % 4)))
			}
			return found(to)
		})
	}
}

func found(b []byte) driver.Result {
	if b == nil {
		return driver.ErrInvalidValue
	}
	return driver.Success
}

// copyBytes copies within memory that mem has found.
func copyBytes(to, from []byte) driver.Result {
	if to == nil || from == nil || len(to) != len(from) {
		return driver.ErrInvalidValue
	}
	copy(to, from)
	return driver.Success
}

// names are those of the results that tests meet.
var names = map[driver.Result]string{
	driver.ErrInvalidValue: "CUDA_ERROR_INVALID_VALUE", driver.ErrOutOfMemory: "CUDA_ERROR_OUT_OF_MEMORY",
	driver.ErrStubLibrary: "CUDA_ERROR_STUB_LIBRARY",
	driver.ErrNoDevice:    "CUDA_ERROR_NO_DEVICE", driver.ErrInvalidDevice: "CUDA_ERROR_INVALID_DEVICE",
	driver.ErrInvalidImage: "CUDA_ERROR_INVALID_IMAGE", driver.ErrInvalidContext: "CUDA_ERROR_INVALID_CONTEXT",
	driver.ErrInvalidPTX: "CUDA_ERROR_INVALID_PTX", driver.ErrUnsupportedPTXVersion: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
	driver.ErrInvalidHandle: "CUDA_ERROR_INVALID_HANDLE", driver.ErrNotFound: "CUDA_ERROR_NOT_FOUND",
	driver.ErrIllegalAddress: "CUDA_ERROR_ILLEGAL_ADDRESS", driver.ErrLaunchFailed: "CUDA_ERROR_LAUNCH_FAILED",
	driver.ErrStreamCaptureUnsupport: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
	driver.ErrStreamCaptureWrongThrd: "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
}

func cString(to **byte, s string) driver.Result {
	if s == "" {
		return driver.ErrInvalidValue
	}
	b := append([]byte(s), 0)
	*to = &b[0]
	return driver.Success
}

func copyString(to *byte, size int, s string) {
	b := unsafe.Slice(to, size)
	b[copy(b[:size-1], s)] = 0
}
