package ptxsim

import (
	"fmt"
	"slices"
	"strings"
)

// value is how an instruction reads a scalar operand.
type value func(*thread) uint64

func (p *program) compile(i *instr) error {
	make := makers[i.op[0]]
	if make == nil {
		return fmt.Errorf("unknown instruction")
	}
	return make(p, i)
}

// makers give each instruction, by the first part of its name, what it does.
var makers = func() map[string]func(*program, *instr) error {
	m := map[string]func(*program, *instr) error{
		"bra": makeBranch, "ret": makeExit, "exit": makeExit, "trap": makeTrap,
		"fence": makeNothing, "membar": makeNothing, "prefetch": makeNothing, "griddepcontrol": makeNothing, "createpolicy": makePolicy,
		"mov": makeMov, "cvta": makeMov, "cvt": makeCvt, "setp": makeSetp, "selp": makeSelp,
		"ld": makeLoad, "st": makeStore, "atom": makeAtom, "mapa": makeMapa, "cp": makeCopy,
		"bar": makeBar, "barrier": makeBarrier, "mbarrier": makeMbarrier,
		"vote": makeVote, "shfl": makeShuffle, "redux": makeRedux, "elect": makeElect,
		"ldmatrix": makeMatrixMove, "stmatrix": makeMatrixMove, "mma": makeMMA, "wgmma": makeWGMMA,
	}
	for name := range integerOps {
		m[name] = makeArith
	}
	for name := range floatOps {
		m[name] = makeArith
	}
	return m
}()

func makeBranch(_ *program, i *instr) error {
	i.run = func(t *thread) { t.pc = i.target }
	return nil
}

func makeTrap(_ *program, i *instr) error {
	i.run = func(t *thread) { fail("thread %d traps", t.id) }
	return nil
}

func makeNothing(_ *program, i *instr) error {
	i.run = func(*thread) {}
	return nil
}

func makeExit(_ *program, i *instr) error {
	i.run = func(t *thread) { t.exit() }
	return nil
}

func makePolicy(_ *program, i *instr) error {
	set := setter(i.args[0])
	i.run = func(t *thread) { set(t, 0) }
	return nil
}

// getter reads a register, an immediate or a special register.
func (p *program) getter(o operand) value {
	switch o.kind {
	case opReg:
		if o.neg {
			return func(t *thread) uint64 { return ^t.regs[o.reg] & 1 }
		}
		return func(t *thread) uint64 { return t.regs[o.reg] }
	case opImm:
		return func(*thread) uint64 { return o.imm }
	}
	if at, ok := p.paramAt[o.name]; ok {
		return func(t *thread) uint64 { return t.w.cta.cl.m.values[at] }
	}
	if o.name == p.shared {
		return func(t *thread) uint64 { return t.w.cta.sharedAddr() }
	}
	special := specials[o.name]
	return func(t *thread) uint64 {
		if special == nil {
			fail("unknown symbol %s", o.name)
		}
		return special(t)
	}
}

func (p *program) getters(list []operand) []value {
	var out []value
	for _, o := range list {
		out = append(out, p.getter(o))
	}
	return out
}

var specials = map[string]value{
	"%tid.x":            func(t *thread) uint64 { return uint64(t.id) },
	"%laneid":           func(t *thread) uint64 { return uint64(t.lane) },
	"%ctaid.x":          func(t *thread) uint64 { return uint64(t.w.cta.x) },
	"%ctaid.y":          func(t *thread) uint64 { return uint64(t.w.cta.y) },
	"%nctaid.x":         func(t *thread) uint64 { return uint64(t.w.cta.cl.m.launch.Grid[0]) },
	"%nctaid.y":         func(t *thread) uint64 { return uint64(t.w.cta.cl.m.launch.Grid[1]) },
	"%cluster_ctarank":  func(t *thread) uint64 { return uint64(t.w.cta.rank) },
	"%clusterid.x":      func(t *thread) uint64 { return uint64(t.w.cta.x / len(t.w.cta.cl.ctas)) },
	"%nclusterid.x":     func(t *thread) uint64 { return uint64(int(t.w.cta.cl.m.launch.Grid[0]) / len(t.w.cta.cl.ctas)) },
	"%cluster_nctarank": func(t *thread) uint64 { return uint64(len(t.w.cta.cl.ctas)) },
}

// setter writes a register; it may be the operand _.
func setter(o operand) func(*thread, uint64) {
	if o.kind == opSink {
		return func(*thread, uint64) {}
	}
	return func(t *thread, v uint64) { t.regs[o.reg] = v }
}

// registers are the registers of a vector, or of a single register.
func registers(o operand) []int {
	if o.kind != opVec {
		return []int{o.reg}
	}
	var rs []int
	for _, r := range o.list {
		rs = append(rs, r.reg)
	}
	return rs
}

// address reads the address of a memory operand.
func (p *program) address(o operand) value {
	base, off := p.getter(o.list[0]), uint64(o.off)
	return func(t *thread) uint64 { return base(t) + off }
}

// typ is the last part of the instruction's name that is a type.
func (i *instr) typ() string {
	for _, s := range slices.Backward(i.op) {
		if sizes[s] > 0 {
			return s
		}
	}
	return ""
}

func (i *instr) has(part string) bool { return slices.Contains(i.op, part) }

var sizes = map[string]int{
	"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2,
	"b32": 4, "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8, "pred": 1,
}

func mask(size int) uint64 {
	if size >= 8 {
		return ^uint64(0)
	}
	return 1<<(8*size) - 1
}

// signed is v of a type as a signed integer, or unsigned if the type is.
func signed(v uint64, typ string) int64 {
	n := 64 - 8*sizes[typ]
	if strings.HasPrefix(typ, "s") {
		return int64(v<<n) >> n
	}
	return int64(v << n >> n)
}

// makeMov moves, packs and unpacks.
func makeMov(p *program, i *instr) error {
	size := sizes[i.typ()]
	d, s := i.args[0], i.args[1]
	if d.kind == opVec {
		get := p.getter(s)
		rs := registers(d)
		width := 8 * size / len(rs)
		i.run = func(t *thread) {
			v := get(t)
			for n, r := range rs {
				t.regs[r] = v >> (n * width) & (1<<width - 1)
			}
		}
		return nil
	}
	get, set := p.getter(s), setter(d)
	if s.kind == opVec {
		parts := p.getters(s.list) // the lowest first
		width := 8 * size / len(parts)
		get = func(t *thread) (v uint64) {
			for n, g := range parts {
				v |= g(t) & (1<<width - 1) << (n * width)
			}
			return v
		}
	}
	i.run = func(t *thread) { set(t, get(t)&mask(size)) }
	return nil
}
