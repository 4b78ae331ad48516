package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Gather is the configuration of a kernel that picks features, each output one
// input or a constant:
//
//	y[t, o] = (index[o] < In ? x[t, index[o]] : fill[o]) + residual[t, o]
//
// It packs the inputs that the weights behind it keep, and spreads the outputs of
// weights of which whole rows are missing. The indices (u32, gpu.NoInput for a
// constant) are the buffer Meta, the constants, elements of DType, the weights. A
// thread moves eight neighbouring outputs of a few tokens.
type Gather struct {
	Target   ptx.Target
	DType    gpu.DType // BF16 or F16
	Residual bool      // added in f32, then rounded
	PDL      bool      // wait for the predecessor in the stream by griddepcontrol (sm_90)
}

const (
	gatherThreads = 128
	gatherWide    = 8 // outputs of a thread, 16 bytes
	gatherTokens  = 4 // tokens of a thread, which share its indices
)

// Name is the kernel's name: its configuration in short.
func (c Gather) Name() string {
	n := "gather_" + c.DType.String()
	if c.Residual {
		n += "_residual"
	}
	if c.PDL {
		n += "_pdl"
	}
	return n
}

// Check reports why there is no such kernel.
func (c Gather) Check() error {
	switch {
	case c.DType != gpu.BF16 && c.DType != gpu.F16:
		return fmt.Errorf("gather: elements of %v, want bf16 or f16", c.DType)
	case c.PDL && !c.Target.Has(ptx.SM90()):
		return fmt.Errorf("gather: dependent launch needs sm_90, not %v", c.Target)
	}
	return nil
}

// Build returns the kernel.
func (c Gather) Build() (*gpu.Kernel, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := ptx.NewModule(c.Target)
	g := &gather{Gather: c, k: m.Kernel(c.Name())}
	g.emit()
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	return &gpu.Kernel{
		Name: c.Name(), Target: c.Target.String(), PTX: text, Family: "gather",
		DType: c.DType, Y: c.DType, Form: gpu.Picked, Order: gpu.OneTile,
		Tile:    gpu.Tile{Out: gatherThreads * gatherWide, Tokens: gatherTokens, Split: 1},
		Threads: gatherThreads, Cluster: 1, PDL: c.PDL,
		Params: g.params.list,
	}, nil
}

// Cycles is what a launch for the problem is expected to take: the start that
// decode's model has, and bytes as memory delivers them.
func (c Gather) Cycles(p gpu.Problem, d gpu.Device) float64 {
	// Inputs are read in sectors of 32 bytes: about all of a row, however few are
	// picked.
	bytes := c.DType.Size() * p.Tokens * (p.In + p.Out)
	if c.Residual {
		bytes += c.DType.Size() * p.Tokens * p.Out
	}
	bytes += p.Out * (4 + c.DType.Size())
	start, stream := float64(decodeStart), float64(gemmStream)
	if !c.Target.Has(ptx.SM90a()) {
		stream = ampereStream
	}
	if !c.PDL {
		start += decodeSerial
	}
	return start + float64(bytes)/stream
}

// gather is a Gather kernel while it is emitted.
type gather struct {
	Gather
	k      *ptx.Kernel
	params params

	x, y, residual ptx.Reg
	xBytes, yBytes ptx.Reg // from token to token
	tokens         ptx.Reg
	left           ptx.Reg // outputs from the thread's first on
	full           ptx.Reg // whether it has all of its outputs
	live           []ptx.Reg

	from []ptx.Reg // places of the inputs in a row of x, in elements; 0 for a constant
	keep []ptx.Reg // whether an output is an input
	fill []ptx.Reg
}

func (g *gather) emit() {
	k := g.k
	k.Threads(gatherThreads)
	p := &g.params
	p.k = k
	fill := p.pointer(gpu.Weights, 0, 0)
	index := p.pointer(gpu.Meta, gpu.U32, gpu.QOut)
	g.x = p.pointer(gpu.X, g.DType, gpu.QIn)
	g.y = p.rows(gpu.Y, g.DType)
	if g.Residual {
		g.residual = p.rows(gpu.Residual, g.DType)
	}
	out, in := p.u32("out", gpu.QOut), p.u32("in", gpu.QIn)
	g.tokens = p.u32("tokens", gpu.QTokens)
	g.xBytes, g.yBytes = k.Mul(p.u32("x_pitch", gpu.QXPitch), g.DType.Size()), k.Mul(p.u32("y_pitch", gpu.QYPitch), g.DType.Size())
	if g.PDL {
		k.Emit("griddepcontrol.launch_dependents")
	}
	first := k.Mad(k.CtaX(), gatherThreads*gatherWide, k.Mul(k.TidX(), gatherWide))
	k.RetIf(k.SetP("ge", first, out))
	g.left = k.Sub(out, first)
	g.full = k.SetP("ge", g.left, gatherWide)
	for i := range gatherWide {
		g.live = append(g.live, k.SetP("gt", g.left, i))
	}
	g.lists(k.MadWide(first, 4, index), k.MadWide(first, g.DType.Size(), fill), in)
	g.y = k.MadWide(first, g.DType.Size(), g.y)
	if g.Residual {
		g.residual = k.MadWide(first, g.DType.Size(), g.residual)
	}
	if g.PDL {
		k.Comment("inputs are the predecessor's")
		k.Emit("griddepcontrol.wait")
	}
	// The grid may have fewer rows of blocks than there are tiles of tokens.
	k.For(k.Mul(k.CtaY(), gatherTokens), g.tokens, k.Mul(k.NCtaY(), gatherTokens), g.tile)
}

// lists reads the thread's indices and constants.
func (g *gather) lists(index, fill, in ptx.Reg) {
	k := g.k
	k.Comment("indices and constants")
	places := k.Regs(ptx.U32, gatherWide)
	words := k.Regs(ptx.B16, gatherWide)
	k.IfElse(g.full, func() {
		for i := 0; i < gatherWide; i += 4 {
			k.Emit("ld.global.nc.v4.u32", ptx.Vec(places[i:i+4]...), ptx.At(index, 4*i))
		}
		g.loadWide(words, fill)
	}, func() {
		for i := range gatherWide {
			k.Mov(places[i], k.Const(ptx.U32, 0))
			k.Mov(words[i], k.Const(ptx.B16, 0))
			k.EmitIf(g.live[i], "ld.global.nc.u32", places[i], ptx.At(index, 4*i))
			k.EmitIf(g.live[i], "ld.global.nc.b16", words[i], ptx.At(fill, 2*i))
		}
	})
	for _, at := range places {
		keep := k.SetP("lt", at, in)
		g.keep = append(g.keep, keep)
		g.from = append(g.from, k.Select(keep, at, 0))
	}
	g.fill = words
}

// loadWide reads eight neighbouring elements.
func (g *gather) loadWide(to []ptx.Reg, at ptx.Reg) {
	k := g.k
	words := k.Regs(ptx.B32, gatherWide/2)
	k.Emit("ld.global.v4.b32", ptx.Vec(words...), ptx.At(at, 0))
	for i, w := range words {
		k.Emit("mov.b32", ptx.Vec(to[2*i:2*i+2]...), w)
	}
}

// tile moves the thread's outputs for the tokens from first on. All inputs are
// requested before any is used; of a token beyond the last, the last one's are.
func (g *gather) tile(first ptx.Reg) {
	k := g.k
	rows := make([][]ptx.Reg, gatherTokens)
	for r := range rows {
		token := k.Min(k.Add(first, r), k.Sub(g.tokens, 1))
		row := k.MadWide(token, g.xBytes, g.x)
		rows[r] = k.Regs(ptx.B16, gatherWide)
		for i, at := range g.from {
			k.Emit("ld.global.b16", rows[r][i], ptx.At(k.MadWide(at, 2, row), 0))
		}
	}
	for r, values := range rows {
		token := k.Add(first, r)
		k.If(k.SetP("lt", token, g.tokens), func() {
			picked := make([]ptx.Reg, gatherWide)
			for i, v := range values {
				picked[i] = k.Select(g.keep[i], v, g.fill[i])
			}
			g.store(k.MulWide(token, g.yBytes), picked)
		})
	}
}

// store adds the residual of a token, whose row is at that many bytes, and stores
// its outputs.
func (g *gather) store(at ptx.Reg, values []ptx.Reg) {
	k := g.k
	if g.Residual {
		from := k.Add(g.residual, at)
		other := k.Regs(ptx.B16, gatherWide)
		k.IfElse(g.full, func() { g.loadWide(other, from) }, func() {
			for i := range other {
				k.Mov(other[i], k.Const(ptx.B16, 0))
				k.EmitIf(g.live[i], "ld.global.b16", other[i], ptx.At(from, 2*i))
			}
		})
		for i, v := range values {
			values[i] = narrow(k, g.DType, k.Add(widen(k, g.DType, v), widen(k, g.DType, other[i])))
		}
	}
	to := k.Add(g.y, at)
	k.IfElse(g.full, func() {
		words := make([]ptx.Reg, gatherWide/2)
		for i := range words {
			words[i] = packed(k, values[2*i], values[2*i+1])
		}
		k.Emit("st.global.v4.b32", ptx.At(to, 0), ptx.Vec(words...))
	}, func() {
		for i, v := range values {
			k.EmitIf(g.live[i], "st.global.b16", ptx.At(to, 2*i), v)
		}
	})
}
