package ptx_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
)

// source makes decisions from a fuzzer's bytes, then from their hash.
type source struct {
	data []byte
	rest *rand.Rand
}

func newSource(data []byte) *source {
	var seed uint64
	for _, b := range data {
		seed = seed*0x100000001b3 ^ uint64(b)
	}
	return &source{data, rand.New(rand.NewPCG(seed, 1))}
}

func (s *source) n(n int) int {
	if len(s.data) == 0 {
		return s.rest.IntN(n)
	}
	b := int(s.data[0])
	s.data = s.data[1:]
	return b % n
}

// fuzzProgram builds a kernel of random instructions with random operands, many
// of them wrong.
type fuzzProgram struct {
	*source
	k     *ptx.Kernel
	forms []string
	regs  []ptx.Reg
	p     ptx.Param
	s     ptx.Shared
	l     []ptx.Label
}

func (f *fuzzProgram) reg() ptx.Reg {
	if len(f.regs) == 0 || f.n(4) == 0 {
		f.regs = append(f.regs, f.k.Reg(ptx.Type(f.n(24))))
	}
	return f.regs[f.n(len(f.regs))]
}

func (f *fuzzProgram) operand(depth int) any {
	switch f.n(16) {
	case 0:
		return f.n(300) - 20
	case 1:
		return ptx.Float(float64(f.n(100)) / 7)
	case 2:
		rs := make([]ptx.Reg, f.n(6))
		for i := range rs {
			rs[i] = f.reg()
		}
		return ptx.Vec(rs...)
	case 3:
		return ptx.At(f.reg(), f.n(256)-9)
	case 4:
		return ptx.AtParam(f.p, f.n(9))
	case 5:
		return ptx.AtShared(f.s, f.n(9))
	case 6:
		return ptx.Sink
	case 7:
		return ptx.Not(f.reg())
	case 8:
		return ptx.Special([]string{"%tid.x", "%laneid", "%bad", ""}[f.n(4)])
	case 9:
		return []any{nil, "text", ptx.Reg{}, ptx.Vector{}, ptx.Mem{}, ptx.Param{}, struct{}{}, true, []int{1}}[f.n(9)]
	case 10:
		if depth < 2 {
			return ptx.Pair(f.operand(depth+1), f.operand(depth+1))
		}
		return nil
	case 11:
		coords := make([]any, f.n(5))
		for i := range coords {
			coords[i] = f.operand(3)
		}
		return ptx.TMACoord(f.reg(), coords...)
	case 12:
		return f.k.Const(ptx.Type(f.n(24)), f.n(100))
	}
	return f.reg()
}

func (f *fuzzProgram) step(depth int) {
	k := f.k
	a, b := f.operand(0), f.operand(0)
	keep := func(r ptx.Reg) { f.regs = append(f.regs, r) }
	switch f.n(30) {
	case 0:
		keep(k.Add(a, b))
	case 1:
		keep(k.Mul(a, b))
	case 2:
		keep(k.Mad(a, b, f.operand(0)))
	case 3:
		keep(k.Div(a, b))
	case 4:
		keep(k.Rem(a, b))
	case 5:
		keep(k.Shl(a, b))
	case 6:
		keep(k.SetP([]string{"lt", "eq", "nan", "no"}[f.n(4)], a, b))
	case 7:
		keep(k.Select(f.reg(), a, b))
	case 8:
		keep(k.Cvt(ptx.Type(f.n(24)), a))
	case 9:
		k.Mov(f.reg(), a)
	case 10:
		keep(k.MadWide(a, b, f.operand(0)))
	case 11:
		keep(k.As(ptx.Type(f.n(24)), f.reg()))
	case 12:
		keep(k.Pack(f.reg(), f.reg()))
	case 13:
		f.regs = append(f.regs, k.Unpack(ptx.Type(f.n(24)), f.reg())...)
	case 14:
		keep(k.Not(a))
		keep(k.Neg(b))
	case 15:
		k.Unspecified(f.reg())
	case 16:
		keep(k.Op(ptx.Type(f.n(24)), f.forms[f.n(len(f.forms))], a))
	case 17:
		l := k.NewLabel("l")
		f.l = append(f.l, l)
		k.BraIf(f.reg(), l)
	case 18:
		if len(f.l) > 0 {
			k.Label(f.l[f.n(len(f.l))])
		}
	case 19, 20:
		if depth < 3 {
			body := func() {
				for range f.n(4) {
					f.step(depth + 1)
				}
			}
			switch f.n(5) {
			case 0:
				k.IfElse(f.reg(), body, body)
			case 1:
				k.Scope("s\nt", body)
			case 2:
				k.For(a, b, 1, func(i ptx.Reg) { keep(i); body() }, ptx.LoopOption(f.n(3)))
			case 3:
				k.Loop(func(l *ptx.LoopCtl) { body(); l.BreakIf(f.reg()) })
			default:
				k.DoWhile(func() ptx.Reg { body(); return f.reg() })
			}
		}
	default:
		ops := make([]any, f.n(6))
		for i := range ops {
			ops[i] = f.operand(0)
		}
		form := f.forms[f.n(len(f.forms))]
		switch f.n(3) {
		case 0:
			k.EmitIf(f.reg(), form, ops...)
		default:
			k.Emit(form, ops...)
		}
	}
}

func runFuzz(data []byte) (string, error) {
	src := newSource(data)
	m := ptx.NewModule(ptx.Targets()[src.n(4)])
	k := m.Kernel("k")
	f := &fuzzProgram{source: src, k: k, forms: ptx.Forms()}
	f.p, f.s = k.ParamU64("p"), k.StaticShared("s", 16, 64)
	for range 1 + f.n(40) {
		f.step(0)
	}
	return m.Text()
}

func FuzzBuilder(f *testing.F) {
	f.Add([]byte("a"))
	f.Add([]byte("\x03\x01\x10\x00\x20\x40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := runFuzz(data)
		if (text == "") != (err != nil) {
			t.Fatalf("text %q and error %v", text, err)
		}
	})
}

// TestHelpersAssemble has ptxas assemble random well-typed arithmetic.
func TestHelpersAssemble(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	m := ptx.NewModule(ptx.SM80())
	for n := range 40 {
		k := m.Kernel(fmt.Sprint("k", n))
		out := k.LoadParam(k.ParamU64("out"))
		typ := []ptx.Type{ptx.U32, ptx.S32, ptx.U64, ptx.S64, ptx.F32, ptx.F64, ptx.B32}[n%7]
		vals := []any{k.Cvt(typ, k.TidX()), 3, 64, k.Var(typ, 5), k.Const(typ, 7)}
		any1 := func() any { return vals[r.IntN(len(vals))] }
		reg := func() any { return vals[0] }
		isInt := typ != ptx.F32 && typ != ptx.F64
		for range 30 {
			var v ptx.Reg
			switch op := r.IntN(16); {
			case op == 0:
				v = k.Add(reg(), any1())
			case op == 1:
				v = k.Sub(any1(), reg())
			case op == 2:
				v = k.Mul(any1(), reg())
			case op == 3:
				v = k.Mad(any1(), reg(), any1())
			case op == 4:
				v = k.Div(reg(), 1+r.IntN(9))
			case op == 5:
				v = k.Min(reg(), any1())
			case op == 6:
				v = k.Max(any1(), reg())
			case op == 7:
				v = k.Neg(any1())
			case op == 8:
				p := k.SetP([]string{"eq", "ne", "lt", "le", "gt", "ge"}[r.IntN(6)], any1(), reg())
				v = k.Select(k.Or(p, k.Not(k.And(p, k.Xor(p, true)))), any1(), reg())
			case op == 9:
				v = k.Cvt(typ, k.Cvt([]ptx.Type{ptx.U16, ptx.S32, ptx.U64, ptx.F32, ptx.F64, ptx.F16}[r.IntN(6)], reg()))
			case !isInt:
				continue
			case op == 10:
				v = k.And(any1(), reg())
			case op == 11:
				v = k.Or(any1(), reg())
			case op == 12:
				v = k.Xor(any1(), reg())
			case op == 13:
				v = k.Shl(any1(), k.And(k.TidX(), 7))
			case op == 14:
				v = k.Shr(reg(), r.IntN(32))
			default:
				v = k.Rem(k.Not(any1()), 1+r.IntN(9))
			}
			if v.Type() == typ {
				vals = append(vals, v)
				vals[0] = v
			}
		}
		k.Emit(fmt.Sprintf("st.global.b%d", typ.Bits()), ptx.At(out, 0), vals[0])
	}
	text, err := m.Text()
	require.NoError(t, err)
	ptxtest.Assemble(t, text, ptx.SM80())
}
