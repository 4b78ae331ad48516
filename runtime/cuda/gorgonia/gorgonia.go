//go:build gorgoniacu && cgo

package gorgonia

import (
	"unsafe"

	"gorgonia.org/cu"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// handles are types of cu that hold one C pointer, which they do not tell.
type handles interface {
	cu.CUContext | cu.Module | cu.Stream
}

// The conversions below fail to compile if one of the types gets another size.
const pointer = unsafe.Sizeof(uintptr(0))

var (
	_ = [1]struct{}{}[unsafe.Sizeof(cu.CUContext{})-pointer]
	_ = [1]struct{}{}[unsafe.Sizeof(cu.Module{})-pointer]
	_ = [1]struct{}{}[unsafe.Sizeof(cu.Stream{})-pointer]
)

func handle[T handles](x T) uintptr { return *(*uintptr)(unsafe.Pointer(&x)) }

func fromHandle[T handles](h uintptr) T { return *(*T)(unsafe.Pointer(&h)) }

// AdoptContext returns a device that works in a context of cu. Closing it leaves
// the context alone, which must outlive it.
func AdoptContext(s *cuda.System, ctx cu.CUContext) (*cuda.Device, error) {
	return s.Adopt(handle(ctx))
}

// Context returns a device's context for cu, which must not destroy it.
func Context(d *cuda.Device) cu.CUContext { return fromHandle[cu.CUContext](d.Context()) }

// AdoptModule returns a module that cu loaded into the device's context. Closing
// it does not unload.
func AdoptModule(d *cuda.Device, m cu.Module) (*cuda.Module, error) {
	return d.AdoptModule(handle(m))
}

// Module returns a loaded module for cu, which must not unload it.
func Module(m *cuda.Module) cu.Module { return fromHandle[cu.Module](m.Handle()) }

// AdoptMemory returns device memory of cu, of the device's context, as a buffer.
// Freeing the buffer does not free the memory.
func AdoptMemory(d *cuda.Device, p cu.DevicePtr, bytes int64) (*cuda.Buffer, error) {
	return d.AdoptBuffer(uint64(p), bytes)
}

// Memory returns the address of a buffer for cu, which must not free it. It is
// good until the buffer is freed.
func Memory(b *cuda.Buffer) cu.DevicePtr { return cu.DevicePtr(b.Addr()) }

// Stream returns a stream for cu, which must not destroy it.
func Stream(s *cuda.Stream) cu.Stream { return fromHandle[cu.Stream](s.Handle()) }
