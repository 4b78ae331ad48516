package worker

import "math"

// cycle is the time of a cycle of the core that this runs on, in nanoseconds: of a
// link in a chain of additions and exclusive ors, each of which takes its
// predecessor's result a cycle later on every core that kernels are written for. Like
// a sample it is the fastest of some blocks.
func (s *server) cycle() float64 {
	const chains = 12
	fastest := math.Inf(1)
	for range chains {
		fastest = min(fastest, s.link())
	}
	return fastest
}

// link is the mean time of a link in one chain. The loop's own instructions wait for
// none of it, and run beside it.
func (s *server) link() float64 {
	const turns, links = 12000, 16
	begin := now()
	x, a, b := s.chain, uint64(begin), uint64(s.block) // nothing that a compiler knows
	for range turns {
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
		x = (x + a) ^ b
	}
	took := now() - begin
	s.chain = x // or the chain could be left out
	return float64(took) / (turns * links)
}
