package guard

import (
	"fmt"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestGuarded: what was asked for can be read and written, aligned, and the bytes
// behind it, or before it, cannot be touched.
func TestGuarded(t *testing.T) {
	for _, size := range []int{0, 1, 4, 63, 4095, 4096, 4097, 70000} {
		for _, align := range []int{1, 4, 64} {
			for _, start := range []bool{false, true} {
				t.Run(fmt.Sprint(size, align, start), func(t *testing.T) {
					m, err := New(size, align, start)
					require.NoError(t, err)
					defer m.Free()
					at := unsafe.Pointer(unsafe.SliceData(m.Bytes))
					require.Len(t, m.Bytes, size)
					require.Zero(t, uintptr(at)%uintptr(align))
					for i := range m.Bytes {
						require.Equal(t, byte(0xff), m.Bytes[i])
						m.Bytes[i] = 1
					}
					if base, whole := m.Base(); whole == len(m.Around)+1 {
						t.Skip("no inaccessible pages on this system", base)
					}
					behind := size + align - 1
					if start {
						behind = -align
					}
					require.True(t, faults(at, behind))
					require.NoError(t, m.Protect())
					if size > 0 {
						require.False(t, faults(at, 0), "what is read-only can be read")
						require.True(t, fault(func() { m.Bytes[0] = 2 }), "and not written")
					}
				})
			}
		}
	}
}

var sink byte

func faults(at unsafe.Pointer, offset int) bool {
	return fault(func() { sink = *(*byte)(unsafe.Add(at, offset)) })
}

func fault(f func()) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { yes = recover() != nil }()
	f()
	return false
}
