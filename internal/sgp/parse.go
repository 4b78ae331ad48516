package sgp

import (
	"bytes"
	"unsafe"
)

// Parse is Open of a file's bytes, which must not change until Close; name stands
// for the path in errors. The values of the Model lie in data, unless its address
// does not suit them or huge pages can hold a copy.
func Parse(name string, data []byte) (*File, error) {
	if !littleEndian() {
		return nil, errBigEndian
	}
	r := reader{file: bytes.NewReader(data), path: name, size: int64(len(data))}
	if err := r.header(); err != nil {
		return nil, err
	}
	return r.open(func() ([]byte, func() error, error) {
		if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%4 != 0 {
			data = append(alignedBytes(len(data))[:0], data...)
		}
		return data, func() error { return nil }, nil
	})
}
