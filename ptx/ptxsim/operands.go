package ptxsim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// src reads an operand for the lanes of a mask.
type src func(w *warp, m uint32) *lanes

// dst is where an instruction writes an operand for the lanes of a mask.
type dst func(w *warp, m uint32) *lanes

func (p *program) source(o operand) (src, error) {
	switch o.kind {
	case opReg:
		if o.neg {
			return nil, fmt.Errorf("! before %s", o.name)
		}
		return func(w *warp, m uint32) *lanes { return w.read(o.reg, m) }, nil
	case opPred:
		return func(w *warp, m uint32) *lanes {
			v := w.predicate(o.reg, m)
			if o.neg {
				v = ^v
			}
			s := &lanes{}
			for l := range s {
				s[l] = uint64(v >> l & 1)
			}
			return s
		}, nil
	case opImm:
		return constant(o.imm), nil
	case opSymbol:
		return p.symbol(o.name)
	case opVec:
		return p.packed(o)
	}
	return nil, fmt.Errorf("an operand that is no value")
}

func constant(v uint64) src {
	c := &lanes{}
	for l := range c {
		c[l] = v
	}
	return func(*warp, uint32) *lanes { return c }
}

// packed reads a vector as one value, the lowest part first.
func (p *program) packed(o operand) (src, error) {
	parts, err := p.sources(o.list)
	if err != nil {
		return nil, err
	}
	var widths []int
	for _, e := range o.list {
		if e.kind != opReg {
			return nil, fmt.Errorf("a vector of what are no registers")
		}
		widths = append(widths, 8*e.bytes)
	}
	return func(w *warp, m uint32) *lanes {
		v, shift := &lanes{}, 0
		for i, s := range parts {
			part := s(w, m)
			for l := range v {
				v[l] |= part[l] & (1<<widths[i] - 1) << shift
			}
			shift += widths[i]
		}
		return v
	}, nil
}

func (p *program) symbol(name string) (src, error) {
	if _, ok := specials[name]; ok {
		return func(w *warp, _ uint32) *lanes { return w.special[name] }, nil
	}
	for i, q := range p.params {
		if q.name == name {
			return func(w *warp, m uint32) *lanes { return constant(w.cta.cl.m.values[i])(w, m) }, nil
		}
	}
	for _, a := range p.arrays {
		if a.name == name {
			return func(w *warp, m uint32) *lanes { return constant(w.cta.base()+uint64(a.at))(w, m) }, nil
		}
	}
	return nil, fmt.Errorf("unknown symbol %s", name)
}

func (p *program) sources(list []operand) ([]src, error) {
	var out []src
	for _, o := range list {
		s, err := p.source(o)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// operands reads the operands of an instruction that makes a register of n others.
func (p *program) operands(i *instr, n int) (d dst, s []src, err error) {
	if err = i.want(n + 1); err != nil {
		return
	}
	if d, err = p.result(i.args[0]); err != nil {
		return
	}
	s, err = p.sources(i.args[1:])
	return
}

// predicate reads a predicate register.
func (w *warp) predicate(r int, m uint32) uint32 {
	w.unknown(m&^w.predInit[r], "a predicate")
	return w.pred[r]
}

func (w *warp) setPredicate(r int, m, v uint32) {
	w.pred[r] = w.pred[r]&^m | v&m
	w.predInit[r] = w.predInit[r]&^m | m&^w.undef
}

// result is where an instruction writes a register; it may be the operand _.
func (p *program) result(o operand) (dst, error) {
	switch o.kind {
	case opSink:
		return func(w *warp, _ uint32) *lanes { return &w.scratch }, nil
	case opReg:
		return func(w *warp, m uint32) *lanes { return w.write(o.reg, m) }, nil
	}
	return nil, fmt.Errorf("a result that is no register")
}

// truth is where an instruction writes a predicate; it may be the operand _.
func (p *program) truth(o operand) (func(w *warp, m, v uint32), error) {
	switch o.kind {
	case opSink:
		return func(*warp, uint32, uint32) {}, nil
	case opPred:
		return func(w *warp, m, v uint32) { w.setPredicate(o.reg, m, v) }, nil
	}
	return nil, fmt.Errorf("a result that is no predicate")
}

// condition reads a predicate operand as a mask: a register or an immediate.
func (p *program) condition(o operand) (func(w *warp, m uint32) uint32, error) {
	switch o.kind {
	case opPred:
		return func(w *warp, m uint32) uint32 {
			if v := w.predicate(o.reg, m); !o.neg {
				return v
			} else {
				return ^v
			}
		}, nil
	case opImm:
		return func(*warp, uint32) uint32 { return -uint32(o.imm & 1) }, nil
	}
	return nil, fmt.Errorf("an operand that is no predicate")
}

// registers are the registers of a vector, or of a single register.
func registersOf(o operand) ([]int, error) {
	list := o.list
	if o.kind != opVec {
		list = []operand{o}
	}
	var rs []int
	for _, r := range list {
		if r.kind != opReg {
			return nil, fmt.Errorf("a vector of what are no registers")
		}
		rs = append(rs, r.reg)
	}
	return rs, nil
}

// at reads the address of a memory operand.
func (p *program) at(o operand) (src, error) {
	if o.kind != opMem || o.coords != nil {
		return nil, fmt.Errorf("an operand that is no address")
	}
	base, err := p.source(o.list[0])
	if err != nil || o.off == 0 {
		return base, err
	}
	return func(w *warp, m uint32) *lanes {
		v := &lanes{}
		for l, b := range base(w, m) {
			v[l] = b + uint64(o.off)
		}
		return v
	}, nil
}

// typ is the last part of the instruction's name that is a type.
func (i *instr) typ() string {
	for _, s := range slices.Backward(i.parts) {
		if sizes[s] > 0 {
			return s
		}
	}
	return ""
}

func (i *instr) has(part string) bool { return slices.Contains(i.parts, part) }

// want checks the number of operands.
func (i *instr) want(n ...int) error {
	if !slices.Contains(n, len(i.args)) {
		return fmt.Errorf("%d operands", len(i.args))
	}
	return nil
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

func f32(v uint64) float32    { return math.Float32frombits(uint32(v)) }
func bits32(f float32) uint64 { return uint64(math.Float32bits(f)) }

// specials are the special registers.
var specials = map[string]func(w *warp, lane int) uint64{
	"%tid.x":            func(w *warp, l int) uint64 { return uint64(w.thread(l) % int(w.cta.block(0))) },
	"%tid.y":            func(w *warp, l int) uint64 { return uint64(w.thread(l) / int(w.cta.block(0)) % int(w.cta.block(1))) },
	"%tid.z":            func(w *warp, l int) uint64 { return uint64(w.thread(l) / int(w.cta.block(0)*w.cta.block(1))) },
	"%ntid.x":           func(w *warp, _ int) uint64 { return uint64(w.cta.block(0)) },
	"%ntid.y":           func(w *warp, _ int) uint64 { return uint64(w.cta.block(1)) },
	"%ntid.z":           func(w *warp, _ int) uint64 { return uint64(w.cta.block(2)) },
	"%laneid":           func(_ *warp, l int) uint64 { return uint64(l) },
	"%warpid":           func(w *warp, _ int) uint64 { return uint64(w.id) },
	"%nwarpid":          func(w *warp, _ int) uint64 { return 64 },
	"%smid":             func(w *warp, _ int) uint64 { return uint64(w.cta.number % 132) },
	"%nsmid":            func(*warp, int) uint64 { return 132 },
	"%ctaid.x":          func(w *warp, _ int) uint64 { return uint64(w.cta.at[0]) },
	"%ctaid.y":          func(w *warp, _ int) uint64 { return uint64(w.cta.at[1]) },
	"%ctaid.z":          func(w *warp, _ int) uint64 { return uint64(w.cta.at[2]) },
	"%nctaid.x":         func(w *warp, _ int) uint64 { return uint64(w.cta.cl.m.launch.Grid[0]) },
	"%nctaid.y":         func(w *warp, _ int) uint64 { return uint64(w.cta.cl.m.launch.Grid[1]) },
	"%nctaid.z":         func(w *warp, _ int) uint64 { return uint64(w.cta.cl.m.launch.Grid[2]) },
	"%cluster_ctarank":  func(w *warp, _ int) uint64 { return uint64(w.cta.rank) },
	"%cluster_ctaid.x":  func(w *warp, _ int) uint64 { return uint64(w.cta.rank) },
	"%cluster_nctarank": func(w *warp, _ int) uint64 { return uint64(max(1, w.cta.cl.m.launch.Cluster[0])) },
	"%cluster_nctaid.x": func(w *warp, _ int) uint64 { return uint64(max(1, w.cta.cl.m.launch.Cluster[0])) },
	"%clusterid.x":      func(w *warp, _ int) uint64 { return uint64(w.cta.at[0]) / uint64(max(1, w.cta.cl.m.launch.Cluster[0])) },
	"%nclusterid.x": func(w *warp, _ int) uint64 {
		return uint64(w.cta.cl.m.launch.Grid[0] / max(1, w.cta.cl.m.launch.Cluster[0]))
	},
	"%dynamic_smem_size":   func(w *warp, _ int) uint64 { return uint64(w.cta.cl.m.launch.Shared) },
	"%total_smem_size":     func(w *warp, _ int) uint64 { return uint64(len(w.cta.shared)) },
	"%lanemask_eq":         func(_ *warp, l int) uint64 { return 1 << l },
	"%lanemask_lt":         func(_ *warp, l int) uint64 { return 1<<l - 1 },
	"%lanemask_le":         func(_ *warp, l int) uint64 { return 2<<l - 1 },
	"%lanemask_gt":         func(_ *warp, l int) uint64 { return fullMask &^ (2<<l - 1) },
	"%lanemask_ge":         func(_ *warp, l int) uint64 { return fullMask &^ (1<<l - 1) },
	"%is_explicit_cluster": func(w *warp, _ int) uint64 { return uint64(min(1, w.cta.cl.m.launch.Cluster[0])) },
}

func (w *warp) thread(lane int) int { return 32*w.id + lane }

func (c *cta) block(i int) uint32 { return max(1, c.cl.m.launch.Block[i]) }

// base is where the block's shared memory begins.
func (c *cta) base() uint64 { return uint64(c.rank)<<windowBits + sharedStart }
