package ptxsim

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx/layout"
)

var wgmmaRows = []row{
	{"wgmma.fence.sync.aligned", func(_ *program, i *instr) error {
		i.kind, i.shows = aligned, true
		i.exec = func(w *warp, _ uint32) { w.epoch++ }
		return nil
	}},
	{"wgmma.commit_group.sync.aligned", func(_ *program, i *instr) error {
		i.kind, i.shows = aligned, true
		i.exec = func(w *warp, _ uint32) { w.groups.commit() }
		return nil
	}},
	{"wgmma.wait_group.sync.aligned", func(_ *program, i *instr) error {
		if err := i.want(1); err != nil {
			return err
		}
		i.kind, i.shows = aligned, true
		i.exec = func(w *warp, _ uint32) {
			w.groups.wait(int(i.args[0].imm))
			w.view.happened.set(w.wgAgent, uint32(w.groups.done))
		}
		return nil
	}},
	{"wgmma.mma_async{.sp,}.sync.aligned.m64n#k{8,16,32,64}.{f32,f16,s32}.{bf16,f16,tf32,e4m3,e5m2,s8,u8}.{bf16,f16,tf32,e4m3,e5m2,s8,u8}", makeWGMMA},
}

// wgmma is one wgmma.mma_async: operands by descriptors or, of A, in registers.
type wgmma struct {
	*product
	i          *instr
	acc, regs  []int // of A, nil where it is in shared memory
	a, b       src
	meta       src
	metaArg    operand
	selector   int
	scale      func(w *warp, m uint32) uint32
	negA, negB bool
	majorA     layout.Major
	majorB     layout.Major
}

// makeWGMMA makes the warpgroup's product, of which each warp computes its own 16
// rows when the group is waited for.
func makeWGMMA(p *program, i *instr) error {
	_, n, k, err := i.shape()
	if err != nil {
		return err
	}
	types := i.parts[len(i.parts)-3:]
	g := &wgmma{i: i}
	if g.product, err = newProduct(n, k, types[0], types[1], types[2], i.has("sp")); err != nil {
		return err
	}
	want := 32 / g.a0().size
	if g.sparse {
		want *= 2
	}
	if k != want || n < 8 || n > 256 || n%8 != 0 || g.integer() != (types[0] == "s32") || g.integer() && n != 8 && n != 24 && n%16 != 0 {
		return fmt.Errorf("no wgmma of this shape")
	}
	if err := g.operands(p); err != nil {
		return err
	}
	i.kind, i.shows = aligned, true
	i.exec = g.issue
	return nil
}

func (g *wgmma) a0() elements  { return g.product.a }
func (g *wgmma) integer() bool { return g.product.a.integer }

func (g *wgmma) operands(p *program) error {
	args := g.i.args
	sixteen := g.product.a.size == 2
	n := 4
	if g.sparse {
		n += 2
	}
	if !g.integer() {
		n += 2
	}
	inRegs := len(args) > 1 && args[1].kind == opVec
	if sixteen && inRegs {
		n++
	} else if sixteen {
		n += 2
	}
	if err := g.i.want(n); err != nil {
		return err
	}
	var err error
	if g.acc, err = registersOf(args[0]); err != nil {
		return err
	}
	if len(g.acc) != g.accumulators() {
		return fmt.Errorf("%d accumulators, want %d", len(g.acc), g.accumulators())
	}
	if inRegs {
		if g.regs, err = registersOf(args[1]); err == nil && len(g.regs) != 4 {
			err = fmt.Errorf("%d registers of A", len(g.regs))
		}
	} else {
		g.a, err = p.source(args[1])
	}
	if err != nil {
		return err
	}
	if g.b, err = p.source(args[2]); err != nil {
		return err
	}
	args = args[3:]
	if g.sparse {
		g.metaArg, g.selector = args[0], int(args[1].imm)
		if g.meta, err = p.source(args[0]); err != nil {
			return err
		}
		if args[1].kind != opImm || g.selector > 1 || g.selector > 0 && g.product.a.size == 1 {
			return fmt.Errorf("selector %d", g.selector)
		}
		args = args[2:]
	}
	if g.scale, err = p.condition(args[0]); err != nil {
		return err
	}
	args = args[1:]
	if !g.integer() {
		g.negA, g.negB = int64(args[0].imm) < 0, int64(args[1].imm) < 0
		args = args[2:]
	}
	if len(args) == 2 && args[0].imm == 1 {
		g.majorA = layout.MNMajor
	}
	if len(args) > 0 && args[len(args)-1].imm == 1 {
		g.majorB = layout.MNMajor
	}
	return nil
}

// issue checks the operands, records what is read and leaves the product to the
// wait.
func (g *wgmma) issue(w *warp, m uint32) {
	if m != fullMask {
		fail(Divergence, "lanes %#x", m)
	}
	if n := len(g.acc) + len(g.regs); n > w.budget {
		fail(RegisterBudget, "%d registers of operands, the warp has %d a thread", n, w.budget)
	}
	w.wgmmas++
	group := w.groups.next()
	fresh := g.scale(w, m)&1 == 0
	for _, r := range append(append([]int(nil), g.acc...), g.regs...) {
		s := &w.state[r]
		if s.epoch == w.epoch || w.epoch == 1 {
			fail(MissingWGMMAFence, "a register was written after the last wgmma.fence")
		}
	}
	for k, r := range g.acc {
		s := &w.state[r]
		if int(s.group) > w.groups.done && !s.sums {
			fail(InFlight, "accumulator %d is still read as an operand of A", k)
		}
		if s.init != fullMask && !fresh {
			fail(Uninitialised, "accumulator %d has no value", k)
		}
	}
	if g.regs != nil {
		for _, r := range g.regs {
			w.read(r, m)
		}
	}
	da, db := layout.Descriptor{}, g.descriptor(g.b(w, m))
	if g.regs == nil {
		da = g.descriptor(g.a(w, m))
	}
	first := w.id % 4 * 16
	a := access{&w.view, epoch{int32(w.wgAgent), uint32(group)}, int32(g.i.line), true, false}
	g.touch(w, db, g.majorB, 0, g.n, g.k, a)
	if g.regs == nil {
		g.touch(w, da, g.majorA, first, 16, g.stored(), a)
	}
	if g.sparse {
		g.meta(w, m)
		w.checkMetadata(g.metaArg, g.product, g.selector, func(row, k int) uint64 {
			if g.regs != nil {
				lane, reg, _ := g.element(row, k)
				return w.originOf(g.regs[reg], lane)
			}
			at := da.Address(g.majorA, first+row, k, g.product.a.size, 0)
			return w.cta.shadow[(at-sharedStart)>>2].from
		})
	}
	use := func(r int, sums bool) {
		s := &w.state[r]
		s.group, s.sums = int32(group), sums
	}
	for _, r := range g.acc {
		use(r, true)
		w.state[r].init = fullMask
	}
	for _, r := range g.regs {
		use(r, false)
	}
	if g.sparse && g.metaArg.kind == opReg {
		use(g.metaArg.reg, false)
	}
	w.groups.add(func() { g.compute(w, da, db, first, fresh) })
}

func (g *wgmma) descriptor(v *lanes) layout.Descriptor {
	for _, x := range v {
		if x != v[0] {
			fail(Operands, "a descriptor that differs between lanes")
		}
	}
	d, err := layout.ParseDescriptor(v[0])
	if err != nil {
		fail(Operands, "%v", err)
	}
	return d
}

// touch records the read of an operand of rows from first on, in pieces of 16
// bytes.
func (g *wgmma) touch(w *warp, d layout.Descriptor, major layout.Major, first, rows, k int, a access) {
	size := g.product.a.size
	per := 16 / size
	if major == layout.MNMajor {
		for c := range k {
			for r := 0; r < rows; r += per {
				w.cta.piece(d.Address(major, first+r, c, size, 0), a)
			}
		}
		return
	}
	for r := range rows {
		for c := 0; c < k; c += per {
			w.cta.piece(d.Address(major, first+r, c, size, 0), a)
		}
	}
}

// piece records the read of 16 bytes at an address in the block's window.
func (c *cta) piece(addr int, a access) {
	_, off := c.place(c.base()-sharedStart+uint64(addr), 16, 16, false)
	c.mustRead(off, 16, a)
}

// columnCache is the last operand B of a block's warps, decoded.
type columnCache struct {
	key     columnKey
	columns []float64
}

type columnKey struct {
	d       layout.Descriptor
	major   layout.Major
	name    string
	n, k    int
	version int
}

// compute is the product of a warp.
func (g *wgmma) compute(w *warp, da, db layout.Descriptor, first int, fresh bool) {
	c := w.cta
	code := func(d layout.Descriptor, major layout.Major, mn, k int) uint64 {
		off := d.Address(major, mn, k, g.product.a.size, 0) - sharedStart
		return load(c.shared[off:][:g.product.a.size])
	}
	key := columnKey{db, g.majorB, g.product.b.name, g.n, g.k, c.version}
	if c.columns.key != key || c.columns.columns == nil {
		if cap(c.columns.columns) < g.n*g.k {
			c.columns.columns = make([]float64, g.n*g.k)
		}
		columns := c.columns.columns[:g.n*g.k]
		for col := range g.n {
			for k := range g.k {
				columns[col*g.k+k] = g.product.b.decode(code(db, g.majorB, col, k))
			}
		}
		c.columns = columnCache{key, columns}
	}
	a := func(row, k int) uint64 { return code(da, g.majorA, first+row, k) }
	if g.regs != nil {
		a = func(row, k int) uint64 {
			lane, reg, shift := g.element(row, k)
			return w.reg[g.regs[reg]][lane] >> shift & mask(g.product.a.size)
		}
	}
	meta := func(int) uint64 { return 0 }
	if g.sparse {
		e := w.reg[g.metaArg.reg]
		if g.metaArg.kind == opImm {
			e = *constant(g.metaArg.imm)(w, fullMask)
		}
		meta = func(lane int) uint64 { return e[lane] }
	}
	var d []*lanes
	for _, r := range g.acc {
		d = append(d, &w.reg[r])
	}
	g.add(g.rows(a, meta, g.selector), c.columns.columns, d, d, fresh, g.negA, g.negB)
}
