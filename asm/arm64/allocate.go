package arm64

import (
	"fmt"
	"math/bits"
	"slices"
)

// set is a set of virtual registers.
type set []uint64

func newSet(n int) set     { return make(set, (n+63)/64) }
func (s set) add(i int64)  { s[i>>6] |= 1 << (i & 63) }
func (s set) drop(i int64) { s[i>>6] &^= 1 << (i & 63) }

func (s set) has(i int64) bool { return s[i>>6]>>(i&63)&1 != 0 }

// or adds what t has and reports whether that was news.
func (s set) or(t set) bool {
	news := false
	for i, w := range t {
		news = news || w&^s[i] != 0
		s[i] |= w
	}
	return news
}

func (s set) each(do func(int64)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			do(int64(i<<6 + bits.TrailingZeros64(w)))
		}
	}
}

// registers calls do with each virtual register of i, counted from 0.
func (i *inst) registers(do func(v int64, o *operand)) {
	if i.form == nil {
		return
	}
	for k := range i.ops {
		if o := &i.ops[k]; o.register() && i.values[k] >= firstVirtual {
			do(i.values[k]-firstVirtual, o)
		}
	}
	for _, v := range i.reads {
		do(v-firstVirtual, &also)
	}
}

// register reports whether o is one that is to be allocated.
func (o *operand) register() bool {
	return o.kind == 'X' || o.kind == 'V' || o.kind == 'Z' || o.kind == 'P'
}

// also is the operand of a register that a form reads without naming it.
var also = operand{read: true}

// allocate gives each virtual register one of the machine, none that is in use at
// the same time: colours of the graph of what interferes (Chaitin, SIGPLAN 1982;
// Briggs et al., TOPLAS 1994). There is no spilling: a kernel that does not fit
// is an error.
func (l *lowerer) allocate() error {
	live, err := l.liveness()
	if err != nil {
		return err
	}
	n := len(l.kinds)
	conflict := make([]set, n)
	for v := range conflict {
		conflict[v] = newSet(n)
	}
	moves := make([][]int64, n) // what a register is copied from or to
	few := newSet(n)            // registers that some operand takes from the first few only
	for k := range l.out {
		i := &l.out[k]
		copied := int64(-1)
		if i.form != nil && copies[i.name] {
			d, s := i.values[0]-firstVirtual, i.values[1]-firstVirtual
			copied = s
			moves[d], moves[s] = append(moves[d], s), append(moves[s], d)
		}
		i.registers(func(d int64, o *operand) {
			if o.max == first-1 {
				few.add(d)
			}
			if !o.set {
				return
			}
			live[k].each(func(v int64) {
				if v != d && v != copied && l.kinds[v] == l.kinds[d] {
					conflict[d].add(v)
					conflict[v].add(d)
				}
			})
			i.registers(func(e int64, other *operand) { // of a pair
				if other.set && e != d {
					conflict[d].add(e)
					conflict[e].add(d)
				}
			})
		})
	}
	colours, err := l.colour(conflict, moves, few)
	if err != nil {
		return err
	}
	kept := l.out[:0]
	for _, i := range l.out {
		if i.form != nil {
			for k, o := range i.ops {
				if o.register() && i.values[k] >= firstVirtual {
					i.values[k] = colours[i.values[k]-firstVirtual]
				}
			}
			if copies[i.name] && i.values[0] == i.values[1] {
				continue
			}
		}
		kept = append(kept, i)
	}
	l.out = kept
	return nil
}

// copies are the forms that copy a register.
var copies = map[string]bool{"mov": true, "mov.v": true, "mov.z": true}

// first is how many vectors an element operand can be in, and how many predicates
// govern loads and stores.
const first = 8

// pool is the registers of a kind, the first few of them if need be.
func pool(kind byte, few bool) []int64 {
	n := vectors
	switch {
	case kind == 'X':
		return integers
	case kind == 'P' || few:
		n = first
	}
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

// colour takes the registers off the graph, those with the fewest neighbours
// first, and gives them what their neighbours leave in the opposite order: first
// of all those that few registers serve.
func (l *lowerer) colour(conflict []set, moves [][]int64, few set) ([]int64, error) {
	n := len(l.kinds)
	colours, degree := make([]int64, n), make([]int, n)
	left := newSet(n)
	for v := range n {
		colours[v] = -1
		if c, ok := l.fixed[firstVirtual+int64(v)]; ok {
			colours[v] = c
			continue
		}
		left.add(int64(v))
	}
	for v, c := range conflict {
		c.each(func(int64) { degree[v]++ })
	}
	var order []int64
	for {
		best := int64(-1)
		left.each(func(v int64) {
			if best < 0 || few.has(best) && !few.has(v) || few.has(best) == few.has(v) && degree[v] < degree[best] {
				best = v
			}
		})
		if best < 0 {
			break
		}
		left.drop(best)
		order = append(order, best)
		conflict[best].each(func(v int64) { degree[v]-- })
	}
	for _, v := range slices.Backward(order) {
		var taken uint32
		conflict[v].each(func(w int64) {
			if colours[w] >= 0 {
				taken |= 1 << colours[w]
			}
		})
		free := func(c int64) bool { return c >= 0 && taken>>c&1 == 0 }
		for _, w := range moves[v] {
			if colours[v] < 0 && free(colours[w]) && !few.has(v) {
				colours[v] = colours[w]
			}
		}
		for _, c := range pool(l.kinds[v], few.has(v)) {
			if colours[v] < 0 && free(c) {
				colours[v] = c
			}
		}
		if colours[v] < 0 {
			kind := map[byte]string{'X': "integer", 'V': "vector", 'P': "predicate"}[l.kinds[v]]
			return nil, fmt.Errorf("more values at a time than there are %s registers", kind)
		}
	}
	return colours, nil
}

// liveness is the registers in use behind each instruction.
func (l *lowerer) liveness() ([]set, error) {
	n := len(l.kinds)
	at := map[string]int{}
	for k := range l.out {
		if l.out[k].form == nil {
			at[l.out[k].symbol] = k
		}
	}
	after := make([]set, len(l.out))
	for k := range after {
		after[k] = newSet(n)
	}
	before := map[int]set{} // of labels
	now := newSet(n)
	for news := true; news; {
		news = false
		clear(now)
		for k := len(l.out) - 1; k >= 0; k-- {
			i := &l.out[k]
			if i.form != nil && i.jumps() {
				target, ok := at[i.symbol]
				if !ok {
					return nil, fmt.Errorf("jumps to %s, which is no label here", i.symbol)
				}
				if i.name == "b" {
					clear(now)
				}
				if b := before[target]; b != nil {
					now.or(b)
				}
			}
			if i.form != nil && i.name == "ret" {
				clear(now)
			}
			copy(after[k], now)
			i.registers(func(v int64, o *operand) {
				if o.set && !o.read {
					now.drop(v)
				}
			})
			i.registers(func(v int64, o *operand) {
				if o.read {
					now.add(v)
				}
			})
			if i.form == nil {
				if before[k] == nil {
					before[k] = newSet(n)
				}
				news = before[k].or(now) || news
			}
		}
	}
	undefined := int64(-1)
	now.each(func(v int64) { undefined = v })
	if undefined >= 0 {
		return nil, fmt.Errorf("reads a register that nothing has written")
	}
	return after, nil
}

// jumps reports whether f names a label.
func (f *form) jumps() bool {
	return slices.ContainsFunc(f.ops, func(o operand) bool { return o.kind == 'L' })
}

// pairs joins loads and stores of neighbours in memory into one instruction,
// across one that computes.
func pairs(list []inst) []inst {
	var out []inst
	for _, i := range list {
		if j := partner(out, &i); j >= 0 {
			first := &out[j]
			first.form = forms.byName[map[string]string{"ldr.q": "ldp.q", "str.q": "stp.q"}[i.name]]
			first.values = []int64{first.values[0], i.values[0], first.values[1], first.values[2]}
			continue
		}
		out = append(out, i)
	}
	return out
}

// partner is the place of what i can join, or -1.
func partner(out []inst, i *inst) int {
	if i.form == nil || i.name != "ldr.q" && i.name != "str.q" || i.comment != "" {
		return -1
	}
	const window = 2
	for j := len(out) - 1; j >= 0 && j >= len(out)-window; j-- {
		o := &out[j]
		if o.form == nil {
			return -1
		}
		if o.name == i.name && o.values[1] == i.values[1] && o.values[2]+16 == i.values[2] && o.values[0] != i.values[0] {
			if forms.byName["ldp.q"].ops[3].holds(o.values[2]) {
				return j
			}
			return -1
		}
		touched := false
		o.registers(func(v int64, p *operand) { touched = touched || v+firstVirtual == i.values[0] })
		if i.name == "str.q" || touched || o.name != "fmla.4s" && o.name != "fmla.4s[]" {
			return -1
		}
	}
	return -1
}
