package patterns

import "math"

// keepLargest calls keep, in row-major order, for the k elements of a [rows,
// cols] grid with the largest non-zero keys; ties go to the lowest index. Only
// the upper width bits of a key (a multiple of 16) are looked at.
//
// It is a radix selection: each round fixes 16 more bits of the smallest key
// that is kept, so the time is linear and the result does not depend on any
// choice of pivot.
func keepLargest(rows, cols, k, width int, key func(r, c int) uint64, keep func(r, c int)) {
	var least uint64 // smallest kept key, as far as its bits are known
	left := k        // how many keys equal to least, in those bits, are kept
	known := 0
	for ; known < width; known += 16 {
		var count [1 << 16]int
		for r := range rows {
			for c := range cols {
				if x := key(r, c); x>>(64-known) == least>>(64-known) {
					count[x<<known>>48]++
				}
			}
		}
		d := len(count) - 1
		for ; d > 0 && count[d] < left; d-- {
			left -= count[d]
		}
		least |= uint64(d) << (48 - known)
		if count[d] <= left { // all of this bucket is kept
			known += 16
			break
		}
	}
	shift := 64 - known
	for r := range rows {
		for c := range cols {
			x := key(r, c)
			if x == 0 || x>>shift < least>>shift {
				continue
			}
			if x>>shift == least>>shift {
				if left == 0 {
					continue
				}
				left--
			}
			keep(r, c)
		}
	}
}

// sumKey orders sums of magnitudes, which are never negative, as integers; NaN
// counts as +Inf.
func sumKey(s float64) uint64 {
	if math.IsNaN(s) {
		s = math.Inf(1)
	}
	return math.Float64bits(s)
}

// sumOf is the sum of magnitudes of row, NaN counting as +Inf.
func sumOf(row []float32) float64 {
	s := 0.0
	for _, v := range row {
		s += math.Abs(float64(v))
	}
	if math.IsNaN(s) {
		return math.Inf(1)
	}
	return s
}
