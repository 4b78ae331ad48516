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

// pool hands out values that are all given back at once.
type pool[T any] struct {
	blocks [][]T
	used   int
}

// one returns a new zero value.
func (p *pool[T]) one() *T {
	if p.used == len(p.blocks)*slabBlock {
		p.blocks = append(p.blocks, make([]T, slabBlock))
	}
	v := &p.blocks[p.used/slabBlock][p.used%slabBlock]
	p.used++
	var zero T
	*v = zero
	return v
}

// reset takes all values back.
func (p *pool[T]) reset() { p.used = 0 }

// some returns an empty slice with room for n.
func (s *slab[T]) some(n int) []T {
	if n > len(s.free) {
		s.free = make([]T, max(n, slabBlock))
	}
	p := s.free[:0:n]
	s.free = s.free[n:]
	return p
}
