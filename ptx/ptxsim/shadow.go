package ptxsim

import "fmt"

// word is what is known of four bytes of shared memory.
type word struct {
	written   epoch
	writtenBy int32 // instruction, plus 1
	async     bool  // the writer was the asynchronous proxy
	lo, hi    uint8 // of the bytes that it wrote
	init      uint8 // mask of bytes that were ever written
	barrier   bool  // belongs to an mbarrier
	atomic    bool  // the last write was atomic
	reads     []reading
	from      uint64 // address in a buffer that the word was copied from, 0 for unknown
}

type reading struct {
	epoch
	by int32
}

// access says who touches shared memory.
type access struct {
	view    *view
	epoch   epoch
	by      int32 // instruction, plus 1
	async   bool  // through the asynchronous proxy
	unknown bool  // what is written has no value
}

func (w *warp) access(i *instr) access {
	return access{&w.view, w.now(), int32(i.line), false, false}
}

// reads records a read of n bytes at an offset of the block's shared memory, and
// reports whether all were written.
func (c *cta) reads(off, n int, a access) (known bool) {
	known = true
	for at := off &^ 3; at < off+n; at += 4 {
		s := &c.shadow[at>>2]
		lo, hi := uint8(max(off-at, 0)), uint8(min(off+n-at, 4))
		if mask := uint8(1<<hi - 1<<lo); s.init&mask != mask {
			known = false
		}
		c.ordered(s, at, lo, hi, a, "read")
		if len(s.reads) > 0 && s.reads[0].agent == a.epoch.agent {
			s.reads[0].at, s.reads[0].by = a.epoch.at, a.by
			continue
		}
		keep := s.reads[:0]
		for _, r := range s.reads {
			if r.agent != a.epoch.agent && !r.before(a.view.happened) {
				keep = append(keep, r)
			}
		}
		s.reads = append(keep, reading{a.epoch, a.by})
	}
	return known
}

// mustRead is reads of bytes that must have been written.
func (c *cta) mustRead(off, n int, a access) {
	if !c.reads(off, n, a) {
		fail(Uninitialised, "of %d bytes at %d of shared memory some were never written", n, off)
	}
}

// ordered checks that the last write of a word happened before an access.
func (c *cta) ordered(s *word, at int, lo, hi uint8, a access, what string) {
	if s.writtenBy == 0 || s.written.agent == a.epoch.agent && !a.async && !s.async || s.hi <= lo || hi <= s.lo {
		return
	}
	if known := a.view.happened.at(int(s.written.agent)); s.async && !a.async && known > 0 && known+1 == s.written.at {
		fail(StageOverwritten, "a %s of byte %d of shared memory, which the copy of line %d may have overwritten: the stage was not released before it, or its phase was not waited for", what, at+int(lo), s.writtenBy)
	}
	if !s.written.before(a.view.happened) {
		fail(Race, "a %s of byte %d of shared memory is not ordered after the write of line %d", what, at+int(lo), s.writtenBy)
	}
	if a.async && !s.async && !s.written.before(a.view.proxied) {
		fail(MissingProxyFence, "the asynchronous proxy's %s of byte %d of shared memory needs a fence.proxy.async after the write of line %d", what, at+int(lo), s.writtenBy)
	}
}

// writes records a write of n bytes.
func (c *cta) writes(off, n int, a access) {
	c.version++
	for at := off &^ 3; at < off+n; at += 4 {
		s := &c.shadow[at>>2]
		lo, hi := uint8(max(off-at, 0)), uint8(min(off+n-at, 4))
		if s.barrier {
			fail(Barriers, "a write to byte %d of shared memory, where an mbarrier lies", at)
		}
		c.ordered(s, at, lo, hi, a, "write")
		for _, r := range s.reads {
			if r.agent == a.epoch.agent && !a.async || r.before(a.view.happened) {
				continue
			}
			kind := Race
			if a.async {
				kind = StageOverwritten
			}
			fail(kind, "a write of byte %d of shared memory is not ordered after the read of line %d", at+int(lo), r.by)
		}
		if hi-lo == 4 || s.writtenBy == 0 {
			s.reads = s.reads[:0]
		}
		s.written, s.writtenBy, s.async, s.atomic, s.lo, s.hi = a.epoch, a.by, a.async, false, lo, hi
		if bytes := uint8(1<<hi - 1<<lo); a.unknown {
			s.init &^= bytes
		} else {
			s.init |= bytes
		}
		s.from = 0
	}
}

// atomic records an atomic operation: a read and a write that need no order among
// their like.
func (c *cta) atomic(off, n int, a access) {
	for at := off &^ 3; at < off+n; at += 4 {
		if s := &c.shadow[at>>2]; s.atomic && s.init == 0xf {
			s.written, s.writtenBy = a.epoch, a.by
			c.version++
			continue
		}
		c.mustRead(at, 4, a)
		c.writes(at, 4, a)
		c.shadow[at>>2].atomic = true
	}
}

// place finds the block and the offset of n bytes at a shared address.
func (c *cta) place(addr uint64, n, align int, anyBlock bool) (*cta, int) {
	rank, off := int(addr>>windowBits&0xff), int(addr&(1<<windowBits-1))-sharedStart
	if rank != c.rank && !anyBlock || rank >= len(c.cl.ctas) {
		fail(OutOfBounds, "address %#x is in the shared memory of block %d of the cluster, this is %d of %d", addr, rank, c.rank, len(c.cl.ctas))
	}
	to := c.cl.ctas[rank]
	if off < 0 || n < 0 || off > len(to.shared)-n {
		fail(OutOfBounds, "%d bytes at %d of %d of shared memory", n, off, len(to.shared))
	}
	if off%align != 0 {
		fail(Misaligned, "%d bytes at %d of shared memory, which is no multiple of %d", n, off, align)
	}
	if to != c && to.alive == 0 {
		fail(BlockLeft, "shared memory of block %d of the cluster, which has left", rank)
	}
	return to, off
}

func (c *cta) String() string { return fmt.Sprintf("block %d", c.number) }
