package hopper

import "github.com/sparsegen/sparsegen/ptx"

// Outbox is how consumer warpgroups send results to global memory: each has a few
// buffers; it fills one, and a tensor copy stores it while the next is filled. A
// buffer is a row of boxes, one beside the other along the tensor's inner
// dimension. With a residual, a copy first loads the buffer with what the
// result is added to.
type Outbox struct {
	cta      *CTA
	to       *TensorMap
	residual *TensorMap // nil for none
	boxes    int
	buffers  int
	turns    int // buffers that a tile fills
	at       Region
	loaded   Region // mbarriers [warpgroup][buffer]
}

// Outbox declares the buffers: a tile fills turns of them, each with that many
// boxes of the tensor. The residual is nil, or a map of the same boxes.
func (c *CTA) Outbox(to, residual *TensorMap, boxes, buffers, turns int) *Outbox {
	k := c.K
	if boxes < 1 || buffers < 1 || turns < 1 {
		k.Errorf("%d boxes in %d buffers, %d turns", boxes, buffers, turns)
		boxes, buffers, turns = 1, 1, 1
	}
	o := &Outbox{cta: c, to: to, residual: residual, boxes: boxes, buffers: min(buffers, turns), turns: turns}
	if to.BoxBytes()%to.Swizzle().Align() != 0 {
		k.Errorf("a box of %d bytes ends within the swizzle's pattern", to.BoxBytes())
	}
	n := c.consumers * o.buffers
	o.at = c.Shared(to.name+" buffers", n*o.bytes(), max(128, to.Swizzle().Align()))
	if residual != nil {
		if residual.Spec.Box != to.Spec.Box || residual.Spec.Swizzle != to.Spec.Swizzle || residual.Spec.DType != to.Spec.DType {
			k.Errorf("the residual's boxes differ from those of %s", to.name)
		}
		o.loaded = c.mbarriers(residual.name+" loaded", n, 1)
	}
	return o
}

func (o *Outbox) bytes() int { return o.boxes * o.to.BoxBytes() }

// Sender is a warpgroup's end of an outbox.
type Sender struct {
	*Outbox
	w      *Warpgroup
	base   ptx.Reg // address of the warpgroup's first buffer
	bars   ptx.Reg // address of its first mbarrier
	parity ptx.Reg // of the number of tiles so far
	inner  ptx.Reg // coordinates of the tile
	outer  ptx.Reg
	step   int // rows of the tensor from turn to turn
	next   int // turn
}

// Sender makes the warpgroup's end.
func (w *Warpgroup) Sender(o *Outbox) *Sender {
	k := w.CTA.K
	s := &Sender{Outbox: o, w: w, step: int(o.to.Spec.Box[1])}
	s.base = k.Add(k.Mad(w.Index, o.buffers*o.bytes(), w.CTA.base), o.at.Offset)
	if o.residual != nil {
		s.bars = k.Add(k.Mad(w.Index, 8*o.buffers, w.CTA.base), o.loaded.Offset)
		s.parity = k.Var(ptx.U32, 0)
	}
	return s
}

// Place takes the coordinates at which the warpgroup's part of a tile lies in the
// tensor.
func (s *Sender) Place(inner, outer ptx.Reg) { s.inner, s.outer, s.next = inner, outer, 0 }

// Begin starts to load the residual into the buffers. It belongs before the
// tile's products.
func (s *Sender) Begin() {
	k := s.cta.K
	if s.residual != nil {
		k.If(s.w.Leader, func() {
			k.Emit("cp.async.bulk.wait_group.read", ptx.Int(0))
			for turn := range s.buffers {
				s.load(turn)
			}
		})
	}
}

// load starts the copies of the residual for a turn, in the leader.
func (s *Sender) load(turn int) {
	k := s.cta.K
	buffer := turn % s.buffers
	bar := ptx.At(s.bars, 8*buffer)
	k.Emit("mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, bar, ptx.Int(int64(s.bytes())))
	for box := range s.boxes {
		k.Emit("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes",
			s.box(buffer, box), s.coord(s.residual, turn, box), bar)
	}
}

func (s *Sender) box(buffer, box int) ptx.Mem {
	return ptx.At(s.base, buffer*s.bytes()+box*s.to.BoxBytes())
}

func (s *Sender) coord(m *TensorMap, turn, box int) ptx.Mem {
	k := s.cta.K
	return ptx.TMACoord(m.addr, k.Add(s.inner, box*int(m.Spec.Box[0])), k.Add(s.outer, turn*s.step))
}

// Send has fill write one buffer, which lies off bytes from the address Base, and
// stores it. With a residual the buffer holds it when fill is called, and a warp
// may overwrite what it has read itself.
func (s *Sender) Send(fill func(off int)) {
	k := s.cta.K
	turn, buffer := s.next, s.next%s.buffers
	if s.next++; s.next > s.turns {
		k.Errorf("%d buffers sent in a tile, declared are %d", s.next, s.turns)
	}
	k.Comment("buffer %d of %d: %s, rows %d to %d of the tile", turn+1, s.turns, s.to.name, turn*s.step, (turn+1)*s.step-1)
	switch {
	case s.residual != nil:
		s.cta.wait(ptx.At(s.bars, 8*buffer), s.phase(turn))
	case turn == 0: // of all buffers, as a tile need not use each equally often
		k.EmitIf(s.w.Leader, "cp.async.bulk.wait_group.read", ptx.Int(0))
		s.w.Sync()
	case turn >= s.buffers:
		k.EmitIf(s.w.Leader, "cp.async.bulk.wait_group.read", ptx.Int(int64(s.buffers-1)))
		s.w.Sync()
	}
	fill(buffer * s.bytes())
	k.Emit("fence.proxy.async.shared::cta")
	s.w.Sync()
	k.If(s.w.Leader, func() {
		for box := range s.boxes {
			k.Emit("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group", s.coord(s.to, turn, box), s.box(buffer, box))
		}
		k.Emit("cp.async.bulk.commit_group")
		// The buffer of the turn before this one is read by now or soon.
		if load := turn - 1 + s.buffers; s.residual != nil && s.buffers > 1 && turn > 0 && load < s.turns {
			k.Emit("cp.async.bulk.wait_group.read", ptx.Int(1))
			s.load(load)
		} else if s.residual != nil && s.buffers == 1 && turn+1 < s.turns {
			k.Emit("cp.async.bulk.wait_group.read", ptx.Int(0))
			s.load(turn + 1)
		}
	})
}

// Base is the address of the warpgroup's first buffer.
func (s *Sender) Base() ptx.Reg { return s.base }

// phase is the parity of the residual's barrier in a turn of this tile.
func (s *Sender) phase(turn int) ptx.Reg {
	k := s.cta.K
	buffer, use := turn%s.buffers, turn/s.buffers
	uses := (s.turns - buffer + s.buffers - 1) / s.buffers // a tile
	if uses%2 == 0 {
		return k.Const(ptx.U32, int64(use%2))
	}
	return k.Xor(s.parity, use%2)
}

// End closes a tile, in which every buffer was sent.
func (s *Sender) End() {
	k := s.cta.K
	if s.next != s.turns {
		k.Errorf("%d buffers sent in a tile, declared are %d", s.next, s.turns)
	}
	if s.residual != nil {
		k.Emit("xor.b32", s.parity, s.parity, ptx.Int(1))
	}
}

// Flush waits until everything sent is in global memory, after the last tile.
func (s *Sender) Flush() {
	s.cta.K.EmitIf(s.w.Leader, "cp.async.bulk.wait_group", ptx.Int(0))
}
