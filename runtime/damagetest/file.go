package damagetest

import (
	"encoding/binary"
	"hash/crc32"
)

// The places in a packed file that damage has to know (docs/file-format.md).
const (
	preambleSize = 64
	headerSizeAt = 12
	fileSizeAt   = 16
	headerSumAt  = 60
	entrySize    = 24
	chunkSize    = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// span is bytes from..to of a file.
type span struct{ from, to int }

// sections are where the header's table says that sections lie, as far as that
// is inside the file, and where their checksums lie.
func sections(data []byte) (all []span, sums int) {
	if len(data) < preambleSize+4 {
		return nil, 0
	}
	count := int(binary.LittleEndian.Uint32(data[preambleSize:]))
	for i := range count {
		at := preambleSize + 4 + i*entrySize
		if at+entrySize > len(data) {
			return nil, 0
		}
		from, n := binary.LittleEndian.Uint64(data[at:]), binary.LittleEndian.Uint64(data[at+8:])
		if from > uint64(len(data)) || n > uint64(len(data))-from {
			return nil, 0
		}
		all = append(all, span{int(from), int(from + n)})
	}
	return all, preambleSize + 4 + count*entrySize
}

// header is the file's header, or nothing where the file is too short for it.
func header(data []byte) span {
	if len(data) < preambleSize {
		return span{}
	}
	size := int(binary.LittleEndian.Uint32(data[headerSizeAt:]))
	if size > len(data)-preambleSize {
		return span{}
	}
	return span{preambleSize, preambleSize + size}
}

// setHeader says that the header has n bytes.
func setHeader(data []byte, n int) {
	binary.LittleEndian.PutUint32(data[headerSizeAt:], uint32(n))
}

// Mend makes the length and all checksums of a changed file right, so that only
// what it says can be wrong with it.
func Mend(data []byte) {
	if len(data) < preambleSize {
		return
	}
	binary.LittleEndian.PutUint64(data[fileSizeAt:], uint64(len(data)))
	all, at := sections(data)
	for _, s := range all {
		for from := s.from; from < s.to; from += chunkSize {
			if at+4 > len(data) {
				break
			}
			binary.LittleEndian.PutUint32(data[at:], crc32.Checksum(data[from:min(s.to, from+chunkSize)], castagnoli))
			at += 4
		}
	}
	h := header(data)
	sum := crc32.Checksum(data[:headerSumAt], castagnoli)
	binary.LittleEndian.PutUint32(data[headerSumAt:], crc32.Update(sum, castagnoli, data[h.from:h.to]))
}

// meaningful lists the places in a file that are not padding between sections:
// the preamble, the header and the sections.
func meaningful(data []byte) []int {
	var at []int
	for i := range header(data).to {
		at = append(at, i)
	}
	all, _ := sections(data)
	for _, s := range all {
		for i := s.from; i < s.to; i++ {
			at = append(at, i)
		}
	}
	return at
}
