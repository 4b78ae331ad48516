package ptxsim

import (
	"fmt"
	"strings"
)

// makeBar makes barriers of a block: bar.sync, bar.warp.sync.
func makeBar(p *program, i *instr) error {
	if i.has("warp") {
		i.together = func(*warp, []*thread) {}
		return nil
	}
	if i.op[1] != "sync" {
		return fmt.Errorf("unknown barrier")
	}
	id, n := p.getter(i.args[0]), value(func(*thread) uint64 { return 0 })
	if len(i.args) > 1 {
		n = p.getter(i.args[1])
	}
	i.run = func(t *thread) { t.w.cta.wait(t, int(id(t)), int(n(t))) }
	return nil
}

// makeBarrier makes the cluster's barrier.
func makeBarrier(_ *program, i *instr) error {
	switch {
	case !i.has("cluster"):
		return fmt.Errorf("unknown barrier")
	case i.has("arrive"):
		i.run = func(t *thread) {
			cl := t.w.cta.cl
			if t.arrived > cl.phase {
				cl.meet()
			}
			if t.arrived > cl.phase {
				fail("thread %d arrives twice in a phase of the cluster", t.id)
			}
			t.arrived++
			if cl.waiting > 0 {
				cl.meet()
			}
		}
	default:
		i.run = func(t *thread) {
			cl := t.w.cta.cl
			if cl.phase < t.arrived {
				t.state = inCluster
				cl.waiting++
				cl.meet()
			}
		}
	}
	return nil
}

func makeMbarrier(p *program, i *instr) error {
	any := i.has("shared_cluster")
	switch i.op[1] {
	case "init":
		addr, n := p.address(i.args[0]), p.getter(i.args[1])
		i.run = func(t *thread) {
			c := t.w.cta
			c.window(addr(t), 8, 8, false)
			_, off := c.place(addr(t), false)
			if c.mbarrier[off] != nil {
				fail("an mbarrier initialised twice")
			}
			c.mbarrier[off] = &mbarrier{count: int(n(t)), pending: int(n(t))}
		}
	case "arrive":
		addr := p.address(i.args[1])
		n := value(func(*thread) uint64 { return 1 })
		if len(i.args) > 2 {
			n = p.getter(i.args[2])
		}
		i.run = func(t *thread) {
			b := t.w.cta.barrier(addr(t), any)
			if i.has("expect_tx") {
				b.bytes += int(n(t))
				b.arrive(1)
				return
			}
			b.arrive(int(n(t)))
		}
	case "try_wait":
		addr, parity, set := p.address(i.args[1]), p.getter(i.args[2]), setter(i.args[0])
		i.run = func(t *thread) {
			done := uint64(t.w.cta.barrier(addr(t), any).phase)&1 != parity(t)&1
			set(t, truth(done))
			t.yielding = !done
			if done {
				t.w.cta.cl.m.events++
			}
		}
	default:
		return fmt.Errorf("unknown mbarrier operation")
	}
	return nil
}

func makeVote(p *program, i *instr) error {
	if !i.has("ballot") {
		return fmt.Errorf("unknown vote")
	}
	get, set := p.getter(i.args[1]), setter(i.args[0])
	i.together = func(_ *warp, lanes []*thread) {
		var v uint64
		for _, t := range lanes {
			v |= get(t) & 1 << t.lane
		}
		for _, t := range lanes {
			set(t, v)
		}
	}
	return nil
}

func makeShuffle(p *program, i *instr) error {
	d := i.args[0]
	if d.kind == opPair {
		d = d.list[0]
	}
	get, by, set := p.getter(i.args[1]), p.getter(i.args[2]), setter(d)
	if i.op[2] != "bfly" && i.op[2] != "idx" {
		return fmt.Errorf("unknown shuffle")
	}
	i.together = func(w *warp, lanes []*thread) {
		if len(lanes) != 32 {
			fail("a shuffle of %d lanes", len(lanes))
		}
		var old [32]uint64
		for _, t := range lanes {
			old[t.lane] = get(t)
		}
		for _, t := range lanes {
			from := int(by(t)) & 31
			if i.op[2] == "bfly" {
				from ^= t.lane
			}
			set(t, old[from])
		}
	}
	return nil
}

func makeRedux(p *program, i *instr) error {
	if !i.has("add") {
		return fmt.Errorf("unknown reduction")
	}
	get, set := p.getter(i.args[1]), setter(i.args[0])
	i.together = func(_ *warp, lanes []*thread) {
		var v uint64
		for _, t := range lanes {
			v += get(t)
		}
		for _, t := range lanes {
			set(t, v&mask(4))
		}
	}
	return nil
}

func makeElect(_ *program, i *instr) error {
	set := setter(i.args[0].list[1])
	i.together = func(_ *warp, lanes []*thread) {
		for n, t := range lanes {
			set(t, truth(n == 0))
		}
	}
	return nil
}

// makeMatrixMove makes ldmatrix and stmatrix: lane l addresses row l%8 of matrix
// l/8; lane l holds of each matrix elements 2·(l%4) and the next of row l/4, or
// with trans of column l/4.
func makeMatrixMove(p *program, i *instr) error {
	loads := i.op[0] == "ldmatrix"
	mem, vec := i.args[0], i.args[1]
	if loads {
		vec, mem = mem, vec
	}
	addr, rs, trans := p.address(mem), registers(vec), i.has("trans")
	i.together = func(w *warp, lanes []*thread) {
		if len(lanes) != 32 {
			fail("%s of %d lanes", i.op[0], len(lanes))
		}
		for m, r := range rs {
			var rows [8][]byte
			for n := range rows {
				rows[n] = w.cta.window(addr(lanes[8*m+n]), 16, 16, false)
			}
			for _, t := range lanes {
				for e := range 2 {
					row, col := t.lane/4, 2*(t.lane%4)+e
					if trans {
						row, col = col, row
					}
					b, shift := rows[row][2*col:][:2], 16*e
					if loads {
						t.regs[r] = t.regs[r]&^(0xffff<<shift)&mask(4) | load(b)<<shift
					} else {
						store(b, t.regs[r]>>shift)
					}
				}
			}
		}
	}
	return nil
}

// shape reads "m16n8k32".
func shape(s string) (m, n, k int, err error) {
	_, err = fmt.Sscanf(s, "m%dn%dk%d", &m, &n, &k)
	return
}

// isShape finds the shape among the parts of a name.
func (i *instr) shape() (m, n, k int, err error) {
	for _, s := range i.op {
		if strings.HasPrefix(s, "m") && strings.Contains(s, "n") && strings.Contains(s, "k") && s[1] >= '0' && s[1] <= '9' {
			return shape(s)
		}
	}
	return 0, 0, 0, fmt.Errorf("no shape")
}
