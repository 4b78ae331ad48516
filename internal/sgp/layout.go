package sgp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"unsafe"
)

// The layout of a file; docs/file-format.md is its description.
const (
	magic        = "\x89SGP\r\n\x1a\n"
	version      = 3 // of a model that runs on the CPU
	gpuVersion   = 4 // of a model with layers for a GPU
	preambleSize = 64
	entrySize    = 24
	chunkSize    = 1 << 20 // bytes that one section checksum covers
	sectionAlign = 64
	regionAlign  = 4096
	maxHeader    = 1 << 30
)

// dtype is the element type of a section.
type dtype uint8

const (
	f32 dtype = iota + 1
	u32
	u16
	u8
)

func (d dtype) size() int { return [...]int{f32: 4, u32: 4, u16: 2, u8: 1}[d] }

// region is where a section lies. Sections of the index region are copied and
// validated before use; those of the values region may hold anything and are
// used where they are mapped.
type region uint8

const (
	indexRegion region = iota
	valueRegion
)

// section is one entry of the section table.
type section struct {
	offset, length int64
	dtype          dtype
	region         region
	bytes          []byte // while writing, or once read
}

func (s *section) chunks() int { return int((s.length + chunkSize - 1) / chunkSize) }

// place is the only offset that a section may have: right behind what ends at
// end, aligned, on a new page where the region changes.
func place(end int64, first bool, prev, next region) int64 {
	align := int64(sectionAlign)
	if first || prev != next {
		align = regionAlign
	}
	return (end + align - 1) &^ (align - 1)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// headerChecksum covers the preamble but for the checksum itself, its last
// field, and the header.
func headerChecksum(preamble, header []byte) uint32 {
	return crc32.Update(checksum(preamble[:preambleSize-4]), castagnoli, header)
}

var errBigEndian = errors.New("packed models need a little-endian machine")

func littleEndian() bool {
	return binary.NativeEndian.Uint16([]byte{1, 0}) == 1
}

// element is what sections hold.
type element interface {
	float32 | uint32 | uint16 | uint8
}

// bytesOf is s's memory.
func bytesOf[T element](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// sliceOf is b as elements; b is aligned and its length a multiple of T's.
func sliceOf[T element](b []byte) []T {
	var t T
	if len(b) == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(t)))
}
