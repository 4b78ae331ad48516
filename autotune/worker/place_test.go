package worker

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestPlaces: rooms begin at pages and do not overlap, whatever their sizes.
func TestPlaces(t *testing.T) {
	var p place
	defer p.close()
	var rooms [][]byte
	for i := range 200 {
		n := 1 + i*7919%300_000
		room := p.room(n)
		require.Len(t, room, n)
		require.Equal(t, n, cap(room))
		require.Zero(t, uintptr(unsafe.Pointer(unsafe.SliceData(room)))%4096)
		for j := range room {
			room[j] = byte(i)
		}
		rooms = append(rooms, room)
	}
	for i, room := range rooms {
		for j := range room {
			if room[j] != byte(i) {
				t.Fatalf("room %d: byte %d was overwritten", i, j)
			}
		}
	}
}
