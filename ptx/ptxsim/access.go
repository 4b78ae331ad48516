package ptxsim

import (
	"fmt"
	"math/bits"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// access returns n bytes at the address that an instruction names in its space.
func (i *instr) access(t *thread, addr uint64, n int) []byte {
	switch {
	case i.has("shared_cluster"):
		return t.w.cta.window(addr, n, n, true)
	case i.has("shared"), i.has("shared_cta"):
		return t.w.cta.window(addr, n, n, false)
	}
	return t.w.cta.cl.m.global(addr, n, n)
}

func makeLoad(p *program, i *instr) error {
	size := sizes[i.typ()]
	rs := registers(i.args[0])
	if i.has("param") {
		get := p.getter(i.args[1].list[0])
		i.run = func(t *thread) { t.regs[rs[0]] = get(t) & mask(size) }
		return nil
	}
	addr := p.address(i.args[1])
	i.run = func(t *thread) {
		b := i.access(t, addr(t), size*len(rs))
		for n, r := range rs {
			t.regs[r] = load(b[n*size:][:size])
		}
	}
	return nil
}

func makeStore(p *program, i *instr) error {
	size := sizes[i.typ()]
	addr := p.address(i.args[0])
	list := []operand{i.args[1]}
	if i.args[1].kind == opVec {
		list = i.args[1].list
	}
	get := p.getters(list)
	values := func(t *thread) []uint64 {
		v := make([]uint64, len(get))
		for n, g := range get {
			v[n] = g(t)
		}
		return v
	}
	put := func(b []byte, v []uint64) {
		for n := range v {
			store(b[n*size:][:size], v[n])
		}
	}
	if i.has("async") {
		bar := p.address(i.args[2])
		i.run = func(t *thread) {
			c := t.w.cta
			to, at, v := i.access(t, addr(t), size*len(get)), bar(t), values(t)
			target, _ := c.place(addr(t), true)
			if b, _ := c.place(at, true); b != target {
				fail("the data goes to block %d, the mbarrier is in block %d", target.rank, b.rank)
			}
			c.cl.pending = append(c.cl.pending, func() {
				put(to, v)
				c.barrier(at, true).complete(len(to))
			})
		}
		return nil
	}
	i.run = func(t *thread) { put(i.access(t, addr(t), size*len(get)), values(t)) }
	return nil
}

func makeAtom(p *program, i *instr) error {
	op := i.op[len(i.op)-2]
	if i.typ() != "u32" || op != "inc" && op != "add" {
		return fmt.Errorf("unknown atomic operation")
	}
	addr, v, set := p.address(i.args[1]), p.getter(i.args[2]), setter(i.args[0])
	i.run = func(t *thread) {
		b := i.access(t, addr(t), 4)
		old := load(b)
		next := old + v(t)
		if op == "inc" {
			if next = old + 1; old >= v(t) {
				next = 0
			}
		}
		store(b, next)
		set(t, old)
	}
	return nil
}

func makeMapa(p *program, i *instr) error {
	addr, rank, set := p.getter(i.args[1]), p.getter(i.args[2]), setter(i.args[0])
	i.run = func(t *thread) {
		if int(rank(t)) >= len(t.w.cta.cl.ctas) {
			fail("block %d of a cluster of %d", rank(t), len(t.w.cta.cl.ctas))
		}
		set(t, addr(t)&(1<<windowBits-1)|rank(t)<<windowBits)
	}
	return nil
}

// makeCopy makes cp.async and the bulk copies.
func makeCopy(p *program, i *instr) error {
	bulk := i.has("bulk")
	pick := func(t *thread) *queue {
		if bulk {
			return &t.stores
		}
		return &t.copies
	}
	switch {
	case i.has("commit_group"):
		i.run = func(t *thread) { pick(t).commit() }
	case i.has("wait_all"):
		i.run = func(t *thread) { t.copies.commit(); t.copies.wait(0) }
	case i.has("wait_group"):
		n := p.getter(i.args[0])
		i.run = func(t *thread) { pick(t).wait(int(n(t))) }
	case i.has("tensor"):
		return makeTensorCopy(p, i)
	case bulk:
		to, from, n, bar := p.address(i.args[0]), p.address(i.args[1]), p.getter(i.args[2]), p.address(i.args[3])
		i.run = func(t *thread) {
			c, bytes, at := t.w.cta, int(n(t)), bar(t)
			src := c.cl.m.global(from(t), bytes, 16)
			c.land(c.window(to(t), bytes, 1, false), func(d []byte) { copy(d, src) }, at)
		}
	default:
		to, from := p.address(i.args[0]), p.address(i.args[1])
		size, n := p.getter(i.args[2]), p.getter(i.args[len(i.args)-1])
		i.run = func(t *thread) {
			c, bytes := t.w.cta, int(size(t))
			d := c.window(to(t), bytes, bytes, false)
			var src []byte
			if k := int(n(t)); k > bytes {
				fail("%d bytes of a copy of %d", k, bytes)
			} else if k > 0 {
				src = c.cl.m.global(from(t), k, bytes)
			}
			t.copies.open = append(t.copies.open, func() {
				clear(d)
				copy(d, src)
			})
		}
	}
	return nil
}

// land has a copy into shared memory happen later, then counts its bytes at the
// mbarrier.
func (c *cta) land(d []byte, fill func([]byte), bar uint64) {
	c.cl.pending = append(c.cl.pending, func() {
		fill(d)
		c.barrier(bar, true).complete(len(d))
	})
}

func makeTensorCopy(p *program, i *instr) error {
	tensor := func(o operand) func(t *thread) (*gpu.TensorMap, []int64) {
		m, cs := p.getter(o.list[0]), p.getters(o.coords)
		return func(t *thread) (*gpu.TensorMap, []int64) {
			v := m(t)
			if v&paramSpace == 0 {
				fail("%#x is no tensor map", v)
			}
			tm := &t.w.cta.cl.m.launch.Args[v&^paramSpace].Map
			if len(tm.Dims) != len(cs) {
				fail("%d coordinates of a tensor of %d dimensions", len(cs), len(tm.Dims))
			}
			var at []int64
			for _, c := range cs {
				at = append(at, int64(int32(c(t))))
			}
			return tm, at
		}
	}
	if i.has("bulk_group") { // from shared memory
		to, from := tensor(i.args[0]), p.address(i.args[1])
		i.run = func(t *thread) {
			c := t.w.cta
			m, at := to(t)
			src := from(t)
			t.stores.open = append(t.stores.open, func() {
				c.box(m, src, at, func(s, g []byte) { copy(g, s) })
			})
		}
		return nil
	}
	to, from, bar := p.address(i.args[0]), tensor(i.args[1]), p.address(i.args[2])
	var blocks value
	if i.has("multicast_cluster") {
		blocks = p.getter(i.args[3])
	}
	i.run = func(t *thread) {
		c := t.w.cta
		m, at := from(t)
		d, b := to(t), bar(t)
		ranks := uint64(1) << c.rank
		if blocks != nil {
			ranks = blocks(t) & 0xffff
		}
		for ; ranks != 0; ranks &= ranks - 1 {
			rank := uint64(bits.TrailingZeros64(ranks))
			local := func(a uint64) uint64 { return a&(1<<windowBits-1) | rank<<windowBits }
			c.cl.pending = append(c.cl.pending, func() {
				bytes := 0
				c.box(m, local(d), at, func(s, g []byte) {
					clear(s)
					copy(s, g)
					bytes += len(s)
				})
				c.barrier(local(b), true).complete(bytes)
			})
		}
	}
	return nil
}
