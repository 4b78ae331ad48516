package verify

import "slices"

// run carries states through the blocks of a loop's body, or of the function
// where l is nil, from its entry on. It returns the states that come back to the
// head and those that leave.
func (a *analysis) run(l *loop, entry *state) (backs []*state, exits []edge, err error) {
	order, head := a.order, 0
	if l != nil {
		order, head = l.blocks, l.head
	}
	saved := a.loop
	a.loop = l
	defer func() { a.loop = saved }()
	pending := make([][]*state, len(a.blocks))
	pending[head] = []*state{entry}
	route := func(es []edge) {
		for _, e := range es {
			switch {
			case l != nil && e.to == l.head:
				backs = append(backs, e.s)
			case l != nil && !l.in[e.to]:
				exits = append(exits, e)
			default:
				pending[e.to] = append(pending[e.to], e.s)
			}
		}
	}
	for _, b := range order {
		states := pending[b]
		pending[b] = nil
		if len(states) == 0 {
			continue
		}
		if len(states) > 1 {
			states = a.merge(b, states)
		}
		if len(states) > maxStates {
			return nil, nil, a.errorAt(&a.fn.Insts[a.blocks[b].first], "", "is reached in more than %d different ways", maxStates)
		}
		inner := a.blocks[b].loop
		for _, s := range states {
			var out []edge
			if inner != nil && inner != l && inner.head == b {
				out, err = a.runLoop(inner, s)
			} else {
				out, err = a.runBlock(b, s)
			}
			if err != nil {
				return nil, nil, err
			}
			route(out)
		}
	}
	// An order in which a block comes before what leads to it.
	if b := slices.IndexFunc(pending, func(s []*state) bool { return s != nil }); b >= 0 {
		return nil, nil, a.errorAt(&a.fn.Insts[a.blocks[b].first], "", "is reached in a way that is not followed")
	}
	return backs, exits, nil
}

// maxStates bounds the paths that are followed apart.
const maxStates = 64

// runBlock carries a state through a block; s is used up.
func (a *analysis) runBlock(b int, s *state) ([]edge, error) {
	blk := &a.blocks[b]
	s.cost = s.cost.plusConst(int64(blk.end - blk.first))
	for i := blk.first; i < blk.end; i++ {
		in := &a.fn.Insts[i]
		a.at = i
		a.saw(reached)
		switch in.Op {
		case Jump:
			return a.jump(b, in, s)
		case Return:
			if !a.quiet {
				return nil, a.atReturn(in, s)
			}
			return nil, nil
		}
		if err := a.step(in, s); err != nil {
			return nil, err
		}
	}
	return []edge{{blk.next[0], s}}, nil
}

func (a *analysis) jump(b int, in *Inst, s *state) ([]edge, error) {
	target := a.blockOf(in.Target)
	if in.Cond == Always {
		return []edge{{target, s}}, nil
	}
	if s.flag == fUndefined {
		return nil, a.errorAt(in, "", "depends on flags that nothing has set")
	}
	var out []edge
	known := s.known
	if a.assume(s, negated[in.Cond]) {
		out = append(out, edge{b + 1, s})
		next := s.known
		if s.known = known; a.assume(s, in.Cond) {
			a.saw(met)
			t := s.clone()
			s.known = next
			out = append(out, edge{target, t})
		} else {
			s.known = next
		}
		return out, nil
	}
	if s.known = known; a.assume(s, in.Cond) {
		a.saw(met)
		out = append(out, edge{target, s})
	}
	return out, nil
}

var negated = map[Cond]Cond{
	Equal: NotEqual, NotEqual: Equal, Less: GreaterEqual, GreaterEqual: Less, Greater: LessEqual, LessEqual: Greater,
}

// assume adds a condition to what is known; false means that it cannot hold.
func (a *analysis) assume(s *state, c Cond) bool {
	switch s.flag {
	case fNonzero:
		return c != Equal
	case fZero:
		if c != Equal && c != NotEqual {
			return true
		}
	case fNumber:
	default:
		return true
	}
	p := s.diff
	switch c {
	case Equal:
		if a.sees(s.known, above(p)) || a.sees(s.known, below(p)) {
			return false
		}
		s.known = s.known.withEqual(p)
	case NotEqual:
		switch {
		case a.sees(s.known, p) && a.sees(s.known, p.scaled(-1)):
			return false
		case a.sees(s.known, p):
			s.known = s.known.with(above(p))
		case a.sees(s.known, p.scaled(-1)):
			s.known = s.known.with(below(p))
		case a.quiet:
			// A guess: what counts towards 0 has not passed it.
			q := p
			for _, u := range a.moving {
				q = a.syms.substitute(q, u, nil)
			}
			if len(q.terms()) < len(p.terms()) && a.sees(s.known, q.scaled(-1)) {
				s.known = s.known.with(below(p))
			}
		}
	case Less:
		if a.sees(s.known, p) {
			return false
		}
		less := below(p)
		s.known = s.known.with(less)
		return a.capped(s, less)
	case GreaterEqual:
		if a.sees(s.known, below(p)) {
			return false
		}
		s.known = a.unclamped(s.known.with(p), p)
	case Greater:
		if a.sees(s.known, p.scaled(-1)) {
			return false
		}
		greater := above(p)
		s.known = a.unclamped(s.known.with(greater), greater)
	case LessEqual:
		if a.sees(s.known, above(p)) {
			return false
		}
		s.known = s.known.with(p.scaled(-1))
		return a.capped(s, p.scaled(-1))
	}
	return true
}

// above and below are at least 0 where p is above or below 0.
func above(p poly) poly { return p.plusConst(-1) }
func below(p poly) poly { return p.scaled(-1).plusConst(-1) }

// capped adds to what is known, in which p is at least 0, what follows if p is a
// constant less the lesser of two numbers, one of which is a greater constant: the
// other is no more than that constant. False means that it is.
func (a *analysis) capped(s *state, p poly) bool {
	c, t, ok := int64(0), symbol(0), false
	for ; c <= 4 && !ok; c++ {
		t, ok = p.scaled(-1).plusConst(c).isSymbol()
	}
	if c--; !ok || a.syms.info[t].kind != clamped && a.syms.info[t].kind != lesser {
		return true
	}
	i := &a.syms.info[t]
	if with, ok := i.with.isConst(); !ok || with <= c {
		return true
	}
	more := i.pos.plusConst(-c - 1) // >= 0 if it is
	if a.sees(s.known, more) {
		return false
	}
	s.known = s.known.with(below(more))
	return true
}

// unclamped adds to f, in which p is at least 0, what follows if p is the lesser of
// two numbers, or a number clamped at 0, less a positive constant: each of them is
// at least that constant.
func (a *analysis) unclamped(f *fact, p poly) *fact {
	for c := int64(1); c <= 4; c++ {
		t, ok := p.plusConst(c).isSymbol()
		if !ok || a.syms.info[t].kind != clamped && a.syms.info[t].kind != lesser {
			continue
		}
		f = f.with(a.syms.info[t].pos.plusConst(-c))
		if with := a.syms.info[t].with; with != nil {
			f = f.with(with.plusConst(-c))
		}
	}
	return f
}
