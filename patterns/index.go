package patterns

// Index is a sequence of numbers of one width, packed without gaps: number i is
// the Width bits from bit i*Width on, bit b being bit b&63 of Words[b>>6]. An
// N:M index whose M is a power of two has Width log2 M, so that every bit
// pattern is a valid coordinate.
type Index struct {
	Width int // bits a number, 1..32
	Len   int
	Words []uint64
}

// At is number i.
func (x *Index) At(i int) int {
	b := i * x.Width
	w := x.Words[b>>6] >> (b & 63)
	if b&63+x.Width > 64 {
		w |= x.Words[b>>6+1] << (64 - b&63)
	}
	return int(w & (1<<x.Width - 1))
}

// add appends v, which has at most Width bits.
func (x *Index) add(v int) {
	b := x.Len * x.Width
	x.Len++
	if b&63 == 0 {
		x.Words = append(x.Words, 0)
	}
	x.Words[b>>6] |= uint64(v) << (b & 63)
	if b&63+x.Width > 64 {
		x.Words = append(x.Words, uint64(v)>>(64-b&63))
	}
}

// Bytes is the size of the numbers, rounded up to a byte.
func (x *Index) Bytes() int { return (x.Len*x.Width + 7) / 8 }
