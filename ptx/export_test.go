package ptx

import "fmt"

// For the external tests: the table's rows as instructions with operands.

// RowModule is a module that holds a number of rows.
type RowModule struct {
	ISA  ISA
	Rows int
	m    *Module
}

// Text is the module's text.
func (r *RowModule) Text() (string, error) { return r.m.Text() }

// RowModules builds modules of at most size rows that hold every row that is
// legal on the target, each module pinned to the ISA that its rows claim.
func RowModules(target Target, size int) []*RowModule {
	var mods []*RowModule
	open := map[ISA]*RowModule{}
	tab := instructions()
	for _, form := range tab.forms {
		for _, r := range tab.rows[form] {
			if !target.Has(r.need.target) {
				continue
			}
			isa := max(r.need.isa, target.firstISA())
			mod := open[isa]
			if mod == nil {
				mod = newRowModule(target, isa)
				open[isa] = mod
				mods = append(mods, mod)
			}
			mod.add(r)
			if mod.Rows == size {
				delete(open, isa)
			}
		}
	}
	return mods
}

func newRowModule(target Target, isa ISA) *RowModule {
	m := NewModule(target)
	m.PinISA(isa)
	return &RowModule{ISA: isa, m: m}
}

// rowsAKernel keeps the kernels small: ptxas runs out of uniform registers in
// long stretches of tensor copies.
const rowsAKernel = 40

func (m *RowModule) kernel() *Kernel {
	if m.Rows%rowsAKernel != 0 {
		return m.m.kernels[len(m.m.kernels)-1]
	}
	k := m.m.Kernel(fmt.Sprintf("rows%d", m.Rows/rowsAKernel))
	k.ParamU64("p")
	k.Threads(128)
	k.MinCTAs(1)
	k.StaticShared("buffer", 128, 4096)
	return k
}

// add emits the row, and once more with the other operands it takes: a second
// result, a sink, a negated predicate, immediates.
func (m *RowModule) add(r *row) {
	k := m.kernel()
	m.Rows++
	async := false
	for i := range r.slots {
		async = async || r.slots[i].role == roleAccumulate
	}
	for _, other := range []bool{false, true} {
		operands := make([]any, len(r.slots))
		differs := false
		for i := range r.slots {
			o, d := operandFor(k, &r.slots[i], other)
			operands[i] = o
			differs = differs || d
		}
		if other && (!differs || async) {
			return
		}
		if async {
			k.Emit("wgmma.fence.sync.aligned")
		}
		k.Emit(r.form, operands...)
		if async {
			k.Emit("wgmma.commit_group.sync.aligned")
			k.Emit("wgmma.wait_group.sync.aligned", 0)
		}
	}
}

// operandFor makes an operand that fits the slot, and reports whether it
// depends on other.
func operandFor(k *Kernel, s *slot, other bool) (any, bool) {
	reg := func(t Type) Reg {
		switch {
		case !t.isReg() && t.Bits() <= 16:
			t = B16
		case !t.isReg():
			t = B32
		}
		r := k.Reg(t)
		switch {
		case s.role == roleWrite:
		case s.typ == B64:
			// ptxas dies of a cache policy that is a constant but no policy.
			k.Mov(r, k.LoadParam(k.params[0]))
		default:
			k.Mov(r, 0)
		}
		return r
	}
	switch s.kind {
	case slotImm:
		if s.set != nil {
			if other {
				return s.set[0], len(s.set) > 1
			}
			return s.set[len(s.set)-1], len(s.set) > 1
		}
		return s.lo - s.lo%8, false
	case slotSink:
		return Sink, false
	case slotMem:
		switch s.space {
		case 'p':
			return AtParam(k.params[0], 0), false
		case 's':
			if other {
				return AtShared(Shared{k, "buffer"}, 64), true
			}
			return At(k.SharedAddr(Shared{k, "buffer"}), 0), true
		case 't':
			coords := make([]any, s.dims)
			for i := range coords {
				coords[i] = i
			}
			return TMACoord(k.LoadParam(k.params[0]), coords...), false
		}
		return At(k.LoadParam(k.params[0]), 16), false
	}
	if s.n > 0 {
		regs := make([]Reg, s.n)
		for i := range regs {
			regs[i] = reg(s.typ)
		}
		return Vec(regs...), false
	}
	switch {
	case s.pairOnly && other:
		return Pair(Sink, reg(Pred)), true
	case s.pair && other || s.pairOnly:
		return Pair(reg(s.typ), reg(Pred)), true
	case s.sink && other:
		return Sink, true
	case s.negable && other:
		return Not(reg(Pred)), true
	case s.boolImm && other:
		return 1, true
	case s.role == roleRead && !s.regOnly && s.typ != Pred && s.typ.isReg() && s.typ.info().kind != kindPacked && other:
		return max(1, s.lo), true
	}
	return reg(s.typ), s.pair || s.sink || s.negable
}

// RowCounts is the size of the instruction table.
func RowCounts() string {
	n := 0
	for _, rs := range instructions().rows {
		n += len(rs)
	}
	return fmt.Sprintf("%d rows of %d forms", n, len(instructions().forms))
}

// Forms lists the table's forms.
func Forms() []string { return instructions().forms }
