package hopper

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/ptx"
)

// Ring is a circle of stages in shared memory. One producer thread a block fills
// a stage by copies; the warps of all consumer warpgroups, of all blocks of the
// cluster if a copy is multicast, release it.
//
// A stage has two mbarriers: full, which the producer's one arrival and the
// arrival of all expected bytes complete, and empty, completed by one arrival a
// consumer warp.
type Ring struct {
	cta    *CTA
	name   string
	stages int
	parts  []*Part
	bytes  int // of a stage
	expect int // bytes that land in a stage of this block

	multicast   bool
	stage       Region
	full, empty Region
	laid        bool
}

// Part is what one registered copy leaves in a stage.
type Part struct {
	ring    *Ring
	name    string
	Offset  int // from the start of the stage
	Bytes   int
	tensor  *TensorMap // of a tensor copy, else a linear one
	slices  int        // boxes, one issued by each block of the cluster
	ordinal int
	once    bool // read by nobody else: first to leave L2
}

// Once says that what the part copies is read by this copy alone, so that it need
// not stay in L2.
func (p *Part) Once() {
	if p.once = true; p.tensor != nil {
		p.ring.cta.K.Errorf("ring %s: %s is a tensor copy, Once is of linear ones", p.ring.name, p.name)
	}
}

// Ring declares a ring; Bulk and Tensor then register what a stage holds.
func (c *CTA) Ring(name string, stages int) *Ring {
	c.declaring("ring " + name)
	if stages < 2 || stages > 64 {
		c.K.Errorf("ring %s: %d stages, want 2 to 64", name, stages)
	}
	return &Ring{cta: c, name: name, stages: stages}
}

func (r *Ring) add(p *Part, align int) *Part {
	if r.laid {
		r.cta.K.Errorf("ring %s: %s registered after Lay", r.name, p.name)
	}
	p.ring, p.ordinal = r, len(r.parts)
	p.Offset = (r.bytes + align - 1) &^ (align - 1)
	r.bytes = p.Offset + p.Bytes
	r.expect += p.Bytes
	r.parts = append(r.parts, p)
	return p
}

// Bulk registers a linear copy of that many bytes, whose place in the stage has
// that alignment.
func (r *Ring) Bulk(name string, bytes, align int) *Part {
	if bytes < 16 || bytes%16 != 0 {
		r.cta.K.Errorf("ring %s: a linear copy of %d bytes for %s, want a positive multiple of 16", r.name, bytes, name)
	}
	return r.add(&Part{name: name, Bytes: bytes, slices: 1}, max(16, align))
}

// Tensor registers the copy of one box.
func (r *Ring) Tensor(name string, m *TensorMap) *Part {
	return r.add(&Part{name: name, Bytes: m.BoxBytes(), tensor: m, slices: 1}, m.Swizzle().Align())
}

// TensorMulticast registers a tile of as many boxes, below each other, as the
// cluster has blocks: each block copies one of them to all.
func (r *Ring) TensorMulticast(name string, m *TensorMap) *Part {
	n := r.cta.cluster
	if m.BoxBytes()%m.Swizzle().Align() != 0 {
		r.cta.K.Errorf("ring %s: a box of %d bytes for %s ends within the swizzle's pattern", r.name, m.BoxBytes(), name)
	}
	r.multicast = r.multicast || n > 1
	r.cta.multicast = r.cta.multicast || n > 1
	return r.add(&Part{name: name, Bytes: n * m.BoxBytes(), tensor: m, slices: n}, m.Swizzle().Align())
}

// contents lists what a stage holds.
func (r *Ring) contents() string {
	var parts []string
	for _, p := range r.parts {
		parts = append(parts, fmt.Sprintf("%s %d bytes", p.name, p.Bytes))
	}
	return strings.Join(parts, ", ")
}

// StageBytes is the size of a stage with the parts registered so far.
func (r *Ring) StageBytes() int { return (r.bytes + sharedAlign - 1) &^ (sharedAlign - 1) }

// Lay reserves the ring's shared memory: no part can be registered after it.
func (r *Ring) Lay() {
	if r.laid || len(r.parts) == 0 {
		r.cta.K.Errorf("ring %s: Lay twice, or without parts", r.name)
	}
	r.laid = true
	r.bytes = r.StageBytes()
	r.stage = r.cta.Shared(r.name+" stages", r.stages*r.bytes, sharedAlign)
	blocks := 1
	if r.multicast {
		blocks = r.cta.cluster
	}
	r.full = r.cta.mbarriers(r.name+" full", r.stages, 1)
	r.empty = r.cta.mbarriers(r.name+" empty", r.stages, 4*r.cta.consumers*blocks)
}

// cursor is a role's place in a ring: the next stage, and the parity of the phase
// that its barriers are in.
type cursor struct {
	ring         *Ring
	stage, phase ptx.Reg
}

func (r *Ring) cursor() cursor {
	k := r.cta.K
	if !r.laid {
		k.Errorf("ring %s: used before Lay", r.name)
	}
	return cursor{r, k.Var(ptx.U32, 0), k.Var(ptx.U32, 0)}
}

func (c *cursor) advance() {
	k := c.ring.cta.K
	k.Emit("add.u32", c.stage, c.stage, ptx.Int(1))
	wrap := k.SetP("eq", c.stage, c.ring.stages)
	k.EmitIf(wrap, "xor.b32", c.phase, c.phase, ptx.Int(1))
	k.EmitIf(wrap, "mov.u32", c.stage, ptx.Int(0))
}

// Producer fills a ring's stages in order. It belongs to the producer's role.
type Producer struct {
	cursor
	policy ptx.Reg // L2 policy of the parts that are read once; none without such
}

// Producer starts at the first stage.
func (t *ProducerThread) Producer(r *Ring) *Producer {
	p := &Producer{cursor: r.cursor()}
	if slices.ContainsFunc(r.parts, func(p *Part) bool { return p.once }) {
		p.policy = r.cta.K.Reg(ptx.B64)
		r.cta.K.Emit("createpolicy.fractional.L2::evict_first.b64", p.policy, ptx.Float(1))
	}
	return p
}

// Fill waits until the next stage is free, announces its bytes, and has issue
// start all copies, each exactly once.
func (p *Producer) Fill(issue func(*Filling)) {
	r, k := p.ring, p.ring.cta.K
	k.Comment("fill a stage of the %s: %s", r.name, r.contents())
	full := k.Add(k.Mad(p.stage, 8, r.cta.base), r.full.Offset)
	empty := k.Add(k.Mad(p.stage, 8, r.cta.base), r.empty.Offset)
	r.cta.wait(ptx.At(empty, 0), k.Xor(p.phase, 1))
	k.Emit("mbarrier.arrive.expect_tx.shared::cta.b64", ptx.Sink, ptx.At(full, 0), ptx.Int(int64(r.expect)))
	f := &Filling{ring: r, full: full, at: k.Add(k.Mad(p.stage, r.bytes, r.cta.base), r.stage.Offset), done: make([]bool, len(r.parts)), policy: p.policy}
	issue(f)
	for i, part := range r.parts {
		if !f.done[i] {
			k.Errorf("ring %s: a stage without %s never becomes full", r.name, part.name)
		}
	}
	p.advance()
}

// Filling is one stage between its announcement and its copies.
type Filling struct {
	ring     *Ring
	full, at ptx.Reg
	done     []bool
	policy   ptx.Reg
}

func (f *Filling) claim(p *Part, tensor bool) {
	k := f.ring.cta.K
	switch {
	case p.ring != f.ring:
		k.Errorf("ring %s: %s is a part of ring %s", f.ring.name, p.name, p.ring.name)
		return
	case (p.tensor != nil) != tensor:
		k.Errorf("ring %s: %s was registered as the other kind of copy", f.ring.name, p.name)
	case f.done[p.ordinal]:
		k.Errorf("ring %s: %s copied twice in a stage", f.ring.name, p.name)
	}
	f.done[p.ordinal] = true
}

// Bulk starts the linear copy of p from a global address.
func (f *Filling) Bulk(p *Part, from ptx.Reg) {
	f.claim(p, false)
	form := "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
	ops := []any{ptx.At(f.at, p.Offset), ptx.At(from, 0), ptx.Int(int64(p.Bytes)), ptx.At(f.full, 0)}
	if p.once {
		form, ops = form+".L2::cache_hint", append(ops, f.policy)
	}
	f.ring.cta.K.Emit(form, ops...)
}

// Tensor starts the copy of p from the box at column inner and row outer of the
// tensor. With multicast, rows are those of the whole tile, and each block of the
// cluster issues its part.
func (f *Filling) Tensor(p *Part, inner, outer ptx.Reg) {
	f.claim(p, true)
	if p.tensor == nil {
		return
	}
	const form = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
	k := f.ring.cta.K
	if p.slices == 1 {
		k.Emit(form, ptx.At(f.at, p.Offset), ptx.TMACoord(p.tensor.addr, inner, outer), ptx.At(f.full, 0))
		return
	}
	rank := f.ring.cta.rank
	at := k.Mad(rank, p.Bytes/p.slices, f.at)
	row := k.Mad(rank, int(p.tensor.Spec.Box[1]), outer)
	all := k.Const(ptx.B16, int64(1)<<p.slices-1)
	k.Emit(form+".multicast::cluster", ptx.At(at, p.Offset), ptx.TMACoord(p.tensor.addr, inner, row), ptx.At(f.full, 0), all)
}

// Consumer reads a ring's stages in order. It belongs to a warpgroup's role.
type Consumer struct {
	cursor
	releases ptx.Reg // predicate: this lane arrives at a block's empty barriers
	empty    ptx.Reg // address of the first of them, in that block
}

// Consumer starts at the first stage.
func (w *Warpgroup) Consumer(r *Ring) *Consumer {
	k := r.cta.K
	c := &Consumer{cursor: r.cursor(), empty: r.cta.Addr(r.empty, 0)}
	blocks := 1
	if r.multicast {
		blocks = r.cta.cluster
		remote := k.Reg(ptx.U32)
		k.Emit("mapa.shared::cluster.u32", remote, c.empty, k.Min(w.Lane, blocks-1))
		c.empty = remote
	}
	c.releases = k.SetP("lt", w.Lane, blocks)
	return c
}

// Held is a full stage that a warpgroup may read until it releases it.
type Held struct {
	consumer *Consumer
	offset   ptx.Reg // of the stage from the first one, bytes
	empty    ptx.Reg // address of its empty barrier, in the block that this lane tells
	released bool
}

// Next waits until the next stage is full.
func (c *Consumer) Next() *Held {
	r, k := c.ring, c.ring.cta.K
	k.Comment("the next stage of the %s", r.name)
	r.cta.wait(ptx.At(k.Mad(c.stage, 8, r.cta.base), r.full.Offset), c.phase)
	h := &Held{consumer: c, offset: k.Mul(c.stage, r.bytes), empty: k.Mad(c.stage, 8, c.empty)}
	c.advance()
	return h
}

// Release gives the stage back to the producers that fill it. Every wgmma that
// reads it must have retired.
func (h *Held) Release() {
	c := h.consumer.ring.cta
	if h.released {
		c.K.Errorf("ring %s: a stage released twice", h.consumer.ring.name)
	}
	if slices.ContainsFunc(c.flights, func(g *Group) bool { return slices.Contains(g.reads, h) }) {
		c.K.Errorf("ring %s: a stage released while a wgmma that reads it is in flight: wait for its group", h.consumer.ring.name)
	}
	h.released = true
	h.consumer.arrive(h.consumer.releases, h.empty)
}

func (c *Consumer) arrive(lane, at ptx.Reg) {
	space := "shared::cta"
	if c.ring.multicast {
		space = "shared::cluster"
	}
	c.ring.cta.K.EmitIf(lane, "mbarrier.arrive."+space+".b64", ptx.Sink, ptx.At(at, 0))
}

// LoadShared loads a thread's words, one, two or four, from the address off bytes
// into a part of the stage, plus what a register tells.
func (h *Held) LoadShared(to []ptx.Reg, p *Part, off int, more ptx.Reg) {
	k := h.consumer.ring.cta.K
	if h.released {
		k.Errorf("ring %s: %s read from a stage that was released", p.ring.name, p.name)
	}
	from := ptx.At(k.Add(h.offset, k.Add(more, h.consumer.ring.cta.base)), p.ring.stage.Offset+p.Offset+off)
	if len(to) == 1 {
		k.Emit("ld.shared.b32", to[0], from)
		return
	}
	k.Emit(fmt.Sprintf("ld.shared.v%d.b32", len(to)), ptx.Vec(to...), from)
}
