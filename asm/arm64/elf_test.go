package arm64

import (
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// textSection is the instructions of an object file.
func textSection(t *testing.T, name string) []uint32 {
	file, err := elf.Open(name)
	require.NoError(t, err)
	defer file.Close()
	data, err := file.Section(".text").Data()
	require.NoError(t, err)
	words := make([]uint32, len(data)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return words
}
