package weights

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// mapping is a file's content, mapped or read.
type mapping struct {
	path    string
	data    []byte
	release func() error
}

func (m *mapping) close() error {
	if m.release == nil {
		return nil
	}
	r := m.release
	m.release, m.data = nil, nil
	return r()
}

// mapFile makes a regular file's content readable as a slice.
func mapFile(path string) (*mapping, error) {
	// Opening a pipe would wait for its writer.
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fault(path, 0, "not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return nil, fault(path, 0, "the file is empty")
	}
	m, err := mapContent(f, st.Size())
	if err != nil {
		return nil, err
	}
	m.path = path
	return m, nil
}

// guard turns an access to a part of a mapped file that is not there any more,
// because the file became shorter, into an error. Everything that reads mapped
// bytes starts with:
//
//	defer f.guard(&err)()
func (f *File) guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		p := recover()
		if p == nil {
			return
		}
		fault, ok := p.(interface {
			runtime.Error
			Addr() uintptr
		})
		if ok {
			for _, m := range f.maps {
				if m.holds(fault.Addr()) {
					*err = fmt.Errorf("%s: the file became shorter while it was read", m.path)
					return
				}
			}
		}
		panic(p)
	}
}

// holds reports whether an address lies in the content.
func (m *mapping) holds(addr uintptr) bool {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
	return addr >= start && addr-start < uintptr(len(m.data))
}

// blob is a run of bytes in one or several parts (shards), addressed as one.
type blob struct {
	parts [][]byte
	size  int64
}

func (b *blob) add(part []byte) {
	b.parts = append(b.parts, part)
	b.size += int64(len(part))
}

// slice returns n bytes at off; both lie inside (the readers check at open). It
// copies only where the range crosses parts.
func (b *blob) slice(off, n int64) []byte {
	i := 0
	for i < len(b.parts) && off >= int64(len(b.parts[i])) {
		off -= int64(len(b.parts[i]))
		i++
	}
	if n == 0 {
		return nil
	}
	if off+n <= int64(len(b.parts[i])) {
		return b.parts[i][off : off+n : off+n]
	}
	out := make([]byte, 0, n)
	for ; int64(len(out)) < n; i++ {
		part := b.parts[i][off:]
		out = append(out, part[:min(int64(len(part)), n-int64(len(out)))]...)
		off = 0
	}
	return out
}
