package damagetest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Bytes changes bytes of a file one at a time, in place. With the checksums as
// they were the file must not open; with checksums that are right again it may.
// Of the places that have a meaning one in every is tried, with all values that
// differ in a bit, 0 and 0xff, or with one of them.
func (c *Checker) Bytes(t testing.TB, data []byte, every int, all bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(data)), 3))
	bad := bytes.Clone(data)
	for _, at := range meaningful(data) {
		if rng.IntN(every) > 0 {
			continue
		}
		values := []byte{0, 0xff}
		for bit := range 8 {
			values = append(values, data[at]^1<<bit)
		}
		if !all {
			i := rng.IntN(len(values))
			values = values[i : i+1]
		}
		for _, v := range values {
			if v == data[at] {
				continue
			}
			opened := c.Opened
			bad[at] = v
			if err := c.Check(bad, 1); err != nil || c.Opened != opened {
				t.Fatalf("byte %d of %d is %#02x for %#02x, checksums are as they were: %v", at, len(data), v, data[at], err)
			}
			Mend(bad)
			if err := c.Check(bad, 1+rng.IntN(8)/7); err != nil {
				t.Fatalf("byte %d of %d is %#02x for %#02x, checksums are mended: %v", at, len(data), v, data[at], err)
			}
			copy(bad, data)
		}
	}
}

// Lengths cuts the file at every length, or one in every, and adds bytes to it:
// with mending or without, it must not open.
func (c *Checker) Lengths(t testing.TB, data []byte, every int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(data)), 4))
	try := func(bad []byte) {
		for range 2 {
			opened := c.Opened
			if err := c.Check(bad, 1); err != nil || c.Opened != opened {
				t.Fatalf("%d bytes of %d: %v", len(bad), len(data), err)
			}
			Mend(bad)
		}
	}
	for n := range data {
		if n < preambleSize || rng.IntN(every) == 0 {
			try(bytes.Clone(data[:n]))
		}
	}
	for _, n := range []int{1, 2, 3, 4, 60, 64, 4096} {
		try(append(bytes.Clone(data), make([]byte, n)...))
	}
}

// Edit applies a fuzzed list of edits to a file: six bytes each, what is done,
// where (three bytes, among places that are not padding), and with what.
func Edit(data []byte, places []int, edits []byte) []byte {
	data = bytes.Clone(data)
	for ; len(edits) >= 6; edits = edits[6:] {
		where := int(edits[1]) | int(edits[2])<<8 | int(edits[3])<<16
		at, arg, v := places[where%len(places)], int(edits[4]), edits[5]
		h := header(data)
		switch edits[0] % 8 {
		case 0:
			data[at] = v
		case 1:
			data[at] ^= 1 << (v % 8)
		case 2:
			data[at] += byte(int8(v) % 4)
		case 3: // a word that is one of the usual suspects
			for i, b := range [...][4]byte{{0, 0, 0, 0}, {255, 255, 255, 255}, {255, 255, 255, 127}, {0, 0, 0, 128}, {0, 0, 1, 0}, {255, 255, 0, 0}, {1, 0, 0, 0}, {0, 0, 128, 127}}[v%8] {
				if at+i < len(data) {
					data[at+i] = b
				}
			}
		case 4: // a piece of the file in another place
			from := places[(where+31*arg)%len(places)]
			copy(data[at:min(len(data), at+1+int(v)%16)], data[from:])
		case 5: // a byte more in the header, while zeros follow it
			if at < h.to && h.to < len(data) && data[h.to] == 0 {
				copy(data[at+1:h.to+1], data[at:h.to])
				data[at] = v
				setHeader(data, h.to+1-h.from)
			}
		case 6: // a few bytes less there
			if n := 1 + arg%4; at >= h.from && at+n <= h.to {
				copy(data[at:], data[at+n:h.to])
				for i := range n {
					data[h.to-1-i] = 0
				}
				setHeader(data, h.to-n-h.from)
			}
		case 7: // the places near the start of a section, where most addresses are
			all, _ := sections(data)
			if len(all) > 0 {
				if s := all[arg%len(all)]; s.to > s.from {
					data[s.from+where%min(s.to-s.from, 64)] = v
				}
			}
		}
	}
	Mend(data)
	return data
}

// Fuzz fuzzes edits of the packed models in dir.
func Fuzz(f *testing.F, dir string, c *Checker) {
	files := Files(f, dir)
	var places [][]int
	for i, data := range files {
		places = append(places, meaningful(data))
		f.Add(uint8(i), []byte{1, byte(i), 1, 0, 0, 3}, uint8(1))
		for op := range byte(8) {
			f.Add(uint8(i), []byte{op, 40 * op, 1, 0, 9, 17, 7, 3, 0, 0, op, op}, op)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte, threads uint8) {
		i := int(which) % len(files)
		if err := c.Check(Edit(files[i], places[i], edits), 1+int(threads)%3); err != nil {
			t.Fatal(err)
		}
	})
}
