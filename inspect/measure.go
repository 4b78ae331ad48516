package inspect

import "math"

// summarise counts the elements and, where withMagnitudes is set, ranks their
// magnitudes.
func summarise(values []float32, withMagnitudes bool) *Values {
	s := &Values{Elements: len(values)}
	for _, v := range values {
		if v != 0 {
			s.NonZero++
		}
		if !finite(v) {
			s.NonFinite++
		}
	}
	if len(values) > 0 {
		s.Density = float64(s.NonZero) / float64(len(values))
	}
	if n := s.NonZero - s.NonFinite; withMagnitudes && n > 0 {
		q := quantiles(values, n, []float64{0, 0.5, 0.75, 0.9, 0.999, 1})
		s.Magnitude = &Magnitude{Min: q[0], Median: q[1], P75: q[2], P90: q[3], P999: q[4], Max: q[5]}
		s.histogram = newHistogram(values, q[4])
	}
	return s
}

func finite(v float32) bool { return math.Float32bits(v)&0x7f800000 != 0x7f800000 }

// magnitude is |v|'s bits, which order as the magnitudes do; ok is false for
// zeros and what is not finite.
func magnitude(v float32) (bits uint32, ok bool) {
	bits = math.Float32bits(v) &^ (1 << 31)
	return bits, bits != 0 && bits < 0x7f800000
}

// quantiles finds exact order statistics of n magnitudes by counting their high
// and then their low halves, which beats sorting.
func quantiles(values []float32, n int, shares []float64) []float32 {
	high := make([]int, 1<<16)
	for _, v := range values {
		if b, ok := magnitude(v); ok {
			high[b>>16]++
		}
	}
	low := make([]int, 1<<16)
	out := make([]float32, len(shares))
	for i, share := range shares {
		rank := max(0, int(math.Ceil(share*float64(n)))-1)
		h, rank := find(high, rank)
		clear(low)
		for _, v := range values {
			if b, ok := magnitude(v); ok && b>>16 == uint32(h) {
				low[b&0xffff]++
			}
		}
		l, _ := find(low, rank)
		out[i] = math.Float32frombits(uint32(h)<<16 | uint32(l))
	}
	return out
}

// find is the bucket that holds the element of the given rank, and its rank in
// there.
func find(counts []int, rank int) (bucket, rest int) {
	for bucket, n := range counts {
		if rank < n {
			return bucket, rank
		}
		rank -= n
	}
	return len(counts) - 1, 0
}

// histogram counts magnitudes in equal bins over [0, top]; the last bin also
// holds what is above.
type histogram struct {
	top    float32
	counts [48]int
}

func newHistogram(values []float32, top float32) *histogram {
	h := &histogram{top: top}
	for _, v := range values {
		if _, ok := magnitude(v); ok {
			bin := int(min(1, math.Abs(float64(v))/float64(top)) * float64(len(h.counts)))
			h.counts[min(bin, len(h.counts)-1)]++
		}
	}
	return h
}

// measure fills in what depends on the matrix's values, row-major.
func (m *Matrix) measure(values []float32, s *Values, opts Options) error {
	colHit := make([]bool, m.Cols)
	for r := range m.Rows {
		hit := false
		for c, v := range values[r*m.Cols : (r+1)*m.Cols] {
			if v != 0 {
				hit, colHit[c] = true, true
			}
		}
		if !hit {
			m.EmptyRows++
		}
	}
	for _, hit := range colHit {
		if !hit {
			m.EmptyCols++
		}
	}
	if err := m.fit(values, opts.Trials || opts.Pictures); err != nil {
		return err
	}
	if opts.Pictures {
		m.picture = newPicture(m, values, s)
	}
	return nil
}
