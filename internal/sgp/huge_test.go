package sgp

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// large is sample with a layer of more than 2 MiB of values and 1 MiB of metadata.
func large() *Model {
	rng := rand.New(rand.NewPCG(5, 6))
	const out, in = 1024, 1024
	f := &Lanes{Kind: LanesNM, S: 16, N: 2, M: 4, Meta: make([]byte, out/16*in/4*2*4), W: make([]float32, out*in/2)}
	for i := range f.Meta {
		f.Meta[i] = byte(rng.Uint32())
	}
	for i := range f.W {
		f.W[i] = rng.Float32()
	}
	m := sample()
	m.Layers = append(m.Layers, Layer{
		Name: "large", BatchMin: 1, BatchMax: 1,
		Values: []Value{{Name: "x", Dims: []int{0, in}}, {Name: "y", Dims: []int{0, out}}}, Inputs: []int{0}, Outputs: []int{1},
		Ops: []Op{{Kind: LinearOp, Args: []int{0}, Out: 1, Linear: &Linear{Out: out, In: in, Variants: []Variant{{BatchMin: 1, BatchMax: 1, Lanes: f}}}}},
	})
	return m
}

// TestLargeFile: a file that fills large pages is a copy in memory: neither its
// file nor the bytes that were parsed can change it any more, and its damage is
// found at the same offset as that of a mapped one.
func TestLargeFile(t *testing.T) {
	data := encoded(t, large())
	require.Greater(t, len(data), 2<<20)
	path := filepath.Join(t.TempDir(), "m.sgp")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	f, err := Open(path)
	require.NoError(t, err)
	require.Equal(t, large(), f.Model)
	moved := append([]byte{0}, data...)[1:]
	parsed, err := Parse("embedded", moved)
	require.NoError(t, err)
	pages, err := newHugePages(int64(len(data)))
	if err != nil {
		t.Logf("no memory of its own here: %v", err)
	} else {
		require.NoError(t, pages.free())
		require.NoError(t, os.Truncate(path, 4096))
		clear(moved)
	}
	require.Equal(t, large(), f.Model)
	require.Equal(t, large(), parsed.Model)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.NoError(t, parsed.Close())

	rng := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		at := rng.IntN(len(data))
		damaged := bytes.Clone(data)
		damaged[at] ^= 1
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		_, err := Open(path)
		var got *FormatError
		require.ErrorAs(t, err, &got)
		mapped := reader{file: bytes.NewReader(damaged), path: path, size: int64(len(damaged)), data: damaged}
		want := mapped.header()
		if want == nil {
			_, want = mapped.model()
		}
		require.EqualError(t, err, want.Error())
	}
	require.NoError(t, os.WriteFile(path, data[:len(data)-1], 0o600))
	_, err = Open(path)
	require.ErrorContains(t, err, "offset ")
}

// TestShorterWhileRead: a file that loses its end while it is read is an error.
func TestShorterWhileRead(t *testing.T) {
	data := encoded(t, large())
	r := reader{file: bytes.NewReader(data), path: "m.sgp", size: int64(len(data))}
	require.NoError(t, r.header())
	r.file, r.data, r.private = bytes.NewReader(data[:len(data)/2]), make([]byte, len(data)), true
	_, err := r.model()
	require.ErrorContains(t, err, "became shorter while it was read")
}
