package patterns

import "math/bits"

// splitmix is the generator splitmix64 (Steele, Lea and Flood 2014).
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// shuffled is the numbers 0..n-1 in the order that seed gives, the same
// everywhere and for ever (Fisher and Yates' shuffle).
func shuffled(n int, seed uint64) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	rng := splitmix(seed)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(rng.next(), uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}
