//go:build !unix

package sgp

import (
	"fmt"
	"io"
	"math"
	"os"
)

// mapFile reads the file where there is no mmap.
func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	if size > math.MaxInt-3 {
		return nil, nil, fmt.Errorf("%s: %d bytes do not fit this machine's address space", f.Name(), size)
	}
	b := alignedBytes(int(size))
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), b); err != nil {
		return nil, nil, err
	}
	return b, func() error { return nil }, nil
}
