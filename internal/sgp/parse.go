package sgp

import (
	"bytes"
	"unsafe"
)

// Parse is Open of a file's bytes, which must not change until Close; name stands
// for the path in errors. The values of the Model lie in data, unless its address
// does not suit them.
func Parse(name string, data []byte) (*File, error) {
	if !littleEndian() {
		return nil, errBigEndian
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%4 != 0 {
		data = append(alignedBytes(len(data))[:0], data...)
	}
	r := reader{file: bytes.NewReader(data), path: name, size: int64(len(data)), data: data}
	if err := r.header(); err != nil {
		return nil, err
	}
	m, err := r.model()
	if err != nil {
		return nil, err
	}
	return &File{Model: m, Path: name, data: data}, nil
}
