package arm64

import "github.com/sparsegen/sparsegen/asm"

// usage is what lowering wants to know of a program beforehand.
type usage struct {
	// local are the registers that one block alone knows.
	local map[asm.Reg]bool
	// elements are the broadcasts of which nothing is used but the factor in
	// multiply-adds, by instruction.
	elements map[int]grouped
}

// grouped is a broadcast's place among those that load neighbours in memory.
type grouped struct {
	first int // instruction of the group
	lane  int64
	count int
}

// ends reports whether an op ends a block of straight code of f.
func ends(f *asm.Func, op asm.Op) bool {
	switch op {
	case asm.OpLabel, asm.OpJump, asm.OpJumpZ, asm.OpJumpLE, asm.OpDecJump, asm.OpAddJump:
		return true
	case asm.OpLoadMask, asm.OpStoreMask: // lane by lane
		return !f.Machine.Scalable
	}
	return false
}

// stores reports whether i writes memory.
func stores(op asm.Op) bool {
	return op == asm.OpStore || op == asm.OpStoreMask || op == asm.OpStoreLow
}

// accumulates reports whether an op reads what it writes.
func accumulates(op asm.Op) bool {
	switch op {
	case asm.OpAdd, asm.OpAddI, asm.OpAddLanes, asm.OpAddVectors, asm.OpSub, asm.OpMul, asm.OpShlI, asm.OpShrI, asm.OpMin, asm.OpMax, asm.OpDecJump, asm.OpAddJump,
		asm.OpFMA, asm.OpFMAMem, asm.OpFMABcast, asm.OpFMA213, asm.OpInsertLow:
		return true
	}
	return false
}

// reads calls do with each register that i reads.
func reads(i *asm.Inst, do func(asm.Reg)) {
	for _, r := range append([]asm.Reg{i.A, i.B, i.Mask, i.Mem.Base, i.Mem.Index}, i.Vs...) {
		if !r.IsZero() {
			do(r)
		}
	}
	if accumulates(i.Op) {
		do(i.Dst)
	}
}

// writes calls do with each register that i writes.
func writes(i *asm.Inst, do func(asm.Reg)) {
	if !i.Dst.IsZero() {
		do(i.Dst)
	}
	if i.Op == asm.OpTranspose {
		for _, r := range i.Vs {
			do(r)
		}
	}
}

func usageOf(f *asm.Func) *usage {
	u := &usage{local: map[asm.Reg]bool{}, elements: map[int]grouped{}}
	home := map[asm.Reg]int{}     // the only block that names a register, or -1
	exposed := map[asm.Reg]bool{} // read in some block before it is written there
	written := map[asm.Reg]bool{} // in this block
	block := 0
	for n := range f.Insts {
		i := &f.Insts[n]
		see := func(r asm.Reg) {
			if b, ok := home[r]; ok && b != block {
				home[r] = -1
			} else if !ok {
				home[r] = block
			}
		}
		reads(i, func(r asm.Reg) { see(r); exposed[r] = exposed[r] || !written[r] })
		writes(i, func(r asm.Reg) { see(r); written[r] = true })
		if ends(f, i.Op) {
			block++
			clear(written)
		}
	}
	for r, b := range home {
		u.local[r] = b >= 0
	}
	factors := map[int]bool{}
	for n := range f.Insts {
		if f.Insts[n].Op == asm.OpBcast && onlyFactor(f, n, exposed) {
			factors[n] = true
		}
	}
	for n := range f.Insts {
		if _, done := u.elements[n]; factors[n] && !done {
			u.group(f, n, factors)
		}
	}
	return u
}

// onlyFactor reports whether the broadcast at n is used as a factor of
// multiply-adds in its block and for nothing else.
func onlyFactor(f *asm.Func, n int, exposed map[asm.Reg]bool) bool {
	r := f.Insts[n].Dst
	element := map[asm.Reg]bool{} // what broadcasts hold at this place
	for k := n + 1; k < len(f.Insts); k++ {
		i := &f.Insts[k]
		uses := 0
		reads(i, func(x asm.Reg) {
			if x == r {
				uses++
			}
		})
		factor := i.Op == asm.OpFMAMem && i.A == r || i.Op == asm.OpFMA && (i.A == r && !element[i.B] || i.B == r && !element[i.A])
		if uses > 1 || uses == 1 && !factor || i.Dst == r && uses == 1 {
			return false
		}
		again := false
		writes(i, func(x asm.Reg) { again = again || x == r; element[x] = i.Op == asm.OpBcast })
		if again {
			return true
		}
		if ends(f, i.Op) {
			break
		}
	}
	return !exposed[r]
}

// group joins the broadcast at n with those that follow in its block and lie
// behind it in memory: one load for four or two of them.
func (u *usage) group(f *asm.Func, n int, factors map[int]bool) {
	first := &f.Insts[n]
	members := []int{n}
	for k := n + 1; k < len(f.Insts) && len(members) < 4 && first.Mem.Index.IsZero(); k++ {
		i := &f.Insts[k]
		if _, done := u.elements[k]; factors[k] && !done && i.Mem == first.Mem.Plus(4*len(members)) {
			members = append(members, k)
		}
		moved := false
		writes(i, func(x asm.Reg) { moved = moved || x == first.Mem.Base })
		if moved || stores(i.Op) || ends(f, i.Op) {
			break
		}
	}
	if len(members) == 3 {
		members = members[:2]
	}
	for lane, k := range members {
		u.elements[k] = grouped{n, int64(lane), len(members)}
	}
}
