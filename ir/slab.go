package ir

// slab hands out values from blocks, because a spec makes many small ones.
type slab[T any] struct{ free []T }

const slabBlock = 64

// one returns a new zero value.
func (s *slab[T]) one() *T {
	if len(s.free) == 0 {
		s.free = make([]T, slabBlock)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	return p
}

// some returns an empty slice with room for n.
func (s *slab[T]) some(n int) []T {
	if n > len(s.free) {
		s.free = make([]T, max(n, slabBlock))
	}
	p := s.free[:0:n]
	s.free = s.free[n:]
	return p
}
