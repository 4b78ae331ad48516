package ptxsim

import (
	"fmt"
	"math/bits"
)

var warpRows = []row{
	{"vote.sync.{all,any,uni}.pred", makeVote},
	{"vote.sync.ballot.b32", makeVote},
	{"match.{any,all}.sync.{b32,b64}", makeMatch},
	{"shfl.sync.{up,down,bfly,idx}.b32", makeShuffle},
	{"redux.sync.{add,min,max}.{u32,s32}", makeRedux},
	{"redux.sync.{and,or,xor}.b32", makeRedux},
	{"activemask.b32", func(p *program, i *instr) error {
		d, err := p.result(i.args[0])
		i.exec = func(w *warp, m uint32) {
			to := d(w, m)
			each(m, func(l int) { to[l] = uint64(m) })
		}
		return err
	}},
	{"elect.sync", makeElect},
}

// inConcert makes an instruction one that the lanes of its last operand execute
// together.
func (i *instr) inConcert(p *program) error {
	if len(i.args) < 2 {
		return fmt.Errorf("%d operands", len(i.args))
	}
	last := len(i.args) - 1
	s, err := p.source(i.args[last])
	i.kind, i.lanes, i.args = collective, s, i.args[:last]
	return err
}

func makeVote(p *program, i *instr) error {
	if err := i.inConcert(p); err != nil {
		return err
	}
	if err := i.want(2); err != nil {
		return err
	}
	c, err := p.condition(i.args[1])
	if err != nil {
		return err
	}
	if i.has("ballot") {
		d, err := p.result(i.args[0])
		i.exec = func(w *warp, m uint32) {
			v := uint64(c(w, m) & m)
			to := d(w, m)
			each(m, func(l int) { to[l] = v })
		}
		return err
	}
	set, err := p.truth(i.args[0])
	i.exec = func(w *warp, m uint32) {
		v := c(w, m) & m
		holds := map[string]bool{"all": v == m, "any": v != 0, "uni": v == 0 || v == m}[i.picks[0]]
		set(w, m, -uint32(flag(holds)))
	}
	return err
}

// pair splits a result with an optional predicate behind a bar.
func (p *program) pair(o operand) (dst, func(w *warp, m, v uint32), error) {
	set := func(*warp, uint32, uint32) {}
	if o.kind == opPair {
		var err error
		if set, err = p.truth(o.list[1]); err != nil {
			return nil, nil, err
		}
		o = o.list[0]
	}
	d, err := p.result(o)
	return d, set, err
}

func makeMatch(p *program, i *instr) error {
	if err := i.inConcert(p); err != nil {
		return err
	}
	d, set, err := p.pair(i.args[0])
	if err != nil {
		return err
	}
	s, err := p.source(i.args[1])
	cut := mask(sizes[i.typ()])
	i.exec = func(w *warp, m uint32) {
		a := *s(w, m)
		to := d(w, m)
		same := func(l int) (v uint32) {
			each(m, func(k int) { v |= uint32(flag(a[k]&cut == a[l]&cut)) << k })
			return v
		}
		if i.picks[0] == "any" {
			each(m, func(l int) { to[l] = uint64(same(l)) })
			return
		}
		all := same(bits.TrailingZeros32(m)) == m
		each(m, func(l int) { to[l] = uint64(m) & -flag(all) })
		set(w, m, -uint32(flag(all)))
	}
	return err
}

func makeShuffle(p *program, i *instr) error {
	if err := i.inConcert(p); err != nil {
		return err
	}
	if err := i.want(4); err != nil {
		return err
	}
	d, set, err := p.pair(i.args[0])
	if err != nil {
		return err
	}
	s, err := p.sources(i.args[1:])
	if err != nil {
		return err
	}
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		a := *s[0](w, m)
		unknown := w.undef
		w.undef = 0
		b, c := *s[1](w, m), *s[2](w, m)
		w.defined("a lane")
		var valid uint32
		var to lanes
		each(m, func(l int) {
			by, limit, segment := int(b[l]&31), int(c[l]&31), int(c[l]>>8&31)
			last := l&segment | limit&^segment
			first := l & segment
			var j int
			var in bool
			switch i.picks[0] {
			case "up":
				j = l - by
				in = j >= last
			case "down":
				j = l + by
				in = j <= last
			case "bfly":
				j = l ^ by
				in = j <= last
			default:
				j = first | by&^segment
				in = j <= last
			}
			if !in {
				j = l
			} else {
				valid |= 1 << l
			}
			if m>>j&1 == 0 {
				fail(Divergence, "lane %d takes from lane %d, which does not take part", l, j)
			}
			to[l] = a[j] & mask(4)
			w.undef |= unknown >> j & 1 << l
		})
		out := d(w, m)
		each(m, func(l int) { out[l] = to[l] })
		w.undef = 0
		set(w, m, valid)
	}
	return nil
}

func makeRedux(p *program, i *instr) error {
	if err := i.inConcert(p); err != nil {
		return err
	}
	op, typ := i.picks[0], i.typ()
	d, err := p.result(i.args[0])
	if err != nil {
		return err
	}
	s, err := p.source(i.args[1])
	i.exec = func(w *warp, m uint32) {
		a := s(w, m)
		first := bits.TrailingZeros32(m)
		v := a[first]
		each(m&^(1<<first), func(l int) { v = atomic(op, typ, v, a[l], 0) })
		to := d(w, m)
		each(m, func(l int) { to[l] = v & mask(4) })
	}
	return err
}

func makeElect(p *program, i *instr) error {
	if err := i.inConcert(p); err != nil {
		return err
	}
	if i.args[0].kind != opPair {
		return fmt.Errorf("no predicate")
	}
	d, set, err := p.pair(i.args[0])
	i.exec = func(w *warp, m uint32) {
		first := bits.TrailingZeros32(m)
		to := d(w, m)
		each(m, func(l int) { to[l] = uint64(first) })
		set(w, m, 1<<first)
	}
	return err
}
