package verify

import (
	"slices"
)

// What a proof shows to be without effect in every call that the contract
// allows: an instruction that no call reaches, a jump or a conditional move whose
// condition is never met, a comparison that sets the flags that are set already or
// that nothing reads, an integer that nothing reads. A generator should not write such instructions: a mistake in one
// cannot be found, and a reader takes them for a case that there is.

// Idle is an instruction without effect in any call.
type Idle struct {
	Line      int
	Text, Why string
}

// effects is what has been seen of an instruction, over all states that reach
// it.
type effects uint8

const (
	reached effects = 1 << iota
	met             // its condition can be
	sets            // flags that were not set
	touches         // memory, as counted for this case
)

// saw notes effects of the instruction that is looked at.
func (a *analysis) saw(e effects) {
	if !a.quiet {
		a.effects[a.at] |= e
	}
}

// sawFlags notes whether a comparison changes flags, which were as before.
func (a *analysis) sawFlags(s *state, flag flagKind, diff poly) {
	if s.flag != flag || flag != fNumber || !s.diff.equal(diff) {
		a.saw(sets)
	}
}

// withoutEffect lists the instructions that have had no effect in any case.
func (a *analysis) withoutEffect() (list []Idle) {
	for i := range a.fn.Insts {
		in := &a.fn.Insts[i]
		e, why := a.effects[i], ""
		switch {
		case e&reached == 0:
			why = "no call reaches it"
		case in.Cond != Always && e&met == 0:
			why = "its condition is never met"
		case (in.Op == Compare || in.Op == Test) && e&sets == 0:
			why = "the flags are set like that already"
		case a.unread(i):
			why = "nothing reads its result"
		default:
			continue
		}
		list = append(list, Idle{in.Line, in.Text, why})
	}
	return list
}

// unread reports whether an instruction only writes an integer register that
// nothing reads until it is written again, if any, and no flags that are read.
func (a *analysis) unread(i int) bool {
	in := &a.fn.Insts[i]
	switch in.Op {
	case Compare, Test:
		return a.flagsUnread(i)
	case Move, Add, Sub, Mul, ShiftLeft, ShiftRight, Negate, Address, CountOnes, LowBits, Rotate, And, Extract:
	default:
		return false
	}
	if in.D.Kind != Register || in.D.Reg >= FirstVec {
		return false
	}
	at := a.around(i)
	end := a.blocks[at].end
	flags := in.Flags != Keeps // of i, as long as no other sets them
	for j := i + 1; j < end; j++ {
		next := &a.fn.Insts[j]
		read := next.Cond != Always && flags
		a.reads(next, func(r Reg) { read = read || r == in.D.Reg })
		if read {
			return false
		}
		flags = flags && next.Flags == Keeps
		if a.written(next) == in.D.Reg {
			return !flags
		}
	}
	// Beyond the block, flags count as read.
	for _, b := range a.blocks[at].next {
		if flags || a.blocks[b].live.has(in.D.Reg) {
			return false
		}
	}
	return true
}

// flagsUnread reports whether flags are set anew before the end of i's block, and
// not read until then.
func (a *analysis) flagsUnread(i int) bool {
	for j := i + 1; j < a.blocks[a.around(i)].end; j++ {
		next := &a.fn.Insts[j]
		if next.Cond != Always {
			return false
		}
		if next.Flags != Keeps {
			return true
		}
	}
	return false
}

// around is the block that has instruction i.
func (a *analysis) around(i int) int {
	return slices.IndexFunc(a.blocks, func(b block) bool { return b.first <= i && i < b.end })
}
