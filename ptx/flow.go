package ptx

// flow is a kernel's control-flow graph: blocks of instructions that run one
// after the other, ending at labels and branches. The checks of data flow run
// to a fixed point over it, so a loop's back edge needs no special case.
type flow struct {
	k      *Kernel
	code   []*inst // entry, then body
	blocks []block
	order  []int // blocks reachable from the entry, reverse postorder
}

type block struct {
	lo, hi int // code[lo:hi]
	next   []edge
	prev   []int // indices into the edges' sources, reachable blocks only
}

// edge goes to a block; if pred is set, only where it has the value !neg.
type edge struct {
	to   int
	pred int32
	neg  bool
}

// ends reports whether control never passes beyond i.
func (i *inst) ends() bool {
	if !i.pred.IsZero() {
		return false
	}
	return i.kind == instReturn || i.kind == instBranch ||
		i.kind == instOp && (i.row.form == "exit" || i.row.form == "trap")
}

func newFlow(k *Kernel) *flow {
	f := &flow{k: k}
	for _, list := range [][]inst{k.entry, k.code} {
		for i := range list {
			f.code = append(f.code, &list[i])
		}
	}
	at := map[int]int{} // label -> block
	start := 0
	cut := func(hi int) {
		if hi > start || hi == len(f.code) {
			f.blocks = append(f.blocks, block{lo: start, hi: hi})
			start = hi
		}
	}
	for n, i := range f.code {
		switch {
		case i.kind == instLabel:
			if n > start {
				cut(n)
			}
			at[i.label] = len(f.blocks)
		case i.kind == instBranch || i.ends():
			cut(n + 1)
		}
	}
	if start < len(f.code) || len(f.blocks) == 0 {
		cut(len(f.code))
	}
	for b := range f.blocks {
		f.connect(b, at)
	}
	f.reach()
	return f
}

// connect finds the successors of block b.
func (f *flow) connect(b int, at map[int]int) {
	bl := &f.blocks[b]
	var last *inst
	if bl.hi > bl.lo {
		last = f.code[bl.hi-1]
	}
	if last != nil && last.kind == instBranch {
		if to, ok := at[last.label]; ok {
			bl.next = append(bl.next, edge{to, last.pred.id, last.neg})
		}
	}
	if b+1 < len(f.blocks) && (last == nil || !last.ends()) {
		e := edge{to: b + 1}
		if last != nil && last.kind == instBranch {
			e.pred, e.neg = last.pred.id, !last.neg
		}
		bl.next = append(bl.next, e)
	}
}

// reach orders the reachable blocks and links them backwards.
func (f *flow) reach() {
	seen := make([]bool, len(f.blocks))
	var post []int
	type frame struct{ b, i int }
	stack := []frame{{0, 0}}
	seen[0] = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if next := f.blocks[top.b].next; top.i < len(next) {
			to := next[top.i].to
			top.i++
			if !seen[to] {
				seen[to] = true
				stack = append(stack, frame{to, 0})
			}
			continue
		}
		post = append(post, top.b)
		stack = stack[:len(stack)-1]
	}
	for n := len(post) - 1; n >= 0; n-- {
		f.order = append(f.order, post[n])
	}
	for _, b := range f.order {
		for _, e := range f.blocks[b].next {
			f.blocks[e.to].prev = append(f.blocks[e.to].prev, b)
		}
	}
}

// access is one register operand of an instruction.
type access struct {
	reg         int32
	read, write bool
	late        bool // until a wgmma.wait_group retires it
	slot        int  // operand number, -1 the guarding predicate
}

// accesses lists the registers that i touches, reads before writes.
func (i *inst) accesses(visit func(access)) {
	if !i.pred.IsZero() {
		visit(access{reg: i.pred.id, read: true, slot: -1})
	}
	for _, r := range i.any {
		visit(access{reg: r.id, write: true})
	}
	if i.kind != instOp {
		return
	}
	// An accumulator is not read where scale-d is the literal 0.
	fresh := false
	for n := range i.row.slots {
		fresh = fresh || i.row.slots[n].boolImm && i.args[n].text == "0"
	}
	for _, writes := range []bool{false, true} {
		for n := range i.row.slots {
			s := &i.row.slots[n]
			if s.kind == slotImm || s.kind == slotSink {
				continue
			}
			w := s.kind == slotValue && s.writes()
			for _, r := range i.args[n].regs {
				a := access{reg: r.id, slot: n, late: s.role == roleAccumulate || s.role == roleReadLate}
				switch {
				case !writes && (!w || s.role == roleUpdate || s.role == roleAccumulate && !fresh):
					a.read = true
				case writes && w:
					a.write = true
				default:
					continue
				}
				visit(a)
			}
		}
	}
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset       { return make(bitset, (n+63)/64) }
func (s bitset) has(i int) bool    { return s[i/64]>>(i%64)&1 != 0 }
func (s bitset) add(i int)         { s[i/64] |= 1 << (i % 64) }
func (s bitset) remove(i int)      { s[i/64] &^= 1 << (i % 64) }
func (s bitset) copyFrom(o bitset) { copy(s, o) }

// and intersects s with o; or unites them. They report whether s changed.
func (s bitset) and(o bitset) bool {
	changed := false
	for i := range s {
		if v := s[i] & o[i]; v != s[i] {
			s[i], changed = v, true
		}
	}
	return changed
}

func (s bitset) or(o bitset) bool {
	changed := false
	for i := range s {
		if v := s[i] | o[i]; v != s[i] {
			s[i], changed = v, true
		}
	}
	return changed
}
