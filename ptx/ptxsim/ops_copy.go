package ptxsim

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const reductions = "{add.f32,add.f64,add.u32,add.s32,add.u64,min.u32,max.u32,min.s32,max.s32,and.b32,or.b32,xor.b32,inc.u32,dec.u32,add.noftz.f16,add.noftz.bf16}"

var copyRows = []row{
	{"cp.async.{ca,cg}.shared{::cta,}.global{.L2::cache_hint,}{.L2::64B,.L2::128B,.L2::256B,}", makeCopyAsync},
	{"cp.async.commit_group", onQueue(func(w *warp, l, _ int) { w.copies[l].commit() })},
	{"cp.async.wait_group", onQueue(func(w *warp, l, n int) { w.copies[l].wait(n) })},
	{"cp.async.wait_all", onQueue(func(w *warp, l, _ int) { w.copies[l].commit(); w.copies[l].wait(0) })},
	{"cp.async.mbarrier.arrive{.noinc,}.shared{::cta,}.b64", makeCopyArrive},
	{"cp.async.bulk.commit_group", onQueue(func(w *warp, l, _ int) { w.stores[l].commit() })},
	{"cp.async.bulk.wait_group{.read,}", onQueue(func(w *warp, l, n int) { w.stores[l].wait(n) })},
	{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes{.multicast::cluster,}{.L2::cache_hint,}", makeBulkLoad},
	{"cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", makeBulkSend},
	{"cp.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint,}", makeBulkStore},
	{"cp.reduce.async.bulk.global.shared::cta.bulk_group." + reductions, makeBulkStore},
	{"cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.shared::cluster.global{.tile,}.mbarrier::complete_tx::bytes{.multicast::cluster,}{.L2::cache_hint,}", makeTensorLoad},
	{"cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta{.tile,}.bulk_group{.L2::cache_hint,}", makeTensorStore},
	{"cp.reduce.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta.{add,min,max,and,or,xor}{.tile,}.bulk_group", makeTensorStore},
}

// onQueue makes operations on the groups of asynchronous work of each lane. What a
// wait retires has happened for the warp.
func onQueue(f func(w *warp, lane, n int)) func(*program, *instr) error {
	return func(_ *program, i *instr) error {
		n := 0
		if len(i.args) > 0 {
			n = int(i.args[0].imm)
		}
		i.shows = true
		i.exec = func(w *warp, m uint32) {
			each(m, func(l int) { f(w, l, n) })
			queues, agent := &w.copies, w.cpAgent
			if i.has("bulk") {
				queues, agent = &w.stores, w.stAgent
			}
			least := -1
			each(m, func(l int) {
				if q := &queues[l]; least < 0 || q.done < least {
					least = q.done
				}
			})
			w.view.happened.set(agent, uint32(least))
		}
		return nil
	}
}

func makeCopyAsync(p *program, i *instr) error {
	args := i.args
	if i.has("L2::cache_hint") {
		args = args[:len(args)-1]
	}
	if len(args) != 3 && len(args) != 4 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	to, err := p.at(args[0])
	if err != nil {
		return err
	}
	from, err := p.at(args[1])
	if err != nil {
		return err
	}
	size := int(args[2].imm)
	if size != 4 && size != 8 && size != 16 || i.picks[0] == "cg" && size != 16 {
		return fmt.Errorf("copies of %d bytes", size)
	}
	n := constant(uint64(size))
	if len(args) == 4 {
		if n, err = p.source(args[3]); err != nil {
			return err
		}
	}
	i.exec = func(w *warp, m uint32) {
		dst, src, count := *to(w, m), *from(w, m), n(w, m)
		c := w.cta
		c.cl.m.report.access(i, w, globalSpace, &src, m, size)
		c.cl.m.report.access(i, w, sharedSpace, &dst, m, size)
		each(m, func(l int) {
			k := int(uint32(count[l]))
			if k > size {
				fail(Operands, "%d bytes of a copy of %d", k, size)
			}
			var data []byte
			if k > 0 {
				data = w.global(src[l], k, size, false)
			}
			_, off := c.place(dst[l], size, size, false)
			q := &w.copies[l]
			c.writes(off, size, access{&w.view, epoch{int32(w.cpAgent), uint32(q.next())}, int32(i.line), false, false})
			c.tag(off, src[l], k)
			q.add(func() {
				d := c.shared[off : off+size]
				clear(d)
				copy(d, data)
				c.version++
			})
		})
	}
	return nil
}

// makeCopyArrive has an mbarrier get an arrival when the copies of a thread so far
// are done.
func makeCopyArrive(p *program, i *instr) error {
	noinc := i.has("noinc")
	return onBarrier(p, i, 0, func(w *warp, b *mbarrier, _ uint64, l int) {
		if !noinc {
			b.pending++
		}
		v := w.release()
		v.happened.set(w.cpAgent, uint32(w.copies[l].next()))
		w.cta.cl.after(i.name, func() {
			w.copies[l].flush()
			b.arrive(1, v)
		})
	})
}

// ranks are the blocks that a copy goes to.
func (p *program) ranks(i *instr, at int) (func(w *warp, m uint32, l int) uint32, error) {
	if !i.has("multicast::cluster") {
		return func(w *warp, _ uint32, _ int) uint32 { return 1 << w.cta.rank }, nil
	}
	if len(i.args) <= at {
		return nil, fmt.Errorf("no mask of blocks")
	}
	s, err := p.source(i.args[at])
	return func(w *warp, m uint32, l int) uint32 {
		set := uint32(s(w, m)[l]) & 0xffff
		if set == 0 || bits.Len32(set) > len(w.cta.cl.ctas) {
			fail(Operands, "a copy to the blocks %#x of a cluster of %d", set, len(w.cta.cl.ctas))
		}
		return set
	}, err
}

// local is a shared address in another block.
func local(addr uint64, rank int) uint64 { return addr&(1<<windowBits-1) | uint64(rank)<<windowBits }

// lands checks a copy of n bytes into span bytes of shared memory, which fill
// writes later: into all of it, or the pieces of a box.
func (w *warp) lands(i *instr, addr uint64, span, n, align int, bar uint64, pieces []piece, fill func(d []byte)) (*cta, int) {
	c, off := w.cta.place(addr, span, align, true)
	b := w.barrier(bar, true)
	if b.cta != c {
		fail(Operands, "the data goes to block %d, the mbarrier is in block %d", c.rank, b.cta.rank)
	}
	if !b.fenced {
		fail(MissingProxyFence, "%v is initialised without a fence.mbarrier_init or fence.proxy.async", b)
	}
	given := w.view.clone()
	a := access{&given, b.copies(), int32(i.line), true, false}
	if n == span {
		c.writes(off, n, a)
	}
	for _, q := range pieces { // of a box with gaps
		c.writes(off+q.place, 16, a)
	}
	c.cl.after(i.name, func() {
		fill(c.shared[off : off+span])
		c.version++
		c.cl.m.event(c, fmt.Sprintf("%d bytes of line %d are there", n, i.line))
		b.complete(n, given)
	})
	return c, off
}

func makeBulkLoad(p *program, i *instr) error {
	if len(i.args) < 4 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	to, from, n, bar, err := p.bulk(i)
	if err != nil {
		return err
	}
	ranks, err := p.ranks(i, 4)
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		dst, src, count, at := *to(w, m), *from(w, m), *n(w, m), *bar(w, m)
		each(m, func(l int) {
			bytes := bulkSize(count[l])
			data := w.global(src[l], bytes, 16, false)
			for set := ranks(w, m, l); set != 0; set &= set - 1 {
				r := bits.TrailingZeros32(set)
				if !i.has("multicast::cluster") {
					w.barrier(at[l], false)
				}
				c, off := w.lands(i, local(dst[l], r), bytes, bytes, 16, local(at[l], r), nil, func(d []byte) { copy(d, data) })
				c.tag(off, src[l], bytes)
			}
		})
	}
	return err
}

func bulkSize(n uint64) int {
	bytes := int(uint32(n))
	if bytes == 0 || bytes%16 != 0 {
		fail(Misaligned, "a bulk copy of %d bytes, which is no multiple of 16", bytes)
	}
	return bytes
}

// bulk reads the four operands of a copy with an mbarrier.
func (p *program) bulk(i *instr) (to, from, n, bar src, err error) {
	if to, err = p.at(i.args[0]); err != nil {
		return
	}
	if from, err = p.at(i.args[1]); err != nil {
		return
	}
	if n, err = p.source(i.args[2]); err != nil {
		return
	}
	bar, err = p.at(i.args[3])
	return
}

// makeBulkSend makes copies from a block's shared memory into a peer's.
func makeBulkSend(p *program, i *instr) error {
	if err := i.want(4); err != nil {
		return err
	}
	to, from, n, bar, err := p.bulk(i)
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		dst, src, count, at := *to(w, m), *from(w, m), *n(w, m), *bar(w, m)
		each(m, func(l int) {
			bytes := bulkSize(count[l])
			b := w.barrier(at[l], true)
			c, off := w.cta.place(src[l], bytes, 16, false)
			c.mustRead(off, bytes, access{&w.view, b.copies(), int32(i.line), true, false})
			w.lands(i, dst[l], bytes, bytes, 16, at[l], nil, func(d []byte) { copy(d, c.shared[off:off+bytes]) })
		})
	}
	return err
}

// sends checks a copy out of shared memory, which happens when it is waited for.
func (w *warp) sends(i *instr, addr uint64, n, align, lane int, pieces []piece, write func(s []byte)) {
	c, off := w.cta.place(addr, n, align, false)
	q := &w.stores[lane]
	a := access{&w.view, epoch{int32(w.stAgent), uint32(q.next())}, int32(i.line), true, false}
	if pieces == nil {
		c.mustRead(off, n, a)
	}
	for _, q := range pieces { // of a box with gaps
		c.mustRead(off+q.place, 16, a)
	}
	q.add(func() { write(c.shared[off : off+n]) })
}

func makeBulkStore(p *program, i *instr) error {
	if len(i.args) < 3 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	to, err := p.at(i.args[0])
	if err != nil {
		return err
	}
	from, err := p.at(i.args[1])
	if err != nil {
		return err
	}
	n, err := p.source(i.args[2])
	if err != nil {
		return err
	}
	put := func(g, s []byte) { copy(g, s) }
	if i.parts[1] == "reduce" {
		put = reducer(i.parts[len(i.parts)-1], i)
	}
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		dst, src, count := *to(w, m), *from(w, m), *n(w, m)
		each(m, func(l int) {
			bytes := bulkSize(count[l])
			g := w.global(dst[l], bytes, 16, true)
			w.sends(i, src[l], bytes, 16, l, nil, func(s []byte) { put(g, s) })
		})
	}
	return nil
}

// reducer combines elements of a type in memory.
func reducer(typ string, i *instr) func(g, s []byte) {
	op := "add"
	for _, o := range []string{"min", "max", "and", "or", "xor", "inc", "dec"} {
		if i.has(o) {
			op = o
		}
	}
	size := sizes[typ]
	format, narrow := formats[typ]
	if size < 2 || narrow && op != "add" {
		fail(Operands, "%s of %s", op, typ)
	}
	return func(g, s []byte) {
		for at := 0; at+size <= len(g); at += size {
			a, b := load(g[at:][:size]), load(s[at:][:size])
			if narrow {
				store(g[at:][:size], uint64(narrowed(format, exactSum(float64(format.Decode(uint16(a))), float64(format.Decode(uint16(b)))))))
				continue
			}
			store(g[at:][:size], atomic(op, typ, a, b, 0))
		}
	}
}

// tensor reads a tensor map and coordinates.
func (p *program) tensor(o operand) (func(w *warp, m uint32, l int) (*gpu.TensorMap, []int64), error) {
	if o.kind != opMem || o.coords == nil {
		return nil, fmt.Errorf("an operand that is no tensor address")
	}
	base, err := p.source(o.list[0])
	if err != nil {
		return nil, err
	}
	cs, err := p.sources(o.coords)
	return func(w *warp, m uint32, l int) (*gpu.TensorMap, []int64) {
		v := base(w, m)[l]
		if v&paramSpace == 0 {
			fail(Operands, "%#x is no tensor map", v)
		}
		tm := &w.cta.cl.m.launch.Args[v&^paramSpace].Map
		if len(tm.Dims) != len(cs) {
			fail(Operands, "%d coordinates of a tensor of %d dimensions", len(cs), len(tm.Dims))
		}
		var at []int64
		for _, c := range cs {
			at = append(at, int64(int32(c(w, m)[l])))
		}
		return tm, at
	}, err
}

// piece is 16 bytes of a box: where they lie in it, and where in the tensor's
// buffer; the first n are inside the tensor.
type piece struct {
	place, n int
	addr     uint64
}

// box lists the pieces of a box of a tensor map at a coordinate, its bytes, and how
// many bytes of shared memory it spans: rows lie as far apart as the swizzle is wide.
func box(m *gpu.TensorMap, coord []int64) (pieces []piece, bytes, span int) {
	size := int64(m.DType.Size())
	inner := int(m.Box[0]) * int(size)
	if at := coord[0] * size; at%16 != 0 {
		fail(Misaligned, "a box that begins %d bytes into the rows of a tensor, which is no multiple of 16", at)
	}
	swizzle, pitch := layout.Swizzle(m.Swizzle), max(inner, m.Swizzle.Span())
	rows := 1
	for _, b := range m.Box[1:] {
		rows *= int(b)
	}
	for r := range rows {
		inside, at, rest := true, m.Offset, r
		for d := 1; d < len(m.Dims); d++ {
			k := coord[d] + int64(rest%int(m.Box[d]))
			rest /= int(m.Box[d])
			inside = inside && k >= 0 && k < int64(m.Dims[d])
			at += uint64(k) * m.Strides[d-1]
		}
		for b := 0; b < inner; b += 16 {
			place := r*pitch + b
			if m.Swizzle != gpu.SwizzleNone {
				place = swizzle.Addr(place)
			}
			q := piece{place: place}
			first := coord[0]*size + int64(b)
			if n := min(16, int64(m.Dims[0])*size-first); inside && first >= 0 && n > 0 {
				q.n, q.addr = int(n), uint64(m.Of)<<bufferBits+at+uint64(first)
			}
			pieces = append(pieces, q)
		}
	}
	return pieces, rows * inner, rows * pitch
}

// wholePiece is the 16 bytes that a tensor store writes where the row of a tensor
// ends among them, as far as the buffer goes.
func (w *warp) wholePiece(addr uint64) []byte {
	b := w.cta.cl.m.memory[gpu.Buffer(addr>>bufferBits)][addr&(1<<bufferBits-1):]
	return b[:min(16, len(b))]
}

// gaps are the pieces of a box that does not fill its span, else nil.
func gaps(pieces []piece, bytes, span int) []piece {
	if bytes == span {
		return nil
	}
	return pieces
}

func alignment(m *gpu.TensorMap) int { return max(128, 8*m.Swizzle.Span()) }

func makeTensorLoad(p *program, i *instr) error {
	if len(i.args) < 3 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	to, err := p.at(i.args[0])
	if err != nil {
		return err
	}
	from, err := p.tensor(i.args[1])
	if err != nil {
		return err
	}
	bar, err := p.at(i.args[2])
	if err != nil {
		return err
	}
	ranks, err := p.ranks(i, 3)
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		dst, at := *to(w, m), *bar(w, m)
		each(m, func(l int) {
			tm, coord := from(w, m, l)
			pieces, bytes, span := box(tm, coord)
			from := make([][]byte, len(pieces))
			for k, q := range pieces {
				if q.n > 0 {
					from[k] = w.global(q.addr, q.n, 1, false)
				}
			}
			for set := ranks(w, m, l); set != 0; set &= set - 1 {
				r := bits.TrailingZeros32(set)
				c, off := w.lands(i, local(dst[l], r), span, bytes, alignment(tm), local(at[l], r), gaps(pieces, bytes, span), func(d []byte) {
					for k, q := range pieces {
						p := d[q.place:][:16]
						clear(p)
						copy(p, from[k])
					}
				})
				for _, q := range pieces {
					c.tag(off+q.place, q.addr, q.n)
				}
			}
		})
	}
	return err
}

func makeTensorStore(p *program, i *instr) error {
	if len(i.args) < 2 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	to, err := p.tensor(i.args[0])
	if err != nil {
		return err
	}
	from, err := p.at(i.args[1])
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		src := *from(w, m)
		each(m, func(l int) {
			tm, coord := to(w, m, l)
			pieces, bytes, span := box(tm, coord)
			if slices.Min(coord) < 0 {
				fail(OutOfBounds, "a store at the coordinates %d, of which none may be negative", coord)
			}
			put := func(g, s []byte) { copy(g, s) }
			if i.parts[1] == "reduce" {
				put = reducer(tm.DType.String(), i)
			}
			g := make([][]byte, len(pieces))
			for k, q := range pieces {
				if q.n > 0 {
					w.global(q.addr, q.n, 1, true)
					g[k] = w.wholePiece(q.addr)
				}
			}
			w.sends(i, src[l], span, alignment(tm), l, gaps(pieces, bytes, span), func(s []byte) {
				for k, q := range pieces {
					put(g[k], s[q.place:][:len(g[k])])
				}
			})
		})
	}
	return err
}
