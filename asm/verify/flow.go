package verify

import (
	"math/bits"
	"slices"
)

// block is a run of instructions that is entered at the first only.
type block struct {
	first, end int // instructions
	next       []int
	prev       []int
	order      int // in reverse postorder; -1 is unreachable
	idom       int
	live       regSet // at the beginning
	uses, sets regSet // read before they are written; written
	loop       *loop  // the innermost that it is in
}

// regSet is a set of places.
type regSet [2]uint64

func (s *regSet) add(r Reg)     { s[r>>6] |= 1 << (r & 63) }
func (s *regSet) drop(r Reg)    { s[r>>6] &^= 1 << (r & 63) }
func (s regSet) has(r Reg) bool { return s[r>>6]>>(r&63)&1 != 0 }

func (s regSet) and(t regSet) regSet    { return regSet{s[0] & t[0], s[1] & t[1]} }
func (s regSet) or(t regSet) regSet     { return regSet{s[0] | t[0], s[1] | t[1]} }
func (s regSet) andNot(t regSet) regSet { return regSet{s[0] &^ t[0], s[1] &^ t[1]} }

// all calls do with each member in order.
func (s regSet) all(do func(Reg) bool) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if !do(Reg(64*i + bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}

// loop is a natural loop.
type loop struct {
	head   int
	blocks []int // in reverse postorder
	in     map[int]bool
	outer  *loop
	writes regSet
	upper  bool // it may dirty upper parts of vector registers
	name   string
	// While the body runs:
	begin *state // at the head
}

// stepped is a prefix sum that a loop takes forward by one period each time.
type stepped struct {
	sum  int
	now  poly // the symbol before the step
	step poly // what is added
	next poly // the symbol after it
}

// buildFlow finds blocks, loops and live registers. It returns an error where
// the listing jumps in ways that kernels do not.
func (a *analysis) buildFlow() error {
	f := a.fn
	leader := map[int]bool{0: true}
	for i := range f.Insts {
		in := &f.Insts[i]
		if in.Op == Jump {
			at, ok := f.Labels[in.Target]
			if !ok {
				return a.errorAt(in, "", "jumps to %s, which is no label here", in.Target)
			}
			leader[at] = true
		}
		if in.Op == Jump || in.Op == Return {
			leader[i+1] = true
		}
	}
	blockAt := map[int]int{}
	for i := range f.Insts {
		if leader[i] {
			blockAt[i] = len(a.blocks)
			a.blocks = append(a.blocks, block{first: i, order: -1, idom: -1})
		}
		a.blocks[len(a.blocks)-1].end = i + 1
	}
	for b := range a.blocks {
		last := &f.Insts[a.blocks[b].end-1]
		var to []int
		if last.Op != Return && !(last.Op == Jump && last.Cond == Always) {
			if b+1 == len(a.blocks) {
				return a.errorAt(last, "", "runs on beyond the end of the function")
			}
			to = append(to, b+1)
		}
		if last.Op == Jump {
			at, ok := blockAt[f.Labels[last.Target]]
			if !ok {
				return a.errorAt(last, "", "jumps to the end of the function")
			}
			if !slices.Contains(to, at) {
				to = append(to, at)
			}
		}
		a.blocks[b].next = to
		for _, n := range to {
			a.blocks[n].prev = append(a.blocks[n].prev, b)
		}
	}
	a.orderBlocks()
	a.liveness()
	return a.findLoops()
}

func (a *analysis) orderBlocks() {
	var post []int
	seen := make([]bool, len(a.blocks))
	var visit func(int)
	visit = func(b int) {
		seen[b] = true
		// The fall-through first: it comes last in postorder otherwise.
		for _, n := range slices.Backward(a.blocks[b].next) {
			if !seen[n] {
				visit(n)
			}
		}
		post = append(post, b)
	}
	visit(0)
	slices.Reverse(post)
	a.order = post
	for i, b := range post {
		a.blocks[b].order = i
	}
	a.blocks[0].idom = 0
	for changed := true; changed; {
		changed = false
		for _, b := range post[1:] {
			idom := -1
			for _, p := range a.blocks[b].prev {
				if a.blocks[p].idom < 0 {
					continue
				}
				if idom < 0 {
					idom = p
					continue
				}
				for x := p; x != idom; {
					if a.blocks[x].order > a.blocks[idom].order {
						x = a.blocks[x].idom
					} else {
						idom = a.blocks[idom].idom
					}
				}
			}
			if a.blocks[b].idom != idom {
				a.blocks[b].idom, changed = idom, true
			}
		}
	}
}

func (a *analysis) dominates(d, b int) bool {
	for a.blocks[b].order > a.blocks[d].order {
		b = a.blocks[b].idom
	}
	return b == d
}

func (a *analysis) findLoops() error {
	heads := map[int]*loop{}
	for _, b := range a.order {
		for _, h := range a.blocks[b].next {
			if a.blocks[h].order > a.blocks[b].order {
				continue
			}
			last := &a.fn.Insts[a.blocks[b].end-1]
			if !a.dominates(h, b) {
				return a.errorAt(last, "", "jumps back into the middle of a loop")
			}
			l := heads[h]
			if l == nil {
				l = &loop{head: h, in: map[int]bool{h: true}, name: a.labelOf(a.blocks[h].first)}
				heads[h] = l
			}
			for work := []int{b}; len(work) > 0; {
				x := work[len(work)-1]
				work = work[:len(work)-1]
				if !l.in[x] {
					l.in[x] = true
					work = append(work, a.blocks[x].prev...)
				}
			}
		}
	}
	for _, h := range a.order {
		l := heads[h]
		if l == nil {
			continue
		}
		for _, b := range a.order {
			if !l.in[b] {
				continue
			}
			l.blocks = append(l.blocks, b)
			l.writes = l.writes.or(a.blocks[b].sets)
			for i := a.blocks[b].first; i < a.blocks[b].end; i++ {
				l.upper = l.upper || a.fn.Insts[i].Upper
				if a.fn.Insts[i].Op == ClearUpper {
					for r := FirstVec; r < FirstMask; r++ {
						l.writes.add(r)
					}
				}
			}
		}
		// Heads come in order, outer ones first.
		l.outer = a.blocks[h].loop
		for _, b := range l.blocks {
			a.blocks[b].loop = l
		}
	}
	return nil
}

// labelOf is the name of a place.
func (a *analysis) labelOf(inst int) string {
	var names []string
	for name, at := range a.fn.Labels {
		if at == inst {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "the beginning"
	}
	return slices.Max(names)
}

// written is the place that an instruction writes.
func (a *analysis) written(in *Inst) Reg {
	if in.Op == Compare || in.Op == Test || in.Op == Jump || in.Op == Hint {
		return NoReg
	}
	switch in.D.Kind {
	case Register:
		return in.D.Reg
	case Slot:
		if i := a.slotAt(in.D.Disp); i >= 0 {
			return numRegs + Reg(i)
		}
	}
	return NoReg
}

// slotAt is the argument at an offset of the caller's frame, or -1.
func (a *analysis) slotAt(at int64) int {
	return slices.IndexFunc(a.slots, func(s slot) bool { return s.at == at })
}

// reads calls do with each place that an instruction reads.
func (a *analysis) reads(in *Inst, do func(Reg)) {
	for _, o := range []*Operand{&in.A, &in.B, &in.D} {
		switch o.Kind {
		case Register:
			if o != &in.D || in.readsD() {
				do(o.Reg)
			}
		case Memory:
			if o.Base != NoReg {
				do(o.Base)
			}
			if o.Index != NoReg {
				do(o.Index)
			}
		case Slot:
			if i := a.slotAt(o.Disp); i >= 0 && o != &in.D {
				do(numRegs + Reg(i))
			}
		}
	}
	for _, r := range in.Reads {
		do(r)
	}
	if in.Mask != NoReg {
		do(in.Mask)
	}
}

// readsD reports whether D is an operand too.
func (in *Inst) readsD() bool {
	switch in.Op {
	case Add, Sub, And, ShiftLeft, ShiftRight, Negate, MoveIf:
		return true
	}
	return in.Acc
}

func (a *analysis) liveness() {
	for _, b := range a.order {
		blk := &a.blocks[b]
		for i := blk.end - 1; i >= blk.first; i-- {
			in := &a.fn.Insts[i]
			if d := a.written(in); d != NoReg {
				blk.uses.drop(d)
				blk.sets.add(d)
			}
			a.reads(in, blk.uses.add)
		}
	}
	for changed := true; changed; {
		changed = false
		for _, b := range slices.Backward(a.order) {
			blk := &a.blocks[b]
			var live regSet
			for _, n := range blk.next {
				live = live.or(a.blocks[n].live)
			}
			if live = live.andNot(blk.sets).or(blk.uses); live != blk.live {
				blk.live, changed = live, true
			}
		}
	}
}
