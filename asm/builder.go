package asm

import "strconv"

// Builder records a Func. Its methods append one instruction each.
type Builder struct {
	f      *Func
	next   int
	labels int
	note   string
}

// New starts a function for machine m.
func New(name string, m Machine, args []Arg, doc ...string) *Builder {
	return &Builder{f: &Func{Name: name, Machine: m, Args: args, Doc: doc}}
}

// Func is the program recorded so far.
func (b *Builder) Func() *Func { return b.f }

// Machine is the machine that the function is for.
func (b *Builder) Machine() Machine { return b.f.Machine }

// Comment is printed above the next instruction.
func (b *Builder) Comment(s string) { b.note = s }

func (b *Builder) add(i Inst) {
	i.Comment, b.note = b.note, ""
	if lanes := b.f.Machine.Lanes; lanes > 0 {
		i.Mem.Disp += i.Mem.Vectors * lanes * 4
		i.Mem.Vectors = 0
	}
	b.f.Insts = append(b.f.Insts, i)
}

func (b *Builder) reg(k Kind) Reg { b.next++; return Reg{k, b.next} }

// Int, Vec and Mask make a fresh register; Vecs makes n.
func (b *Builder) Int() Reg  { return b.reg(IntReg) }
func (b *Builder) Vec() Reg  { return b.reg(VecReg) }
func (b *Builder) Mask() Reg { return b.reg(MaskReg) }

// Half makes a fresh register for the lower half of a vector.
func (b *Builder) Half() Reg { return b.reg(HalfReg) }

// Vecs makes n vector registers.
func (b *Builder) Vecs(n int) []Reg {
	r := make([]Reg, n)
	for i := range r {
		r[i] = b.Vec()
	}
	return r
}

// Arg loads an integer or pointer argument.
func (b *Builder) Arg(name string) Reg {
	r := b.Int()
	b.add(Inst{Op: OpArg, Dst: r, Name: name})
	return r
}

// SetArg stores to an integer or pointer argument, whose slot is the callee's
// to use; a later Arg reads it back.
func (b *Builder) SetArg(name string, a Reg) { b.add(Inst{Op: OpSetArg, A: a, Name: name}) }

// Integer instructions: see the Op of the same name.
func (b *Builder) MovI(d Reg, imm int) { b.add(Inst{Op: OpMovI, Dst: d, Imm: int64(imm)}) }
func (b *Builder) Mov(d, a Reg)        { b.add(Inst{Op: OpMov, Dst: d, A: a}) }
func (b *Builder) Add(d, a Reg)        { b.add(Inst{Op: OpAdd, Dst: d, A: a}) }
func (b *Builder) AddI(d Reg, imm int) { b.add(Inst{Op: OpAddI, Dst: d, Imm: int64(imm)}) }

// AddLanes adds the lanes of n vectors to d, AddVectors their bytes.
func (b *Builder) AddLanes(d Reg, n int)   { b.addLength(OpAddLanes, d, n, 1) }
func (b *Builder) AddVectors(d Reg, n int) { b.addLength(OpAddVectors, d, n, 4) }

func (b *Builder) addLength(op Op, d Reg, n, bytes int) {
	if lanes := b.f.Machine.Lanes; lanes > 0 {
		op, n = OpAddI, n*lanes*bytes
	}
	b.add(Inst{Op: op, Dst: d, Imm: int64(n)})
}

func (b *Builder) Sub(d, a Reg)           { b.add(Inst{Op: OpSub, Dst: d, A: a}) }
func (b *Builder) Mul(d, a Reg)           { b.add(Inst{Op: OpMul, Dst: d, A: a}) }
func (b *Builder) MulI(d, a Reg, imm int) { b.add(Inst{Op: OpMulI, Dst: d, A: a, Imm: int64(imm)}) }
func (b *Builder) ShlI(d Reg, imm int)    { b.add(Inst{Op: OpShlI, Dst: d, Imm: int64(imm)}) }
func (b *Builder) ShrI(d Reg, imm int)    { b.add(Inst{Op: OpShrI, Dst: d, Imm: int64(imm)}) }
func (b *Builder) Popcnt(d, a Reg)        { b.add(Inst{Op: OpPopcnt, Dst: d, A: a}) }
func (b *Builder) CountByte(d, a Reg)     { b.add(Inst{Op: OpCountByte, Dst: d, A: a}) }
func (b *Builder) LowBits(d, a Reg, n int) {
	b.add(Inst{Op: OpLowBits, Dst: d, A: a, Imm: int64(n)})
}
func (b *Builder) Min(d, a Reg) { b.add(Inst{Op: OpMin, Dst: d, A: a}) }
func (b *Builder) Max(d, a Reg) { b.add(Inst{Op: OpMax, Dst: d, A: a}) }
func (b *Builder) LoadU(d Reg, bytes int, m Mem) {
	b.add(Inst{Op: OpLoadU, Dst: d, Imm: int64(bytes), Mem: m})
}
func (b *Builder) Lea(d Reg, m Mem) { b.add(Inst{Op: OpLea, Dst: d, Mem: m}) }

// JumpLE jumps if a <= imm.
func (b *Builder) JumpLE(a Reg, imm int, name string) {
	b.add(Inst{Op: OpJumpLE, A: a, Imm: int64(imm), Name: name})
}

// NewLabel is a label name that no other has.
func (b *Builder) NewLabel(stem string) string {
	b.labels++
	return stem + strconv.Itoa(b.labels)
}

// Control flow: see the Op of the same name.
func (b *Builder) Label(name string)          { b.add(Inst{Op: OpLabel, Name: name}) }
func (b *Builder) Jump(name string)           { b.add(Inst{Op: OpJump, Name: name}) }
func (b *Builder) JumpZ(a Reg, name string)   { b.add(Inst{Op: OpJumpZ, A: a, Name: name}) }
func (b *Builder) DecJump(d Reg, name string) { b.add(Inst{Op: OpDecJump, Dst: d, Name: name}) }
func (b *Builder) AddJump(d Reg, imm int, name string) {
	b.add(Inst{Op: OpAddJump, Dst: d, Imm: int64(imm), Name: name})
}

// Loop runs body n >= 1 times; it counts n down to 0.
func (b *Builder) Loop(stem string, n Reg, body func()) {
	l := b.NewLabel(stem)
	b.Label(l)
	body()
	b.DecJump(n, l)
}

// LoopArg is Loop with the argument of that name for n, which needs no register.
func (b *Builder) LoopArg(stem, name string, body func()) {
	l, end := b.NewLabel(stem), b.NewLabel(stem+"_end")
	b.Label(l)
	body()
	n := b.Arg(name)
	b.AddI(n, -1)
	b.SetArg(name, n)
	b.JumpZ(n, end)
	b.Jump(l)
	b.Label(end)
}

// While runs body n >= 0 times; it counts n down to 0.
func (b *Builder) While(stem string, n Reg, body func()) {
	end := b.NewLabel(stem + "_end")
	b.JumpZ(n, end)
	b.Loop(stem, n, body)
	b.Label(end)
}

// Prefetch hints that the line at m will be read; it never faults.
func (b *Builder) Prefetch(m Mem) { b.add(Inst{Op: OpPrefetch, Mem: m}) }

// PrefetchFar is Prefetch for what is read much later.
func (b *Builder) PrefetchFar(m Mem) { b.add(Inst{Op: OpPrefetchFar, Mem: m}) }

// Vector instructions: see the Op of the same name.
func (b *Builder) Zero(d Reg)             { b.add(Inst{Op: OpZero, Dst: d}) }
func (b *Builder) VMov(d, a Reg)          { b.add(Inst{Op: OpVMov, Dst: d, A: a}) }
func (b *Builder) Load(d Reg, m Mem)      { b.add(Inst{Op: OpLoad, Dst: d, Mem: m}) }
func (b *Builder) Store(m Mem, a Reg)     { b.add(Inst{Op: OpStore, A: a, Mem: m}) }
func (b *Builder) Bcast(d Reg, m Mem)     { b.add(Inst{Op: OpBcast, Dst: d, Mem: m}) }
func (b *Builder) FMA(d, x, y Reg)        { b.add(Inst{Op: OpFMA, Dst: d, A: x, B: y}) }
func (b *Builder) FMA213(d, x, y Reg)     { b.add(Inst{Op: OpFMA213, Dst: d, A: x, B: y}) }
func (b *Builder) FMAMem(d, x Reg, m Mem) { b.add(Inst{Op: OpFMAMem, Dst: d, A: x, Mem: m}) }
func (b *Builder) FMAMemMask(d, x Reg, m Mem, k Reg) {
	b.add(Inst{Op: OpFMAMem, Dst: d, A: x, Mem: m, Mask: k})
}
func (b *Builder) FMABcast(d, x Reg, m Mem) {
	b.add(Inst{Op: OpFMABcast, Dst: d, A: x, Mem: m})
}
func (b *Builder) LoadMask(d Reg, m Mem, k Reg) {
	b.add(Inst{Op: OpLoadMask, Dst: d, Mem: m, Mask: k})
}
func (b *Builder) StoreMask(m Mem, a, k Reg) {
	b.add(Inst{Op: OpStoreMask, A: a, Mem: m, Mask: k})
}
func (b *Builder) BcastArg(d Reg, name string) {
	b.add(Inst{Op: OpBcastArg, Dst: d, Name: name})
}
func (b *Builder) BcastN(d Reg, n int, m Mem) {
	b.add(Inst{Op: OpBcastN, Dst: d, Imm: int64(n), Mem: m})
}
func (b *Builder) LaneOf4(d, a Reg, lane int) {
	b.add(Inst{Op: OpLaneOf4, Dst: d, A: a, Imm: int64(lane)})
}
func (b *Builder) BcastConst(d Reg, bits uint32) {
	b.add(Inst{Op: OpBcastConst, Dst: d, Imm: int64(bits)})
}
func (b *Builder) VAdd(d, x, y Reg)    { b.add(Inst{Op: OpVAdd, Dst: d, A: x, B: y}) }
func (b *Builder) VSub(d, x, y Reg)    { b.add(Inst{Op: OpVSub, Dst: d, A: x, B: y}) }
func (b *Builder) VMul(d, x, y Reg)    { b.add(Inst{Op: OpVMul, Dst: d, A: x, B: y}) }
func (b *Builder) VDiv(d, x, y Reg)    { b.add(Inst{Op: OpVDiv, Dst: d, A: x, B: y}) }
func (b *Builder) VMax(d, x, y Reg)    { b.add(Inst{Op: OpVMax, Dst: d, A: x, B: y}) }
func (b *Builder) VMin(d, x, y Reg)    { b.add(Inst{Op: OpVMin, Dst: d, A: x, B: y}) }
func (b *Builder) VAddI32(d, x, y Reg) { b.add(Inst{Op: OpVAddI32, Dst: d, A: x, B: y}) }
func (b *Builder) VSubI32(d, x, y Reg) { b.add(Inst{Op: OpVSubI32, Dst: d, A: x, B: y}) }
func (b *Builder) VAnd(d, x, y Reg)    { b.add(Inst{Op: OpVAnd, Dst: d, A: x, B: y}) }
func (b *Builder) VShlI(d, x Reg, imm int) {
	b.add(Inst{Op: OpVShlI, Dst: d, A: x, Imm: int64(imm)})
}
func (b *Builder) VShrI(d, x Reg, imm int) {
	b.add(Inst{Op: OpVShrI, Dst: d, A: x, Imm: int64(imm)})
}
func (b *Builder) VSarI(d, x Reg, imm int) {
	b.add(Inst{Op: OpVSarI, Dst: d, A: x, Imm: int64(imm)})
}
func (b *Builder) MaskFirst(k, n Reg) { b.add(Inst{Op: OpMaskFirst, Dst: k, A: n}) }
func (b *Builder) Select(d, idx Reg, table []Reg, n int) {
	b.add(Inst{Op: OpSelect, Dst: d, A: idx, Vs: table, Imm: int64(n)})
}

// Expander is what Expand and ExpandByte need besides their operands; one serves a
// function.
type Expander struct {
	table  Reg
	middle []Reg // of each byte
}

// ExpandInit prepares Expand and ExpandByte, outside of loops. A register for each
// byte saves ExpandByte an instruction.
func (b *Builder) ExpandInit(bytes int) Expander {
	e := Expander{table: b.Int()}
	b.add(Inst{Op: OpExpandInit, Dst: e.table})
	for n := range bytes {
		e.middle = append(e.middle, b.middle(n))
	}
	return e
}

// middle is the number of bits before the upper half of byte n.
func (b *Builder) middle(n int) Reg {
	r := b.Int()
	b.MovI(r, 8*n+4)
	return r
}
func (b *Builder) Expand(e Expander, d Reg, m Mem, bits Reg) {
	b.add(Inst{Op: OpExpand, Dst: d, Mem: m, A: bits, Vs: []Reg{e.table}})
}
func (b *Builder) ExpandByte(e Expander, d Reg, m Mem, bits Reg, n int) {
	var middle Reg
	if n < len(e.middle) {
		middle = e.middle[n]
	} else {
		middle = b.middle(n)
	}
	b.add(Inst{Op: OpExpandByte, Dst: d, Mem: m, A: bits, B: middle, Vs: []Reg{e.table}, Imm: int64(n)})
}
func (b *Builder) LoadAfter(d, first Reg, m Mem) {
	b.add(Inst{Op: OpLoadAfter, Dst: d, A: first, Mem: m})
}
func (b *Builder) LoadLow(d Reg, m Mem)  { b.add(Inst{Op: OpLoadLow, Dst: d, Mem: m}) }
func (b *Builder) StoreLow(m Mem, a Reg) { b.add(Inst{Op: OpStoreLow, A: a, Mem: m}) }
func (b *Builder) InsertLow(d Reg, lane int, m Mem) {
	b.add(Inst{Op: OpInsertLow, Dst: d, Imm: int64(lane), Mem: m})
}
func (b *Builder) Join(d, x, y Reg)   { b.add(Inst{Op: OpJoin, Dst: d, A: x, B: y}) }
func (b *Builder) SumLow(d, x Reg)    { b.add(Inst{Op: OpSumLow, Dst: d, A: x}) }
func (b *Builder) Transpose(rs []Reg) { b.add(Inst{Op: OpTranspose, Vs: rs}) }

// Byter is what Byte needs besides its operands; one serves a function.
type Byter struct{ control Reg }

// ByteInit prepares Byte, outside of loops.
func (b *Builder) ByteInit() Byter {
	c := Byter{b.Int()}
	b.add(Inst{Op: OpByteInit, Dst: c.control})
	return c
}

// Byte takes byte n, 0 or 1, of a.
func (b *Builder) Byte(c Byter, d, a Reg, n int) {
	b.add(Inst{Op: OpByte, Dst: d, A: a, B: c.control, Imm: int64(n)})
}
